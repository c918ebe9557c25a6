//! `/metrics/snapshot`: Mesos' names, as far as they are true here.

use std::collections::BTreeMap;

use mesarch_agent_core::RunPhase;
use mesarch_telemetry::Host;
use mesarch_types::TaskState;

use super::state::{Look, resources};

/// Values by name.
pub(super) fn gather(look: &Look) -> BTreeMap<String, f64> {
    let mut values: BTreeMap<String, f64> =
        Host::look().metrics().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut set = |name: &str, value: f64| {
        values.insert(format!("slave/{name}"), value);
    };
    set("uptime_secs", look.facts.since.elapsed().as_secs_f64());
    set("registered", f64::from(u8::from(look.core.attached())));
    set("frameworks_active", look.core.durable().frameworks.len() as f64);
    set("container_launch_errors", look.launch_failures as f64);
    set("valid_status_updates", look.history.counts().updates as f64);
    set("invalid_status_updates", look.calls.updates_refused as f64);
    set("valid_framework_messages", look.calls.messages as f64);
    set("invalid_framework_messages", look.calls.messages_refused as f64);
    tasks(look, &mut set);
    executors(look, &mut set);
    amounts(look, &mut set);
    let (opened, open) = look.streams_of_providers;
    let of_providers =
        [("subscribed", open), ("events/subscribe", opened), ("events/disconnect", opened - open)];
    values.extend(
        of_providers.map(|(name, value)| (format!("resource_provider_manager/{name}"), value as f64)),
    );
    values
}

fn tasks(look: &Look, set: &mut impl FnMut(&str, f64)) {
    let mut now = BTreeMap::<TaskState, u64>::new();
    look.history.live().for_each(|(_, told)| *now.entry(told.state).or_default() += 1);
    let name =
        |state: TaskState| format!("tasks_{}", state.name().trim_start_matches("TASK_").to_lowercase());
    for state in [TaskState::Staging, TaskState::Starting, TaskState::Running, TaskState::Killing] {
        set(&name(state), now.get(&state).copied().unwrap_or_default() as f64);
    }
    let ended = &look.history.counts().tasks;
    for state in [TaskState::Finished, TaskState::Failed, TaskState::Killed, TaskState::Lost, TaskState::Gone]
    {
        set(&name(state), ended.get(&state).copied().unwrap_or_default() as f64);
    }
}

fn executors(look: &Look, set: &mut impl FnMut(&str, f64)) {
    let (mut registering, mut running, mut terminating) = (0_u32, 0_u32, 0_u32);
    for view in look.core.runs() {
        match view.phase {
            RunPhase::Starting | RunPhase::Recovering => registering += 1,
            RunPhase::Subscribed | RunPhase::Disconnected => running += 1,
            RunPhase::Ending => terminating += 1,
        }
    }
    set("executors_registering", f64::from(registering));
    set("executors_running", f64::from(running));
    set("executors_terminating", f64::from(terminating));
    set("executors_terminated", look.history.counts().runs as f64);
}

fn amounts(look: &Look, set: &mut impl FnMut(&str, f64)) {
    let total = resources(&look.identity.info.resources).quantities();
    let used = look.allocated().quantities();
    for kind in ["cpus", "gpus", "mem", "disk"] {
        let (total, used) = (total.get(kind).to_f64(), used.get(kind).to_f64());
        set(&format!("{kind}_total"), total);
        set(&format!("{kind}_used"), used);
        set(&format!("{kind}_percent"), if total > 0.0 { used / total } else { 0.0 });
    }
}
