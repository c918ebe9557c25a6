//! Random histories of one agent: messages late, doubled and lost; executors that come, go and repeat themselves; the
//! agent's own death before its records are stored, or between any two effects.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mesarch_agent_core::*;
use mesarch_types::{
    AgentId, ClusterId, ContainerId, ExecutorId, Fence, FrameworkId, LaunchId, Millis, TaskId, TaskState,
    UpdateUuid, WallMillis,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Run { launch: u64, custom: bool },
    RunGroup { launch: u64, size: u8 },
    Kill { launch: u64 },
    Acknowledge { task: u8 },
    Subscribe { executor: u8 },
    Update { executor: u8, task: u8, number: u8, state: u8 },
    Exit { executor: u8 },
    ShutdownExecutor { executor: u8 },
    ShutdownFramework,
    Relink,
    Wait { ms: u16 },
    Crash { keep: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..40u64, any::<bool>()).prop_map(|(launch, custom)| Step::Run { launch, custom }),
        3 => (1..40u64, any::<u8>()).prop_map(|(launch, size)| Step::RunGroup { launch, size }),
        2 => (1..40u64).prop_map(|launch| Step::Kill { launch }),
        5 => (0..5u8).prop_map(|task| Step::Acknowledge { task }),
        4 => (0..6u8).prop_map(|executor| Step::Subscribe { executor }),
        6 => (0..6u8, 0..5u8, 0..20u8, 0..4u8)
            .prop_map(|(executor, task, number, state)| Step::Update { executor, task, number, state }),
        3 => (0..6u8).prop_map(|executor| Step::Exit { executor }),
        1 => (0..6u8).prop_map(|executor| Step::ShutdownExecutor { executor }),
        1 => Just(Step::ShutdownFramework),
        2 => Just(Step::Relink),
        3 => (0..20_000u16).prop_map(|ms| Step::Wait { ms }),
        2 => any::<u8>().prop_map(|keep| Step::Crash { keep }),
    ];
    prop::collection::vec(step, 1..120)
}

/// Task ids are few, so that lives of one id follow one another; launches of a task grow with their number.
fn key(launch: u64) -> TaskKey {
    let task = TaskId::from(format!("t{}", launch % 5));
    TaskKey { framework: FrameworkId::from("F"), task, launch: LaunchId { index: launch, position: 0 } }
}

struct World {
    agent: Agent,
    now: Millis,
    link: u64,
    /// On disk.
    stored: Vec<Record>,
    /// LAUNCH events per life, over all restarts.
    launched: BTreeMap<TaskKey, u32>,
    /// Starts per container, over all restarts.
    started: BTreeSet<ContainerId>,
    /// Updates in the order in which a master first saw them.
    heard: BTreeMap<TaskKey, Vec<UpdateUuid>>,
    acknowledged: BTreeMap<TaskKey, Vec<UpdateUuid>>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            agent: Agent::new(Config::default()),
            now: Millis(0),
            link: 0,
            stored: Vec::new(),
            launched: BTreeMap::new(),
            started: BTreeSet::new(),
            heard: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        };
        world.relink();
        world
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: WallMillis(self.now.0) }
    }

    fn input(&mut self, input: Input) {
        let outputs = self.agent.step(self.now(), input);
        self.perform(outputs, usize::MAX);
    }

    /// Stores the records, as one, and then performs the effects; with a bound, the process dies after so many of them.
    fn perform(&mut self, outputs: Vec<Output>, most: usize) {
        for output in &outputs {
            if let Output::Persist(record) = output {
                self.stored.push(record.clone());
            }
        }
        for output in outputs.into_iter().filter(|output| !matches!(output, Output::Persist(_))).take(most) {
            match output {
                Output::StartExecutor(start) => self.start(&start),
                Output::ToExecutor(run, ExecutorEvent::Launch(info)) => self.launch(&run, &info),
                Output::ToExecutor(run, ExecutorEvent::LaunchGroup(infos)) => {
                    self.launch_group(&run, &infos);
                }
                Output::ToMaster(ToMaster::Update { key, update, .. }) => self.hear(key, &update),
                Output::ToMaster(ToMaster::Forgot { key, uuid }) => self.check_forgot(&key, uuid),
                _ => {}
            }
        }
    }

    /// A run starts once, and only after it and its tasks are on disk.
    fn start(&mut self, start: &StartExecutor) {
        assert!(self.started.insert(start.run.container.clone()), "a container starts twice");
        let stored = self.durable();
        assert_eq!(stored.runs[&start.run.key()].container, start.run.container);
        assert!(stored.tasks_of(&start.run).next().is_some(), "a run starts for a stored task");
    }

    /// A life is launched once, ever.
    fn launch(&mut self, run: &Run, info: &Bytes) {
        let launch = String::from_utf8(info.to_vec()).unwrap().parse().unwrap();
        let count = self.launched.entry(key(launch)).or_default();
        *count += 1;
        assert_eq!(*count, 1, "{:?} is launched twice", key(launch));
        assert!(self.durable().tasks_of(run).any(|(stored, _)| *stored == key(launch)));
    }

    /// All of a group that is on disk at once, none of it alone.
    fn launch_group(&mut self, run: &Run, infos: &[Bytes]) {
        infos.iter().for_each(|info| self.launch(run, info));
        let launch = String::from_utf8(infos[0].to_vec()).unwrap().parse().unwrap();
        assert_eq!(self.durable().together(&key(launch)).len(), infos.len(), "a part of a group");
    }

    /// Updates of a life are heard in order, from the disk, and not after they were acknowledged.
    fn hear(&mut self, key: TaskKey, update: &Update) {
        let stored = self.durable();
        assert_eq!(stored.tasks[&key].updates.front().map(|head| head.uuid), Some(update.uuid));
        let done = self.acknowledged.entry(key.clone()).or_default();
        assert!(!done.contains(&update.uuid), "an acknowledged update is told again");
        let heard = self.heard.entry(key).or_default();
        if heard.last() != Some(&update.uuid) {
            assert!(!heard.contains(&update.uuid), "updates out of order");
            heard.push(update.uuid);
        }
    }

    fn check_forgot(&self, key: &TaskKey, uuid: UpdateUuid) {
        let stored = self.durable();
        let kept =
            stored.tasks.get(key).is_some_and(|task| task.updates.iter().any(|update| update.uuid == uuid));
        assert!(!kept, "told as forgotten, but kept");
    }

    fn durable(&self) -> Durable {
        let mut durable = Durable::default();
        self.stored.iter().for_each(|record| durable.apply(record));
        durable
    }

    fn master(&mut self, message: MasterMessage) {
        let fence = Fence { cluster: ClusterId([1; 16]), incarnation: 1, term: 1 };
        self.input(Input::Master { link: self.link, fence, message });
    }

    fn relink(&mut self) {
        self.link += 1;
        self.input(Input::LinkOpened { link: self.link });
        self.master(MasterMessage::Attached(AgentId::from("S")));
    }

    fn executor(&self, number: u8) -> ExecutorKey {
        let name = if number == 5 { "E".to_owned() } else { format!("t{number}") };
        ExecutorKey { framework: FrameworkId::from("F"), executor: ExecutorId::from(name) }
    }

    fn run(&self, number: u8) -> Option<Run> {
        let executor = self.executor(number);
        self.agent.run(&executor.framework, &executor.executor).map(|view| view.run)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Run { launch, custom } => {
                self.master(MasterMessage::RunTask(Box::new(run_task(launch, custom))))
            }
            Step::RunGroup { launch, size } => self.master(run_group(launch, size)),
            Step::Kill { launch } => {
                self.master(MasterMessage::KillTask { key: key(launch), policy: Bytes::new() });
            }
            Step::Acknowledge { task } => self.acknowledge(task),
            Step::Subscribe { executor } => self.subscribe(executor),
            Step::Update { executor, task, number, state } => self.update(executor, task, number, state),
            Step::Exit { executor } => {
                if let Some(run) = self.run(executor) {
                    self.input(Input::ExecutorExited { run, status: 0 });
                }
            }
            Step::ShutdownExecutor { executor } => {
                self.master(MasterMessage::ShutdownExecutor(self.executor(executor)));
            }
            Step::ShutdownFramework => self.master(MasterMessage::ShutdownFramework(FrameworkId::from("F"))),
            Step::Relink => self.relink(),
            Step::Wait { ms } => self.wait(Millis(u64::from(ms))),
            Step::Crash { keep } => self.crash(keep),
        }
        self.check();
    }

    fn acknowledge(&mut self, task: u8) {
        let mut heads = self
            .agent
            .durable()
            .tasks
            .iter()
            .filter_map(|(key, task)| task.updates.front().map(|head| (key.clone(), head.uuid)));
        let named = |(key, _): &(TaskKey, UpdateUuid)| key.task.as_str() == format!("t{task}");
        let Some((key, uuid)) = heads.find(named) else {
            return;
        };
        if self.heard.get(&key).is_some_and(|heard| heard.contains(&uuid)) {
            self.acknowledged.entry(key.clone()).or_default().push(uuid);
            self.master(MasterMessage::Acknowledged { key: key.clone(), uuid });
            self.master(MasterMessage::Acknowledged { key, uuid });
        }
    }

    /// An honest executor lists every task that it was given.
    fn subscribe(&mut self, executor: u8) {
        let Some(run) = self.run(executor) else { return };
        let given = self.agent.durable().tasks_of(&run).filter(|(key, _)| self.launched.contains_key(*key));
        let tasks = given.map(|(key, _)| key.task.clone()).collect();
        self.input(Input::ExecutorSubscribed { run, resume: Resume { tasks, updates: Vec::new() } });
    }

    fn update(&mut self, executor: u8, task: u8, number: u8, state: u8) {
        let Some(run) = self.run(executor) else { return };
        let states = [TaskState::Starting, TaskState::Running, TaskState::Finished, TaskState::Failed];
        let update = ExecutorUpdate {
            task: TaskId::from(format!("t{task}")),
            uuid: UpdateUuid([number; 16]),
            state: states[usize::from(state)],
            status: Bytes::from_static(b"status"),
        };
        self.input(Input::ExecutorUpdate { run, update });
    }

    fn wait(&mut self, ms: Millis) {
        let until = self.now.saturating_add(ms);
        while let Some(wake) = self.agent.next_wake().filter(|wake| *wake <= until) {
            self.now = self.now.max(wake);
            self.input(Input::Timer);
        }
        self.now = until;
    }

    /// The process dies in the middle of a launch, and comes back with what is on disk.
    fn crash(&mut self, keep: u8) {
        let launch = u64::from(keep) % 40;
        let fence = Fence { cluster: ClusterId([1; 16]), incarnation: 1, term: 1 };
        let message = MasterMessage::RunTask(Box::new(run_task(launch, false)));
        let outputs = self.agent.step(self.now(), Input::Master { link: self.link, fence, message });
        if !keep.is_multiple_of(3) {
            self.perform(outputs, usize::from(keep) % 4);
        }
        let (agent, outputs) = Agent::recover(Config::default(), self.now(), self.stored.clone());
        self.agent = agent;
        self.perform(outputs, usize::MAX);
        self.relink();
    }

    /// What is on disk is what the agent has, and a snapshot of it is the same again.
    fn check(&self) {
        let stored = self.durable();
        assert_eq!(&stored, self.agent.durable());
        let mut again = Durable::default();
        self.agent.snapshot().iter().for_each(|record| again.apply(record));
        assert_eq!(stored, again);
        let mut live = BTreeSet::new();
        for (key, task) in &stored.tasks {
            assert!(task.updates.iter().rev().skip(1).all(|update| !update.state.is_terminal()));
            if !task.state.is_terminal() {
                assert!(live.insert((&key.framework, &key.task)), "two live lives of {key:?}");
            }
        }
    }
}

/// Tasks of one group; sometimes the masters do not know all of it any more.
fn run_group(launch: u64, size: u8) -> MasterMessage {
    let (size, left) = (usize::from(size % 4) + 1, usize::from(size / 64));
    let tasks = (launch..).take(size).skip(left).map(|launch| run_task(launch, true)).collect();
    MasterMessage::RunTaskGroup(RunTaskGroup { tasks, size })
}

fn run_task(launch: u64, custom: bool) -> RunTask {
    let key = key(launch);
    let id = if custom { ExecutorId::from("E") } else { ExecutorId::from(key.task.as_str()) };
    let info = if custom { Bytes::from_static(b"own") } else { Bytes::from(format!("command {launch}")) };
    let executor = ExecutorSpec { id, info, command: !custom, shutdown_grace: Millis(5_000) };
    let framework = FrameworkSpec {
        id: FrameworkId::from("F"),
        info: Bytes::from_static(b"framework"),
        checkpoint: true,
        partition_aware: true,
    };
    RunTask {
        key,
        info: Bytes::from(launch.to_string()),
        framework,
        executor,
        converted: Default::default(),
        refused: None,
    }
}

/// So many cases, unless `PROPTEST_CASES` says otherwise.
#[expect(clippy::disallowed_methods, reason = "tests may look at their environment")]
fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(150), ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_contract(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
    }

    /// From wherever a history ends: when executors end and everything is acknowledged, nothing is left.
    #[test]
    fn every_history_can_be_brought_to_an_end(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.relink();
        for _ in 0..400 {
            (0..6).for_each(|executor| world.take(Step::Exit { executor }));
            (0..5).for_each(|task| world.take(Step::Acknowledge { task }));
        }
        prop_assert!(world.agent.durable().tasks.is_empty(), "{:?}", world.agent.durable().tasks);
        prop_assert!(world.agent.durable().runs.is_empty());
        prop_assert!(world.agent.durable().frameworks.is_empty());
    }
}
