//! How the tasks of a node learn that it ends.

use tokio::sync::watch;

/// Says once that the node ends.
pub(crate) type Stopping = watch::Receiver<bool>;

/// Returns once the node ends. A node whose [`Running`](crate::Running) was dropped runs on: a listener that closes while
/// Raft lives would tell the others a lie.
pub(crate) async fn stopped(stopping: &mut Stopping) {
    if stopping.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
