//! The scheduler API behind its protocols: HTTP and gRPC decode, call in here, and translate the answer.

mod accept;
mod operations;
mod reconcile;
mod subscribe;
mod update_framework;

#[cfg(test)]
mod reconcile_test;

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use futures::{FutureExt, TryFutureExt};
use mesarch_consensus::{Full, Unresolved};
use mesarch_faults::{Fault, on};
use mesarch_mesos_v1::scheduler::InvalidCall;
use mesarch_proto::{
    link,
    mesos::v1::scheduler::{Call, call, call::Type},
};
use mesarch_state::{
    Command, Outcome,
    command::{
        AcknowledgeUpdates, Acknowledgement, AnswerInverseOffers, DeclineOffers, ExecutorKey, FrameworkRoles,
        Refuse, RequestKill, Teardown,
    },
    outcome::Refusal,
};
use mesarch_types::{
    AgentId, FrameworkId, Millis, OfferId, REFUSE_DEFAULT, REFUSE_MAX, Role, TaskId, UpdateUuid,
};
use prost::Message;

use crate::{
    app::App,
    leader::{Encoded, PlaceError, Session},
    link_messages,
    machine::Answer,
    metrics, specs,
    streams::{LastCall, Stream, Suppressed},
};

pub(crate) use subscribe::{Subscription, subscribe};

/// How long a call waits for its place, behind the framework's earlier calls and in the proposer's queue together.
const PLACE_WAIT: Duration = Duration::from_secs(1);

/// How long an answer waits for its command to be decided. A call that takes longer has an unknown outcome.
const DECISION_WAIT: Duration = Duration::from_secs(30);

/// Why a call is refused. Unless the text says otherwise, nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The call's form.
    #[error("Failed to validate scheduler::Call: {0}")]
    Invalid(#[from] InvalidCall),
    /// SUBSCRIBE gets its stream id; it does not bring one.
    #[error("Subscribe calls should not include the 'Mesos-Stream-Id' header")]
    StreamIdOnSubscribe,
    /// No such framework, or it was removed.
    #[error("Framework cannot be found")]
    UnknownFramework,
    /// It has no stream here.
    #[error("Framework is not subscribed")]
    NotSubscribed,
    /// Which stream the call belongs to is not said.
    #[error("All non-subscribe calls should include the 'Mesos-Stream-Id' header")]
    NoStreamId,
    /// The stream was replaced.
    #[error(
        "The stream ID included in this request didn't match the stream ID currently associated with the framework"
    )]
    WrongStreamId,
    /// The call's type is UNKNOWN.
    #[error("Received 'UNKNOWN' call")]
    UnknownType,
    /// Part of the API that is not there yet.
    #[error("not implemented: {0}")]
    NotImplemented(String),
    /// Part of the API for which not every master is ready yet.
    #[error("needs feature level {needed}; the cluster is at {level}: {what}")]
    Level {
        /// The lowest that has it.
        needed: u32,
        /// The cluster's.
        level: u32,
        /// What was asked for.
        what: &'static str,
    },
    /// What a framework says of itself.
    #[error("{0}")]
    Framework(String),
    /// More tasks than one call may launch.
    #[error("{tasks} tasks in one ACCEPT are more than {max}")]
    TooManyTasks {
        /// In the call.
        tasks: usize,
        /// The bound.
        max: usize,
    },
    /// More operations than one call may hold.
    #[error("{operations} operations in one ACCEPT are more than {max}")]
    TooManyOperations {
        /// In the call.
        operations: usize,
        /// The bound.
        max: usize,
    },
    /// More than one log entry may hold.
    #[error("the call of {bytes} bytes is larger than {max} bytes")]
    TooLarge {
        /// As it would be in the log.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// No place in the queue in time.
    #[error("the leader is too busy; nothing was done, try again")]
    Busy,
    /// What the leader needs runs out.
    #[error("the leader takes no more work: {0}; nothing was done, try again")]
    Full(Full),
    /// This master does not lead any more.
    #[error("this master does not lead any more; nothing was done")]
    NotLeader,
    /// The one case in which something may have been done.
    #[error("the outcome of the call is unknown: it may have been carried out")]
    Unknown,
}

impl From<PlaceError> for CallError {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::NotLeader => Self::NotLeader,
            PlaceError::Busy => Self::Busy,
            PlaceError::TooLarge { bytes, max } => Self::TooLarge { bytes, max },
        }
    }
}

/// Says why the leader is busy, if it is because something runs out.
fn explained(app: &App, error: CallError) -> CallError {
    match error {
        CallError::Busy => app.consensus.0.status().full.map_or(CallError::Busy, CallError::Full),
        other => other,
    }
}

/// Waits until a command is decided.
pub(crate) async fn decided(
    resolved: impl Future<Output = Result<Answer, Unresolved>>,
) -> Result<Answer, CallError> {
    match tokio::time::timeout(DECISION_WAIT, resolved).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Unresolved::NotCommitted)) => Err(CallError::NotLeader),
        Ok(Err(Unresolved::Unknown)) | Err(_) => Err(CallError::Unknown),
    }
}

/// A place, or nothing was done: a call is only in the queue once its placing has ended.
///
/// Not an async function: that would hold `placing` twice, and a call's future is moved as a whole.
fn in_time<T>(
    placing: impl Future<Output = Result<T, CallError>>,
) -> impl Future<Output = Result<T, CallError>> {
    tokio::time::timeout(PLACE_WAIT, placing).map(|placed| {
        placed.unwrap_or_else(|_| {
            metrics::busy();
            Err(CallError::Busy)
        })
    })
}

/// One admitted call.
struct Caller<'a> {
    app: &'a App,
    session: &'a Session,
    stream: Arc<Stream>,
}

/// Carries out a call other than SUBSCRIBE whose form is valid. An answer means: committed, or for those calls whose
/// loss is repaired by itself, in its place in the queue.
///
/// The future of a request is moved as a whole more than once before it runs. So the call is boxed, and so are the
/// branches that are large and less frequent.
pub(crate) async fn submit(
    app: &App,
    session: &Session,
    call: Box<Call>,
    kind: Type,
    stream_id: Option<&str>,
) -> Result<(), CallError> {
    let stream = admit(app, &call, stream_id)?;
    metrics::called(kind);
    let caller = Caller { app, session, stream };
    match kind {
        Type::Teardown => Box::pin(caller.teardown()).await,
        Type::Accept => Box::pin(caller.accept(present(call.accept, "accept")?)).await,
        Type::Decline => caller.decline(present(call.decline, "decline")?).await,
        Type::Revive => caller.revive(call.revive.unwrap_or_default().roles).await,
        Type::Suppress => caller.suppress(call.suppress.unwrap_or_default().roles).await,
        Type::Kill => Box::pin(caller.kill(present(call.kill, "kill")?)).await,
        Type::Shutdown => Box::pin(caller.shutdown(present(call.shutdown, "shutdown")?)).await,
        Type::Acknowledge => caller.acknowledge(present(call.acknowledge, "acknowledge")?).await,
        Type::Reconcile => Box::pin(caller.reconcile(present(call.reconcile, "reconcile")?)).await,
        Type::Message => {
            caller.message(present(call.message, "message")?);
            Ok(())
        }
        Type::Request => {
            tracing::debug!(framework = %caller.stream.framework, "REQUEST is accepted and ignored");
            Ok(())
        }
        Type::AcceptInverseOffers => {
            let call = present(call.accept_inverse_offers, "accept_inverse_offers")?;
            caller.answer_inverse(call.inverse_offer_ids, true, call.filters.as_ref()).await
        }
        Type::DeclineInverseOffers => {
            let call = present(call.decline_inverse_offers, "decline_inverse_offers")?;
            caller.answer_inverse(call.inverse_offer_ids, false, call.filters.as_ref()).await
        }
        Type::UpdateFramework => {
            Box::pin(caller.update_framework(present(call.update_framework, "update_framework")?)).await
        }
        Type::AcknowledgeOperationStatus => {
            let acknowledge = call.acknowledge_operation_status;
            caller.acknowledge_operation(present(acknowledge, "acknowledge_operation_status")?).await
        }
        Type::ReconcileOperations => {
            let asked = present(call.reconcile_operations, "reconcile_operations")?;
            Box::pin(caller.reconcile_operations(asked)).await
        }
        Type::Unknown => Err(CallError::UnknownType),
        // Handled before, by everyone who calls this.
        Type::Subscribe => Err(CallError::Invalid(InvalidCall::NoType)),
    }
}

/// Fails unless every master knows the commands of `needed`.
fn check_level(app: &App, needed: u32, what: &'static str) -> Result<(), CallError> {
    let level = app.newest().state.level();
    if level < needed { Err(CallError::Level { needed, level, what }) } else { Ok(()) }
}

fn present<T>(message: Option<T>, name: &'static str) -> Result<T, CallError> {
    message.ok_or(CallError::Invalid(InvalidCall::Missing(name)))
}

/// The framework's stream, if the call may speak for it.
fn admit(app: &App, call: &Call, stream_id: Option<&str>) -> Result<Arc<Stream>, CallError> {
    let id = call.framework_id.as_ref().ok_or(CallError::Invalid(InvalidCall::Missing("framework_id")))?;
    let id = FrameworkId::from(id.value.as_str());
    let published = app.newest();
    let framework = published.state.framework(&id).ok_or(CallError::UnknownFramework)?;
    let (current, epoch) =
        framework.stream().filter(|_| framework.is_connected()).ok_or(CallError::NotSubscribed)?;
    let given = stream_id.ok_or(CallError::NoStreamId)?;
    if given != current.as_str() {
        return Err(CallError::WrongStreamId);
    }
    app.streams.get(&id).filter(|stream| stream.epoch == epoch).ok_or(CallError::NotSubscribed)
}

impl Caller<'_> {
    fn framework(&self) -> FrameworkId {
        self.stream.framework.clone()
    }

    /// Puts the command into the queue, behind all earlier calls of the framework.
    fn place(&self, command: Command) -> impl Future<Output = Result<(), CallError>> {
        let encoded = Encoded::from(&command);
        let leaves_suppression = matches!(
            command,
            Command::DeclineOffers(_)
                | Command::AcknowledgeUpdates(_)
                | Command::AcknowledgeOperation(_)
                | Command::AnswerInverseOffers(_)
        );
        in_time(async move {
            let mut calls = self.stream.calls.lock().await;
            calls.last = LastCall::Placed(self.session.place_encoded(encoded).await?);
            if !leaves_suppression {
                calls.suppressed = None;
            }
            Ok(())
        })
        .map_err(|error| explained(self.app, error))
    }

    /// Commits the command, behind all earlier calls of the framework.
    async fn commit(&self, command: Command) -> Result<Outcome, CallError> {
        self.commit_encoded(Encoded::from(&command)).await
    }

    /// [`Caller::commit`], of a command that is encoded already.
    async fn commit_encoded(&self, encoded: Encoded) -> Result<Outcome, CallError> {
        let placing = async {
            let mut calls = self.stream.calls.lock().await;
            let placed = self.session.place_encoded(encoded).await?.watched();
            calls.last = LastCall::Watched(placed.clone());
            calls.suppressed = None;
            Ok(placed)
        };
        let placed = in_time(placing).await.map_err(|error| explained(self.app, error))?;
        // Broken: 202 says that the command is committed.
        if on(Fault::AnswerBeforeCommit) {
            return Ok(Outcome::Done);
        }
        let answer = decided(placed.resolved()).await?;
        if let Outcome::Refused(refusal) = &answer.outcome {
            tracing::debug!(framework = %self.stream.framework, %refusal, "a call had no effect");
        }
        Ok(answer.outcome)
    }

    async fn teardown(&self) -> Result<(), CallError> {
        self.commit(Command::Teardown(Teardown { framework: self.framework() })).await.map(drop)
    }

    async fn decline(&self, decline: call::Decline) -> Result<(), CallError> {
        let command = DeclineOffers {
            framework: self.framework(),
            offers: offer_ids(decline.offer_ids),
            refuse: refuse(decline.filters.as_ref()),
        };
        self.place(Command::DeclineOffers(command)).await
    }

    /// Offers that are not outstanding are ignored, as in Mesos: an answer to none of them is not worth an entry. One that
    /// was told was committed before, so it is known here.
    async fn answer_inverse(
        &self,
        offers: Vec<mesarch_proto::mesos::v1::OfferId>,
        accepted: bool,
        filters: Option<&mesarch_proto::mesos::v1::Filters>,
    ) -> Result<(), CallError> {
        let told: BTreeSet<OfferId> = offer_ids(offers).into_iter().collect();
        let known = self.app.newest().state.inverse_offers_of(&self.stream.framework);
        let known = known.into_iter().map(|(_, offer)| offer.id);
        let offers: Vec<OfferId> = known.filter(|id| told.contains(id)).collect();
        if offers.is_empty() {
            return Ok(());
        }
        let command =
            AnswerInverseOffers { framework: self.framework(), offers, accepted, refuse: refuse(filters) };
        self.place(Command::AnswerInverseOffers(command)).await
    }

    async fn revive(&self, roles: Vec<String>) -> Result<(), CallError> {
        self.place(Command::Revive(self.roles(roles))).await
    }

    /// One that says what the last one said is no entry of its own: see `Calls::suppressed`.
    async fn suppress(&self, roles: Vec<String>) -> Result<(), CallError> {
        let command = self.roles(roles);
        let asked = Suppressed { term: self.session.term, roles: command.roles.clone() };
        let placing = async {
            let mut calls = self.stream.calls.lock().await;
            if calls.suppressed.as_ref() == Some(&asked) {
                return Ok(());
            }
            let encoded = Encoded::from(&Command::Suppress(command));
            calls.last = LastCall::Placed(self.session.place_encoded(encoded).await?);
            calls.suppressed = Some(asked);
            Ok(())
        };
        in_time(placing).await.map_err(|error| explained(self.app, error))
    }

    /// A role that is not the framework's, or not one at all, makes `apply` drop the whole call, as in Mesos.
    fn roles(&self, roles: Vec<String>) -> FrameworkRoles {
        FrameworkRoles { framework: self.framework(), roles: roles.into_iter().map(Role::from).collect() }
    }

    async fn kill(&self, kill: call::Kill) -> Result<(), CallError> {
        let task = TaskId::from(kill.task_id.value);
        let agent = kill.agent_id.map(|id| AgentId::from(id.value));
        let command = RequestKill {
            framework: self.framework(),
            task: task.clone(),
            agent: agent.clone(),
            policy: kill.kill_policy.map(|policy| policy.encode_to_vec().into()),
        };
        if self.commit(Command::RequestKill(command)).await? == Outcome::Refused(Refusal::UnknownTask) {
            reconcile::answer(&self.app.outlets, &self.stream, vec![(task, agent)]);
        }
        Ok(())
    }

    async fn shutdown(&self, shutdown: call::Shutdown) -> Result<(), CallError> {
        let key = ExecutorKey {
            framework: self.framework(),
            agent: shutdown.agent_id.value.into(),
            executor: shutdown.executor_id.value.into(),
        };
        self.commit(Command::RequestShutdown(key)).await.map(drop)
    }

    async fn acknowledge(&self, acknowledge: call::Acknowledge) -> Result<(), CallError> {
        let uuid = UpdateUuid::try_from(acknowledge.uuid.as_ref())
            .map_err(|_| CallError::Invalid(InvalidCall::BadUuid(acknowledge.uuid.len())))?;
        let item = Acknowledgement {
            framework: self.framework(),
            agent: acknowledge.agent_id.value.into(),
            task: acknowledge.task_id.value.into(),
            uuid,
        };
        self.place(Command::AcknowledgeUpdates(AcknowledgeUpdates { items: vec![item] })).await
    }

    /// Best effort: an agent that is away, or slow, does not get it.
    fn message(&self, message: call::Message) {
        let published = self.app.newest();
        let agent =
            published.state.agent(&AgentId::from(message.agent_id.value)).filter(|agent| agent.is_attached());
        let Some(agent) = agent else { return };
        let message = link::SchedulerMessage {
            framework: self.stream.framework.to_string(),
            executor: message.executor_id.value,
            data: message.data,
        };
        let message = link_messages::scheduler_message(&published.state, self.session.term, message);
        self.app.links.send(agent.link, message);
    }

    /// Answers from a state that holds all earlier calls of the framework.
    async fn reconcile(&self, reconcile: call::Reconcile) -> Result<(), CallError> {
        let last = self.stream.calls.lock().await.last.watch();
        if let Some(last) = last {
            self.session.hurry();
            decided(last.resolved()).await?;
        }
        let asked = reconcile.tasks;
        let is_large = reconcile::is_large(&self.app.newest().state, &self.stream.framework, asked.len());
        let (outlets, stream) = (self.app.outlets.clone(), self.stream.clone());
        let answer = move || {
            let asked = asked.into_iter();
            let asked =
                asked.map(|task| (task.task_id.value.into(), task.agent_id.map(|id| id.value.into())));
            reconcile::answer(&outlets, &stream, asked.collect());
        };
        match is_large {
            true => self.app.large.run(answer).await,
            false => {
                answer();
                Ok(())
            }
        }
    }
}

fn offer_ids(ids: Vec<mesarch_proto::mesos::v1::OfferId>) -> Vec<OfferId> {
    ids.into_iter().map(|id| OfferId::from(id.value)).collect()
}

/// How long the rest is not wanted: 5 s if nothing, or nonsense, is said; at most a year.
fn refuse(filters: Option<&mesarch_proto::mesos::v1::Filters>) -> Refuse {
    let seconds = filters.map_or(REFUSE_DEFAULT.0 as f64 / 1000.0, |filters| filters.refuse_seconds());
    let duration = if seconds >= 0.0 { specs::millis(seconds) } else { REFUSE_DEFAULT };
    Refuse { duration: duration.min(REFUSE_MAX).max(Millis::ZERO) }
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::Filters;

    use super::*;

    #[test]
    fn refusals_are_five_seconds_by_default_and_a_year_at_most() {
        let check = |filters: Option<Option<f64>>, expect: u64| {
            let filters = filters.map(|refuse_seconds| Filters { refuse_seconds });
            assert_eq!(refuse(filters.as_ref()).duration, Millis(expect), "{filters:?}");
        };
        check(None, 5000);
        check(Some(None), 5000);
        check(Some(Some(0.0)), 0);
        check(Some(Some(1.5)), 1500);
        check(Some(Some(-1.0)), 5000);
        check(Some(Some(f64::NAN)), 5000);
        check(Some(Some(f64::INFINITY)), REFUSE_MAX.0);
    }

    #[tokio::test]
    async fn a_call_that_finds_no_place_in_a_second_is_refused() {
        let began = std::time::Instant::now();
        let turn = tokio::sync::Mutex::new(());
        let _earlier = turn.lock().await;
        let refused = in_time(async {
            let _turn = turn.lock().await;
            Ok(())
        });
        assert_eq!(refused.await, Err(CallError::Busy));
        assert!(began.elapsed() >= PLACE_WAIT);
        assert_eq!(in_time(async { Ok(7) }).await, Ok(7));
    }
}
