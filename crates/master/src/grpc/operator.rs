//! The operator API over gRPC: the handlers of HTTP, with their refusals as statuses.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::HeaderMap;
use mesarch_edge::grpc::{self, Method, Methods, Outgoing, text};
use mesarch_mesos_v1::{ContentType, operator::validate};
use mesarch_proto::{
    api::operator_server::SERVICE_NAME,
    mesos::v1::master::{Call, call::Type},
};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use super::{admin::changed, leader, refused, status};
use crate::{
    app::App,
    http::{self as handlers, Consistency, FRESHNESS, Followed, Reader, UNKNOWN_CONSISTENCY},
    operator::ChangeError,
    subscribers::{End, Records},
};

/// How fresh a read has to be.
const CONSISTENCY: &str = "mesarch-consistency";

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

async fn submit(Calls { app }: Calls, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let (metadata, _, bytes) = request.into_parts();
    let reader = reader(&app, &metadata).await?;
    let (call, kind) = form(&app, bytes).await?;
    if kind == Type::Subscribe {
        return Err(Status::invalid_argument("Submit takes calls of every type but SUBSCRIBE"));
    }
    match handlers::answer_operator(&app, reader, call, kind).await {
        Ok(response) => grpc::of_http(response, &FRESHNESS).await,
        Err(ChangeError::Call(error)) => Err(refused(&app, &error).await),
        Err(error) => Err(changed(&error)),
    }
}

async fn subscribe(
    Calls { app }: Calls,
    request: Request<Bytes>,
) -> Result<Response<Outgoing<Bytes>>, Status> {
    let (metadata, _, bytes) = request.into_parts();
    let reader = reader(&app, &metadata).await?;
    let (_, kind) = form(&app, bytes).await?;
    if kind != Type::Subscribe {
        return Err(Status::invalid_argument("Subscribe takes calls of type SUBSCRIBE only"));
    }
    let followed = handlers::follow_state(app, &reader, ContentType::Protobuf).await;
    let Followed { records, looked, end } = match followed {
        Ok(followed) => followed,
        // A refusal.
        Err(refused) => return Err(grpc::of_http(*refused, &[]).await.err().unwrap_or_else(unwritten)),
    };
    let mut freshness = HeaderMap::new();
    reader.tell(looked, &mut freshness);
    let mut response = Response::new(outgoing(records, end));
    grpc::copy(&freshness, &FRESHNESS, response.metadata_mut());
    Ok(response)
}

fn unwritten() -> Status {
    Status::internal("the answer could not be written")
}

/// Whoever is to answer, as the metadata say.
async fn reader(app: &App, metadata: &MetadataMap) -> Result<Reader, Status> {
    match Consistency::named(text(metadata, CONSISTENCY)) {
        Some(Consistency::Stale) => Ok(Reader::Anyone),
        Some(at_leader) => Ok(Reader::Leader(leader(app).await?, at_leader)),
        None => Err(Status::invalid_argument(UNKNOWN_CONSISTENCY)),
    }
}

/// The call, if it has its form.
async fn form(app: &App, bytes: Bytes) -> Result<(Box<Call>, Type), Status> {
    let decoded = app.large.decode(ContentType::Protobuf, bytes).await.map_err(|error| status(&error))?;
    let call: Box<Call> =
        decoded.map_err(|error| Status::invalid_argument(format!("Failed to parse the call: {error}")))?;
    let kind = validate(&call)
        .map_err(|error| Status::invalid_argument(format!("Failed to validate master::Call: {error}")))?;
    Ok((call, kind))
}

/// Each record as a message, and a status at the end. What a slow reader has not taken is thrown away when its stream
/// ends: it may never come for it.
fn outgoing(records: Records, end: oneshot::Receiver<End>) -> Outgoing<Bytes> {
    let (waiting, (tell, told)) = (records.waiting(), oneshot::channel());
    tokio::spawn(async move {
        let Ok(end) = end.await else { return };
        if end == End::TooSlow {
            waiting.forget();
        }
        // Whoever reads it may be gone.
        let _ = tell.send(end);
    });
    let messages = stream::unfold(records, |mut records| async move {
        let record = records.next().await?;
        Some((Ok(grpc::message_of(&record)), records))
    });
    let last = stream::once(async move {
        let end = told.await.unwrap_or(End::Stopping);
        Err(of_end(end))
    });
    messages.chain(last).boxed()
}

/// Why a stream ended.
fn of_end(end: End) -> Status {
    let text = end.why();
    match end {
        End::TooSlow => Status::resource_exhausted(text),
        End::NotLeader => Status::failed_precondition(text),
        End::Replaced | End::Snapshot => Status::aborted(text),
        End::Stopping | End::Gone => Status::unavailable(text),
    }
}
