//! Whatever comes over the socket, the master answers, and life goes on.

use serde_json::json;

use crate::{
    bytes,
    client::{JSON, Scheduler, follow, framework_info, get, open, request},
    cluster::Cluster,
};

#[tokio::test(flavor = "multi_thread")]
async fn random_requests_do_not_harm_a_master() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    bytes::throw_at(address).await;
    let state = get(address, "/state").await;
    assert_eq!(state.status, 200);
    assert!(state.json()["frameworks"].is_array());
    // What is proposed is still committed.
    Scheduler::subscribe(address, framework_info("after"), &[]).await.accepted("REVIVE", json!(null)).await;
}

/// Each of them ends a master of Apache Mesos.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_mesos_does_not_survive_are_refused() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let scheduler = Scheduler::subscribe(address, framework_info("one"), &[]).await;
    let unknown = scheduler.call("UNKNOWN", json!(null)).await;
    assert_eq!((unknown.status, unknown.text().as_str()), (501, "Received 'UNKNOWN' call"));
    let remove = json!({ "type": "REMOVE_QUOTA", "remove_quota": { "role": "nobody" } }).to_string();
    let refused = request(address, "POST", "/api/v1", &[JSON], remove.as_bytes()).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    scheduler.accepted("REVIVE", json!(null)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_stops_ends_its_streams_in_order() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let address = cluster.address(leader);
    let (_, scheduler) = open(address, &[], &framework_info("one")).await;
    let (_, operator) = follow(address, "/api/v1", &[]).await;
    let (_, stale) = follow(address, "/api/v1?consistency=stale", &[]).await;
    cluster.shutdown(leader).await;
    for (mut stream, whose) in [(scheduler, "a scheduler"), (operator, "an operator"), (stale, "a stale one")]
    {
        assert!(stream.ends_in_order().await, "the stream of {whose} breaks off");
    }
}
