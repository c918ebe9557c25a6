//! How many clusters may live at once.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Clusters that may live at once in one process; others wait for their turn. Tests run in parallel, and on a machine
/// that is too busy every deadline is a lie.
pub const CLUSTERS_MAX: usize = 2;

static SLOTS: Semaphore = Semaphore::const_new(CLUSTERS_MAX);

/// The right to run one cluster, given back when dropped.
pub type Slot = SemaphorePermit<'static>;

/// Waits for the right to run a cluster. [`Cluster::start`](crate::Cluster::start) does it by itself; whoever
/// starts one in another way takes a slot first.
pub async fn slot() -> Slot {
    SLOTS.acquire().await.expect("nobody closes it")
}
