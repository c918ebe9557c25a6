//! `mesarch allocator`: what it would do, and why it does what it does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use mesarch_allocator::scenario::{self, Scenario};
use mesarch_proto::admin::ExplainRequest;

use crate::commands::operate::{Output, Target, ask};
use crate::commands::{command_logs, command_runtime, print};
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  mesarch allocator simulate tomorrow.json             plays a scenario in virtual time; needs no cluster
  mesarch allocator simulate --json scenarios/*.json
  mesarch allocator explain --framework 0f3e…-0001     why it is offered nothing, over all agents
  mesarch allocator explain --framework 0f3e…-0001 --agent 0f3e…-S1 -o json

simulate exits with 0 if all scenarios pass, 1 if one fails, 2 if a file is no scenario.";

/// Plays scenarios, and explains why a framework is offered nothing
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Plays scenario files against the allocator, without a cluster
    Simulate {
        /// The scenarios, each a JSON file
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Verdicts as JSON objects, too
        #[arg(long)]
        json: bool,
    },
    /// Tells why a framework holds no offer of an agent, or of any, now
    Explain {
        /// The framework's id
        #[arg(long, value_name = "ID")]
        framework: String,
        /// Only this agent
        #[arg(long, value_name = "ID")]
        agent: Option<String>,
        /// How to show it
        #[arg(long, short, default_value = "table")]
        output: Output,
        #[command(flatten)]
        target: Target,
    },
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    match arguments.what {
        What::Simulate { files, json } => simulate(&files, json),
        What::Explain { framework, agent, output, target } => {
            command_runtime()?.block_on(explain(&target, ExplainRequest { framework, agent }, output))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// All files are read before the first is played: a text that is no scenario plays nothing.
fn simulate(files: &[PathBuf], json: bool) -> Result<ExitCode> {
    let scenarios = files.iter().map(|file| read(file)).collect::<Result<Vec<Scenario>>>()?;
    let mut passed = true;
    for scenario in &scenarios {
        let mut lines = String::new();
        let verdict = scenario::play(scenario, &mut |report| lines += &format!("{report}\n"));
        passed &= verdict.passed();
        let verdict = if json { serde_json::to_string(&verdict)? } else { verdict.to_string() };
        print(&format!("{lines}{verdict}\n"))?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> Result<Scenario> {
    let wrong = |error: &dyn std::fmt::Display| usage(format!("{}: {error}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| wrong(&error))?;
    scenario::read(&text).map_err(|error| wrong(&error))
}

async fn explain(target: &Target, request: ExplainRequest, output: Output) -> Result<()> {
    let reply = ask(target, async |mut client| client.explain(request.clone()).await).await?;
    match output {
        Output::Table => {
            let lines: String = reply.why.iter().map(|why| format!("{}\n", why.text)).collect();
            print(&lines)
        }
        Output::Json => {
            let reasons = reply.why.iter().map(|why| serde_json::from_str(&why.json));
            let reasons: Vec<serde_json::Value> = reasons.collect::<Result<_, _>>()?;
            print(&format!("{}\n", serde_json::to_string_pretty(&reasons)?))
        }
    }
}
