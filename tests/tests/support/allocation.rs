//! What agents have given away, read from a leader's `/state`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use mesarch_client::build::is_terminal;
use mesarch_client::v1::TaskState;
use serde_json::Value;

/// Kinds of resources that the tests' tasks use.
const KINDS: [&str; 2] = ["cpus", "mem"];
/// Amounts are thousandths, shown as floats.
const HALF_A_THOUSANDTH: f64 = 0.0005;

/// All tasks of all registered frameworks that have not ended, by id.
pub(crate) fn live_tasks(state: &Value) -> BTreeMap<&str, &Value> {
    let frameworks = state["frameworks"].as_array().into_iter().flatten();
    let tasks = frameworks.flat_map(|framework| framework["tasks"].as_array().into_iter().flatten());
    let live = tasks.filter(|task| !has_ended(task));
    live.filter_map(|task| Some((task["id"].as_str()?, task))).collect()
}

/// The ids of all tasks that are told of, ended ones and those of completed frameworks too.
pub(crate) fn all_tasks(state: &Value) -> BTreeSet<&str> {
    let frameworks = ["frameworks", "completed_frameworks"].map(|list| state[list].as_array());
    let lists = frameworks.into_iter().flatten().flatten().flat_map(|framework| {
        ["tasks", "unreachable_tasks", "completed_tasks"].map(|list| framework[list].as_array())
    });
    lists.flatten().flatten().filter_map(|task| task["id"].as_str()).collect()
}

fn has_ended(task: &Value) -> bool {
    task["state"].as_str().and_then(TaskState::from_str_name).is_none_or(is_terminal)
}

/// Fails if an agent has given away more than it has, by its own account or by the sum of its live tasks.
pub(crate) fn check_allocation(state: &Value) -> Result<()> {
    let tasks = live_tasks(state);
    for agent in state["slaves"].as_array().context("no list of agents")? {
        for kind in KINDS {
            let amount =
                |of: &str| agent[of][kind].as_f64().with_context(|| format!("{of} without {kind}: {agent}"));
            let (total, used, offered) =
                (amount("resources")?, amount("used_resources")?, amount("offered_resources")?);
            let on_agent = tasks.values().filter(|task| task["slave_id"] == agent["id"]);
            let needed: f64 = on_agent.filter_map(|task| task["resources"][kind].as_f64()).sum();
            let fits = used + offered <= total + HALF_A_THOUSANDTH && needed <= used + HALF_A_THOUSANDTH;
            ensure!(
                fits,
                "{kind} of agent {}: total {total}, used {used}, offered {offered}, needed by its tasks {needed}",
                agent["id"]
            );
        }
    }
    Ok(())
}

#[test]
fn giving_away_more_than_there_is_is_found_either_way() {
    let state = |used: f64, offered: f64, task: f64| {
        serde_json::json!({
            "slaves": [{ "id": "S", "resources": { "cpus": 4.0, "mem": 64.0 },
                "used_resources": { "cpus": used, "mem": 0 }, "offered_resources": { "cpus": offered, "mem": 0 } }],
            "frameworks": [{ "tasks": [
                { "id": "t", "slave_id": "S", "state": "TASK_RUNNING", "resources": { "cpus": task, "mem": 0 } },
                { "id": "u", "slave_id": "S", "state": "TASK_FINISHED", "resources": { "cpus": 9, "mem": 9 } }] }],
        })
    };
    let table = [
        (0.0, 0.0, 0.0, true),
        (1.0, 3.0, 1.0, true),
        (1.001, 3.0, 1.0, false),
        (5.0, 0.0, 1.0, false),
        (1.0, 0.0, 1.5, false),
    ];
    for (used, offered, task, good) in table {
        assert_eq!(check_allocation(&state(used, offered, task)).is_ok(), good, "{used} {offered} {task}");
    }
    assert!(check_allocation(&Value::Null).is_err());
}
