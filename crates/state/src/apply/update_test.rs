//! Status updates, kills and executors' ends.

use mesarch_types::{AgentId, ExecutorId, FrameworkId, LaunchId, TaskId, TaskState};

use crate::{
    Change, Command, Effect, Outcome, Released,
    command::{
        AcknowledgeUpdates, Acknowledgement, AgentForgot, AttachAgent, Disconnect, ExecutorExited,
        ExecutorKey, InventoryTask, Link, RecordUpdates, RequestKill, Subscribe, Teardown,
    },
    model::OutboxItem,
    open_work,
    outcome::{AckRefusal, Refusal, UpdateRefusal},
    testing::{TOTAL, World, subscribe, task, task_with_executor, uuid, without_entities},
};

struct Running {
    world: World,
    agent: AgentId,
    framework: FrameworkId,
    launch: LaunchId,
}

/// One task `t`, just launched.
fn launched() -> Running {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let launch = world.launch(&framework, &agent, &task("t", "cpus:1"));
    Running { world, agent, framework, launch }
}

impl Running {
    fn record(&mut self, state: TaskState, id: u8) -> (Result<(), UpdateRefusal>, Vec<Effect>) {
        let update = self.world.status(&self.framework, "t", state, id);
        self.apply(update)
    }

    fn apply(&mut self, update: RecordUpdates) -> (Result<(), UpdateRefusal>, Vec<Effect>) {
        let applied = self.world.apply(Command::RecordUpdates(update));
        let Outcome::Recorded(results) = applied.outcome else { panic!("{:?}", applied.outcome) };
        (results[0], applied.effects)
    }

    fn send_update(&self, id: u8) -> Effect {
        Effect::SendUpdate { framework: self.framework.clone(), task: TaskId::from("t"), uuid: uuid(id) }
    }

    fn send_acknowledgement(&self, id: u8) -> Effect {
        Effect::SendAcknowledgement {
            agent: self.agent.clone(),
            framework: self.framework.clone(),
            task: TaskId::from("t"),
            launch: self.launch,
            uuid: uuid(id),
        }
    }

    fn kill_task(&self) -> Effect {
        Effect::KillTask {
            agent: self.agent.clone(),
            framework: self.framework.clone(),
            task: TaskId::from("t"),
            launch: self.launch,
        }
    }

    fn owes(&self, id: u8) -> bool {
        let (task, uuid) = (TaskId::from("t"), uuid(id));
        self.world.state.owes_acknowledgement(&self.agent, &self.framework, &task, self.launch, uuid)
    }

    fn acknowledge(&mut self, id: u8) -> (Outcome, Vec<Effect>) {
        let applied = self.world.acknowledge(&self.framework, &self.agent, "t", id);
        (applied.outcome, applied.effects)
    }
}

#[test]
fn one_update_is_under_way_at_a_time() {
    let mut it = launched();
    let acknowledged = |result| Outcome::Acknowledged(vec![result]);
    assert_eq!(it.record(TaskState::Starting, 1), (Ok(()), vec![it.send_update(1)]));
    assert_eq!(it.record(TaskState::Starting, 1), (Err(UpdateRefusal::Pending), vec![it.send_update(1)]));
    assert_eq!(it.record(TaskState::Running, 2), (Err(UpdateRefusal::OutOfOrder), vec![]));
    assert_eq!(it.acknowledge(2), (acknowledged(Err(AckRefusal::NotPending)), vec![]));
    assert_eq!(it.acknowledge(1), (acknowledged(Ok(())), vec![it.send_acknowledgement(1)]));
    assert_eq!(it.acknowledge(1), (acknowledged(Err(AckRefusal::NotPending)), vec![]));
    let repeat = it.record(TaskState::Starting, 1);
    assert_eq!(repeat, (Err(UpdateRefusal::Acknowledged), vec![it.send_acknowledgement(1)]));
    assert_eq!(it.record(TaskState::Running, 2), (Ok(()), vec![it.send_update(2)]));
}

#[test]
fn an_acknowledgement_is_owed_until_the_agent_confirms_it() {
    let mut it = launched();
    assert_eq!(it.record(TaskState::Running, 1).0, Ok(()));
    it.acknowledge(1);
    assert_eq!(open_work(&it.world.state), [it.send_acknowledgement(1)]);
    let (agent, framework, launch) = (it.agent.clone(), it.framework.clone(), it.launch);
    it.world.forgot(&agent, &framework, "t", launch, 9);
    assert_eq!(open_work(&it.world.state).len(), 1, "another update's confirmation");
    assert_eq!([it.owes(1), it.owes(9)], [true, false]);
    it.world.forgot(&agent, &framework, "t", launch, 1);
    assert_eq!(open_work(&it.world.state), []);
    assert!(!it.owes(1));
}

#[test]
fn a_finished_task_becomes_history_but_its_acknowledgement_stays_owed() {
    let mut it = launched();
    assert_eq!(it.record(TaskState::Finished, 1).0, Ok(()));
    assert_eq!(it.world.free(&it.agent), TOTAL, "free before the acknowledgement");
    it.acknowledge(1);
    assert!(it.world.state.task(&it.framework, &TaskId::from("t")).is_none());
    assert_eq!(it.world.state.framework(&it.framework).expect("known").completed.len(), 1);
    assert_eq!(open_work(&it.world.state), [it.send_acknowledgement(1)]);
    let agent = it.world.state.agent(&it.agent).expect("known");
    assert_ne!(agent.set_hash, Default::default(), "the agent still has it");
    assert!(it.owes(1));
    let (agent, framework, launch) = (it.agent.clone(), it.framework.clone(), it.launch);
    it.world.forgot(&agent, &framework, "t", launch, 1);
    assert_eq!(it.world.state.agent(&agent).expect("known").set_hash, Default::default());
    assert!(!it.owes(1));
    assert_eq!(open_work(&it.world.state), []);
}

#[test]
fn the_newest_state_frees_resources_ahead_of_its_update() {
    let mut it = launched();
    assert_eq!(it.record(TaskState::Running, 1).0, Ok(()));
    let mut update = it.world.status(&it.framework, "t", TaskState::Running, 1);
    update.updates[0].latest = TaskState::Failed;
    let applied = it.world.apply(Command::RecordUpdates(update));
    assert_eq!(applied.outcome, Outcome::Recorded(vec![Err(UpdateRefusal::Pending)]));
    assert!(matches!(
        without_entities(&applied.changes)[..],
        [Change::Released { how: Released::Freed, .. }]
    ));
    let known = it.world.state.task(&it.framework, &TaskId::from("t")).expect("known");
    assert_eq!(
        (known.state, known.forwarded().map(|last| last.state)),
        (TaskState::Failed, Some(TaskState::Running))
    );
    it.acknowledge(1);
    assert!(it.world.state.task(&it.framework, &TaskId::from("t")).is_some(), "its end is not told yet");
    assert_eq!(it.record(TaskState::Finished, 2).0, Ok(()), "forwarded as sent");
    let known = it.world.state.task(&it.framework, &TaskId::from("t")).expect("known");
    assert_eq!(known.state, TaskState::Failed, "but an end is never overwritten");
}

#[test]
fn updates_of_unknown_lives_are_answered_so_that_the_agent_forgets() {
    let mut it = launched();
    let mut old_life = it.world.status(&it.framework, "t", TaskState::Finished, 1);
    old_life.updates[0].launch = LaunchId::default();
    let mut running = old_life.clone();
    running.updates[0].latest = TaskState::Running;
    let (result, effects) = it.apply(old_life);
    assert_eq!(result, Err(UpdateRefusal::UnknownTask));
    assert!(matches!(effects[..], [Effect::SendAcknowledgement { .. }]));
    let (result, effects) = it.apply(running);
    assert_eq!(result, Err(UpdateRefusal::UnknownTask));
    assert!(matches!(effects[..], [Effect::SendAcknowledgement { .. }, Effect::KillTask { .. }]));
    assert!(!it.world.state.task(&it.framework, &TaskId::from("t")).expect("known").reported);
}

#[test]
fn updates_of_finished_removed_and_foreign_tasks() {
    let mut it = launched();
    let update = it.world.status(&it.framework, "t", TaskState::Finished, 1);
    let stranger = RecordUpdates { agent: AgentId::from("x"), ..update.clone() };
    assert_eq!(it.apply(stranger), (Err(UpdateRefusal::AgentUnknown), vec![]));
    assert_eq!(it.apply(update.clone()).0, Ok(()));
    it.acknowledge(1);
    assert_eq!(
        it.apply(update.clone()),
        (Err(UpdateRefusal::Acknowledged), vec![it.send_acknowledgement(1)])
    );
    it.world.apply(Command::Teardown(Teardown { framework: it.framework.clone() }));
    assert_eq!(it.apply(update), (Err(UpdateRefusal::FrameworkRemoved), vec![it.send_acknowledgement(1)]));
}

#[test]
fn an_update_for_a_disconnected_framework_waits_for_it() {
    let mut it = launched();
    let stream =
        it.world.state.framework(&it.framework).and_then(|known| known.stream()).expect("connected").1;
    it.world.apply(Command::Disconnect(Disconnect { framework: it.framework.clone(), stream }));
    assert_eq!(it.record(TaskState::Running, 1), (Ok(()), vec![]));
    let again = Subscribe { framework: Some(it.framework.clone()), ..subscribe() };
    assert_eq!(it.world.apply(Command::Subscribe(again)).effects, [it.send_update(1)]);
}

#[test]
fn a_kill_is_owed_until_the_task_ends() {
    let mut it = launched();
    let kill = |agent: Option<&str>, task: &str| {
        Command::RequestKill(RequestKill {
            framework: it.framework.clone(),
            task: task.into(),
            agent: agent.map(AgentId::from),
            policy: Some(b"policy".as_slice().into()),
        })
    };
    let (elsewhere, unknown, kill) = (kill(Some("x"), "t"), kill(None, "x"), kill(None, "t"));
    assert_eq!(it.world.apply(elsewhere).effects, []);
    assert_eq!(it.world.apply(unknown).outcome, Outcome::Refused(Refusal::UnknownTask));
    assert_eq!(it.world.apply(kill.clone()).effects, [it.kill_task()]);
    assert_eq!(it.world.apply(kill.clone()).effects, [it.kill_task()], "each time");
    it.world.begin_term();
    let agent = it.agent.clone();
    let effects = it.world.attach(&agent, None).effects;
    assert!(matches!(effects[..], [Effect::RunTask { .. }, Effect::KillTask { .. }]), "{effects:?}");
    assert_eq!(it.record(TaskState::Killed, 1).0, Ok(()));
    assert!(!it.world.attach(&agent, None).effects.contains(&it.kill_task()));
    assert_eq!(
        it.world.apply(kill),
        crate::Applied { outcome: Outcome::Done, changes: vec![], effects: vec![] }
    );
}

#[test]
fn an_executor_is_shut_down_and_its_end_is_told() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    world.launch(&framework, &agent, &task_with_executor("t", "e"));
    let key =
        ExecutorKey { framework: framework.clone(), agent: agent.clone(), executor: ExecutorId::from("e") };
    assert_eq!(world.free(&agent), "cpus:6;mem:8000");
    let shutdown = Effect::ShutdownExecutor(key.clone());
    assert_eq!(world.apply(Command::RequestShutdown(key.clone())).effects, std::slice::from_ref(&shutdown));
    assert!(open_work(&world.state).contains(&shutdown));
    let exited = Command::ExecutorExited(ExecutorExited { executor: key.clone(), newest: None, status: 9 });
    let applied = world.apply(exited.clone());
    assert_eq!(applied.outcome, Outcome::Done);
    assert!(applied.changes.contains(&Change::ExecutorRemoved(key.clone())));
    let outbox = &world.state.framework(&framework).expect("known").outbox;
    let failure = OutboxItem::Failure { agent: agent.clone(), executor: Some("e".into()), status: Some(9) };
    assert_eq!(**outbox.values().next().expect("one"), failure);
    assert_eq!(world.free(&agent), "cpus:7;mem:8064", "the task is the agent's to end");
    for command in [exited, Command::RequestShutdown(key)] {
        assert_eq!(world.apply(command).outcome, Outcome::Refused(Refusal::UnknownExecutor));
    }
}

#[test]
fn statuses_keep_the_last_of_each_run_of_equal_states() {
    let mut it = launched();
    for (id, state) in [(1, TaskState::Starting), (2, TaskState::Running), (3, TaskState::Running)] {
        assert_eq!(it.record(state, id).0, Ok(()));
        it.acknowledge(id);
    }
    let known = it.world.state.task(&it.framework, &TaskId::from("t")).expect("known");
    let uuids: Vec<_> = known.statuses.iter().filter_map(|report| report.uuid).collect();
    assert_eq!(uuids, [uuid(1), uuid(3)]);
}

/// What may still be under way when a task id is used again.
fn late_of_the_first_life(it: &Running, second: &Running) -> Vec<(&'static str, Command)> {
    let (framework, agent, first) = (it.framework.clone(), it.agent.clone(), it.launch);
    let update = |state, latest, id| {
        let mut update = second.world.status(&framework, "t", state, id);
        update.updates[0].launch = first;
        update.updates[0].latest = latest;
        Command::RecordUpdates(update)
    };
    let acknowledge = |id| {
        let task = TaskId::from("t");
        let item =
            Acknowledgement { framework: framework.clone(), agent: agent.clone(), task, uuid: uuid(id) };
        Command::AcknowledgeUpdates(AcknowledgeUpdates { items: vec![item] })
    };
    let forgot = |id| {
        let acknowledged = vec![(framework.clone(), TaskId::from("t"), first, uuid(id))];
        Command::AgentForgot(AgentForgot { agent: agent.clone(), acknowledged, frameworks: Vec::new() })
    };
    let mut both = second.world.inventory(&agent);
    let older = InventoryTask { launch: first, state: TaskState::Running, ..both.tasks[0].clone() };
    both.tasks.insert(0, older);
    let link = Link { term: 1, serial: 1_000_000 };
    let attach = AttachAgent {
        agent: agent.clone(),
        link,
        spec: None,
        inventory: Some(both),
        stored: Default::default(),
    };
    vec![
        ("running", update(TaskState::Running, TaskState::Running, 1)),
        ("its end, again", update(TaskState::Finished, TaskState::Finished, 2)),
        ("another end", update(TaskState::Failed, TaskState::Failed, 9)),
        ("running with the uuid of the second", update(TaskState::Running, TaskState::Running, 3)),
        ("acknowledgement", acknowledge(1)),
        ("acknowledgement of its end", acknowledge(2)),
        ("confirmation", forgot(2)),
        ("confirmation with the uuid of the second", forgot(3)),
        ("an inventory with both", Command::AttachAgent(attach)),
    ]
}

#[test]
fn nothing_that_comes_late_from_the_first_life_touches_the_second() {
    for confirmed in [false, true] {
        let mut it = launched();
        for (state, id) in [(TaskState::Running, 1), (TaskState::Finished, 2)] {
            assert_eq!(it.record(state, id).0, Ok(()));
            it.acknowledge(id);
        }
        let (agent, framework, first) = (it.agent.clone(), it.framework.clone(), it.launch);
        if confirmed {
            it.world.forgot(&agent, &framework, "t", first, 2);
        }
        let mut second = Running { world: it.world.clone(), agent, framework, launch: first };
        second.launch = second.world.launch(&it.framework, &it.agent, &task("t", "cpus:1"));
        assert_eq!(second.record(TaskState::Running, 3).0, Ok(()));
        let key = TaskId::from("t");
        for (name, command) in late_of_the_first_life(&it, &second) {
            let mut world = second.world.clone();
            let before = world.state.task(&it.framework, &key).cloned();
            let applied = world.apply(command);
            assert_eq!(world.state.task(&it.framework, &key).cloned(), before, "{name}");
            assert!(world.told(&it.framework).is_empty(), "{name}");
            let about_the_second = |effect: &&Effect| match effect {
                Effect::RunTask { launch, .. }
                | Effect::KillTask { launch, .. }
                | Effect::SendAcknowledgement { launch, .. } => *launch == second.launch,
                Effect::SendUpdate { .. } | Effect::SendOutbox { .. } => true,
                _ => false,
            };
            assert_eq!(applied.effects.iter().find(about_the_second), None, "{name}");
        }
    }
}

#[test]
fn the_end_of_a_former_run_is_not_the_executor_s() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let key =
        ExecutorKey { framework: framework.clone(), agent: agent.clone(), executor: ExecutorId::from("e") };
    let first = world.launch(&framework, &agent, &task_with_executor("t1", "e"));
    let second = world.launch(&framework, &agent, &task_with_executor("t2", "e"));
    assert_eq!(world.state.executor(&key).expect("charged").launch, second);
    let exited = |newest| {
        let executor = key.clone();
        Command::ExecutorExited(ExecutorExited { executor, newest: Some(newest), status: 0 })
    };
    // The agent had not heard of the second launch, which will start another run.
    assert_eq!(world.apply(exited(first)).outcome, Outcome::Refused(Refusal::StaleExit));
    assert_eq!(world.apply(exited(second)).outcome, Outcome::Done);
    let third = world.launch(&framework, &agent, &task_with_executor("t3", "e"));
    assert_eq!(world.apply(exited(second)).outcome, Outcome::Refused(Refusal::StaleExit), "told again");
    assert_eq!(world.apply(exited(third)).outcome, Outcome::Done);
    assert!(world.state.executor(&key).is_none());
}

#[test]
fn an_executor_that_is_to_end_gets_no_more_tasks() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let key =
        ExecutorKey { framework: framework.clone(), agent: agent.clone(), executor: ExecutorId::from("e") };
    world.launch(&framework, &agent, &task_with_executor("t1", "e"));
    world.apply(Command::RequestShutdown(key));
    let offer = world.offer(&framework, &agent, "cpus:4;mem:1000");
    let launches = vec![crate::testing::launch_on_nothing(task_with_executor("t2", "e"))];
    let offers = vec![offer];
    let refuse = crate::testing::refuse(0);
    let accept = crate::command::AcceptOffers {
        framework: framework.clone(),
        offers,
        launches,
        operations: Vec::new(),
        refuse,
    };
    world.apply(Command::AcceptOffers(accept));
    assert_eq!(world.told(&framework), [("t2".to_owned(), TaskState::Dropped)]);
}
