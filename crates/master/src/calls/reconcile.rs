//! What the masters know of a framework's tasks, told on request.

use std::vec::IntoIter;

use mesarch_proto::mesos::v1;
use mesarch_state::{State, model::Framework};
use mesarch_types::{AgentId, FrameworkId, Reason, TaskId, TaskState, WallMillis};

use crate::{
    clock::wall_now,
    events,
    machine::Outlets,
    status::{of_known, of_master, time},
    streams::Stream,
};

/// So many answers are read from one state and queued in one turn of the stream.
const PIECE_TASKS: usize = 64;

/// A task that is asked for, and where the framework believes it to be.
pub(super) type Asked = (TaskId, Option<AgentId>);

/// A reconciliation that is being answered.
pub(super) struct Reconciliation {
    rest: IntoIter<Asked>,
    /// The framework asked for all it has: what went meanwhile is told by its last update.
    known_only: bool,
    /// Whether there is an agent of which it is not known what it runs. Looked for once, and only if somebody asks about
    /// a task that is unknown. No agent becomes such a one while a leader leads.
    unheard: Option<bool>,
}

/// Whether the answer is more than a worker should give in one go.
pub(super) fn is_large(state: &State, framework: &FrameworkId, asked: usize) -> bool {
    let all = || state.framework(framework).map_or(0, |framework| framework.tasks.len());
    (if asked == 0 { all() } else { asked }) > PIECE_TASKS
}

/// Queues the answers for the tasks asked for, or for all in the framework's table if none is named.
pub(super) fn answer(outlets: &Outlets, stream: &Stream, asked: Vec<Asked>) {
    let mut reconciliation = Reconciliation::new(&outlets.newest().state, &stream.framework, asked);
    stream.push_answers(|| {
        let statuses = reconciliation.next_piece(&outlets.newest().state, &stream.framework, wall_now())?;
        Some(statuses.into_iter().map(events::update).collect())
    });
}

impl Reconciliation {
    pub(super) fn new(state: &State, framework: &FrameworkId, asked: Vec<Asked>) -> Self {
        let known_only = asked.is_empty();
        let framework = state.framework(framework).filter(|_| known_only);
        let all =
            framework.map(|framework| framework.tasks.iter().map(|task| (task.clone(), None)).collect());
        Self { rest: all.unwrap_or(asked).into_iter(), known_only, unheard: None }
    }

    /// Answers for the next tasks; none at the end. An unknown task on an agent of which it is not known what it runs
    /// gets no answer: the framework asks again.
    pub(super) fn next_piece(
        &mut self,
        state: &State,
        framework: &FrameworkId,
        wall: WallMillis,
    ) -> Option<Vec<v1::TaskStatus>> {
        let framework = state.framework(framework)?;
        if self.rest.len() == 0 {
            return None;
        }
        let Self { rest, known_only, unheard } = self;
        let one = |(task, agent): Asked| match state.task(&framework.id, &task) {
            Some(task) => Some(of_known(task, framework.is_partition_aware(), wall)),
            None if *known_only => None,
            None => of_unknown(state, framework, &task, agent.as_ref(), unheard, wall),
        };
        Some(rest.take(PIECE_TASKS).filter_map(one).collect())
    }
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
        None if state.gone_agent(id).is_some() => {
            Some(told(TaskState::GoneByOperator, "Reconciliation: Task is gone"))
        }
        None => Some(told(TaskState::Unknown, "Reconciliation: Task is unknown")),
    }
}

/// Whether what the agent runs is unknown: it has not attached since the cluster was restored.
fn is_unheard(state: &State, agent: &mesarch_state::model::Agent) -> bool {
    agent.incarnation != state.incarnation()
}
