//! A simulated agent: speaks the real link over real TCP, but runs nothing. A task is RUNNING as soon as it arrives, and
//! FINISHED as soon as RUNNING is acknowledged.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use mesarch_proto::{
    link::{
        self, ForgottenUpdate, FromAgent, TaskKey, ToAgent, Update, agent_link_client::AgentLinkClient,
        from_agent::Kind as Say, to_agent::Kind as Hear,
    },
    mesos::v1::{AgentId, AgentInfo, Resource, TaskInfo, TaskState, TaskStatus, task_status, value},
};
use prost::Message;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Endpoint};

/// What a simulated agent is told to be.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) hostname: String,
    pub(crate) cpus: f64,
    pub(crate) mem_mb: f64,
    /// Whether tasks end by themselves once RUNNING is acknowledged.
    pub(crate) finish: bool,
}

/// A running simulated agent; aborting the task ends it.
pub(crate) struct SimAgent {
    task: JoinHandle<anyhow::Result<()>>,
}

/// Messages waiting to be written to the link.
const OUT_MAX: usize = 1024;
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

impl SimAgent {
    /// Registers at the leading master (`host:port` of its client port) and serves until dropped or the link ends.
    pub(crate) async fn start(leader: &str, spec: Spec) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{leader}"))?
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_DEADLINE)
            .connect()
            .await
            .with_context(|| format!("no connection to the leader at {leader}"))?;
        let (out, messages) = mpsc::channel(OUT_MAX);
        out.send(say(Say::Register(register(&spec)))).await?;
        let inbound =
            AgentLinkClient::new(channel).connect(ReceiverStream::new(messages)).await?.into_inner();
        let (attached, wait) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(serve(inbound, out, spec.finish, Some(attached)));
        tokio::time::timeout(CONNECT_DEADLINE, wait)
            .await
            .context("the leader did not attach the agent")??;
        Ok(Self { task })
    }
}

impl Drop for SimAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut inbound: Streaming<ToAgent>,
    out: mpsc::Sender<FromAgent>,
    finish: bool,
    mut attached: Option<tokio::sync::oneshot::Sender<()>>,
) -> anyhow::Result<()> {
    let mut tasks = Tasks { agent: String::new(), finish, live: HashMap::new() };
    while let Some(message) = inbound.message().await? {
        let Some(kind) = message.kind else { continue };
        if let Hear::Attached(welcome) = &kind {
            tasks.agent.clone_from(&welcome.agent);
            if let Some(attached) = attached.take() {
                let _ = attached.send(());
            }
        }
        for answer in tasks.hear(kind)? {
            out.send(say(answer)).await?;
        }
    }
    bail!("the leader closed the link")
}

struct Tasks {
    agent: String,
    finish: bool,
    live: HashMap<(String, String), TaskState>,
}

impl Tasks {
    fn hear(&mut self, message: Hear) -> anyhow::Result<Vec<Say>> {
        Ok(match message {
            Hear::RunTask(run) => {
                let key = run.key.context("RunTask without a key")?;
                let known = self.live.insert(name(&key), TaskState::TaskRunning);
                debug_assert!(
                    known.is_none_or(|state| state == TaskState::TaskRunning),
                    "a launch came twice"
                );
                TaskInfo::decode(run.info).context("RunTask with an undecodable TaskInfo")?;
                vec![self.update(key, TaskState::TaskRunning)]
            }
            Hear::Acknowledged(ack) => {
                self.acknowledged(ack.key.context("Acknowledged without a key")?, ack.uuid)
            }
            Hear::KillTask(kill) => {
                let key = kill.key.context("KillTask without a key")?;
                self.live.insert(name(&key), TaskState::TaskKilled);
                vec![self.update(key, TaskState::TaskKilled)]
            }
            Hear::Ping(ping) => vec![Say::Pong(link::Pong { number: ping.number })],
            Hear::InventoryRequest(_) => vec![Say::Inventory(link::Inventory::default())],
            Hear::ShutdownFramework(end) => {
                vec![Say::Forgot(link::Forgot { updates: Vec::new(), frameworks: vec![end.framework] })]
            }
            Hear::Shutdown(shutdown) => bail!("the masters end this agent: {}", shutdown.reason),
            Hear::Resources(_) => bail!("resources to store, for an agent that stores none"),
            Hear::ApplyOperation(_) | Hear::OperationAcknowledged(_) => {
                bail!("an operation for a resource provider, for an agent that has none")
            }
            Hear::Attached(_) | Hear::ShutdownExecutor(_) | Hear::Message(_) | Hear::ExecutorExitNoted(_) => {
                Vec::new()
            }
        })
    }

    fn acknowledged(&mut self, key: TaskKey, uuid: Bytes) -> Vec<Say> {
        let forgot = link::Forgot {
            updates: vec![ForgottenUpdate { key: Some(key.clone()), uuid }],
            frameworks: Vec::new(),
        };
        let mut answers = vec![Say::Forgot(forgot)];
        match self.live.get(&name(&key)) {
            Some(TaskState::TaskRunning) if self.finish => {
                self.live.insert(name(&key), TaskState::TaskFinished);
                answers.push(self.update(key, TaskState::TaskFinished));
            }
            Some(TaskState::TaskFinished | TaskState::TaskKilled) => {
                self.live.remove(&name(&key));
            }
            _ => {}
        }
        answers
    }

    fn update(&self, key: TaskKey, state: TaskState) -> Say {
        let status = TaskStatus {
            task_id: mesarch_proto::mesos::v1::TaskId { value: key.task.clone() },
            state: state as i32,
            agent_id: Some(AgentId { value: self.agent.clone() }),
            uuid: Some(Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes())),
            source: Some(task_status::Source::Executor as i32),
            ..TaskStatus::default()
        };
        let update = Update { key: Some(key), status: status.encode_to_vec().into(), latest: state as i32 };
        Say::Updates(link::Updates { updates: vec![update] })
    }
}

fn name(key: &TaskKey) -> (String, String) {
    (key.framework.clone(), key.task.clone())
}

fn say(kind: Say) -> FromAgent {
    FromAgent { kind: Some(kind) }
}

fn register(spec: &Spec) -> link::Register {
    let info = AgentInfo {
        hostname: spec.hostname.clone(),
        port: Some(5051),
        resources: vec![scalar("cpus", spec.cpus), scalar("mem", spec.mem_mb)],
        ..AgentInfo::default()
    };
    link::Register {
        nonce: Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes()),
        info: info.encode_to_vec().into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..link::Register::default()
    }
}

/// A scalar resource as the wire has it.
pub(crate) fn scalar(name: &str, amount: f64) -> Resource {
    Resource {
        name: name.into(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value: amount }),
        ..Resource::default()
    }
}
