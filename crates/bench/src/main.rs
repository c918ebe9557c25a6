//! `mesarch-bench`: measurements of a running cluster, as a table for people or one JSON object for programs.
//!
//! **Contract.** Every figure is told with its conditions and the number of values behind it. Rates give one value per
//! run. A try that failed or timed out is counted and sets exit status 1; it is never left out.
//!
//! **Must never do:** judge. Targets stand in the design, results with their conditions in `ops/benchmarks.md`.
//!
//! Start reading at `report.rs`, then at the bench of interest. The agents here are simulated (`sim_agent.rs`): they
//! speak the real link over TCP and run nothing. Those of `failover` follow the leader as real ones do. `allocate` (without `--masters`) and `delay-scheduling` need no cluster:
//! they drive the allocator itself.

mod allocate;
mod calls;
mod cluster;
mod decline;
mod delay_scheduling;
mod failover;
mod fill;
mod http1;
mod idle;
mod launch;
mod metrics;
mod read;
mod report;
mod sim_agent;

use std::process::ExitCode;

// As in the masters: what drives their parts in this process is measured with what they allocate with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "mesarch-bench",
    version,
    about = "Measures a fresh cluster of real masters on this machine, or the allocator alone"
)]
struct Cli {
    /// Print one JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Launches per second and the time from ACCEPT to RUNNING, on simulated agents.
    Launch(launch::Args),
    /// As `launch`, told for whole life-cycles: launch, RUNNING, FINISHED, each acknowledged and committed.
    Lifecycle(launch::Args),
    /// Losing the leader again and again: until the next commit, the next offer, and the last agent's return.
    Failover(failover::Args),
    /// As `failover`, told for a fleet of agents that come back with what they run.
    Reattach(failover::Args),
    /// The leader's cost while nothing happens, with all masters up and with one follower dead.
    Idle(idle::Args),
    /// The leader's cost while frameworks decline everything that agents have.
    Decline(decline::Args),
    /// What reading the state of a full cluster takes, and what readers cost the leader.
    Read(read::Args),
    /// Scheduler calls per second, and what one costs the leader.
    Calls(calls::Args),
    /// A full round of deciding who is offered what, and one single decision, in the allocator alone.
    Allocate(allocate::Args),
    /// How waiting for an agent that holds the input makes tasks local: a simulation on the real allocator.
    DelayScheduling(delay_scheduling::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let report = match cli.bench {
        Bench::Launch(args) => launch::run("launch", args).await?,
        Bench::Lifecycle(args) => launch::run("lifecycle", args).await?,
        Bench::Failover(args) => failover::run("failover", args).await?,
        Bench::Reattach(args) => failover::run("reattach", args).await?,
        Bench::Idle(args) => idle::run(args).await?,
        Bench::Decline(args) => decline::run(args).await?,
        Bench::Read(args) => read::run(args).await?,
        Bench::Calls(args) => calls::run(args).await?,
        Bench::Allocate(args) if args.is_table() && !cli.json => return allocate::print_table(&args),
        Bench::Allocate(args) => allocate::run(args).await?,
        Bench::DelayScheduling(args) => delay_scheduling::run(args)?,
    };
    report.print(cli.json)
}
