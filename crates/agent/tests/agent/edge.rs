//! Whatever comes over the socket, the agent answers, and life goes on.

use mesarch_proto::mesos::v1::TaskState;

use crate::{
    bytes,
    master::Master,
    process::{Process, shell},
};

#[tokio::test]
async fn random_requests_do_not_harm_an_agent() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.idle_during(bytes::throw_at(agent.address)).await;
    master.run(&shell("t", "exit 0"), 1).await;
    let finished = [TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskFinished];
    master.goes_through(&finished).await;
}
