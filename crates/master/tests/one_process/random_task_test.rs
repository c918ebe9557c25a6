//! Whatever a TaskInfo holds reaches its agent, from any leader.

use mesarch_proto::{FILE_DESCRIPTOR_SET, mesos::v1};
use prost::Message;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use serde_json::Value;

use crate::{
    agent::FakeAgent,
    client::{SCHEDULER, Scheduler, framework_info, request},
    cluster::Cluster,
    random::{self, Entropy},
};

const TASKS: u64 = 40;
/// Of which a task is drawn.
const ENTROPY_BYTES: usize = 600;

/// The same bytes for the same seed (SplitMix64).
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let word = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(mixed ^ (mixed >> 31))
    };
    std::iter::from_fn(word).flat_map(u64::to_le_bytes).take(ENTROPY_BYTES).collect()
}

/// Any task, with what the masters judge put right.
fn task(descriptor: &MessageDescriptor, seed: u64, offer: &Value, framework: &str) -> v1::TaskInfo {
    let drawn = random::message(descriptor, &mut Entropy(&bytes(seed)), true);
    let mut task: v1::TaskInfo = drawn.transcode_to().expect("the same message");
    task.task_id.value = format!("random-{seed}");
    task.agent_id.value = offer["agent_id"]["value"].as_str().expect("an id").to_owned();
    task.resources = vec![v1::Resource {
        name: "cpus".into(),
        scalar: Some(v1::value::Scalar { value: 0.01 }),
        ..Default::default()
    }];
    task.limits.clear();
    task.check = None;
    task.health_check = None;
    let container = task.container.as_mut();
    container.into_iter().for_each(put_right);
    for time in [
        task.max_completion_time.as_mut(),
        task.kill_policy.as_mut().and_then(|policy| policy.grace_period.as_mut()),
    ] {
        time.into_iter().for_each(|time| time.nanoseconds = time.nanoseconds.saturating_abs());
    }
    match task.executor.as_mut() {
        Some(executor) => {
            put_executor_right(executor, seed, framework);
            task.command = None;
        }
        None => put_command_right(task.command.get_or_insert_default()),
    }
    task
}

fn put_executor_right(executor: &mut v1::ExecutorInfo, seed: u64, framework: &str) {
    executor.r#type = Some(v1::executor_info::Type::Custom as i32);
    executor.executor_id.value = format!("random-{seed}");
    executor.framework_id = Some(v1::FrameworkId { value: framework.to_owned() });
    executor.resources.clear();
    executor.container.iter_mut().for_each(put_right);
    put_command_right(executor.command.get_or_insert_default());
    let grace = executor.shutdown_grace_period.as_mut();
    grace.into_iter().for_each(|time| time.nanoseconds = time.nanoseconds.saturating_abs());
}

fn put_command_right(command: &mut v1::CommandInfo) {
    for variable in command.environment.iter_mut().flat_map(|environment| &mut environment.variables) {
        variable.r#type = Some(v1::environment::variable::Type::Value as i32);
        variable.value.get_or_insert_default();
        variable.secret = None;
    }
}

fn put_right(container: &mut v1::ContainerInfo) {
    container.r#type = v1::container_info::Type::Mesos as i32;
    container.volumes.clear();
    container.linux_info.iter_mut().for_each(|linux| linux.share_cgroups = None);
}

fn descriptor() -> MessageDescriptor {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("our own descriptors");
    pool.get_message_by_name("mesos.v1.TaskInfo").expect("a TaskInfo")
}

async fn launch(scheduler: &Scheduler, offer: &Value, tasks: Vec<v1::TaskInfo>) {
    use v1::{offer::operation, scheduler::call};
    let launch = v1::offer::Operation {
        r#type: Some(operation::Type::Launch as i32),
        launch: Some(operation::Launch { task_infos: tasks }),
        ..Default::default()
    };
    let id = offer["id"]["value"].as_str().expect("an id").to_owned();
    let call = v1::scheduler::Call {
        framework_id: Some(v1::FrameworkId { value: scheduler.framework.clone() }),
        r#type: Some(call::Type::Accept as i32),
        accept: Some(call::Accept {
            offer_ids: vec![v1::OfferId { value: id }],
            operations: vec![launch],
            ..Default::default()
        }),
        ..Default::default()
    };
    let headers =
        [("Content-Type", "application/x-protobuf"), ("Mesos-Stream-Id", scheduler.stream_id.as_str())];
    let reply = request(scheduler.address, "POST", SCHEDULER, &headers, &call.encode_to_vec()).await;
    assert_eq!((reply.status, reply.text().as_str()), (202, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_task_reaches_its_agent_from_the_old_leader_and_from_the_new_one() {
    let mut cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let mut agent = FakeAgent::register(cluster.address(old)).await;
    let mut scheduler = Scheduler::subscribe(cluster.address(old), framework_info("random"), &[]).await;
    let offer = scheduler.offer().await;
    let descriptor = descriptor();
    let sent: Vec<_> = (0..TASKS).map(|seed| task(&descriptor, seed, &offer, &scheduler.framework)).collect();
    launch(&scheduler, &offer, sent.clone()).await;
    let mut told = Vec::new();
    for sent in sent {
        let run = agent.run_task().await;
        let info = v1::TaskInfo::decode(run.info.clone()).expect("a TaskInfo");
        // The masters add what was allocated, and nothing else.
        assert_eq!(info.resources.len(), 1);
        let sent = v1::TaskInfo { resources: info.resources.clone(), ..sent };
        assert_eq!(info, sent);
        assert_eq!(run.info, sent.encode_to_vec(), "{}", sent.task_id.value);
        told.push((run.key, run.info));
    }

    cluster.kill(old).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = agent.attach(address, &[]).await;
    for told in told {
        let run = agent.run_task().await;
        assert_eq!((run.key, run.info), told);
    }
}
