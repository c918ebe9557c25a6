//! The one binary: `mesarch master | agent | dev | demo | run | get`, and what operators change with it.
//!
//! Each subcommand is a file in `commands/`: flags become the options of a service, and the service runs.
//!
//! **Must never do:** hold logic that a library could hold, or print anything but results on standard output.

mod arguments;
mod cluster;
mod commands;
mod duration;
mod failure;
mod port;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::reserve::Direction;

// Masters clone and drop small things by the thousand on several threads, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A highly available cluster manager: masters offer the resources of agents to frameworks, which run tasks on them.
#[derive(Parser)]
#[command(name = "mesarch", version, arg_required_else_help = true, after_help = arguments::EXAMPLES)]
struct Cli {
    /// What to log, on standard error: a level or target=level,… (default: $RUST_LOG, else info)
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Breaks a promise, to see whether the chaos suite notices
    #[cfg(feature = "faults")]
    #[arg(long = "fault", global = true, hide = true, value_name = "NAME", value_parser = fault)]
    faults: Vec<mesarch_faults::Fault>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Master(Box<commands::master::Arguments>),
    Agent(Box<commands::agent::Arguments>),
    Dev(commands::dev::Arguments),
    Demo(commands::demo::Arguments),
    Run(commands::run::Arguments),
    Get(commands::get::Arguments),
    Members(commands::members::Arguments),
    Quota(commands::quota::Arguments),
    Weights(commands::weights::Arguments),
    Policy(commands::policy::Arguments),
    Priority(commands::priority::Arguments),
    Whitelist(commands::whitelist::Arguments),
    /// Reserves resources of an agent for a role
    Reserve(commands::reserve::Arguments),
    /// Takes a reservation back
    Unreserve(commands::reserve::Arguments),
    Allocator(commands::allocator::Arguments),
    Debug(commands::debug::Arguments),
    Snapshot(commands::snapshot::Arguments),
    Recover(commands::recover::Arguments),
}

#[cfg(feature = "faults")]
fn fault(name: &str) -> Result<mesarch_faults::Fault, String> {
    mesarch_faults::Fault::named(name).ok_or_else(|| "there is no such fault".to_owned())
}

fn main() -> ExitCode {
    if let Some(status) = commands::executor::if_asked(std::env::args_os()) {
        return status;
    }
    let cli = match Cli::try_parse_from(arguments::normalized(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return arguments::report(&error),
    };
    #[cfg(feature = "faults")]
    cli.faults.iter().copied().for_each(mesarch_faults::switch_on);
    let is_run = matches!(cli.command, Command::Run(_));
    run(cli).unwrap_or_else(|error| failure::report(&error, is_run))
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let log = cli.log.as_deref();
    match cli.command {
        Command::Master(arguments) => commands::master::run(*arguments, log),
        Command::Agent(arguments) => commands::agent::run(*arguments, log),
        Command::Dev(arguments) => commands::dev::run(arguments, log),
        Command::Demo(arguments) => commands::demo::run(arguments, log),
        Command::Run(arguments) => commands::run::run(arguments, log),
        Command::Get(arguments) => commands::get::run(arguments, log),
        Command::Members(arguments) => commands::members::run(arguments, log),
        Command::Quota(arguments) => commands::quota::run(arguments, log),
        Command::Weights(arguments) => commands::weights::run(arguments, log),
        Command::Policy(arguments) => commands::policy::run(arguments, log),
        Command::Priority(arguments) => commands::priority::run(arguments, log),
        Command::Whitelist(arguments) => commands::whitelist::run(arguments, log),
        Command::Reserve(arguments) => commands::reserve::run(&arguments, Direction::Reserve, log),
        Command::Unreserve(arguments) => commands::reserve::run(&arguments, Direction::Unreserve, log),
        Command::Allocator(arguments) => commands::allocator::run(arguments, log),
        Command::Debug(arguments) => commands::debug::run(arguments, log),
        Command::Snapshot(arguments) => commands::snapshot::run(arguments, log),
        Command::Recover(arguments) => commands::recover::run(arguments, log),
    }
}
