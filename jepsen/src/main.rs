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

mod aftermath;
mod bounds;
mod checker;
#[cfg(test)]
mod checker_test;
mod clocks;
mod cut;
mod disk;
mod history;
mod linear;
mod nemesis;
mod network;
mod page;
mod registers;
mod registers_check;
mod report;
mod run;
mod scene;
mod stale;
mod wire;
mod workload;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser, builder::PossibleValue, error::ErrorKind};

use nemesis::Nemesis;
use report::Verdict;
use workload::Manner;

/// Wrong usage.
const STATUS_USAGE: u8 = 64;

/// Puts faults on a cluster of real processes while a load runs, and checks what happened
#[derive(Parser)]
#[command(name = "mesarch-jepsen", version)]
struct Arguments {
    /// The load
    #[arg(long, default_value = "launch")]
    workload: Workload,
    /// How fresh the reads of `register` have to be
    #[arg(long, default_value = "linearizable")]
    reads: Reads,
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
    /// Where the nodes run
    #[arg(long, default_value = "auto")]
    network: Place,
    /// What the nodes run [default: the mesarch beside this program]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// A known bug in every node, or in one, which has to be caught; the binary must be built for it
    #[arg(long = "fault", value_name = "NAME[@NODE]")]
    faults: Vec<String>,
    /// Where the history is written [default: a new file in the temporary folder]
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// What is done to the cluster while it suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Workload {
    /// Frameworks launch uniquely named short tasks.
    Tasks(Manner),
    /// Operators use the weights and quotas of roles as registers.
    Register,
    /// Operators write weights while every master is asked for its own copy.
    StaleReads,
}

impl clap::ValueEnum for Workload {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Tasks(Manner::Launch),
            Self::Tasks(Manner::Updates),
            Self::Tasks(Manner::Reconcile),
            Self::Tasks(Manner::FailOver),
            Self::Register,
            Self::StaleReads,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Tasks(Manner::Launch) => ("launch", "Two frameworks launch uniquely named short tasks"),
            Self::Tasks(Manner::Updates) => {
                ("updates", "The same, and half of the updates are acknowledged only when they come again")
            }
            Self::Tasks(Manner::Reconcile) => (
                "reconcile",
                "The same as launch, and everything that has not ended is asked for all the time",
            ),
            Self::Tasks(Manner::FailOver) => {
                ("failover-framework", "The same as launch, and the frameworks' schedulers die and come back")
            }
            Self::Register => ("register", "Operators use the weights and quotas of roles as registers"),
            Self::StaleReads => {
                ("stale-reads", "Operators write weights while every master is asked for its own copy")
            }
        };
        Some(PossibleValue::new(name).help(help))
    }
}

/// How fresh a read has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Reads {
    /// What was committed before the question is in the answer.
    Linearizable,
    /// At most one lease old.
    Lease,
}

/// Where the nodes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Place {
    /// A private network if it is to be had, else loopback.
    Auto,
    /// Namespaces on a bridge, which can be cut.
    Private,
    /// All on loopback, which cannot.
    Loopback,
}

/// Whether the run is in a private network, as asked and as it is to be had; says where it is.
#[expect(clippy::print_stdout, reason = "part of the result")]
fn settle_in(asked: Place, nemesis: Nemesis) -> anyhow::Result<bool> {
    let private = match asked {
        Place::Loopback => Err(anyhow::anyhow!("--network loopback")),
        Place::Auto | Place::Private => network::enter(),
    };
    match private {
        Ok(()) => println!("network: a namespace for each node, clients on the bridge between them"),
        Err(why) if asked == Place::Private || nemesis.is_private() => {
            return Err(
                why.context("there is no private network, and nothing else can be cut or lose its disks")
            );
        }
        Err(why) => {
            println!("network: loopback, without cuts: {why:#}");
            return Ok(false);
        }
    }
    Ok(true)
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse().and_then(possible) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let is_private = match settle_in(arguments.network, arguments.nemesis) {
        Ok(is_private) => is_private,
        Err(error) => return end(&Verdict::of_harness(error)),
    };
    let plan = run::Plan {
        is_private,
        workload: arguments.workload,
        reads: arguments.reads,
        nemesis: arguments.nemesis,
        seed: arguments.seed,
        time: Duration::from_secs(arguments.time),
        masters: arguments.masters.into(),
        agents: arguments.agents.into(),
        binary: arguments.binary,
        faults: arguments.faults,
        history: arguments.history,
    };
    let verdict = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(until_interrupted(plan)).unwrap_or_else(Verdict::of_harness),
        Err(error) => Verdict::of_harness(error.into()),
    };
    end(&verdict)
}

/// Ctrl-C ends the run as if it had failed: every process that it has started ends with it.
async fn until_interrupted(plan: run::Plan) -> anyhow::Result<Verdict> {
    tokio::select! {
        verdict = run::run(plan) => verdict,
        asked = tokio::signal::ctrl_c() => {
            asked?;
            anyhow::bail!("interrupted")
        }
    }
}

fn end(verdict: &Verdict) -> ExitCode {
    report::tell(verdict);
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
            ("term-follower", "2", true),
            ("rolling", "2", false),
            ("kill-agent", "1", true),
            ("mix", "2", false),
        ] {
            let asked = ["mesarch-jepsen", "--nemesis", nemesis, "--masters", masters];
            let judged = Arguments::try_parse_from(asked).and_then(possible);
            assert_eq!(judged.is_ok(), good, "{nemesis} with {masters}");
        }
    }
}
