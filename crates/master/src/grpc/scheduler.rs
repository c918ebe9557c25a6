//! The scheduler API over gRPC.
//!
//! Calls are taken as bytes, and not as the generated service would have them: required fields are looked for before
//! they are read, as in the other protocol, and events go out as they were queued.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use mesarch_mesos_v1::{ContentType, scheduler::validate};
use mesarch_proto::{
    api::scheduler_server::SERVICE_NAME,
    mesos::v1::scheduler::{Call, call::Type},
};
use mesarch_types::StreamId;
use prost::Message;
use tonic::{
    Request, Response, Status,
    body::Body,
    metadata::MetadataMap,
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
};

use super::{CALL_BYTES_MAX, Outgoing, leader, raw::Raw, status};
use crate::{
    app::App,
    calls::{self, CallError, Subscription},
    events,
    queue::Form,
    streams::Reader,
};

const SUBSCRIBE: &str = "/mesarch.api.Scheduler/Subscribe";
const SUBMIT: &str = "/mesarch.api.Scheduler/Submit";
const STREAM_ID: &str = "mesos-stream-id";
const RESUME: &str = "mesarch-resume";

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) app: Arc<App>,
}

/// The call `Subscribe`.
struct Subscribe(Arc<App>);

/// The call `Submit`.
struct Submit(Arc<App>);

impl NamedService for Service {
    const NAME: &'static str = SERVICE_NAME;
}

impl<B> tower::Service<http::Request<B>> for Service
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let app = self.app.clone();
        let mut grpc = Grpc::new(Raw).apply_max_message_size_config(Some(CALL_BYTES_MAX), None);
        match request.uri().path() {
            SUBSCRIBE => async move { Ok(grpc.server_streaming(Subscribe(app), request).await) }.boxed(),
            SUBMIT => async move { Ok(grpc.unary(Submit(app), request).await) }.boxed(),
            _ => async { Ok(Status::unimplemented("no such method").into_http()) }.boxed(),
        }
    }
}

impl ServerStreamingService<Bytes> for Subscribe {
    type Response = Bytes;
    type ResponseStream = Outgoing<Bytes>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        subscribe(self.0.clone(), request).boxed()
    }
}

impl UnaryService<Bytes> for Submit {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        submit(self.0.clone(), request).boxed()
    }
}

async fn subscribe(app: Arc<App>, request: Request<Bytes>) -> Result<Response<Outgoing<Bytes>>, Status> {
    let session = leader(&app).await?;
    let (metadata, _, bytes) = request.into_parts();
    let (call, kind) = form(&app, bytes).await?;
    if kind != Type::Subscribe {
        return Err(Status::invalid_argument("Subscribe takes calls of type SUBSCRIBE only"));
    }
    if metadata.contains_key(STREAM_ID) {
        return Err(status(&CallError::StreamIdOnSubscribe));
    }
    let resume = text(&metadata, RESUME).map(StreamId::from);
    let subscribe = call.subscribe.unwrap_or_default();
    let reader = Reader { form: Form::Message, connection: None };
    let subscription = calls::subscribe(app, session, subscribe, resume, reader).await;
    let (id, stream): (StreamId, Outgoing<Bytes>) = match subscription.map_err(|error| status(&error))? {
        Subscription::Accepted { id, events } => {
            let next =
                |mut events: crate::streams::Events| async move { Some((Ok(events.next().await?), events)) };
            (id, stream::unfold(events, next).boxed())
        }
        Subscription::Rejected { id, error } => {
            (id, stream::iter([Ok(events::error(&error).encode_to_vec().into())]).boxed())
        }
    };
    let mut response = Response::new(stream);
    if let Ok(id) = id.as_str().parse() {
        response.metadata_mut().insert(STREAM_ID, id);
    }
    Ok(response)
}

/// Answers with an empty message, `SubmitReply`.
async fn submit(app: Arc<App>, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let session = leader(&app).await?;
    let (metadata, _, bytes) = request.into_parts();
    let (call, kind) = form(&app, bytes).await?;
    if kind == Type::Subscribe {
        return Err(Status::invalid_argument("Submit takes calls of every type but SUBSCRIBE"));
    }
    let submitted = calls::submit(&app, &session, call, kind, text(&metadata, STREAM_ID)).await;
    submitted.map(|()| Response::new(Bytes::new())).map_err(|error| status(&error))
}

/// The call, if it has its form.
async fn form(app: &App, bytes: Bytes) -> Result<(Box<Call>, Type), Status> {
    let decoded = app.large.decode(ContentType::Protobuf, bytes).await.map_err(|error| status(&error))?;
    let call =
        decoded.map_err(|error| Status::invalid_argument(format!("Failed to parse the call: {error}")))?;
    let kind = validate(&call, None).map_err(|error| status(&CallError::Invalid(error)))?;
    Ok((call, kind))
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name).and_then(|value| value.to_str().ok())
}
