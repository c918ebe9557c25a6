//! The connection to the agent: one stream of events, and calls beside it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mesarch_mesos_v1::{ContentType, decode, encode, recordio::Decoder};
use mesarch_proto::mesos::v1::{
    ExecutorId, FrameworkId, TaskInfo, TaskStatus,
    executor::{Call, Event, call},
};
use rand::Rng;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

use super::environment::Environment;
use crate::tasks::Tasks;

/// For one call, and for the answer to SUBSCRIBE.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// Between two tries to tell an update over a stream that stays open.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What the executor hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// An event of the agent.
    Event(Box<Event>),
    /// The agent does not want this executor, or has been gone for too long.
    Gone(String),
}

/// What the agent has not acknowledged; told again with every subscription.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged {
    pub(super) tasks: Vec<TaskInfo>,
    pub(super) updates: Vec<TaskStatus>,
}

/// The executor's side of the connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    unacknowledged: Arc<Mutex<Unacknowledged>>,
    /// Counts what was added, to wake whoever tells it.
    added: watch::Sender<u64>,
}

impl Connection {
    /// Connects in the background and goes on for as long as the agent may come back, or until the tasks are ended.
    pub(super) fn start(environment: &Environment, heard: mpsc::Sender<Heard>) -> (Self, Tasks) {
        let this = Self::detached();
        let line = Line {
            client: Client::builder(TokioExecutor::new()).build(connector()),
            environment: environment.clone(),
            connection: this.clone(),
        };
        let tasks = Tasks::default();
        tasks.spawn("connection to the agent", line.run(heard));
        (this, tasks)
    }

    /// Told to nobody.
    pub(super) fn detached() -> Self {
        Self { unacknowledged: Arc::default(), added: watch::Sender::new(0) }
    }

    pub(super) fn unacknowledged(&self) -> MutexGuard<'_, Unacknowledged> {
        self.unacknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an update and tells it.
    pub(super) fn tell(&self, status: TaskStatus) {
        self.unacknowledged().updates.push(status);
        self.added.send_modify(|count| *count += 1);
    }

    /// The agent has it: no need to tell it again.
    pub(super) fn acknowledged(&self, uuid: &[u8]) {
        let mut all = self.unacknowledged();
        all.updates.retain(|status| status.uuid.as_deref() != Some(uuid));
        all.tasks.clear();
    }

    fn oldest(&self, told: &[Bytes]) -> Option<TaskStatus> {
        let all = self.unacknowledged();
        let new = |status: &&TaskStatus| !told.iter().any(|uuid| status.uuid.as_ref() == Some(uuid));
        all.updates.iter().find(new).cloned()
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CALL_TIMEOUT));
    connector
}

/// Why a subscription ended.
enum End {
    /// Try again.
    Broken,
    /// The agent does not know this executor.
    Refused(String),
}

struct Line {
    client: Client<HttpConnector, Full<Bytes>>,
    environment: Environment,
    connection: Connection,
}

impl Line {
    async fn run(self, heard: mpsc::Sender<Heard>) {
        let mut alone_since = Instant::now();
        let mut backoff = BACKOFF_MIN;
        let gone = loop {
            let began = Instant::now();
            match self.subscribe(&heard).await {
                End::Refused(why) => break why,
                End::Broken if began.elapsed() > CALL_TIMEOUT => {
                    alone_since = Instant::now();
                    backoff = BACKOFF_MIN;
                }
                End::Broken => {}
            }
            let Some(patience) = self.environment.recovery else {
                break "the connection to the agent broke, and the framework does not checkpoint".to_owned();
            };
            if alone_since.elapsed() > Duration::from_millis(patience.0) {
                break "the agent has been gone for too long".to_owned();
            }
            let pause = rand::rng().random_range(backoff / 2..=backoff);
            sleep(pause).await;
            backoff =
                (backoff * 2).min(Duration::from_millis(self.environment.backoff_max.0).max(BACKOFF_MIN));
        };
        // The executor has ended by itself if nobody hears this.
        let _ = heard.send(Heard::Gone(gone)).await;
    }

    /// One stream, from SUBSCRIBE to its end.
    async fn subscribe(&self, heard: &mpsc::Sender<Heard>) -> End {
        let (subscribe, told) = self.subscription();
        let call =
            Call { r#type: Some(call::Type::Subscribe as i32), subscribe: Some(subscribe), ..self.call() };
        let Ok(Ok(response)) = timeout(CALL_TIMEOUT, self.client.request(self.request(&call))).await else {
            return End::Broken;
        };
        let status = response.status();
        if status == StatusCode::BAD_REQUEST {
            return End::Refused(format!("the agent refused the subscription: {status}"));
        }
        if status != StatusCode::OK {
            return End::Broken;
        }
        tokio::select! {
            end = self.read(response.into_body(), heard) => end,
            () = self.tell_updates(told) => End::Broken,
        }
    }

    /// What the agent may have lost, and the uuids in it.
    fn subscription(&self) -> (call::Subscribe, Vec<Bytes>) {
        let all = self.connection.unacknowledged();
        let updates = all.updates.iter().map(|status| call::Update { status: status.clone() });
        let told = all.updates.iter().filter_map(|status| status.uuid.clone()).collect();
        let subscribe = call::Subscribe {
            unacknowledged_tasks: all.tasks.clone(),
            unacknowledged_updates: updates.collect(),
        };
        (subscribe, told)
    }

    async fn read(&self, mut body: hyper::body::Incoming, heard: &mpsc::Sender<Heard>) -> End {
        let mut decoder = Decoder::default();
        loop {
            let Some(Ok(frame)) = body.frame().await else {
                return End::Broken;
            };
            let Ok(chunk) = frame.into_data() else { continue };
            decoder.push(&chunk);
            loop {
                let record = match decoder.next_record() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(_) => return End::Broken,
                };
                let Ok(event) = decode::<Event>(ContentType::Protobuf, &record) else {
                    return End::Broken;
                };
                if heard.send(Heard::Event(Box::new(event))).await.is_err() {
                    return End::Refused("the executor ended".to_owned());
                }
            }
        }
    }

    /// Tells new updates one after the other, for as long as the stream lives.
    async fn tell_updates(&self, mut told: Vec<Bytes>) {
        let mut added = self.connection.added.subscribe();
        loop {
            added.borrow_and_update();
            while let Some(status) = self.connection.oldest(&told) {
                let uuid = status.uuid.clone();
                let update = Some(call::Update { status });
                let call = Call { r#type: Some(call::Type::Update as i32), update, ..self.call() };
                match timeout(CALL_TIMEOUT, self.client.request(self.request(&call))).await {
                    Ok(Ok(response)) if response.status() == StatusCode::ACCEPTED => told.extend(uuid),
                    _ => sleep(RETRY_PAUSE).await,
                }
            }
            if added.changed().await.is_err() {
                return;
            }
        }
    }

    fn call(&self) -> Call {
        Call {
            executor_id: ExecutorId { value: self.environment.executor.clone() },
            framework_id: FrameworkId { value: self.environment.framework.clone() },
            ..Default::default()
        }
    }

    fn request(&self, call: &Call) -> Request<Full<Bytes>> {
        let kind = header::HeaderValue::from_static(ContentType::Protobuf.as_str());
        let mut request = Request::new(Full::new(encode(ContentType::Protobuf, call)));
        *request.method_mut() = http::Method::POST;
        // An address that is no URI cannot be connected to, and is reported like any agent that is not there.
        *request.uri_mut() =
            format!("http://{}/api/v1/executor", self.environment.agent).parse().unwrap_or_default();
        request.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
        request.headers_mut().insert(header::ACCEPT, kind);
        request
    }
}
