//! `mesarch reserve` and `mesarch unreserve`: resources of an agent for a role.

use std::process::ExitCode;

use anyhow::Result;
use mesarch_mesos_v1::convert::{ResourceForm, resources_to_v1};
use mesarch_proto::admin::ConvertRequest;
use mesarch_types::{ReservationKind, Resource, Role, parse_resources};

use crate::commands::operate::{Target, ask, rescinded};
use crate::commands::{command_logs, command_runtime, print};
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  mesarch reserve --agent 0f3e…-S1 'cpus(eng,ops):4;mem(eng,ops):8192'   4 cpus for role eng, reserved by ops
  mesarch unreserve --agent 0f3e…-S1 'cpus(eng,ops):2'
  mesarch get agents                                                     the agents' ids

Resources are written name(role,principal):amount; the principal may be empty. Offers that stand in the way are taken
back; what tasks use is not. The masters keep reservations; the agent itself does not store them yet.";

/// Which resources of which agent
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The agent's id
    #[arg(long, value_name = "ID")]
    agent: String,
    /// The resources with their reservation
    resources: String,
    #[command(flatten)]
    target: Target,
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Reserve,
    Unreserve,
}

/// Written with a principal, which may be empty: without one it is what an agent reserves for itself.
fn is_reserved_by_operator(resource: &Resource) -> bool {
    resource.reservations.last().is_some_and(|top| top.kind == ReservationKind::Dynamic)
}

pub(crate) fn run(arguments: &Arguments, direction: Direction, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    let resources = parse_resources(&arguments.resources, &Role::any()).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        usage(format!("resources: {error}{cause}"))
    })?;
    if let Some(bare) = resources.iter().find(|resource| !is_reserved_by_operator(resource)) {
        return Err(usage(format!(
            "resources: {bare} names no reservation: write name(role,principal):amount"
        )));
    }
    let request = ConvertRequest {
        agent: arguments.agent.clone(),
        resources: resources_to_v1(&resources, ResourceForm::New),
    };
    let call = async {
        match direction {
            Direction::Reserve => {
                ask(&arguments.target, async |mut client| client.reserve(request.clone()).await).await
            }
            Direction::Unreserve => {
                ask(&arguments.target, async |mut client| client.unreserve(request.clone()).await).await
            }
        }
    };
    let offers = command_runtime()?.block_on(call)?.rescinded;
    let done = if direction == Direction::Reserve { "reserved" } else { "unreserved" };
    print(&format!("{done} {resources} of {}{}\n", arguments.agent, rescinded(offers)))?;
    Ok(ExitCode::SUCCESS)
}
