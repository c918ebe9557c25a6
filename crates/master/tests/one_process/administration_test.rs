//! Agents and machines that operators take out of service, over HTTP.

use std::net::SocketAddr;

use mesarch_proto::{
    link::to_agent,
    mesos::v1::{KillPolicy, TaskState},
};
use prost::Message;
use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    client::{JSON, Reply, Scheduler, framework_info, get, request},
    cluster::{Cluster, wait_for},
};

async fn call(address: SocketAddr, kind: &str, message: Value) -> Reply {
    let mut call = json!({"type": kind});
    call[kind.to_lowercase()] = message;
    request(address, "POST", "/api/v1", &[JSON], call.to_string().as_bytes()).await
}

async fn read(address: SocketAddr, kind: &str) -> Value {
    let body = json!({"type": kind}).to_string();
    let reply = request(address, "POST", "/api/v1", &[JSON], body.as_bytes()).await;
    reply.json()[kind.to_lowercase()].clone()
}

async fn shown(address: SocketAddr) -> Value {
    read(address, "GET_AGENTS").await["agents"][0].clone()
}

fn of(agent: &str) -> Value {
    json!({"agent_id": {"value": agent}})
}

/// The next KillTask.
async fn killed(agent: &mut FakeAgent) -> mesarch_proto::link::KillTask {
    loop {
        match agent.next().await.expect("a message") {
            to_agent::Kind::KillTask(kill) => return kill,
            to_agent::Kind::Acknowledged(_) => {}
            other => panic!("{other:?} instead of KillTask"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_asked_at_one_leader_goes_on_at_the_next() {
    let mut cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let address = cluster.address(old);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("drained"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t").await;
    let key = agent.run_task().await.key.expect("a key");
    let running = agent.report(&key, TaskState::TaskRunning).await;
    let status = scheduler.update().await;
    scheduler.acknowledge(&status).await;
    let drain = json!({"agent_id": {"value": agent.id}, "max_grace_period": {"seconds": 2}});
    assert_eq!(call(address, "DRAIN_AGENT", drain).await.status, 200);
    let kill = killed(&mut agent).await;
    let policy = KillPolicy::decode(kill.policy).expect("a policy");
    assert_eq!(policy.grace_period.expect("a grace").nanoseconds, 2_000_000_000);
    let info = shown(address).await;
    assert_eq!((&info["active"], &info["deactivated"]), (&json!(false), &json!(true)));
    assert_eq!(info["drain_info"]["state"], "DRAINING");
    assert!(info["estimated_drain_start_time"]["nanoseconds"].is_number());
    let denied = call(address, "REACTIVATE_AGENT", of(&agent.id)).await;
    assert_eq!(denied.status, 400, "{}", denied.text());

    cluster.kill(old).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = agent.attach(address, &[(key.clone(), running)]).await;
    killed(&mut agent).await;
    let info = scheduler.info_again(framework_info("drained"));
    let mut scheduler = Scheduler::subscribe_again(address, info, None).await;
    agent.report(&key, TaskState::TaskKilled).await;
    let status = scheduler.update().await;
    let said = (&status["state"], &status["reason"]);
    assert_eq!(said, (&json!("TASK_KILLED"), &json!("REASON_AGENT_DRAINING")), "{status}");
    assert_eq!(shown(address).await["drain_info"]["state"], "DRAINING", "nobody acknowledged the end");
    scheduler.acknowledge(&status).await;
    wait_for("the drain's end", || async {
        (shown(address).await["drain_info"]["state"] == "DRAINED").then_some(())
    })
    .await;
    let slaves = get(address, "/slaves").await.json();
    assert_eq!(slaves["slaves"][0]["drain_info"]["config"]["mark_gone"], false);
    assert!(slaves["slaves"][0]["estimated_drain_start_time_seconds"].is_number());
    assert_eq!(call(address, "REACTIVATE_AGENT", of(&agent.id)).await.status, 200);
    assert_eq!(scheduler.offer().await["agent_id"]["value"], agent.id.as_str());
    assert!(shown(address).await["drain_info"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gone_agent_is_ended_and_never_taken_again() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("gone"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t").await;
    agent.run_task().await;
    assert_eq!(call(address, "MARK_AGENT_GONE", of("nope")).await.status, 404);
    for _ in 0..2 {
        assert_eq!(call(address, "MARK_AGENT_GONE", of(&agent.id)).await.status, 200);
    }
    let status = scheduler.update().await;
    let said = (&status["state"], &status["reason"]);
    assert_eq!(said, (&json!("TASK_GONE_BY_OPERATOR"), &json!("REASON_AGENT_REMOVED_BY_OPERATOR")));
    assert!(matches!(agent.next().await, Ok(to_agent::Kind::Shutdown(_))));
    agent.next().await.expect_err("the link ends");
    let back = agent.first_word(address).await;
    assert!(matches!(back, Ok(to_agent::Kind::Shutdown(_))), "{back:?}");
    let asked = json!({"tasks": [{"task_id": {"value": "t"}, "agent_id": {"value": agent.id}}]});
    scheduler.accepted("RECONCILE", asked).await;
    assert_eq!(scheduler.update().await["state"], "TASK_GONE_BY_OPERATOR");
    assert!(shown(address).await.is_null());
    for kind in ["DRAIN_AGENT", "DEACTIVATE_AGENT", "REACTIVATE_AGENT"] {
        assert_eq!(call(address, kind, of(&agent.id)).await.status, 400, "{kind}");
    }
}

fn schedule(windows: Value) -> Value {
    json!({"schedule": {"windows": windows}})
}

fn window(machines: Value) -> Value {
    let unavailability = json!({"start": {"nanoseconds": 1}, "duration": {"nanoseconds": 2}});
    json!({"machine_ids": machines, "unavailability": unavailability})
}

#[tokio::test(flavor = "multi_thread")]
async fn frameworks_are_asked_to_leave_machines_that_will_be_down() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("leaving"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t").await;
    agent.run_task().await;
    let here = json!({"hostname": "127.0.0.1", "ip": "127.0.0.1"});
    let other = json!({"hostname": "Other"});
    let planned = schedule(json!([window(json!([here, other]))]));
    assert_eq!(call(address, "UPDATE_MAINTENANCE_SCHEDULE", planned.clone()).await.status, 200);
    let asked = scheduler.next("INVERSE_OFFERS").await["inverse_offers"][0].clone();
    assert_eq!(asked["agent_id"]["value"], agent.id.as_str());
    let when = json!({"start": {"nanoseconds": 1}, "duration": {"nanoseconds": 2}});
    assert_eq!(asked["unavailability"], when);
    let mut offer = scheduler.offer().await;
    while offer["unavailability"].is_null() {
        offer = scheduler.offer().await;
    }
    assert_eq!(offer["unavailability"], when);

    let answer = json!({"inverse_offer_ids": [asked["id"], {"value": "unknown"}],
        "filters": {"refuse_seconds": 1000.0}});
    scheduler.accepted("ACCEPT_INVERSE_OFFERS", answer).await;
    scheduler.accepted("DECLINE_INVERSE_OFFERS", json!({"inverse_offer_ids": [{"value": "x"}]})).await;
    wait_for("the answer to be shown", || async {
        let status = read(address, "GET_MAINTENANCE_STATUS").await["status"].clone();
        (status["draining_machines"][0]["statuses"][0]["status"] == "ACCEPT").then_some(())
    })
    .await;
    let drained = call(address, "DRAIN_AGENT", of(&agent.id)).await;
    assert_eq!(drained.status, 400, "{}", drained.text());

    let down = json!([here]).to_string();
    assert_eq!(request(address, "POST", "/machine/down", &[], b"[]").await.status, 400);
    assert_eq!(request(address, "POST", "/machine/up", &[], down.as_bytes()).await.status, 400);
    assert_eq!(request(address, "POST", "/machine/down", &[], down.as_bytes()).await.status, 200);
    let status = scheduler.update().await;
    assert_eq!((&status["state"], &status["reason"]), (&json!("TASK_LOST"), &json!("REASON_AGENT_REMOVED")));
    agent.next().await.expect_err("the link ends");
    let word = agent.first_word(address).await;
    assert!(matches!(word, Ok(to_agent::Kind::Shutdown(_))), "{word:?}");
    let told = get(address, "/maintenance/status").await.json();
    assert_eq!(
        (&told["down_machines"], &told["draining_machines"][0]["id"]["hostname"]),
        (&json!([here]), &json!("other"))
    );
    let cleared = call(address, "UPDATE_MAINTENANCE_SCHEDULE", schedule(json!([]))).await;
    assert_eq!(cleared.status, 400, "a machine is down: {}", cleared.text());
    assert_eq!(request(address, "POST", "/machine/up", &[], down.as_bytes()).await.status, 200);
    let posted = br#"{"windows":[]}"#;
    assert_eq!(request(address, "POST", "/maintenance/schedule", &[], posted).await.status, 200);
    assert_eq!(get(address, "/maintenance/schedule").await.json(), json!({}));
    assert_eq!(read(address, "GET_MAINTENANCE_SCHEDULE").await, json!({"schedule": {}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_none_is_refused() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let negative = json!({"machine_ids": [{"hostname": "h"}],
        "unavailability": {"start": {"nanoseconds": 1}, "duration": {"nanoseconds": -1}}});
    let table = [
        (json!([window(json!([]))]), "at least one machine"),
        (json!([window(json!([{}]))]), "hostname or an ip"),
        (json!([window(json!([{"ip": "nowhere"}]))]), "IPv4"),
        (json!([window(json!([{"hostname": "h"}, {"hostname": "H"}]))]), "twice"),
        (json!([negative]), "negative"),
    ];
    for (windows, text) in table {
        let refused = call(address, "UPDATE_MAINTENANCE_SCHEDULE", schedule(windows)).await;
        assert_eq!(refused.status, 400, "{text}");
        assert!(refused.text().contains(text), "{} does not say {text}", refused.text());
    }
    let unknown = json!({"machines": [{"hostname": "h"}]});
    assert_eq!(call(address, "START_MAINTENANCE", unknown).await.status, 400);
}
