//! `mesarch whitelist`: on which hosts agents may be offered.

use std::process::ExitCode;

use anyhow::Result;
use mesarch_proto::admin::{GetWhitelistRequest, Hosts, SetWhitelistRequest};
use serde_json::json;

use crate::commands::operate::{Output, Target, ask};
use crate::commands::{command_logs, command_runtime, print};

const EXAMPLES: &str = "\
Examples:
  mesarch whitelist set host1 host2   only agents on these hosts are offered
  mesarch whitelist set               none is
  mesarch whitelist remove            all are again
  mesarch whitelist get

Offers that frameworks hold already are not taken back.";

/// Shows or sets the hosts whose agents may be offered
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
    /// The hosts, if they are restricted
    Get {
        /// How to show it
        #[arg(long, short, default_value = "table")]
        output: Output,
    },
    /// Restricts offers to these hosts
    Set {
        /// Host names, as the agents give them
        hosts: Vec<String>,
    },
    /// Lifts the restriction
    Remove,
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    command_runtime()?.block_on(async {
        match arguments.what {
            What::Get { output } => get(&arguments.target, output).await,
            What::Set { hosts } => set(&arguments.target, Some(hosts)).await,
            What::Remove => set(&arguments.target, None).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn set(target: &Target, hosts: Option<Vec<String>>) -> Result<()> {
    let text = words(hosts.as_deref());
    let request = SetWhitelistRequest { hosts: hosts.map(|names| Hosts { names }) };
    ask(target, async |mut client| client.set_whitelist(request.clone()).await).await?;
    print(&text)
}

async fn get(target: &Target, output: Output) -> Result<()> {
    let reply = ask(target, async |mut client| client.get_whitelist(GetWhitelistRequest {}).await).await?;
    let hosts = reply.hosts.map(|hosts| hosts.names);
    match output {
        Output::Table => print(&words(hosts.as_deref())),
        Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&json!({ "hosts": hosts }))?)),
    }
}

fn words(hosts: Option<&[String]>) -> String {
    match hosts {
        None => "agents on all hosts are offered\n".to_owned(),
        Some([]) => "no agents are offered\n".to_owned(),
        Some(hosts) => format!("only agents on these hosts are offered: {}\n", hosts.join(" ")),
    }
}
