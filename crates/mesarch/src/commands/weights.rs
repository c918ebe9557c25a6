//! `mesarch weights`: how shares are divided among roles.

use std::process::ExitCode;

use anyhow::Result;
use mesarch_proto::admin::{GetWeightsRequest, RoleWeight, SetWeightsRequest};
use mesarch_types::Weight;
use serde_json::json;

use crate::commands::operate::{Output, Target, ask, assignment, table};
use crate::commands::{command_logs, command_runtime, print};
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  mesarch weights set eng=2.5 ops=1   eng is due two and a half times as much as ops
  mesarch weights get -o json

A role that was never given a weight has weight 1.";

/// Shows or sets the weights of roles
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
    /// All weights that were set
    Get {
        /// How to show it
        #[arg(long, short, default_value = "table")]
        output: Output,
    },
    /// Sets weights, all of them or none
    Set {
        /// ROLE=WEIGHT, from 0.001 to 1000000
        #[arg(required = true, value_name = "ROLE=WEIGHT")]
        weights: Vec<String>,
    },
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    command_runtime()?.block_on(async {
        match &arguments.what {
            What::Get { output } => get(&arguments.target, *output).await,
            What::Set { weights } => set(&arguments.target, weights).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn set(target: &Target, texts: &[String]) -> Result<()> {
    let weights = texts.iter().map(|text| {
        let (role, weight) = assignment::<f64>(text, "weight")?;
        let weight = Weight::from_f64(weight).map_err(|error| usage(format!("{role}: {error}")))?;
        Ok(RoleWeight { role, thousandths: weight.thousandths() })
    });
    let request = SetWeightsRequest { weights: weights.collect::<Result<_>>()? };
    ask(target, async |mut client| client.set_weights(request.clone()).await).await?;
    print(&format!("weights are set: {}\n", texts.join(" ")))
}

async fn get(target: &Target, output: Output) -> Result<()> {
    let reply = ask(target, async |mut client| client.get_weights(GetWeightsRequest {}).await).await?;
    let weights = reply.weights.into_iter().map(|one| (one.role, one.thousandths as f64 / 1000.0));
    match output {
        Output::Table => {
            let rows: Vec<_> = weights.map(|(role, weight)| vec![role, weight.to_string()]).collect();
            print(&table(&["ROLE", "WEIGHT"], &[1], &rows))
        }
        Output::Json => {
            let all: Vec<_> =
                weights.map(|(role, weight)| json!({ "role": role, "weight": weight })).collect();
            print(&format!("{}\n", serde_json::to_string_pretty(&all)?))
        }
    }
}
