//! Simulated agents: they speak the real link over real TCP, but run nothing. A task is RUNNING as soon as it arrives, and
//! FINISHED as soon as RUNNING is acknowledged.
//!
//! [`SimAgent`] stays at one master for good; a [`Fleet`] follows the leader as real agents do.

mod fleet;
mod tasks;

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use mesarch_proto::{
    link::{
        FromAgent, ToAgent, agent_link_client::AgentLinkClient, from_agent::Kind as Say,
        to_agent::Kind as Hear,
    },
    mesos::v1::{Resource, value},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

pub(crate) use fleet::Fleet;
use tasks::Tasks;

/// What a simulated agent is told to be.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) hostname: String,
    pub(crate) cpus: f64,
    pub(crate) mem_mb: f64,
    pub(crate) finish: Finish,
}

/// Which tasks end by themselves once RUNNING is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// All.
    All,
    /// Those whose ids begin so; the others run until they are killed.
    Named(&'static str),
}

impl Finish {
    fn ends(self, task: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(prefix) => task.starts_with(prefix),
        }
    }
}

/// A running simulated agent; aborting the task ends it.
pub(crate) struct SimAgent {
    task: JoinHandle<()>,
}

/// Messages waiting to be written to the link.
const OUT_MAX: usize = 1024;
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long the leader may take to attach an agent; thousands may ask at once.
const ATTACH_DEADLINE: Duration = Duration::from_secs(30);

impl SimAgent {
    /// Registers at the leading master (`host:port` of its client port) and serves until dropped or the link ends.
    pub(crate) async fn start(leader: &str, spec: Spec) -> anyhow::Result<Self> {
        Self::start_on(connect(leader).await?, spec).await
    }

    /// The same on a connection that several agents share.
    pub(crate) async fn start_on(channel: Channel, spec: Spec) -> anyhow::Result<Self> {
        let (attached, mut wait) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut tasks = Tasks::new(spec, Arc::default());
            let served = serve(channel, &mut tasks, |_| {
                let _ = attached.try_send(());
            });
            let Err(why) = served.await;
            eprintln!("a simulated agent ended: {why:#}");
        });
        let attached = tokio::time::timeout(ATTACH_DEADLINE, wait.recv()).await;
        attached.context("the leader did not attach the agent")?.context("the link ended at once")?;
        Ok(Self { task })
    }

    /// Whether its link has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for SimAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection to the leader, for one agent or for many.
pub(crate) async fn connect(leader: &str) -> anyhow::Result<Channel> {
    Endpoint::from_shared(format!("http://{leader}"))?
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_DEADLINE)
        .connect()
        .await
        .with_context(|| format!("no connection to the leader at {leader}"))
}

/// One link: says who it is and serves until the link ends, which is always an error. `attached` is told the leader's
/// term once it has taken the agent.
async fn serve(channel: Channel, tasks: &mut Tasks, attached: impl Fn(u64)) -> anyhow::Result<Infallible> {
    let (out, messages) = mpsc::channel(OUT_MAX);
    out.send(say(tasks.hello())).await?;
    let mut client = AgentLinkClient::new(channel);
    let mut inbound: Streaming<ToAgent> = client.connect(ReceiverStream::new(messages)).await?.into_inner();
    while let Some(message) = inbound.message().await? {
        let fence = message.fence.context("a message without a fence")?;
        let Some(kind) = message.kind else { continue };
        let is_attached = matches!(kind, Hear::Attached(_));
        for answer in tasks.hear(&fence, kind)? {
            out.send(say(answer)).await?;
        }
        if is_attached {
            attached(fence.term);
        }
    }
    bail!("the leader closed the link")
}

fn say(kind: Say) -> FromAgent {
    FromAgent { kind: Some(kind) }
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
