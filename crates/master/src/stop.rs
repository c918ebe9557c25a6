//! The word to stop, as every long-running task waits for it.

use tokio::sync::watch;

/// Set once, to true.
pub(crate) type Stop = watch::Receiver<bool>;

/// Waits until the task is to stop. If nobody is left to say so, that is the end, too.
pub(crate) async fn stopped(stop: &mut Stop) {
    let _ = stop.wait_for(|stop| *stop).await;
}
