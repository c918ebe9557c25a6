//! From an agent's registration to a task's last acknowledgement.

use std::collections::{BTreeMap, BTreeSet};

use base64_uuid::uuid_text;
use mesarch_proto::{
    link::{ExecutorExited, Forgot, ForgottenUpdate, from_agent, to_agent},
    mesos::v1::{self, TaskState},
};
use prost::Message;
use serde_json::json;

use crate::{
    agent::{FakeAgent, link_client},
    client::{Scheduler, accept, framework_info},
    cluster::Cluster,
};

mod base64_uuid {
    /// A uuid as JSON has it.
    pub(super) fn uuid_text(uuid: mesarch_types::UpdateUuid) -> serde_json::Value {
        let status =
            mesarch_proto::mesos::v1::TaskStatus { uuid: Some(uuid.0.to_vec().into()), ..Default::default() };
        let json = mesarch_mesos_v1::encode(mesarch_mesos_v1::ContentType::Json, &status);
        let value: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        value["uuid"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_lives_from_offer_to_its_last_acknowledgement() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("life"), &[]).await;
    let offer = scheduler.offer().await;
    assert_eq!(offer["agent_id"]["value"], agent.id.as_str());
    assert_eq!(offer["allocation_info"]["role"], "eng");
    assert_eq!(offer["url"]["path"], "/slave(1)");
    assert!(offer["resources"].as_array().is_some_and(|list| list.iter().all(|one| one["role"] == "*")));

    scheduler.launch(&offer, "t1").await;
    let run = agent.run_task().await;
    let info = v1::TaskInfo::decode(run.info).expect("a TaskInfo");
    assert_eq!(info.task_id.value, "t1");
    assert_eq!(info.resources[0].allocation_info.as_ref().and_then(|info| info.role.as_deref()), Some("eng"));
    let framework = v1::FrameworkInfo::decode(run.framework_info).expect("a FrameworkInfo");
    assert_eq!(framework.id.map(|id| id.value), Some(scheduler.framework.clone()));
    let key = run.key.expect("a key");

    for state in [TaskState::TaskRunning, TaskState::TaskFinished] {
        let uuid = agent.report(&key, state).await;
        let status = scheduler.update().await;
        assert_eq!(status["state"], state.as_str_name());
        assert_eq!(status["uuid"], uuid_text(uuid));
        agent.repeat(&key, state, uuid).await;
        assert_eq!(scheduler.update().await["uuid"], uuid_text(uuid), "a repeat is told again");
        scheduler.acknowledge(&status).await;
        assert_eq!(agent.acknowledged().await.uuid, uuid.0.to_vec());
        agent.repeat(&key, state, uuid).await;
        assert_eq!(
            agent.acknowledged().await.uuid,
            uuid.0.to_vec(),
            "an acknowledged one is answered at once"
        );
        let forgotten = ForgottenUpdate { key: Some(key.clone()), uuid: uuid.0.to_vec().into() };
        let forgot = Forgot { updates: vec![forgotten], frameworks: Vec::new() };
        agent.send(from_agent::Kind::Forgot(forgot)).await;
    }
    let freed = scheduler.offer().await;
    assert!(freed["resources"].as_array().is_some_and(|list| !list.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_accept_twice_launches_once() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("twice"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    scheduler.launch(&offer, "t1").await;
    let status = scheduler.update().await;
    assert_eq!((&status["state"], &status["task_id"]["value"]), (&json!("TASK_STAGING"), &json!("t1")));
    assert!(status["uuid"].is_null());
    let key = agent.run_task().await.key.expect("a key");
    agent.report(&key, TaskState::TaskRunning).await;
    assert_eq!(scheduler.update().await["state"], "TASK_RUNNING");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_task_on_fresh_offers_is_told_as_it_is_and_runs_on() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("again"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    let key = agent.run_task().await.key.expect("a key");
    agent.report(&key, TaskState::TaskRunning).await;
    let running = scheduler.update().await;
    scheduler.acknowledge(&running).await;
    let fresh = scheduler.offer().await;
    scheduler.launch(&fresh, "t1").await;
    let status = scheduler.update().await;
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("TASK_RUNNING"), &json!("REASON_RECONCILIATION"))
    );
    assert!(status["uuid"].is_null());
    assert!(status["message"].as_str().is_some_and(|text| text.contains("in use")), "{status}");
    let again = scheduler.offer().await;
    assert_eq!(again["resources"], fresh["resources"], "nothing was used");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tasks_and_stale_offers_are_told_by_updates() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("bad"), &[]).await;
    let offer = scheduler.offer().await;
    let mut invalid = accept(&offer, "t1");
    invalid["operations"][0]["launch"]["task_infos"][0]["resources"] = json!([]);
    scheduler.accepted("ACCEPT", invalid).await;
    let status = scheduler.update().await;
    assert_eq!((&status["state"], &status["reason"]), (&json!("TASK_ERROR"), &json!("REASON_TASK_INVALID")));
    assert_eq!(
        (&status["source"], &status["message"]),
        (&json!("SOURCE_MASTER"), &json!("Task uses no resources"))
    );
    scheduler.launch(&offer, "t2").await;
    let status = scheduler.update().await;
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("TASK_DROPPED"), &json!("REASON_INVALID_OFFERS"))
    );
    assert!(status["uuid"].is_null());
    assert_eq!(status["agent_id"]["value"], agent.id.as_str(), "as the task names it");
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciliation_knows_all_earlier_calls() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let _agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("reconcile"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    scheduler.accepted("RECONCILE", json!({"tasks": []})).await;
    let status = scheduler.update().await;
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("TASK_STAGING"), &json!("REASON_RECONCILIATION"))
    );
    let asked = json!({"tasks": [{"task_id": {"value": "no-such"}}]});
    scheduler.accepted("RECONCILE", asked).await;
    assert_eq!(scheduler.update().await["state"], "TASK_UNKNOWN");
    scheduler.accepted("KILL", json!({"task_id": {"value": "no-such"}})).await;
    let status = scheduler.update().await;
    assert_eq!((&status["state"], &status["task_id"]["value"]), (&json!("TASK_UNKNOWN"), &json!("no-such")));
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_messages_and_a_teardown_reach_the_agent() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("kill"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    let key = agent.run_task().await.key.expect("a key");
    let policy = json!({"grace_period": {"nanoseconds": 5}});
    scheduler.accepted("KILL", json!({"task_id": {"value": "t1"}, "kill_policy": policy})).await;
    match agent.next().await.expect("a message") {
        to_agent::Kind::KillTask(kill) => {
            assert_eq!(kill.key, Some(key));
            let policy = v1::KillPolicy::decode(kill.policy).expect("a policy");
            assert_eq!(policy.grace_period.map(|grace| grace.nanoseconds), Some(5));
        }
        other => panic!("{other:?}"),
    }
    let message = json!({"agent_id": {"value": agent.id}, "executor_id": {"value": "e"}, "data": "aGk="});
    scheduler.accepted("MESSAGE", message).await;
    match agent.next().await.expect("a message") {
        to_agent::Kind::Message(message) => assert_eq!(&message.data[..], b"hi"),
        other => panic!("{other:?}"),
    }
    let back = mesarch_proto::link::ExecutorMessage {
        framework: scheduler.framework.clone(),
        executor: "e".into(),
        data: "ho".into(),
    };
    agent.send(from_agent::Kind::Message(back)).await;
    let message = scheduler.next("MESSAGE").await;
    assert_eq!((&message["data"], &message["agent_id"]["value"]), (&json!("aG8="), &json!(agent.id)));
    scheduler.accepted("TEARDOWN", json!(null)).await;
    match agent.next().await.expect("a message") {
        to_agent::Kind::ShutdownFramework(shutdown) => assert_eq!(shutdown.framework, scheduler.framework),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_asks_twice_has_one_id_and_a_lost_one_is_detached() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let agent = FakeAgent::register(address).await;
    let again = agent.attach(address, &[]).await;
    assert_eq!(again.id, agent.id);
    let mut scheduler = Scheduler::subscribe(address, framework_info("lost"), &[]).await;
    let offer = scheduler.offer().await;
    drop(again);
    assert_eq!(scheduler.next("RESCIND").await["offer_id"], offer["id"]);
}

/// More agents than there are descriptors or ports share connections.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_agents_that_share_a_connection_have_a_link_each() {
    let cluster = Cluster::start(1).await;
    let client = link_client(cluster.address(cluster.leader().await)).await;
    let mut agents = Vec::new();
    for _ in 0..10 {
        agents.push(FakeAgent::register_on(client.clone()).await);
    }
    let ids: BTreeSet<_> = agents.iter().map(|agent| agent.id.clone()).collect();
    assert_eq!(ids.len(), 10);
    // One of them leaves, and is the only one whose resources are gone.
    let gone = agents.remove(3);
    let mut scheduler =
        Scheduler::subscribe(cluster.address(cluster.leader().await), framework_info("shared"), &[]).await;
    let mut offered = BTreeMap::new();
    while offered.len() < 10 {
        let event = scheduler.next("OFFERS").await;
        let offers = event["offers"].as_array().expect("a list").iter();
        offered.extend(
            offers.map(|offer| (offer["agent_id"]["value"].clone().to_string(), offer["id"].clone())),
        );
    }
    let quoted = |id: &str| json!(id).to_string();
    let id = quoted(&gone.id);
    drop(gone);
    assert_eq!(scheduler.next("RESCIND").await["offer_id"], offered[&id]);
    let agent = &mut agents[0];
    let offer = json!({"id": offered[&quoted(&agent.id)], "agent_id": {"value": agent.id}});
    scheduler.accepted("ACCEPT", accept(&offer, "t1")).await;
    assert_eq!(agent.run_task().await.key.expect("a key").task, "t1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_reaches_the_agent_and_the_executors_end_is_told() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("shutdown"), &[]).await;
    let offer = scheduler.offer().await;
    let mut call = accept(&offer, "t1");
    let executor = json!({"executor_id": {"value": "e1"}, "type": "CUSTOM", "command": {"value": "true"},
        "framework_id": {"value": scheduler.framework}});
    let task = &mut call["operations"][0]["launch"]["task_infos"][0];
    task["command"] = json!(null);
    task["executor"] = executor;
    scheduler.accepted("ACCEPT", call).await;
    let key = agent.run_task().await.key.expect("a key");

    let names = json!({"executor_id": {"value": "e1"}, "agent_id": {"value": agent.id}});
    scheduler.accepted("SHUTDOWN", names).await;
    match agent.next().await.expect("a message") {
        to_agent::Kind::ShutdownExecutor(shutdown) => {
            assert_eq!((&shutdown.framework, &*shutdown.executor), (&scheduler.framework, "e1"));
        }
        other => panic!("{other:?}"),
    }
    agent.report(&key, TaskState::TaskKilled).await;
    assert_eq!(scheduler.update().await["state"], "TASK_KILLED");
    let exited = ExecutorExited {
        framework: scheduler.framework.clone(),
        executor: "e1".into(),
        status: 9,
        newest: key.launch,
    };
    agent.send(from_agent::Kind::ExecutorExited(exited)).await;
    let failure = scheduler.next("FAILURE").await;
    assert_eq!(
        failure,
        json!({"agent_id": {"value": agent.id}, "executor_id": {"value": "e1"}, "status": 9})
    );
}
