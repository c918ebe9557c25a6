//! The scheduler API over gRPC.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use mesarch_mesos_v1::scheduler::validate;
use mesarch_proto::{
    api::{SubmitReply, scheduler_server::Scheduler},
    mesos::v1::scheduler::{Call, Event, call::Type},
};
use mesarch_types::StreamId;
use prost::Message;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use super::{Outgoing, leader, status};
use crate::{
    app::App,
    calls::{self, CallError, Subscription},
    events,
    queue::Form,
};

const STREAM_ID: &str = "mesos-stream-id";
const RESUME: &str = "mesarch-resume";

/// See the module's text.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) app: Arc<App>,
}

#[tonic::async_trait]
impl Scheduler for Service {
    type SubscribeStream = Outgoing<Event>;

    async fn subscribe(&self, request: Request<Call>) -> Result<Response<Self::SubscribeStream>, Status> {
        let session = leader(&self.app).await?;
        let (metadata, _, call) = request.into_parts();
        if formed(&call)? != Type::Subscribe {
            return Err(Status::invalid_argument("Subscribe takes calls of type SUBSCRIBE only"));
        }
        if metadata.contains_key(STREAM_ID) {
            return Err(status(&CallError::StreamIdOnSubscribe));
        }
        let resume = text(&metadata, RESUME).map(StreamId::from);
        let subscribe = call.subscribe.unwrap_or_default();
        let subscription =
            calls::subscribe(self.app.clone(), session, subscribe, resume, Form::Message).await;
        let (id, stream): (StreamId, Outgoing<Event>) = match subscription.map_err(|error| status(&error))? {
            Subscription::Accepted { id, events } => {
                let next = |mut events: crate::streams::Events| async move {
                    let event = events.next().await?;
                    Some((read(event), events))
                };
                (id, stream::unfold(events, next).boxed())
            }
            Subscription::Rejected { id, error } => (id, stream::iter([Ok(events::error(&error))]).boxed()),
        };
        let mut response = Response::new(stream);
        if let Ok(id) = id.as_str().parse() {
            response.metadata_mut().insert(STREAM_ID, id);
        }
        Ok(response)
    }

    async fn submit(&self, request: Request<Call>) -> Result<Response<SubmitReply>, Status> {
        let session = leader(&self.app).await?;
        let (metadata, _, call) = request.into_parts();
        let kind = formed(&call)?;
        if kind == Type::Subscribe {
            return Err(Status::invalid_argument("Submit takes calls of every type but SUBSCRIBE"));
        }
        let submitted =
            calls::submit(&self.app, &session, Box::new(call), kind, text(&metadata, STREAM_ID)).await;
        submitted.map(|()| Response::new(SubmitReply {})).map_err(|error| status(&error))
    }
}

/// An event as it was queued for gRPC.
fn read(event: Bytes) -> Result<Event, Status> {
    Event::decode(event).map_err(|error| {
        tracing::error!(%error, "an event of ours does not decode");
        Status::internal("an event could not be written")
    })
}

fn formed(call: &Call) -> Result<Type, Status> {
    validate(call, None).map_err(|error| status(&CallError::Invalid(error)))
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name).and_then(|value| value.to_str().ok())
}
