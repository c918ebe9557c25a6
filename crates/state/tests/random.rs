//! What holds after any sequence of commands.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use mesarch_state::{
    Applied, Change, Command, Effect, FEATURE_LEVEL_MAX, Outcome, State, check,
    command::*,
    model::Holder,
    open_work,
    outcome::{Denial, LaunchResult, OfferRefusal, Refusal},
    snapshot,
};
use mesarch_types::{AgentId, At, FrameworkId, OfferId, TaskId, resource::Resources};
use proptest::{prelude::*, strategy::ValueTree};
use support::{Choice, Driver};

fn choices(commands_max: usize) -> impl Strategy<Value = Vec<Choice>> {
    proptest::collection::vec(any::<Choice>(), 1..commands_max)
}

/// Whether an effect's documentation allows its loss after this command.
fn may_be_lost(command: &Command, effect: &Effect) -> bool {
    match effect {
        Effect::CloseStream { .. } | Effect::AcknowledgeOperation { .. } => true,
        Effect::SendAcknowledgement { .. } => matches!(command, Command::RecordUpdates(_)),
        Effect::KillTask { .. } => matches!(command, Command::RecordUpdates(_) | Command::AttachAgent(_)),
        _ => false,
    }
}

/// Everybody comes back to a new leader, on the stream that it had.
fn effects_of_a_new_leader(driver: &Driver) -> Vec<Effect> {
    let mut driver = driver.clone();
    let (attached, connected) = present(&driver.state);
    driver.at = At { index: driver.at.index + 1, position: 0, term: driver.at.term + 1, ..driver.at };
    let cluster = driver.state.cluster().expect("begun");
    let mut effects = driver
        .apply(Command::BeginTerm(BeginTerm {
            cluster,
            incarnation: 1,
            level: FEATURE_LEVEL_MAX,
            policy: None,
        }))
        .effects;
    for agent in attached {
        driver.at.index += 1;
        let link = Link { term: driver.at.term, serial: 1 };
        let stored = driver.state.agent(&agent).expect("known").stored;
        let attach = AttachAgent { agent, link, spec: None, inventory: None, stored };
        effects.extend(driver.apply(Command::AttachAgent(attach)).effects);
    }
    for framework in connected {
        driver.at.index += 1;
        let known = driver.state.framework(&framework).expect("known").clone();
        let resume = known.stream().map(|(stream, _)| stream.clone());
        let subscribe = Subscribe {
            framework: Some(framework),
            spec: (*known.spec).clone(),
            suppressed: known.suppressed,
            stream: "another".into(),
            resume,
        };
        effects.extend(driver.apply(Command::Subscribe(subscribe)).effects);
    }
    effects
}

fn present(state: &State) -> (Vec<AgentId>, Vec<FrameworkId>) {
    let attached = state.agents().filter(|agent| agent.is_attached()).map(|agent| agent.id.clone());
    let connected = state.frameworks().filter(|known| known.is_connected()).map(|known| known.id.clone());
    (attached.collect(), connected.collect())
}

/// What an index that only follows changes knows.
#[derive(Default)]
struct Fold {
    held: BTreeMap<(AgentId, Holder), Resources>,
    offers: BTreeSet<OfferId>,
    tasks: BTreeSet<(FrameworkId, TaskId)>,
    executors: BTreeSet<ExecutorKey>,
    agents: BTreeSet<AgentId>,
    frameworks: BTreeSet<FrameworkId>,
    asked: BTreeSet<(FrameworkId, AgentId)>,
    /// An agent's holdings overlapped once: sums cannot be followed any more.
    overlapped: bool,
}

impl Fold {
    fn follow(&mut self, change: &Change) {
        match change {
            Change::Taken(it) => {
                let key = (it.agent.clone(), (it.framework.clone(), it.role.clone()));
                let held = self.held.entry(key).or_default();
                *held = held.checked_add(&it.resources).expect("adds up");
            }
            Change::Released { holding: it, .. } => {
                let key = (it.agent.clone(), (it.framework.clone(), it.role.clone()));
                match self.held.get(&key).and_then(|held| held.checked_sub(&it.resources)) {
                    Some(rest) => drop(self.held.insert(key, rest)),
                    None => self.overlapped = true,
                }
            }
            Change::Converted { holding: it, made } => {
                let key = (it.agent.clone(), (it.framework.clone(), it.role.clone()));
                let rest = self.held.get(&key).and_then(|held| held.checked_sub(&it.resources));
                match rest.and_then(|rest| rest.checked_add(made)) {
                    Some(now) => drop(self.held.insert(key, now)),
                    None => self.overlapped = true,
                }
            }
            Change::OfferAdded(id) => assert!(self.offers.insert(id.clone())),
            Change::OfferRemoved { offer, .. } => assert!(self.offers.remove(offer)),
            Change::TaskAdded(framework, task) => {
                assert!(self.tasks.insert((framework.clone(), task.clone())))
            }
            Change::TaskRemoved(framework, task) => {
                assert!(self.tasks.remove(&(framework.clone(), task.clone())))
            }
            Change::ExecutorAdded(key) => assert!(self.executors.insert(key.clone())),
            Change::ExecutorRemoved(key) => assert!(self.executors.remove(key)),
            Change::Agent(id) => drop(self.agents.insert(id.clone())),
            Change::AgentRemoved(id) => assert!(self.agents.remove(id)),
            Change::Framework(id) => drop(self.frameworks.insert(id.clone())),
            Change::FrameworkRemoved(id) => assert!(self.frameworks.remove(id)),
            Change::InverseOfferAdded { framework, agent } => {
                assert!(self.asked.insert((framework.clone(), agent.clone())));
            }
            Change::InverseOfferRemoved { framework, agent, .. } => {
                assert!(self.asked.remove(&(framework.clone(), agent.clone())));
            }
            Change::TaskUpdated { .. } | Change::TermBegan | Change::Revived { .. } | Change::Policy => {}
        }
    }

    fn compare(&mut self, state: &State) {
        assert!(self.offers.iter().eq(state.offers().map(|offer| &offer.id)));
        assert!(
            self.tasks
                .iter()
                .cloned()
                .eq(state.tasks().map(|task| (task.framework.clone(), task.spec.id.clone())))
        );
        assert!(self.executors.iter().eq(state.executors().map(|executor| &executor.key)));
        assert!(self.agents.iter().eq(state.agents().map(|agent| &agent.id)));
        assert!(self.frameworks.iter().eq(state.frameworks().map(|known| &known.id)));
        let asked = state.inverse_offers().map(|(framework, agent, _)| (framework.clone(), agent.clone()));
        assert!(self.asked.iter().cloned().eq(asked));
        self.overlapped |= state.agents().any(|agent| agent.ledger.is_overcommitted());
        if self.overlapped {
            return;
        }
        let mut held: BTreeMap<(AgentId, Holder), Resources> = BTreeMap::new();
        for agent in state.agents() {
            for (holder, resources) in agent.ledger.used().iter().chain(agent.ledger.offered()) {
                let sum = held.entry((agent.id.clone(), holder.clone())).or_default();
                *sum = sum.checked_add(resources).expect("adds up");
            }
        }
        self.held.retain(|_, held| !held.is_empty());
        assert_eq!(self.held, held);
    }
}

fn bytes(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot::encode(state, &mut bytes).expect("in memory");
    bytes
}

/// One name per variant. Without a wildcard: whoever adds a variant is asked for its name, and [`KINDS`] must have it.
fn kind(command: &Command) -> &'static str {
    match command {
        Command::BeginTerm(_) => "BeginTerm",
        Command::SetLevel(_) => "SetLevel",
        Command::EventsDelivered(_) => "EventsDelivered",
        Command::RegisterAgent(_) => "RegisterAgent",
        Command::AttachAgent(c) if c.inventory.is_some() => "AttachAgent with an inventory",
        Command::AttachAgent(_) => "AttachAgent",
        Command::DetachAgent(_) => "DetachAgent",
        Command::MarkUnreachable(_) => "MarkUnreachable",
        Command::Subscribe(_) => "Subscribe",
        Command::Disconnect(_) => "Disconnect",
        Command::Suppress(_) => "Suppress",
        Command::Revive(_) => "Revive",
        Command::Teardown(_) => "Teardown",
        Command::ExpireFailover(_) => "ExpireFailover",
        Command::IssueOffers(_) => "IssueOffers",
        Command::AcceptOffers(_) => "AcceptOffers",
        Command::DeclineOffers(_) => "DeclineOffers",
        Command::RescindOffers(_) => "RescindOffers",
        Command::RecordUpdates(_) => "RecordUpdates",
        Command::AcknowledgeUpdates(_) => "AcknowledgeUpdates",
        Command::AgentForgot(_) => "AgentForgot",
        Command::RequestKill(_) => "RequestKill",
        Command::RequestShutdown(_) => "RequestShutdown",
        Command::ExecutorExited(_) => "ExecutorExited",
        Command::SetWeights(_) => "SetWeights",
        Command::SetQuota(_) => "SetQuota",
        Command::SetPriorities(_) => "SetPriorities",
        Command::SetWhitelist(_) => "SetWhitelist",
        Command::SetPolicy(_) => "SetPolicy",
        Command::ConvertResources(_) => "ConvertResources",
        Command::DrainAgent(_) => "DrainAgent",
        Command::DeactivateAgent(_) => "DeactivateAgent",
        Command::ReactivateAgent(_) => "ReactivateAgent",
        Command::MarkAgentGone(_) => "MarkAgentGone",
        Command::SetSchedule(_) => "SetSchedule",
        Command::StartMaintenance(_) => "StartMaintenance",
        Command::StopMaintenance(_) => "StopMaintenance",
        Command::IssueInverseOffers(_) => "IssueInverseOffers",
        Command::AnswerInverseOffers(_) => "AnswerInverseOffers",
        Command::UpdateFramework(_) => "UpdateFramework",
        Command::ResourcesStored(_) => "ResourcesStored",
        Command::AcknowledgeOperation(_) => "AcknowledgeOperation",
        Command::UpdateProviders(_) => "UpdateProviders",
        Command::RecordOperations(_) => "RecordOperations",
    }
}

const KINDS: [&str; 44] = [
    "AcceptOffers",
    "AcknowledgeOperation",
    "AcknowledgeUpdates",
    "AgentForgot",
    "AnswerInverseOffers",
    "AttachAgent",
    "AttachAgent with an inventory",
    "BeginTerm",
    "ConvertResources",
    "DeactivateAgent",
    "DeclineOffers",
    "DetachAgent",
    "Disconnect",
    "DrainAgent",
    "EventsDelivered",
    "ExecutorExited",
    "ExpireFailover",
    "IssueInverseOffers",
    "IssueOffers",
    "MarkAgentGone",
    "MarkUnreachable",
    "ReactivateAgent",
    "RecordOperations",
    "RecordUpdates",
    "RegisterAgent",
    "RequestKill",
    "RequestShutdown",
    "RescindOffers",
    "ResourcesStored",
    "Revive",
    "SetLevel",
    "SetPolicy",
    "SetPriorities",
    "SetQuota",
    "SetSchedule",
    "SetWeights",
    "SetWhitelist",
    "StartMaintenance",
    "StopMaintenance",
    "Subscribe",
    "Suppress",
    "Teardown",
    "UpdateFramework",
    "UpdateProviders",
];

/// What the effect of a command that the state took was, where the kind alone says too little.
fn turns(before: &State, command: &Command, applied: &Applied) -> Vec<&'static str> {
    let mut turns = Vec::new();
    for change in &applied.changes {
        match (command, change) {
            (Command::AttachAgent(_), Change::TaskAdded(framework, _)) => {
                let known = before.framework(framework).is_some();
                turns.push(if known { "a task is adopted" } else { "a framework is adopted" });
            }
            (Command::AttachAgent(_), Change::TaskRemoved(..)) => turns.push("a missing task is concluded"),
            (Command::AttachAgent(_), Change::ExecutorAdded(_)) => turns.push("an executor is adopted"),
            (Command::AttachAgent(_), Change::ExecutorRemoved(_)) => {
                turns.push("a missing executor is removed")
            }
            (Command::AttachAgent(c), Change::Agent(_)) if before.unreachable_agent(&c.agent).is_some() => {
                turns.push("an agent comes back");
            }
            (Command::DetachAgent(_), Change::TaskRemoved(..)) => turns.push("detachment loses a task"),
            (Command::MarkUnreachable(_), Change::TaskRemoved(..)) => {
                turns.push("a task becomes unreachable")
            }
            (Command::AcceptOffers(_), Change::TaskAdded(..)) => turns.push("a task is launched"),
            (Command::AcceptOffers(_), Change::Converted { .. }) => turns.push("an operation succeeds"),
            (Command::UpdateFramework(_), Change::OfferRemoved { .. }) => {
                turns.push("a framework leaves a role with an offer");
            }
            (Command::SetQuota(_), Change::OfferRemoved { .. }) => turns.push("quota withdraws an offer"),
            (Command::ConvertResources(_), Change::OfferRemoved { .. }) => {
                turns.push("a reservation withdraws an offer");
            }
            (Command::MarkAgentGone(c), Change::AgentRemoved(_)) if before.agent(&c.agent).is_some() => {
                turns.push("a known agent is gone");
            }
            (Command::AttachAgent(_) | Command::AcknowledgeUpdates(_), Change::AgentRemoved(_)) => {
                turns.push("a drained agent is gone");
            }
            (Command::DrainAgent(_), Change::OfferRemoved { .. }) => turns.push("a drain withdraws an offer"),
            (Command::SetSchedule(_), Change::OfferRemoved { .. }) => {
                turns.push("the schedule withdraws an offer");
            }
            (Command::StartMaintenance(_), Change::TaskRemoved(..)) => turns.push("maintenance loses a task"),
            (_, Change::InverseOfferRemoved { until: None, .. }) => {
                turns.push("an inverse offer is withdrawn");
            }
            _ => {}
        }
    }
    let ends = |effect: &Effect| matches!(effect, Effect::SendOperation { .. });
    if !matches!(command, Command::Subscribe(_)) && applied.effects.iter().any(ends) {
        turns.push("an operation ends");
    }
    let asks = |effect: &Effect| matches!(effect, Effect::ApplyOperation { .. });
    if matches!(command, Command::AcceptOffers(_)) && applied.effects.iter().any(asks) {
        turns.push("a resource provider is asked");
    }
    if matches!(command, Command::RecordOperations(_)) && applied.effects.iter().any(ends) {
        turns.push("a resource provider ends an operation");
    }
    if let Outcome::Accepted(results) = &applied.outcome {
        turns.extend(results.iter().map(|result| match result {
            LaunchResult::Launched(_) => "a launch succeeds",
            LaunchResult::AlreadyLive(_) => "a launch meets a live task",
            LaunchResult::Refused(_) => "a launch is refused",
        }));
    }
    if let Outcome::Refused(Refusal::AgentGone | Refusal::MachineDown) = applied.outcome {
        turns.push("an agent is sent away");
    }
    match &applied.outcome {
        Outcome::Denied(Denial::Quota { .. }) => turns.push("a quota is denied"),
        Outcome::Denied(Denial::Conversion(_)) => turns.push("a reservation is denied"),
        Outcome::Denied(Denial::Draining(_)) => turns.push("a reactivation is denied"),
        Outcome::Issued(results) if results.contains(&Err(OfferRefusal::Quota)) => {
            turns.push("an offer is over the limit");
        }
        _ => {}
    }
    turns
}

const TURNS: [&str; 30] = [
    "a drain withdraws an offer",
    "a drained agent is gone",
    "a framework is adopted",
    "a framework leaves a role with an offer",
    "a known agent is gone",
    "a launch is refused",
    "a launch meets a live task",
    "a launch succeeds",
    "a missing executor is removed",
    "a missing task is concluded",
    "a quota is denied",
    "a reactivation is denied",
    "a reservation is denied",
    "a reservation withdraws an offer",
    "a resource provider ends an operation",
    "a resource provider is asked",
    "a task becomes unreachable",
    "a task is adopted",
    "a task is launched",
    "an agent comes back",
    "an agent is sent away",
    "an executor is adopted",
    "an inverse offer is withdrawn",
    "an offer is over the limit",
    "an operation ends",
    "an operation succeeds",
    "detachment loses a task",
    "maintenance loses a task",
    "quota withdraws an offer",
    "the schedule withdraws an offer",
];

/// Without this, a property could hold because the commands that break it never come.
#[test]
fn random_commands_are_of_every_kind_and_take_every_turn() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut kinds, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for run in 0..160 {
        let choices = choices(300).new_tree(&mut runner).expect("no filters").current();
        let mut driver = if run % 2 == 0 { Driver::new() } else { Driver::of_level(1) };
        for choice in choices {
            let command = driver.next(choice);
            let before = driver.state.clone();
            let applied = driver.apply(command.clone());
            seen.extend(turns(&before, &command, &applied));
            if !matches!(applied.outcome, Outcome::Refused(_) | Outcome::Denied(_)) {
                kinds.insert(kind(&command));
            }
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), KINDS);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), TURNS);
}

/// So many cases, unless `PROPTEST_CASES` says otherwise.
#[expect(clippy::disallowed_methods, reason = "tests may look at their environment")]
fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(256), ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_effects_are_open_work(choices in choices(300)) {
        let mut driver = Driver::new();
        for choice in choices {
            let command = driver.next(choice);
            let Applied { effects, .. } = driver.apply(command.clone());
            prop_assert_eq!(check(&driver.state), Ok(()), "after {:?}", command);
            let owed = open_work(&driver.state);
            for effect in &effects {
                prop_assert!(owed.contains(effect) || may_be_lost(&command, effect), "{:?} of {:?}", effect, command);
            }
        }
        let again = effects_of_a_new_leader(&driver);
        for effect in open_work(&driver.state) {
            prop_assert!(again.contains(&effect), "{:?} is forgotten by a new leader", effect);
        }
    }

    #[test]
    fn no_offer_takes_a_role_over_its_limit(choices in choices(300)) {
        let mut driver = Driver::new();
        for choice in choices {
            let command = driver.next(choice);
            let Command::IssueOffers(c) = command.clone() else {
                driver.apply(command);
                continue;
            };
            let before = driver.state.clone();
            driver.apply(command);
            for quota in driver.state.quotas() {
                let consumed = |state: &State| state.consumed(quota.role()).cloned().unwrap_or_default();
                let (before, after) = (consumed(&before), consumed(&driver.state));
                for (kind, limit) in quota.limits().iter() {
                    let holds = after.get(kind) <= limit || after.get(kind) == before.get(kind);
                    prop_assert!(holds, "{} of {} after {:?}", after, quota.role(), c);
                }
            }
        }
    }

    #[test]
    fn indexes_that_follow_changes_agree_with_the_state(choices in choices(300)) {
        let (mut driver, mut fold) = (Driver::new(), Fold::default());
        for choice in choices {
            let command = driver.next(choice);
            driver.apply(command).changes.iter().for_each(|change| fold.follow(change));
            fold.compare(&driver.state);
        }
    }

    #[test]
    fn a_level_that_rises_on_the_way_never_falls_and_leaves_replicas_equal(
        choices in choices(300),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut driver = Driver::of_level(1);
        let mut other = driver.state.clone();
        let cut = cut.index(choices.len());
        for (position, choice) in choices.into_iter().enumerate() {
            let (before, command) = (driver.state.level(), driver.next(choice));
            let applied = driver.apply(command.clone());
            let rises = matches!(command, Command::SetLevel(_)) && applied.outcome == Outcome::Done;
            prop_assert_eq!(driver.state.level(), before + u32::from(rises), "after {:?}", command);
            prop_assert_eq!(check(&driver.state), Ok(()), "after {:?}", command);
            if position == cut {
                other = snapshot::decode(&mut &bytes(&other)[..]).expect("just encoded");
            }
            other.apply(driver.at, Command::decode(&command.encode()).expect("just encoded"));
        }
        prop_assert_eq!(other.digest(), driver.state.digest());
    }

    #[test]
    fn replicas_are_equal_and_a_snapshot_with_the_tail_is_the_whole_log(choices in choices(200), cut in any::<prop::sample::Index>()) {
        let mut driver = Driver::new();
        let mut log = vec![];
        let mut other = driver.state.clone();
        for choice in &choices {
            let command = driver.next(*choice);
            log.push((driver.at, command.encode()));
            driver.apply(command);
        }
        let cut = cut.index(log.len());
        for (position, (at, command)) in log.iter().enumerate() {
            if position == cut {
                other = snapshot::decode(&mut &bytes(&other)[..]).expect("just encoded");
            }
            other.apply(*at, Command::decode(command).expect("encoded"));
        }
        prop_assert_eq!(bytes(&other), bytes(&driver.state));
        prop_assert_eq!(other.digest(), driver.state.digest());
    }

    #[test]
    fn a_damaged_snapshot_is_an_error_or_a_state_but_never_a_panic(
        choices in choices(60),
        position in any::<prop::sample::Index>(),
        flip in 1u8..,
        cut in any::<bool>(),
    ) {
        let mut driver = Driver::new();
        for choice in choices {
            let command = driver.next(choice);
            driver.apply(command);
        }
        let mut bytes = bytes(&driver.state);
        let position = position.index(bytes.len());
        if cut {
            bytes.truncate(position);
            prop_assert!(snapshot::decode(&mut &bytes[..]).is_err());
        } else {
            bytes[position] ^= flip;
            drop(snapshot::decode(&mut &bytes[..]));
        }
    }

    #[test]
    fn decoders_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(Command::decode(&bytes));
        drop(snapshot::decode(&mut &bytes[..]));
        let with_header = [b"mesarch\0\x01".as_slice(), &(bytes.len() as u64).to_le_bytes(), &bytes].concat();
        drop(snapshot::decode(&mut &with_header[..]));
    }
}
