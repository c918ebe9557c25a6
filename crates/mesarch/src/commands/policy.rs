//! `mesarch policy`: who comes first.

use std::process::ExitCode;

use anyhow::Result;
use mesarch_proto::admin::{GetPolicyRequest, SetPolicyRequest};
use serde_json::json;

use crate::commands::operate::{Output, Target, ask};
use crate::commands::{command_logs, command_runtime, print};

const EXAMPLES: &str = "\
Examples:
  mesarch policy get
  mesarch policy set priority   roles and frameworks by priority, fair shares among equals
  mesarch policy set drf        fair shares (dominant resource fairness), the default

The policy is part of the replicated log: it holds at once, and for every later leader.";

/// Shows or changes the allocation policy
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Subcommand)]
enum What {
    /// The policy in force, and those there are
    Get {
        /// How to show it
        #[arg(long, short, default_value = "table")]
        output: Output,
    },
    /// Chooses a policy
    Set {
        /// drf, priority, random, or one that the masters' binary adds
        name: String,
    },
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    command_runtime()?.block_on(async {
        match &arguments.what {
            What::Get { output } => get(&arguments.target, *output).await,
            What::Set { name } => set(&arguments.target, name).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn set(target: &Target, name: &str) -> Result<()> {
    let request = SetPolicyRequest { name: name.to_owned() };
    ask(target, async |mut client| client.set_policy(request.clone()).await).await?;
    print(&format!("the policy is {name}\n"))
}

async fn get(target: &Target, output: Output) -> Result<()> {
    let reply = ask(target, async |mut client| client.get_policy(GetPolicyRequest {}).await).await?;
    match output {
        Output::Table => {
            let mark = |name: &String| {
                if *name == reply.name { format!("{name} (in force)\n") } else { format!("{name}\n") }
            };
            let known: String = reply.known.iter().map(mark).collect();
            let unknown = !reply.known.contains(&reply.name);
            let note = if unknown {
                format!("{} (in force, unknown to the leader, which goes by drf)\n", reply.name)
            } else {
                String::new()
            };
            print(&(known + &note))
        }
        Output::Json => {
            let policy = json!({ "policy": reply.name, "known": reply.known });
            print(&format!("{}\n", serde_json::to_string_pretty(&policy)?))
        }
    }
}
