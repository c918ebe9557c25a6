//! `allocate`: what it costs to decide who is offered what, in the allocator alone, without masters.
//!
//! **What is measured.** `cycle_ms`: from the first decline of a round to the last offer planned, as complete
//! `IssueOffers` items in pieces of at most 256, the upkeep of the index for the declines included, nothing prebuilt. With
//! `--filtered` nobody wants anything: from the beginning of a tick to the end of a plan that looks at all agents and
//! offers nothing. `task_end_ms`: from the end of one task on a full cluster to its offer planned. `peak_rss_mb`: the
//! process with all of this in it, offers as decoded from the log. Between two rounds all offers are booked; `take_ms`
//! tells what that costs.
//!
//! With `--masters` it is `plan_commit_ms` instead, on real masters with simulated agents: from the beginning of a leader's
//! plan until the last of its offers is committed and applied. The agents and frameworks take their share of the machine.
//!
//! **What is not.** Without `--masters` no plan goes through a log: the planner of a leader cuts pieces by bytes too, and
//! its estimate of them is not in these figures.
//!
//! Start reading at `measure.rs`; `table.rs` measures the shapes of the design's targets, each run in a fresh process.

mod commit;
mod measure;
mod table;

use anyhow::bail;
use clap::error::ErrorKind;
use mesarch_allocator::load::Shape;
use mesarch_types::FILTERS_MAX;

use crate::report::Report;
use measure::Run;
pub(crate) use table::print as print_table;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Agents, all alike, all with everything to give.
    #[arg(long, default_value_t = 10_000, value_parser = count(1, 200_000))]
    agents: u64,
    /// Frameworks; each declines every offer, without a filter.
    #[arg(long, default_value_t = 1000, value_parser = count(1, 20_000))]
    frameworks: u64,
    /// Roles that the frameworks are in, in turn: `one`, `each` (one for each framework) or how many.
    #[arg(long, default_value = "one", value_parser = roles)]
    roles: Roles,
    /// Fresh clusters, one after the other.
    #[arg(long, default_value_t = 5, value_parser = count(1, 1000))]
    runs: u64,
    /// Rounds of declines and offers per run; each is one value of `cycle_ms`.
    #[arg(long, default_value_t = 9, value_parser = count(1, 10_000))]
    rounds: u64,
    /// Share of the frameworks whose role is suppressed, 0 to 0.5.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    suppressed: f64,
    /// Every framework refuses every agent for an hour.
    #[arg(long, conflicts_with = "reservations")]
    filtered: bool,
    /// Reservations with labels of their own per agent.
    #[arg(long, default_value_t = 0, value_parser = count(0, 99))]
    reservations: u64,
    /// Roles with quota: guarantee and limit of an equal part of half of the cluster.
    #[arg(long, default_value_t = 0, value_parser = count(0, 20_000))]
    quota_roles: u64,
    /// Levels of roles.
    #[arg(long, default_value_t = 1, value_parser = count(1, 8))]
    depth: u64,
    /// Measures plan_commit_ms instead: how long `--rounds` plans take through the log of so many real masters, each agent
    /// with a connection of its own.
    #[arg(
        long,
        value_parser = clap::value_parser!(u32).range(1..=5),
        conflicts_with_all = [
            "roles", "runs", "suppressed", "filtered", "reservations", "quota_roles", "depth", "table"
        ]
    )]
    masters: Option<u32>,
    /// Measures the shapes of the targets instead, `--runs` times each, and prints them beside the targets.
    #[arg(
        long,
        conflicts_with_all = [
            "agents", "frameworks", "roles", "suppressed", "filtered", "reservations", "quota_roles", "depth"
        ]
    )]
    table: bool,
}

/// How many roles there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roles {
    Each,
    Number(u64),
}

/// Most roles that can be asked for.
const ROLES_MAX: u64 = 20_000;

fn count(least: u64, most: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(least..=most)
}

fn roles(text: &str) -> Result<Roles, String> {
    match (text, text.parse()) {
        ("one", _) => Ok(Roles::Number(1)),
        ("each", _) => Ok(Roles::Each),
        (_, Ok(number)) if (1..=ROLES_MAX).contains(&number) => Ok(Roles::Number(number)),
        _ => Err(format!("must be `one`, `each` or a number from 1 to {ROLES_MAX}")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().unwrap_or(f64::NAN);
    (0.0..=0.5).contains(&share).then_some(share).ok_or_else(|| "must be from 0 to 0.5".to_owned())
}

impl Args {
    /// Whether the table of targets is wanted.
    pub(crate) fn is_table(&self) -> bool {
        self.table
    }

    /// The cluster asked for; what contradicts itself is refused.
    fn shape(&self) -> Result<Shape, String> {
        let roles = match self.roles {
            Roles::Each => self.frameworks,
            Roles::Number(number) => number,
        };
        if self.quota_roles > roles {
            return Err(format!(
                "--quota-roles {} needs as many roles: --roles says {roles}",
                self.quota_roles
            ));
        }
        if self.filtered && self.agents * self.frameworks > FILTERS_MAX as u64 {
            return Err(format!(
                "--filtered needs a filter for each pair: agents times frameworks may be {FILTERS_MAX} at most"
            ));
        }
        Ok(Shape {
            agents: self.agents as usize,
            frameworks: self.frameworks as usize,
            roles: roles as usize,
            role_levels: self.depth as usize,
            quota_roles: self.quota_roles as usize,
            reservations_per_agent: self.reservations as usize,
            // Of the first so many, every second one.
            suppressed: (2.0 * self.suppressed * self.frameworks as f64).round() as usize,
        })
    }
}

/// Measures one shape, or all shapes of the table.
pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    if let Some(masters) = args.masters {
        return commit::run(masters, args.agents, args.frameworks, args.rounds).await;
    }
    if args.table {
        return table::report(args.runs, args.rounds);
    }
    let shape =
        args.shape().unwrap_or_else(|why| clap::Error::raw(ErrorKind::ValueValidation, why + "\n").exit());
    let mut all = Run::default();
    for _ in 0..args.runs {
        let run = match args.filtered {
            true => measure::filtered(shape, args.rounds)?,
            false => measure::full(shape, args.rounds)?,
        };
        all.add(run);
    }
    if !args.filtered && all.offers == 0 {
        bail!("no round had an offer: this measures nothing");
    }
    Ok(report(&args, shape, all))
}

fn report(args: &Args, shape: Shape, all: Run) -> Report {
    let mut report = Report::new("allocate");
    for (name, value) in [
        ("agents", shape.agents),
        ("frameworks", shape.frameworks),
        ("roles", shape.roles),
        ("role_levels", shape.role_levels),
        ("quota_roles", shape.quota_roles),
        ("reservations_per_agent", shape.reservations_per_agent),
        ("offers_per_round", all.offers),
        ("rounds_per_run", args.rounds as usize),
    ] {
        report.condition(name, value);
    }
    report.condition("suppressed", args.suppressed);
    report.condition("filtered", args.filtered);
    report.condition("masters", 0);
    report.figure("cycle_ms", "ms", all.cycle_ms);
    report.figure("cycle_cpu_ms", "ms", all.cycle_cpu_ms);
    if !args.filtered {
        report.figure("take_ms", "ms", all.take_ms);
        report.condition("task_end_offers", all.task_end_offers);
        report.figure("task_end_ms", "ms", all.task_end_ms);
    }
    report.figure("peak_rss_mb", "MB", all.peak_rss_mb);
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    pub(super) fn shape(line: &str) -> Result<Shape, String> {
        let words = std::iter::once("allocate").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.args.shape()
    }

    #[test]
    fn options_make_the_shape_and_contradictions_are_refused() {
        let asked =
            shape("--agents 20 --frameworks 10 --roles each --suppressed 0.5 --quota-roles 10 --depth 3");
        let expected = Shape {
            agents: 20,
            frameworks: 10,
            roles: 10,
            role_levels: 3,
            quota_roles: 10,
            reservations_per_agent: 0,
            suppressed: 10,
        };
        assert_eq!(asked, Ok(expected));
        for bad in [
            "--agents 0",
            "--roles many",
            "--roles 0",
            "--suppressed 0.6",
            "--suppressed NaN",
            "--quota-roles 2",
            "--reservations 100",
            "--filtered --reservations 1",
            "--filtered --agents 2001 --frameworks 1000",
            "--table --agents 5",
            "--masters 0",
            "--masters 3 --roles each",
        ] {
            assert!(shape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_shape_gives_all_figures() {
        for line in [
            "--agents 30 --frameworks 6",
            "--agents 30 --frameworks 6 --roles each --suppressed 0.5 --reservations 10",
            "--agents 30 --frameworks 6 --roles 3 --quota-roles 3 --depth 3",
        ] {
            let run = measure::full(shape(line).unwrap(), 2).unwrap();
            assert_eq!((run.cycle_ms.len(), run.take_ms.len(), run.cycle_cpu_ms.len()), (2, 2, 1), "{line}");
            assert!(run.offers > 0 && run.task_end_offers > 0 && run.peak_rss_mb[0] > 1.0, "{line}");
        }
        let run = measure::filtered(shape("--agents 30 --frameworks 6 --filtered").unwrap(), 2).unwrap();
        assert_eq!((run.cycle_ms.len(), run.offers), (2, 0));
    }
}
