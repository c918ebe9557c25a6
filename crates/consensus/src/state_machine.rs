//! The apply path: committed entries go to the machine, outcomes to their waiters, snapshots to files.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use mesarch_state::comparison::Voters;
use mesarch_storage::types::{Entry, LogId, SnapshotMeta, StoredMembership};
use mesarch_storage::{Fatal, SnapshotFile, SnapshotStore, Types};
use mesarch_types::NodeId;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::SnapshotOf;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use crate::compare::Checkpoints;
use crate::envelope::Envelope;
use crate::machine::{Corrupt, EntryContext, LogPosition, Machine};
use crate::metrics::ApplyMetrics;
use crate::waiters::Waiters;

/// Raft over a machine.
pub(crate) type Raft<M> = openraft::Raft<Types, Applier<M>>;
/// A snapshot as it travels: what it covers and its file.
pub(crate) type Snapshot = SnapshotOf<Types, SnapshotFile>;

/// The machine as Raft sees it.
pub(crate) struct Applier<M: Machine> {
    /// Away while a blocking thread restores it.
    machine: Option<M>,
    last: Option<LogId>,
    membership: StoredMembership,
    waiters: Arc<Waiters<M::Outcome>>,
    snapshots: SnapshotStore,
    /// Index of the last applied entry.
    applied: watch::Sender<u64>,
    /// Where states go that are compared with the other nodes'; none: nowhere.
    checkpoints: Option<Checkpoints<M::Frozen>>,
    fatal: Fatal,
    metrics: ApplyMetrics,
}

impl<M: Machine> Applier<M> {
    pub(crate) fn new(
        machine: M,
        waiters: Arc<Waiters<M::Outcome>>,
        snapshots: SnapshotStore,
        applied: watch::Sender<u64>,
        fatal: Fatal,
    ) -> Self {
        let (last, membership) = Default::default();
        let metrics = ApplyMetrics::new();
        let machine = Some(machine);
        Self { machine, last, membership, waiters, snapshots, applied, checkpoints: None, fatal, metrics }
    }

    /// The same, with states to be compared left at `checkpoints`.
    pub(crate) fn comparing(self, checkpoints: Checkpoints<M::Frozen>) -> Self {
        Self { checkpoints: Some(checkpoints), ..self }
    }

    async fn apply_one(&mut self, entry: Entry) -> Result<(), Corrupt> {
        let id = entry.log_id;
        if self.last.is_some_and(|last| id.index <= last.index) {
            return Err(Corrupt::new(format!("entry {id} was delivered after {:?}", self.last)));
        }
        let proposed = match entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Membership(members) => {
                self.membership = StoredMembership::new(Some(id), members);
                None
            }
            EntryPayload::Normal(payload) => {
                let applied = self.apply_commands(id, Envelope::decode(payload)?).await?;
                self.leave_checkpoint(id.index);
                Some(applied)
            }
        };
        self.last = Some(id);
        // Readers first, waiters second: an outcome implies that it can be read.
        self.applied.send_replace(id.index);
        self.metrics.index.set(id.index as f64);
        self.waiters.applied(id.leader_id.term, proposed);
        Ok(())
    }

    async fn apply_commands(
        &mut self,
        id: LogId,
        envelope: Envelope,
    ) -> Result<(crate::envelope::Origin, u64, Vec<M::Outcome>), Corrupt> {
        let context = EntryContext { index: id.index, term: id.leader_id.term, stamp: envelope.stamp };
        let count = envelope.commands.len();
        let machine =
            self.machine.as_mut().ok_or_else(|| Corrupt::new("the state was lost in a failed restore"))?;
        let outcomes = machine.apply(context, envelope.commands).await?;
        if outcomes.len() != count {
            return Err(Corrupt::new(format!("{} outcomes for {count} commands", outcomes.len())));
        }
        self.metrics.commands.increment(count as u64);
        Ok((envelope.origin, envelope.first, outcomes))
    }

    fn leave_checkpoint(&self, index: u64) {
        let (Some(machine), Some(checkpoints)) = (&self.machine, &self.checkpoints) else {
            return;
        };
        if machine.is_checkpoint() {
            checkpoints.take(index, voters(&self.membership), || machine.freeze());
        }
    }

    async fn restore(&mut self, snapshot: SnapshotFile, at: LogPosition) -> io::Result<()> {
        let mut machine = self.machine.take().ok_or_else(|| io::Error::other("the state is away"))?;
        let restored = tokio::task::spawn_blocking(move || {
            let result = match snapshot.state() {
                Ok(mut state) => machine.restore(&mut state, at).map_err(io::Error::other),
                Err(error) => Err(error),
            };
            (machine, result)
        });
        let (machine, result) = restored.await.map_err(io::Error::other)?;
        self.machine = Some(machine);
        result
    }

    async fn install(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFile) -> io::Result<()> {
        let Some(last) = meta.last_log_id else {
            return Ok(());
        };
        let at = LogPosition { index: last.index, term: last.leader_id.term };
        self.restore(snapshot.clone(), at).await?;
        // Only a snapshot that could be restored becomes the one that a restart begins from.
        let store = self.snapshots.clone();
        let adopted = tokio::task::spawn_blocking(move || store.adopt(&snapshot)).await;
        adopted.map_err(io::Error::other)?.map_err(io::Error::other)?;
        self.last = Some(last);
        self.membership = meta.last_membership.clone();
        self.applied.send_replace(last.index);
        self.metrics.index.set(last.index as f64);
        self.waiters.installed(last.leader_id.term);
        Ok(())
    }

    fn stop(&self, doing: &str, error: impl std::fmt::Display) {
        self.fatal.report(format_args!("cannot {doing}: {error}"));
    }
}

/// Who votes by `membership`: one set, or two while the members change.
fn voters(membership: &StoredMembership) -> Voters {
    let sets = membership.membership().get_joint_config();
    sets.iter().map(|set| set.iter().copied().map(NodeId).collect()).collect()
}

impl<M: Machine> RaftStateMachine<Types> for Applier<M> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder<M>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let id = entry.log_id;
            if let Err(corrupt) = self.apply_one(entry).await {
                self.stop(&format!("apply entry {id}"), &corrupt);
                return Err(io::Error::other(corrupt));
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        Builder {
            frozen: Mutex::new(self.machine.as_ref().map(Machine::freeze)),
            meta: SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() },
            snapshots: self.snapshots.clone(),
            fatal: self.fatal.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let installed = self.install(meta, snapshot).await;
        installed.inspect_err(|error| self.stop("install a snapshot", error))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.snapshots.newest().map(|file| Snapshot { meta: file.meta().clone(), snapshot: file }))
    }
}

/// A frozen state on its way to a file.
pub(crate) struct Builder<M: Machine> {
    /// Behind a lock only because Raft wants builders that can be shared.
    frozen: Mutex<Option<M::Frozen>>,
    meta: SnapshotMeta,
    snapshots: SnapshotStore,
    fatal: Fatal,
}

impl<M: Machine> RaftSnapshotBuilder<Types> for Builder<M> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let frozen = self.frozen.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let frozen = frozen.ok_or_else(|| io::Error::other("the state was already taken"))?;
        let (store, meta) = (self.snapshots.clone(), self.meta.clone());
        // Encoding and dropping half a million values takes long: neither belongs on an async thread.
        let written = tokio::task::spawn_blocking(move || store.write(&meta, |out| M::encode(frozen, out)));
        let file = written.await.map_err(io::Error::other)?.map_err(|error| {
            self.fatal.report(format_args!("cannot write a snapshot: {error}"));
            io::Error::other(error)
        })?;
        Ok(Snapshot { meta: file.meta().clone(), snapshot: file })
    }
}

#[cfg(test)]
#[path = "state_machine_test.rs"]
mod tests;
