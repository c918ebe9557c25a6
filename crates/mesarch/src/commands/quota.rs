//! `mesarch quota`: what a role is sure to get, and what it gets at most.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use mesarch_proto::admin::{GetQuotaRequest, RoleQuota, SetQuotaRequest};
use serde_json::json;

use crate::commands::operate::{self, Output, Refused, Target, amounts, ask, rescinded, show, table};
use crate::commands::{command_logs, command_runtime, print};
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  mesarch quota set eng --guarantee 'cpus:4;mem:8192' --limit 'cpus:16;mem:65536'
  mesarch quota set batch --limit cpus:8          a limit alone; other kinds are not limited
  mesarch quota set batch --limit cpus:2 --force  even below what is in use
  mesarch quota get
  mesarch quota remove batch

A quota belongs to a top-level role and holds for all roles below it. Setting one replaces the role's former quota.";

/// Shows, sets or removes the quotas of roles
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
    /// All quotas, or that of one role, with what is reserved and in use
    Get {
        /// Only this role's
        role: Option<String>,
        /// How to show it
        #[arg(long, short, default_value = "table")]
        output: Output,
    },
    /// Sets the quota of a role
    Set {
        /// A top-level role
        role: String,
        /// What the role is sure to get
        #[arg(long, value_name = "AMOUNTS")]
        guarantee: Option<String>,
        /// What it gets at most
        #[arg(long, value_name = "AMOUNTS")]
        limit: Option<String>,
        /// Even if the role uses more than the limit, or the cluster has less than is guaranteed
        #[arg(long)]
        force: bool,
    },
    /// Removes the quota of a role
    Remove {
        /// A top-level role
        role: String,
    },
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    command_runtime()?.block_on(act(&arguments))?;
    Ok(ExitCode::SUCCESS)
}

async fn act(arguments: &Arguments) -> Result<()> {
    let target = &arguments.target;
    match &arguments.what {
        What::Get { role, output } => get(target, role.as_deref(), *output).await,
        What::Set { guarantee: None, limit: None, .. } => {
            Err(usage("quota set: give --guarantee, --limit or both; `mesarch quota remove ROLE` removes it"))
        }
        What::Set { role, guarantee, limit, force } => {
            let quota = RoleQuota {
                role: role.clone(),
                guarantees: amounts("--guarantee", guarantee.as_deref())?,
                limits: amounts("--limit", limit.as_deref())?,
                consumed: Vec::new(),
            };
            let offers = set(target, quota, *force).await?;
            print(&format!("quota of {role} is set{}\n", rescinded(offers)))
        }
        What::Remove { role } => {
            let none = RoleQuota { role: role.clone(), ..RoleQuota::default() };
            set(target, none, false).await?;
            print(&format!("{role} has no quota\n"))
        }
    }
}

async fn set(target: &Target, quota: RoleQuota, force: bool) -> Result<u32> {
    let request = SetQuotaRequest { quotas: vec![quota], force };
    let asked = ask(target, async |mut client| client.set_quota(request.clone()).await).await;
    // What the cluster has or uses now stands in the way, and may be overridden; wrong input may not.
    let refused = |error: &anyhow::Error| {
        error.downcast_ref::<Refused>().is_some_and(|refused| refused.0.starts_with("quota of "))
    };
    match asked {
        Err(error) if !force && refused(&error) => Err(anyhow!("{error} (--force sets it all the same)")),
        asked => Ok(asked?.rescinded),
    }
}

async fn get(target: &Target, role: Option<&str>, output: Output) -> Result<()> {
    let reply = ask(target, async |mut client| client.get_quota(GetQuotaRequest {}).await).await?;
    let quotas = reply.quotas.into_iter().filter(|quota| role.is_none_or(|role| quota.role == role));
    match output {
        Output::Table => {
            let row = |quota: RoleQuota| {
                let RoleQuota { role, guarantees, limits, consumed } = quota;
                vec![role, show(&guarantees), show(&limits), show(&consumed)]
            };
            let rows: Vec<_> = quotas.map(row).collect();
            print(&table(&["ROLE", "GUARANTEE", "LIMIT", "CONSUMED"], &[], &rows))
        }
        Output::Json => {
            let one = |quota: RoleQuota| {
                json!({
                    "role": quota.role,
                    "guarantees": operate::json(&quota.guarantees),
                    "limits": operate::json(&quota.limits),
                    "consumed": operate::json(&quota.consumed),
                })
            };
            let all: Vec<_> = quotas.map(one).collect();
            print(&format!("{}\n", serde_json::to_string_pretty(&all)?))
        }
    }
}
