//! A master that does as the test says, over the real gRPC link.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use bytes::Bytes;
use mesarch_proto::{
    link::{
        Acknowledged, Attached, FromAgent, KillTask, LaunchId, LeaderChange, ResourceVersion, Resources,
        RunTask, TaskKey, ToAgent, Update, WatchLeaderRequest,
        agent_link_server::{AgentLink, AgentLinkServer},
        from_agent, to_agent,
    },
    mesos::v1::{FrameworkInfo, Resource, TaskInfo, TaskState, TaskStatus},
};
use prost::Message;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream, WatchStream},
};
use tonic::{Request, Response, Status, Streaming};

/// How long the agent bears a silent leader, in ms.
const SILENCE_MS_MAX: u32 = 60_000;
/// How often a leader with nothing to say pings.
const PING_EVERY: Duration = Duration::from_secs(15);
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const AGENT: &str = "cluster-1-S0";
pub(crate) const FRAMEWORK: &str = "cluster-1-0001";

type Outgoing = mpsc::Sender<Result<ToAgent, Status>>;

/// One link, as the server sees it.
struct Opened {
    incoming: Streaming<FromAgent>,
    outgoing: Outgoing,
}

struct Service {
    change: watch::Receiver<LeaderChange>,
    opened: mpsc::Sender<Opened>,
}

#[tonic::async_trait]
impl AgentLink for Service {
    type ConnectStream = ReceiverStream<Result<ToAgent, Status>>;
    type WatchLeaderStream = Pin<Box<dyn Stream<Item = Result<LeaderChange, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (outgoing, receiver) = mpsc::channel(64);
        let opened = Opened { incoming: request.into_inner(), outgoing };
        self.opened.send(opened).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn watch_leader(
        &self,
        _: Request<WatchLeaderRequest>,
    ) -> Result<Response<Self::WatchLeaderStream>, Status> {
        Ok(Response::new(Box::pin(WatchStream::new(self.change.clone()).map(Ok))))
    }
}

pub(crate) struct Master {
    pub(crate) address: SocketAddr,
    change: watch::Sender<LeaderChange>,
    links: mpsc::Receiver<Opened>,
    link: Option<Opened>,
    pub(crate) term: u64,
}

impl Master {
    /// Follows nobody until it is told to lead.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (change, receiver) = watch::channel(LeaderChange::default());
        let (opened, links) = mpsc::channel(8);
        let service = AgentLinkServer::new(Service { change: receiver, opened });
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, change, links, link: None, term: 0 }
    }

    pub(crate) async fn leading(term: u64) -> Self {
        let mut master = Self::start().await;
        master.lead(term);
        master
    }

    pub(crate) fn lead(&mut self, term: u64) {
        self.term = term;
        self.change.send_replace(LeaderChange {
            term,
            leader: self.address.to_string(),
            here: true,
            ..LeaderChange::default()
        });
    }

    pub(crate) fn follow(&self, term: u64) {
        self.change.send_replace(LeaderChange { term, ..LeaderChange::default() });
    }

    /// The next link's first message.
    pub(crate) async fn hello(&mut self) -> from_agent::Kind {
        self.link =
            Some(timeout(DEADLINE, self.links.recv()).await.expect("a link").expect("the server runs"));
        self.next().await
    }

    /// Accepts the next link.
    pub(crate) async fn attach(&mut self) -> from_agent::Kind {
        let hello = self.hello().await;
        let attached = Attached { agent: AGENT.into(), silence_ms_max: SILENCE_MS_MAX };
        self.send(to_agent::Kind::Attached(attached)).await;
        hello
    }

    pub(crate) async fn next(&mut self) -> from_agent::Kind {
        let link = self.link.as_mut().expect("a link is open");
        let message = timeout(DEADLINE, link.incoming.message()).await.expect("a message").expect("no error");
        message.expect("the link lives").kind.expect("a kind")
    }

    /// True when the agent ends the link.
    pub(crate) async fn ends(&mut self) -> bool {
        let link = self.link.as_mut().expect("a link is open");
        let ended = async { while let Ok(Some(_)) = link.incoming.message().await {} };
        timeout(DEADLINE, ended).await.is_ok()
    }

    /// Waits for something else, and meanwhile pings as a leader does that has nothing to say.
    pub(crate) async fn idle_during<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = std::pin::pin!(other);
        for number in 1.. {
            if let Ok(done) = timeout(PING_EVERY, &mut other).await {
                return done;
            }
            self.send(to_agent::Kind::Ping(mesarch_proto::link::Ping { number })).await;
            let from_agent::Kind::Pong(pong) = self.next().await else { panic!("it answers a ping") };
            assert_eq!(pong.number, number);
        }
        unreachable!("numbers last")
    }

    pub(crate) fn hang_up(&mut self) {
        self.link = None;
    }

    /// Ends the link as a leader does that sends its agent away.
    pub(crate) async fn send_away(&mut self, status: Status) {
        let link = self.link.take().expect("a link is open");
        link.outgoing.send(Err(status)).await.expect("the link lives");
    }

    pub(crate) async fn send(&self, kind: to_agent::Kind) {
        self.send_in(self.term, kind).await;
    }

    pub(crate) async fn send_in(&self, term: u64, kind: to_agent::Kind) {
        let cluster = Bytes::from_static(&[7; 16]);
        let fence = Some(mesarch_proto::link::Fence { cluster, incarnation: 1, term });
        let message = ToAgent { fence, level: 4, kind: Some(kind) };
        self.link.as_ref().expect("a link is open").outgoing.send(Ok(message)).await.expect("the link lives");
    }

    pub(crate) async fn run(&self, task: &TaskInfo, launch: u64) {
        let info = task.encode_to_vec().into();
        let framework_info = framework().encode_to_vec().into();
        let key = Some(key(&task.task_id.value, launch));
        self.send(to_agent::Kind::RunTask(RunTask { key, info, framework_info })).await;
    }

    pub(crate) async fn kill(&self, task: &str, launch: u64, policy: Bytes) {
        let kill = KillTask { key: Some(key(task, launch)), policy, draining: false };
        self.send(to_agent::Kind::KillTask(kill)).await;
    }

    /// Ends a task because its agent is drained.
    pub(crate) async fn drain(&self, task: &str, launch: u64) {
        let kill = KillTask { key: Some(key(task, launch)), policy: Bytes::new(), draining: true };
        self.send(to_agent::Kind::KillTask(kill)).await;
    }

    /// Says what was made of the agent's resources.
    pub(crate) async fn convert(&self, taken: &Resource, made: &Resource) {
        let version = Some(ResourceVersion { incarnation: 1, epoch: 1 });
        let list = |resource: &Resource| vec![resource.encode_to_vec().into()];
        let resources = Resources { version, taken: list(taken), made: list(made) };
        self.send(to_agent::Kind::Resources(resources)).await;
    }

    pub(crate) async fn acknowledge(&self, update: &Update) {
        let uuid = status(update).uuid.unwrap();
        self.send(to_agent::Kind::Acknowledged(Acknowledged { key: update.key.clone(), uuid })).await;
    }

    /// The next update, whatever else is said meanwhile.
    pub(crate) async fn update(&mut self) -> Update {
        loop {
            if let from_agent::Kind::Updates(updates) = self.next().await {
                assert_eq!(updates.updates.len(), 1, "one task, one update");
                return updates.updates[0].clone();
            }
        }
    }

    /// Acknowledges update after update until the task has gone through these states.
    pub(crate) async fn goes_through(&mut self, expect: &[TaskState]) -> TaskStatus {
        let mut last = TaskStatus::default();
        for state in expect {
            let update = self.update().await;
            last = status(&update);
            assert_eq!(last.state(), *state, "{last:?}");
            self.acknowledge(&update).await;
            self.forgot(&update).await;
        }
        last
    }

    /// Waits until the agent has stored the acknowledgement.
    async fn forgot(&mut self, update: &Update) {
        let uuid = status(update).uuid.unwrap();
        loop {
            if let from_agent::Kind::Forgot(forgot) = self.next().await {
                assert!(forgot.updates.iter().any(|it| it.key == update.key && it.uuid == uuid));
                return;
            }
        }
    }
}

pub(crate) fn status(update: &Update) -> TaskStatus {
    TaskStatus::decode(update.status.clone()).expect("a status")
}

pub(crate) fn key(task: &str, launch: u64) -> TaskKey {
    let launch = Some(LaunchId { index: launch, position: 0 });
    TaskKey { framework: FRAMEWORK.into(), task: task.into(), launch }
}

pub(crate) fn framework() -> FrameworkInfo {
    FrameworkInfo {
        user: "nobody".into(),
        name: "test".into(),
        id: Some(mesarch_proto::mesos::v1::FrameworkId { value: FRAMEWORK.into() }),
        checkpoint: Some(true),
        ..Default::default()
    }
}
