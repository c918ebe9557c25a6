//! The project's own commands: `cargo xtask verify` is what the CI runs, `cargo xtask fix` may change files.
//!
//! **Must never do:** `verify` writes nothing outside `target/`, so that it tells the truth about the tree as it is.

mod steps;
mod total;

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
    /// Checks format, lints and layers, builds everything and runs every test; never changes a file.
    Verify,
    /// Formats the code and applies the lints' own suggestions.
    Fix,
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Verify => steps::verify(),
        Command::Fix => steps::fix(),
    }
}
