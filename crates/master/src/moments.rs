//! What every applied entry changed, for those on this master who follow the state as it changes: each in its order,
//! none left out, whoever leads.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use mesarch_state::Change;
use tokio::sync::broadcast;

use crate::machine::Published;

/// Most entries that a follower may be behind; one that is further behind has missed some, and is told so.
const MOMENTS_MAX: usize = 1024;

/// One step of the state.
#[derive(Clone, Debug)]
pub(crate) enum Moment {
    /// An entry was applied.
    Applied(Arc<Step>),
    /// Another master's snapshot took the state's place: what changed in between is not known.
    Replaced,
}

/// The state before and after one entry, and what changed.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) before: Arc<Published>,
    pub(crate) after: Arc<Published>,
    /// Of all commands of the entry, in order.
    pub(crate) changes: Vec<Change>,
    /// What it is to operators, written once for all that read it: as JSON, and as protobuf.
    pub(crate) written: [OnceLock<Vec<Bytes>>; 2],
}

/// Where the machine tells of its steps. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Moments(broadcast::Sender<Moment>);

impl Default for Moments {
    fn default() -> Self {
        Self(broadcast::channel(MOMENTS_MAX).0)
    }
}

impl Moments {
    /// Everything that happens from now on. Whoever looks at the newest state after this misses nothing.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Moment> {
        self.0.subscribe()
    }

    /// Tells of an entry. Never waits; costs nothing while nobody follows.
    pub(crate) fn applied(&self, before: &Arc<Published>, after: &Arc<Published>, changes: &[Change]) {
        if self.0.receiver_count() > 0 && !changes.is_empty() {
            let (before, after, changes) = (before.clone(), after.clone(), changes.to_vec());
            let written = Default::default();
            // Fails only if the last follower went just now.
            let _ = self.0.send(Moment::Applied(Arc::new(Step { before, after, changes, written })));
        }
    }

    /// Tells that the state was replaced.
    pub(crate) fn replaced(&self) {
        let _ = self.0.send(Moment::Replaced);
    }
}
