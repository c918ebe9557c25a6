//! What the Raft port answers to those who speak its protocol by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mesarch_consensus::NodeId;
use mesarch_proto::raft as pb;
use mesarch_proto::raft::raft_client::RaftClient;
use prost::Message;
use support::{Cluster, plain};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request};

fn request<T>(header: &pb::Header, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = MetadataValue::from_bytes(&header.encode_to_vec());
    request.metadata_mut().insert_bin("mesarch-raft-bin", header);
    request
}

fn header(cluster: &Cluster, to: u64) -> pb::Header {
    let (id, incarnation) = cluster.handle(to).identity();
    pb::Header { cluster: id.unwrap().0.to_vec().into(), incarnation, from: 99, to, disk: vec![9; 16].into() }
}

async fn client(cluster: &Cluster, node: u64) -> RaftClient<Channel> {
    let address = &cluster.infos[&NodeId(node)].raft;
    RaftClient::new(Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_7_a_pre_vote_is_answered_by_raft_and_changes_nothing() {
    let mut cluster = Cluster::start(3, plain).await;
    cluster.commit(1).await;
    let (leader, term) = cluster.leader().await;
    let mut client = client(&cluster, leader).await;
    let vote = pb::BallotVote { term: term + 5, node: 99, committed: false };
    let ask = pb::VoteRequest { vote: Some(vote), last: None, leadership_transfer: false };
    let reply = client.pre_vote(request(&header(&cluster, leader), ask)).await.unwrap().into_inner();
    assert!(!reply.granted);
    cluster.commit(2).await;
    assert_eq!(cluster.leader().await, (leader, term));
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_cluster_incarnation_node_or_header_is_refused_before_the_body() {
    let mut cluster = Cluster::start(1, plain).await;
    cluster.commit(1).await;
    let (_, term) = cluster.leader().await;
    let right = header(&cluster, 1);
    let mut client = client(&cluster, 1).await;
    let vote = pb::BallotVote { term: term + 9, node: 99, committed: true };
    let append = pb::AppendRequest { vote: Some(vote), ..Default::default() };
    for wrong in [
        pb::Header { cluster: vec![0; 16].into(), ..right.clone() },
        pb::Header { incarnation: 7, ..right.clone() },
        pb::Header { to: 2, ..right.clone() },
        pb::Header { disk: vec![1].into(), ..right.clone() },
        pb::Header::default(),
    ] {
        let refused = client.append(request(&wrong, append.clone())).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    assert_eq!(client.append(append.clone()).await.unwrap_err().code(), Code::FailedPrecondition);
    let bare = client.append(request(&right, pb::AppendRequest::default())).await.unwrap_err();
    assert_eq!(bare.code(), Code::InvalidArgument);
    cluster.commit(2).await;
    assert_eq!(cluster.leader().await, (1, term));
    cluster.halt_all().await;
}
