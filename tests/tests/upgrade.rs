//! A rolling upgrade: masters and agents are restarted one by one while tasks are launched, forth, one of them back, and forth.
//!
//! Masters that claim to know an older level only stand for an older version. `cargo xtask upgrade-test` builds one and names
//! it in `MESARCH_UPGRADE_FROM`: then the same is done with two real versions.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use mesarch_state::FEATURE_LEVEL_MAX;
use mesarch_testkit::{Cluster, Node, Settings, cluster::binary, wait_for};

use crate::support::admin::status;
use crate::support::allocation::check_allocation;
use crate::support::fleet::Fleet;
use crate::support::steady::Steady;

/// A flag of masters that stand for an older version.
const OLDER: &str = "--feature-level-max=4";
/// The program of an older version, if there is one.
const FROM: &str = "MESARCH_UPGRADE_FROM";

/// Two versions: of one program, or of two.
struct Versions {
    older: Option<PathBuf>,
}

impl Versions {
    fn set(&self, node: &mut Node, newer: bool) -> Result<()> {
        match &self.older {
            Some(older) => node.run_program(if newer { binary()? } else { older.clone() }),
            None => {
                node.forget_flag(OLDER);
                if !newer {
                    node.add_flag(OLDER);
                }
            }
        }
        Ok(())
    }

    fn flags(&self) -> Vec<String> {
        let older = self.older.is_none().then_some(OLDER);
        older.into_iter().chain(["--allocation-interval=200ms"]).map(str::to_owned).collect()
    }
}

struct Scene {
    versions: Versions,
    cluster: Cluster,
    fleet: Fleet,
    steady: Steady,
    old_level: u32,
}

impl Scene {
    async fn start() -> Result<Self> {
        let versions = Versions { older: std::env::var_os(FROM).map(PathBuf::from) };
        let settings = Settings {
            master_flags: versions.flags(),
            agent_flags: vec!["--resources=cpus:4;mem:2048".to_owned()],
            program: versions.older.clone(),
            ..Settings::default()
        };
        let cluster = Cluster::start(3, 1, settings).await?;
        let steady = Steady::start(cluster.addresses(), "steady", 0.0, cluster.dir()).await?;
        let fleet = Fleet::start(cluster.addresses(), &cluster.dir().join("marks"), "sleep 0.1").await?;
        let old_level = status(cluster.masters[0].address).await?.level;
        say(&format!("3 masters and an agent of the older version, on level {old_level}, under load"));
        Ok(Self { versions, cluster, fleet, steady, old_level })
    }

    /// A master ends as a service manager ends it, and begins again as `newer` or not.
    async fn restart(&mut self, who: usize, newer: bool) -> Result<()> {
        let master = &mut self.cluster.masters[who];
        say(&format!("{}: {}", master.name, if newer { "upgraded" } else { "back to the older version" }));
        let ended = master.terminate().await?;
        ensure!(ended.success(), "{} ended with {ended}", master.name);
        self.versions.set(master, newer)?;
        master.start()?;
        self.cluster.wait_until_joined(who).await?;
        self.check().await
    }

    /// All is known, nothing is given away twice, and more is launched.
    async fn check(&mut self) -> Result<()> {
        self.cluster.wait_until_ready().await?;
        self.fleet.check_all_known().await?;
        check_allocation(&self.cluster.operator().state().await?)?;
        self.fleet.wait_for_more(2).await?;
        self.steady.check_runs().await
    }

    /// With a task that runs, but none on its way: a launch that its agent's end interrupts may be dropped, and told so.
    async fn upgrade_agent(&mut self) -> Result<()> {
        self.fleet.settle().await?;
        self.fleet.check()?;
        say(&format!("the agent: upgraded, after {} tasks, each run once to its end", self.fleet.accepted()));
        let agent = &mut self.cluster.agents[0];
        let ended = agent.terminate().await?;
        ensure!(ended.success(), "the agent ended with {ended}");
        if self.versions.older.is_some() {
            self.versions.set(agent, true)?;
        }
        agent.start()?;
        self.cluster.wait_until_ready().await?;
        let marks = self.cluster.dir().join("marks-of-the-upgraded");
        self.fleet = Fleet::start(self.cluster.addresses(), &marks, "sleep 0.1").await?;
        self.check().await
    }

    async fn levels(&self) -> Option<Vec<u32>> {
        let mut levels = Vec::new();
        for master in &self.cluster.masters {
            levels.push(status(master.address).await.ok()?.level);
        }
        Some(levels)
    }

    async fn check_still_old(&self) -> Result<()> {
        let levels = wait_for("the levels of all masters", async || self.levels().await).await?;
        ensure!(levels == [self.old_level; 3], "too early: {levels:?}");
        Ok(())
    }

    /// The older version is refused by a log that has gone on, and names both levels.
    async fn check_no_way_back(&mut self, who: usize) -> Result<()> {
        if self.versions.older.is_none() || self.old_level == FEATURE_LEVEL_MAX {
            return Ok(());
        }
        let master = &mut self.cluster.masters[who];
        say(&format!("{}: the older version is refused now", master.name));
        master.terminate().await?;
        self.versions.set(master, false)?;
        master.start()?;
        let ended = wait_for("its end", async || self.cluster.masters[who].ended()).await?;
        let master = &mut self.cluster.masters[who];
        let log = master.log();
        let last = log.lines().last().context("it says why")?;
        ensure!(ended.code() == Some(1) && last.contains("feature level"), "{ended}: {last}");
        master.kill()?;
        self.versions.set(master, true)?;
        master.start()?;
        self.cluster.wait_until_joined(who).await
    }
}

/// Tells whoever looks on, which tests do with `--nocapture` only.
#[expect(clippy::print_stdout, reason = "what an upgrade test is doing")]
fn say(what: &str) {
    println!("upgrade: {what}");
}

/// Followers before leaders, as the runbook says.
async fn order(cluster: &Cluster) -> Result<[usize; 3]> {
    let leader = cluster.wait_for_leader().await?;
    Ok([(leader + 1) % 3, (leader + 2) % 3, leader])
}

async fn upgrade() -> Result<()> {
    let mut scene = Scene::start().await?;
    let order = order(&scene.cluster).await?;
    for who in &order[..2] {
        scene.restart(*who, true).await?;
        scene.check_still_old().await?;
    }
    scene.upgrade_agent().await?;
    // Before the level rises there is a way back.
    scene.restart(order[0], false).await?;
    scene.check_still_old().await?;
    scene.restart(order[2], true).await?;
    scene.check_still_old().await?;
    scene.restart(order[0], true).await?;
    wait_for("the new level everywhere", async || {
        (scene.levels().await? == [FEATURE_LEVEL_MAX; 3]).then_some(())
    })
    .await?;
    say(&format!("all are on level {FEATURE_LEVEL_MAX}"));
    scene.check_no_way_back(order[0]).await?;
    scene.check().await?;
    scene.fleet.settle().await?;
    scene.fleet.check()?;
    say(&format!("{} more tasks were accepted, and each ran once to its end", scene.fleet.accepted()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_and_agents_of_two_levels_go_forth_and_back_and_forth_under_load() {
    upgrade().await.unwrap();
}
