//! What a simulated agent knows of its tasks, and what it says to what it hears. No I/O.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, bail};
use bytes::Bytes;
use mesarch_proto::{
    link::{self, Fence, ForgottenUpdate, TaskKey, Update, from_agent::Kind as Say, to_agent::Kind as Hear},
    mesos::v1::{AgentId, AgentInfo, TaskId, TaskInfo, TaskState, TaskStatus, task_status},
};
use mesarch_types::{
    LaunchId, UpdateUuid,
    digest::{DIGEST_FORM, SetHash, task_hash},
};
use prost::Message;

use super::{Finish, Spec, scalar};

/// Tasks that an attaching agent may list (`Attach.listed`).
const LISTED_MAX: usize = 256;

/// Everything that outlives a link.
pub(super) struct Tasks {
    nonce: Bytes,
    /// mesos.v1.AgentInfo.
    info: Bytes,
    finish: Finish,
    /// Empty until it was registered.
    agent: String,
    highest: Option<Fence>,
    live: HashMap<(String, String), Task>,
    /// mesos.v1.FrameworkInfo, by id.
    frameworks: HashMap<String, Bytes>,
    newest: link::LaunchId,
    /// Told lately, oldest first: the leader may not have heard it.
    forgotten: VecDeque<ForgottenUpdate>,
    /// How often a leader asked for everything, because the digest did not say it; of all agents that share it.
    inventories: Arc<AtomicU64>,
}

/// One life of one task.
struct Task {
    launch: link::LaunchId,
    /// mesos.v1.TaskInfo.
    info: Bytes,
    state: TaskState,
    acknowledged: Option<UpdateUuid>,
    /// Not acknowledged yet.
    waiting: Option<Update>,
}

impl Tasks {
    pub(super) fn new(spec: Spec, inventories: Arc<AtomicU64>) -> Self {
        let info = AgentInfo {
            hostname: spec.hostname,
            port: Some(5051),
            resources: vec![scalar("cpus", spec.cpus), scalar("mem", spec.mem_mb)],
            ..AgentInfo::default()
        };
        Self {
            nonce: Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes()),
            info: info.encode_to_vec().into(),
            finish: spec.finish,
            agent: String::new(),
            highest: None,
            live: HashMap::new(),
            frameworks: HashMap::new(),
            newest: link::LaunchId::default(),
            forgotten: VecDeque::new(),
            inventories,
        }
    }

    /// The first word on a link.
    pub(super) fn hello(&self) -> Say {
        let (nonce, info, version) =
            (self.nonce.clone(), self.info.clone(), env!("CARGO_PKG_VERSION").into());
        if self.agent.is_empty() {
            return Say::Register(link::Register { nonce, info, version, ..link::Register::default() });
        }
        let (mut digest, mut listed) = (SetHash::default(), Vec::new());
        for ((framework, name), task) in &self.live {
            if task.is_quiescent() {
                let launch = LaunchId { index: task.launch.index, position: task.launch.position };
                let (framework, name) = (framework.as_str().into(), name.as_str().into());
                digest.insert(task_hash(&framework, &name, launch, task.acknowledged));
            } else {
                listed.push(key(framework, name, task.launch));
            }
        }
        let inventory_wanted = listed.len() > LISTED_MAX;
        if inventory_wanted {
            listed.clear();
        }
        Say::Attach(link::Attach {
            agent: self.agent.clone(),
            nonce,
            version,
            info,
            digest_form: DIGEST_FORM,
            digest: Bytes::copy_from_slice(&digest.0.to_le_bytes()),
            listed,
            inventory_wanted,
            highest: self.highest.clone(),
            ..link::Attach::default()
        })
    }

    /// What it says to a message under this fence.
    pub(super) fn hear(&mut self, fence: &Fence, message: Hear) -> anyhow::Result<Vec<Say>> {
        self.highest = Some(fence.clone());
        Ok(match message {
            Hear::Attached(welcome) => {
                self.agent = welcome.agent;
                self.tell_again()
            }
            Hear::RunTask(run) => vec![self.run(run)?],
            Hear::RunTaskGroup(group) => {
                group.tasks.into_iter().map(|run| self.run(run)).collect::<anyhow::Result<_>>()?
            }
            Hear::Acknowledged(ack) => {
                self.acknowledged(ack.key.context("Acknowledged without a key")?, ack.uuid)
            }
            Hear::KillTask(kill) => self.kill(&kill.key.context("KillTask without a key")?),
            Hear::Ping(ping) => vec![Say::Pong(link::Pong { number: ping.number })],
            Hear::InventoryRequest(_) => vec![self.inventory()],
            Hear::ShutdownFramework(end) => {
                self.live.retain(|(framework, _), _| *framework != end.framework);
                self.frameworks.remove(&end.framework);
                vec![Say::Forgot(link::Forgot { updates: Vec::new(), frameworks: vec![end.framework] })]
            }
            Hear::Shutdown(shutdown) => bail!("the masters end this agent: {}", shutdown.reason),
            Hear::Resources(_) => bail!("resources to store, for an agent that stores none"),
            Hear::ApplyOperation(_) | Hear::OperationAcknowledged(_) => {
                bail!("an operation for a resource provider, for an agent that has none")
            }
            Hear::ShutdownExecutor(_) | Hear::Message(_) | Hear::ExecutorExitNoted(_) => Vec::new(),
        })
    }

    /// What the last leader may not have heard.
    fn tell_again(&self) -> Vec<Say> {
        let updates: Vec<Update> = self.live.values().filter_map(|task| task.waiting.clone()).collect();
        let forgotten: Vec<ForgottenUpdate> = self.forgotten.iter().cloned().collect();
        let mut said = Vec::new();
        if !forgotten.is_empty() {
            said.push(Say::Forgot(link::Forgot { updates: forgotten, frameworks: Vec::new() }));
        }
        if !updates.is_empty() {
            said.push(Say::Updates(link::Updates { updates }));
        }
        said
    }

    /// A launch; one that is known is answered with what is known of it.
    fn run(&mut self, run: link::RunTask) -> anyhow::Result<Say> {
        let of = run.key.context("RunTask without a key")?;
        let launch = of.launch.context("RunTask without a launch")?;
        if let Some(known) = self.live.get(&name(&of)).filter(|known| known.launch == launch) {
            let updates = known.waiting.iter().cloned().collect();
            return Ok(Say::Updates(link::Updates { updates }));
        }
        TaskInfo::decode(run.info.clone()).context("RunTask with an undecodable TaskInfo")?;
        self.frameworks.entry(of.framework.clone()).or_insert(run.framework_info);
        if (launch.index, launch.position) > (self.newest.index, self.newest.position) {
            self.newest = launch;
        }
        let task =
            Task { launch, info: run.info, state: TaskState::TaskStaging, acknowledged: None, waiting: None };
        self.live.insert(name(&of), task);
        Ok(self.update(&of, TaskState::TaskRunning))
    }

    fn kill(&mut self, of: &TaskKey) -> Vec<Say> {
        match self.live.contains_key(&name(of)) {
            true => vec![self.update(of, TaskState::TaskKilled)],
            false => Vec::new(),
        }
    }

    fn acknowledged(&mut self, of: TaskKey, uuid: Bytes) -> Vec<Say> {
        let update = ForgottenUpdate { key: Some(of.clone()), uuid: uuid.clone() };
        if self.forgotten.len() > LISTED_MAX {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(update.clone());
        let mut answers = vec![Say::Forgot(link::Forgot { updates: vec![update], frameworks: Vec::new() })];
        let Some(task) = self.live.get_mut(&name(&of)) else { return answers };
        let Ok(uuid) = uuid.as_ref().try_into().map(UpdateUuid) else { return answers };
        // An older one than the one that waits was killed over: nothing hangs on it.
        task.acknowledged = Some(uuid);
        task.waiting = None;
        match task.state {
            TaskState::TaskRunning if self.finish.ends(&of.task) => {
                answers.push(self.update(&of, TaskState::TaskFinished));
            }
            TaskState::TaskFinished | TaskState::TaskKilled => {
                self.live.remove(&name(&of));
            }
            _ => {}
        }
        answers
    }

    /// A new state of a task that is known.
    fn update(&mut self, of: &TaskKey, state: TaskState) -> Say {
        let status = TaskStatus {
            task_id: TaskId { value: of.task.clone() },
            state: state as i32,
            agent_id: Some(AgentId { value: self.agent.clone() }),
            uuid: Some(Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes())),
            source: Some(task_status::Source::Executor as i32),
            ..TaskStatus::default()
        };
        let update =
            Update { key: Some(of.clone()), status: status.encode_to_vec().into(), latest: state as i32 };
        if let Some(task) = self.live.get_mut(&name(of)) {
            task.state = state;
            task.waiting = Some(update.clone());
        }
        Say::Updates(link::Updates { updates: vec![update] })
    }

    fn inventory(&self) -> Say {
        self.inventories.fetch_add(1, Ordering::Relaxed);
        let tasks = self.live.iter().map(|((framework, name), task)| link::InventoryTask {
            key: Some(key(framework, name, task.launch)),
            info: task.info.clone(),
            state: task.state as i32,
            acknowledged: task.acknowledged.map(|uuid| Bytes::copy_from_slice(&uuid.0)).unwrap_or_default(),
        });
        let frameworks = self.frameworks.iter().map(|(framework, info)| link::InventoryFramework {
            framework: framework.clone(),
            info: info.clone(),
        });
        Say::Inventory(link::Inventory {
            tasks: tasks.collect(),
            executors: Vec::new(),
            frameworks: frameworks.collect(),
            newest: Some(self.newest),
            resources: None,
        })
    }
}

impl Task {
    /// Whether the masters see it alike if no message was lost.
    fn is_quiescent(&self) -> bool {
        self.waiting.is_none() && self.acknowledged.is_some()
    }
}

fn name(key: &TaskKey) -> (String, String) {
    (key.framework.clone(), key.task.clone())
}

fn key(framework: &str, task: &str, launch: link::LaunchId) -> TaskKey {
    TaskKey { framework: framework.to_owned(), task: task.to_owned(), launch: Some(launch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence() -> Fence {
        Fence { term: 3, ..Fence::default() }
    }

    fn launched(finish: Finish) -> (Tasks, TaskKey, Bytes) {
        let mut tasks =
            Tasks::new(Spec { hostname: "sim".into(), cpus: 1.0, mem_mb: 1.0, finish }, Arc::default());
        assert!(matches!(tasks.hello(), Say::Register(_)));
        let welcome = link::Attached { agent: "S1".into(), silence_ms_max: 0 };
        assert_eq!(tasks.hear(&fence(), Hear::Attached(welcome)).unwrap(), []);
        let of = key("F", "t", link::LaunchId { index: 7, position: 0 });
        let run = link::RunTask { key: Some(of.clone()), ..link::RunTask::default() };
        // Its description lacks what is required, but not here: nothing is decoded strictly.
        let said = tasks.hear(&fence(), Hear::RunTask(run.clone())).unwrap();
        assert_eq!(tasks.hear(&fence(), Hear::RunTask(run)).unwrap(), said, "a launch that comes twice");
        let uuid = uuid_of(&said[0], TaskState::TaskRunning);
        (tasks, of, uuid)
    }

    fn uuid_of(said: &Say, state: TaskState) -> Bytes {
        let Say::Updates(updates) = said else { panic!("{said:?} is no update") };
        assert_eq!(updates.updates[0].latest, state as i32);
        TaskStatus::decode(updates.updates[0].status.clone()).unwrap().uuid.unwrap()
    }

    fn attach(tasks: &Tasks) -> link::Attach {
        let Say::Attach(attach) = tasks.hello() else { panic!("it is known already") };
        attach
    }

    #[test]
    fn what_is_settled_is_in_the_digest_and_what_is_not_is_listed() {
        let (mut tasks, of, uuid) = launched(Finish::Named("done"));
        let before = attach(&tasks);
        assert_eq!((before.listed, before.digest), (vec![of.clone()], Bytes::from(vec![0; 16])));
        assert_eq!(before.highest, Some(fence()));
        let ack = link::Acknowledged { key: Some(of), uuid: uuid.clone() };
        tasks.hear(&fence(), Hear::Acknowledged(ack)).unwrap();
        let after = attach(&tasks);
        let launch = LaunchId { index: 7, position: 0 };
        let known = UpdateUuid(uuid.as_ref().try_into().unwrap());
        let hash = task_hash(&"F".into(), &"t".into(), launch, Some(known));
        assert_eq!((after.listed, after.digest.as_ref()), (vec![], &hash.to_le_bytes()[..]));
    }

    #[test]
    fn what_was_not_acknowledged_is_told_to_the_next_leader_and_what_ended_is_gone() {
        let (mut tasks, of, running) = launched(Finish::All);
        let welcome = || Hear::Attached(link::Attached { agent: "S1".into(), silence_ms_max: 0 });
        let again = tasks.hear(&fence(), welcome()).unwrap();
        assert_eq!(uuid_of(&again[0], TaskState::TaskRunning), running);
        let ack = |uuid| Hear::Acknowledged(link::Acknowledged { key: Some(of.clone()), uuid });
        let said = tasks.hear(&fence(), ack(running)).unwrap();
        let finished = uuid_of(&said[1], TaskState::TaskFinished);
        tasks.hear(&fence(), ack(finished)).unwrap();
        assert_eq!(attach(&tasks).digest, Bytes::from(vec![0; 16]));
        let Say::Forgot(forgot) = &tasks.hear(&fence(), welcome()).unwrap()[0] else { panic!() };
        assert_eq!(forgot.updates.len(), 2);
        let inventory = tasks.hear(&fence(), Hear::InventoryRequest(link::InventoryRequest {})).unwrap();
        assert!(matches!(&inventory[0], Say::Inventory(all) if all.tasks.is_empty() && all.newest.is_some()));
        assert_eq!(tasks.inventories.load(Ordering::Relaxed), 1);
    }
}
