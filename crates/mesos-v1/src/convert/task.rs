//! `mesos.v1.Task`: a task as operators see it, alike at masters and at agents.

use bytes::Bytes;
use mesarch_proto::mesos::v1::{
    AgentId, ExecutorId, FrameworkId, Resource, Task, TaskId, TaskInfo, TaskState, TaskStatus,
};

/// What is known of a task beside its description.
#[derive(Clone, Debug)]
pub struct Course {
    /// Whose it is.
    pub framework: String,
    /// Where it runs.
    pub agent: String,
    /// As it is told.
    pub state: TaskState,
    /// What it holds.
    pub resources: Vec<Resource>,
    /// Oldest first.
    pub statuses: Vec<TaskStatus>,
    /// State and uuid of the newest update that went on to the framework.
    pub forwarded: Option<(TaskState, Option<Bytes>)>,
}

/// The task. `id` counts, whatever the description says.
pub fn task_to_v1(id: &str, info: TaskInfo, course: Course) -> Task {
    let executor_command = info.executor.as_ref().and_then(|executor| executor.command.as_ref());
    let user = info.command.as_ref().or(executor_command).and_then(|command| command.user.clone());
    let (forwarded_state, forwarded_uuid) = course.forwarded.unzip();
    Task {
        name: info.name,
        task_id: TaskId { value: id.to_owned() },
        framework_id: FrameworkId { value: course.framework },
        // A command task has none: its executor is the agent's own.
        executor_id: info.executor.map(|executor| ExecutorId { value: executor.executor_id.value }),
        agent_id: AgentId { value: course.agent },
        state: course.state as i32,
        resources: course.resources,
        statuses: course.statuses,
        status_update_state: forwarded_state.map(|state| state as i32),
        status_update_uuid: forwarded_uuid.flatten(),
        labels: info.labels,
        discovery: info.discovery,
        container: info.container,
        health_check: info.health_check,
        kill_policy: info.kill_policy,
        user,
        limits: info.limits,
    }
}
