//! Words for the tables: a driver around one agent that keeps what it persisted.

use bytes::Bytes;
use mesarch_types::{
    AgentId, ClusterId, ExecutorId, Fence, FrameworkId, LaunchId, Millis, Resources, TaskId, TaskState,
    UpdateUuid, WallMillis,
};

use crate::*;

pub(crate) const GRACE: Millis = Millis(5_000);

pub(crate) struct Driver {
    pub(crate) agent: Agent,
    pub(crate) now: Millis,
    pub(crate) stored: Vec<Record>,
    pub(crate) links: u64,
}

impl Driver {
    /// A fresh agent on a link, attached as `S0` in term 1.
    pub(crate) fn attached() -> Self {
        let mut driver = Self::fresh();
        driver.attach(1);
        driver
    }

    pub(crate) fn fresh() -> Self {
        Self { agent: Agent::new(Config::default()), now: Millis(0), stored: Vec::new(), links: 0 }
    }

    pub(crate) fn input(&mut self, input: Input) -> Vec<Output> {
        let outputs = self.agent.step(at(self.now), input);
        self.keep(outputs)
    }

    fn keep(&mut self, outputs: Vec<Output>) -> Vec<Output> {
        for output in &outputs {
            if let Output::Persist(record) = output {
                self.stored.push(record.clone());
            }
        }
        outputs
    }

    pub(crate) fn attach(&mut self, term: u64) -> Vec<Output> {
        self.links += 1;
        let mut outputs = self.input(Input::LinkOpened { link: self.links });
        outputs.extend(self.master_in(term, MasterMessage::Attached(AgentId::from("S0"))));
        outputs
    }

    pub(crate) fn master(&mut self, message: MasterMessage) -> Vec<Output> {
        let term = self.agent.durable().fence.map_or(1, |fence| fence.term);
        self.master_in(term, message)
    }

    pub(crate) fn master_in(&mut self, term: u64, message: MasterMessage) -> Vec<Output> {
        self.input(Input::Master { link: self.links, fence: fence(term), message })
    }

    /// What the timers do up to `until`.
    pub(crate) fn advance(&mut self, until: Millis) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(wake) = self.agent.next_wake().filter(|wake| *wake <= until) {
            self.now = self.now.max(wake);
            outputs.extend(self.input(Input::Timer));
        }
        self.now = until;
        outputs
    }

    /// The agent's process dies and starts again from its records.
    pub(crate) fn restart(&mut self) -> Vec<Output> {
        let (agent, outputs) = Agent::recover(Config::default(), at(self.now), self.stored.clone());
        self.agent = agent;
        self.keep(outputs)
    }

    /// Launches a command task and has its executor subscribe.
    pub(crate) fn running(&mut self, name: &str, launch: u64) -> Run {
        self.master(run_task(name, launch));
        let run = self.run_of(name);
        self.input(Input::ExecutorSubscribed { run: run.clone(), resume: Resume::default() });
        self.update(&run, name, 1, TaskState::Running);
        run
    }

    pub(crate) fn run_of(&self, executor: &str) -> Run {
        self.agent.run(&framework(), &ExecutorId::from(executor)).expect("the executor has a run").run
    }

    pub(crate) fn update(&mut self, run: &Run, name: &str, number: u8, state: TaskState) -> Vec<Output> {
        self.input(Input::ExecutorUpdate { run: run.clone(), update: update(name, number, state) })
    }

    pub(crate) fn acknowledge(&mut self, name: &str, launch: u64, number: u8) -> Vec<Output> {
        self.master(MasterMessage::Acknowledged { key: key(name, launch), uuid: uuid(number) })
    }
}

pub(crate) fn at(now: Millis) -> Now {
    Now { mono: now, wall: WallMillis(1_000_000 + now.0) }
}

pub(crate) fn framework() -> FrameworkId {
    FrameworkId::from("F")
}

pub(crate) fn key(task: &str, launch: u64) -> TaskKey {
    TaskKey {
        framework: framework(),
        task: TaskId::from(task),
        launch: LaunchId { index: launch, position: 0 },
    }
}

pub(crate) fn fence(term: u64) -> Fence {
    Fence { cluster: ClusterId([7; 16]), incarnation: 1, term }
}

pub(crate) fn uuid(number: u8) -> UpdateUuid {
    UpdateUuid([number; 16])
}

pub(crate) fn update(task: &str, number: u8, state: TaskState) -> ExecutorUpdate {
    let status = Bytes::from(format!("{task} {number}"));
    ExecutorUpdate { task: TaskId::from(task), uuid: uuid(number), state, status }
}

pub(crate) fn framework_spec() -> FrameworkSpec {
    let info = Bytes::from_static(b"framework");
    FrameworkSpec { id: framework(), info, checkpoint: true, partition_aware: true }
}

pub(crate) fn launch(task: &str, launch: u64) -> RunTask {
    RunTask {
        key: key(task, launch),
        info: Bytes::from(format!("task {task}")),
        framework: framework_spec(),
        executor: ExecutorSpec {
            id: ExecutorId::from(task),
            info: Bytes::from(format!("command executor of {task}")),
            command: true,
            shutdown_grace: GRACE,
        },
        converted: Resources::default(),
        refused: None,
    }
}

pub(crate) fn run_task(task: &str, number: u64) -> MasterMessage {
    MasterMessage::RunTask(Box::new(launch(task, number)))
}

/// A task for the framework's own executor `E`.
pub(crate) fn custom_task(task: &str, number: u64) -> MasterMessage {
    let executor = ExecutorSpec {
        id: ExecutorId::from("E"),
        info: Bytes::from_static(b"own executor"),
        command: false,
        shutdown_grace: GRACE,
    };
    MasterMessage::RunTask(Box::new(RunTask { executor, ..launch(task, number) }))
}

pub(crate) fn records(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Persist(_))).count()
}

/// The outputs in short words, without the records: what somebody outside sees, in order.
pub(crate) fn seen(outputs: &[Output]) -> Vec<String> {
    outputs.iter().filter_map(word).collect()
}

fn word(output: &Output) -> Option<String> {
    let text = match output {
        Output::Persist(_) => return None,
        Output::Volumes { made, gone, .. } => format!("volumes {made} not {gone}"),
        Output::ToProvider(told) => format!("to provider {told:?}"),
        Output::StartExecutor(start) => format!("start {}", start.run.executor),
        Output::KillExecutor(run) => format!("kill -9 {}", run.executor),
        Output::CloseLink { why, .. } => format!("close link: {why}"),
        Output::ToExecutor(run, event) => format!("{}<{}", run.executor, event_word(event)),
        Output::ToMaster(message) => message_word(message),
    };
    Some(text)
}

fn event_word(event: &ExecutorEvent) -> String {
    match event {
        ExecutorEvent::Subscribed => "subscribed".to_owned(),
        ExecutorEvent::Launch(info) => format!("launch {}", String::from_utf8_lossy(info)),
        ExecutorEvent::Kill(task, _) => format!("kill {task}"),
        ExecutorEvent::Acknowledged(task, uuid) => format!("ack {task} {}", uuid.0[0]),
        ExecutorEvent::Message(_) => "message".to_owned(),
        ExecutorEvent::Shutdown => "shutdown".to_owned(),
    }
}

fn message_word(message: &ToMaster) -> String {
    match message {
        ToMaster::Hello(hello) if hello.agent.is_none() => "register".to_owned(),
        ToMaster::Hello(_) => "attach".to_owned(),
        ToMaster::Inventory(inventory) => format!("inventory of {}", inventory.tasks.len()),
        ToMaster::ResourcesStored(version) => format!("stored {}", version.epoch.0),
        ToMaster::Update { key, update, latest, .. } => {
            format!("{} {} {} latest {}", key.task, key.launch.index, update.state.name(), latest.name())
        }
        ToMaster::Forgot { key, uuid } => format!("forgot {} {} {}", key.task, key.launch.index, uuid.0[0]),
        ToMaster::ForgotFramework(framework) => format!("forgot {framework}"),
        ToMaster::ExecutorExited { executor, status, .. } => format!("{} exited {status}", executor.executor),
        ToMaster::Message { .. } => "message".to_owned(),
    }
}

/// Panics unless `outputs` are exactly these words.
#[track_caller]
pub(crate) fn expect(outputs: &[Output], words: &[&str]) {
    assert_eq!(seen(outputs), words, "in {outputs:#?}");
}
