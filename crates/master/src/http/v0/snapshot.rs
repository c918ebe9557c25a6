//! `/metrics/snapshot`: Mesos' names, as far as they are true here. A master that does not lead says so and shows
//! nothing of the cluster, so that sums over all masters count it once.

use std::collections::BTreeMap;

use mesarch_state::State;
use mesarch_telemetry::Host;
use mesarch_types::{TaskState, resource::Scalar};

use crate::{app::App, view::LeaderView};

/// Values by name.
pub(in crate::http) type Values = BTreeMap<String, f64>;

pub(in crate::http) fn gather(app: &App) -> Values {
    let leading = matches!(*app.view.borrow(), LeaderView::Leading(_));
    let mut values = Values::from([
        ("master/elected".to_owned(), if leading { 1.0 } else { 0.0 }),
        ("master/uptime_secs".to_owned(), app.uptime.elapsed().as_secs_f64()),
    ]);
    values.extend(Host::look().metrics().map(|(name, value)| (name.to_owned(), value)));
    if leading {
        let published = app.newest();
        agents(&published.state, &mut values);
        frameworks(&published.state, &mut values);
        tasks(&published.state, &mut values);
        resources(&published.state, &mut values);
        let offers = published.state.counts().offers;
        values.insert("master/outstanding_offers".to_owned(), offers as f64);
    }
    values
}

fn count(values: &mut Values, name: &str, amount: usize) {
    values.insert(format!("master/{name}"), amount as f64);
}

fn agents(state: &State, values: &mut Values) {
    let all = state.counts().agents;
    let connected = state.agents().filter(|agent| agent.is_attached()).count();
    let active = state.agents().filter(|agent| agent.is_active()).count();
    count(values, "slaves_connected", connected);
    count(values, "slaves_disconnected", all - connected);
    count(values, "slaves_active", active);
    count(values, "slaves_inactive", all - active);
    count(values, "slaves_unreachable", state.counts().unreachable_agents);
}

fn frameworks(state: &State, values: &mut Values) {
    let all = state.counts().frameworks;
    let connected = state.frameworks().filter(|framework| framework.is_connected()).count();
    let suppressed = |framework: &&mesarch_state::model::Framework| {
        !framework.spec.roles.is_empty() && framework.suppressed.is_superset(&framework.spec.roles)
    };
    count(values, "frameworks_connected", connected);
    count(values, "frameworks_active", connected);
    count(values, "frameworks_disconnected", all - connected);
    count(values, "frameworks_inactive", all - connected);
    count(values, "frameworks_suppressed", state.frameworks().filter(suppressed).count());
}

fn tasks(state: &State, values: &mut Values) {
    let mut by_state: BTreeMap<TaskState, usize> = BTreeMap::new();
    state.tasks().for_each(|task| *by_state.entry(task.state).or_default() += 1);
    let live = [TaskState::Staging, TaskState::Starting, TaskState::Running, TaskState::Killing];
    for task_state in live {
        let name = task_state.name().trim_start_matches("TASK_").to_lowercase();
        count(values, &format!("tasks_{name}"), by_state.get(&task_state).copied().unwrap_or(0));
    }
    let away = state.unreachable_agents().map(|agent| agent.tasks.len()).sum();
    count(values, "tasks_unreachable", away);
    count(values, "executors", state.counts().executors);
}

fn resources(state: &State, values: &mut Values) {
    for kind in ["cpus", "mem", "disk", "gpus"] {
        let (mut total, mut used) = (Scalar::ZERO, Scalar::ZERO);
        for agent in state.agents().filter(|agent| agent.is_active()) {
            total = total.saturating_add(agent.total().quantities().get(kind));
            for held in agent.ledger.used().values() {
                used = used.saturating_add(held.quantities().get(kind));
            }
        }
        let share = if total.is_zero() { 0.0 } else { used.to_f64() / total.to_f64() };
        values.insert(format!("master/{kind}_total"), total.to_f64());
        values.insert(format!("master/{kind}_used"), used.to_f64());
        values.insert(format!("master/{kind}_percent"), share);
    }
}
