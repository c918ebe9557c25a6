//! Calls of a subscribed framework.
//!
//! A call waits for a leader, is sent on a connection of its own, and is repeated only where that is safe: when it
//! cannot have arrived, when the master said that it did nothing, or when doing it twice is the same as once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Options;
use super::session::{PATH, Phase, STREAM_ID, Up};
use super::suppressed::Suppressed;
use crate::ContentType;
use crate::backoff::Backoff;
use crate::error::{CallError, Ended};
use crate::http::{Connection, read_body, read_reason, request};
use crate::v1::scheduler::{Call, call};
use crate::v1::{
    AgentId, ExecutorId, ExecutorInfo, Filters, KillPolicy, Offer, OfferId, OperationStatus, TaskGroupInfo,
    TaskId, TaskInfo, TaskStatus, offer,
};

/// Acknowledgements that are sent at the same time.
const ACKNOWLEDGEMENTS_AT_ONCE: usize = 16;
/// Idle connections that are kept for the next call. After a burst of acknowledgements, none has to be made anew.
const IDLE_MAX: usize = ACKNOWLEDGEMENTS_AT_ONCE;
/// The header by which a leader says what it has run out of.
const FULL: &str = "mesarch-full";
/// The longest pause that a master's Retry-After can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// A good answer to a call has no body; UPDATE_FRAMEWORK may have a short one.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends calls to the leader. Cheap to clone.
///
/// A call that returned is ahead of every call that is made after it. Calls that run at the same time have no order.
#[derive(Clone, Debug)]
pub struct Calls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    phase: watch::Receiver<Phase>,
    suppressed: Suppressed,
    content_type: ContentType,
    call_max: Duration,
    /// Connections to the leader of this serial.
    idle: Mutex<(u64, Vec<Connection>)>,
}

/// How one try ended.
enum Tried {
    Done,
    /// Nothing was done; another try may help, after this pause or with another subscription.
    NotDone {
        why: String,
        pause: Option<Duration>,
        /// What the leader is out of, if that is why.
        out_of: Option<String>,
    },
    /// It was sent, and no answer came.
    Unknown(String),
    Refused {
        status: u16,
        reason: String,
    },
}

impl Calls {
    pub(super) fn new(phase: watch::Receiver<Phase>, suppressed: Suppressed, options: &Options) -> Self {
        let (content_type, call_max) = (options.content_type, options.call_max);
        Self {
            shared: Arc::new(Shared { phase, suppressed, content_type, call_max, idle: Mutex::default() }),
        }
    }

    /// Launches tasks on offers of one agent. What they do not use is declined without a filter of its own.
    ///
    /// [`CallError::OutcomeUnknown`]: the tasks may be running. Updates will tell; [`Calls::reconcile`] asks for them.
    pub async fn launch(
        &self,
        offers: impl IntoIterator<Item = OfferId>,
        tasks: impl IntoIterator<Item = TaskInfo>,
    ) -> Result<(), CallError> {
        let launch = offer::operation::Launch { task_infos: tasks.into_iter().collect() };
        let operation = offer::Operation {
            r#type: Some(offer::operation::Type::Launch as i32),
            launch: Some(launch),
            ..offer::Operation::default()
        };
        self.accept(offers, [operation], None).await
    }

    /// Launches tasks on offers of one agent that run together in one executor, or not at all. What they do not use is
    /// declined without a filter of its own. Errors as [`Calls::launch`].
    pub async fn launch_group(
        &self,
        offers: impl IntoIterator<Item = OfferId>,
        executor: ExecutorInfo,
        tasks: impl IntoIterator<Item = TaskInfo>,
    ) -> Result<(), CallError> {
        let task_group = TaskGroupInfo { tasks: tasks.into_iter().collect() };
        let operation = offer::Operation {
            r#type: Some(offer::operation::Type::LaunchGroup as i32),
            launch_group: Some(offer::operation::LaunchGroup { executor, task_group }),
            ..offer::Operation::default()
        };
        self.accept(offers, [operation], None).await
    }

    /// Uses offers of one agent and role with any operations, in order. Errors as [`Calls::launch`].
    pub async fn accept(
        &self,
        offers: impl IntoIterator<Item = OfferId>,
        operations: impl IntoIterator<Item = offer::Operation>,
        refuse: Option<Duration>,
    ) -> Result<(), CallError> {
        let accept = call::Accept {
            offer_ids: offers.into_iter().collect(),
            operations: operations.into_iter().collect(),
            filters: filters(refuse),
        };
        self.call(Call { accept: Some(accept), ..of_type(call::Type::Accept) }).await
    }

    /// Gives offers back; `refuse` says for how long the same resources are not wanted (5 s if not given).
    pub async fn decline(
        &self,
        offers: impl IntoIterator<Item = OfferId>,
        refuse: Option<Duration>,
    ) -> Result<(), CallError> {
        let decline = call::Decline { offer_ids: offers.into_iter().collect(), filters: filters(refuse) };
        self.call(Call { decline: Some(decline), ..of_type(call::Type::Decline) }).await
    }

    /// As [`Calls::decline`], for whole offers.
    pub async fn decline_all(&self, offers: &[Offer], refuse: Option<Duration>) -> Result<(), CallError> {
        self.decline(offers.iter().map(|offer| offer.id.clone()), refuse).await
    }

    /// Asks for the end of a task. An update tells when it has ended.
    pub async fn kill(
        &self,
        task: &TaskId,
        agent: Option<&AgentId>,
        grace: Option<Duration>,
    ) -> Result<(), CallError> {
        let kill_policy = grace.map(|grace| KillPolicy {
            grace_period: Some(crate::v1::DurationInfo { nanoseconds: nanoseconds(grace) }),
        });
        let kill = call::Kill { task_id: task.clone(), agent_id: agent.cloned(), kill_policy };
        self.call(Call { kill: Some(kill), ..of_type(call::Type::Kill) }).await
    }

    /// Acknowledges an update: it will not be repeated, and the task's next one may come. Does nothing, with success,
    /// for an update that wants no acknowledgement (it has no uuid).
    pub async fn acknowledge(&self, status: &TaskStatus) -> Result<(), CallError> {
        let (Some(uuid), Some(agent)) = (&status.uuid, &status.agent_id) else {
            return Ok(());
        };
        let acknowledge = call::Acknowledge {
            agent_id: agent.clone(),
            task_id: status.task_id.clone(),
            uuid: uuid.clone(),
        };
        self.call(Call { acknowledge: Some(acknowledge), ..of_type(call::Type::Acknowledge) }).await
    }

    /// Acknowledges what is told of an operation: it will not be repeated. Does nothing, with success, for what wants no
    /// acknowledgement (it has no uuid).
    pub async fn acknowledge_operation(&self, status: &OperationStatus) -> Result<(), CallError> {
        let (Some(uuid), Some(operation)) = (&status.uuid, &status.operation_id) else {
            return Ok(());
        };
        let acknowledge = call::AcknowledgeOperationStatus {
            agent_id: status.agent_id.clone(),
            resource_provider_id: status.resource_provider_id.clone(),
            uuid: uuid.value.clone(),
            operation_id: operation.clone(),
        };
        let kind = of_type(call::Type::AcknowledgeOperationStatus);
        self.call(Call { acknowledge_operation_status: Some(acknowledge), ..kind }).await
    }

    /// Asks for the present state of these tasks, or of all known ones if none is named. Updates without uuid answer.
    pub async fn reconcile(
        &self,
        tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>,
    ) -> Result<(), CallError> {
        let tasks = tasks.into_iter().map(|(task_id, agent_id)| call::reconcile::Task { task_id, agent_id });
        let reconcile = call::Reconcile { tasks: tasks.collect() };
        self.call(Call { reconcile: Some(reconcile), ..of_type(call::Type::Reconcile) }).await
    }

    /// Clears filters and suppression of these roles, of all if none is named, and asks for offers now.
    pub async fn revive(&self, roles: &[String]) -> Result<(), CallError> {
        let revive = call::Revive { roles: roles.to_vec() };
        self.call(Call { revive: Some(revive), ..of_type(call::Type::Revive) }).await?;
        self.shared.suppressed.remove(roles);
        Ok(())
    }

    /// No more offers for these roles, or for all if none is named, until [`Calls::revive`].
    pub async fn suppress(&self, roles: &[String]) -> Result<(), CallError> {
        let suppress = call::Suppress { roles: roles.to_vec() };
        self.call(Call { suppress: Some(suppress), ..of_type(call::Type::Suppress) }).await?;
        self.shared.suppressed.add(roles);
        Ok(())
    }

    /// Ends an executor and its tasks. [`Event::Failure`](super::Event::Failure) tells when it has ended.
    pub async fn shutdown(&self, executor: &ExecutorId, agent: &AgentId) -> Result<(), CallError> {
        let shutdown = call::Shutdown { executor_id: executor.clone(), agent_id: agent.clone() };
        self.call(Call { shutdown: Some(shutdown), ..of_type(call::Type::Shutdown) }).await
    }

    /// Bytes to an executor: they arrive once or not at all, so a lost connection is not repaired.
    pub async fn message(
        &self,
        executor: &ExecutorId,
        agent: &AgentId,
        data: Bytes,
    ) -> Result<(), CallError> {
        let message = call::Message { agent_id: agent.clone(), executor_id: executor.clone(), data };
        self.call(Call { message: Some(message), ..of_type(call::Type::Message) }).await
    }

    /// Removes the framework with all of its tasks. The subscription ends.
    pub async fn teardown(&self) -> Result<(), CallError> {
        self.call(of_type(call::Type::Teardown)).await
    }

    /// Sends any call; `framework_id` is filled in. Returns when a leader has accepted it.
    pub async fn call(&self, mut call: Call) -> Result<(), CallError> {
        let deadline = Instant::now() + self.shared.call_max;
        let again = may_be_repeated(call.r#type());
        let mut backoff = Backoff::new();
        let mut last = CallError::Unavailable { last: "no leader was found".to_owned() };
        // Once a try may have been done, a later one that was not says nothing about the call.
        let mut unknown = None;
        loop {
            let up = match timeout_at(deadline, self.subscription()).await {
                Ok(up) => up?,
                Err(_) => return Err(unknown.unwrap_or(last)),
            };
            call.framework_id = Some(up.framework.clone());
            let (why, pause) = match self.try_once(&up, &call, deadline).await {
                Tried::Done => return Ok(()),
                Tried::Refused { status, reason } => match self.stands(&up) {
                    true => return Err(CallError::Refused { status, reason }),
                    false => (CallError::Unavailable { last: reason }, None),
                },
                Tried::Unknown(cause) if !again => return Err(CallError::OutcomeUnknown { cause }),
                Tried::Unknown(cause) => {
                    unknown = Some(CallError::OutcomeUnknown { cause: cause.clone() });
                    (CallError::Unavailable { last: cause }, None)
                }
                Tried::NotDone { why, pause, out_of } => (not_done(why, pause, out_of), pause),
            };
            last = why;
            // However long the pause: another leader may take it in the time that is left.
            let left = deadline.saturating_duration_since(Instant::now());
            self.pause(&up, pause.unwrap_or_else(|| backoff.next()).min(left)).await;
            if Instant::now() >= deadline {
                return Err(unknown.unwrap_or(last));
            }
        }
    }

    /// Whether `up` is still the subscription: a refusal of a call under an old one means nothing.
    fn stands(&self, up: &Up) -> bool {
        matches!(&*self.shared.phase.borrow(), Phase::Up(now) if now.serial == up.serial)
    }

    async fn subscription(&self) -> Result<Up, Ended> {
        let mut phase = self.shared.phase.clone();
        let decided = phase.wait_for(|phase| !matches!(phase, Phase::Searching { .. })).await;
        match decided.as_deref() {
            Ok(Phase::Up(up)) => Ok(up.clone()),
            Ok(Phase::Ended(ended)) => Err(ended.clone()),
            Ok(Phase::Searching { .. }) | Err(_) => Err(Ended::Closed),
        }
    }

    /// Until another subscription stands or `pause` is over.
    async fn pause(&self, up: &Up, pause: Duration) {
        let mut phase = self.shared.phase.clone();
        let newer = phase.wait_for(|phase| matches!(phase, Phase::Up(now) if now.serial != up.serial));
        // Both endings are reason enough for the next try; it looks at the phase itself.
        let _ = timeout(pause, newer).await;
    }

    async fn try_once(&self, up: &Up, call: &Call, deadline: Instant) -> Tried {
        let not_done = |why: String| Tried::NotDone { why, pause: None, out_of: None };
        let mut connection = match self.connection(up).await {
            Ok(connection) => connection,
            Err(error) => return not_done(format!("{}: {error}", up.leader)),
        };
        let media = self.shared.content_type.as_str();
        let headers = [("content-type", media), (STREAM_ID, &*up.stream_id)];
        let body = mesarch_mesos_v1::encode(self.shared.content_type, call);
        let request = match request(Method::POST, &up.leader, PATH, &headers, body) {
            Ok(request) => request,
            Err(error) => return not_done(error.to_string()),
        };
        let within = deadline.saturating_duration_since(Instant::now());
        match connection.send(request, within).await {
            Ok(response) => self.judge(response, up, connection).await,
            Err(error) if error.may_have_arrived() => Tried::Unknown(format!("{}: {error}", up.leader)),
            Err(error) => not_done(format!("{}: {error}", up.leader)),
        }
    }

    async fn judge(&self, response: Response<Incoming>, up: &Up, connection: Connection) -> Tried {
        let status = response.status();
        if status.is_success() {
            // The body must be read before the connection can serve again; a broken one cannot.
            if read_body(response, ANSWER_BYTES_MAX, crate::http::CONNECT_MAX).await.is_ok() {
                self.give_back(up, connection);
            }
            return Tried::Done;
        }
        let (pause, out_of) = (retry_after(&response), out_of(&response));
        let reason = read_reason(response).await;
        match status {
            StatusCode::TEMPORARY_REDIRECT | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                Tried::NotDone { why: reason, pause, out_of }
            }
            // Retry-After is the leader's word that nothing was done; without it, something may have been.
            StatusCode::SERVICE_UNAVAILABLE if pause.is_some() => {
                Tried::NotDone { why: reason, pause, out_of }
            }
            status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                Tried::Unknown(reason)
            }
            status => Tried::Refused { status: status.as_u16(), reason },
        }
    }

    async fn connection(&self, up: &Up) -> Result<Connection, crate::http::TransportError> {
        if let Some(connection) = self.take_idle(up) {
            return Ok(connection);
        }
        Connection::open(&up.leader).await
    }

    fn take_idle(&self, up: &Up) -> Option<Connection> {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.0 != up.serial {
            *idle = (up.serial, Vec::new());
        }
        std::iter::from_fn(|| idle.1.pop()).find(Connection::is_ready)
    }

    fn give_back(&self, up: &Up, connection: Connection) {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.0 == up.serial && idle.1.len() < IDLE_MAX {
            idle.1.push(connection);
        }
    }
}

/// Sends queued acknowledgements, several at a time, until the queue closes. One that fails is left to the agent, which
/// repeats the update.
pub(super) async fn acknowledge_all(calls: Calls, queue: mpsc::Receiver<TaskStatus>) {
    let stream = futures::stream::unfold(queue, async |mut queue| Some((queue.recv().await?, queue)));
    stream
        .for_each_concurrent(ACKNOWLEDGEMENTS_AT_ONCE, async |status| {
            if let Err(error) = calls.acknowledge(&status).await {
                tracing::debug!(%error, task = %status.task_id.value, "an acknowledgement failed");
            }
        })
        .await;
}

/// Whether doing it twice is the same as doing it once. A second ACCEPT could launch again what ended meanwhile, and a
/// second message would be a second message.
fn may_be_repeated(kind: call::Type) -> bool {
    use call::Type;
    match kind {
        Type::Accept | Type::Message | Type::Subscribe | Type::Unknown => false,
        Type::Teardown
        | Type::Decline
        | Type::AcceptInverseOffers
        | Type::DeclineInverseOffers
        | Type::Revive
        | Type::Kill
        | Type::Shutdown
        | Type::Acknowledge
        | Type::AcknowledgeOperationStatus
        | Type::Reconcile
        | Type::ReconcileOperations
        | Type::Request
        | Type::Suppress
        | Type::UpdateFramework => true,
    }
}

fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// What the leader has run out of, if it says that this is why it refuses.
fn out_of(response: &Response<Incoming>) -> Option<String> {
    Some(response.headers().get(FULL)?.to_str().ok()?.to_owned())
}

/// The error of a call that was never done, should there be no time for another try.
fn not_done(reason: String, pause: Option<Duration>, out_of: Option<String>) -> CallError {
    match out_of {
        Some(what) => CallError::Full { what, reason, retry_after: pause.unwrap_or(crate::backoff::LONGEST) },
        None => CallError::Unavailable { last: reason },
    }
}

fn of_type(kind: call::Type) -> Call {
    Call { r#type: Some(kind as i32), ..Call::default() }
}

fn filters(refuse: Option<Duration>) -> Option<Filters> {
    refuse.map(|refuse| Filters { refuse_seconds: Some(refuse.as_secs_f64()) })
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
