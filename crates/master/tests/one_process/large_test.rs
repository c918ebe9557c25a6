//! Calls and inventories that are larger than a packed entry of the log.

use mesarch_proto::{link, mesos::v1};
use mesarch_types::time::LAUNCHES_PER_COMMAND_MAX;
use prost::Message;
use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    client::{Scheduler, accept, framework_info, get},
    cluster::{Cluster, wait_for},
};

/// ACCEPT of one offer with `count` tasks, each with a command line of `length` bytes.
fn large_accept(offer: &Value, name: &str, count: u32, length: usize) -> Value {
    let mut accept = accept(offer, name);
    let tasks = &mut accept["operations"][0]["launch"]["task_infos"];
    let mut task = tasks[0].clone();
    task["resources"][0]["scalar"]["value"] = json!(0.001);
    task["command"]["value"] = json!("x".repeat(length));
    let numbered = (0..count).map(|number| {
        let mut task = task.clone();
        task["task_id"]["value"] = json!(format!("{name}-{number}"));
        task
    });
    *tasks = numbered.collect();
    accept
}

async fn tasks_known(cluster: &Cluster, node: usize) -> usize {
    let state = get(cluster.address(node), "/state").await.json();
    state["frameworks"][0]["tasks"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_of_seven_kilobytes_and_one_of_a_megabyte_survive_everything() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let behind = cluster.follower().await;
    let other = 3 - leader - behind;
    let address = cluster.address(leader);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("large"), &[]).await;
    let offer = scheduler.offer().await;
    cluster.kill(behind).await;
    let many = large_accept(&offer, "many", LAUNCHES_PER_COMMAND_MAX, 7000);
    scheduler.accepted("ACCEPT", many).await;
    for _ in 0..LAUNCHES_PER_COMMAND_MAX {
        let info = v1::TaskInfo::decode(agent.run_task().await.info).expect("a TaskInfo");
        assert_eq!(info.command.and_then(|command| command.value).map(|value| value.len()), Some(7000));
    }
    let offer = scheduler.offer().await;
    scheduler.accepted("ACCEPT", large_accept(&offer, "big", 1, (1 << 20) - 1000)).await;
    assert!(agent.run_task().await.info.len() > 1_000_000);
    let offer = scheduler.offer().await;
    scheduler.accepted("ACCEPT", large_accept(&offer, "too-big", 1, 1 << 20)).await;
    let status = scheduler.update().await;
    assert_eq!(status["state"], "TASK_ERROR");
    assert!(status["message"].as_str().is_some_and(|text| text.contains("1048576 bytes")), "{status}");

    // With the third master gone, nothing commits before the one that was down has caught up.
    cluster.restart(behind).await;
    cluster.kill(other).await;
    let offer = scheduler.offer().await;
    scheduler.accepted("ACCEPT", large_accept(&offer, "after", 1, 1)).await;
    for node in [leader, behind] {
        cluster.kill(node).await;
    }
    for node in [leader, behind, other] {
        cluster.restart(node).await;
    }
    let leader = cluster.leader().await;
    wait_for("every task after the restart", || async {
        (tasks_known(&cluster, leader).await == LAUNCHES_PER_COMMAND_MAX as usize + 2).then_some(())
    })
    .await;
}

/// Five thousand of these are more than the agent has: it is full, and its books must not cost more for that.
fn running(agent: &FakeAgent, framework: &str, number: u32, length: usize) -> link::InventoryTask {
    let task = format!("t{number}");
    let role = v1::resource::AllocationInfo { role: Some("eng".into()) };
    let cpus = v1::Resource {
        name: "cpus".into(),
        scalar: Some(v1::value::Scalar { value: 0.001 }),
        allocation_info: Some(role),
        ..Default::default()
    };
    let info = v1::TaskInfo {
        name: task.clone(),
        task_id: v1::TaskId { value: task.clone() },
        agent_id: v1::AgentId { value: agent.id.clone() },
        resources: vec![cpus],
        data: Some(vec![7; length].into()),
        ..Default::default()
    };
    let launch = link::LaunchId { index: 1, position: number };
    link::InventoryTask {
        key: Some(link::TaskKey { framework: framework.to_owned(), task, launch: Some(launch) }),
        info: info.encode_to_vec().into(),
        state: v1::TaskState::TaskRunning as i32,
        ..Default::default()
    }
}

fn inventory(agent: &FakeAgent, framework: &str, count: u32, length: usize) -> link::Inventory {
    let tasks = (0..count).map(|number| running(agent, framework, number, length));
    link::Inventory { tasks: tasks.collect(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_five_thousand_tasks_attaches_and_one_beyond_the_bound_is_told_it() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let address = cluster.address(leader);
    let scheduler = Scheduler::subscribe(address, framework_info("many"), &[]).await;
    let agent = FakeAgent::register(address).await;
    let attached =
        agent.attach_with_inventory(address, inventory(&agent, &scheduler.framework, 5000, 1024)).await;
    drop(attached.expect("it is taken"));
    assert_eq!(tasks_known(&cluster, leader).await, 5000);

    let huge = inventory(&agent, &scheduler.framework, 21, 1 << 20);
    let refused = agent.attach_with_inventory(address, huge).await.err().expect("it is refused");
    assert!(refused.message().contains("larger than 20971520 bytes"), "{refused}");
    assert_eq!(tasks_known(&cluster, leader).await, 5000, "nothing has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconciliation_of_a_hundred_thousand_tasks_is_answered_in_order_and_lets_others_through() {
    const ASKED: usize = 100_000;
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut scheduler = Scheduler::subscribe(address, framework_info("asks"), &[]).await;
    let other = Scheduler::subscribe(address, framework_info("other"), &[]).await;
    let asked: Vec<Value> =
        (0..ASKED).map(|number| json!({"task_id": {"value": number.to_string()}})).collect();
    let answers = async {
        for number in 0..ASKED {
            let status = scheduler_update(&mut scheduler, &asked, number).await;
            assert_eq!(
                (&status["state"], &status["task_id"]),
                (&json!("TASK_UNKNOWN"), &asked[number]["task_id"])
            );
        }
    };
    let others = async {
        for _ in 0..20 {
            other.accepted("REVIVE", json!(null)).await;
        }
    };
    tokio::join!(answers, others);
}

/// The next update; asks for all of them before the first.
async fn scheduler_update(scheduler: &mut Scheduler, asked: &[Value], number: usize) -> Value {
    if number == 0 {
        scheduler.accepted("RECONCILE", json!({"tasks": asked})).await;
    }
    scheduler.update().await
}
