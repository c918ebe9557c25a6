//! Operators who follow the state: the whole of it, then every change, until they must look elsewhere.

use mesarch_mesos_v1::{ContentType, decode};
use mesarch_proto::mesos::v1::{TaskState, master::Event};
use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    client::{EventStream, JSON, Scheduler, follow, framework_info, get, request},
    cluster::Cluster,
};

const PATH: &str = "/api/v1";

/// The next event of this type, without heartbeats; any other is wrong.
async fn expect(stream: &mut EventStream, kind: &str) -> Value {
    loop {
        let event = stream.event().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
        if event["type"] != "HEARTBEAT" {
            assert_eq!(event["type"], kind, "{event}");
            return event[kind.to_lowercase()].clone();
        }
    }
}

/// Reads until the stream ends.
async fn end(stream: &mut EventStream) -> Vec<Value> {
    let mut rest = Vec::new();
    while let Some(event) = stream.event().await {
        rest.push(event["type"].clone());
    }
    rest
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_comes_first_and_then_every_change_in_order() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let (head, mut stream) = follow(address, PATH, &[]).await;
    assert_eq!(head.header("content-type"), Some("application/json"));
    let subscribed = expect(&mut stream, "SUBSCRIBED").await;
    assert_eq!(subscribed["heartbeat_interval_seconds"], 15.0);
    let agents = &subscribed["get_state"]["get_agents"]["agents"];
    assert_eq!(agents[0]["agent_info"]["id"]["value"], agent.id.as_str());
    assert_eq!(subscribed["get_state"]["get_tasks"]["tasks"], json!([]));
    assert_eq!(stream.event().await.expect("an event")["type"], "HEARTBEAT", "at once");

    let mut scheduler = Scheduler::subscribe(address, framework_info("followed"), &[]).await;
    let added = expect(&mut stream, "FRAMEWORK_ADDED").await["framework"].clone();
    assert_eq!(added["framework_info"]["id"]["value"], scheduler.framework.as_str());
    assert_eq!(added["connected"], true);
    let second = FakeAgent::register(address).await;
    let added = expect(&mut stream, "AGENT_ADDED").await["agent"].clone();
    assert_eq!(added["agent_info"]["id"]["value"], second.id.as_str());

    let mut offer = scheduler.offer().await;
    if offer["agent_id"]["value"] != agent.id.as_str() {
        offer = scheduler.offer().await;
    }
    scheduler.launch(&offer, "t1").await;
    let task = expect(&mut stream, "TASK_ADDED").await["task"].clone();
    assert_eq!((&task["task_id"]["value"], &task["state"]), (&json!("t1"), &json!("TASK_STAGING")));
    let key = agent.run_task().await.key.expect("a key");
    for state in [TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskFinished] {
        agent.report(&key, state).await;
        let updated = expect(&mut stream, "TASK_UPDATED").await;
        assert_eq!(updated["state"], state.as_str_name());
        assert_eq!(updated["status"]["state"], state.as_str_name());
        assert_eq!(updated["framework_id"]["value"], scheduler.framework.as_str());
        let status = scheduler.update().await;
        scheduler.acknowledge(&status).await;
        agent.acknowledged().await;
    }
    // Neither is shown, and so neither is told.
    scheduler.accepted("SUPPRESS", json!({})).await;
    scheduler.accepted("REVIVE", json!({})).await;
    assert_eq!(scheduler.call("TEARDOWN", Value::Null).await.status, 202);
    let removed = expect(&mut stream, "FRAMEWORK_REMOVED").await;
    assert_eq!(removed["framework_info"]["name"], "followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_task_of_a_framework_that_goes_is_told_to_have_ended() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("goes"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    agent.run_task().await;
    let (_, mut stream) = follow(address, PATH, &[]).await;
    let subscribed = expect(&mut stream, "SUBSCRIBED").await;
    assert_eq!(subscribed["get_state"]["get_tasks"]["tasks"][0]["task_id"]["value"], "t1");
    assert_eq!(scheduler.call("TEARDOWN", Value::Null).await.status, 202);
    let updated = expect(&mut stream, "TASK_UPDATED").await;
    assert_eq!(
        (&updated["state"], &updated["status"]["task_id"]["value"]),
        (&json!("TASK_KILLED"), &json!("t1"))
    );
    expect(&mut stream, "FRAMEWORK_REMOVED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_says_the_same() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let (head, mut stream) = follow(address, PATH, &[("Accept", "application/x-protobuf")]).await;
    assert_eq!(head.header("content-type"), Some("application/x-protobuf"));
    let mut event = async || -> Event {
        let record = stream.record().await.expect("a record");
        decode(ContentType::Protobuf, &record).expect("an event")
    };
    let subscribed = event().await.subscribed.expect("SUBSCRIBED");
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    assert!(subscribed.get_state.is_some());
    event().await;
    let agent = FakeAgent::register(address).await;
    let added = event().await.agent_added.expect("AGENT_ADDED").agent;
    assert_eq!(added.agent_info.id.expect("an id").value, agent.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_leader_ends_when_another_leads_and_a_stale_one_goes_on() {
    let mut cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let body = br#"{"type":"SUBSCRIBE"}"#;
    let elsewhere = request(cluster.address(follower), "POST", PATH, &[JSON], body).await;
    assert_eq!(elsewhere.status, 307);
    let (_, mut at_leader) = follow(cluster.address(leader), PATH, &[]).await;
    let (head, mut stale) = follow(cluster.address(follower), "/api/v1?consistency=stale", &[]).await;
    assert!(head.header("mesarch-applied-index").is_some(), "it says how far it is");
    expect(&mut at_leader, "SUBSCRIBED").await;
    expect(&mut stale, "SUBSCRIBED").await;
    let agent = FakeAgent::register(cluster.address(leader)).await;
    for stream in [&mut at_leader, &mut stale] {
        let added = expect(stream, "AGENT_ADDED").await;
        assert_eq!(added["agent"]["agent_info"]["id"]["value"], agent.id.as_str());
    }
    cluster.shutdown(leader).await;
    assert!(end(&mut at_leader).await.iter().all(|kind| kind == "HEARTBEAT"));
    let leader = cluster.leader().await;
    let second = FakeAgent::register(cluster.address(leader)).await;
    let added = expect(&mut stale, "AGENT_ADDED").await;
    assert_eq!(added["agent"]["agent_info"]["id"]["value"], second.id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_followers_are_told_leads_to_the_state_that_is_read() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let (_, mut stream) = follow(address, PATH, &[]).await;
    let mut known: Vec<String> = Vec::new();
    expect(&mut stream, "SUBSCRIBED").await;
    let mut agents = Vec::new();
    for _ in 0..20 {
        agents.push(FakeAgent::register(address).await);
    }
    while known.len() < agents.len() {
        let added = expect(&mut stream, "AGENT_ADDED").await;
        known.push(added["agent"]["agent_info"]["id"]["value"].as_str().expect("an id").to_owned());
    }
    let state = get(address, "/slaves").await.json();
    let mut read: Vec<_> = state["slaves"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["id"].as_str().expect("an id"))
        .collect();
    read.sort_unstable();
    let mut told: Vec<&str> = known.iter().map(String::as_str).collect();
    told.sort_unstable();
    assert_eq!(told, read, "each once");
}
