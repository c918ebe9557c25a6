//! The scheduler and admin services.

use mesarch_proto::{
    admin::{RoleWeight, SetWeightsRequest, StatusRequest, TransferLeaderRequest, admin_client::AdminClient},
    api::scheduler_client::SchedulerClient,
    mesos::v1::{
        FrameworkInfo,
        framework_info::{Capability, capability},
        scheduler::{Call, call, event},
    },
};
use tonic::{Code, Request, transport::Channel};

use crate::{
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
