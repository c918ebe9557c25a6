//! The scheduler API over gRPC.
//!
//! Calls are taken as bytes, and not as the generated service would have them: required fields are looked for before
//! they are read, as in the other protocol, and events go out as they were queued.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use mesarch_edge::grpc::{Method, Methods, Outgoing, text};
use mesarch_mesos_v1::{ContentType, scheduler::validate};
use mesarch_proto::{
    api::scheduler_server::SERVICE_NAME,
    mesos::v1::scheduler::{Call, call::Type},
};
use mesarch_types::StreamId;
use prost::Message;
use tonic::{Request, Response, Status};

use super::{leader, refused, status};
use crate::{
    app::App,
    calls::{self, CallError, Subscription},
    events,
    queue::Form,
    streams::Reader,
};

const STREAM_ID: &str = "mesos-stream-id";
const RESUME: &str = "mesarch-resume";

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub(super) app: Arc<App>,
}

impl Methods for Calls {
    const NAME: &'static str = SERVICE_NAME;

    fn method(name: &str) -> Option<Method<Self>> {
        match name {
            "Subscribe" => Some(Method::Streaming(|calls, request| subscribe(calls, request).boxed())),
            "Submit" => Some(Method::Unary(|calls, request| submit(calls, request).boxed())),
            _ => None,
        }
    }
}

async fn subscribe(
    Calls { app }: Calls,
    request: Request<Bytes>,
) -> Result<Response<Outgoing<Bytes>>, Status> {
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
    let subscription = match calls::subscribe(app.clone(), session, subscribe, resume, reader).await {
        Ok(subscription) => subscription,
        Err(error) => return Err(refused(&app, &error).await),
    };
    let (id, stream): (StreamId, Outgoing<Bytes>) = match subscription {
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
async fn submit(Calls { app }: Calls, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let session = leader(&app).await?;
    let (metadata, _, bytes) = request.into_parts();
    let (call, kind) = form(&app, bytes).await?;
    if kind == Type::Subscribe {
        return Err(Status::invalid_argument("Submit takes calls of every type but SUBSCRIBE"));
    }
    match calls::submit(&app, &session, call, kind, text(&metadata, STREAM_ID)).await {
        Ok(()) => Ok(Response::new(Bytes::new())),
        Err(error) => Err(refused(&app, &error).await),
    }
}

/// The call, if it has its form.
async fn form(app: &App, bytes: Bytes) -> Result<(Box<Call>, Type), Status> {
    let decoded = app.large.decode(ContentType::Protobuf, bytes).await.map_err(|error| status(&error))?;
    let call =
        decoded.map_err(|error| Status::invalid_argument(format!("Failed to parse the call: {error}")))?;
    let kind = validate(&call, None).map_err(|error| status(&CallError::Invalid(error)))?;
    Ok((call, kind))
}
