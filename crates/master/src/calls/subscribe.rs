//! SUBSCRIBE: a framework, its stream, and what it is owed.

use std::sync::Arc;

use mesarch_proto::mesos::v1::scheduler::call;
use mesarch_state::{Command, LEVEL_SHARING, Outcome, command};
use mesarch_types::{FrameworkId, StreamId};
use tracing::Instrument;

use super::{CallError, decided, explained};
use crate::{
    app::App,
    events,
    framework_validation::validate,
    leader::{Session, ToLeader},
    metrics, specs,
    streams::{Events, Reader, Stream},
};

/// What a well-formed SUBSCRIBE leads to: a stream in either case.
#[derive(Debug)]
pub(crate) enum Subscription {
    /// Events follow, SUBSCRIBED first.
    Accepted {
        /// What later calls must name.
        id: StreamId,
        /// The connection's side.
        events: Events,
    },
    /// One ERROR event, and the end.
    Rejected {
        /// Announced all the same.
        id: StreamId,
        /// What the ERROR says.
        error: String,
    },
}

/// Subscribes. `resume` is the stream that the framework wants to go on with, `reader` who reads it.
/// Goes on to its end even if the caller is dropped, so that a stream which nobody reads is noticed as broken.
pub(crate) async fn subscribe(
    app: Arc<App>,
    session: Arc<Session>,
    subscribe: call::Subscribe,
    resume: Option<StreamId>,
    reader: Reader,
) -> Result<Subscription, CallError> {
    metrics::called(call::Type::Subscribe);
    let id = StreamId::from(uuid::Uuid::new_v4().to_string());
    let constraints = subscribe.offer_constraints.as_ref();
    let wishes = match validate(&subscribe.framework_info, &subscribe.suppressed_roles, constraints) {
        Ok(wishes) => wishes,
        Err(error) => {
            return Ok(Subscription::Rejected { id, error: error.to_string() });
        }
    };
    let level = app.newest().state.level();
    if level < LEVEL_SHARING && wishes.rules != command::OfferRules::default() {
        let error =
            format!("the cluster is at feature level {level}; rules about offers need {LEVEL_SHARING}");
        return Ok(Subscription::Rejected { id, error });
    }
    let info = subscribe.framework_info;
    let command = command::Subscribe {
        framework: info.id.as_ref().map(|id| FrameworkId::from(id.value.as_str())),
        spec: specs::framework_spec(info, wishes.rules),
        suppressed: wishes.suppressed,
        stream: id,
        resume,
    };
    let work = tokio::spawn(commit(app, session, command, reader).in_current_span());
    // It only ends early if it panics, and then it is unknown how far it came.
    work.await.unwrap_or(Err(CallError::Unknown))
}

async fn commit(
    app: Arc<App>,
    session: Arc<Session>,
    command: command::Subscribe,
    reader: Reader,
) -> Result<Subscription, CallError> {
    let (drawn, resume) = (command.stream.clone(), command.resume.clone());
    let placed = session.place(&Command::Subscribe(command)).await;
    let placed = placed.map_err(|error| explained(&app, error.into()))?;
    match decided(placed.resolved()).await?.outcome {
        Outcome::Subscribed { framework, stream: epoch, resumed } => {
            let id = resume.filter(|_| resumed).unwrap_or(drawn);
            tracing::info!(%framework, resumed, "a framework subscribed");
            let subscribed = Box::new(events::subscribed(&framework, &app.facts()));
            let (stream, events) = Stream::new(framework, epoch, resumed, session.clone(), reader);
            if !session.tell(ToLeader::Open { stream: stream.clone(), subscribed }).await {
                stream.close(None);
                return Err(CallError::NotLeader);
            }
            Ok(Subscription::Accepted { id, events })
        }
        Outcome::Refused(refusal) => Ok(Subscription::Rejected { id: drawn, error: refusal.to_string() }),
        other => {
            tracing::error!(?other, "SUBSCRIBE was answered with something else");
            Err(CallError::Unknown)
        }
    }
}
