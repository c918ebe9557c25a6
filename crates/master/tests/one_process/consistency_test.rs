//! How fresh a read is: the leader's word, a quorum's, or this very master's.

use serde_json::json;

use crate::{
    agent::FakeAgent,
    client::{JSON, get, request},
    cluster::{Cluster, wait_for},
};

#[tokio::test(flavor = "multi_thread")]
async fn any_master_answers_a_stale_read_and_says_how_stale() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let (leader, follower) = (cluster.address(leader), cluster.address(follower));
    let agent = FakeAgent::register(leader).await;
    for address in [follower, leader] {
        let reply = wait_for("the agent at this master", || async {
            let reply = get(address, "/state?consistency=stale").await;
            assert_eq!(reply.status, 200);
            (reply.json()["activated_slaves"] == 1.0).then_some(reply)
        })
        .await;
        let state = reply.json();
        assert_eq!(state["slaves"][0]["id"], agent.id.as_str());
        assert_eq!(state["leader"], format!("master@{leader}"), "as far as it knows");
        assert_eq!(state["pid"], format!("master@{address}"));
        let number = |name: &str| reply.header(name).and_then(|text| text.parse::<u64>().ok());
        assert!(number("mesarch-applied-index").is_some_and(|index| index > 0));
        assert!(number("mesarch-staleness-ms").is_some_and(|ms| ms < 60_000));
    }
    for path in ["/slaves", "/tasks", "/roles", "/state-summary", "/weights", "/registrar(1)/registry"] {
        assert_eq!(get(follower, path).await.status, 307, "{path}");
        assert_eq!(get(follower, &format!("{path}?consistency=stale")).await.status, 200, "{path}");
    }
    for kind in ["GET_STATE", "GET_AGENTS", "GET_ROLES", "GET_QUOTA", "GET_OPERATIONS"] {
        let body = json!({ "type": kind }).to_string();
        let reply = request(follower, "POST", "/api/v1?consistency=stale", &[JSON], body.as_bytes()).await;
        assert_eq!((reply.status, &reply.json()["type"]), (200, &json!(kind)));
        assert!(reply.header("mesarch-applied-index").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_without_a_leader_grows_old() {
    let mut cluster = Cluster::start(3).await;
    let follower = cluster.follower().await;
    for node in (0..3).filter(|node| *node != follower) {
        cluster.kill(node).await;
    }
    let address = cluster.address(follower);
    wait_for("a state that is known to be old", || async {
        let reply = get(address, "/state?consistency=stale").await;
        let ms: u64 = reply.header("mesarch-staleness-ms")?.parse().ok()?;
        (reply.status == 200 && ms > 1_000).then_some(())
    })
    .await;
    assert_eq!(get(address, "/state").await.status, 503, "nobody leads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linearizable_read_is_the_leader_s_and_changes_are_never_stale() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let (leader, follower) = (cluster.address(leader), cluster.address(follower));
    let path = "/master/slaves?consistency=linearizable";
    let elsewhere = get(follower, path).await;
    assert_eq!(
        (elsewhere.status, elsewhere.header("location")),
        (307, Some(format!("//{leader}{path}").as_str()))
    );
    let agent = FakeAgent::register(leader).await;
    let reply = get(leader, path).await;
    assert_eq!(reply.json()["slaves"][0]["id"], agent.id.as_str());
    assert_eq!(reply.header("mesarch-applied-index"), None);
    for (method, path, body) in [
        ("GET", "/state?consistency=eventual", &b""[..]),
        ("POST", "/api/v1?consistency=fresh", br#"{"type":"GET_STATE"}"#),
        ("PUT", "/weights?consistency=stale", b"[]"),
        ("POST", "/api/v1?consistency=stale", br#"{"type":"UPDATE_WEIGHTS","update_weights":{}}"#),
        ("POST", "/api/v1?consistency=stale", br#"{"type":"GET_MASTER"}"#),
    ] {
        for address in [leader, follower] {
            let reply = request(address, method, path, &[JSON], body).await;
            assert_eq!(reply.status, 400, "{method} {path}");
            assert!(reply.text().starts_with("consistency"), "{}", reply.text());
        }
    }
}
