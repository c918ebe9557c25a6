//! One cluster, its rounds, and what they took.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mesarch_allocator::{
    Plan,
    load::{Load, Shape},
};
use mesarch_state::{
    Command,
    command::{IssueOffers, OfferItem},
};
use mesarch_types::Epoch;

/// Most offers of one proposal, as in a leader.
const PIECE_OFFERS_MAX: usize = 256;
/// Tasks that end, one after the other, per run.
const TASK_ENDS: usize = 400;
/// The distance between the agents on which they end: neighbours would share cache lines.
const TASK_END_STRIDE: usize = 7;
/// How long refusals of everything last, in ms of cluster time: longer than all rounds.
const REFUSE_MS: u64 = 3_600_000;

/// What was measured, of one run or of several.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) cycle_ms: Vec<f64>,
    /// One value per run: the mean of its rounds, for the system counts CPU time in coarse steps.
    pub(super) cycle_cpu_ms: Vec<f64>,
    pub(super) take_ms: Vec<f64>,
    pub(super) task_end_ms: Vec<f64>,
    /// Highest so far, after each run.
    pub(super) peak_rss_mb: Vec<f64>,
    /// Offers of the last round.
    pub(super) offers: usize,
    /// Offers that ends of tasks led to.
    pub(super) task_end_offers: usize,
}

impl Run {
    /// Adds the values of another run.
    pub(super) fn add(&mut self, run: Self) {
        self.cycle_ms.extend(run.cycle_ms);
        self.cycle_cpu_ms.extend(run.cycle_cpu_ms);
        self.take_ms.extend(run.take_ms);
        self.task_end_ms.extend(run.task_end_ms);
        self.peak_rss_mb.extend(run.peak_rss_mb);
        self.offers = run.offers;
        self.task_end_offers += run.task_end_offers;
    }
}

/// Everything is offered, declined and offered again; then tasks end one by one.
pub(super) fn full(shape: Shape, rounds: u64) -> anyhow::Result<Run> {
    let mut load = Load::new(shape);
    let plans = load.plan();
    load.take(plans);
    let (mut run, mut used) = (Run::default(), Duration::ZERO);
    for _ in 0..rounds {
        let (before, begin) = (cpu()?, Instant::now());
        load.decline_all(None);
        let proposals = propose(load.plan());
        run.cycle_ms.push(ms(begin.elapsed()));
        used += cpu()?.saturating_sub(before);
        let plans = planned(proposals);
        run.offers = plans.len();
        // As the state has them: not the planner's own copies.
        let begin = Instant::now();
        load.take(plans);
        run.take_ms.push(ms(begin.elapsed()));
    }
    run.cycle_cpu_ms.push(ms(used) / rounds as f64);
    task_ends(&mut load, &mut run);
    run.peak_rss_mb.push(peak_rss_mb()?);
    Ok(run)
}

fn task_ends(load: &mut Load, run: &mut Run) {
    let offers = load.offers().max(1);
    for number in 0..TASK_ENDS {
        let begin = Instant::now();
        load.free_one(number * TASK_END_STRIDE % offers);
        let proposals = propose(load.plan_now());
        run.task_end_ms.push(ms(begin.elapsed()));
        let plans = planned(proposals);
        run.task_end_offers += plans.len();
        load.take(plans);
    }
}

/// Everything is refused by everybody, and all agents are looked at again and again.
pub(super) fn filtered(shape: Shape, rounds: u64) -> anyhow::Result<Run> {
    let mut load = Load::new(shape);
    load.refuse_everything(REFUSE_MS);
    let (mut run, mut used) = (Run::default(), Duration::ZERO);
    // The first look learns what is refused.
    if !load.plan().is_empty() {
        bail!("something was offered although everything is refused");
    }
    for _ in 0..rounds {
        let (before, begin) = (cpu()?, Instant::now());
        load.allocator.end_interval();
        let plans = load.plan();
        run.cycle_ms.push(ms(begin.elapsed()));
        used += cpu()?.saturating_sub(before);
        run.offers += plans.len();
    }
    run.cycle_cpu_ms.push(ms(used) / rounds as f64);
    run.peak_rss_mb.push(peak_rss_mb()?);
    Ok(run)
}

/// The proposals that a leader makes of a plan.
fn propose(plans: Vec<Plan>) -> Vec<Command> {
    let mut commands = Vec::with_capacity(plans.len().div_ceil(PIECE_OFFERS_MAX));
    let mut items = plans.into_iter().map(item);
    loop {
        let piece: Vec<OfferItem> = items.by_ref().take(PIECE_OFFERS_MAX).collect();
        if piece.is_empty() {
            return commands;
        }
        commands.push(Command::IssueOffers(IssueOffers { policy: Epoch::default(), items: piece }));
    }
}

fn item(plan: Plan) -> OfferItem {
    OfferItem {
        framework: plan.framework,
        role: plan.role,
        agent: plan.agent,
        resources: plan.resources,
        framework_version: Epoch(plan.framework_version),
        agent_version: Epoch(plan.agent_version),
    }
}

/// What was proposed, to be booked.
fn planned(commands: Vec<Command>) -> Vec<Plan> {
    let items = commands.into_iter().flat_map(|command| match command {
        Command::IssueOffers(IssueOffers { items, .. }) => items,
        _ => Vec::new(),
    });
    let plan = |item: OfferItem| Plan {
        framework: item.framework,
        role: item.role,
        agent: item.agent,
        resources: item.resources,
        framework_version: item.framework_version.0,
        agent_version: item.agent_version.0,
    };
    items.map(plan).collect()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// CPU time of this thread so far. The clock moves in steps of the scheduler's tick.
fn cpu() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("no CPU times")?;
    let nanos = text.split_whitespace().next().context("no CPU times")?.parse().context("odd CPU times")?;
    Ok(Duration::from_nanos(nanos))
}

/// The most memory that this process has had so far, in MB of 10^6 bytes.
fn peak_rss_mb() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status").context("no process status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak of memory")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("odd peak of memory")?;
    Ok(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_proposed_whole_and_in_pieces() {
        let mut load = Load::new(Shape { agents: 600, frameworks: 3, ..Shape::default() });
        let plans = load.plan();
        let proposals = propose(plans.clone());
        assert_eq!((plans.len(), proposals.len()), (600, 3));
        assert_eq!(planned(proposals), plans);
    }
}
