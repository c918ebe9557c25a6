//! One run: set-up, load and faults together, the end of both, and the check.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use mesarch_client::operator::Operator;
use mesarch_testkit::{Cluster, Host, Settings, wait_for_within};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Reads, Workload, aftermath, bounds,
    checker::{self, Anomaly, Promise},
    clocks::Clocks,
    disk::Disks,
    history::{self, Entry, Event, Kind, Marks, Recorder},
    nemesis::Nemesis,
    network::Network,
    page::Page,
    registers::Load,
    registers_check,
    report::{Judged, Verdict},
    scene::{Scene, Trouble},
    stale,
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

/// How old a lease read may be: no lease lasts longer than the longest election timeout.
const LEASE: Duration = Duration::from_millis(600);
/// Within this time after the end of a fault the cluster does operations again. Far more than an election takes, for a
/// small machine that is busy.
const SERVES_WITHIN: Duration = Duration::from_secs(10);

/// What to do.
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    pub(crate) reads: Reads,
    pub(crate) nemesis: Nemesis,
    pub(crate) seed: u64,
    pub(crate) time: Duration,
    pub(crate) masters: usize,
    pub(crate) agents: usize,
    /// What the nodes run, if not the binary beside this one.
    pub(crate) binary: Option<PathBuf>,
    /// Known bugs, each in every node or, behind a `@`, in one.
    pub(crate) faults: Vec<String>,
    pub(crate) history: Option<PathBuf>,
    /// Whether the run is in namespaces of its own, where a network can be made.
    pub(crate) is_private: bool,
}

impl Plan {
    /// As on the command line.
    fn title(&self) -> String {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map_or(String::new(), |value| value.get_name().to_owned())
        };
        let faults: String = self.faults.iter().map(|fault| format!(" --fault {fault}")).collect();
        format!(
            "--workload {} --nemesis {} --seed {} --time {} --masters {} --agents {}{faults}",
            name(self.workload.to_possible_value()),
            name(self.nemesis.to_possible_value()),
            self.seed,
            self.time.as_secs(),
            self.masters,
            self.agents
        )
    }
}

/// Runs it. An error is a failure of the harness and says nothing about the cluster.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<Verdict> {
    let network = match plan.is_private {
        true => Some(Network::start(plan.masters + plan.agents).context("cannot make a network")?),
        false => None,
    };
    let disks = plan.nemesis.breaks_disks().then(|| Disks::mount(plan.masters)).transpose()?;
    let hosts = network.as_ref().map(Network::hosts).unwrap_or_default();
    let clocks = match plan.nemesis.moves_clocks() {
        true => Some(Clocks::build(plan.masters, plan.agents)?),
        false => None,
    };
    let settings = Settings {
        node_environment: clocks.as_ref().map(Clocks::environment).unwrap_or_default(),
        master_dirs: disks.as_ref().map(Disks::folders).unwrap_or_default(),
        ..settings(&plan, hosts)
    };
    let mut cluster =
        Cluster::start(plan.masters, plan.agents, settings).await.context("cannot start the cluster")?;
    let recorder = Recorder::new();
    let marks = cluster.dir().join("marks");
    let begun = Arc::new(Notify::new());
    let mut frameworks = Vec::new();
    let mut load = None;
    match plan.workload {
        Workload::Tasks(manner) => {
            for number in 1..=FRAMEWORKS {
                let masters = cluster.addresses();
                let framework = Framework::start(
                    (number, manner),
                    masters,
                    plan.seed,
                    marks.clone(),
                    &recorder,
                    begun.clone(),
                );
                frameworks.push(framework.await?);
            }
        }
        Workload::Register => {
            let query = match plan.reads {
                Reads::Linearizable => "?consistency=linearizable",
                Reads::Lease => "",
            };
            load = Some(Load::registers(&cluster.addresses(), plan.seed, &recorder, &begun, query));
        }
        Workload::StaleReads => load = Some(Load::stale_reads(&cluster.addresses(), &recorder, &begun)),
    }
    let accounts = watch_accounts(cluster.operator(), recorder.clone());
    let mut faults = 0;
    let scene = Scene {
        cluster: &mut cluster,
        network: network.as_ref(),
        disks: disks.as_ref(),
        clocks: clocks.as_ref(),
        recorder: &recorder,
    };
    let struck = strike_until_over(&plan, scene, &frameworks, &begun, &mut faults).await;
    let struck = match struck {
        // What is left undone by the harness must not look like a promise that was broken.
        Err(Trouble::Harness(error)) => {
            accounts.abort();
            return Err(error).context("a fault could not be brought about");
        }
        Err(Trouble::Cluster(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    if let Some(load) = load {
        load.end().await.context("an operator ended by itself")?;
    }
    let settled = settle(&frameworks).await;
    accounts.abort();
    let (entries, marks) = (recorder.entries(), Marks::read(&marks));
    let (mut anomalies, judged) = judge(&plan, &entries, &marks);
    for outcome in [struck, settled, all_run(&mut cluster)] {
        anomalies.extend(outcome.err().map(|error| not_whole(&error)));
    }
    anomalies.extend(bounds::processes(&cluster).await);
    let grown = bounds::memory(&cluster);
    let found = aftermath::look(&mut cluster).await.context("cannot look at what the masters left")?;
    anomalies.extend(found.anomalies.iter().cloned());
    let grown = grown.and(bounds::disks(&cluster).context("cannot look at what the masters stored")?);
    anomalies.extend(grown.anomalies());
    let file = write_history(plan.history.as_deref(), &history::to_edn(&entries))?;
    let mut kept = vec![file.clone(), file.with_extension("html")];
    if !anomalies.is_empty() {
        let folder = cluster.keep_files().to_owned();
        disks.as_ref().map_or(Ok(()), |disks| disks.save(&folder))?;
        kept.push(folder);
    }
    let verdict = Verdict::new(plan.nemesis, faults, anomalies, &entries, &judged, (&found, &grown), kept);
    let page = Page {
        title: plan.title(),
        lines: verdict.lines(),
        entries: &entries,
        reigns: &found.reigns,
        anomalies: verdict.anomalies(),
        begun_ms: recorder.begun_ms(),
    };
    std::fs::write(file.with_extension("html"), page.html()).context("cannot write the page")?;
    Ok(verdict)
}

fn settings(plan: &Plan, hosts: Vec<Host>) -> Settings {
    let flag = |fault: &str| format!("--fault={fault}");
    let (single, common): (Vec<&String>, Vec<&String>) =
        plan.faults.iter().partition(|fault| fault.contains('@'));
    let common = || common.iter().map(|fault| flag(fault));
    let single = single.iter().filter_map(|fault| fault.split_once('@'));
    Settings {
        master_flags: ["--allocation-interval=200ms".to_owned()].into_iter().chain(common()).collect(),
        agent_flags: [RESOURCES.to_owned()].into_iter().chain(common()).collect(),
        hosts,
        program: plan.binary.clone(),
        node_flags: single.map(|(fault, node)| (node.to_owned(), flag(fault))).collect(),
        ..Settings::default()
    }
}

/// What the checkers of this load find, and whether they had anything to find it in.
fn judge(plan: &Plan, entries: &[Entry], marks: &Marks) -> (Vec<Anomaly>, Judged) {
    let mut anomalies: Vec<Anomaly> = entries.iter().filter_map(late).collect();
    let judged = match plan.workload {
        Workload::Tasks(manner) => {
            anomalies.extend(checker::check(entries, marks));
            Judged::Tasks(manner)
        }
        Workload::Register => {
            let lease = if plan.reads == Reads::Lease { LEASE } else { Duration::ZERO };
            let found = registers_check::check(entries, lease);
            anomalies.extend(found.anomalies);
            Judged::Registers { registers: found.registers, undecided: found.undecided }
        }
        Workload::StaleReads => {
            anomalies.extend(stale::check(entries));
            Judged::StaleReads
        }
    };
    (anomalies, judged)
}

/// The cluster came back, but not soon enough.
fn late(entry: &Entry) -> Option<Anomaly> {
    let Event::Serves { after } = entry.event else { return None };
    let seen = format!("no operation was done for {} ms, though a majority was whole", after.as_millis());
    let anomaly = Anomaly { promise: Promise::ComesBack, about: "the cluster".to_owned(), seen };
    (after > SERVES_WITHIN).then_some(anomaly)
}

fn not_whole(error: &anyhow::Error) -> Anomaly {
    Anomaly { promise: Promise::ComesBack, about: "the cluster".to_owned(), seen: format!("{error:#}") }
}

/// Faults until the time is over, counted in `faults`. After each one everything open is reconciled. An error if the
/// cluster does not recover from one.
async fn strike_until_over(
    plan: &Plan,
    mut scene: Scene<'_>,
    frameworks: &[Framework],
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
        scene.recorder.record(Kind::Info, Event::Fault { what: "begins".to_owned() });
        let fault = plan.nemesis.choose(&mut random, plan.is_private);
        let what = fault.strike(&mut scene, &mut random, begun).await?;
        scene.recorder.record(Kind::Info, Event::Fault { what });
        *faults += 1;
        scene.serves(&[]).await?;
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

fn write_history(file: Option<&Path>, text: &str) -> anyhow::Result<PathBuf> {
    let file = match file {
        Some(file) => file.to_owned(),
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
