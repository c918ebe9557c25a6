//! Plays seeds: `mesarch-sim --seeds N`. Exit status 1 if an invariant did not hold, with the seed and the end of its
//! trace on standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command-line tool")]

use std::process::ExitCode;

use clap::Parser;
use mesarch_sim::{Options, Report, Returns, run};

/// The cluster's cores in virtual time, under faults.
#[derive(Parser)]
struct Arguments {
    /// How many seeds to play.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Milliseconds of faults.
    #[arg(long, default_value_t = Options::default().chaos_ms)]
    chaos_ms: u64,
    /// Milliseconds without faults afterwards.
    #[arg(long, default_value_t = Options::default().heal_ms)]
    heal_ms: u64,
    /// Agents, at most 200.
    #[arg(long, default_value_t = Options::default().agents)]
    agents: usize,
    /// Schedulers.
    #[arg(long, default_value_t = Options::default().schedulers)]
    schedulers: usize,
    /// Let operators drain, deactivate and reactivate agents meanwhile.
    #[arg(long)]
    operators: bool,
    /// Print every event of a seed that fails.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut failed, mut returns) = (0_u64, Returns::default());
    for seed in arguments.first..arguments.first + arguments.seeds {
        let report = run(Options {
            seed,
            chaos_ms: arguments.chaos_ms,
            heal_ms: arguments.heal_ms,
            agents: arguments.agents.min(200),
            schedulers: arguments.schedulers,
            operators: arguments.operators,
            trace: arguments.trace,
        });
        returns.add(report.returns);
        failed += u64::from(report.violation.is_some());
        tell(seed, &report);
    }
    println!("{} seeds, {failed} failed; agents that came back: {returns:?}", arguments.seeds);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(seed: u64, report: &Report) {
    println!(
        "seed {seed}: {} events, {} entries, {} terms, {} tasks, {} ids again, {} late, trace {:016x}",
        report.events,
        report.entries,
        report.terms,
        report.tasks,
        report.reused,
        report.late,
        report.trace_hash
    );
    if let Some(violation) = &report.violation {
        report.lines.iter().for_each(|line| eprintln!("  {line}"));
        eprintln!("seed {seed} FAILED: {violation}");
    }
}
