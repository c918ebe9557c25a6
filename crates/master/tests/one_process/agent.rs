//! An agent that speaks the real link and runs nothing.

use std::net::SocketAddr;

use bytes::Bytes;
use mesarch_proto::{
    link::{
        Attach, FromAgent, Inventory, LeaderChange, Register, ResourceVersion, TaskKey, Update, Updates,
        WatchLeaderRequest, agent_link_client::AgentLinkClient, from_agent, to_agent,
    },
    mesos::v1,
};
use mesarch_types::{
    AgentCapabilities, FrameworkId, LaunchId, TaskId, UpdateUuid,
    digest::{DIGEST_FORM, SetHash, task_hash},
};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::cluster::{soon, wait_for};

pub(crate) struct FakeAgent {
    pub(crate) nonce: [u8; 16],
    pub(crate) id: String,
    out: mpsc::Sender<FromAgent>,
    messages: Streaming<mesarch_proto::link::ToAgent>,
}

pub(crate) fn info() -> v1::AgentInfo {
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    };
    v1::AgentInfo {
        hostname: "127.0.0.1".into(),
        port: Some(5051),
        resources: vec![scalar("cpus", 4.0), scalar("mem", 1024.0)],
        attributes: vec![v1::Attribute {
            name: "rack".into(),
            r#type: v1::value::Type::Text as i32,
            text: Some(v1::value::Text { value: "r1".into() }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(crate) async fn link_client(address: SocketAddr) -> AgentLinkClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
    AgentLinkClient::new(soon("a channel", endpoint.connect()).await.expect("a channel"))
}

fn registration(nonce: [u8; 16], info: &v1::AgentInfo) -> from_agent::Kind {
    from_agent::Kind::Register(Register {
        nonce: Bytes::copy_from_slice(&nonce),
        info: info.encode_to_vec().into(),
        version: "1".into(),
        capabilities: Vec::new(),
    })
}

impl FakeAgent {
    /// A new agent that has its id.
    pub(crate) async fn register(address: SocketAddr) -> Self {
        Self::register_as(address, info()).await
    }

    /// A new agent with a disk, which stores what it is told of its resources.
    pub(crate) async fn register_storing(address: SocketAddr) -> Self {
        let disk = v1::Resource {
            name: "disk".into(),
            scalar: Some(v1::value::Scalar { value: 200.0 }),
            ..Default::default()
        };
        let mut info = info();
        info.resources.push(disk);
        let nonce = uuid::Uuid::new_v4().into_bytes();
        let from_agent::Kind::Register(register) = registration(nonce, &info) else { unreachable!() };
        let capabilities = AgentCapabilities::all().numbers().collect();
        let register = from_agent::Kind::Register(Register { capabilities, ..register });
        Self::greet(address, nonce, register).await.expect("a link")
    }

    /// The next Resources, with what was made.
    pub(crate) async fn resources(&mut self) -> (Option<ResourceVersion>, Vec<v1::Resource>) {
        match self.next().await.expect("a message") {
            to_agent::Kind::Resources(told) => {
                let made = told.made.iter().map(|one| v1::Resource::decode(one.clone()).expect("a resource"));
                (told.version, made.collect())
            }
            other => panic!("{other:?} instead of Resources"),
        }
    }

    /// The same with another description of itself.
    pub(crate) async fn register_as(address: SocketAddr, info: v1::AgentInfo) -> Self {
        let nonce = uuid::Uuid::new_v4().into_bytes();
        Self::greet(address, nonce, registration(nonce, &info)).await.expect("a link")
    }

    /// A new agent on a connection that others use as well.
    pub(crate) async fn register_on(client: AgentLinkClient<Channel>) -> Self {
        let nonce = uuid::Uuid::new_v4().into_bytes();
        Self::greet_on(client, nonce, registration(nonce, &info())).await.expect("a link")
    }

    /// The same agent at another leader, with these tasks (all acknowledged up to the uuid) or with nothing.
    pub(crate) async fn attach(&self, address: SocketAddr, tasks: &[(TaskKey, UpdateUuid)]) -> Self {
        let mut digest = SetHash::default();
        for (key, uuid) in tasks {
            digest.insert(hash(key, *uuid));
        }
        self.attach_with(address, digest, Vec::new()).await
    }

    /// The same agent with one task that has something to tell.
    pub(crate) async fn attach_listing(&self, address: SocketAddr, key: &TaskKey) -> Self {
        self.attach_with(address, SetHash::default(), vec![key.clone()]).await
    }

    /// The same agent with all that it runs; why the link ended if it was not taken.
    pub(crate) async fn attach_with_inventory(
        &self,
        address: SocketAddr,
        inventory: Inventory,
    ) -> Result<Self, Status> {
        let (out, messages) = mpsc::channel(64);
        let hello = Attach { inventory_wanted: true, ..self.hello(SetHash::default(), Vec::new()) };
        out.send(FromAgent { kind: Some(from_agent::Kind::Attach(hello)) }).await.expect("room");
        let mut client = link_client(address).await.max_encoding_message_size(usize::MAX);
        let messages = soon("a link", client.connect(ReceiverStream::new(messages))).await?.into_inner();
        let mut agent = Self { nonce: self.nonce, id: self.id.clone(), out, messages };
        let asked = agent.next().await?;
        assert!(matches!(asked, to_agent::Kind::InventoryRequest(_)), "{asked:?}");
        agent.send(from_agent::Kind::Inventory(inventory)).await;
        match agent.next().await? {
            to_agent::Kind::Attached(_) => Ok(agent),
            other => panic!("{other:?} instead of Attached"),
        }
    }

    fn hello(&self, digest: SetHash, listed: Vec<TaskKey>) -> Attach {
        Attach {
            agent: self.id.clone(),
            nonce: Bytes::copy_from_slice(&self.nonce),
            version: "1".into(),
            info: info().encode_to_vec().into(),
            digest_form: DIGEST_FORM,
            digest: Bytes::copy_from_slice(&digest.0.to_le_bytes()),
            listed,
            ..Default::default()
        }
    }

    /// What a leader says first to this agent when it comes back with nothing.
    pub(crate) async fn first_word(&self, address: SocketAddr) -> Result<to_agent::Kind, Status> {
        let (out, messages) = mpsc::channel(64);
        let hello = from_agent::Kind::Attach(self.hello(SetHash::default(), Vec::new()));
        out.send(FromAgent { kind: Some(hello) }).await.expect("room");
        let mut client = link_client(address).await;
        let messages = soon("a link", client.connect(ReceiverStream::new(messages))).await?.into_inner();
        Self { nonce: self.nonce, id: self.id.clone(), out, messages }.next().await
    }

    async fn attach_with(&self, address: SocketAddr, digest: SetHash, listed: Vec<TaskKey>) -> Self {
        let kind = from_agent::Kind::Attach(self.hello(digest, listed));
        wait_for("a leader that takes the agent", || async {
            Self::greet(address, self.nonce, kind.clone()).await.ok()
        })
        .await
    }

    async fn greet(address: SocketAddr, nonce: [u8; 16], hello: from_agent::Kind) -> Result<Self, Status> {
        Self::greet_on(link_client(address).await, nonce, hello).await
    }

    async fn greet_on(
        mut client: AgentLinkClient<Channel>,
        nonce: [u8; 16],
        hello: from_agent::Kind,
    ) -> Result<Self, Status> {
        let (out, messages) = mpsc::channel(64);
        out.send(FromAgent { kind: Some(hello) }).await.expect("room");
        let messages = soon("a link", client.connect(ReceiverStream::new(messages))).await?.into_inner();
        let mut agent = Self { nonce, id: String::new(), out, messages };
        match agent.next().await? {
            to_agent::Kind::Attached(attached) => agent.id = attached.agent,
            other => panic!("{other:?} instead of Attached"),
        }
        Ok(agent)
    }

    /// The next message but pings, which are answered.
    pub(crate) async fn next(&mut self) -> Result<to_agent::Kind, Status> {
        loop {
            let message = soon("a message for the agent", self.messages.message()).await?;
            let message = message.ok_or_else(|| Status::unavailable("the link ended"))?;
            assert!(message.fence.is_some_and(|fence| fence.cluster.len() == 16 && fence.term > 0));
            match message.kind.expect("a kind") {
                to_agent::Kind::Ping(ping) => {
                    let pong = mesarch_proto::link::Pong { number: ping.number };
                    self.send(from_agent::Kind::Pong(pong)).await;
                }
                kind => return Ok(kind),
            }
        }
    }

    pub(crate) async fn send(&self, kind: from_agent::Kind) {
        self.out.send(FromAgent { kind: Some(kind) }).await.expect("the link takes messages");
    }

    /// The next RunTask.
    pub(crate) async fn run_task(&mut self) -> mesarch_proto::link::RunTask {
        loop {
            match self.next().await.expect("a message") {
                to_agent::Kind::RunTask(run) => return run,
                to_agent::Kind::Acknowledged(_) => {}
                other => panic!("{other:?} instead of RunTask"),
            }
        }
    }

    /// The next Acknowledged.
    pub(crate) async fn acknowledged(&mut self) -> mesarch_proto::link::Acknowledged {
        match self.next().await.expect("a message") {
            to_agent::Kind::Acknowledged(acknowledged) => acknowledged,
            other => panic!("{other:?} instead of Acknowledged"),
        }
    }

    /// Reports a state of a task; the update's uuid.
    pub(crate) async fn report(&self, key: &TaskKey, state: v1::TaskState) -> UpdateUuid {
        let uuid = UpdateUuid(uuid::Uuid::new_v4().into_bytes());
        self.repeat(key, state, uuid).await;
        uuid
    }

    /// Reports with a uuid that was used before, maybe.
    pub(crate) async fn repeat(&self, key: &TaskKey, state: v1::TaskState, uuid: UpdateUuid) {
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: key.task.clone() },
            state: state as i32,
            source: Some(v1::task_status::Source::Executor as i32),
            agent_id: Some(v1::AgentId { value: self.id.clone() }),
            timestamp: Some(1.5),
            uuid: Some(Bytes::copy_from_slice(&uuid.0)),
            ..Default::default()
        };
        let update =
            Update { key: Some(key.clone()), status: status.encode_to_vec().into(), latest: state as i32 };
        self.send(from_agent::Kind::Updates(Updates { updates: vec![update] })).await;
    }
}

fn hash(key: &TaskKey, uuid: UpdateUuid) -> u128 {
    let launch = key.launch.expect("a launch id");
    let launch = LaunchId { index: launch.index, position: launch.position };
    task_hash(
        &FrameworkId::from(key.framework.as_str()),
        &TaskId::from(key.task.as_str()),
        launch,
        Some(uuid),
    )
}

/// The first change that a watch tells.
pub(crate) async fn watched(address: SocketAddr, wanted: impl Fn(&LeaderChange) -> bool) -> LeaderChange {
    let mut client = link_client(address).await;
    let mut changes = client.watch_leader(WatchLeaderRequest {}).await.expect("a watch").into_inner();
    loop {
        let change = soon("a leader change", changes.message()).await.expect("a watch").expect("a change");
        if wanted(&change) {
            return change;
        }
    }
}
