//! `/state-summary`: agents and frameworks with counts of tasks in place of the tasks.

use std::collections::{BTreeMap, BTreeSet};

use mesarch_state::{State, model::Framework};
use mesarch_types::{AgentId, FrameworkId, TaskState};
use serde::{
    Serialize,
    ser::{SerializeMap, Serializer},
};

use super::model::{ShortFramework, SlaveView, short, slave};
use crate::app::App;

/// States that are counted, in this order.
const COUNTED: [TaskState; 10] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Killed,
    TaskState::Failed,
    TaskState::Lost,
    TaskState::Error,
    TaskState::Unreachable,
];

#[derive(Serialize)]
pub(super) struct SummaryView<'a> {
    hostname: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    cluster: &'a str,
    slaves: Vec<SlaveSummary<'a>>,
    frameworks: Vec<FrameworkSummary<'a>>,
}

#[derive(Serialize)]
struct SlaveSummary<'a> {
    #[serde(flatten)]
    slave: SlaveView<'a>,
    #[serde(flatten)]
    tasks: Counts,
    framework_ids: BTreeSet<&'a str>,
}

#[derive(Serialize)]
struct FrameworkSummary<'a> {
    #[serde(flatten)]
    framework: ShortFramework<'a>,
    #[serde(flatten)]
    tasks: Counts,
    slave_ids: BTreeSet<&'a str>,
}

/// Tasks by state; states that Mesos does not count here are not kept.
#[derive(Clone, Copy, Default)]
struct Counts([u64; COUNTED.len()]);

impl Counts {
    fn add(&mut self, state: TaskState) {
        if let Some(place) = COUNTED.iter().position(|counted| *counted == state) {
            self.0[place] += 1;
        }
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COUNTED.len()))?;
        for (state, count) in COUNTED.iter().zip(self.0) {
            map.serialize_entry(state.name(), &count)?;
        }
        map.end()
    }
}

/// What one pass over all tasks of registered frameworks finds.
#[derive(Default)]
struct Found<'a> {
    of_agents: BTreeMap<&'a AgentId, (Counts, BTreeSet<&'a str>)>,
    of_frameworks: BTreeMap<&'a FrameworkId, (Counts, BTreeSet<&'a str>)>,
}

impl<'a> Found<'a> {
    fn among(state: &'a State) -> Self {
        let mut found = Self::default();
        for framework in state.frameworks() {
            state.tasks_of(&framework.id).for_each(|task| found.add(framework, &task.agent, task.state));
            let ended = framework.completed.iter();
            ended.for_each(|task| found.add(framework, &task.agent, task.state));
            let away = framework.unreachable.values();
            away.for_each(|agent| found.add(framework, agent, TaskState::Unreachable));
        }
        found
    }

    fn add(&mut self, framework: &'a Framework, agent: &'a AgentId, state: TaskState) {
        let told = match state {
            TaskState::Unreachable if !framework.is_partition_aware() => state.for_partition_unaware(),
            _ => state,
        };
        let (counts, frameworks) = self.of_agents.entry(agent).or_default();
        counts.add(told);
        frameworks.insert(framework.id.as_str());
        let (counts, agents) = self.of_frameworks.entry(&framework.id).or_default();
        counts.add(told);
        agents.insert(agent.as_str());
    }
}

pub(super) fn summary<'a>(app: &'a App, state: &'a State) -> SummaryView<'a> {
    let mut found = Found::among(state);
    let slaves = state.agents().map(|agent| {
        let (tasks, framework_ids) = found.of_agents.remove(&agent.id).unwrap_or_default();
        SlaveSummary { slave: slave(agent, false), tasks, framework_ids }
    });
    let slaves = slaves.collect();
    let frameworks = state.frameworks().map(|framework| {
        let (tasks, slave_ids) = found.of_frameworks.remove(&framework.id).unwrap_or_default();
        FrameworkSummary { framework: short(state, framework), tasks, slave_ids }
    });
    SummaryView {
        hostname: app.facts.host().to_owned(),
        cluster: &app.options.cluster,
        slaves,
        frameworks: frameworks.collect(),
    }
}
