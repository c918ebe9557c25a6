//! `mesarch recover`: a cluster that has lost its quorum goes on from what one master has left.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::commands::begin_anew::{Beginning, Target, begin};
use crate::commands::debug::{self, Past};
use crate::commands::{command_logs, print, tell};
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  mesarch recover --from /var/lib/mesarch --look       what a master that is left has, and what would be lost
  mesarch recover --from /var/lib/mesarch --data-dir /var/lib/mesarch-new --member 7=10.0.0.7:5052/5050 \\
    --i-accept-losing-what-only-others-had

As long as a majority of the masters can be brought back with their disks, do that instead: then nothing is lost.";

/// Makes the data directory of a cluster of one master from that of a master that is left, when a majority is lost for good
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The data directory of the stopped master, or a copy; nothing in it is changed
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// Only tells how far it reaches. Of several masters that are left, take the one with the highest last term, then entry
    #[arg(long, conflicts_with_all = ["data_dir", "member", "incarnation", "i_accept_losing_what_only_others_had"])]
    look: bool,
    #[command(flatten)]
    target: Option<Target>,
    /// What the masters that are lost had acknowledged, and this one had not got yet, is gone
    #[arg(long)]
    i_accept_losing_what_only_others_had: bool,
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    if !arguments.look && arguments.target.is_none() {
        return Err(usage("--look, or --data-dir and --member, say what is to be done"));
    }
    let past = Past::whole(&debug::open(&arguments.from)?)?;
    let reach = past.reach();
    print(&format!("{}: {reach}\n", arguments.from.display()))?;
    let Some(target) = arguments.target.filter(|_| !arguments.look) else {
        return Ok(ExitCode::SUCCESS);
    };
    tell(
        "what only others had is lost: tasks whose launch this master had not got are adopted when their agents come \
         back, but frameworks, quotas and the like that it had not got are gone",
    );
    if !arguments.i_accept_losing_what_only_others_had {
        return Err(usage("nothing was done: --i-accept-losing-what-only-others-had confirms it"));
    }
    let last = past.last();
    begin(&target, &Beginning { state: past.into_state(), last })?;
    Ok(ExitCode::SUCCESS)
}
