//! `plan_commit_ms`: a plan's way through the log of real masters.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::{cluster::Cluster, decline::Crowd, metrics, report::Report};

/// How often the leader is asked what it has planned: often enough to tell one plan from the next.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Longest wait for one plan.
const PLAN_DEADLINE: Duration = Duration::from_secs(30);
/// Plans that do not count, for the cluster to settle.
const WARM_UP: usize = 5;

/// Measures `plans` plans of one cluster whose frameworks refuse nothing for longer than an allocation interval, so that
/// about everything is planned anew in each.
pub(super) async fn run(masters: u32, agents: u64, frameworks: u64, plans: u64) -> anyhow::Result<Report> {
    let cluster = Cluster::start(masters)?;
    let mut crowd = Crowd::join(&cluster, agents as usize, frameworks as usize, Some(Duration::ZERO)).await?;
    let (mut took_ms, mut offers) = (Vec::new(), Vec::new());
    let mut last = Planned::read(&cluster).await?;
    for plan in 0..WARM_UP + plans as usize {
        let next = last.next(&cluster, &mut crowd).await?;
        if plan >= WARM_UP {
            let landed = next.plans - last.plans;
            took_ms.push((next.seconds - last.seconds) / landed * 1000.0);
            offers.push((next.offers - last.offers) / landed);
        }
        last = next;
    }
    drop(crowd);
    let mut report = Report::new("allocate");
    for (name, value) in [("masters", u64::from(masters)), ("agents", agents), ("frameworks", frameworks)] {
        report.condition(name, value);
    }
    report.figure("plan_commit_ms", "ms", took_ms);
    report.figure("offers_per_plan", "", offers);
    Ok(report)
}

/// What the leader has planned since it began to lead: plans with offers, their time and their offers.
struct Planned {
    plans: f64,
    seconds: f64,
    offers: f64,
}

impl Planned {
    async fn read(cluster: &Cluster) -> anyhow::Result<Self> {
        let leader = &cluster.ready.leader;
        Ok(Self {
            plans: metrics::read(leader, "mesarch_allocator_plan_seconds_count").await?,
            seconds: metrics::read(leader, "mesarch_allocator_plan_seconds_sum").await?,
            offers: metrics::read(leader, "mesarch_allocator_plan_offers_sum").await?,
        })
    }

    /// Waits until at least one more plan has landed.
    async fn next(&self, cluster: &Cluster, crowd: &mut Crowd) -> anyhow::Result<Self> {
        let begin = Instant::now();
        while begin.elapsed() < PLAN_DEADLINE {
            tokio::time::sleep(ASK_EVERY).await;
            crowd.check()?;
            let now = Self::read(cluster).await?;
            if now.plans > self.plans {
                return Ok(now);
            }
        }
        bail!("the leader planned nothing for {} s", PLAN_DEADLINE.as_secs())
    }
}
