//! Threads on which Raft and the log run, and nothing else: what clients ask for may keep every other worker busy, and
//! must neither delay heartbeats nor depose the leader.

use std::{future::Future, io};

use tokio::runtime::{Builder, Runtime};

/// Enough for Raft's core to go on while the state is applied.
const THREADS: usize = 2;

/// The threads; they end, with all that runs on them, when this is dropped.
#[derive(Debug)]
pub(crate) struct RaftThreads(Option<Runtime>);

impl RaftThreads {
    /// Starts them.
    pub(crate) fn new() -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("raft").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `start` on the threads, and whatever it spawns. An error if it panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        start: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(start).await.map_err(io::Error::other),
            None => Err(io::Error::other("the threads have ended")),
        }
    }
}

impl Drop for RaftThreads {
    fn drop(&mut self) {
        // Waiting for them is not allowed where this may be dropped.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
