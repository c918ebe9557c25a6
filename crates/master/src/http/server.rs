//! The client port: HTTP/1.1, HTTP/2 and gRPC on one socket. No connection is borne with for ever (`patience`), and
//! none takes a descriptor that Raft or the log may need (`descriptors`).

use std::{
    convert::Infallible,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

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
use tonic::{Status, service::Routes};
use tower::ServiceExt;

use super::{
    body::{self, BODY_BYTES_MAX, BodyError},
    error,
};
use crate::{
    app::App,
    descriptors, metrics,
    patience::{IDLE_WAIT, Patience, WornOut},
    stop::{Stop, stopped},
};

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

/// How long a connection that was idle may take to say good-bye.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);
/// How long bytes may wait for the peer to acknowledge them, or to make room for them, before its connection is broken.
const UNSENT_WAIT: Duration = Duration::from_secs(120);
/// At most so often it is said that connections are refused.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Paths of our gRPC services begin so.
const GRPC_PREFIX: &str = "/mesarch.";
/// Those of the one service whose requests are streams.
const GRPC_STREAMS_PREFIX: &str = "/mesarch.link.";
/// Largest body of any other, in bytes: the longest call and its frame.
const GRPC_BODY_BYTES_MAX: usize = BODY_BYTES_MAX + 64;

/// Serves until `stop` is set; then connections finish what they are at, for a moment.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, grpc: Routes, mut stop: Stop) {
    let places = Arc::new(Semaphore::new(descriptors::connection_places()));
    let mut connections = JoinSet::new();
    let mut warnings = Warnings::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let work = connection(stream, app.clone(), grpc.clone(), stop.clone());
                        connections.spawn(async move {
                            work.await;
                            drop(place);
                        });
                    }
                    Err(_) => {
                        metrics::connection_refused();
                        warnings.refused("all places for connections are taken");
                    }
                },
                Err(error) => {
                    metrics::connection_refused();
                    warnings.refused(&error.to_string());
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

/// Refused connections come by the thousand: they are counted, and told now and then.
#[derive(Debug, Default)]
struct Warnings {
    last: Option<Instant>,
    untold: u64,
}

impl Warnings {
    fn refused(&mut self, reason: &str) {
        self.untold += 1;
        if self.last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            tracing::warn!(reason, count = self.untold, "connections of clients are refused");
            *self = Self { last: Some(Instant::now()), untold: 0 };
        }
    }
}

async fn connection(stream: TcpStream, app: Arc<App>, grpc: Routes, mut stop: Stop) {
    metrics::connection_opened();
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection cannot be set up as it should be");
    }
    let patience = Patience::new();
    let asked = patience.clone();
    let service = service_fn(move |request| answer(app.clone(), grpc.clone(), request, asked.clone()));
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let finished = tokio::select! {
        finished = connection.as_mut() => finished,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        worn_out = patience.worn_out() => {
            tracing::debug!(?worn_out, "a connection is ended");
            if worn_out == WornOut::Idle {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(GOODBYE_WAIT, connection).await;
            }
            Ok(())
        }
    };
    if let Err(error) = finished {
        tracing::debug!(error = %error, "a connection broke");
    }
    metrics::connection_closed();
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Without it an answer of two segments waits for the peer's delayed acknowledgement.
    stream.set_nodelay(true)?;
    let wait_ms = UNSENT_WAIT.as_millis() as u32;
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, wait_ms)?)
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // Some clients compare header names as they are written in Mesos.
    builder.http1().title_case_headers(true).timer(TokioTimer::new()).header_read_timeout(IDLE_WAIT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .adaptive_window(true);
    builder
}

async fn answer(
    app: Arc<App>,
    grpc: Routes,
    request: Request<Incoming>,
    patience: Arc<Patience>,
) -> Result<Response<Body>, Infallible> {
    let busy = patience.busy();
    let response = match request.uri().path().starts_with(GRPC_PREFIX) {
        true => Box::pin(answer_grpc(grpc, request)).await,
        false => super::handle(app, request, patience).await,
    };
    Ok(response.map(|body| body::held(body, busy)))
}

async fn answer_grpc(grpc: Routes, request: Request<Incoming>) -> Response<Body> {
    let request = match request.uri().path().starts_with(GRPC_STREAMS_PREFIX) {
        true => request.map(Body::new),
        false => match whole(request).await {
            Ok(request) => request,
            Err(refusal) => return refusal.into_http(),
        },
    };
    match grpc.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(_) => error::text(StatusCode::INTERNAL_SERVER_ERROR, "the service failed"),
    }
}

/// A request of one message, within the time that a body may take.
async fn whole(request: Request<Incoming>) -> Result<Request<Body>, Status> {
    let (parts, body) = request.into_parts();
    match body::read_up_to(body, GRPC_BODY_BYTES_MAX).await {
        Ok(bytes) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Err(error @ BodyError::TooLarge) => Err(Status::out_of_range(error.to_string())),
        Err(error @ BodyError::TooSlow) => Err(Status::deadline_exceeded(error.to_string())),
        Err(error @ BodyError::Broken) => Err(Status::cancelled(error.to_string())),
    }
}
