//! Agents that operators take out of service.

use bytes::Bytes;
use mesarch_proto::mesos::v1::{self, DurationInfo, KillPolicy, TaskInfo, TaskStatus};
use mesarch_types::{
    AgentId, FrameworkCapabilities, FrameworkId, Reason, TaskId, TaskState, capability::FrameworkCapability,
};
use prost::Message;

use crate::{
    Change, Command, Effect, Outcome,
    command::{
        DeactivateAgent, DrainAgent, Inventory, MarkAgentGone, ReactivateAgent, RecordUpdates, RequestKill,
    },
    model::{DrainState, OutboxItem},
    open_work,
    outcome::{Denial, OfferRefusal, Refusal},
    testing::*,
};

fn drain(agent: &AgentId) -> DrainAgent {
    DrainAgent { agent: agent.clone(), max_grace_ns: None, mark_gone: false }
}

fn state_of(world: &World, agent: &AgentId) -> Option<DrainState> {
    world.state.agent(agent).expect("known").administration.drain.map(|drain| drain.state)
}

/// A framework with one task on one agent.
fn scene() -> (World, FrameworkId, AgentId) {
    let mut world = World::new();
    let (framework, agent) = (world.framework(), world.agent(1));
    world.launch(&framework, &agent, &task("t", "cpus:1;mem:128"));
    (world, framework, agent)
}

fn kills(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::KillTask { .. })).count()
}

#[test]
fn a_drain_ends_tasks_and_offers_and_is_over_when_the_last_end_is_acknowledged() {
    let (mut world, framework, agent) = scene();
    let offer = world.offer(&framework, &agent, "cpus:1;mem:128");
    let stale = world.offer_item(&framework, &agent, "cpus:1;mem:128");
    let applied = world.apply(Command::DrainAgent(drain(&agent)));
    assert_eq!(applied.outcome, Outcome::Changed { rescinded: 1 });
    assert!(applied.changes.contains(&Change::OfferRemoved { offer, framework: framework.clone() }));
    assert_eq!(kills(&applied.effects), 1);
    assert_eq!(state_of(&world, &agent), Some(DrainState::Draining));

    let fresh = world.offer_item(&framework, &agent, "cpus:1;mem:128");
    for item in [stale, fresh] {
        let policy = world.state.policy_version();
        let issue = crate::command::IssueOffers { policy, items: vec![item] };
        let outcome = world.apply(Command::IssueOffers(issue)).outcome;
        assert_eq!(outcome, Outcome::Issued(vec![Err(OfferRefusal::AgentChanged)]));
    }

    world.record(&framework, "t", TaskState::Killed, 1);
    assert_eq!(state_of(&world, &agent), Some(DrainState::Draining), "nobody has acknowledged the end");
    let applied = world.acknowledge(&framework, &agent, "t", 1);
    assert!(applied.changes.contains(&Change::Agent(agent.clone())));
    assert_eq!(state_of(&world, &agent), Some(DrainState::Drained));
    assert!(!world.state.agent(&agent).expect("known").is_active());
}

#[test]
fn an_agent_without_tasks_is_drained_at_once() {
    let mut world = World::new();
    let agent = world.agent(1);
    world.apply(Command::DrainAgent(drain(&agent)));
    assert_eq!(state_of(&world, &agent), Some(DrainState::Drained));
}

#[test]
fn a_drain_goes_on_after_a_failover() {
    let (mut world, framework, agent) = scene();
    world.apply(Command::DrainAgent(drain(&agent)));
    world.begin_term();
    assert_eq!(kills(&open_work(&world.state)), 0, "nobody is there to be told");
    let inventory = world.inventory(&agent);
    assert_eq!(kills(&world.attach(&agent, Some(inventory)).effects), 1);
    world.record(&framework, "t", TaskState::Killed, 1);
    world.acknowledge(&framework, &agent, "t", 1);
    assert_eq!(state_of(&world, &agent), Some(DrainState::Drained));
}

#[test]
fn the_grace_of_a_drained_task_is_the_shortest_that_was_said() {
    let secs = |secs: i64| secs * 1_000_000_000;
    let policy = |grace: i64| KillPolicy { grace_period: Some(DurationInfo { nanoseconds: secs(grace) }) };
    let check = |own: Option<i64>, max: Option<u64>, expect: Option<i64>| {
        let mut world = World::new();
        let (framework, agent) = (world.framework(), world.agent(1));
        let info = TaskInfo { kill_policy: own.map(policy), ..TaskInfo::default() };
        let spec =
            crate::command::TaskSpec { info: info.encode_to_vec().into(), ..task("t", "cpus:1;mem:128") };
        world.launch(&framework, &agent, &spec);
        let max_grace_ns = max.map(|max| max * 1_000_000_000);
        world.apply(Command::DrainAgent(DrainAgent { max_grace_ns, ..drain(&agent) }));
        let found = |world: &World| {
            let kill = world.state.task(&framework, &TaskId::from("t")).expect("known").kill.clone();
            let policy = kill.expect("to be ended").policy?;
            Some(KillPolicy::decode(policy).expect("ours").grace_period.expect("given").nanoseconds)
        };
        assert_eq!(found(&world), expect.map(secs), "own {own:?}, at most {max:?}");
        let asked = RequestKill {
            framework: framework.clone(),
            task: TaskId::from("t"),
            agent: None,
            policy: Some(policy(7).encode_to_vec().into()),
        };
        world.apply(Command::RequestKill(asked));
        assert_eq!(found(&world), Some(secs(max.map_or(7, |max| 7.min(max as i64)))));
    };
    check(None, None, None);
    check(Some(30), None, None);
    check(None, Some(5), Some(5));
    check(Some(30), Some(5), Some(5));
    check(Some(2), Some(5), Some(2));
    check(Some(2), Some(0), Some(0));
}

/// What the framework is told of the end of a task that an agent reports as killed while it is drained.
fn told_end(mark_gone: bool, aware: bool) -> (TaskState, Option<i32>) {
    let mut world = World::new();
    let framework = world.framework_with(|subscribe| {
        subscribe.spec.capabilities = match aware {
            true => FrameworkCapabilities::NONE.with(FrameworkCapability::PartitionAware),
            false => FrameworkCapabilities::NONE,
        };
    });
    let agent = world.agent(1);
    world.launch(&framework, &agent, &task("t", "cpus:1;mem:128"));
    world.apply(Command::DrainAgent(DrainAgent { mark_gone, ..drain(&agent) }));
    let mut updates = world.status(&framework, "t", TaskState::Killed, 1).updates;
    let status = TaskStatus { state: TaskState::Killed as i32, ..TaskStatus::default() };
    updates[0].status = status.encode_to_vec().into();
    world.apply(Command::RecordUpdates(RecordUpdates { agent: agent.clone(), updates }));
    let known = world.state.task(&framework, &TaskId::from("t")).expect("not acknowledged");
    let report = known.pending().expect("not acknowledged").clone();
    assert_eq!(report.reason, Some(Reason::AgentDraining));
    let status = TaskStatus::decode(report.status.clone()).expect("ours");
    assert_eq!((status.state, known.state), (report.state as i32, report.state));
    world.acknowledge(&framework, &agent, "t", 1);
    assert_eq!(world.state.gone_agent(&agent).is_some(), mark_gone);
    (report.state, status.reason)
}

#[test]
fn the_end_of_a_drained_task_says_why() {
    let draining = Some(v1::task_status::Reason::AgentDraining as i32);
    assert_eq!(told_end(false, true), (TaskState::Killed, draining));
    assert_eq!(told_end(true, true), (TaskState::GoneByOperator, draining));
    assert_eq!(told_end(true, false), (TaskState::Killed, draining));
}

#[test]
fn what_an_agent_brings_back_while_it_is_drained_is_ended_too() {
    let (mut world, framework, agent) = scene();
    world.record(&framework, "t", TaskState::Running, 1);
    let inventory = world.inventory(&agent);
    world.give_up(&agent);
    assert_eq!(world.apply(Command::DrainAgent(drain(&agent))).outcome, Outcome::Changed { rescinded: 0 });
    let away = world.state.unreachable_agent(&agent).expect("away").agent.administration;
    assert!(away.is_draining());
    let applied = world.attach(&agent, Some(inventory));
    assert_eq!(kills(&applied.effects), 1);
    assert_eq!(state_of(&world, &agent), Some(DrainState::Draining));

    world.give_up(&agent);
    world.attach(&agent, Some(Inventory::default()));
    assert_eq!(state_of(&world, &agent), Some(DrainState::Drained), "it came back with nothing");
}

#[test]
fn an_agent_is_reactivated_unless_its_drain_is_under_way() {
    let (mut world, framework, agent) = scene();
    let reactivate = || Command::ReactivateAgent(ReactivateAgent { agent: agent.clone() });
    let not = Outcome::Denied(Denial::NotDeactivated(agent.clone()));
    assert_eq!(world.apply(reactivate()).outcome, not);
    world.offer(&framework, &agent, "cpus:1;mem:128");
    let deactivate = Command::DeactivateAgent(DeactivateAgent { agent: agent.clone() });
    assert_eq!(world.apply(deactivate.clone()).outcome, Outcome::Changed { rescinded: 1 });
    assert!(!world.state.agent(&agent).expect("known").view().active);
    assert_eq!(world.apply(reactivate()).outcome, Outcome::Changed { rescinded: 0 });
    assert!(world.state.agent(&agent).expect("known").view().active);

    world.apply(Command::DrainAgent(drain(&agent)));
    let draining = Outcome::Denied(Denial::Draining(agent.clone()));
    assert_eq!(world.apply(reactivate()).outcome, draining);
    world.apply(deactivate);
    assert_eq!(state_of(&world, &agent), Some(DrainState::Draining), "a drain is a deactivation and more");
    world.record(&framework, "t", TaskState::Killed, 1);
    world.acknowledge(&framework, &agent, "t", 1);
    assert_eq!(world.apply(reactivate()).outcome, Outcome::Changed { rescinded: 0 });
    world.offer(&framework, &agent, "cpus:1;mem:128");
}

#[test]
fn a_deactivated_agent_stays_so_while_it_is_away_and_at_the_next_leader() {
    let mut world = World::new();
    let agent = world.agent(1);
    world.apply(Command::DeactivateAgent(DeactivateAgent { agent: agent.clone() }));
    world.detach(&agent);
    world.attach(&agent, None);
    world.begin_term();
    world.give_up(&agent);
    world.attach(&agent, Some(Inventory::default()));
    let known = world.state.agent(&agent).expect("known");
    assert!(known.is_present() && known.administration.deactivated && !known.is_active());
}

#[test]
fn what_runs_on_a_gone_agent_is_gone_and_the_agent_never_comes_back() {
    for (aware, expect, reason) in [
        (true, TaskState::GoneByOperator, Reason::AgentRemovedByOperator),
        (false, TaskState::Lost, Reason::AgentRemoved),
    ] {
        let mut world = World::new();
        let framework = world.framework_with(|subscribe| {
            if !aware {
                subscribe.spec.capabilities = FrameworkCapabilities::NONE;
            }
        });
        let agent = world.agent(1);
        world.launch(&framework, &agent, &task_with_executor("t", "e"));
        let offer = world.offer(&framework, &agent, "cpus:1;mem:128");
        let gone = Command::MarkAgentGone(MarkAgentGone { agent: agent.clone() });
        let applied = world.apply(gone.clone());
        assert_eq!(applied.outcome, Outcome::Done);
        assert!(applied.changes.contains(&Change::AgentRemoved(agent.clone())));
        let news = world.news(&framework);
        assert_eq!((news[0].state, news[0].reason), (expect, Some(reason)));
        let outbox: Vec<_> =
            world.state.framework(&framework).expect("known").outbox.values().cloned().collect();
        assert!(outbox.iter().any(|item| **item == OutboxItem::Rescind(offer.clone())));
        assert!(outbox.iter().any(|item| matches!(&**item, OutboxItem::Failure { .. })));
        assert_eq!(world.state.executors().count(), 0);
        assert_eq!(world.apply(gone).outcome, Outcome::Done, "once more");
        let back = world.attach(&agent, Some(Inventory::default()));
        assert_eq!(back.outcome, Outcome::Refused(Refusal::AgentGone));
    }
}

#[test]
fn an_unreachable_agent_can_be_declared_gone() {
    let (mut world, framework, agent) = scene();
    world.give_up(&agent);
    world.apply(Command::MarkAgentGone(MarkAgentGone { agent: agent.clone() }));
    let told = world.told(&framework);
    assert_eq!(told.last(), Some(&("t".to_owned(), TaskState::GoneByOperator)));
    assert!(world.state.unreachable_agent(&agent).is_none());
    assert!(world.state.known_state(&framework, &TaskId::from("t")).is_none());
    assert_eq!(world.attach(&agent, None).outcome, Outcome::Refused(Refusal::AgentGone));
}

#[test]
fn a_known_end_is_told_before_its_agent_is_gone() {
    let (mut world, framework, agent) = scene();
    world.record(&framework, "t", TaskState::Finished, 1);
    world.apply(Command::MarkAgentGone(MarkAgentGone { agent }));
    assert_eq!(world.told(&framework), [("t".to_owned(), TaskState::Finished)]);
}

#[test]
fn nobody_administers_an_agent_that_is_not_there_or_below_the_level() {
    let mut world = World::new();
    let nope = AgentId::from("nope");
    let commands = [
        Command::DrainAgent(drain(&nope)),
        Command::DeactivateAgent(DeactivateAgent { agent: nope.clone() }),
        Command::ReactivateAgent(ReactivateAgent { agent: nope.clone() }),
        Command::MarkAgentGone(MarkAgentGone { agent: nope.clone() }),
    ];
    for command in commands {
        let unknown = Outcome::Denied(Denial::UnknownAgent(nope.clone()));
        assert_eq!(world.apply(command.clone()).outcome, unknown, "{command:?}");
        let mut lower = World { state: crate::State::new(), ..World::new() };
        let begin = crate::command::BeginTerm { level: 2, ..begin_term() };
        lower.apply(Command::BeginTerm(begin));
        assert_eq!(lower.apply(command).outcome, Outcome::Refused(Refusal::LevelTooLow));
    }
}

#[test]
fn a_status_that_is_no_message_is_left_as_it_is() {
    let (mut world, framework, agent) = scene();
    world.apply(Command::DrainAgent(drain(&agent)));
    let mut updates = world.status(&framework, "t", TaskState::Killed, 1).updates;
    updates[0].status = Bytes::from_static(b"\xff");
    world.apply(Command::RecordUpdates(RecordUpdates { agent, updates }));
    let known = world.state.task(&framework, &TaskId::from("t")).expect("not acknowledged");
    assert_eq!(known.pending().expect("not acknowledged").status, Bytes::from_static(b"\xff"));
}

#[test]
fn tasks_of_an_agent_that_the_next_leader_has_not_heard_of_yet_end_with_it_when_it_is_gone() {
    let (mut world, framework, agent) = scene();
    world.begin_term();
    world.apply(Command::MarkAgentGone(MarkAgentGone { agent: agent.clone() }));
    assert_eq!(world.told(&framework), [("t".to_owned(), TaskState::GoneByOperator)]);
    assert!(world.state.agent(&agent).is_none());
    assert_eq!(world.attach(&agent, None).outcome, Outcome::Refused(Refusal::AgentGone));
}
