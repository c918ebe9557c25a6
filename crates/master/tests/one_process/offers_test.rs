//! What an offer tells, and to whom.

use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    client::{JSON, SCHEDULER, Scheduler, framework_info, request},
    cluster::Cluster,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_says_where_its_agent_is_and_what_it_is_like() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("offers"), &[]).await;
    let offer = scheduler.offer().await;
    assert_eq!(offer["agent_id"]["value"], agent.id.as_str());
    assert_eq!(offer["framework_id"]["value"], scheduler.framework.as_str());
    assert_eq!(offer["hostname"], "127.0.0.1");
    let url = json!({"scheme": "http", "path": "/slave(1)",
        "address": {"hostname": "127.0.0.1", "ip": "127.0.0.1", "port": 5051}});
    assert_eq!(offer["url"], url);
    assert_eq!(offer["attributes"], json!([{"name": "rack", "type": "TEXT", "text": {"value": "r1"}}]));
    assert_eq!(offer["allocation_info"], json!({"role": "eng"}));
    assert!(resources(&offer).iter().all(|one| one["allocation_info"]["role"] == "eng"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_of_one_role_is_told_nothing_of_allocations() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let info = json!({"user": "root", "name": "old", "role": "eng"});
    let mut scheduler = Scheduler::subscribe(address, info, &[]).await;
    let offer = scheduler.offer().await;
    assert!(offer["allocation_info"].is_null(), "{offer}");
    let resources = resources(&offer);
    assert!(!resources.is_empty() && resources.iter().all(|one| one["allocation_info"].is_null()), "{offer}");
    scheduler.launch(&offer, "t1").await;
    assert_eq!(agent.run_task().await.key.expect("a key").task, "t1");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_nobody_asked_for_do_no_harm() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    for credentials in ["Basic dXNlcjpwYXNzd29yZA==", "Bearer x", "nonsense"] {
        let header = ("Authorization", credentials);
        let scheduler = Scheduler::subscribe(address, framework_info("known"), &[header]).await;
        let call = json!({"type": "REVIVE", "framework_id": {"value": scheduler.framework}}).to_string();
        let headers = [JSON, header, ("Mesos-Stream-Id", scheduler.stream_id.as_str())];
        let reply = request(address, "POST", SCHEDULER, &headers, call.as_bytes()).await;
        assert_eq!((reply.status, reply.text().as_str()), (202, ""), "{credentials}");
        assert_eq!(request(address, "GET", "/state", &[header], b"").await.status, 200, "{credentials}");
    }
}

fn resources(offer: &Value) -> Vec<Value> {
    offer["resources"].as_array().cloned().unwrap_or_default()
}
