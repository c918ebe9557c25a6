//! Agents leave, for a moment or for long.

use mesarch_types::{AgentId, FrameworkId, Reason, TaskId, TaskState};

use crate::{
    Change, Command, Effect, Outcome,
    command::{DetachAgent, MarkUnreachable, Subscribe},
    model::{Attachment, OutboxItem},
    outcome::Refusal,
    testing::{TOTAL, World, link, subscribe, task, task_with_executor},
};

fn world_with(checkpoint: bool) -> (World, AgentId, FrameworkId) {
    let mut world = World::new();
    let agent = world.agent(1);
    let framework = world.framework_with(|c| c.spec.checkpoint = checkpoint);
    (world, agent, framework)
}

#[test]
fn a_detached_agent_offers_nothing_and_keeps_checkpointed_tasks() {
    for (checkpoint, told) in [(true, vec![]), (false, vec![("t".into(), TaskState::Lost)])] {
        let (mut world, agent, framework) = world_with(checkpoint);
        world.launch(&framework, &agent, &task_with_executor("t", "e"));
        let offer = world.offer(&framework, &agent, "cpus:4");
        let version = world.state.agent(&agent).expect("known").version;
        let applied = world.detach(&agent);
        assert_eq!(applied.outcome, Outcome::Done);
        assert_eq!(applied.changes.last(), Some(&Change::Agent(agent.clone())));
        let known = world.state.agent(&agent).expect("known");
        assert!(matches!(known.attachment, Attachment::Detached { .. }) && known.version > version);
        assert_eq!(world.told(&framework), told);
        assert_eq!(world.state.counts().executors, usize::from(checkpoint));
        let outbox = &world.state.framework(&framework).expect("known").outbox;
        assert!(outbox.values().any(|item| **item == OutboxItem::Rescind(offer.clone())));
        assert_eq!(world.free(&agent), if checkpoint { "cpus:6;mem:8000" } else { TOTAL });
    }
}

#[test]
fn a_late_end_of_a_link_does_not_undo_a_newer_one() {
    let (mut world, agent, _) = world_with(true);
    world.attach(&agent, None);
    let late = DetachAgent { agent: agent.clone(), link: link(1) };
    assert_eq!(world.apply(Command::DetachAgent(late)).outcome, Outcome::Refused(Refusal::StaleLink));
    let late = MarkUnreachable { agents: vec![(agent.clone(), link(1)), (AgentId::from("x"), link(1))] };
    assert_eq!(world.apply(Command::MarkUnreachable(late)).changes, []);
    assert!(world.state.agent(&agent).expect("known").is_attached());
    let unknown = DetachAgent { agent: AgentId::from("x"), link: link(1) };
    assert_eq!(world.apply(Command::DetachAgent(unknown)).outcome, Outcome::Refused(Refusal::UnknownAgent));
}

#[test]
fn what_was_never_sent_is_dropped_when_the_agent_does_not_come_back() {
    let (mut world, agent, framework) = world_with(true);
    world.launch(&framework, &agent, &task("before", "cpus:1"));
    world.begin_term();
    world.apply(Command::Subscribe(Subscribe { framework: Some(framework.clone()), ..subscribe() }));
    world.launch(&framework, &agent, &task_with_executor("after", "e"));
    world.detach(&agent);
    assert_eq!(world.told(&framework), [("after".into(), TaskState::Dropped)]);
    assert_eq!(world.news(&framework)[0].reason, Some(Reason::AgentDisconnected));
    assert!(world.state.task(&framework, &TaskId::from("before")).is_some(), "may have been sent");
    assert_eq!(world.state.counts().executors, 0);
    assert_eq!(world.free(&agent), "cpus:7;mem:8192");
}

#[test]
fn an_agent_that_is_given_up_takes_its_tasks_along() {
    for (partition_aware, told) in [(true, TaskState::Unreachable), (false, TaskState::Lost)] {
        let mut world = World::new();
        let agent = world.agent(1);
        let framework = world.framework_with(|c| {
            if !partition_aware {
                c.spec.capabilities = Default::default();
            }
        });
        let bystander = world.framework();
        world.launch(&framework, &agent, &task_with_executor("t", "e"));
        world.record(&framework, "t", TaskState::Running, 1);
        let applied = world.give_up(&agent);
        assert!(applied.changes.contains(&Change::AgentRemoved(agent.clone())));
        assert_eq!(world.told(&framework), [("t".into(), told)]);
        let news = &world.news(&framework)[0];
        assert_eq!((news.reason, news.unreachable.is_some()), (Some(Reason::AgentRemoved), true));
        let away = world.state.unreachable_agent(&agent).expect("kept");
        assert_eq!(away.tasks.len(), 1);
        let known = world.state.known_state(&framework, &TaskId::from("t"));
        assert_eq!(known, Some((TaskState::Unreachable, agent.clone(), Some(away.wall))));
        let failure = OutboxItem::Failure { agent: agent.clone(), executor: None, status: None };
        for framework in [&framework, &bystander] {
            let outbox = &world.state.framework(framework).expect("known").outbox;
            assert!(outbox.values().any(|item| **item == failure));
        }
        assert_eq!(
            world.state.counts().agents + world.state.counts().tasks + world.state.counts().executors,
            0
        );
    }
}

#[test]
fn an_end_that_is_recorded_outlives_its_agent() {
    let (mut world, agent, framework) = world_with(true);
    world.launch(&framework, &agent, &task("t", "cpus:1"));
    world.record(&framework, "t", TaskState::Finished, 1);
    world.give_up(&agent);
    assert_eq!(world.told(&framework), [("t".into(), TaskState::Finished)]);
    assert!(world.state.unreachable_agent(&agent).expect("kept").tasks.is_empty());
    assert_eq!(world.state.framework(&framework).expect("known").completed.len(), 1);
}

#[test]
fn a_registering_agent_gets_one_id_per_nonce() {
    let mut world = World::new();
    let (one, two) = (world.agent(1), world.agent(2));
    assert_eq!(one.as_str(), "abababab-abab-abab-abab-abababababab-1-S0");
    assert_ne!(one, two);
    assert_eq!(world.agent(1), one);
    world.detach(&one);
    let register =
        crate::command::RegisterAgent { nonce: [1; 16], spec: crate::testing::agent_spec(), link: link(50) };
    let applied = world.apply(Command::RegisterAgent(register));
    assert_eq!(applied.outcome, Outcome::AgentAttached { agent: one.clone() });
    assert!(world.state.agent(&one).expect("known").is_attached());
    assert_eq!(world.state.counts().agents, 2);
}

#[test]
fn an_agent_that_registers_anew_is_sent_what_it_never_got() {
    let (mut world, agent, framework) = world_with(true);
    world.launch(&framework, &agent, &task("t", "cpus:1"));
    let register =
        crate::command::RegisterAgent { nonce: [1; 16], spec: crate::testing::agent_spec(), link: link(50) };
    let applied = world.apply(Command::RegisterAgent(register));
    assert!(matches!(applied.effects[..], [Effect::RunTask { .. }]));
}

#[test]
fn an_agent_on_which_something_was_ended_owes_its_inventory() {
    for (checkpoint, outcome) in [(true, None), (false, Some(Refusal::InventoryNeeded))] {
        let (mut world, agent, framework) = world_with(checkpoint);
        world.launch(&framework, &agent, &task_with_executor("t", "e"));
        let listed = world.inventory(&agent);
        world.detach(&agent);
        // The digest had been compared before the detachment was in the log.
        let applied = world.attach(&agent, None);
        let refused = match applied.outcome {
            Outcome::Refused(refusal) => Some(refusal),
            _ => None,
        };
        assert_eq!(refused, outcome, "checkpointing {checkpoint}");
        if outcome.is_some() {
            assert_eq!(world.state.counts().executors, 0);
            world.attach(&agent, Some(listed));
            assert_eq!(world.state.counts().executors, 1, "what runs is charged again");
            assert!(!world.state.agent(&agent).expect("known").owes_inventory);
        }
    }
}
