//! Leaders come and go; frameworks and agents go on.

use mesarch_proto::mesos::v1::TaskState;
use serde_json::json;

use crate::{
    agent::{FakeAgent, watched},
    client::{JSON, SCHEDULER, Scheduler, framework_info, get, request},
    cluster::Cluster,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sends_clients_to_the_leader_before_it_looks_at_anything() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let (leader, follower) = (cluster.address(leader), cluster.address(follower));
    let table: &[(&str, &str, &[u8], &str)] = &[
        ("POST", SCHEDULER, b"{", "/master/api/v1/scheduler"),
        ("GET", SCHEDULER, b"", "/master/api/v1/scheduler"),
        ("POST", "/master/api/v1/scheduler/x?a=b&c", b"", "/master/api/v1/scheduler/x?a=b&c"),
        ("GET", "/state?_ts=1", b"", "/master/state?_ts=1"),
        ("GET", "/master/tasks", b"", "/master/tasks"),
        ("POST", "/api/v1", b"{", "/master/api/v1"),
        ("GET", "/maintenance/schedule", b"", "/master/maintenance/schedule"),
        ("GET", "/redirect", b"", ""),
        ("GET", "/master/redirect", b"", ""),
    ];
    for (method, path, body, expect) in table {
        let reply = request(follower, method, path, &[JSON], body).await;
        assert_eq!((reply.status, reply.text().as_str()), (307, ""), "{method} {path}");
        assert_eq!(reply.header("location"), Some(format!("//{leader}{expect}").as_str()), "{path}");
    }
    assert_eq!(get(leader, "/redirect").await.header("location"), Some(format!("//{leader}").as_str()));
    for path in ["/health", "/version", "/metrics/snapshot"] {
        assert_eq!(get(follower, path).await.status, 200, "{path}");
    }
    assert_eq!(get(follower, "/redirect/x").await.status, 404);
    let change = watched(follower, |change| !change.leader.is_empty()).await;
    assert_eq!((change.leader, change.here), (leader.to_string(), false));
    let change = watched(leader, |change| change.here).await;
    assert_eq!(change.leader, leader.to_string());
}

/// How the first leader goes.
enum End {
    Shutdown,
    Kill,
}

async fn a_resumed_framework_goes_on(end: End) {
    let mut cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let mut agent = FakeAgent::register(cluster.address(old)).await;
    let mut scheduler = Scheduler::subscribe(cluster.address(old), framework_info("resume"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    let key = agent.run_task().await.key.expect("a key");
    let uuid = agent.report(&key, TaskState::TaskRunning).await;
    let running = scheduler.update().await;
    scheduler.acknowledge(&running).await;
    assert_eq!(agent.acknowledged().await.uuid, uuid.0.to_vec());
    let offer = scheduler.offer().await;

    match end {
        End::Shutdown => cluster.shutdown(old).await,
        End::Kill => cluster.kill(old).await,
    }
    let mut last = None;
    while let Some(event) = scheduler.event().await {
        last = Some(event);
    }
    assert!(
        last.is_none_or(|event| event["type"] != "ERROR"),
        "losing the leader is no error of the framework"
    );

    let address = cluster.address(cluster.leader().await);
    let info = scheduler.info_again(framework_info("resume"));
    let mut resumed = Scheduler::subscribe_again(address, info, Some(&scheduler.stream_id)).await;
    assert_eq!(resumed.framework, scheduler.framework);
    assert_eq!(resumed.stream_id, scheduler.stream_id, "the stream stays valid");
    assert_eq!(resumed.offer().await["id"], offer["id"], "the offer from before is still there");
    let mut agent = agent.attach(address, &[(key.clone(), uuid)]).await;
    resumed.launch(&offer, "t2").await;
    let second = agent.run_task().await.key.expect("a key");
    assert_eq!(second.task, "t2");
    agent.report(&key, TaskState::TaskFinished).await;
    assert_eq!(resumed.update().await["state"], "TASK_FINISHED");
    resumed.accepted("RECONCILE", json!({"tasks": [{"task_id": {"value": "t2"}}]})).await;
    assert_eq!(resumed.update().await["state"], "TASK_STAGING");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_resumes_at_the_next_leader_after_a_handover() {
    a_resumed_framework_goes_on(End::Shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_resumes_at_the_next_leader_after_a_crash() {
    a_resumed_framework_goes_on(End::Kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_that_does_not_resume_is_told_what_it_missed() {
    let mut cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let mut agent = FakeAgent::register(cluster.address(old)).await;
    let mut scheduler = Scheduler::subscribe(cluster.address(old), framework_info("missed"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    let key = agent.run_task().await.key.expect("a key");
    let uuid = agent.report(&key, TaskState::TaskFinished).await;
    let told = scheduler.update().await;
    cluster.kill(old).await;

    let address = cluster.address(cluster.leader().await);
    let info = scheduler.info_again(framework_info("missed"));
    let mut again = Scheduler::subscribe_again(address, info, None).await;
    assert_ne!(again.stream_id, scheduler.stream_id);
    let status = again.update().await;
    assert_eq!((&status["state"], &status["uuid"]), (&json!("TASK_FINISHED"), &told["uuid"]));
    again.acknowledge(&status).await;
    let mut agent = agent.attach_listing(address, &key).await;
    assert_eq!(agent.acknowledged().await.uuid, uuid.0.to_vec());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_single_master_knows_everything() {
    let mut cluster = Cluster::start(1).await;
    let mut scheduler = Scheduler::subscribe(cluster.address(0), framework_info("restart"), &[]).await;
    let mut agent = FakeAgent::register(cluster.address(0)).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    let key = agent.run_task().await.key.expect("a key");
    cluster.kill(0).await;
    cluster.restart(0).await;
    let info = scheduler.info_again(framework_info("restart"));
    let mut again = Scheduler::subscribe_again(cluster.address(0), info, None).await;
    again.accepted("RECONCILE", json!({"tasks": []})).await;
    assert_eq!(again.update().await["task_id"]["value"], "t1");
    let mut agent = agent.attach(cluster.address(0), &[]).await;
    assert_eq!(agent.run_task().await.key, Some(key), "an unreported launch is sent again");
}
