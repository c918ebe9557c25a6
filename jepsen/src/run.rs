//! One run: set-up, load and faults together, the end of both, and the check.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use mesarch_client::operator::Operator;
use mesarch_testkit::{Cluster, Settings, wait_for_within};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    checker::{self, Anomaly, Promise},
    history::{self, Event, Kind, Marks, Recorder},
    nemesis::{Nemesis, Trouble},
    report::Verdict,
    workload::{Framework, Order},
};

/// What every agent has.
const RESOURCES: &str = "--resources=cpus:2;mem:1024";
/// Frameworks of the load.
const FRAMEWORKS: u32 = 2;
/// How long everything that was begun may take to end after the last fault.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);
/// How often the agents' accounts are looked at.
const ACCOUNT_EVERY: Duration = Duration::from_millis(200);

/// What to do.
pub(crate) struct Plan {
    pub(crate) nemesis: Nemesis,
    pub(crate) seed: u64,
    pub(crate) time: Duration,
    pub(crate) masters: usize,
    pub(crate) agents: usize,
    pub(crate) history: Option<PathBuf>,
}

/// Runs it. An error is a failure of the harness and says nothing about the cluster.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<Verdict> {
    let settings = Settings {
        master_flags: vec!["--allocation-interval=200ms".into()],
        agent_flags: vec![RESOURCES.into()],
    };
    let mut cluster =
        Cluster::start(plan.masters, plan.agents, settings).await.context("cannot start the cluster")?;
    let recorder = Recorder::new();
    let marks = cluster.dir().join("marks");
    let begun = Arc::new(Notify::new());
    let mut frameworks = Vec::new();
    for number in 1..=FRAMEWORKS {
        let masters = cluster.addresses();
        frameworks.push(
            Framework::start(number, masters, plan.seed, marks.clone(), &recorder, begun.clone()).await?,
        );
    }
    let accounts = watch_accounts(cluster.operator(), recorder.clone());
    let mut faults = 0;
    let struck = strike_until_over(&plan, &mut cluster, &frameworks, &recorder, &begun, &mut faults).await;
    let struck = match struck {
        // What is left undone by the harness must not look like a promise that was broken.
        Err(Trouble::Harness(error)) => {
            accounts.abort();
            return Err(error).context("a fault could not be brought about");
        }
        Err(Trouble::Cluster(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    let settled = settle(&frameworks).await;
    accounts.abort();
    let (entries, marks) = (recorder.entries(), Marks::read(&marks));
    let mut anomalies = checker::check(&entries, &marks);
    for outcome in [struck, settled, all_run(&mut cluster)] {
        anomalies.extend(outcome.err().map(|error| not_whole(&error)));
    }
    let file = write_history(plan.history, &history::to_edn(&entries))?;
    let mut kept = vec![file];
    if !anomalies.is_empty() {
        kept.push(cluster.keep_files().to_owned());
    }
    Ok(Verdict::new(plan.nemesis, faults, anomalies, &entries, &kept))
}

fn not_whole(error: &anyhow::Error) -> Anomaly {
    Anomaly { promise: Promise::ComesBack, about: "the cluster".to_owned(), seen: format!("{error:#}") }
}

/// Faults until the time is over, counted in `faults`. After each one everything open is reconciled. An error if the
/// cluster does not recover from one.
async fn strike_until_over(
    plan: &Plan,
    cluster: &mut Cluster,
    frameworks: &[Framework],
    recorder: &Recorder,
    begun: &Notify,
    faults: &mut usize,
) -> Result<(), Trouble> {
    let end = Instant::now() + plan.time;
    let mut random = StdRng::seed_from_u64(plan.seed);
    loop {
        sleep_until(end.min(Instant::now() + Nemesis::rest(&mut random))).await;
        if Instant::now() >= end {
            return Ok(());
        }
        if plan.nemesis == Nemesis::None {
            continue;
        }
        recorder.record(Kind::Info, Event::Fault { what: "begins".to_owned() });
        let what = plan.nemesis.strike(cluster, &mut random, begun).await?;
        recorder.record(Kind::Info, Event::Fault { what });
        *faults += 1;
        for framework in frameworks {
            framework
                .orders
                .send(Order::Reconcile)
                .await
                .context("a framework's subscription ended by itself")
                .map_err(Trouble::Cluster)?;
        }
    }
}

/// No new wishes; waits until everything open has ended. An error if it has not in time: the other checks tell what.
async fn settle(frameworks: &[Framework]) -> anyhow::Result<()> {
    for framework in frameworks {
        framework.stop.send_replace(true);
    }
    wait_for_within(SETTLE_WITHIN, "the end of every task", async || {
        let open: usize = frameworks.iter().map(|framework| *framework.open.borrow()).sum();
        (open == 0).then_some(())
    })
    .await?;
    let ended = frameworks.iter().any(|framework| framework.task.is_finished());
    ensure!(!ended, "a framework's subscription ended by itself");
    Ok(())
}

/// Records what each agent has given away, whenever a leader can be asked.
fn watch_accounts(operator: Operator, recorder: Recorder) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            if let Ok(state) = operator.state().await {
                state["slaves"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .for_each(|agent| record_account(agent, &recorder));
            }
            sleep(ACCOUNT_EVERY).await;
        }
    })
}

fn record_account(agent: &Value, recorder: &Recorder) {
    let name = agent["id"].as_str().unwrap_or_default().to_owned();
    for resource in ["cpus", "mem"] {
        let amount = |of: &str| agent[of][resource].as_f64();
        let given = amount("used_resources").zip(amount("offered_resources"));
        let event = match (amount("resources"), given) {
            (Some(total), Some((used, offered))) if !name.is_empty() => {
                Event::Account { agent: name.clone(), resource, total, given: used + offered }
            }
            _ => Event::Unreadable { agent: name.clone(), resource },
        };
        recorder.record(Kind::Info, event);
    }
}

fn write_history(file: Option<PathBuf>, text: &str) -> anyhow::Result<PathBuf> {
    let file = match file {
        Some(file) => file,
        None => tempfile::Builder::new().prefix("mesarch-jepsen-").suffix(".edn").tempfile()?.keep()?.1,
    };
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// An error if a process ended by itself.
fn all_run(cluster: &mut Cluster) -> anyhow::Result<()> {
    for node in cluster.masters.iter_mut().chain(&mut cluster.agents) {
        let ended = node.ended();
        ensure!(ended.is_none(), "{} ended by itself ({ended:?}):\n{}", node.name, node.log_tail());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_with_a_gap_is_not_taken_for_zero() {
        let amounts = json!({ "cpus": 1.0, "mem": 2.0 });
        let whole = json!({ "id": "S1", "resources": amounts, "used_resources": amounts, "offered_resources": amounts });
        let readable = |agent: &Value| {
            let recorder = Recorder::new();
            record_account(agent, &recorder);
            let entries = recorder.entries();
            assert_eq!(entries.len(), 2);
            entries.iter().all(|entry| matches!(entry.event, Event::Account { .. }))
        };
        assert!(readable(&whole));
        for missing in ["id", "resources", "used_resources", "offered_resources"] {
            let mut agent = whole.clone();
            agent.as_object_mut().unwrap().remove(missing);
            assert!(!readable(&agent), "{missing}");
        }
    }
}
