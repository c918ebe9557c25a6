//! The client port: HTTP/1.1, HTTP/2 and gRPC on one socket.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tonic::service::Routes;
use tower::ServiceExt;

use super::error;
use crate::{
    app::App,
    metrics,
    stop::{Stop, stopped},
};

/// Most connections at a time; others are closed at once, before descriptors run out for Raft.
const CONNECTIONS_MAX: usize = 16_384;
/// Most streams on one HTTP/2 connection: agents may share one.
const STREAMS_PER_CONNECTION_MAX: u32 = 100_000;
/// Silence on an HTTP/2 connection after which the peer is asked whether it lives.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long it has to answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after a failed accept: most often descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long open connections may take to finish once the master stops.
const DRAIN_WAIT: Duration = Duration::from_secs(2);

/// Paths of our gRPC services begin so.
const GRPC_PREFIX: &str = "/mesarch.";

/// Serves until `stop` is set; then connections finish what they are at, for a moment.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, grpc: Routes, mut stop: Stop) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let work = connection(stream, app.clone(), grpc.clone(), stop.clone());
                        connections.spawn(async move {
                            work.await;
                            drop(place);
                        });
                    }
                    Err(_) => tracing::warn!(%peer, max = CONNECTIONS_MAX, "too many connections: one is refused"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_WAIT, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(stream: TcpStream, app: Arc<App>, grpc: Routes, mut stop: Stop) {
    metrics::connection_opened();
    // Without it an answer of two segments waits for the peer's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay cannot be set");
    }
    let service = service_fn(move |request| answer(app.clone(), grpc.clone(), request));
    let mut builder = Builder::new(TokioExecutor::new());
    // Some clients compare header names as they are written in Mesos.
    builder.http1().title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .adaptive_window(true);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let finished = tokio::select! {
        finished = connection.as_mut() => Some(finished),
        () = stopped(&mut stop) => None,
    };
    let finished = match finished {
        Some(finished) => finished,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = finished {
        tracing::debug!(error = %error, "a connection broke");
    }
    metrics::connection_closed();
}

async fn answer(
    app: Arc<App>,
    grpc: Routes,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    match request.uri().path().starts_with(GRPC_PREFIX) {
        true => Ok(Box::pin(answer_grpc(grpc, request)).await),
        false => Ok(super::handle(app, request).await),
    }
}

async fn answer_grpc(grpc: Routes, request: Request<Incoming>) -> Response<Body> {
    match grpc.oneshot(request.map(Body::new)).await {
        Ok(response) => response.map(Body::new),
        Err(_) => error::text(StatusCode::INTERNAL_SERVER_ERROR, "the service failed"),
    }
}
