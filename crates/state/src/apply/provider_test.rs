//! Resource providers, and frameworks' operations on what they bring.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_types::{
    AgentId, Conversion, Disk, DiskSource, FrameworkId, OperationState, ProviderId, Resource, Resources,
    UpdateUuid,
};

use crate::{
    Applied, Command, Effect, Outcome,
    command::*,
    open_work,
    outcome::Refusal,
    testing::{World, agent_spec, launch_on_nothing, link, refuse, resources, role, task, uuid},
};

const PROVIDER: &str = "p1";

/// A disk of the provider's, as a text says it is reserved.
fn disk(source: DiskSource, id: &str, text: &str) -> Resources {
    let disk = Disk { source, source_id: Some(id.into()), ..Disk::default() };
    let plain = resources(text);
    let plain = plain.iter().next().expect("one");
    let disk = Some(Arc::new(disk));
    Resources::new([Resource { disk, provider: Some(PROVIDER.into()), ..plain.clone() }]).expect("one")
}

fn raw() -> Resources {
    disk(DiskSource::Raw, "raw", "disk:100")
}

fn mount() -> Resources {
    disk(DiskSource::Mount, "mount", "disk:100")
}

fn one(resources: &Resources) -> Resource {
    resources.iter().next().expect("one").clone()
}

fn state(version: u8, total: &Resources, operations: &[(UpdateUuid, bool)]) -> ProviderState {
    ProviderState { version: uuid(version), total: total.clone(), operations: operations.to_vec() }
}

fn word(connected: bool, state: Option<ProviderState>) -> ProviderWord {
    ProviderWord { id: PROVIDER.into(), info: Bytes::from_static(b"info"), connected, state }
}

struct Case {
    world: World,
    agent: AgentId,
    framework: FrameworkId,
    sequence: u64,
}

impl Case {
    /// An agent whose provider has one RAW disk.
    fn new() -> Self {
        let mut world = World::of_level(4);
        let register = RegisterAgent { nonce: [1; 16], spec: agent_spec(), link: link(1) };
        let Outcome::AgentAttached { agent } = world.apply(Command::RegisterAgent(register)).outcome else {
            panic!("not attached");
        };
        let framework = world.framework();
        let mut case = Self { world, agent, framework, sequence: 0 };
        case.tell(vec![word(true, Some(state(1, &raw(), &[])))]);
        case
    }

    fn tell(&mut self, providers: Vec<ProviderWord>) -> Applied {
        self.sequence += 1;
        let link = self.world.state.agent(&self.agent).expect("known").link;
        self.tell_as(link, self.sequence, providers)
    }

    fn tell_as(&mut self, link: Link, sequence: u64, providers: Vec<ProviderWord>) -> Applied {
        let agent = self.agent.clone();
        self.world.apply(Command::UpdateProviders(UpdateProviders { agent, link, sequence, providers }))
    }

    /// One ACCEPT of an offer of the provider's disk.
    fn accept(
        &mut self,
        offered: &Resources,
        operations: Vec<(&str, Conversion)>,
        tasks: &[TaskSpec],
    ) -> Applied {
        let (policy, state) = (self.world.state.policy_version(), &self.world.state);
        let item = OfferItem {
            framework: self.framework.clone(),
            role: role(),
            agent: self.agent.clone(),
            resources: offered.allocated_to(&role()),
            framework_version: state.framework(&self.framework).expect("known").version,
            agent_version: state.agent(&self.agent).expect("known").version,
        };
        self.world.apply(Command::IssueOffers(IssueOffers { policy, items: vec![item] }));
        let offers = self.world.state.offers().map(|offer| offer.id.clone()).collect();
        let list = operations.into_iter().enumerate();
        let operations = list.map(|(number, (id, conversion))| Operation {
            before: 0,
            id: (!id.is_empty()).then(|| id.into()),
            uuid: uuid(10 + u8::try_from(number).expect("few")),
            info: Bytes::from_static(b"operation"),
            judged: Ok(conversion),
        });
        let operations = operations.collect();
        let launches = tasks.iter().cloned().map(launch_on_nothing).collect();
        let (framework, refuse) = (self.framework.clone(), refuse(0));
        let accept = AcceptOffers { framework, offers, launches, operations, refuse };
        self.world.apply(Command::AcceptOffers(accept))
    }

    fn ended(&mut self, operation: u8, state: OperationState, converted: Resources) -> Applied {
        let update = OperationUpdate {
            provider: PROVIDER.into(),
            operation: uuid(operation),
            state,
            status: Some(uuid(99)),
            message: Arc::from("so it is"),
            converted,
        };
        let agent = self.agent.clone();
        self.world.apply(Command::RecordOperations(RecordOperations { agent, updates: vec![update] }))
    }

    fn total(&self) -> String {
        let total = self.world.state.agent(&self.agent).expect("known").total();
        total.filter(|one| one.provider.is_some()).to_string()
    }

    fn offerable(&self) -> String {
        let total = self.world.state.agent(&self.agent).expect("known").view().total;
        total.filter(|one| one.provider.is_some()).to_string()
    }

    fn operation(&self, id: &str) -> Option<OperationState> {
        self.world.state.operation(&self.framework, &id.into()).map(|known| known.state())
    }

    fn acknowledged(&self, operation: u8) -> Effect {
        let (agent, provider) = (self.agent.clone(), ProviderId::from(PROVIDER));
        Effect::AcknowledgeOperation { agent, provider, operation: uuid(operation), status: uuid(99) }
    }

    fn apply_effect(&self, id: &str) -> Effect {
        let (agent, framework) = (self.agent.clone(), self.framework.clone());
        Effect::ApplyOperation { agent, framework, operation: id.into() }
    }
}

fn change() -> Conversion {
    Conversion::ChangeDisk(one(&raw()))
}

#[test]
fn what_a_provider_has_is_offered_while_it_is_there() {
    let mut case = Case::new();
    assert_eq!(case.offerable(), "disk[raw]:100");
    case.tell(vec![word(false, None)]);
    assert_eq!((case.total().as_str(), case.offerable().as_str()), ("disk[raw]:100", ""));
    case.tell(vec![word(true, Some(state(1, &raw(), &[])))]);
    assert_eq!(case.offerable(), "disk[raw]:100");
    case.tell(vec![]);
    assert_eq!(case.total(), "");
}

#[test]
fn an_older_word_does_not_undo_a_newer_one() {
    let mut case = Case::new();
    case.tell(vec![word(false, None)]);
    let link = case.world.state.agent(&case.agent).expect("known").link;
    let older = case.tell_as(link, 1, vec![word(true, None)]);
    assert_eq!(older.outcome, Outcome::Refused(Refusal::StaleLink));
    let other = Link { serial: link.serial + 1, ..link };
    assert_eq!(case.tell_as(other, 9, vec![]).outcome, Outcome::Refused(Refusal::StaleLink));
    assert_eq!(case.offerable(), "");
}

#[test]
fn a_changed_disk_is_away_until_its_provider_says_what_it_became() {
    let mut case = Case::new();
    let accepted = case.accept(&raw(), vec![("o", change())], &[]);
    assert!(accepted.effects.contains(&case.apply_effect("o")));
    assert_eq!((case.total().as_str(), case.operation("o")), ("", Some(OperationState::Pending)));
    assert!(open_work(&case.world.state).contains(&case.apply_effect("o")), "a new leader goes on");
    let ended = case.ended(10, OperationState::Finished, mount());
    assert!(ended.effects.contains(&case.acknowledged(10)));
    assert_eq!(
        (case.total().as_str(), case.operation("o")),
        ("disk[mount]:100", Some(OperationState::Finished))
    );
    assert!(!open_work(&case.world.state).contains(&case.apply_effect("o")));
    let again = case.ended(10, OperationState::Finished, mount());
    assert!(again.effects.contains(&case.acknowledged(10)), "told until it hears of it");
    assert_eq!(case.total(), "disk[mount]:100");
}

#[test]
fn a_disk_that_could_not_be_changed_is_back() {
    for state in [OperationState::Failed, OperationState::Dropped, OperationState::Error] {
        let mut case = Case::new();
        case.accept(&raw(), vec![("o", change())], &[]);
        case.ended(10, state, Resources::default());
        assert_eq!((case.total().as_str(), case.operation("o")), ("disk[raw]:100", Some(state)));
    }
}

#[test]
fn an_operation_that_nobody_named_is_forgotten_with_its_end() {
    let mut case = Case::new();
    case.accept(&raw(), vec![("", change())], &[]);
    assert_eq!(case.world.state.operations().count(), 1);
    case.ended(10, OperationState::Finished, mount());
    assert_eq!((case.world.state.operations().count(), case.total().as_str()), (0, "disk[mount]:100"));
}

#[test]
fn an_operation_outlives_its_framework() {
    let mut case = Case::new();
    case.accept(&raw(), vec![("o", change())], &[]);
    case.world.apply(Command::Teardown(Teardown { framework: case.framework.clone() }));
    case.ended(10, OperationState::Finished, mount());
    assert_eq!((case.world.state.operations().count(), case.total().as_str()), (0, "disk[mount]:100"));
}

#[test]
fn a_launch_uses_what_operations_on_the_provider_made() {
    let mut case = Case::new();
    let reserved = disk(DiskSource::Raw, "raw", "disk(eng,op):100");
    let all = raw().checked_add(&resources("cpus:1;mem:64")).expect("small");
    let with = TaskSpec {
        resources: reserved.checked_add(&resources("cpus:1;mem:64")).expect("small").allocated_to(&role()),
        ..task("t", "cpus:1")
    };
    let accepted = case.accept(&all, vec![("o", Conversion::Reserve(reserved))], &[with]);
    let place = |wanted: &dyn Fn(&Effect) -> bool| accepted.effects.iter().position(wanted);
    let asked = place(&|effect| matches!(effect, Effect::ApplyOperation { .. }));
    let run = place(&|effect| matches!(effect, Effect::RunTask { .. }));
    assert!(asked < run && asked.is_some(), "{:?}", accepted.effects);
    assert_eq!(case.total(), "disk(eng,op)[raw]:100");
    let resources = accepted.effects.iter().any(|effect| matches!(effect, Effect::SendResources { .. }));
    assert!(!resources, "the agent itself has nothing to store");
    case.ended(10, OperationState::Finished, Resources::default());
    assert_eq!(case.operation("o"), Some(OperationState::Finished));
    assert_eq!(case.total(), "disk(eng,op)[raw]:100");
}

#[test]
fn a_new_word_of_the_provider_settles_what_rested_on_the_older_one() {
    let reserved = disk(DiskSource::Raw, "raw", "disk(eng,op):100");
    // What the new word says of the operation, its total, the total then, and at the end of the operation.
    let table = [
        (None, raw(), "disk[raw]:100", "disk[raw]:100", Some(OperationState::Dropped)),
        (
            Some(true),
            reserved.clone(),
            "disk(eng,op)[raw]:100",
            "disk(eng,op)[raw]:100",
            Some(OperationState::Finished),
        ),
        (
            Some(false),
            raw(),
            "disk(eng,op)[raw]:100",
            "disk(eng,op)[raw]:100",
            Some(OperationState::Finished),
        ),
    ];
    for (known, total, then, last, end) in table {
        let mut case = Case::new();
        case.accept(&raw(), vec![("o", Conversion::Reserve(reserved.clone()))], &[]);
        let operations: Vec<_> = known.map(|ended| (uuid(10), ended)).into_iter().collect();
        case.tell(vec![word(true, Some(state(2, &total, &operations)))]);
        assert_eq!(case.total(), then, "{known:?}");
        case.ended(10, OperationState::Finished, Resources::default());
        assert_eq!((case.total().as_str(), case.operation("o")), (last, end), "{known:?}");
    }
}

#[test]
fn operations_that_rest_on_each_other_go_on_together() {
    let mut case = Case::new();
    let reserved = disk(DiskSource::Raw, "raw", "disk(eng,op):100");
    let operations =
        vec![("o1", Conversion::Reserve(reserved.clone())), ("o2", Conversion::ChangeDisk(one(&reserved)))];
    case.accept(&raw(), operations, &[]);
    assert_eq!(case.total(), "");
    case.tell(vec![word(true, Some(state(2, &raw(), &[(uuid(10), false), (uuid(11), false)])))]);
    assert_eq!(case.total(), "");
    case.ended(10, OperationState::Finished, Resources::default());
    case.ended(11, OperationState::Finished, disk(DiskSource::Mount, "mount", "disk(eng,op):100"));
    assert_eq!(case.total(), "disk(eng,op)[mount]:100");
}

#[test]
fn what_a_failed_operation_left_open_is_not_offered_before_the_next_word() {
    let mut case = Case::new();
    let reserved = disk(DiskSource::Raw, "raw", "disk(eng,op):100");
    let operations =
        vec![("o1", Conversion::Reserve(reserved.clone())), ("o2", Conversion::ChangeDisk(one(&reserved)))];
    case.accept(&raw(), operations, &[]);
    case.ended(10, OperationState::Failed, Resources::default());
    case.ended(11, OperationState::Finished, mount());
    assert_eq!(case.offerable(), "", "the reservation failed, and the disk was changed all the same");
    case.tell(vec![word(true, Some(state(2, &mount(), &[])))]);
    assert_eq!(case.offerable(), "disk[mount]:100");
}

#[test]
fn operations_end_with_their_provider() {
    let mut case = Case::new();
    case.accept(&raw(), vec![("o", change())], &[]);
    case.tell(vec![]);
    assert_eq!(case.operation("o"), Some(OperationState::GoneByOperator));
    assert_eq!(case.total(), "");
}

#[test]
fn operators_do_not_change_what_a_provider_brings() {
    let mut case = Case::new();
    let conversion = Conversion::Reserve(disk(DiskSource::Raw, "raw", "disk(eng,op):100"));
    let agent = case.agent.clone();
    let outcome = case.world.apply(Command::ConvertResources(ConvertResources { agent, conversion })).outcome;
    assert!(matches!(outcome, Outcome::Denied(_)), "{outcome:?}");
    assert_eq!(case.total(), "disk[raw]:100");
}

#[test]
fn below_its_level_nothing_is_heard_of_providers() {
    let mut world = World::of_level(3);
    let agent = world.agent(1);
    let (link, sequence, providers) =
        (world.state.agent(&agent).expect("known").link, 1, vec![word(true, None)]);
    let before = world.state.digest();
    let told = UpdateProviders { agent: agent.clone(), link, sequence, providers };
    assert_eq!(world.apply(Command::UpdateProviders(told)).outcome, Outcome::Refused(Refusal::LevelTooLow));
    let record = RecordOperations { agent, updates: vec![] };
    assert_eq!(
        world.apply(Command::RecordOperations(record)).outcome,
        Outcome::Refused(Refusal::LevelTooLow)
    );
    assert_eq!(world.state.digest(), before);
}
