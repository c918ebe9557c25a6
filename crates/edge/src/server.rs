//! One socket's connections and requests, from the first byte to the handler.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::body::Body;
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tracing::Instrument;

use crate::{
    Bodies, Limits,
    grpc::{self, Services},
    id::{REQUEST_ID, RequestId},
    metrics::{self, Why},
    patience::{Busy, Patience, WornOut},
};

/// Most streams on one HTTP/2 connection: agents may share one.
const STREAMS_PER_CONNECTION_MAX: u32 = 100_000;
/// Silence on an HTTP/2 connection after which the peer is asked whether it lives.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long it has to answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after a failed accept: most often descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection that was idle may take to say good-bye.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);
/// How long bytes may wait for the peer to acknowledge them, or to make room for them, before its connection is broken.
const UNSENT_WAIT: Duration = Duration::from_secs(120);
/// At most so often it is said that connections are refused.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// So much of a request is read before its head has to be whole, in units of what heads may have: enough to say which
/// part of it is too long.
const HEAD_ROOM: usize = 4;
/// Said to a connection that finds no place at all.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 42\r\n\r\nall places for connections are taken, wait";

/// Who sends requests of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Frameworks: as many as there are, and each may have many connections.
    Frameworks,
    /// Agents, executors, masters, operators and tools.
    Others,
}

/// Who answers the requests of a port. Cheap to clone.
pub trait Port: Clone + Send + Sync + 'static {
    /// Who asks for this path.
    fn audience(&self, path: &str) -> Audience;

    /// Reads the bodies of this port.
    fn bodies(&self) -> &Bodies;

    /// The gRPC services of this port.
    fn services(&self) -> &Services;

    /// Answers a request that is not gRPC. `connection` is the one that it came on.
    fn answer(
        &self,
        request: Request<Incoming>,
        connection: Arc<Patience>,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// Runs a stream of an HTTP/2 connection to its end.
    fn spawn(&self, stream: BoxFuture<'static, ()>);
}

/// A refusal with its reason as plain text; 503 says when to come again.
pub fn refusal(status: StatusCode, reason: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(reason.to_owned()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Serves until `stop` is set or nobody can set it any more; then connections finish what they are at, for a moment.
pub async fn serve<S: Port>(listener: TcpListener, site: S, limits: Limits, mut stop: watch::Receiver<bool>) {
    metrics::begin();
    let places = Places::new(&limits);
    let mut connections = JoinSet::new();
    let mut warnings = Warnings::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match places.take() {
                    Some(place) => {
                        let door = Door { site: site.clone(), limits, reserved: place.reserved };
                        let work = connection(stream, door, stop.clone());
                        connections.spawn(async move {
                            work.await;
                            drop(place);
                        });
                    }
                    None => {
                        // As much of it as is taken at once: nobody waits for a connection that has no place.
                        let _ = stream.try_write(NO_PLACE);
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
    if tokio::time::timeout(limits.drain_wait, drained).await.is_err() {
        tracing::info!(connections = connections.len(), "connections that did not finish in time are cut");
        connections.shutdown().await;
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Places for connections: those for everybody, and those that are kept.
#[derive(Debug)]
struct Places {
    common: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
}

/// One connection's place.
#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    reserved: bool,
}

impl Places {
    fn new(limits: &Limits) -> Self {
        let common = limits.connections_max.saturating_sub(limits.reserve);
        Self {
            common: Arc::new(Semaphore::new(common)),
            reserve: Arc::new(Semaphore::new(limits.reserve.min(limits.connections_max))),
        }
    }

    /// One of the kept ones only if there is no other.
    fn take(&self) -> Option<Place> {
        let take = |places: &Arc<Semaphore>, reserved| {
            let permit = places.clone().try_acquire_owned().ok()?;
            Some(Place { _permit: permit, reserved })
        };
        take(&self.common, false).or_else(|| take(&self.reserve, true))
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

async fn connection<S: Port>(stream: TcpStream, door: Door<S>, mut stop: watch::Receiver<bool>) {
    metrics::connection_opened();
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection cannot be set up as it should be");
    }
    let limits = &door.limits;
    let first_wait = if door.reserved { limits.reserve_first_wait } else { limits.first_wait };
    let patience = Patience::new(first_wait, limits.idle_wait);
    let asked = patience.clone();
    let builder = builder(limits, Spawner(door.site.clone()));
    let service = service_fn(move |request| door.clone().pass(request, asked.clone()));
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

fn builder<S: Port>(limits: &Limits, spawner: Spawner<S>) -> Builder<Spawner<S>> {
    let mut builder = Builder::new(spawner);
    // Some clients compare header names as they are written in Mesos.
    builder
        .http1()
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_wait)
        .max_buf_size(HEAD_ROOM * limits.headers_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(u32::try_from(limits.headers_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .adaptive_window(true);
    builder
}

/// Runs the streams of HTTP/2 connections where the site wants them.
#[derive(Clone)]
struct Spawner<S>(S);

impl<S: Port, F: Future<Output = ()> + Send + 'static> Executor<F> for Spawner<S> {
    fn execute(&self, stream: F) {
        self.0.spawn(stream.boxed());
    }
}

/// What the requests of one connection pass.
#[derive(Clone)]
struct Door<S> {
    site: S,
    limits: Limits,
    /// The connection is on a place that is kept from frameworks.
    reserved: bool,
}

impl<S: Port> Door<S> {
    async fn pass(
        self,
        request: Request<Incoming>,
        connection: Arc<Patience>,
    ) -> Result<Response<Body>, Infallible> {
        let busy = connection.busy();
        let id = RequestId::of(request.headers());
        let span = tracing::info_span!("request", %id);
        let mut response = self.answer(request, connection).instrument(span).await;
        response.headers_mut().insert(REQUEST_ID, id.into_header());
        Ok(response.map(|body| held(body, busy)))
    }

    async fn answer(self, request: Request<Incoming>, connection: Arc<Patience>) -> Response<Body> {
        if let Some(refused) = self.refused(&request) {
            return *refused;
        }
        match grpc::is_call(request.uri().path()) {
            true => Box::pin(grpc::answer(self.site.services(), self.site.bodies(), request)).await,
            false => self.site.answer(request, connection).await,
        }
    }

    /// By its head alone. Boxed because most are not.
    fn refused(&self, request: &Request<Incoming>) -> Option<Box<Response<Body>>> {
        let Limits { uri_bytes_max, headers_bytes_max, .. } = self.limits;
        let uri = request.uri();
        let uri_bytes = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
        let (why, status, reason) = if uri_bytes > uri_bytes_max {
            let reason = format!("the URI is longer than {uri_bytes_max} bytes");
            (Why::Uri, StatusCode::URI_TOO_LONG, reason)
        } else if headers_bytes(request.headers()) > headers_bytes_max {
            let reason = format!("the headers are longer than {headers_bytes_max} bytes");
            (Why::Headers, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason)
        } else if self.reserved && self.site.audience(uri.path()) == Audience::Frameworks {
            let reason = "the places for connections of frameworks are taken; nothing was done, try again";
            (Why::Reserve, StatusCode::SERVICE_UNAVAILABLE, reason.to_owned())
        } else {
            return None;
        };
        metrics::refused(why);
        let mut response = refusal(status, &reason);
        // What follows on the connection is not wanted here. In HTTP/2 it is others' as well.
        if request.version() < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Some(Box::new(response))
    }
}

fn headers_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// A body that keeps its connection busy until it is taken.
struct Held {
    body: Body,
    _busy: Busy,
}

/// `body`, and what it keeps busy. Short ones are taken at once.
fn held(body: Body, busy: Busy) -> Body {
    const SHORT_BYTES: u64 = 16 * 1024;
    match body.size_hint().exact() {
        Some(bytes) if bytes <= SHORT_BYTES => body,
        _ => Body::new(Held { body, _busy: busy }),
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
