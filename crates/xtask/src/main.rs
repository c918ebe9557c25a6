//! The project's own commands: `cargo xtask verify` is what the CI runs, `cargo xtask fix` may change files, `fuzz` and `laws`
//! try more cases than there is time for in every run, `upgrade-test` upgrades an older version to this one, `self-test` shows that
//! the chaos suite catches known bugs.
//!
//! **Must never do:** `verify` writes nothing outside `target/`, so that it tells the truth about the tree as it is.

mod aside;
mod self_test;
mod steps;
mod total;
mod upgrade;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks format, lints and layers, builds everything, runs every test and, beside them, a minute of random texts; never
    /// changes a file.
    Verify,
    /// Formats the code and applies the lints' own suggestions.
    Fix,
    /// Throws random texts at the readers of resource texts, scenarios and requests; one that fails is kept in
    /// `target/fuzz`. With `--minutes` also random bytes at the sockets of a master and an agent, a quarter of the time
    /// each.
    Fuzz {
        /// For how long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// The same in minutes, and all of it.
        #[arg(long, conflicts_with = "seconds")]
        minutes: Option<u64>,
        /// Where chance begins, to see the same texts again; drawn from the clock if not given.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Runs the property tests with many more cases than `verify` does.
    Laws {
        /// How many cases of each property.
        #[arg(long, default_value_t = 10_000)]
        cases: u32,
        /// Of which packages.
        #[arg(long = "package", default_values = ["mesarch-types", "mesarch-allocator", "mesarch-state"])]
        packages: Vec<String>,
    },
    /// Switches known bugs on, one after the other, and lets the chaos suite catch each; prints a table in Markdown.
    SelfTest {
        /// Only this bug, as `mesarch-jepsen --fault` names it.
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// How many seeds may be tried until a bug is caught.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
    },
    /// Builds an older version and upgrades a cluster of it to this one under load, with a step back on the way.
    UpgradeTest {
        /// A commit or a tag; by default the last commit before the feature level was raised.
        #[arg(long)]
        from: Option<String>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Verify => steps::verify(),
        Command::Fix => steps::fix(),
        Command::Fuzz { seconds, minutes: None, seed } => steps::fuzz(seconds, seed),
        Command::Fuzz { minutes: Some(minutes), seed, .. } => steps::fuzz_all(minutes, seed),
        Command::Laws { cases, packages } => steps::laws(cases, &packages),
        Command::SelfTest { only, seeds } => self_test::self_test(only.as_deref(), seeds),
        Command::UpgradeTest { from } => upgrade::upgrade_test(from.as_deref()),
    }
}
