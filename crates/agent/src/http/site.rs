//! What handlers share: the way to the runner, and places for those who read.

use std::{sync::Arc, time::Duration};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use mesarch_edge::{Bodies, BodyLimits};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::state::Look;
use crate::{agent::RenderMetrics, requests::Request, runner::Facts, tasks::Tasks};

/// Most answers that are made on threads of their own at a time; others wait so long for their turn.
const READS_MAX: usize = 2;
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Most files that are downloaded at a time.
const DOWNLOADS_MAX: usize = 16;

/// See the module's text.
#[derive(Clone)]
pub(crate) struct Site {
    pub(super) bodies: Bodies,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) metrics: Option<RenderMetrics>,
    pub(super) facts: Arc<Facts>,
    pub(super) tasks: Tasks,
    pub(super) downloads: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl Site {
    pub(crate) fn new(
        requests: mpsc::Sender<Request>,
        metrics: Option<RenderMetrics>,
        facts: Arc<Facts>,
        tasks: Tasks,
        bodies: BodyLimits,
    ) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            bodies: Bodies::new(bodies),
            requests,
            metrics,
            facts,
            tasks,
            downloads: places(DOWNLOADS_MAX),
            reads: places(READS_MAX),
        }
    }

    /// What `render` makes of the agent as it is now. The look is taken by the runner and rendered elsewhere: tasks do not
    /// wait for readers.
    pub(super) async fn rendered(&self, render: impl FnOnce(&Look) -> Response + Send + 'static) -> Response {
        let Some(turn) = self.turn().await else { return busy() };
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::State { reply }).await.is_err() {
            return ending();
        }
        let Ok(look) = answer.await else { return ending() };
        in_turn(turn, move || render(&look)).await
    }

    /// What work that blocks leads to, on a thread where it may.
    pub(super) async fn blocking(&self, work: impl FnOnce() -> Response + Send + 'static) -> Response {
        match self.turn().await {
            Some(turn) => in_turn(turn, work).await,
            None => busy(),
        }
    }

    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        timeout(READ_WITHIN, self.reads.clone().acquire_owned()).await.ok()?.ok()
    }
}

/// The turn is over with the work, even if nobody waits for that any more.
async fn in_turn(turn: OwnedSemaphorePermit, work: impl FnOnce() -> Response + Send + 'static) -> Response {
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || {
        let response = span.in_scope(work);
        drop(turn);
        response
    });
    done.await.unwrap_or_else(|_| ending())
}

fn busy() -> Response {
    let busy = "too many readers at a time; try again later\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], busy).into_response()
}

/// The runner is gone: the process is about to end.
pub(super) fn ending() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "Agent is shutting down\n").into_response()
}
