//! What the masters know of a framework's tasks, told on request.

use mesarch_proto::mesos::v1;
use mesarch_state::{State, model::Framework};
use mesarch_types::{AgentId, FrameworkId, Reason, TaskId, TaskState, WallMillis};

use crate::status::{of_known, of_master, time};

/// Answers for the tasks asked for, or for all in the framework's table if none is named. An unknown task on an agent
/// of which it is not known what it runs gets no answer: the framework asks again.
pub(super) fn answers(
    state: &State,
    framework: &FrameworkId,
    asked: &[(TaskId, Option<AgentId>)],
    wall: WallMillis,
) -> Vec<v1::TaskStatus> {
    let Some(framework) = state.framework(framework) else {
        return Vec::new();
    };
    let aware = framework.is_partition_aware();
    if asked.is_empty() {
        let tasks = framework.tasks.iter().filter_map(|task| state.task(&framework.id, task));
        return tasks.map(|task| of_known(task, aware, wall)).collect();
    }
    // Looked for once, and only if somebody asks about a task that is unknown.
    let mut unheard: Option<bool> = None;
    let one = |(task, agent): &(TaskId, Option<AgentId>)| match state.task(&framework.id, task) {
        Some(task) => Some(of_known(task, aware, wall)),
        None => of_unknown(state, framework, task, agent.as_ref(), &mut unheard, wall),
    };
    asked.iter().filter_map(one).collect()
}

fn of_unknown(
    state: &State,
    framework: &Framework,
    task: &TaskId,
    agent: Option<&AgentId>,
    unheard: &mut Option<bool>,
    wall: WallMillis,
) -> Option<v1::TaskStatus> {
    // Tasks of unreachable agents are remembered, and so is where they were.
    let remembered = framework.unreachable.get(task);
    let agent = agent.or(remembered);
    let told = |new: TaskState, message: &str| {
        let state = if framework.is_partition_aware() { new } else { new.for_partition_unaware() };
        of_master(task, agent, state, Reason::Reconciliation, message, wall)
    };
    let Some(id) = agent else {
        let any = *unheard.get_or_insert_with(|| state.agents().any(|agent| is_unheard(state, agent)));
        return (!any).then(|| told(TaskState::Unknown, "Reconciliation: Task is unknown"));
    };
    if let Some(agent) = state.agent(id) {
        let gone = || told(TaskState::Gone, "Reconciliation: Task is unknown to the agent");
        return (!is_unheard(state, agent)).then(gone);
    }
    match state.unreachable_agent(id) {
        Some(away) => {
            let status = told(TaskState::Unreachable, "Reconciliation: Task is unreachable");
            Some(v1::TaskStatus { unreachable_time: Some(time(away.wall)), ..status })
        }
        None => Some(told(TaskState::Unknown, "Reconciliation: Task is unknown")),
    }
}

/// Whether what the agent runs is unknown: it has not attached since the cluster was restored.
fn is_unheard(state: &State, agent: &mesarch_state::model::Agent) -> bool {
    agent.incarnation != state.incarnation()
}
