//! A running node: what it consists of, and how it ends.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesarch_storage::{DataDir, Fatal, Log};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::control::{Control, TransferError};
use crate::leadership::Leadership;
use crate::stop::{Stopping, stopped};

/// Longest wait for a task of ours to end.
const TASK_DEADLINE: Duration = Duration::from_secs(2);
/// Longest wait for Raft to end; it may be in the middle of a sync.
const RAFT_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for the log's last sync.
const LOG_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for connections to drain.
const DRAIN_DEADLINE: Duration = Duration::from_millis(500);

/// Why a node did not end cleanly.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Raft did not end in time.
    #[error("Raft did not end in time")]
    Raft,
    /// The disk did not answer in time.
    #[error("the log was not closed in time")]
    LogTimedOut,
    /// The log could not be closed.
    #[error("the log could not be closed")]
    Log(#[source] std::io::Error),
}

/// A running node. It must be ended with [`stop`](Running::stop) or [`halt`](Running::halt).
#[must_use = "a node must be stopped"]
pub struct Running {
    pub(crate) address: Option<SocketAddr>,
    /// Resolves what is still open, last of all.
    pub(crate) at_end: Option<Box<dyn FnOnce() + Send>>,
    server: JoinHandle<()>,
    stop_serving: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    control: Arc<dyn Control>,
    leadership: watch::Receiver<Leadership>,
    log: Log,
    dir: Arc<DataDir>,
    fatal: Fatal,
}

impl Running {
    pub(crate) fn new(
        server: JoinHandle<Result<(), tonic::transport::Error>>,
        stop_serving: watch::Sender<bool>,
        stop: watch::Sender<bool>,
        control: (Arc<dyn Control>, watch::Receiver<Leadership>),
        stored: (Log, Arc<DataDir>),
        fatal: Fatal,
    ) -> Self {
        let server = tokio::spawn(guard_listener(server, stop_serving.subscribe()));
        let ((control, leadership), (log, dir)) = (control, stored);
        Self {
            address: None,
            at_end: None,
            server,
            stop_serving,
            stop,
            tasks: Vec::new(),
            control,
            leadership,
            log,
            dir,
            fatal,
        }
    }

    pub(crate) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push((name, tokio::spawn(task)));
    }

    /// Where the Raft listener is bound.
    pub fn raft_address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Waits until the node cannot go on; then [`halt`](Running::halt) it and end the process with an error.
    pub async fn failed(&self) -> Arc<str> {
        self.fatal.reported().await
    }

    /// Ends the node: hands over the leadership if it leads, ends Raft, closes the listener, syncs and closes the log.
    pub async fn stop(self) -> Result<(), StopError> {
        match self.control.transfer(None, self.leadership.clone()).await {
            Ok(()) => tracing::info!("handed the leadership over"),
            Err(TransferError::NotLeader | TransferError::NoTarget) => {}
            Err(error) => tracing::warn!(%error, "stopping without handing the leadership over"),
        }
        self.halt().await
    }

    /// Ends the node at once, without handing over the leadership.
    pub async fn halt(mut self) -> Result<(), StopError> {
        self.stop.send_replace(true);
        // Raft ends before the listener closes: a refused connection proves to the others that this node is gone.
        let raft = timeout(RAFT_DEADLINE, self.control.shutdown()).await;
        self.stop_serving.send_replace(true);
        drop(timeout(TASK_DEADLINE, &mut self.server).await);
        for (name, mut task) in std::mem::take(&mut self.tasks) {
            match timeout(TASK_DEADLINE, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(name, %error, "a task failed"),
                Err(_) => {
                    tracing::warn!(name, "a task did not end in time");
                    task.abort();
                }
            }
        }
        if let Some(at_end) = self.at_end.take() {
            at_end();
        }
        // A disk that hangs must not keep the process; what it was told to sync it had been asked for before.
        let closed = timeout(LOG_DEADLINE, self.log.close()).await;
        self.dir.release();
        raft.map_err(|_| StopError::Raft)?;
        // A log that failed before was reported as fatal already.
        if self.fatal.reason().is_some() {
            return Ok(());
        }
        closed.map_err(|_| StopError::LogTimedOut)?.map_err(StopError::Log)
    }
}

/// A listener that is gone while Raft lives would look like a dead process to the others, who would then ignore this
/// leader's lease. Nothing can repair that but the end of the process.
async fn guard_listener(
    mut server: JoinHandle<Result<(), tonic::transport::Error>>,
    mut stop_serving: Stopping,
) {
    tokio::select! {
        ended = &mut server => {
            // Nobody cancels it but a runtime that ends, and Raft with it.
            let runtime_ends = ended.as_ref().is_err_and(tokio::task::JoinError::is_cancelled);
            if !runtime_ends && !*stop_serving.borrow() {
                tracing::error!(?ended, "the Raft listener ended while the node runs: aborting");
                std::process::abort();
            }
        }
        () = stopped(&mut stop_serving) => {
            if timeout(DRAIN_DEADLINE, &mut server).await.is_err() {
                server.abort();
            }
        }
    }
}
