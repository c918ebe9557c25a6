//! Agents come back, and what they say is compared with what is known.

use mesarch_types::{
    AgentId, FrameworkId, LaunchId, Reason, TaskId, TaskState,
    digest::{SetHash, task_hash},
};

use crate::{
    Change, Command, Effect, Outcome,
    command::{AttachAgent, Inventory, InventoryTask, Teardown},
    model::Connection,
    outcome::Refusal,
    testing::{TOTAL, World, agent_spec, link, resources, task, task_with_executor, uuid},
};

/// Tasks `quiet` (acknowledged), `loud` (an update under way) and `new` (never spoken of).
fn three_tasks() -> (World, AgentId, FrameworkId) {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    for id in ["quiet", "loud", "new"] {
        world.launch(&framework, &agent, &task(id, "cpus:1"));
    }
    world.record(&framework, "quiet", TaskState::Running, 1);
    world.acknowledge(&framework, &agent, "quiet", 1);
    world.record(&framework, "loud", TaskState::Running, 2);
    (world, agent, framework)
}

fn launch_of(world: &World, framework: &FrameworkId, task: &str) -> LaunchId {
    world.state.task(framework, &TaskId::from(task)).expect("known").launch
}

fn refused(outcome: &Outcome) -> Option<Refusal> {
    match outcome {
        Outcome::Refused(refusal) => Some(*refusal),
        _ => None,
    }
}

#[test]
fn the_digest_agrees_when_both_know_the_same() {
    let (world, agent, framework) = three_tasks();
    let entry = |task: &str| (framework.clone(), TaskId::from(task), launch_of(&world, &framework, task));
    let quiet = entry("quiet");
    let mut digest = SetHash::default();
    digest.insert(task_hash(&quiet.0, &quiet.1, quiet.2, Some(uuid(1))));
    let knows = |digest: SetHash, listed: &[_]| world.state.knows_tasks_of(&agent, digest, listed);
    assert!(knows(digest, &[entry("loud")]), "it never got the new one");
    assert!(knows(digest, &[entry("loud"), entry("new")]), "or is launching it");
    assert!(knows(SetHash::default(), &[entry("loud"), quiet]), "all listed");
    assert!(!knows(digest, &[]), "it lost the loud one");
    assert!(!knows(SetHash::default(), &[entry("loud")]), "it lost the quiet one");
    let stranger = (framework.clone(), TaskId::from("x"), LaunchId::default());
    assert!(!knows(digest, &[entry("loud"), stranger]), "it has one that is not known");
    let old_life = (framework.clone(), TaskId::from("loud"), LaunchId::default());
    assert!(!knows(digest, &[entry("loud"), old_life]));
}

#[test]
fn an_attached_agent_is_told_what_is_owed_to_it() {
    let (mut world, agent, framework) = three_tasks();
    world.begin_term();
    let version = world.state.agent(&agent).expect("known").version;
    let applied = world.attach(&agent, None);
    assert_eq!(applied.outcome, Outcome::AgentAttached { agent: agent.clone() });
    let run = Effect::RunTask {
        agent: agent.clone(),
        framework: framework.clone(),
        task: TaskId::from("new"),
        launch: launch_of(&world, &framework, "new"),
    };
    let acknowledge = Effect::SendAcknowledgement {
        agent: agent.clone(),
        framework: framework.clone(),
        task: TaskId::from("quiet"),
        launch: launch_of(&world, &framework, "quiet"),
        uuid: uuid(1),
    };
    assert_eq!(applied.effects, [run, acknowledge]);
    assert_eq!(applied.changes, [Change::Agent(agent.clone())]);
    assert_eq!(world.state.agent(&agent).expect("known").version, version, "no plan is upset");
}

#[test]
fn links_and_unknown_agents_are_judged() {
    let mut world = World::new();
    let agent = world.agent(5);
    let attach = |agent: &AgentId, serial| AttachAgent {
        agent: agent.clone(),
        link: link(serial),
        spec: None,
        inventory: None,
        stored: Default::default(),
    };
    let table = [
        (attach(&agent, 4), Some(Refusal::StaleLink)),
        (attach(&agent, 5), None),
        (attach(&AgentId::from("x"), 9), Some(Refusal::UnknownAgent)),
    ];
    for (command, expect) in table {
        assert_eq!(refused(&world.apply(Command::AttachAgent(command)).outcome), expect);
    }
    world.detach(&agent);
    let late = world.apply(Command::AttachAgent(attach(&agent, 5)));
    assert_eq!(refused(&late.outcome), Some(Refusal::StaleLink), "the link that ended");
    world.give_up(&agent);
    assert_eq!(refused(&world.attach(&agent, None).outcome), Some(Refusal::InventoryNeeded));
}

#[test]
fn after_a_restore_an_inventory_is_needed() {
    let mut world = World::new();
    let agent = world.agent(1);
    world.apply(Command::BeginTerm(crate::command::BeginTerm {
        incarnation: 2,
        ..crate::testing::begin_term()
    }));
    assert_eq!(refused(&world.attach(&agent, None).outcome), Some(Refusal::InventoryNeeded));
    assert!(!world.state.knows_tasks_of(&agent, SetHash::default(), &[]));
    assert_eq!(refused(&world.attach(&agent, Some(Inventory::default())).outcome), None);
    assert_eq!(refused(&world.attach(&agent, None).outcome), None);
}

#[test]
fn a_changed_agent_rescinds_its_offers() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    world.launch(&framework, &agent, &task("t", "cpus:2"));
    world.offer(&framework, &agent, "cpus:1");
    let version = world.state.agent(&agent).expect("known").version;
    for (serial, total, free) in
        [(60, "cpus:3;mem:64", "cpus:1;mem:64"), (61, "cpus:1", ""), (62, TOTAL, "cpus:6;mem:8192")]
    {
        let spec = crate::command::AgentSpec { total: resources(total), ..agent_spec() };
        let attach = AttachAgent {
            agent: agent.clone(),
            link: link(serial),
            spec: Some(spec),
            inventory: None,
            stored: Default::default(),
        };
        world.apply(Command::AttachAgent(attach));
        assert_eq!(world.state.counts().offers, 0);
        assert_eq!(world.free(&agent), free, "{total}");
    }
    assert!(world.state.agent(&agent).expect("known").version > version);
}

#[test]
fn a_task_missing_from_the_inventory_is_gone_unless_it_never_arrived() {
    let (mut world, agent, framework) = three_tasks();
    world.detach(&agent);
    let mut inventory = world.inventory(&agent);
    inventory.tasks.retain(|item| item.spec.id.as_str() == "quiet");
    let applied = world.attach(&agent, Some(inventory));
    assert_eq!(world.told(&framework), [("loud".into(), TaskState::Gone)]);
    assert_eq!(world.news(&framework)[0].reason, Some(Reason::Reconciliation));
    assert!(
        applied
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::RunTask { task, .. } if task.as_str() == "new"))
    );
    assert_eq!(world.free(&agent), "cpus:6;mem:8192");
}

#[test]
fn an_unreachable_agent_returns_with_its_tasks() {
    let (mut world, agent, framework) = three_tasks();
    let mut inventory = world.inventory(&agent);
    inventory.tasks.retain(|item| item.spec.id.as_str() != "new");
    inventory.tasks[0].state = TaskState::Finished;
    let finished = inventory.tasks[0].spec.id.to_string();
    world.give_up(&agent);
    let before = world.told(&framework).len();
    let applied = world.attach(&agent, Some(inventory));
    assert_eq!(applied.outcome, Outcome::AgentAttached { agent: agent.clone() });
    let told = world.told(&framework).split_off(before);
    let mut expect = vec![
        ("loud".to_owned(), TaskState::Running),
        ("quiet".to_owned(), TaskState::Running),
        ("new".to_owned(), TaskState::Gone),
    ];
    expect
        .iter_mut()
        .filter(|(task, _)| *task == finished)
        .for_each(|(_, state)| *state = TaskState::Finished);
    assert_eq!(told, expect);
    assert_eq!(world.news(&framework)[before].reason, Some(Reason::AgentReregistered));
    assert_eq!(world.free(&agent), "cpus:7;mem:8192");
    assert!(world.state.framework(&framework).expect("known").unreachable.is_empty());
    assert_eq!(
        world.record(&framework, "loud", TaskState::Running, 2).outcome,
        Outcome::Recorded(vec![Ok(())])
    );
}

#[test]
fn what_runs_unknown_to_the_masters_is_adopted() {
    use mesarch_proto::mesos::v1::FrameworkInfo;
    use prost::Message;
    let mut world = World::new();
    let framework = FrameworkId::from("from-a-former-life");
    let spec = task_with_executor("t", "e");
    let executor = spec.executor.clone().expect("has one");
    let item = InventoryTask {
        framework: framework.clone(),
        launch: LaunchId { index: 5, position: 0 },
        spec,
        state: TaskState::Running,
        acknowledged: Some(uuid(1)),
    };
    let info = FrameworkInfo {
        user: "u".into(),
        name: "n".into(),
        failover_timeout: Some(1.5),
        ..Default::default()
    };
    let inventory = Inventory {
        tasks: vec![item],
        executors: vec![crate::command::InventoryExecutor { framework: framework.clone(), spec: executor }],
        newest: mesarch_types::LaunchId::default(),
        frameworks: vec![(framework.clone(), info.encode_to_vec().into())],
        ..Inventory::default()
    };
    let (agent, spec) = (AgentId::from("own"), Some(agent_spec()));
    let attach = AttachAgent {
        agent: agent.clone(),
        link: link(1),
        spec,
        inventory: Some(inventory),
        stored: Default::default(),
    };
    let applied = world.apply(Command::AttachAgent(attach));
    assert_eq!(applied.outcome, Outcome::AgentAttached { agent: agent.clone() });
    let owner = world.state.framework(&framework).expect("created");
    assert!(matches!(owner.connection, Connection::Disconnected { .. }));
    assert_eq!((owner.spec.failover_timeout.0, &*owner.spec.name), (1500, "n"));
    assert_eq!(world.told(&framework), [("t".into(), TaskState::Running)]);
    assert_eq!(world.free(&agent), "cpus:6;mem:8000");
    let mut digest = SetHash::default();
    digest.insert(task_hash(&framework, &"t".into(), LaunchId { index: 5, position: 0 }, Some(uuid(1))));
    assert!(world.state.knows_tasks_of(&agent, digest, &[]));
}

#[test]
fn tasks_that_overlap_leave_the_agent_overcommitted_until_they_end() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    world.launch(&framework, &agent, &task("known", "cpus:2"));
    world.record(&framework, "known", TaskState::Running, 1);
    let mut inventory = world.inventory(&agent);
    let mut extra = inventory.tasks[0].clone();
    extra.spec = task("extra", "cpus:7");
    inventory.tasks.push(extra);
    world.offer(&framework, &agent, "cpus:6");
    world.attach(&agent, Some(inventory));
    assert!(world.state.agent(&agent).expect("known").ledger.is_overcommitted());
    assert_eq!((world.free(&agent).as_str(), world.state.counts().offers), ("", 0));
    world.record(&framework, "extra", TaskState::Failed, 2);
    assert_eq!(world.free(&agent), "cpus:6;mem:8192");
}

#[test]
fn of_two_lives_the_newer_launch_wins() {
    let mut world = World::new();
    let (agent, other, framework) = (world.agent(1), world.agent(2), world.framework());
    let launch = world.launch(&framework, &agent, &task("t", "cpus:1"));
    let mut item = world.inventory(&agent).tasks.remove(0);
    item.state = TaskState::Running;
    item.launch = LaunchId { index: launch.index - 1, position: 0 };
    let inventory = Inventory { tasks: vec![item.clone()], ..Inventory::default() };
    let older = world.attach(&other, Some(inventory)).effects;
    let expect = Effect::KillTask {
        agent: other.clone(),
        framework: framework.clone(),
        task: TaskId::from("t"),
        launch: item.launch,
    };
    assert_eq!(older, [expect]);
    item.launch = LaunchId { index: launch.index + 1, position: 0 };
    world.attach(&other, Some(Inventory { tasks: vec![item.clone()], ..Inventory::default() }));
    let known = world.state.task(&framework, &TaskId::from("t")).expect("known");
    assert_eq!((&known.agent, known.launch), (&other, item.launch));
    assert_eq!(world.free(&agent), TOTAL);
}

#[test]
fn tasks_of_a_removed_framework_are_shut_down() {
    let (mut world, agent, framework) = three_tasks();
    let inventory = world.inventory(&agent);
    world.detach(&agent);
    world.apply(Command::Teardown(Teardown { framework: framework.clone() }));
    let forgot = crate::command::AgentForgot {
        agent: agent.clone(),
        acknowledged: Vec::new(),
        frameworks: vec![framework.clone()],
    };
    world.apply(Command::AgentForgot(forgot));
    let applied = world.attach(&agent, Some(inventory));
    assert_eq!(applied.effects, [Effect::ShutdownFramework { agent, framework }]);
    assert_eq!(world.state.counts().tasks, 0);
}

#[test]
fn an_executor_missing_from_the_inventory_is_freed_unless_its_task_never_arrived() {
    for (reported, executors) in [(false, 1), (true, 0)] {
        let mut world = World::new();
        let (agent, framework) = (world.agent(1), world.framework());
        world.launch(&framework, &agent, &task_with_executor("t", "e"));
        if reported {
            world.record(&framework, "t", TaskState::Running, 1);
        }
        world.attach(&agent, Some(Inventory::default()));
        assert_eq!(world.state.counts().executors, executors);
    }
}

#[test]
fn an_acknowledgement_to_masters_that_are_no_more_counts() {
    let (mut world, agent, framework) = three_tasks();
    let mut inventory = world.inventory(&agent);
    let loud = inventory.tasks.iter_mut().find(|item| item.spec.id.as_str() == "loud").expect("listed");
    loud.acknowledged = Some(uuid(2));
    world.attach(&agent, Some(inventory));
    let known = world.state.task(&framework, &TaskId::from("loud")).expect("known");
    assert_eq!((known.acknowledged, known.unacknowledged), (Some(uuid(2)), false));
}

/// An agent was given up, its task was concluded, and the framework used the id again; that life is over as well.
#[test]
fn a_life_that_a_later_one_of_the_history_outlived_is_ended_and_not_told() {
    for (level, state) in [(1, TaskState::Running), (2, TaskState::Running), (2, TaskState::Failed)] {
        let mut world = World::new();
        world.state.meta.level = level;
        let (away, agent, framework) = (world.agent(1), world.agent(2), world.framework());
        let first = world.launch(&framework, &away, &task("t", "cpus:1"));
        world.record(&framework, "t", TaskState::Running, 1);
        world.acknowledge(&framework, &away, "t", 1);
        let listed = InventoryTask { state, ..world.inventory(&away).tasks[0].clone() };
        world.attach(&away, Some(Inventory::default()));
        let second = world.launch(&framework, &agent, &task("t", "cpus:1"));
        world.record(&framework, "t", TaskState::Finished, 2);
        world.acknowledge(&framework, &agent, "t", 2);
        world.forgot(&agent, &framework, "t", second, 2);
        let before = world.told(&framework).len();
        let inventory = Inventory { tasks: vec![listed], ..Inventory::default() };
        let applied = world.attach(&away, Some(inventory));
        let adopted = world.state.task(&framework, &TaskId::from("t")).is_some();
        assert_eq!(adopted, level == 1, "{state:?} on level {level}");
        assert_eq!(world.told(&framework).len() - before, usize::from(level == 1));
        let kill = Effect::KillTask { agent: away, framework, task: TaskId::from("t"), launch: first };
        assert_eq!(applied.effects.contains(&kill), level == 2 && state == TaskState::Running);
    }
}
