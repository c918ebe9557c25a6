//! Keeps the log small by bytes; Raft itself counts only entries.

use std::time::Duration;

use mesarch_storage::{Log, SnapshotStore};

use crate::machine::Machine;
use crate::options::Compaction;
use crate::state_machine::Raft;
use crate::stop::{Stopping, stopped};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a look at the log asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Snapshot,
    Purge(u64),
}

/// Takes snapshots and purges by bytes until `stop`.
pub(crate) async fn compact<M: Machine>(
    raft: Raft<M>,
    log: Log,
    snapshots: SnapshotStore,
    options: Compaction,
    mut stop: Stopping,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        let covered = snapshots.newest().and_then(|newest| newest.meta().last_log_id).map(|id| id.index);
        let asked = match due(&log, covered, options) {
            Due::Nothing => continue,
            Due::Snapshot => raft.trigger().snapshot().await,
            Due::Purge(upto) => raft.trigger().purge_log(upto).await,
        };
        if asked.is_err() {
            return;
        }
    }
}

fn due(log: &Log, covered: Option<u64>, options: Compaction) -> Due {
    let Some(covered) = covered else {
        return if log.bytes() > options.snapshot_bytes { Due::Snapshot } else { Due::Nothing };
    };
    if log.bytes_after(covered) > options.snapshot_bytes {
        return Due::Snapshot;
    }
    match log.purge_point(options.keep_bytes) {
        Some(upto) => {
            let upto = upto.min(covered);
            let purged = log.purged().map(|id| id.index);
            if Some(upto) > purged { Due::Purge(upto) } else { Due::Nothing }
        }
        None => Due::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use mesarch_storage::types::{Entry, log_id};
    use mesarch_storage::{Backend, Fatal, Payload, Types};
    use openraft::EntryPayload;
    use openraft::storage::{IOFlushed, RaftLogStorage};
    use openraft::type_config::TypeConfigExt;

    use super::*;

    async fn log_of(count: u64, length: usize) -> (tempfile::TempDir, Log) {
        let dir = tempfile::tempdir().unwrap();
        let mut log =
            mesarch_storage::log::open_in(dir.path().into(), Backend::Segments, Fatal::default()).unwrap();
        let payload = || EntryPayload::Normal(Payload(vec![0; length].into()));
        let entries: Vec<_> =
            (0..count).map(|index| Entry { log_id: log_id(1, index), payload: payload() }).collect();
        let (flushed, on_disk) = Types::oneshot();
        log.append(entries, IOFlushed::signal(flushed)).await.unwrap();
        on_disk.await.unwrap().unwrap();
        (dir, log)
    }

    #[tokio::test]
    async fn bytes_decide_when_a_snapshot_and_a_purge_are_due() {
        let (_dir, mut log) = log_of(10, 1000).await;
        let options = Compaction { snapshot_bytes: 5_000, keep_bytes: 4_000, ..Compaction::default() };
        assert_eq!(due(&log, None, options), Due::Snapshot);
        assert_eq!(due(&log, None, Compaction { snapshot_bytes: 50_000, ..options }), Due::Nothing);
        assert_eq!(due(&log, Some(3), options), Due::Snapshot);
        assert_eq!(due(&log, Some(5), options), Due::Purge(5));
        assert_eq!(due(&log, Some(9), options), Due::Purge(6));
        log.purge(log_id(1, 6)).await.unwrap();
        assert_eq!(due(&log, Some(9), options), Due::Nothing);
    }
}
