//! gRPC beside HTTP: calls as bytes, with their deadlines, through the same bounds.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::{FutureExt, Stream, future::BoxFuture};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};
use tonic::{
    Code, Status,
    metadata::{AsciiMetadataKey, MetadataMap},
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
    service::Routes,
};
use tower::ServiceExt;

use crate::{Bodies, BodyError, Raw, server::refusal};

/// The services of one port.
pub type Services = Routes;

/// A stream of messages to a client.
pub type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Names the leader's client address, host:port, in the answer of a master that does not lead.
pub const LEADER: &str = "mesarch-leader";

/// Paths of services begin so.
const PREFIXES: [&str; 3] = ["/mesarch.", "/grpc.health.", "/grpc.reflection."];
/// Those of services whose requests are streams, with bounds of their own for each message.
const STREAMS_PREFIXES: [&str; 2] = ["/mesarch.link.", "/grpc.reflection."];
/// What gRPC puts before a message.
const FRAME_BYTES: usize = 5;

/// When a call is of no use any more.
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The same services, with reflection of those of these names and of health: both versions, for tools ask for the one or
/// the other. `descriptors` is an encoded file descriptor set.
///
/// # Errors
/// What is wrong with the descriptors.
pub fn reflected(
    services: Services,
    names: &[&'static str],
    descriptors: &'static [u8],
) -> Result<Services, tonic_reflection::server::Error> {
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(HEALTH);
        names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    Ok(services.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}

/// The service that tells whether others serve.
pub const HEALTH: &str = "grpc.health.v1.Health";

/// Whether a path names a method of a service.
pub fn is_call(path: &str) -> bool {
    PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

/// Answers a call. One whose deadline has passed is not begun, and not gone on with: what it has put into the log by then
/// stays there.
pub async fn answer(services: &Services, bodies: &Bodies, request: Request<Incoming>) -> Response<Body> {
    let deadline = match deadline(request.headers()) {
        Ok(deadline) => deadline.map(|after| Instant::now() + after),
        Err(status) => return status.into_http(),
    };
    let work = call(services.clone(), bodies, request);
    let Some(deadline) = deadline else { return work.await };
    // A timer is late by up to a millisecond, in which much can be begun.
    if deadline <= Instant::now() {
        return expired().into_http();
    }
    tokio::select! {
        // Looked at first, each time that there would be something to do.
        biased;
        () = sleep_until(deadline) => expired().into_http(),
        answered = work => answered,
    }
}

async fn call(services: Services, bodies: &Bodies, request: Request<Incoming>) -> Response<Body> {
    let streams = STREAMS_PREFIXES.iter().any(|prefix| request.uri().path().starts_with(prefix));
    // The place of a large call in the budget is kept until it is answered.
    let (request, _place) = match streams {
        true => (request.map(Body::new), None),
        false => {
            let (parts, body) = request.into_parts();
            let max = bodies.limits().bytes_max + FRAME_BYTES;
            match bodies.read_up_to(&parts.headers, body, max).await {
                Ok(whole) => (Request::from_parts(parts, Body::from(whole.bytes.clone())), Some(whole)),
                Err(error) => return of_body(error).into_http(),
            }
        }
    };
    match services.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => {
            let _: Infallible = never;
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "the service failed")
        }
    }
}

fn expired() -> Status {
    Status::deadline_exceeded("the deadline of the call has passed")
}

fn of_body(error: BodyError) -> Status {
    let text = error.to_string();
    match error {
        BodyError::TooLarge { .. } => Status::out_of_range(text),
        BodyError::TooSlow { .. } => Status::deadline_exceeded(text),
        BodyError::Broken => Status::cancelled(text),
        BodyError::Full { .. } => Status::resource_exhausted(text),
    }
}

/// `grpc-timeout`: at most eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(TIMEOUT) else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(timeout);
    timeout
        .map(Some)
        .ok_or_else(|| Status::invalid_argument("grpc-timeout: up to eight digits and one of HMSmun"))
}

fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// What a refusal of the HTTP handlers is in gRPC: one table, for the answers that both protocols share.
pub fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::CONFLICT | StatusCode::TEMPORARY_REDIRECT => Code::FailedPrecondition,
        StatusCode::PAYLOAD_TOO_LARGE => Code::OutOfRange,
        StatusCode::NOT_IMPLEMENTED => Code::Unimplemented,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
        _ => Code::Unknown,
    }
}

/// What a handler of HTTP answered, as the answer of a call: the body is a message, `kept` names the headers that go on
/// as metadata; a refusal has the same text.
///
/// # Errors
/// Anything but success.
pub async fn of_http(
    response: Response<Body>,
    kept: &[&'static str],
) -> Result<tonic::Response<Bytes>, Status> {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await;
    let bytes = bytes.map_err(|_| Status::internal("the answer could not be written"))?;
    if !parts.status.is_success() {
        let text = String::from_utf8_lossy(&bytes);
        return Err(Status::new(code_of(parts.status), text.trim_end()));
    }
    let mut answer = tonic::Response::new(bytes);
    copy(&parts.headers, kept, answer.metadata_mut());
    Ok(answer)
}

/// Headers that go on as metadata.
pub fn copy(headers: &HeaderMap, names: &[&'static str], metadata: &mut MetadataMap) {
    for name in names {
        let value = headers.get(*name).and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(value) = value {
            metadata.insert(AsciiMetadataKey::from_static(name), value);
        }
    }
}

/// A text in a call's metadata.
pub fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name).and_then(|value| value.to_str().ok())
}

/// The message in a RecordIO frame, whose bytes it shares.
pub fn message_of(frame: &Bytes) -> Bytes {
    let start = frame.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    frame.slice(start..)
}

/// The answer to one call.
pub type Answered = BoxFuture<'static, Result<tonic::Response<Bytes>, Status>>;
/// The stream that answers one call.
pub type Streamed = BoxFuture<'static, Result<tonic::Response<Outgoing<Bytes>>, Status>>;

/// How a method answers.
#[derive(Debug)]
pub enum Method<S> {
    /// With one message.
    Unary(fn(S, tonic::Request<Bytes>) -> Answered),
    /// With a stream of them.
    Streaming(fn(S, tonic::Request<Bytes>) -> Streamed),
}

/// A service whose calls and answers are bytes.
pub trait Methods: Clone + Send + Sync + 'static {
    /// With its package.
    const NAME: &'static str;

    /// The method of this name, without package and service.
    fn method(name: &str) -> Option<Method<Self>>;
}

/// Serves [`Methods`].
#[derive(Clone, Debug)]
pub struct Service<S> {
    methods: S,
    call_bytes_max: usize,
}

impl<S> Service<S> {
    /// For calls of at most so many bytes.
    pub fn new(methods: S, call_bytes_max: usize) -> Self {
        Self { methods, call_bytes_max }
    }
}

impl<S: Methods> NamedService for Service<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Methods, B> tower::Service<Request<B>> for Service<S>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let methods = self.methods.clone();
        let mut grpc = Grpc::new(Raw).apply_max_message_size_config(Some(self.call_bytes_max), None);
        let name = request.uri().path().rsplit('/').next().unwrap_or_default();
        match S::method(name) {
            Some(Method::Unary(answer)) => {
                async move { Ok(grpc.unary(Unary(methods, answer), request).await) }.boxed()
            }
            Some(Method::Streaming(answer)) => {
                async move { Ok(grpc.server_streaming(Streaming(methods, answer), request).await) }.boxed()
            }
            None => async { Ok(Status::unimplemented("no such method").into_http()) }.boxed(),
        }
    }
}

struct Unary<S>(S, fn(S, tonic::Request<Bytes>) -> Answered);

impl<S: Methods> UnaryService<Bytes> for Unary<S> {
    type Response = Bytes;
    type Future = Answered;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Answered {
        (self.1)(self.0.clone(), request)
    }
}

struct Streaming<S>(S, fn(S, tonic::Request<Bytes>) -> Streamed);

impl<S: Methods> ServerStreamingService<Bytes> for Streaming<S> {
    type Response = Bytes;
    type ResponseStream = Outgoing<Bytes>;
    type Future = Streamed;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Streamed {
        (self.1)(self.0.clone(), request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        let table = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0n", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000n", None),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("1\u{b5}", None),
        ];
        for (text, expect) in table {
            assert_eq!(timeout(text), expect, "{text:?}");
        }
    }

    #[test]
    fn a_frame_holds_its_message() {
        for (frame, expect) in [("3\nabc", "abc"), ("0\n", ""), ("2\n\na", "\na")] {
            assert_eq!(message_of(&Bytes::from_static(frame.as_bytes())), expect);
        }
    }
}
