//! What `snapshot restore` and `recover` share: a data directory from which a cluster goes on with one master.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use mesarch_state::{State, snapshot};
use mesarch_storage::seed::{Seed, SeedError, plant};
use mesarch_storage::types::LogId;
use mesarch_types::NodeId;

use crate::commands::{members, print, tell};
use crate::failure::usage;
use mesarch_storage::NodeInfo;

/// Which directory is made, and for whom.
#[derive(clap::Args)]
pub(super) struct Target {
    /// The directory to make: empty, or not there yet
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
    /// The first master of the cluster, with the addresses that it will serve at: number=host:raftport/clientport. Take a
    /// number that was never used
    #[arg(long, value_name = "MASTER")]
    member: String,
    /// The incarnation of the cluster, which must be above any that it ever had [default: the seconds since 1970]
    #[arg(long, value_name = "N")]
    incarnation: Option<u64>,
}

/// The state that is gone on from, and the entry after which it stands.
pub(super) struct Beginning {
    pub(super) state: State,
    pub(super) last: LogId,
}

/// Makes the directory and tells what comes next.
pub(super) fn begin(target: &Target, beginning: &Beginning) -> Result<()> {
    let Beginning { state, last } = beginning;
    let member = members::parse(&target.member)?;
    let cluster =
        state.cluster().context("no cluster has begun in this state: there is nothing to go on from")?;
    let incarnation = incarnation(target.incarnation, state.incarnation())?;
    let seed = Seed {
        node: NodeId(member.node),
        info: NodeInfo { raft: member.raft.clone(), client: member.client.clone() },
        cluster,
        incarnation,
        last: *last,
    };
    let planted = plant(&target.data_dir, &seed, |out| snapshot::encode(state, out));
    let index = planted.map_err(|error| match error {
        SeedError::NotEmpty { .. } => usage(format!("--data-dir: {error}")),
        SeedError::Disk(_) | SeedError::Member(_) => error.into(),
    })?;
    let counts = state.counts();
    print(&format!(
        "{}: cluster {cluster}, incarnation {incarnation}, from entry {} on as entry {index}: {} agents, {} frameworks, {} tasks\n",
        target.data_dir.display(),
        last.index,
        counts.agents,
        counts.frameworks,
        counts.tasks
    ))?;
    let (listen, raft) = (&member.client, &member.raft);
    tell(&format!(
        "next: see that no old master ever starts again, then start this one with --node-id={} --data-dir={} \
         --listen={listen} --raft-listen={raft} and without --bootstrap, and add others: mesarch members add",
        member.node,
        target.data_dir.display()
    ));
    Ok(())
}

/// Higher than any before. Two restores of one backup must not get the same, or both would be listened to: hence the time.
fn incarnation(asked: Option<u64>, before: u64) -> Result<u64> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match asked {
        Some(asked) if asked <= before => {
            Err(usage(format!("--incarnation {asked}: the cluster had {before} already; name a higher one")))
        }
        Some(asked) => Ok(asked),
        None => Ok(seconds.max(before + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_is_always_a_new_one() {
        assert!(incarnation(None, 1).unwrap() > 1_700_000_000);
        assert_eq!(incarnation(None, u64::MAX - 1).unwrap(), u64::MAX);
        assert_eq!(incarnation(Some(3), 2).unwrap(), 3);
        assert!(incarnation(Some(2), 2).unwrap_err().to_string().contains("the cluster had 2"));
    }
}
