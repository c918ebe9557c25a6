//! The gates of the scheduler API, in Mesos' order.

use serde_json::json;

use crate::{
    client::{JSON, SCHEDULER, Scheduler, framework_info, get, request},
    cluster::Cluster,
};

/// Method, headers, body; status and a part of the answer's text.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn the_first_broken_rule_answers() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let scheduler = Scheduler::subscribe(address, framework_info("gates"), &[]).await;
    let of = |kind: &str| json!({"type": kind, "framework_id": {"value": scheduler.framework}}).to_string();
    let (kill, revive, suppress, odd) = (of("KILL"), of("REVIVE"), of("SUPPRESS"), of("UNKNOWN"));
    let unknown = json!({"type": "REVIVE", "framework_id": {"value": "nobody"}}).to_string();
    let stream = ("Mesos-Stream-Id", scheduler.stream_id.as_str());
    let subscribe =
        json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": framework_info("x")}}).to_string();
    let mismatch = json!({"type": "SUBSCRIBE", "framework_id": {"value": "a"},
        "subscribe": {"framework_info": framework_info("x")}})
    .to_string();
    let big = vec![b' '; 8 * 1024 * 1024 + 1];
    let table: &[Case<'_>] = &[
        ("GET", &[], b"", 405, "POST"),
        ("POST", &[], b"", 400, "Content-Type"),
        ("POST", &[("Content-Type", "text/plain")], b"", 415, "application/json"),
        ("POST", &[JSON], b"{", 400, "parse"),
        ("POST", &[JSON], b"[]", 400, "parse"),
        ("POST", &[("Content-Type", "application/x-protobuf")], b"\xff", 400, "parse"),
        ("POST", &[JSON], &big, 413, "8388608"),
        ("POST", &[JSON], b"{}", 400, "Failed to validate scheduler::Call: Expecting 'type'"),
        ("POST", &[JSON], br#"{"type":"REVIVE"}"#, 400, "framework_id"),
        ("POST", &[JSON], kill.as_bytes(), 400, "kill"),
        ("POST", &[JSON], mismatch.as_bytes(), 400, "differs"),
        ("POST", &[JSON, ("Accept", "text/html")], subscribe.as_bytes(), 406, "Accept"),
        ("POST", &[JSON, stream], subscribe.as_bytes(), 400, "should not include"),
        ("POST", &[JSON, stream], unknown.as_bytes(), 400, "Framework cannot be found"),
        ("POST", &[JSON], revive.as_bytes(), 400, "Mesos-Stream-Id"),
        ("POST", &[JSON, ("Mesos-Stream-Id", "x")], revive.as_bytes(), 400, "didn't match"),
        ("POST", &[JSON, stream], odd.as_bytes(), 501, "UNKNOWN"),
        ("POST", &[JSON, stream], revive.as_bytes(), 202, ""),
        ("POST", &[JSON, stream, ("Accept", "text/html")], suppress.as_bytes(), 202, ""),
        ("POST", &[("content-type", "Application/JSON; charset=utf-8"), stream], revive.as_bytes(), 202, ""),
    ];
    for (method, headers, body, status, text) in table {
        let reply = request(address, method, SCHEDULER, headers, body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
        assert_eq!(reply.status, *status, "{method} {headers:?} {shown}: {}", reply.text());
        assert!(reply.text().contains(text), "{} does not say {text}", reply.text());
        let kind = reply.header("content-type");
        assert_eq!(kind, (*status != 202).then_some("text/plain; charset=utf-8"));
        assert_eq!(reply.header("allow"), (*status == 405).then_some("POST"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_says_so_and_does_nothing() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let scheduler = Scheduler::subscribe(address, framework_info("missing"), &[]).await;
    let accept = json!({"offer_ids": [{"value": "o"}], "operations": [{"type": "UNKNOWN"}]});
    let reply = scheduler.call("ACCEPT", accept).await;
    assert_eq!(reply.status, 501, "{}", reply.text());
    assert!(reply.text().starts_with("not implemented: "), "{}", reply.text());
    let reply = scheduler.call("REQUEST", json!({"requests": []})).await;
    assert_eq!(reply.status, 202);
    assert_eq!(get(address, "/api/v1/nosuch").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_without_a_stream_is_not_subscribed() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let scheduler = Scheduler::subscribe(address, framework_info("gone"), &[]).await;
    let (framework, stream_id) = (scheduler.framework.clone(), scheduler.stream_id.clone());
    drop(scheduler);
    let call = json!({"type": "REVIVE", "framework_id": {"value": framework}}).to_string();
    let headers = [JSON, ("Mesos-Stream-Id", stream_id.as_str())];
    crate::cluster::wait_for("the break to be noticed", || async {
        let reply = request(address, "POST", SCHEDULER, &headers, call.as_bytes()).await;
        (reply.status == 403).then_some(())
    })
    .await;
}
