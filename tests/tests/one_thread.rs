//! One task from SUBSCRIBE to TASK_FINISHED, by curl, with and without the death of the leader in between.

use anyhow::{Context, Result, ensure};
use mesarch_testkit::{Cluster, Settings};
use serde_json::{Value, json};

use crate::support::curl::{Subscription, call};

pub(crate) fn framework_info() -> Value {
    json!({
        "user": "root",
        "name": "one-thread",
        "roles": ["*"],
        "checkpoint": true,
        "failover_timeout": 0.0,
        "capabilities": [{"type": "MULTI_ROLE"}],
    })
}

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}, "allocation_info": {"role": "*"}})
}

pub(crate) fn accept(framework: &Value, offer: &Value, task: &str, command: &str) -> Value {
    let task = json!({
        "name": task,
        "task_id": {"value": task},
        "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)],
        "command": {"shell": true, "value": command},
    });
    json!({
        "framework_id": framework,
        "type": "ACCEPT",
        "accept": {
            "offer_ids": [offer["id"]],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}],
            "filters": {"refuse_seconds": 3600.0},
        },
    })
}

/// The states of `task` in the order in which they come, each acknowledged, until a terminal one.
pub(crate) async fn follow(
    stream: &mut Subscription,
    master: &str,
    framework: &Value,
    task: &str,
) -> Result<Vec<String>> {
    let mut states: Vec<String> = Vec::new();
    loop {
        let update = stream.next_of("UPDATE").await?;
        let status = &update["update"]["status"];
        ensure!(status["task_id"]["value"] == task, "an update of another task: {status}");
        let state = status["state"].as_str().context("an update has a state")?.to_owned();
        if status.get("uuid").is_some() {
            let acknowledge = json!({
                "framework_id": framework,
                "type": "ACKNOWLEDGE",
                "acknowledge": {
                    "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"],
                },
            });
            let (code, body) = call(master, &stream.stream_id, &acknowledge).await?;
            ensure!(code == 202 && body.is_empty(), "ACKNOWLEDGE was answered with {code}: {body}");
        }
        let last = state.clone();
        if states.last() != Some(&state) {
            states.push(state);
        }
        if !["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING"].contains(&last.as_str()) {
            return Ok(states);
        }
    }
}

pub(crate) async fn subscribe(master: &str, info: &Value) -> Result<(Subscription, Value)> {
    let mut stream = Subscription::open(master, info).await?;
    let first = stream.next().await?;
    ensure!(first["type"] == "SUBSCRIBED", "the first event is {first}");
    ensure!(first["subscribed"]["heartbeat_interval_seconds"] == 15.0, "{first}");
    ensure!(stream.next().await?["type"] == "HEARTBEAT", "a heartbeat follows at once");
    Ok((stream, first["subscribed"]["framework_id"].clone()))
}

#[tokio::test]
async fn a_task_by_curl_runs_to_its_end() {
    let cluster = Cluster::start(3, 1, Settings::default()).await.unwrap();
    let leader = cluster.wait_for_leader().await.unwrap();
    let follower = cluster.masters[(leader + 1) % 3].address.to_string();
    let (mut stream, framework) = subscribe(&follower, &framework_info()).await.unwrap();
    let offers = stream.next_of("OFFERS").await.unwrap();
    let offer = &offers["offers"]["offers"][0];
    let master = cluster.masters[leader].address.to_string();
    let accepted = call(&master, &stream.stream_id, &accept(&framework, offer, "t", "true")).await.unwrap();
    assert_eq!(accepted, (202, String::new()));
    let states = follow(&mut stream, &master, &framework, "t").await.unwrap();
    assert_eq!(states.last().map(String::as_str), Some("TASK_FINISHED"), "{states:?}");
    assert!(states.contains(&"TASK_RUNNING".to_owned()), "{states:?}");
}

#[tokio::test]
async fn a_task_by_curl_finishes_although_its_leader_is_killed_right_after_the_accept() {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await.unwrap();
    let leader = cluster.wait_for_leader().await.unwrap();
    let master = cluster.masters[leader].address.to_string();
    let (mut stream, framework) = subscribe(&master, &framework_info()).await.unwrap();
    let offers = stream.next_of("OFFERS").await.unwrap();
    let offer = offers["offers"]["offers"][0].clone();
    let accepted =
        call(&master, &stream.stream_id, &accept(&framework, &offer, "t", "sleep 2; true")).await.unwrap();
    cluster.masters[leader].kill().unwrap();
    assert_eq!(accepted, (202, String::new()));
    while stream.next().await.is_ok() {}

    let next = cluster.wait_for_leader().await.unwrap();
    assert_ne!(next, leader);
    let mut info = framework_info();
    info["id"] = framework.clone();
    let follower = (0..3).find(|index| ![leader, next].contains(index)).unwrap();
    let (mut stream, again) = subscribe(&cluster.masters[follower].address.to_string(), &info).await.unwrap();
    assert_eq!(again, framework, "the id is kept");
    let master = cluster.masters[next].address.to_string();
    let states = follow(&mut stream, &master, &framework, "t").await.unwrap();
    assert_eq!(states.last().map(String::as_str), Some("TASK_FINISHED"), "{states:?}");
}
