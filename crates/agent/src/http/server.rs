//! The agent's port: its connections are tasks that end with the agent, and none is held without being used.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::Router;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    rt::Executor,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, server::conn::auto::Builder, service::TowerToHyperService};
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::idle::{Answer, Use};
use crate::tasks::Tasks;

/// Most connections at a time, however many descriptors there are. Every executor holds two.
const CONNECTIONS_MAX: usize = 16_384;
/// Descriptors left to everything else, if there are twice as many: links, checkpoints, outputs of executors that start.
const DESCRIPTORS_KEPT: usize = 256;
/// Pause after a failed accept: most often descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves for ever. Connections beyond the bound are closed at once; one that for `unused_max` shows no whole request
/// head, from its beginning or from the end of the last answer, is closed then.
pub(super) async fn serve(listener: TcpListener, router: Router, tasks: Tasks, unused_max: Duration) {
    let most = connections_max(getrlimit(Resource::Nofile).current);
    let places = Arc::new(Semaphore::new(most));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match places.clone().try_acquire_owned() {
                Ok(place) => {
                    let work = connection(stream, router.clone(), tasks.clone(), unused_max);
                    tasks.spawn("connection", async move {
                        work.await;
                        drop(place);
                    });
                }
                Err(_) => tracing::warn!(%peer, most, "too many connections: one is refused"),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How many of the process' descriptors may be connections; without a limit, as many as are ever served.
fn connections_max(descriptors: Option<u64>) -> usize {
    let descriptors = descriptors.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (descriptors - DESCRIPTORS_KEPT.min(descriptors / 2)).min(CONNECTIONS_MAX)
}

async fn connection(stream: TcpStream, router: Router, tasks: Tasks, unused_max: Duration) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let in_use = Use::default();
    let (router, requests) = (TowerToHyperService::new(router), in_use.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (busy, answer) = (requests.begin(), router.call(request));
        async move {
            let watched = |body| axum::body::Body::new(Answer { body, _busy: busy });
            Ok::<Response<_>, Infallible>(answer.await?.map(watched))
        }
    });
    let builder = Builder::new(tasks);
    tokio::select! {
        served = builder.serve_connection(TokioIo::new(stream), service) => {
            if let Err(error) = served {
                tracing::debug!(error = %error, "a connection broke");
            }
        }
        () = in_use.unused_for(unused_max) => tracing::debug!("an unused connection is closed"),
    }
}

/// The streams of an HTTP/2 connection are tasks of their own.
impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, stream: F) {
        self.spawn("stream", stream);
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    #[test]
    fn connections_leave_descriptors_to_others() {
        for (limit, expect) in
            [(Some(0), 0), (Some(100), 50), (Some(1024), 768), (Some(1 << 20), 16_384), (None, 16_384)]
        {
            assert_eq!(connections_max(limit), expect, "{limit:?}");
        }
    }

    /// Sends bytes on a connection of its own.
    async fn send(address: std::net::SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn only_connections_in_use_are_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent = || Body::from_stream(tokio_stream::pending::<Result<bytes::Bytes, Infallible>>());
        let router = Router::new()
            .route("/", get(|| async { "whole" }))
            .route("/stream", get(move || async move { silent() }));
        let tasks = Tasks::default();
        tasks.spawn("server", serve(listener, router, tasks.clone(), SHORT));
        let mut streaming = send(address, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut head = [0; 12];
        streaming.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        let whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for (sent, answered) in [("", false), ("GET / HTTP/1.1\r\nHo", false), (whole, true)] {
            let mut heard = String::new();
            // Ends with the connection.
            send(address, sent).await.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard.ends_with("whole"), answered, "{sent:?}: {heard:?}");
        }
        let mut rest = [0; 1024];
        while let Ok(count) = streaming.try_read(&mut rest) {
            assert!(count > 0, "a stream is open as long as it is read");
        }
        tasks.end().await;
    }
}
