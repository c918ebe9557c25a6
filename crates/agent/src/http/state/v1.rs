//! The lists of the v1 API: tasks, executors, frameworks, and the agent itself.

use mesarch_mesos_v1::{
    convert::{Course, task_to_v1},
    writer::{Field, Fields},
};
use mesarch_proto::mesos::v1::{
    self, AgentInfo, ExecutorInfo, FrameworkInfo, Task, TaskStatus,
    agent::response::{get_executors, get_frameworks},
};
use mesarch_types::TaskState;
use prost::Message;

use super::{FrameworkSpec, Look, Run, TaskKey, Told, task_info};
use mesarch_agent_core::ExecutorSpec;

/// All lists of one and the same moment.
pub(in crate::http) fn write_state(look: &Look, out: &mut Fields<'_>) {
    out.message(Field("get_tasks", 1), |lists| write_tasks(look, lists));
    out.message(Field("get_executors", 2), |lists| write_executors(look, lists));
    out.message(Field("get_frameworks", 3), |lists| write_frameworks(look, lists));
}

/// Nothing is pending: a task is known from when its launch is stored, and waits for its executor at most.
pub(in crate::http) fn write_tasks(look: &Look, out: &mut Fields<'_>) {
    let live = || look.history.live();
    let show = |(key, told)| task(look, key, told);
    let is_over = |told: &Told| told.state.is_terminal();
    let queued = live().filter(|(key, told)| look.is_queued(key, told));
    let launched = live().filter(|(key, told)| !is_over(told) && !look.is_queued(key, told));
    out.list(Field("pending_tasks", 1), [] as [Task; 0]);
    out.list(Field("queued_tasks", 2), queued.map(show));
    out.list(Field("launched_tasks", 3), launched.map(show));
    out.list(Field("terminated_tasks", 4), live().filter(|(_, told)| is_over(told)).map(show));
    out.list(Field("completed_tasks", 5), look.history.completed().map(|(key, told)| show((key, told))));
}

pub(in crate::http) fn write_executors(look: &Look, out: &mut Fields<'_>) {
    let running = look.core.durable().runs.iter();
    let running = running.map(|(key, facts)| executor(&key.run(&facts.container), &facts.spec));
    out.list(Field("executors", 1), running);
    let ended = look.history.ended().map(|past| executor(&past.run, &past.spec));
    out.list(Field("completed_executors", 2), ended);
}

/// A framework is completed when nothing of it is here any more but the memory of an ended run.
pub(in crate::http) fn write_frameworks(look: &Look, out: &mut Fields<'_>) {
    let here = &look.core.durable().frameworks;
    out.list(Field("frameworks", 1), here.values().map(|facts| framework(&facts.spec)));
    let (ended, _) = look.past();
    let over = ended.into_iter().filter(|(id, _)| !here.contains_key(*id));
    let newest = over.filter_map(|(_, runs)| Some(framework(&runs.last()?.framework)));
    out.list(Field("completed_frameworks", 2), newest);
}

/// As the masters know it.
pub(in crate::http) fn agent_info(look: &Look) -> AgentInfo {
    let id = look.core.id().map(|id| v1::AgentId { value: id.to_string() });
    AgentInfo { id, ..look.identity.info.clone() }
}

/// With the framework that it belongs to, which executors' own descriptions may leave out.
fn executor(run: &Run, spec: &ExecutorSpec) -> get_executors::Executor {
    let framework_id = Some(v1::FrameworkId { value: run.framework.to_string() });
    let info = ExecutorInfo::decode(spec.info.clone()).unwrap_or_default();
    get_executors::Executor { executor_info: ExecutorInfo { framework_id, ..info } }
}

fn framework(spec: &FrameworkSpec) -> get_frameworks::Framework {
    let id = Some(v1::FrameworkId { value: spec.id.to_string() });
    let info = FrameworkInfo::decode(spec.info.clone()).unwrap_or_default();
    get_frameworks::Framework { framework_info: FrameworkInfo { id, ..info } }
}

fn task(look: &Look, key: &TaskKey, told: &Told) -> Task {
    let info = task_info(told);
    let run = told.container.as_ref().map(|container| Run {
        framework: key.framework.clone(),
        executor: told.executor.clone(),
        container: container.clone(),
    });
    // The executor's own data is for the framework alone.
    let status = |update| {
        let status = TaskStatus::decode(look.renderer.status(key, update, run.as_ref())).unwrap_or_default();
        TaskStatus { data: None, ..status }
    };
    let newest = told.statuses.back();
    let course = Course {
        framework: key.framework.to_string(),
        agent: look.renderer.agent.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: v1_state(told.state),
        resources: info.resources.clone(),
        statuses: told.statuses.iter().map(status).collect(),
        forwarded: newest.map(|update| (v1_state(update.state), Some(crate::wire::uuid_to(update.uuid)))),
    };
    task_to_v1(key.task.as_str(), info, course)
}

/// The same number in the API.
fn v1_state(state: TaskState) -> v1::TaskState {
    v1::TaskState::try_from(state as i32).unwrap_or_default()
}
