//! The v0 reads, in the shapes that tools know.

use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    client::{Scheduler, framework_info, get, request},
    cluster::Cluster,
};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn state_shows_agents_frameworks_tasks_and_offers() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("shown"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    agent.run_task().await;

    let reply = get(address, "/master/state?_ts=5").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let state = reply.json();
    assert_eq!((&state["version"], &state["activated_slaves"]), (&json!("1.11.0"), &json!(1.0)));
    assert_eq!(state["leader"], format!("master@{address}"));
    assert_eq!(state["pid"], state["leader_info"]["pid"]);
    let slave = &state["slaves"][0];
    assert_eq!((&slave["id"], &slave["pid"]), (&json!(agent.id), &json!("slave(1)@127.0.0.1:5051")));
    assert_eq!(slave["resources"], json!({"cpus": 4.0, "mem": 1024.0, "disk": 0.0, "gpus": 0.0}));
    assert_eq!(slave["used_resources"]["cpus"], 1.0);
    let framework = &state["frameworks"][0];
    let expect = [
        "active",
        "capabilities",
        "checkpoint",
        "completed_tasks",
        "connected",
        "executors",
        "failover_timeout",
        "hostname",
        "id",
        "name",
        "offer_constraints",
        "offered_resources",
        "offers",
        "recovered",
        "registered_time",
        "resources",
        "roles",
        "tasks",
        "unreachable_tasks",
        "unregistered_time",
        "used_resources",
        "user",
        "webui_url",
    ];
    assert_eq!(keys(framework), expect);
    let task = &framework["tasks"][0];
    assert_eq!(
        keys(task),
        ["executor_id", "framework_id", "id", "name", "resources", "role", "slave_id", "state", "statuses"]
    );
    assert_eq!(
        (&task["state"], &task["executor_id"], &task["role"]),
        (&json!("TASK_STAGING"), &json!(""), &json!("eng"))
    );
    assert_eq!(state["completed_frameworks"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_reads_say_the_same() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("shown"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    agent.run_task().await;

    let slaves = get(address, "/slaves/").await.json();
    assert_eq!(slaves["slaves"][0]["used_resources_full"][0]["allocation_info"]["role"], "eng");
    assert_eq!(get(address, "/slaves?slave_id=none").await.json()["slaves"], json!([]));
    let frameworks = request(address, "POST", "/frameworks", &[], b"").await.json();
    assert_eq!(frameworks["frameworks"][0]["id"], scheduler.framework.as_str());
    assert_eq!(get(address, "/tasks?limit=5").await.json()["tasks"][0]["id"], "t1");
    assert_eq!(get(address, "/tasks?offset=1").await.json()["tasks"], json!([]));
    assert_eq!(get(address, "/tasks?task_id=other").await.json()["tasks"], json!([]));
    let roles = get(address, "/roles").await.json();
    assert_eq!(
        (&roles["roles"][0]["name"], &roles["roles"][0]["allocated"]),
        (&json!("eng"), &json!({"cpus": 1.0}))
    );
    let version = get(address, "/version").await.json();
    assert_eq!(version["version"], "1.11.0");
    let metrics = get(address, "/metrics/snapshot").await.json();
    let expect = [
        ("master/elected", 1.0),
        ("master/slaves_connected", 1.0),
        ("master/frameworks_active", 1.0),
        ("master/tasks_staging", 1.0),
        ("master/cpus_total", 4.0),
        ("master/cpus_used", 1.0),
        ("master/cpus_percent", 0.25),
    ];
    for (name, value) in expect {
        assert_eq!(metrics[name], value, "{name}");
    }
    let jsonp = get(address, "/roles?jsonp=cb").await;
    assert_eq!(jsonp.header("content-type"), Some("text/javascript"));
    assert!(jsonp.text().starts_with("cb({") && jsonp.text().ends_with(");"));
    let head = request(address, "HEAD", "/state", &[], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(get(address, "/health").await.text(), "");
    for path in ["/state.json", "/master/state.json", "/state/../health", "/nothing"] {
        assert_eq!(get(address, path).await.status, 404, "{path}");
    }
    assert_eq!(get(address, "/metrics").await.status, 404, "started without metrics");
}
