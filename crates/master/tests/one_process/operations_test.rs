//! Frameworks' operations on resources, and what they are told of them.

use mesarch_proto::link::{ResourcesStored, from_agent};
use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    client::{JSON, Scheduler, framework_info, request},
    cluster::{Cluster, wait_for},
};

fn reserved(kind: &str, amount: f64) -> Value {
    json!({"name": kind, "type": "SCALAR", "scalar": {"value": amount}, "allocation_info": {"role": "eng"},
        "reservations": [{"type": "DYNAMIC", "role": "eng", "principal": "p"}]})
}

fn volume(id: &str, amount: f64) -> Value {
    let mut volume = reserved("disk", amount);
    volume["disk"] = json!({"persistence": {"id": id, "principal": "p"},
        "volume": {"container_path": "data", "mode": "RW"}});
    volume
}

fn accept(offer: &Value, operations: Value) -> Value {
    json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.0}, "operations": operations})
}

async fn operations(scheduler: &Scheduler) -> Value {
    let call = br#"{"type":"GET_OPERATIONS"}"#;
    let reply = request(scheduler.address, "POST", "/api/v1", &[JSON], call).await;
    reply.json()["get_operations"]["operations"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_end_when_the_agent_has_stored_them_and_are_told_until_acknowledged() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register_storing(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("operations"), &[]).await;
    let offer = scheduler.offer().await;
    let all = json!([
        {"type": "RESERVE", "id": {"value": "r"}, "reserve": {"resources": [reserved("cpus", 1.0), reserved("disk", 64.0)]}},
        {"type": "CREATE", "id": {"value": "c"}, "create": {"volumes": [volume("v1", 64.0)]}},
        {"type": "LAUNCH", "launch": {"task_infos": [{"name": "t", "task_id": {"value": "t"},
            "agent_id": {"value": agent.id}, "command": {"value": "true"},
            "resources": [reserved("cpus", 0.5), volume("v1", 64.0)]}]}},
        {"type": "RESERVE", "id": {"value": "bad"}, "reserve": {"resources": [reserved("cpus", 999.0)]}},
    ]);
    scheduler.accepted("ACCEPT", accept(&offer, all)).await;
    let bad = scheduler.next("UPDATE_OPERATION_STATUS").await["status"].clone();
    assert_eq!((&bad["operation_id"]["value"], &bad["state"]), (&json!("bad"), &json!("OPERATION_ERROR")));
    assert_eq!(bad["uuid"], Value::Null, "nobody acknowledges it");
    let (version, made) = agent.resources().await;
    assert_eq!(made.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["cpus", "disk"]);
    assert_eq!(agent.run_task().await.key.expect("a key").task, "t", "after what it rests on");
    let listed = operations(&scheduler).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(listed[0]["latest_status"]["state"], "OPERATION_PENDING");

    agent.send(from_agent::Kind::ResourcesStored(ResourcesStored { version })).await;
    for _ in 0..2 {
        let status = scheduler.next("UPDATE_OPERATION_STATUS").await["status"].clone();
        assert_eq!(
            (&status["state"], &status["agent_id"]["value"]),
            (&json!("OPERATION_FINISHED"), &json!(agent.id))
        );
        assert!(!status["converted_resources"].as_array().expect("a list").is_empty());
        let acknowledge = json!({"agent_id": status["agent_id"], "uuid": status["uuid"]["value"],
            "operation_id": status["operation_id"]});
        scheduler.accepted("ACKNOWLEDGE_OPERATION_STATUS", acknowledge).await;
    }
    let none = || async { operations(&scheduler).await.is_null().then_some(()) };
    wait_for("the operations to be forgotten", none).await;
    let asked = json!({"operations": [{"operation_id": {"value": "r"}, "agent_id": {"value": agent.id}}]});
    scheduler.accepted("RECONCILE_OPERATIONS", asked).await;
    let told = scheduler.next("UPDATE_OPERATION_STATUS").await["status"].clone();
    assert_eq!((&told["state"], &told["uuid"]), (&json!("OPERATION_UNKNOWN"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_changes_what_it_says_of_itself() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let scheduler = Scheduler::subscribe(address, framework_info("changing"), &[]).await;
    let table: [(&str, Value, u16, &str); 4] = [
        ("webui_url", json!("http://x/"), 200, ""),
        ("roles", json!(["eng", "ops"]), 200, ""),
        ("roles", json!(["-bad"]), 400, "Supplied FrameworkInfo is not valid"),
        ("user", json!("other"), 400, "user cannot change"),
    ];
    for (field, value, status, text) in table {
        let mut info = framework_info("changing");
        info["id"] = json!({"value": scheduler.framework});
        info[field] = value;
        let reply = scheduler.call("UPDATE_FRAMEWORK", json!({"framework_info": info})).await;
        assert_eq!(reply.status, status, "{field}: {}", reply.text());
        assert!(reply.text().contains(text), "{}", reply.text());
    }
    let frameworks = crate::client::get(address, "/frameworks").await.json();
    assert_eq!(frameworks["frameworks"][0]["roles"], json!(["eng", "ops"]));
}
