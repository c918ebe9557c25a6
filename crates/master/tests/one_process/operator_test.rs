//! The operator API: its gates, what it reads, and what it changes.

use std::net::SocketAddr;

use mesarch_mesos_v1::{ContentType, decode};
use mesarch_proto::mesos::v1::master::Response;
use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    client::{JSON, Reply, Scheduler, framework_info, get, request},
    cluster::{Cluster, wait_for},
};

const PATH: &str = "/api/v1";
const PROTOBUF: &str = "application/x-protobuf";

/// Method, headers, body; status and a part of the answer's text.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

async fn call(address: SocketAddr, call: &Value) -> Reply {
    request(address, "POST", PATH, &[JSON], call.to_string().as_bytes()).await
}

/// A read that must succeed, in JSON; the same in protobuf must say the same.
async fn read(address: SocketAddr, kind: &str) -> Value {
    let body = json!({"type": kind}).to_string();
    let reply = request(address, "POST", PATH, &[JSON], body.as_bytes()).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{kind}");
    let accept = ("Accept", PROTOBUF);
    let other = request(address, "POST", PATH, &[JSON, accept], body.as_bytes()).await;
    assert_eq!((other.status, other.header("content-type")), (200, Some(PROTOBUF)), "{kind}");
    let (text, binary): (Response, Response) = (
        decode(ContentType::Json, &reply.body).expect("the JSON of a Response"),
        decode(ContentType::Protobuf, &other.body).expect("the protobuf of a Response"),
    );
    assert_eq!(text, binary, "{kind}");
    let answer = reply.json();
    assert_eq!(answer["type"], kind);
    answer[kind.to_lowercase()].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_broken_rule_of_an_operator_call_answers() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let health = br#"{"type":"GET_HEALTH"}"#;
    let protobuf = ("Content-Type", PROTOBUF);
    let table: &[Case<'_>] = &[
        ("GET", &[], b"", 405, "POST"),
        ("PUT", &[JSON], health, 405, "POST"),
        ("POST", &[], health, 400, "Content-Type"),
        ("POST", &[("Content-Type", "text/plain")], health, 415, "application/json"),
        ("POST", &[JSON], b"{", 400, "parse"),
        ("POST", &[JSON], b"", 400, "parse"),
        ("POST", &[protobuf], b"\xff", 400, "parse"),
        ("POST", &[JSON], b"{}", 400, "Failed to validate master::Call: Expecting 'type'"),
        ("POST", &[JSON], br#"{"type":"BOGUS"}"#, 400, "Expecting 'type'"),
        ("POST", &[JSON], br#"{"type":"MARK_AGENT_GONE"}"#, 400, "'mark_agent_gone'"),
        ("POST", &[JSON], br#"{"type":"GET_METRICS"}"#, 400, "'get_metrics'"),
        ("POST", &[JSON, ("Accept", "text/html")], health, 406, "Accept"),
        ("POST", &[JSON], br#"{"type":"UNKNOWN"}"#, 501, "not implemented: "),
        (
            "POST",
            &[JSON],
            br#"{"type":"START_MAINTENANCE","start_maintenance":{}}"#,
            400,
            "machines: must not be empty",
        ),
        ("POST", &[JSON], br#"{"type":"LIST_FILES","list_files":{"path":"/"}}"#, 404, "no such file"),
        ("POST", &[protobuf], b"\x08\x01", 200, ""),
        ("POST", &[("content-type", "Application/JSON; charset=utf-8")], health, 200, ""),
    ];
    for (method, headers, body, status, text) in table {
        let reply = request(address, method, PATH, headers, body).await;
        let shown = String::from_utf8_lossy(body);
        assert_eq!(reply.status, *status, "{method} {headers:?} {shown}: {}", reply.text());
        assert!(reply.text().contains(text), "{} does not say {text}", reply.text());
        assert_eq!(reply.header("allow"), (*status == 405).then_some("POST"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_read_the_cluster_the_same_in_both_encodings() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("shown"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    agent.run_task().await;

    assert_eq!(read(address, "GET_HEALTH").await, json!({"healthy": true}));
    assert_eq!(read(address, "GET_VERSION").await["version_info"]["version"], "1.11.0");
    assert_eq!(read(address, "GET_LOGGING_LEVEL").await, json!({"level": 0}));
    assert_eq!(read(address, "GET_WEIGHTS").await, Value::Null);
    assert_eq!(read(address, "GET_OPERATIONS").await, json!({}));
    assert_eq!(read(address, "GET_MAINTENANCE_SCHEDULE").await, json!({"schedule": {}}));
    assert_eq!(read(address, "GET_MAINTENANCE_STATUS").await, json!({"status": {}}));
    assert_eq!(read(address, "GET_QUOTA").await, json!({"status": {}}));
    assert_eq!(read(address, "GET_MASTER").await["master_info"]["pid"], format!("master@{address}"));
    let flags = read(address, "GET_FLAGS").await;
    assert!(flags["flags"].as_array().expect("a list").iter().any(|flag| flag["name"] == "port"));

    // Offers may come and go between two reads; wait for an answer in which all is offered or used.
    let agents = read_until_offered(address).await;
    let shown = &agents["agents"][0];
    assert_eq!(shown["agent_info"]["id"]["value"], agent.id.as_str());
    assert_eq!((&shown["active"], &shown["deactivated"]), (&json!(true), &json!(false)));
    assert_eq!(shown["allocated_resources"][0]["allocation_info"]["role"], "eng");
    assert_eq!(agents["recovered_agents"], json!([]));
    scheduler.accepted("SUPPRESS", json!({})).await;
    let frameworks = json_read(address, "GET_FRAMEWORKS").await;
    let framework = &frameworks["frameworks"][0];
    assert_eq!(framework["framework_info"]["id"]["value"], scheduler.framework.as_str());
    assert_eq!((&framework["connected"], &framework["recovered"]), (&json!(true), &json!(false)));
    assert_eq!(framework["offers"][0]["agent_id"]["value"], agent.id.as_str());
    let tasks = read(address, "GET_TASKS").await;
    let task = &tasks["tasks"][0];
    assert_eq!((&task["task_id"]["value"], &task["state"]), (&json!("t1"), &json!("TASK_STAGING")));
    assert_eq!((&tasks["unreachable_tasks"], &tasks["completed_tasks"]), (&json!([]), &json!([])));
    assert_eq!(read(address, "GET_EXECUTORS").await, json!({"executors": []}));
    let roles = json_read(address, "GET_ROLES").await;
    assert_eq!((&roles["roles"][0]["name"], &roles["roles"][0]["weight"]), (&json!("eng"), &json!(1.0)));
    let state = read(address, "GET_STATE").await;
    assert_eq!(state["get_tasks"], tasks);
    assert_eq!(state["get_agents"]["agents"][0]["agent_info"], shown["agent_info"]);
    let metrics = call(address, &json!({"type": "GET_METRICS", "get_metrics": {}})).await.json();
    let metrics = metrics["get_metrics"]["metrics"].as_array().expect("a list").clone();
    assert!(metrics.contains(&json!({"name": "master/elected", "value": 1.0})));
}

async fn json_read(address: SocketAddr, kind: &str) -> Value {
    call(address, &json!({"type": kind})).await.json()[kind.to_lowercase()].clone()
}

async fn read_until_offered(address: SocketAddr) -> Value {
    wait_for("what is left to be offered", || async {
        let agents = json_read(address, "GET_AGENTS").await;
        agents["agents"][0]["offered_resources"].is_array().then_some(agents)
    })
    .await
}

/// cpus of an agent, dynamically reserved or not.
fn cpus(amount: f64, role: Option<&str>) -> Value {
    let mut resource = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": amount}});
    if let Some(role) = role {
        resource["reservations"] = json!([{"type": "DYNAMIC", "role": role}]);
    }
    resource
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_change_weights_quota_and_reservations() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let agent = FakeAgent::register(address).await;
    let id = json!({"value": agent.id});
    let weights = |role: &str, weight: f64| {
        ("UPDATE_WEIGHTS", json!({"weight_infos": [{"role": role, "weight": weight}]}))
    };
    let quota = |config: Value| ("UPDATE_QUOTA", json!({"quota_configs": [config]}));
    let old = |role: &str, amount: f64| {
        ("SET_QUOTA", json!({"quota_request": {"role": role, "guarantee": [cpus(amount, None)]}}))
    };
    let remove = |role: &str| ("REMOVE_QUOTA", json!({"role": role}));
    let reserve = |agent: &Value, resource: Value| {
        ("RESERVE_RESOURCES", json!({"agent_id": agent, "resources": [resource]}))
    };
    let again = |source: Value, resource: Value| {
        ("RESERVE_RESOURCES", json!({"agent_id": id, "source": [source], "resources": [resource]}))
    };
    let unreserve =
        |resource: Value| ("UNRESERVE_RESOURCES", json!({"agent_id": id, "resources": [resource]}));
    let mut allocated = cpus(1.0, Some("eng"));
    allocated["allocation_info"] = json!({"role": "eng"});
    let table = [
        (weights("eng", 2.5), 200, ""),
        (weights(" ops ", 3.0), 200, ""),
        (weights("eng", -1.0), 400, "weight"),
        (weights("a b", 1.0), 400, "role"),
        (("UPDATE_WEIGHTS", json!({})), 200, ""),
        (quota(json!({"role": "eng", "limits": {"cpus": {"value": 2.0}}})), 200, ""),
        (quota(json!({"role": "eng", "guarantees": {"cpus": {"value": 99.0}}})), 400, "guaranteed"),
        (quota(json!({"role": "eng/web", "limits": {"cpus": {"value": 2.0}}})), 400, "top-level"),
        (("UPDATE_QUOTA", json!({})), 200, ""),
        (old("eng", 1.0), 400, "already"),
        (old("ops", 99.0), 409, "guaranteed"),
        (old("ops", 1.0), 200, ""),
        (remove("ops"), 200, ""),
        (remove("ops"), 400, "role: ops has no quota"),
        (remove("never"), 400, "role: never has no quota"),
        (reserve(&id, cpus(1.0, Some("eng"))), 202, ""),
        (reserve(&id, cpus(1000.0, Some("eng"))), 409, "is not among"),
        (reserve(&id, cpus(1.0, None)), 400, "not dynamically reserved"),
        (reserve(&id, allocated.clone()), 400, "must not be allocated"),
        (reserve(&json!({"value": "nope"}), cpus(1.0, Some("eng"))), 400, "there is no nope"),
        (again(cpus(1.0, Some("eng")), cpus(1.0, Some("ops"))), 202, ""),
        (again(cpus(1.0, Some("eng")), cpus(1.0, Some("ops"))), 409, "is not among"),
        (again(cpus(1.0, Some("ops")), cpus(2.0, Some("eng"))), 400, "under other reservations"),
        (again(allocated, cpus(1.0, Some("eng"))), 400, "source: cpus must not be allocated"),
        (again(cpus(1.0, Some("ops")), cpus(1.0, Some("eng"))), 202, ""),
        (unreserve(cpus(1.0, Some("eng"))), 202, ""),
        (unreserve(cpus(1.0, Some("eng"))), 409, "is not among"),
        (("TEARDOWN", json!({"framework_id": {"value": "nope"}})), 400, "no such framework"),
    ];
    for ((kind, message), status, text) in table {
        let reply = call(address, &json!({"type": kind, kind.to_lowercase(): message})).await;
        assert_eq!(reply.status, status, "{kind} {message}: {}", reply.text());
        assert!(reply.text().contains(text) && (status < 300) == reply.text().is_empty(), "{}", reply.text());
    }
    let told = read(address, "GET_WEIGHTS").await;
    assert_eq!(told["weight_infos"], json!([{"weight": 2.5, "role": "eng"}, {"weight": 3.0, "role": "ops"}]));
    let told = read(address, "GET_QUOTA").await;
    assert_eq!(told["status"], json!({"configs": [{"role": "eng", "limits": {"cpus": {"value": 2.0}}}]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_that_an_operator_tears_down_is_told_by_the_end_of_its_stream() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut by_call = Scheduler::subscribe(address, framework_info("one"), &[]).await;
    let mut by_form = Scheduler::subscribe(address, framework_info("two"), &[]).await;
    let teardown = json!({"framework_id": {"value": by_call.framework}});
    let reply = call(address, &json!({"type": "TEARDOWN", "teardown": teardown})).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    let form = format!("frameworkId={}", by_form.framework);
    assert_eq!(request(address, "POST", "/teardown", &[], form.as_bytes()).await.status, 200);
    assert_eq!(request(address, "POST", "/teardown", &[], form.as_bytes()).await.status, 400);
    for scheduler in [&mut by_call, &mut by_form] {
        while scheduler.event().await.is_some() {}
    }
    let gone = read(address, "GET_FRAMEWORKS").await;
    assert_eq!(gone["frameworks"], json!([]));
    assert_eq!(gone["completed_frameworks"].as_array().map(Vec::len), Some(2));
    assert_eq!(get(address, "/frameworks").await.json()["frameworks"], json!([]));
}
