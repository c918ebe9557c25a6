//! The executor's subscription, and what the agent has not acknowledged yet.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mesarch_mesos_v1::recordio;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Ended, Environment, Event, Queued, Subscribed};
use crate::ContentType;
use crate::backoff::Backoff;
use crate::http::{Connection, TransportError, read_body, read_reason, request};
use crate::v1::executor::{Call, Event as Wire, call, event};
use crate::v1::{TaskId, TaskInfo, TaskStatus};

const PATH: &str = "/api/v1/executor";
/// How long the agent may take to answer one call.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Session {
    environment: Environment,
    content_type: ContentType,
    events: mpsc::Sender<Event>,
    queue: mpsc::Receiver<Queued>,
    held: Unacknowledged,
    /// How long the agent may take from its answer to SUBSCRIBED.
    subscribed_within: Duration,
}

/// What a restarted agent has to be told again.
#[derive(Default)]
struct Unacknowledged {
    /// Launched, and no update about them stored yet.
    tasks: BTreeMap<String, TaskInfo>,
    /// In the order in which they were made.
    updates: Vec<TaskStatus>,
}

impl Unacknowledged {
    fn launched(&mut self, task: &TaskInfo) {
        self.tasks.insert(task.task_id.value.clone(), task.clone());
    }

    fn acknowledged(&mut self, task: &TaskId, uuid: &Bytes) {
        self.tasks.remove(&task.value);
        self.updates.retain(|update| update.uuid.as_ref() != Some(uuid));
    }
}

/// Why a stream is no longer read.
enum Broke {
    Lost(String),
    Over(Ended),
}

impl From<TransportError> for Broke {
    fn from(error: TransportError) -> Self {
        Broke::Lost(error.to_string())
    }
}

impl Session {
    pub(super) fn new(
        environment: Environment,
        content_type: ContentType,
        events: mpsc::Sender<Event>,
        queue: mpsc::Receiver<Queued>,
    ) -> Self {
        let (held, subscribed_within) = (Unacknowledged::default(), ANSWER_WITHIN);
        Self { environment, content_type, events, queue, held, subscribed_within }
    }

    /// With less patience than an agent under load may need.
    #[cfg(test)]
    pub(super) fn subscribed_within(mut self, limit: Duration) -> Self {
        self.subscribed_within = limit;
        self
    }

    /// Until the agent is lost, or ends the executor.
    pub(super) async fn run(mut self) -> Ended {
        let mut lost_at = Instant::now();
        let mut ever = false;
        let mut backoff = Backoff::up_to(self.environment.backoff_max);
        loop {
            let (reason, was_up) = match self.one_stream().await {
                (Broke::Over(ended), _) => return ended,
                (Broke::Lost(reason), was_up) => (reason, was_up),
            };
            if was_up {
                (lost_at, ever) = (Instant::now(), true);
                backoff.reset();
                if self.events.send(Event::Disconnected { reason: reason.clone() }).await.is_err() {
                    return Ended::AgentLost(reason);
                }
            }
            let patience = if ever && !self.environment.checkpoint {
                Duration::ZERO
            } else {
                self.environment.recovery_max
            };
            if lost_at.elapsed() >= patience {
                return Ended::AgentLost(reason);
            }
            sleep(backoff.next()).await;
        }
    }

    /// Subscribes and serves one stream; tells also whether SUBSCRIBED was reached.
    async fn one_stream(&mut self) -> (Broke, bool) {
        let (connection, response) = match self.subscribe().await {
            Ok(stream) => stream,
            Err(broke) => return (broke, false),
        };
        let mut up = false;
        let broke = self.serve(response, &mut up).await;
        drop(connection);
        (broke, up)
    }

    async fn subscribe(&self) -> Result<(Connection, Response<Incoming>), Broke> {
        let mut connection = Connection::open(&self.environment.agent).await?;
        let updates = self.held.updates.iter().map(|status| call::Update { status: status.clone() });
        let subscribe = call::Subscribe {
            unacknowledged_tasks: self.held.tasks.values().cloned().collect(),
            unacknowledged_updates: updates.collect(),
        };
        let call = Call { subscribe: Some(subscribe), ..self.call(call::Type::Subscribe) };
        let response = self.post(&mut connection, &call).await?;
        match response.status() {
            StatusCode::OK => Ok((connection, response)),
            // An agent answers when it has read what it knew: an executor that it does not know then has no task there
            // any more, and nobody would ever hear of it.
            StatusCode::BAD_REQUEST => Err(Broke::Over(Ended::Refused(read_reason(response).await))),
            status => Err(Broke::Lost(format!("{} ({})", read_reason(response).await, status.as_u16()))),
        }
    }

    async fn serve(&mut self, mut response: Response<Incoming>, up: &mut bool) -> Broke {
        let mut decoder = recordio::Decoder::new(recordio::RECORD_BYTES_MAX);
        let mut calls = None;
        let greeted_by = Instant::now() + self.subscribed_within;
        loop {
            tokio::select! {
                // Later there is none: a quiet agent says nothing for half an hour, and one that dies on this machine
                // takes its connections with it.
                () = sleep_until(greeted_by), if !*up => {
                    let waited = self.subscribed_within.as_millis();
                    return Broke::Lost(format!("the agent did not say SUBSCRIBED within {waited} ms"));
                }
                frame = response.body_mut().frame() => {
                    let data = match frame {
                        None => return Broke::Lost("the agent closed the stream".to_owned()),
                        Some(Err(error)) => return Broke::Lost(error.to_string()),
                        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    };
                    if let Err(broke) = self.take_records(&mut decoder, &data, up).await {
                        return broke;
                    }
                }
                Some(queued) = self.queue.recv(), if *up => {
                    if let Err(broke) = self.send_queued(queued, &mut calls).await {
                        return broke;
                    }
                }
            }
        }
    }

    async fn take_records(
        &mut self,
        decoder: &mut recordio::Decoder,
        data: &[u8],
        up: &mut bool,
    ) -> Result<(), Broke> {
        decoder.push(data);
        while let Some(record) = decoder.next_record().map_err(|error| Broke::Lost(error.to_string()))? {
            let wire: Wire = mesarch_mesos_v1::decode(self.content_type, &record)
                .map_err(|error| Broke::Lost(format!("a record could not be read: {error}")))?;
            let Some(event) = self.read(wire)? else {
                continue;
            };
            *up |= matches!(event, Event::Subscribed(_));
            let gone = |_| Broke::Over(Ended::AgentLost("the executor was dropped".to_owned()));
            self.events.send(event).await.map_err(gone)?;
        }
        Ok(())
    }

    /// Sorts one record and keeps account of what is unacknowledged.
    fn read(&mut self, wire: Wire) -> Result<Option<Event>, Broke> {
        use event::Type;
        Ok(match wire.r#type() {
            Type::Subscribed => wire.subscribed.map(|s| {
                Event::Subscribed(Box::new(Subscribed {
                    executor: s.executor_info,
                    framework: s.framework_info,
                    agent: s.agent_info,
                    container: s.container_id,
                }))
            }),
            Type::Launch => wire.launch.map(|launch| {
                self.held.launched(&launch.task);
                Event::Launch(Box::new(launch.task))
            }),
            Type::LaunchGroup => wire.launch_group.map(|group| {
                group.task_group.tasks.iter().for_each(|task| self.held.launched(task));
                Event::LaunchGroup(group.task_group.tasks)
            }),
            Type::Kill => wire.kill.map(|kill| Event::Kill { task: kill.task_id, policy: kill.kill_policy }),
            Type::Acknowledged => wire.acknowledged.map(|acknowledged| {
                self.held.acknowledged(&acknowledged.task_id, &acknowledged.uuid);
                Event::Acknowledged { task: acknowledged.task_id, uuid: acknowledged.uuid }
            }),
            Type::Message => wire.message.map(|message| Event::Message(message.data)),
            Type::Shutdown => Some(Event::Shutdown),
            Type::Error => {
                let message = wire.error.map_or_else(String::new, |error| error.message);
                return Err(Broke::Over(Ended::Refused(message)));
            }
            Type::Heartbeat | Type::Unknown => None,
        })
    }

    /// Sends one queued call on the connection for calls, which is made when first needed.
    async fn send_queued(&mut self, queued: Queued, calls: &mut Option<Connection>) -> Result<(), Broke> {
        let call = match queued {
            Queued::Update(status) => {
                // Held first: if the connection breaks now, the next SUBSCRIBE carries it.
                self.held.updates.push((*status).clone());
                Call { update: Some(call::Update { status: *status }), ..self.call(call::Type::Update) }
            }
            Queued::Message(data) => {
                Call { message: Some(call::Message { data }), ..self.call(call::Type::Message) }
            }
        };
        let connection = match calls.take().filter(Connection::is_ready) {
            Some(connection) => calls.insert(connection),
            None => calls.insert(Connection::open(&self.environment.agent).await?),
        };
        let response = self.post(connection, &call).await?;
        let status = response.status();
        if status.is_success() {
            read_body(response, ANSWER_BYTES_MAX, ANSWER_WITHIN).await?;
            return Ok(());
        }
        let reason = read_reason(response).await;
        *calls = None;
        if status.is_server_error() || status == StatusCode::FORBIDDEN {
            return Err(Broke::Lost(format!("{reason} ({})", status.as_u16())));
        }
        tracing::error!(%reason, status = status.as_u16(), "the agent refused a call; it is not repeated");
        if let Some(update) = call.update {
            self.held.updates.retain(|held| held.uuid != update.status.uuid);
        }
        Ok(())
    }

    async fn post(
        &self,
        connection: &mut Connection,
        call: &Call,
    ) -> Result<Response<Incoming>, TransportError> {
        let media = self.content_type.as_str();
        let headers = [("content-type", media), ("accept", media)];
        let body = mesarch_mesos_v1::encode(self.content_type, call);
        let request = request(Method::POST, &self.environment.agent, PATH, &headers, body)?;
        connection.send(request, ANSWER_WITHIN).await
    }

    fn call(&self, kind: call::Type) -> Call {
        Call {
            executor_id: self.environment.executor.clone(),
            framework_id: self.environment.framework.clone(),
            r#type: Some(kind as i32),
            ..Call::default()
        }
    }
}
