//! `/metrics/snapshot`: Mesos' names, as far as they are true here. A master that does not lead says so and shows
//! nothing of the cluster, so that sums over all masters count it once.

use std::collections::BTreeMap;

use mesarch_proto::mesos::v1::scheduler::call::Type;
use mesarch_state::{State, model::Framework};
use mesarch_telemetry::Host;
use mesarch_types::{
    TaskState,
    resource::{Resources, Scalar},
};

use crate::{app::App, metrics, view::LeaderView};

/// Values by name.
pub(in crate::http) type Values = BTreeMap<String, f64>;

pub(in crate::http) fn gather(app: &App) -> Values {
    let leading = matches!(*app.view.borrow(), LeaderView::Leading(_));
    let mut values = Values::from([
        ("master/elected".to_owned(), if leading { 1.0 } else { 0.0 }),
        ("master/uptime_secs".to_owned(), app.uptime.elapsed().as_secs_f64()),
    ]);
    values.extend(Host::look().metrics().map(|(name, value)| (name.to_owned(), value)));
    count(&mut values, "operator_event_stream_subscribers", app.subscribers.count());
    for (name, amount) in calls() {
        values.insert(format!("master/messages_{name}"), amount as f64);
    }
    // A replica applies entries only once its log is open.
    values.insert("registrar/log/recovered".to_owned(), 1.0);
    if leading {
        let published = app.newest();
        agents(&published.state, &mut values);
        frameworks(&published.state, &mut values);
        tasks(&published.state, &mut values);
        resources(&published.state, &mut values);
        operations(&published.state, &mut values);
        allocator(&published.state, &mut values);
        for framework in published.state.frameworks() {
            of_framework(&published.state, framework, &mut values);
        }
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
        for revocable in [false, true] {
            let (mut total, mut used) = (Scalar::ZERO, Scalar::ZERO);
            for agent in state.agents().filter(|agent| agent.is_active()) {
                total = total.saturating_add(amount(&agent.total(), kind, revocable));
                for held in agent.ledger.used().values() {
                    used = used.saturating_add(amount(held, kind, revocable));
                }
            }
            let share = if total.is_zero() { 0.0 } else { used.to_f64() / total.to_f64() };
            let kind = if revocable { format!("{kind}_revocable") } else { kind.to_owned() };
            values.insert(format!("master/{kind}_total"), total.to_f64());
            values.insert(format!("master/{kind}_used"), used.to_f64());
            values.insert(format!("master/{kind}_percent"), share);
        }
    }
}

/// Of what may be taken back at any time, or of the rest.
fn amount(resources: &Resources, kind: &str, revocable: bool) -> Scalar {
    let all = resources.iter().filter(|resource| resource.revocable == revocable && *resource.name == *kind);
    all.filter_map(|resource| resource.value.as_scalar())
        .fold(Scalar::ZERO, |sum, amount| sum.saturating_add(amount))
}

/// Those that are known; one that has finished is known until its framework has acknowledged that.
fn operations(state: &State, values: &mut Values) {
    let pending = state.operations().filter(|operation| !operation.finished).count();
    count(values, "operations/total", state.operations().count());
    count(values, "operations/pending", pending);
}

fn allocator(state: &State, values: &mut Values) {
    for kind in ["cpus", "mem", "disk"] {
        let (mut total, mut taken) = (Scalar::ZERO, Scalar::ZERO);
        for agent in state.agents() {
            total = total.saturating_add(amount(&agent.total(), kind, false));
            for held in agent.ledger.used().values().chain(agent.ledger.offered().values()) {
                taken = taken.saturating_add(amount(held, kind, false));
            }
        }
        values.insert(format!("allocator/mesos/resources/{kind}/total"), total.to_f64());
        values.insert(format!("allocator/mesos/resources/{kind}/offered_or_allocated"), taken.to_f64());
    }
    for quota in state.quotas() {
        let bounds = [("guarantee", quota.guarantees()), ("limit", quota.limits())];
        for (bound, amounts) in bounds {
            for (kind, amount) in amounts.iter() {
                let name = format!("allocator/mesos/quota/roles/{}/resources/{kind}/{bound}", quota.role());
                values.insert(name, amount.to_f64());
            }
        }
    }
}

fn of_framework(state: &State, framework: &Framework, values: &mut Values) {
    let name = url_encoded(&framework.spec.name);
    let prefix = format!("master/frameworks/{name}/{}", framework.id);
    let yes = |yes: bool| if yes { 1.0 } else { 0.0 };
    values.insert(format!("{prefix}/subscribed"), yes(framework.is_connected()));
    for role in &framework.spec.roles {
        let suppressed = yes(framework.suppressed.contains(role));
        values.insert(format!("{prefix}/roles/{role}/suppressed"), suppressed);
    }
    for task in state.tasks_of(&framework.id).filter(|task| !task.state.is_terminal()) {
        let name = format!("{prefix}/tasks/active/{}", task.state.name().to_lowercase());
        *values.entry(name).or_default() += 1.0;
    }
}

/// As Mesos encodes names in metrics: whatever is not a letter, a digit or one of `-_.~` by its bytes.
fn url_encoded(name: &str) -> String {
    let encoded = name.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}

/// Calls of frameworks since this process started, by the names of the messages that they once were.
fn calls() -> [(&'static str, u64); 12] {
    [
        ("unregister_framework", Type::Teardown),
        ("kill_task", Type::Kill),
        ("status_update_acknowledgement", Type::Acknowledge),
        ("operation_status_update_acknowledgement", Type::AcknowledgeOperationStatus),
        ("resource_request", Type::Request),
        ("launch_tasks", Type::Accept),
        ("decline_offers", Type::Decline),
        ("revive_offers", Type::Revive),
        ("suppress_offers", Type::Suppress),
        ("reconcile_tasks", Type::Reconcile),
        ("reconcile_operations", Type::ReconcileOperations),
        ("framework_to_executor", Type::Message),
    ]
    .map(|(name, kind)| (name, metrics::calls_of(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_names_of_metrics_are_encoded() {
        assert_eq!(url_encoded("a-B_9.~/x y%é"), "a-B_9.~%2Fx%20y%25%C3%A9");
    }
}
