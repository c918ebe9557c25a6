//! `failover` and `reattach`: the leader is lost again and again, on a cluster with simulated agents and tasks that run.
//!
//! Each time three clocks start at the loss: until a command that was sent after it has succeeded, until a framework reads
//! its next offer, and until the new leader has taken the last agent. Then the lost master is brought back.

mod offers;
mod probe;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mesarch_testkit::{Cluster, Settings, wait_for};
use tokio::time::sleep;

use crate::{
    cluster::{cpu_used, memory_kb},
    fill::{self, Shape},
    report::Report,
    sim_agent::{Finish, Fleet, Spec},
};
use offers::Watcher;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often the leader is lost.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// How it is lost.
    #[arg(long, value_enum, default_value_t = Fault::Kill)]
    fault: Fault,
    /// Masters, each with its own sled log and fsync.
    #[arg(long, default_value_t = 3)]
    masters: usize,
    /// Simulated agents; one more is idle, and has what is offered.
    #[arg(long, default_value_t = 100)]
    agents: usize,
    /// Tasks that run on them.
    #[arg(long, default_value_t = 1000)]
    tasks: usize,
    /// Frameworks that share the tasks.
    #[arg(long, default_value_t = 10)]
    frameworks: usize,
    /// Agents that share one connection to each master; a real one has its own, but a process may hold only so many.
    #[arg(long, default_value_t = 10)]
    per_connection: usize,
    /// Seconds of calm between a lost master's return and the next loss.
    #[arg(long, default_value_t = 1)]
    calm: u64,
}

/// How a leader is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Fault {
    /// SIGKILL: its sockets are reset.
    Kill,
    /// SIGSTOP: its connections stay, nothing answers; as a host that dies, or is cut off.
    Freeze,
    /// SIGTERM: it hands its leadership over before it ends.
    Terminate,
}

/// What has not come by then counts as if it had, and as a failure.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long the fleet may take to register.
const REGISTER_WITHIN: Duration = Duration::from_secs(300);
/// How long commands are sent before a planned loss: what they take then is the norm.
const BEFORE_A_PLANNED_LOSS: Duration = Duration::from_millis(200);

/// What one loss took.
#[derive(Default)]
struct Loss {
    commit_ms: f64,
    first_offer_ms: f64,
    reattached_ms: f64,
    /// From the restart of the lost master, or its thaw, until it knows the leader.
    rejoined_ms: f64,
    inventories: u64,
    new_leader_cpu_ms: f64,
    new_leader_memory_mb: f64,
    failures: Vec<String>,
}

/// The cluster and everything that goes on in it.
struct Scene {
    cluster: Cluster,
    fleet: Fleet,
    watcher: Watcher,
}

/// Measures.
pub(crate) async fn run(bench: &'static str, args: Args) -> anyhow::Result<Report> {
    ensure!(args.masters >= 3, "--masters {}: two are left of three, and of fewer no majority", args.masters);
    let cluster = Cluster::start(args.masters, 0, Settings::default()).await?;
    let masters = cluster.addresses();
    let mut fleet = Fleet::new();
    eprintln!("{} agents register", args.agents);
    let hosts: Vec<Spec> = (0..args.agents).map(fill::host).collect();
    fleet.add(&masters, &hosts, args.per_connection, REGISTER_WITHIN).await?;
    let shape = Shape { agents: args.agents, running: args.tasks, completed: 0, frameworks: args.frameworks };
    let mut load = fill::launch(&masters, shape).await?;
    // Later, so that it has none of the tasks.
    fleet.add(&masters, &[idle_host()], 1, REGISTER_WITHIN).await?;
    let watcher = Watcher::start(&masters).await?;
    let mut scene = Scene { cluster, fleet, watcher };
    let mut losses = Vec::new();
    for number in 1..=args.kills {
        sleep(Duration::from_secs(args.calm)).await;
        let loss = scene.lose_the_leader(args.fault).await?;
        eprintln!(
            "{number} of {}: commit after {:.0} ms, offer {:.0} ms, all agents {:.0} ms",
            args.kills, loss.commit_ms, loss.first_offer_ms, loss.reattached_ms
        );
        losses.push(loss);
    }
    if let Some(ended) = load.try_join_next() {
        ended?.context("a framework of the load ended")?;
    }
    Ok(report(bench, &args, losses))
}

fn report(bench: &'static str, args: &Args, losses: Vec<Loss>) -> Report {
    let mut report = Report::new(bench);
    for (name, value) in [
        ("masters", args.masters),
        ("agents", args.agents),
        ("tasks", args.tasks),
        ("frameworks", args.frameworks),
        ("per_connection", args.per_connection),
    ] {
        report.condition(name, value);
    }
    report.condition("fault", format!("{:?}", args.fault).to_lowercase());
    report.condition("log", "sled, fdatasync");
    for failure in losses.iter().flat_map(|loss| &loss.failures) {
        eprintln!("{failure}");
        report.failed();
    }
    let all = |figure: fn(&Loss) -> f64| losses.iter().map(figure).collect();
    match args.fault {
        Fault::Terminate => report.figure("longest_gap_ms", "ms", all(|loss| loss.commit_ms)),
        Fault::Kill | Fault::Freeze => report.figure("commit_ms", "ms", all(|loss| loss.commit_ms)),
    }
    report.figure("first_offer_ms", "ms", all(|loss| loss.first_offer_ms));
    report.figure("reattached_ms", "ms", all(|loss| loss.reattached_ms));
    let by_digest = |loss: &Loss| 100.0 - 100.0 * loss.inventories as f64 / (args.agents + 1) as f64;
    report.figure("attached_by_digest", "%", losses.iter().map(by_digest).collect());
    report.figure("rejoined_ms", "ms", all(|loss| loss.rejoined_ms));
    report.figure("new_leader_cpu_ms", "ms", all(|loss| loss.new_leader_cpu_ms));
    report.figure("new_leader_memory_mb", "MB", all(|loss| loss.new_leader_memory_mb));
    report
}

/// The one whose resources are always free.
fn idle_host() -> Spec {
    Spec { hostname: offers::IDLE.into(), cpus: 1.0, mem_mb: 1024.0, finish: Finish::All }
}

impl Scene {
    async fn lose_the_leader(&mut self, fault: Fault) -> anyhow::Result<Loss> {
        let lost = self.cluster.wait_for_leader().await?;
        let (term, inventories) = (self.fleet.term(), self.fleet.inventories());
        let mut left = self.cluster.addresses();
        if fault != Fault::Terminate {
            left.remove(lost);
        }
        let cpu = self.cpu_of_others(lost)?;
        let ended = self.watcher.streams_ended();
        let probes = probe::start(left);
        if fault == Fault::Terminate {
            sleep(BEFORE_A_PLANNED_LOSS).await;
        }
        let at = Instant::now();
        self.strike(lost, fault).await?;
        // A master that ends in order answers for a while: only what is sent once it is gone shows that the next one serves.
        let (planned, over) = (fault == Fault::Terminate, Instant::now());
        let (commit, offer, attached) = tokio::join!(
            probes.success_after(if planned { over } else { at }, planned, DEADLINE),
            self.watcher.offer_after(ended, DEADLINE),
            self.fleet.all_attached_above(term, DEADLINE),
        );
        let mut loss = Loss { inventories: self.fleet.inventories() - inventories, ..Loss::default() };
        loss.commit_ms = loss.or_deadline(commit);
        loss.first_offer_ms = loss.or_deadline(offer.map(|seen| seen.saturating_duration_since(at)));
        loss.reattached_ms = loss.or_deadline(attached.map(|seen| seen.saturating_duration_since(at)));
        let leader = self.leader_now().await?;
        if let Some(before) = cpu.get(leader).copied().flatten() {
            loss.new_leader_cpu_ms = (self.cpu(leader)? - before).as_secs_f64() * 1e3;
        }
        let pid = self.cluster.masters[leader].pid().context("the new leader does not run")?;
        loss.new_leader_memory_mb = memory_kb(pid)? / 1024.0;
        let back = Instant::now();
        self.bring_back(lost, fault).await?;
        loss.rejoined_ms = back.elapsed().as_secs_f64() * 1e3;
        Ok(loss)
    }

    /// The leader, without reading the whole state: that would count as its own cost. It has committed already.
    async fn leader_now(&self) -> anyhow::Result<usize> {
        wait_for("the new leader's name", async || self.cluster.leader().await).await
    }

    async fn strike(&mut self, lost: usize, fault: Fault) -> anyhow::Result<()> {
        let master = &mut self.cluster.masters[lost];
        match fault {
            Fault::Kill => master.kill(),
            Fault::Freeze => master.pause(),
            Fault::Terminate => master.terminate().await.map(drop),
        }
    }

    async fn bring_back(&mut self, lost: usize, fault: Fault) -> anyhow::Result<()> {
        let master = &mut self.cluster.masters[lost];
        match fault {
            Fault::Kill | Fault::Terminate => master.start()?,
            Fault::Freeze => master.resume()?,
        }
        self.cluster.wait_until_joined(lost).await
    }

    /// CPU time used so far by every master but one.
    fn cpu_of_others(&self, but: usize) -> anyhow::Result<Vec<Option<Duration>>> {
        let masters = 0..self.cluster.masters.len();
        masters.map(|index| (index != but).then(|| self.cpu(index)).transpose()).collect()
    }

    fn cpu(&self, master: usize) -> anyhow::Result<Duration> {
        cpu_used(self.cluster.masters[master].pid().context("the master does not run")?)
    }
}

impl Loss {
    /// In ms; what failed took until the deadline.
    fn or_deadline(&mut self, took: anyhow::Result<Duration>) -> f64 {
        let took = took.unwrap_or_else(|error| {
            self.failures.push(format!("{error:#}"));
            DEADLINE
        });
        took.as_secs_f64() * 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_is_a_failure_that_took_until_the_deadline() {
        let mut loss = Loss::default();
        assert_eq!(loss.or_deadline(Ok(Duration::from_millis(7))), 7.0);
        assert_eq!(loss.failures.len(), 0);
        assert_eq!(loss.or_deadline(Err(anyhow::anyhow!("no offer"))), DEADLINE.as_secs_f64() * 1e3);
        assert_eq!(loss.failures, ["no offer"]);
    }
}
