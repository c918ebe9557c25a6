//! The scheduler and admin services.

use bytes::Bytes;
use http::uri::PathAndQuery;
use mesarch_edge::Raw;
use mesarch_proto::{
    admin::{RoleWeight, SetWeightsRequest, StatusRequest, TransferLeaderRequest, admin_client::AdminClient},
    api::scheduler_client::SchedulerClient,
    mesos::v1::{
        CommandInfo, Filters, FrameworkId, FrameworkInfo, Offer, Resource, TaskId, TaskInfo, TaskState,
        framework_info::{Capability, capability},
        offer::{Operation, operation},
        scheduler::{Call, Event, call, event},
        value,
    },
};
use tonic::{
    Code, Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{
    agent::FakeAgent,
    client::get,
    cluster::{Cluster, soon, wait_for},
};

async fn channel(address: std::net::SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
    soon("a channel", endpoint.connect()).await.expect("a channel")
}

fn subscribe() -> Call {
    let multi = Capability { r#type: Some(capability::Type::MultiRole as i32) };
    let framework_info = FrameworkInfo {
        user: "u".into(),
        name: "grpc".into(),
        roles: vec!["eng".into()],
        capabilities: vec![multi],
        ..Default::default()
    };
    Call {
        r#type: Some(call::Type::Subscribe as i32),
        subscribe: Some(call::Subscribe { framework_info, ..Default::default() }),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_speak_grpc_by_the_same_rules() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut client = SchedulerClient::new(channel(address).await);
    let subscribed = soon("a stream", client.subscribe(subscribe())).await.expect("subscribed");
    let id = subscribed.metadata().get("mesos-stream-id").expect("a stream id").clone();
    let mut events = subscribed.into_inner();
    let first = soon("an event", events.message()).await.expect("an event").expect("an event");
    let framework_id = first.subscribed.expect("SUBSCRIBED").framework_id;
    let second = soon("an event", events.message()).await.expect("an event").expect("an event");
    assert_eq!(second.r#type(), event::Type::Heartbeat);

    let revive = || Call {
        framework_id: Some(framework_id.clone()),
        r#type: Some(call::Type::Revive as i32),
        ..Default::default()
    };
    let refused = client.submit(revive()).await.expect_err("no stream id");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut request = Request::new(revive());
    request.metadata_mut().insert("mesos-stream-id", id);
    client.submit(request).await.expect("accepted");
    assert_eq!(client.submit(Call::default()).await.expect_err("no type").code(), Code::InvalidArgument);
    assert_eq!(client.subscribe(revive()).await.expect_err("not a SUBSCRIBE").code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_members_move_the_leader_and_set_weights() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let mut at_follower = AdminClient::new(channel(cluster.address(follower)).await);
    let status = at_follower.status(StatusRequest {}).await.expect("a status").into_inner();
    assert_eq!((status.members.len(), status.leading), (3, false));
    assert_eq!(status.leader_client, cluster.address(leader).to_string());
    let weights =
        || SetWeightsRequest { weights: vec![RoleWeight { role: "eng".into(), thousandths: 2500 }] };
    let refused = at_follower.set_weights(weights()).await.expect_err("a follower");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let named = refused.metadata().get("mesarch-leader").and_then(|value| value.to_str().ok());
    assert_eq!(named, Some(cluster.address(leader).to_string().as_str()));

    let mut at_leader = AdminClient::new(channel(cluster.address(leader)).await);
    at_leader.set_weights(weights()).await.expect("set");
    let roles = get(cluster.address(leader), "/roles").await.json();
    assert_eq!((&roles["roles"][0]["name"], &roles["roles"][0]["weight"]), (&"eng".into(), &2.5.into()));
    let zero = SetWeightsRequest { weights: vec![RoleWeight { role: "eng".into(), thousandths: 0 }] };
    assert_eq!(at_leader.set_weights(zero).await.expect_err("zero").code(), Code::InvalidArgument);

    let to = status.members[follower].node;
    at_leader.transfer_leader(TransferLeaderRequest { to }).await.expect("moved");
    wait_for("the new leader", || async { (cluster.leader().await == follower).then_some(()) }).await;
}

async fn raw(channel: &Channel, method: &'static str, call: &'static [u8]) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("a connection");
    let path = PathAndQuery::from_static(method);
    let request = Request::new(Bytes::from_static(call));
    let answer = client.server_streaming(request, path, Raw);
    let mut events = soon("an answer", answer).await?.into_inner();
    soon("a message", events.message()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_what_they_require_are_invalid() {
    const SUBSCRIBE: &str = "/mesarch.api.Scheduler/Subscribe";
    const SUBMIT: &str = "/mesarch.api.Scheduler/Submit";
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let channel = channel(address).await;
    // In protobuf's wire form: nothing that writes messages leaves a required field out.
    let table: &[(&'static str, &'static [u8], &str)] = &[
        (SUBSCRIBE, b"\x10\x01", "'subscribe'"),
        (SUBSCRIBE, b"\x10\x01\x1a\x00", "call.subscribe.framework_info:"),
        (SUBSCRIBE, b"\x10\x01\x1a\x02\x0a\x00", "call.subscribe.framework_info.user:"),
        (SUBSCRIBE, b"\x10\x01\x1a\x05\x0a\x03\x0a\x01u", "call.subscribe.framework_info.name:"),
        (SUBMIT, b"\x0a\x00\x10\x05", "call.framework_id.value:"),
        (SUBMIT, b"\x0a\x03\x0a\x01f\x10\x06", "'kill'"),
        (SUBMIT, b"\x0a\x03\x0a\x01f\x10\x06\x32\x00", "call.kill.task_id:"),
        (SUBMIT, b"\x0a\x03\x0a\x01f\x10\x06\x32\x02\x0a\x00", "call.kill.task_id.value:"),
        (SUBMIT, b"\x0a\x03\x0a\x01f\x10\x07\x3a\x00", "call.shutdown.executor_id:"),
        (SUBMIT, b"\x0a\x03\x0a\x01f\x10\x08\x42\x00", "call.acknowledge.agent_id:"),
        (SUBMIT, b"\xff", "Failed to parse the call"),
    ];
    for (method, call, expect) in table {
        let refused = raw(&channel, method, call).await.expect_err(expect);
        assert_eq!(refused.code(), Code::InvalidArgument, "{expect}: {refused}");
        assert!(refused.message().contains(expect), "{expect}: {refused}");
    }
    let unknown = raw(&channel, "/mesarch.api.Scheduler/Nothing", b"").await.expect_err("no such method");
    assert_eq!(unknown.code(), Code::Unimplemented);
    let state = get(address, "/state").await.json();
    assert_eq!(state["frameworks"], serde_json::json!([]));
    assert_eq!(state["completed_frameworks"], serde_json::json!([]));
}

/// A scheduler that speaks gRPC.
struct GrpcScheduler {
    client: SchedulerClient<Channel>,
    events: Streaming<Event>,
    stream_id: MetadataValue<Ascii>,
    framework: FrameworkId,
}

impl GrpcScheduler {
    async fn subscribe(address: std::net::SocketAddr) -> Self {
        let mut client = SchedulerClient::new(channel(address).await);
        let subscribed = soon("a stream", client.subscribe(subscribe())).await.expect("subscribed");
        let stream_id = subscribed.metadata().get("mesos-stream-id").expect("a stream id").clone();
        let mut events = subscribed.into_inner();
        let first = soon("an event", events.message()).await.expect("an event").expect("an event");
        let framework = first.subscribed.expect("SUBSCRIBED").framework_id;
        Self { client, events, stream_id, framework }
    }

    async fn submit(&mut self, kind: call::Type, call: Call) {
        let framework_id = Some(self.framework.clone());
        let mut request = Request::new(Call { framework_id, r#type: Some(kind as i32), ..call });
        request.metadata_mut().insert("mesos-stream-id", self.stream_id.clone());
        soon("an answer", self.client.submit(request)).await.expect("accepted");
    }

    /// The next event of this kind.
    async fn next(&mut self, kind: event::Type) -> Event {
        loop {
            let event = soon("an event", self.events.message()).await.expect("an event").expect("an event");
            if event.r#type() == kind {
                return event;
            }
        }
    }

    async fn offer(&mut self) -> Offer {
        self.next(event::Type::Offers).await.offers.expect("offers").offers.remove(0)
    }

    async fn launch(&mut self, offer: &Offer, task: &str) {
        let cpus = Resource {
            name: "cpus".into(),
            scalar: Some(value::Scalar { value: 1.0 }),
            ..Default::default()
        };
        let info = TaskInfo {
            name: task.into(),
            task_id: TaskId { value: task.into() },
            agent_id: offer.agent_id.clone(),
            resources: vec![cpus],
            command: Some(CommandInfo { value: Some("true".into()), ..Default::default() }),
            ..Default::default()
        };
        let launch = Operation {
            r#type: Some(operation::Type::Launch as i32),
            launch: Some(operation::Launch { task_infos: vec![info] }),
            ..Default::default()
        };
        let accept = call::Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![launch],
            filters: Some(Filters { refuse_seconds: Some(0.0) }),
        };
        self.submit(call::Type::Accept, Call { accept: Some(accept), ..Default::default() }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_lives_its_whole_life_over_grpc() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = GrpcScheduler::subscribe(address).await;
    let offer = scheduler.offer().await;
    assert_eq!(offer.agent_id.value, agent.id);
    scheduler.launch(&offer, "t1").await;
    let key = agent.run_task().await.key.expect("a key");
    for state in [TaskState::TaskRunning, TaskState::TaskFinished] {
        let uuid = agent.report(&key, state).await;
        let status = scheduler.next(event::Type::Update).await.update.expect("an update").status;
        assert_eq!((status.state(), status.uuid.as_deref()), (state, Some(&uuid.0[..])));
        let acknowledge = call::Acknowledge {
            agent_id: status.agent_id.expect("an agent"),
            task_id: status.task_id,
            uuid: uuid.0.to_vec().into(),
        };
        let call = Call { acknowledge: Some(acknowledge), ..Default::default() };
        scheduler.submit(call::Type::Acknowledge, call).await;
        assert_eq!(agent.acknowledged().await.uuid, uuid.0.to_vec());
    }
    assert!(!scheduler.offer().await.resources.is_empty(), "what it used is free again");
}
