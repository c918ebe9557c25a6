//! `/state-summary`: agents and frameworks with counts of tasks in place of the tasks.

use std::{collections::HashMap, rc::Rc};

use mesarch_state::{State, model::Framework};
use mesarch_types::{AgentId, TaskState};
use serde::{
    Serialize,
    ser::{SerializeMap, Serializer},
};

use super::{
    each::Each,
    frameworks::{ShortFramework, short},
    model::{SlaveView, slave},
};
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
struct SummaryView<'a, S: Serialize, F: Serialize> {
    hostname: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    cluster: &'a str,
    slaves: S,
    frameworks: F,
}

#[derive(Serialize)]
struct SlaveSummary<'a> {
    #[serde(flatten)]
    slave: SlaveView<'a>,
    #[serde(flatten)]
    tasks: Counts,
    framework_ids: Vec<&'a str>,
}

#[derive(Serialize)]
struct FrameworkSummary<'a> {
    #[serde(flatten)]
    framework: ShortFramework<'a>,
    #[serde(flatten)]
    tasks: Counts,
    slave_ids: Vec<&'a str>,
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

/// What is found of an agent, or of a framework: its tasks, and whose they are or where.
#[derive(Clone, Default)]
struct Found<'a> {
    counts: Counts,
    others: Vec<&'a str>,
}

/// What one pass over all tasks of registered frameworks finds.
struct Pass<'a> {
    of_agents: HashMap<&'a str, Found<'a>>,
    of_frameworks: Vec<Found<'a>>,
}

impl<'a> Pass<'a> {
    fn over(state: &'a State) -> Self {
        let mut pass = Self { of_agents: HashMap::new(), of_frameworks: Vec::new() };
        for framework in state.frameworks() {
            let mut found = Found::default();
            let live = state.tasks_of(&framework.id).map(|task| (&task.agent, task.state));
            let ended = framework.completed.iter().map(|task| (&task.agent, task.state));
            let away = framework.unreachable.values().map(|agent| (agent, TaskState::Unreachable));
            for (agent, task_state) in live.chain(ended).chain(away) {
                let told = match task_state {
                    TaskState::Unreachable if !framework.is_partition_aware() => {
                        task_state.for_partition_unaware()
                    }
                    _ => task_state,
                };
                found.counts.add(told);
                pass.add(agent, framework, told, &mut found);
            }
            found.others.sort_unstable();
            pass.of_frameworks.push(found);
        }
        pass
    }

    /// Frameworks come one after the other, in order: an agent has met this one if it is the last that it met.
    fn add(&mut self, agent: &'a AgentId, framework: &'a Framework, told: TaskState, found: &mut Found<'a>) {
        let on_agent = self.of_agents.entry(agent.as_str()).or_default();
        on_agent.counts.add(told);
        if on_agent.others.last() != Some(&framework.id.as_str()) {
            on_agent.others.push(framework.id.as_str());
            found.others.push(agent.as_str());
        }
    }
}

pub(super) fn summary<'a>(app: &'a App, state: &'a State) -> impl Serialize + use<'a> {
    let Pass { of_agents, of_frameworks } = Pass::over(state);
    let of_agents = Rc::new(of_agents);
    SummaryView {
        hostname: app.facts.host().to_owned(),
        cluster: &app.options.cluster,
        slaves: Each(move || {
            let of_agents = of_agents.clone();
            state.agents().map(move |agent| {
                let found = of_agents.get(agent.id.as_str()).cloned().unwrap_or_default();
                SlaveSummary { slave: slave(agent, false), tasks: found.counts, framework_ids: found.others }
            })
        }),
        frameworks: Each(move || {
            state.frameworks().zip(of_frameworks.clone()).map(|(framework, found)| FrameworkSummary {
                framework: short(state, framework),
                tasks: found.counts,
                slave_ids: found.others,
            })
        }),
    }
}
