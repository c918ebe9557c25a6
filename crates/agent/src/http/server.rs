//! The agent's port: its connections are tasks that end with the agent.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::rt::Executor;
use hyper_util::{rt::TokioIo, server::conn::auto::Builder, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::tasks::Tasks;

/// Most connections at a time; others are closed at once. Every executor holds two.
const CONNECTIONS_MAX: usize = 16_384;
/// Pause after a failed accept: most often descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, router: Router, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match places.clone().try_acquire_owned() {
                Ok(place) => {
                    let work = connection(stream, router.clone(), tasks.clone());
                    tasks.spawn("connection", async move {
                        work.await;
                        drop(place);
                    });
                }
                Err(_) => {
                    tracing::warn!(%peer, max = CONNECTIONS_MAX, "too many connections: one is refused")
                }
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, tasks: Tasks) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let served =
        Builder::new(tasks).serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection broke");
    }
}

/// The streams of an HTTP/2 connection are tasks of their own.
impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, stream: F) {
        self.spawn("stream", stream);
    }
}
