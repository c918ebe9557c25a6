//! `mesarch priority`: who is served first under the policy `priority`.

use std::process::ExitCode;

use anyhow::Result;
use mesarch_proto::admin::{FrameworkPriority, GetPrioritiesRequest, RolePriority, SetPrioritiesRequest};
use serde_json::json;

use crate::commands::operate::{Output, Target, ask, assignment, table};
use crate::commands::{command_logs, command_runtime, print};
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  mesarch priority set prod=100 batch=-10
  mesarch priority set --framework 0f3e…-0001=5
  mesarch priority get

Higher is served first; 0 is the priority of whoever was never given one. A role's priority ranks it, with all below
it, among its siblings; a framework's ranks it within each of its roles. Only the policy `priority` looks at them
(mesarch policy set priority), and under it whoever is low may get nothing for as long as the high want something.";

/// Shows or sets the priorities of roles and frameworks
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
    /// All priorities other than zero
    Get {
        /// How to show it
        #[arg(long, short, default_value = "table")]
        output: Output,
    },
    /// Sets priorities, all of them or none
    Set {
        /// ROLE=N, from -1000000 to 1000000
        #[arg(value_name = "ROLE=N")]
        roles: Vec<String>,
        /// The same for a framework
        #[arg(long, value_name = "ID=N")]
        framework: Vec<String>,
    },
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    command_runtime()?.block_on(async {
        match &arguments.what {
            What::Get { output } => get(&arguments.target, *output).await,
            What::Set { roles, framework } => set(&arguments.target, roles, framework).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn set(target: &Target, roles: &[String], frameworks: &[String]) -> Result<()> {
    if roles.is_empty() && frameworks.is_empty() {
        return Err(usage("priority set: give ROLE=N or --framework ID=N"));
    }
    let role =
        |text: &String| whole(text, "priority").map(|(role, priority)| RolePriority { role, priority });
    let framework = |text: &String| {
        whole(text, "--framework").map(|(framework, priority)| FrameworkPriority { framework, priority })
    };
    let request = SetPrioritiesRequest {
        roles: roles.iter().map(role).collect::<Result<_>>()?,
        frameworks: frameworks.iter().map(framework).collect::<Result<_>>()?,
    };
    ask(target, async |mut client| client.set_priorities(request.clone()).await).await?;
    let all: Vec<&str> = roles.iter().chain(frameworks).map(String::as_str).collect();
    print(&format!("priorities are set: {}\n", all.join(" ")))
}

/// `NAME=N`; parsing says too little of what a number may be.
fn whole(text: &str, what: &str) -> Result<(String, i64)> {
    let (name, number) = assignment::<String>(text, what)?;
    let number =
        number.parse().map_err(|_| usage(format!("{what}: {text:?}: {number:?} is not a whole number")))?;
    Ok((name, number))
}

async fn get(target: &Target, output: Output) -> Result<()> {
    let reply = ask(target, async |mut client| client.get_priorities(GetPrioritiesRequest {}).await).await?;
    let roles = reply.roles.into_iter().map(|one| ("role", one.role, one.priority));
    let frameworks = reply.frameworks.into_iter().map(|one| ("framework", one.framework, one.priority));
    let all = roles.chain(frameworks);
    match output {
        Output::Table => {
            let rows: Vec<_> =
                all.map(|(kind, name, priority)| vec![kind.to_owned(), name, priority.to_string()]).collect();
            print(&table(&["KIND", "NAME", "PRIORITY"], &[2], &rows))
        }
        Output::Json => {
            let all: Vec<_> =
                all.map(|(kind, name, priority)| json!({ kind: name, "priority": priority })).collect();
            print(&format!("{}\n", serde_json::to_string_pretty(&all)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_whole_numbers() {
        assert_eq!(whole("prod=-5", "priority").unwrap(), ("prod".to_owned(), -5));
        for wrong in ["prod=1.5", "prod=high", "prod="] {
            let error = whole(wrong, "priority").unwrap_err().to_string();
            assert!(error.contains(wrong) && error.ends_with("is not a whole number"), "{error}");
        }
    }
}
