//! Executors: processes beside the agent, which live on when it dies.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mesarch_agent_core::{ExecutorEvent, ExecutorUpdate, Input, Resume, Run, StartExecutor};
use mesarch_types::{TaskId, TaskState, UpdateUuid};

use crate::{
    convert,
    event::{Act, Event},
    world::World,
};

/// One process.
pub(crate) struct Process {
    /// The built-in executor: ends after its one task.
    command: bool,
    /// Whether its event stream is open.
    pub(crate) subscribed: bool,
    tasks: BTreeMap<TaskId, TaskState>,
    /// Tasks of which no update has been acknowledged.
    fresh: BTreeSet<TaskId>,
    unacknowledged: Vec<ExecutorUpdate>,
}

impl World {
    pub(crate) fn start_executor(&mut self, agent: usize, start: StartExecutor) {
        let process = Process {
            command: start.executor.command,
            subscribed: false,
            tasks: BTreeMap::new(),
            fresh: BTreeSet::new(),
            unacknowledged: Vec::new(),
        };
        self.hosts[agent].processes.insert(start.run.clone(), process);
        self.act(agent, &start.run, 5, 300, Act::Subscribe);
    }

    fn act(&mut self, agent: usize, run: &Run, low: u64, high: u64, act: Act) {
        self.soon(low, high, Event::Executor { agent, run: run.clone(), act });
    }

    pub(crate) fn executor_acts(&mut self, agent: usize, run: &Run, act: Act) {
        match act {
            Act::Subscribe => self.subscribe_executor(agent, run),
            Act::Advance(task, state) => self.advance(agent, run, task, state),
            Act::Exit => self.exit(agent, run),
            Act::Reaped => self.agent_step(agent, Input::ExecutorExited { run: run.clone(), status: 0 }),
        }
    }

    /// The process ends, by itself or not; the agent hears of it a moment later.
    pub(crate) fn exit(&mut self, agent: usize, run: &Run) {
        self.hosts[agent].processes.remove(run);
        self.act(agent, run, 1, 20, Act::Reaped);
    }

    fn subscribe_executor(&mut self, agent: usize, run: &Run) {
        let host = &mut self.hosts[agent];
        let Some(process) = host.processes.get_mut(run).filter(|_| host.core.is_some()) else {
            return;
        };
        process.subscribed = true;
        let tasks = process.fresh.iter().cloned().collect();
        let resume = Resume { tasks, updates: process.unacknowledged.clone() };
        self.agent_step(agent, Input::ExecutorSubscribed { run: run.clone(), resume });
    }

    fn advance(&mut self, agent: usize, run: &Run, task: TaskId, state: TaskState) {
        let mut uuid = [0xee; 16];
        uuid[..8].copy_from_slice(&self.fresh().to_le_bytes());
        let Some(process) = self.hosts[agent].processes.get_mut(run) else {
            return;
        };
        let Some(now) = process.tasks.get_mut(&task) else {
            return;
        };
        let goes_on = !now.is_terminal() && (state != TaskState::Running || *now == TaskState::Staging);
        if !goes_on {
            return;
        }
        *now = state;
        let update =
            ExecutorUpdate { task, uuid: UpdateUuid(uuid), state, status: Bytes::copy_from_slice(&uuid) };
        process.unacknowledged.push(update.clone());
        if process.subscribed {
            self.agent_step(agent, Input::ExecutorUpdate { run: run.clone(), update });
        }
    }

    /// An event on the executor's stream, if it is open.
    pub(crate) fn executor_told(&mut self, agent: usize, run: &Run, event: ExecutorEvent) {
        let process = self.hosts[agent].processes.get_mut(run).filter(|process| process.subscribed);
        let Some(process) = process else { return };
        match event {
            ExecutorEvent::Launch(info) => self.launched(agent, run, &info),
            ExecutorEvent::LaunchGroup(infos) => {
                infos.iter().for_each(|info| self.launched(agent, run, info));
            }
            ExecutorEvent::Kill(task, _) => {
                self.act(agent, run, 1, 100, Act::Advance(task, TaskState::Killed))
            }
            ExecutorEvent::Acknowledged(task, uuid) => {
                process.unacknowledged.retain(|update| update.uuid != uuid);
                process.fresh.remove(&task);
                let over = process.tasks.values().all(|state| state.is_terminal());
                if process.command && over && process.unacknowledged.is_empty() {
                    self.act(agent, run, 1, 50, Act::Exit);
                }
            }
            ExecutorEvent::Shutdown => self.act(agent, run, 1, 200, Act::Exit),
            ExecutorEvent::Subscribed | ExecutorEvent::Message(_) => {}
        }
    }

    fn launched(&mut self, agent: usize, run: &Run, info: &Bytes) {
        let (task, life) = convert::task_of(info);
        self.watch.started(&run.framework, &task, life);
        let Some(process) = self.hosts[agent].processes.get_mut(run) else {
            return;
        };
        process.tasks.insert(task.clone(), TaskState::Staging);
        process.fresh.insert(task.clone());
        self.act(agent, run, 1, 50, Act::Advance(task.clone(), TaskState::Running));
        let end = if self.rng.chance(80) { TaskState::Finished } else { TaskState::Failed };
        self.act(agent, run, 60, 40_000, Act::Advance(task, end));
    }
}
