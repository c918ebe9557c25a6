//! Chaos tests of real processes: a load, faults while it runs, and a history that is checked afterwards.
//!
//! **Contract.** The README beside this crate says what each outcome of an operation means; every checker rests on it.
//! The exit status is 0 if the history is clean, 1 if it holds an anomaly, 2 if the run proves nothing, 64 on wrong
//! usage. The seed decides what is launched and when faults come; the timing of real processes it cannot decide.
//!
//! **Must never do.** Call a run clean whose fault did not take place, or judge while it records: the checkers read
//! nothing but the finished history and the marks that tasks left.
//!
//! Start reading at [`checker`].

mod checker;
#[cfg(test)]
mod checker_test;
mod history;
mod nemesis;
mod report;
mod run;
mod workload;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser, error::ErrorKind};

use nemesis::Nemesis;
use report::Verdict;

/// Wrong usage.
const STATUS_USAGE: u8 = 64;

/// Puts faults on a cluster of real processes while a load runs, and checks what happened
#[derive(Parser)]
#[command(name = "mesarch-jepsen", version)]
struct Arguments {
    /// The load
    #[arg(long, default_value = "launch")]
    workload: Workload,
    /// The fault
    #[arg(long, default_value = "none")]
    nemesis: Nemesis,
    /// Decides what is launched and when faults come
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// How long the load and the faults last, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    time: u64,
    /// How many masters
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9))]
    masters: u16,
    /// How many agents
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=20))]
    agents: u16,
    /// Where the history is written [default: a new file in the temporary folder]
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// What is done to the cluster while it suffers.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Workload {
    /// Two frameworks launch uniquely named short tasks.
    Launch,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse().and_then(possible) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    // One load exists; the match breaks when a second one comes.
    let Workload::Launch = arguments.workload;
    let plan = run::Plan {
        nemesis: arguments.nemesis,
        seed: arguments.seed,
        time: Duration::from_secs(arguments.time),
        masters: arguments.masters.into(),
        agents: arguments.agents.into(),
        history: arguments.history,
    };
    let verdict = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run::run(plan)).unwrap_or_else(Verdict::of_harness),
        Err(error) => Verdict::of_harness(error.into()),
    };
    report::tell(&verdict);
    ExitCode::from(verdict.status())
}

/// Refuses a fault that so few masters cannot suffer.
fn possible(arguments: Arguments) -> Result<Arguments, clap::Error> {
    let (asked, least) = (arguments.masters, arguments.nemesis.masters_min());
    if asked >= least {
        return Ok(arguments);
    }
    let text = format!("--masters {asked}: this fault needs at least {least}\n");
    Err(Arguments::command().error(ErrorKind::ValueValidation, text))
}

fn refuse(error: &clap::Error) -> ExitCode {
    // A closed terminal is nobody's problem here.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(STATUS_USAGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_cannot_be_is_wrong_usage() {
        for (nemesis, masters, good) in [
            ("none", "1", true),
            ("kill-all", "1", true),
            ("kill-follower", "1", false),
            ("kill-follower", "2", true),
            ("kill-leader", "2", false),
            ("kill-leader", "3", true),
            ("pause-leader", "2", false),
        ] {
            let asked = ["mesarch-jepsen", "--nemesis", nemesis, "--masters", masters];
            let judged = Arguments::try_parse_from(asked).and_then(possible);
            assert_eq!(judged.is_ok(), good, "{nemesis} with {masters}");
        }
    }
}
