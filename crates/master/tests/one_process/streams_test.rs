//! Event streams: framing, first events, errors, replacement.

use mesarch_proto::mesos::v1::scheduler::{Event, event::Type};
use prost::Message;
use serde_json::json;

use crate::{
    client::{JSON, SCHEDULER, Scheduler, framework_info, open, request},
    cluster::Cluster,
};

#[tokio::test(flavor = "multi_thread")]
async fn subscribed_and_a_heartbeat_come_first() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let (reply, mut events) = open(address, &[("Connection", "close")], &framework_info("gr\u{fc}n")).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
    assert_eq!(reply.header("mesos-stream-id").map(str::len), Some(36));
    let subscribed = events.event().await.expect("SUBSCRIBED");
    assert_eq!(subscribed["type"], "SUBSCRIBED");
    assert_eq!(subscribed["subscribed"]["heartbeat_interval_seconds"], 15.0);
    let master = &subscribed["subscribed"]["master_info"];
    assert_eq!((&master["version"], &master["port"]), (&json!("1.11.0"), &json!(address.port())));
    assert_eq!(events.event().await.expect("HEARTBEAT"), json!({"type": "HEARTBEAT"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_streams_are_framed_alike() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let (reply, mut events) =
        open(address, &[("Accept", "application/x-protobuf")], &framework_info("pb")).await;
    assert_eq!(reply.header("content-type"), Some("application/x-protobuf"));
    for expect in [Type::Subscribed, Type::Heartbeat] {
        let event = Event::decode(&*events.record().await.expect("a record")).expect("an event");
        assert_eq!(event.r#type(), expect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_framework_gets_an_error_event_and_the_end() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut bad_role = framework_info("bad");
    bad_role["roles"] = json!(["-bad"]);
    let mut both = framework_info("bad");
    both["role"] = json!("a");
    for info in [bad_role, both] {
        let (reply, mut events) = open(address, &[], &info).await;
        assert_eq!(reply.status, 200);
        assert!(reply.header("mesos-stream-id").is_some());
        let error = events.event().await.expect("an event");
        assert_eq!(error["type"], "ERROR", "{error}");
        assert!(events.event().await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_subscription_replaces_the_first() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut first = Scheduler::subscribe(address, framework_info("twice"), &[]).await;
    let again = first.info_again(framework_info("twice"));
    let second = Scheduler::subscribe(address, again, &[]).await;
    assert_eq!(second.framework, first.framework);
    assert_eq!(first.next("ERROR").await["message"], "Framework failed over");
    assert!(first.event().await.is_none());
    assert_eq!(first.call("REVIVE", json!(null)).await.status, 400);
    second.accepted("REVIVE", json!(null)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn teardown_ends_the_stream_and_the_framework() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut scheduler = Scheduler::subscribe(address, framework_info("done"), &[]).await;
    scheduler.accepted("TEARDOWN", json!(null)).await;
    while let Some(event) = scheduler.event().await {
        assert_ne!(event["type"], "ERROR", "{event}");
    }
    let reply = scheduler.call("REVIVE", json!(null)).await;
    assert_eq!((reply.status, reply.text().as_str()), (400, "Framework cannot be found"));
    let (reply, mut events) = open(address, &[], &scheduler.info_again(framework_info("done"))).await;
    assert_eq!(reply.status, 200);
    assert_eq!(events.event().await.expect("ERROR")["error"]["message"], "Framework has been removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_id_is_taken_as_it_is() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut info = framework_info("own");
    info["id"] = json!({"value": "my-own-id-1"});
    let scheduler = Scheduler::subscribe(address, info, &[]).await;
    assert_eq!(scheduler.framework, "my-own-id-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_to_redirect_to_is_a_503_after_a_while() {
    // Not bootstrapped, so it waits for a cluster for ever.
    let cluster = Cluster::start_with(1, |options| {
        options.bootstrap = false;
        options.initial_masters.clear();
    })
    .await;
    let address = cluster.address(0);
    for path in [SCHEDULER, "/state", "/redirect"] {
        let began = std::time::Instant::now();
        let reply = request(address, "POST", path, &[JSON], b"{}").await;
        assert_eq!((reply.status, reply.text().as_str()), (503, "No leader elected"), "{path}");
        assert!(reply.header("retry-after").is_some());
        assert!(began.elapsed() >= std::time::Duration::from_millis(200), "{path} was answered at once");
    }
    for path in ["/health", "/version", "/metrics/snapshot"] {
        assert_eq!(request(address, "GET", path, &[], b"").await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_read_ends_without_an_error_and_its_connection_with_it() {
    // More than may wait for it, and more than fits into sockets besides.
    const ASKED: usize = 100_000;
    const CALLS: usize = 8;
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut slow = Scheduler::subscribe(address, framework_info("slow"), &[]).await;
    let asked: Vec<_> =
        (0..ASKED).map(|number| json!({"task_id": {"value": format!("t{number}")}})).collect();
    let asked = json!({"tasks": asked});
    let mut refused = None;
    for _ in 0..CALLS {
        let reply = slow.call("RECONCILE", asked.clone()).await;
        if reply.status != 202 {
            refused = Some((reply.status, reply.text()));
            break;
        }
    }
    assert_eq!(refused, Some((403, "Framework is not subscribed".to_owned())));
    let mut read = 0;
    while let Some(event) = slow.event().await {
        assert_ne!(event["type"], "ERROR", "{event}");
        read += 1;
    }
    assert!(read < ASKED, "what waited is dropped, not sent: {read}");
    let info = slow.info_again(framework_info("slow"));
    let mut again = Scheduler::subscribe(address, info, &[]).await;
    again.accepted("RECONCILE", json!({"tasks": [{"task_id": {"value": "t1"}}]})).await;
    assert_eq!(again.update().await["state"], "TASK_UNKNOWN");
}
