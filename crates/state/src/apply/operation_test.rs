//! Frameworks' operations, and agents that store what came of them.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_types::{
    AgentCapabilities, AgentId, Conversion, Disk, FrameworkId, OfferId, OperationState, Resource,
    ResourceVersion, Resources,
};

use crate::{
    Applied, Change, Command, Effect, Outcome,
    command::*,
    model::{OperationNews, OutboxItem},
    outcome::{LaunchRefusal, LaunchResult, Refusal},
    testing::{World, agent_spec, launch_on_nothing, link, refuse, resources, role, task, uuid},
};

const DISK: &str = "cpus:8;mem:1024;disk:100";

/// A cluster whose only agent has a disk.
fn world() -> (World, AgentId, FrameworkId) {
    world_of(3, AgentCapabilities::all())
}

fn world_of(level: u32, capabilities: AgentCapabilities) -> (World, AgentId, FrameworkId) {
    let mut world = World::of_level(level);
    let spec = AgentSpec { total: resources(DISK), capabilities, ..agent_spec() };
    let register = RegisterAgent { nonce: [1; 16], spec, link: link(1) };
    let agent = match world.apply(Command::RegisterAgent(register)).outcome {
        Outcome::AgentAttached { agent } => agent,
        other => panic!("{other:?}"),
    };
    let framework = world.framework();
    (world, agent, framework)
}

fn operation(before: u32, id: &str, judged: Result<Conversion, Arc<str>>) -> Operation {
    let id = (!id.is_empty()).then(|| id.into());
    Operation { before, id, uuid: uuid(7), info: Bytes::from_static(b"info"), judged }
}

fn reserve(text: &str) -> Result<Conversion, Arc<str>> {
    Ok(Conversion::Reserve(resources(text)))
}

fn volume(id: &str, text: &str) -> Resources {
    let disk = Disk { persistence_id: Some(id.into()), ..Disk::default() };
    let below = resources(text);
    let below = below.iter().next().expect("one");
    Resources::new([Resource { disk: Some(Arc::new(disk)), ..below.clone() }]).expect("one")
}

fn accept(
    world: &mut World,
    framework: &FrameworkId,
    offers: Vec<OfferId>,
    operations: Vec<Operation>,
    tasks: &[TaskSpec],
) -> Applied {
    let launches = tasks.iter().cloned().map(launch_on_nothing).collect();
    let (framework, refuse) = (framework.clone(), refuse(0));
    world.apply(Command::AcceptOffers(AcceptOffers { framework, offers, launches, operations, refuse }))
}

fn total(world: &World, agent: &AgentId) -> String {
    world.state.agent(agent).expect("known").total().to_string()
}

fn owed_version(world: &World, agent: &AgentId) -> ResourceVersion {
    let agent = world.state.agent(agent).expect("known");
    assert!(agent.is_owed_resources());
    agent.converted_at
}

fn stored(world: &mut World, agent: &AgentId, version: ResourceVersion) -> Applied {
    world.apply(Command::ResourcesStored(ResourcesStored { agent: agent.clone(), version }))
}

fn news(world: &World, framework: &FrameworkId) -> Vec<(String, OperationState)> {
    let outbox = world.state.framework(framework).expect("known").outbox.values();
    let told = outbox.filter_map(|item| match &**item {
        OutboxItem::Operation(OperationNews { operation, state, .. }) => {
            Some((operation.to_string(), *state))
        }
        _ => None,
    });
    told.collect()
}

fn attach(
    world: &mut World,
    agent: &AgentId,
    stored: ResourceVersion,
    resources: Option<StoredResources>,
) -> Applied {
    let link = Link { term: world.term, serial: 1000 + world.index };
    let inventory = Some(Inventory { resources, ..Inventory::default() });
    let spec = Some(AgentSpec { total: crate::testing::resources(DISK), ..agent_spec() });
    world.apply(Command::AttachAgent(AttachAgent { agent: agent.clone(), link, spec, inventory, stored }))
}

/// One operation with the id `o`: the agent's disk reserved, of which it has not heard.
fn reserved() -> (World, AgentId, FrameworkId) {
    let (mut world, agent, framework) = world();
    let offer = world.offer(&framework, &agent, "cpus:2;disk:50");
    accept(&mut world, &framework, vec![offer], vec![operation(0, "o", reserve("disk(eng,op):40"))], &[]);
    (world, agent, framework)
}

#[test]
fn a_launch_uses_what_operations_before_it_made() {
    let (mut world, agent, framework) = world();
    let offer = world.offer(&framework, &agent, "cpus:2;disk:50");
    let with_volume = TaskSpec {
        resources: resources("cpus(eng,op):1")
            .checked_add(&volume("v", "disk(eng,op):30"))
            .expect("fits")
            .allocated_to(&role()),
        ..task("t", "cpus:1")
    };
    let operations = vec![
        operation(1, "r", reserve("cpus(eng,op):1;disk(eng,op):40")),
        operation(1, "c", Ok(Conversion::Create(volume("v", "disk(eng,op):30")))),
    ];
    let early = TaskSpec { id: "early".into(), ..with_volume.clone() };
    let applied = accept(&mut world, &framework, vec![offer], operations, &[early, with_volume]);
    let Outcome::Accepted(results) = &applied.outcome else { panic!("{applied:?}") };
    assert_eq!(results[0], LaunchResult::Refused(LaunchRefusal::Resources), "it comes before them");
    assert!(matches!(results[1], LaunchResult::Launched(_)), "{results:?}");
    let everything = "cpus:7;cpus(eng,op):1;disk:60;disk(eng,op):10;disk(eng,op)[v]:30;mem:1024";
    assert_eq!(total(&world, &agent), everything);
    assert_eq!(world.free(&agent), "cpus:7;disk:60;disk(eng,op):10;mem:1024");
    let sent: Vec<&Effect> =
        applied.effects.iter().filter(|it| !matches!(it, Effect::SendOutbox { .. })).collect();
    assert_eq!(
        sent[0],
        &Effect::SendResources { agent: agent.clone() },
        "before the launch that rests on it"
    );
    assert!(matches!(sent[1..], [Effect::RunTask { .. }]), "{sent:?}");
    let converted = applied.changes.iter().filter(|change| matches!(change, Change::Converted { .. }));
    assert_eq!(converted.count(), 2);
}

#[test]
fn a_refused_operation_changes_nothing_and_the_others_go_on() {
    let (mut world, agent, framework) = world();
    let offer = world.offer(&framework, &agent, "cpus:2;disk:50");
    let operations = vec![
        operation(0, "bad", Err("bad".into())),
        operation(0, "more", reserve("cpus(eng,op):3")),
        operation(0, "", reserve("cpus(eng,op):4")),
        operation(0, "good", reserve("cpus(eng,op):2")),
    ];
    accept(&mut world, &framework, vec![offer], operations, &[]);
    assert_eq!(total(&world, &agent), "cpus:6;cpus(eng,op):2;disk:100;mem:1024");
    let error = OperationState::Error;
    assert_eq!(news(&world, &framework), [("bad".into(), error), ("more".into(), error)]);
    let known: Vec<_> = world.state.operations().map(|operation| operation.id.to_string()).collect();
    assert_eq!(known, ["good"]);
}

#[test]
fn an_accept_that_comes_twice_is_carried_out_once() {
    let (mut world, agent, framework) = reserved();
    let gone = vec![OfferId::from("gone")];
    accept(&mut world, &framework, gone.clone(), vec![operation(0, "o", reserve("disk(eng,op):40"))], &[]);
    let offer = world.offer(&framework, &agent, "cpus:2;disk:10");
    accept(&mut world, &framework, vec![offer], vec![operation(0, "o", reserve("disk(eng,op):5"))], &[]);
    accept(&mut world, &framework, gone, vec![operation(0, "p", reserve("disk(eng,op):40"))], &[]);
    let pending = ("o".to_owned(), OperationState::Pending);
    assert_eq!(news(&world, &framework), [pending.clone(), pending, ("p".into(), OperationState::Error)]);
    assert_eq!(total(&world, &agent), "cpus:8;disk:60;disk(eng,op):40;mem:1024");
}

#[test]
fn an_operation_ends_once_its_agent_has_stored_it_and_is_told_until_acknowledged() {
    let (mut world, agent, framework) = reserved();
    let version = owed_version(&world, &agent);
    let tell = Effect::SendOperation { framework: framework.clone(), operation: "o".into(), uuid: uuid(7) };
    assert_eq!(stored(&mut world, &agent, version).effects, std::slice::from_ref(&tell));
    assert_eq!(stored(&mut world, &agent, version).effects, [], "told twice");
    assert!(!world.state.agent(&agent).expect("known").is_owed_resources());
    world.begin_term();
    let resume = Subscribe {
        framework: Some(framework.clone()),
        resume: Some("stream-1".into()),
        ..crate::testing::subscribe()
    };
    assert!(world.apply(Command::Subscribe(resume)).effects.contains(&tell), "told by the next leader");
    let acknowledge =
        |byte| AcknowledgeOperation { framework: framework.clone(), operation: "o".into(), uuid: uuid(byte) };
    let refused = Outcome::Refused(Refusal::UnknownOperation);
    assert_eq!(world.apply(Command::AcknowledgeOperation(acknowledge(8))).outcome, refused);
    assert_eq!(world.apply(Command::AcknowledgeOperation(acknowledge(7))).outcome, Outcome::Done);
    assert_eq!(world.apply(Command::AcknowledgeOperation(acknowledge(7))).outcome, refused);
    assert_eq!(world.state.operations().count(), 0);
}

#[test]
fn a_pending_operation_cannot_be_acknowledged() {
    let (mut world, _, framework) = reserved();
    let acknowledge = AcknowledgeOperation { framework, operation: "o".into(), uuid: uuid(7) };
    let outcome = world.apply(Command::AcknowledgeOperation(acknowledge)).outcome;
    assert_eq!(outcome, Outcome::Refused(Refusal::UnknownOperation));
}

#[test]
fn an_agent_that_cannot_store_volumes_gets_none() {
    let (mut world, agent, framework) = world_of(3, AgentCapabilities::NONE);
    let offer = world.offer(&framework, &agent, "cpus:2;disk:50");
    let operations = vec![
        operation(0, "", reserve("cpus(eng,op):1;disk(eng,op):40")),
        operation(0, "", Ok(Conversion::Create(volume("v", "disk(eng,op):30")))),
        operation(0, "o", reserve("cpus(eng,op):1")),
    ];
    let applied = accept(&mut world, &framework, vec![offer], operations, &[]);
    assert_eq!(total(&world, &agent), "cpus:7;cpus(eng,op):1;disk:60;disk(eng,op):40;mem:1024");
    assert_eq!(news(&world, &framework), [("o".into(), OperationState::Error)]);
    assert!(!applied.effects.contains(&Effect::SendResources { agent }));
}

#[test]
fn below_its_level_operations_are_not_seen_and_nothing_is_stored() {
    let (mut world, agent, framework) = world_of(2, AgentCapabilities::all());
    let offer = world.offer(&framework, &agent, "cpus:2;disk:50");
    accept(&mut world, &framework, vec![offer], vec![operation(0, "o", reserve("cpus(eng,op):1"))], &[]);
    assert_eq!((total(&world, &agent), news(&world, &framework)), (resources(DISK).to_string(), vec![]));
    let conversion = Conversion::Reserve(resources("cpus(eng,op):1"));
    let convert = Command::ConvertResources(ConvertResources { agent: agent.clone(), conversion });
    assert_eq!(world.apply(convert).effects, []);
    assert!(!world.state.agent(&agent).expect("known").is_owed_resources());
    let applied = world.apply(Command::SetLevel(SetLevel { level: 3 }));
    assert_eq!(applied.effects, [Effect::SendResources { agent: agent.clone() }], "what was made before");
    let version = owed_version(&world, &agent);
    assert_eq!(stored(&mut world, &agent, version).outcome, Outcome::Done);
}

#[test]
fn an_agent_that_is_behind_is_told_when_it_attaches() {
    let (mut world, agent, _) = reserved();
    let version = owed_version(&world, &agent);
    let send = Effect::SendResources { agent: agent.clone() };
    let applied = attach(&mut world, &agent, ResourceVersion::default(), None);
    assert!(applied.effects.contains(&send));
    let applied = attach(&mut world, &agent, version, None);
    assert!(!applied.effects.contains(&send));
    assert!(matches!(applied.effects[..], [Effect::SendOperation { .. }]), "it has ended: {applied:?}");
    let applied = attach(&mut world, &agent, ResourceVersion::default(), None);
    assert!(applied.effects.contains(&send), "it lost what it had");
    assert!(world.state.operations().all(|operation| operation.finished));
}

#[test]
fn masters_that_know_less_than_the_agent_adopt_what_it_stored() {
    let (mut world, agent, _) = reserved();
    let version = owed_version(&world, &agent);
    let told = |version, made: &str| {
        let (taken, made) = (resources("disk:20"), resources(made));
        StoredResources { version, taken, made }
    };
    let newer = ResourceVersion { incarnation: version.incarnation + 1, ..version };
    let older = ResourceVersion { incarnation: 0, ..version };
    attach(&mut world, &agent, older, Some(told(older, "disk(ops,op):20")));
    assert_eq!(total(&world, &agent), "cpus:8;disk:60;disk(eng,op):40;mem:1024", "the log knows more");
    attach(&mut world, &agent, newer, Some(told(newer, "disk(ops,op):30")));
    assert_eq!(total(&world, &agent), "cpus:8;disk:60;disk(eng,op):40;mem:1024", "amounts do not add up");
    let applied = attach(&mut world, &agent, newer, Some(told(newer, "disk(ops,op):20")));
    assert_eq!(total(&world, &agent), "cpus:8;disk:80;disk(ops,op):20;mem:1024");
    assert!(!applied.effects.contains(&Effect::SendResources { agent }));
    let unknown = AgentId::from("from-before");
    attach(&mut world, &unknown, version, Some(told(version, "disk(ops,op):20")));
    assert_eq!(total(&world, &unknown), "cpus:8;disk:80;disk(ops,op):20;mem:1024");
}

#[test]
fn operations_outlive_the_absence_of_their_agent() {
    let (mut world, agent, framework) = reserved();
    let version = owed_version(&world, &agent);
    world.give_up(&agent);
    assert_eq!(news(&world, &framework), [("o".into(), OperationState::Unreachable)]);
    attach(&mut world, &agent, version, None);
    assert!(world.state.operation(&framework, &"o".into()).expect("kept").finished);
    assert_eq!(total(&world, &agent), "cpus:8;disk:60;disk(eng,op):40;mem:1024");
}

#[test]
fn a_removed_framework_leaves_what_it_reserved_but_no_operations() {
    let (mut world, agent, framework) = reserved();
    world.apply(Command::Teardown(Teardown { framework }));
    assert_eq!(world.state.operations().count(), 0);
    assert_eq!(total(&world, &agent), "cpus:8;disk:60;disk(eng,op):40;mem:1024");
    let version = owed_version(&world, &agent);
    assert_eq!(stored(&mut world, &agent, version).effects, []);
}

#[test]
fn what_is_left_of_the_offers_is_given_back_as_it_is_now() {
    let (mut world, agent, framework) = world();
    let offer = world.offer(&framework, &agent, "cpus:2");
    let applied =
        accept(&mut world, &framework, vec![offer], vec![operation(0, "", reserve("cpus(eng,op):1"))], &[]);
    let released = applied.changes.iter().find_map(|change| match change {
        Change::Released { holding, .. } => Some(holding.resources.to_string()),
        _ => None,
    });
    assert_eq!(released.as_deref(), Some("cpus:1;cpus(eng,op):1"));
    let again = world.offer(&framework, &agent, "cpus(eng,op):1");
    let undo = Ok(Conversion::Unreserve(resources("cpus(eng,op):1")));
    accept(&mut world, &framework, vec![again], vec![operation(0, "", undo)], &[]);
    assert_eq!(total(&world, &agent), resources(DISK).to_string());
    assert_eq!(world.state.agent(&agent).expect("known").converted, None);
}

#[test]
fn a_volume_does_not_begin_with_what_a_destroyed_one_of_its_name_held() {
    let (mut world, agent, framework) = world();
    let volume = || volume("v", "disk(eng,op):30");
    let create = |id: &str| operation(0, id, Ok(Conversion::Create(volume())));
    let offer = world.offer(&framework, &agent, "disk:30");
    let operations = vec![
        operation(0, "", reserve("disk(eng,op):30")),
        create(""),
        operation(0, "", Ok(Conversion::Destroy(volume()))),
        create("too soon"),
    ];
    accept(&mut world, &framework, vec![offer], operations, &[]);
    assert_eq!(news(&world, &framework), [("too soon".into(), OperationState::Error)]);
    let version = owed_version(&world, &agent);
    stored(&mut world, &agent, version);
    let offer = world.offer(&framework, &agent, "disk(eng,op):30");
    accept(&mut world, &framework, vec![offer], vec![create("now")], &[]);
    assert_eq!(total(&world, &agent), "cpus:8;disk:70;disk(eng,op)[v]:30;mem:1024");
}

#[test]
fn a_drain_waits_for_what_the_agent_is_to_store() {
    let (mut world, agent, framework) = reserved();
    let version = owed_version(&world, &agent);
    let drain = DrainAgent { agent: agent.clone(), max_grace_ns: None, mark_gone: true };
    world.apply(Command::DrainAgent(drain));
    assert!(world.state.gone_agent(&agent).is_none());
    stored(&mut world, &agent, version);
    assert!(world.state.gone_agent(&agent).is_some(), "that was the last that it had to do");
    assert_eq!(news(&world, &framework), [], "it ended before");
}

#[test]
fn operations_on_an_agent_that_is_marked_gone_are_told_so() {
    let (mut world, agent, framework) = reserved();
    world.apply(Command::MarkAgentGone(MarkAgentGone { agent: agent.clone() }));
    assert_eq!(news(&world, &framework), [("o".into(), OperationState::GoneByOperator)]);
    assert_eq!(world.state.operations().count(), 0);
}

#[test]
fn what_was_made_of_an_agent_outlives_the_maintenance_of_its_machine() {
    let (mut world, agent, framework) = reserved();
    let made = total(&world, &agent);
    let host = &world.state.agent(&agent).expect("known").spec.hostname;
    let machine = crate::model::MachineId { hostname: host.to_lowercase().into(), ip: "".into() };
    let unavailability = mesarch_types::Unavailability { start_ns: 1, duration_ns: None };
    let windows = vec![Window { machines: vec![machine.clone()], unavailability }];
    world.apply(Command::SetSchedule(SetSchedule { windows }));
    let machines = Machines { machines: vec![machine] };
    world.apply(Command::StartMaintenance(machines.clone()));
    assert!(world.state.agent(&agent).is_none());
    assert_eq!(news(&world, &framework), [("o".into(), OperationState::Unreachable)]);
    world.apply(Command::StopMaintenance(machines));
    attach(&mut world, &agent, ResourceVersion::default(), None);
    assert_eq!(total(&world, &agent), made);
    stored_and_finished(&mut world, &agent);
}

fn stored_and_finished(world: &mut World, agent: &AgentId) {
    let version = owed_version(world, agent);
    stored(world, agent, version);
    assert!(world.state.operations().all(|operation| operation.finished));
}

#[test]
fn an_agent_that_brings_less_than_was_made_of_it_is_refused() {
    for (level, offered, expect) in
        [(3, "disk:30", Some(Refusal::Shrunk)), (3, "disk:40", None), (2, "disk:30", None)]
    {
        let (mut world, agent, _) = world_of(level, AgentCapabilities::all());
        let conversion = Conversion::Reserve(resources("disk(eng,op):40"));
        world.apply(Command::ConvertResources(ConvertResources { agent: agent.clone(), conversion }));
        let before = total(&world, &agent);
        let link = Link { term: world.term, serial: 1000 + world.index };
        let spec = Some(AgentSpec {
            total: resources(offered),
            capabilities: AgentCapabilities::all(),
            ..agent_spec()
        });
        let (inventory, stored) = (Some(Inventory::default()), ResourceVersion::default());
        let attach = AttachAgent { agent: agent.clone(), link, spec, inventory, stored };
        let outcome = world.apply(Command::AttachAgent(attach)).outcome;
        let expected = expect.map_or(Outcome::AgentAttached { agent: agent.clone() }, Outcome::Refused);
        assert_eq!(outcome, expected, "{level} {offered}");
        assert_eq!(total(&world, &agent) == before, expect.is_some(), "{level} {offered}");
    }
}
