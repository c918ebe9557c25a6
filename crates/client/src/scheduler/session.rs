//! The subscription: found, read, and resumed after every break until it ends for good.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mesarch_mesos_v1::recordio;
use rand::seq::SliceRandom;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::event::{self, Event, Read};
use super::leader_watch::{self, LeaderWatch};
use super::suppressed::Suppressed;
use super::{EVENTS_QUEUED_MAX, Options};
use crate::backoff::Backoff;
use crate::error::Ended;
use crate::http::{Connection, TransportError, read_reason, redirect_target, request};
use crate::v1;
use crate::v1::scheduler::{Call, Event as Wire, call};

/// Where scheduler calls go.
pub(super) const PATH: &str = "/api/v1/scheduler";
/// The header that names a subscription's stream.
pub(super) const STREAM_ID: &str = "mesos-stream-id";
/// The header that asks to go on with a stream.
const RESUME: &str = "mesarch-resume";
/// The first limit for a master's answer to SUBSCRIBE. A paused master accepts connections and never answers.
const ANSWER_FIRST: Duration = Duration::from_secs(2);
/// The limit doubles with every silence up to this: an overloaded leader must get the time that it needs.
const ANSWER_LONGEST: Duration = Duration::from_secs(16);
/// Assumed until SUBSCRIBED tells.
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(15);
/// Redirects that are followed before waiting: two masters may name each other for a moment.
const REDIRECTS_MAX: usize = 4;

/// What calls need to know about the present subscription.
#[derive(Clone, Debug)]
pub(super) struct Up {
    /// Grows with every subscription.
    pub(super) serial: u64,
    /// Who took it.
    pub(super) leader: Arc<str>,
    pub(super) stream_id: Arc<str>,
    pub(super) framework: v1::FrameworkId,
}

/// Where the session stands.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// No leader at the moment.
    Searching {
        /// What the last try ended with.
        last: String,
    },
    /// Subscribed.
    Up(Up),
    /// Over for good.
    Ended(Ended),
}

/// How one try to subscribe ended.
enum Tried {
    Stream(Box<Stream>),
    Redirect(String),
    /// Nobody leads there, for this reason.
    Elsewhere(String),
    Silent(String),
    Refused(String),
}

/// An open stream, before its first record.
struct Stream {
    /// Held because dropping it closes the socket.
    _connection: Connection,
    response: Response<Incoming>,
    leader: String,
    stream_id: Arc<str>,
}

pub(super) struct Session {
    options: Options,
    events: mpsc::Sender<Event>,
    phase: watch::Sender<Phase>,
    suppressed: Suppressed,
    serial: u64,
    /// The stream to resume.
    last_stream: Option<Arc<str>>,
    answer_max: Duration,
    watch: LeaderWatch,
    /// The newest term whose report has ended a stream: a report ends one stream at most, because a leader may
    /// advertise itself by another name than we call it.
    term_heeded: u64,
    /// By what names the present leader goes.
    names: Vec<String>,
}

impl Session {
    pub(super) fn new(
        options: Options,
        suppressed: Suppressed,
        events: mpsc::Sender<Event>,
        phase: watch::Sender<Phase>,
    ) -> Self {
        let watch = LeaderWatch::start(options.masters.clone());
        Self {
            options,
            suppressed,
            events,
            phase,
            serial: 0,
            last_stream: None,
            answer_max: ANSWER_FIRST,
            watch,
            term_heeded: 0,
            names: Vec::new(),
        }
    }

    /// Until the subscription ends for good or its owner is gone.
    pub(super) async fn run(mut self) {
        let mut left = None;
        loop {
            let stream = match self.find_leader(left.as_deref()).await {
                Ok(stream) => stream,
                Err(refused) => return self.finish(Ended::Refused(refused)),
            };
            let leader = stream.leader.clone();
            match self.read_stream(stream).await {
                Broke::Over(ended) => return self.finish(ended),
                Broke::Lost(reason) => {
                    tracing::debug!(%leader, %reason, "the scheduler stream broke");
                    self.phase.send_replace(Phase::Searching { last: reason.clone() });
                    if self.events.send(Event::Disconnected { reason }).await.is_err() {
                        return;
                    }
                }
            }
            left = Some(leader);
        }
    }

    fn finish(&self, ended: Ended) {
        self.phase.send_replace(Phase::Ended(ended));
    }

    /// Asks masters in turn until one takes the subscription; an error if it is refused for good.
    async fn find_leader(&mut self, left: Option<&str>) -> Result<Stream, String> {
        let mut backoff = Backoff::new();
        let mut round = round(&self.masters(), left);
        let reported = self.watch.reports.borrow().leader.clone();
        if !reported.is_empty() && Some(reported.as_str()) != left {
            round.push_front(reported);
        }
        let mut redirects = 0;
        loop {
            let Some(master) = round.pop_front() else {
                sleep(backoff.next()).await;
                round = self::round(&self.masters(), None);
                redirects = 0;
                continue;
            };
            let last = match self.subscribe(&master).await {
                Tried::Stream(stream) => {
                    self.answer_max = ANSWER_FIRST;
                    return Ok(*stream);
                }
                Tried::Refused(reason) => return Err(reason),
                Tried::Redirect(leader) => {
                    redirects += 1;
                    if redirects <= REDIRECTS_MAX {
                        round.push_front(leader.clone());
                    }
                    format!("{master} names {leader} as leader")
                }
                Tried::Silent(reason) => {
                    self.answer_max = (self.answer_max * 2).min(ANSWER_LONGEST);
                    reason
                }
                Tried::Elsewhere(reason) => reason,
            };
            tracing::debug!(%last, "looking for the leader");
            self.phase.send_replace(Phase::Searching { last });
        }
    }

    /// All masters that there may be.
    fn masters(&self) -> Vec<String> {
        leader_watch::known(&self.options.masters, &self.watch.reports.borrow())
    }

    async fn subscribe(&self, master: &str) -> Tried {
        match self.try_subscribe(master).await {
            Ok(tried) => tried,
            Err(error @ TransportError::Silent(_)) => Tried::Silent(format!("{master}: {error}")),
            Err(error) => Tried::Elsewhere(format!("{master}: {error}")),
        }
    }

    async fn try_subscribe(&self, master: &str) -> Result<Tried, TransportError> {
        let mut connection = Connection::open(master).await?;
        let media = self.options.content_type.as_str();
        let mut headers = vec![("content-type", media), ("accept", media)];
        if let Some(stream) = &self.last_stream {
            headers.push((RESUME, stream));
        }
        let body = mesarch_mesos_v1::encode(self.options.content_type, &self.subscribe_call());
        let request = request(Method::POST, master, PATH, &headers, body)?;
        let response = connection.send(request, self.answer_max).await?;
        if let Some(leader) = redirect_target(&response) {
            return Ok(Tried::Redirect(leader));
        }
        Ok(match response.status() {
            StatusCode::OK => match stream_id(&response) {
                Some(stream_id) => Tried::Stream(Box::new(Stream {
                    _connection: connection,
                    response,
                    leader: master.to_owned(),
                    stream_id,
                })),
                None => Tried::Elsewhere(format!("{master} answered without a stream id")),
            },
            status if status.is_client_error() => {
                Tried::Refused(format!("{} ({})", read_reason(response).await, status.as_u16()))
            }
            status => {
                Tried::Elsewhere(format!("{master}: {} ({})", read_reason(response).await, status.as_u16()))
            }
        })
    }

    fn subscribe_call(&self) -> Call {
        Call {
            framework_id: self.options.framework.id.clone(),
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(call::Subscribe {
                framework_info: self.options.framework.clone(),
                suppressed_roles: self.suppressed.roles(),
                offer_constraints: None,
            }),
            ..Call::default()
        }
    }

    /// Reads until the stream breaks or the subscription ends.
    async fn read_stream(&mut self, mut stream: Stream) -> Broke {
        let mut decoder = recordio::Decoder::new(recordio::RECORD_BYTES_MAX);
        let mut silence_max = self.silence_max(HEARTBEAT_DEFAULT);
        // Until SUBSCRIBED says who this leader is, a report that names it must not end its own stream.
        self.names.clear();
        loop {
            let frame = tokio::select! {
                frame = timeout(silence_max, stream.response.body_mut().frame()) => match frame {
                    Err(_) => return Broke::Lost(format!("nothing was heard for {} s", silence_max.as_secs())),
                    Ok(None) => return Broke::Lost("the master closed the stream".to_owned()),
                    Ok(Some(Err(error))) => return Broke::Lost(error.to_string()),
                    Ok(Some(Ok(frame))) => frame,
                },
                Ok(()) = self.watch.reports.changed(), if !self.names.is_empty() => {
                    match self.heed_report() {
                        Some(leader) => return Broke::Lost(format!("{leader} leads now")),
                        None => continue,
                    }
                }
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            decoder.push(&data);
            loop {
                let record = match decoder.next_record() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(error) => return Broke::Lost(error.to_string()),
                };
                match self.take_record(record, &stream).await {
                    Ok(Some(heartbeat)) => silence_max = self.silence_max(heartbeat),
                    Ok(None) => {}
                    Err(broke) => return broke,
                }
            }
        }
    }

    /// Handles one record; returns the heartbeat's interval if it was SUBSCRIBED.
    async fn take_record(&mut self, record: Bytes, stream: &Stream) -> Result<Option<Duration>, Broke> {
        let wire: Wire = mesarch_mesos_v1::decode(self.options.content_type, &record)
            .map_err(|error| Broke::Lost(format!("a record could not be read: {error}")))?;
        let event = match event::read(wire) {
            Read::Nothing => return Ok(None),
            Read::Error(message) => return Err(Broke::Over(Ended::Refused(message))),
            Read::Event(event) => event,
            Read::Subscribed(subscribed) => {
                let interval = subscribed.heartbeat_interval_seconds;
                let begun = self.begin(subscribed, stream);
                self.hand_over(begun).await?;
                return Ok(interval.and_then(|s| Duration::try_from_secs_f64(s).ok()));
            }
        };
        self.hand_over(event).await.map(|()| None)
    }

    async fn hand_over(&self, event: Event) -> Result<(), Broke> {
        if self.events.capacity() == 0 {
            tracing::warn!(EVENTS_QUEUED_MAX, "the framework does not take its events; the stream waits");
        }
        self.events.send(event).await.map_err(|_| Broke::Over(Ended::Closed))
    }

    /// The leader in the newest report, if it is another one than ours.
    fn heed_report(&mut self) -> Option<String> {
        let report = self.watch.reports.borrow_and_update().clone();
        report.heed(&self.names, &mut self.term_heeded).map(str::to_owned)
    }

    /// A subscription begins: calls may flow, and the next one will resume it.
    fn begin(&mut self, subscribed: v1::scheduler::event::Subscribed, stream: &Stream) -> Event {
        self.serial += 1;
        let resumed = self.last_stream.as_ref() == Some(&stream.stream_id);
        self.last_stream = Some(stream.stream_id.clone());
        self.options.framework.id = Some(subscribed.framework_id.clone());
        self.names = names(&stream.leader, subscribed.master_info.as_ref());
        // Reports that came while we looked are judged now.
        self.watch.reports.mark_changed();
        self.phase.send_replace(Phase::Up(Up {
            serial: self.serial,
            leader: Arc::from(stream.leader.as_str()),
            stream_id: stream.stream_id.clone(),
            framework: subscribed.framework_id.clone(),
        }));
        Event::Subscribed { framework: subscribed.framework_id, resumed, master: subscribed.master_info }
    }

    fn silence_max(&self, heartbeat: Duration) -> Duration {
        heartbeat * self.options.heartbeats_missed_max.max(1)
    }
}

/// Why a stream is no longer read.
enum Broke {
    Lost(String),
    Over(Ended),
}

/// By what names a report may call the leader that took the subscription.
fn names(asked: &str, info: Option<&v1::MasterInfo>) -> Vec<String> {
    let mut names = vec![asked.to_owned()];
    if let Some(address) = info.and_then(|info| info.address.as_ref()) {
        let hosts = address.ip.iter().chain(&address.hostname);
        names.extend(hosts.map(|host| format!("{host}:{}", address.port)));
    }
    if let Some((host, port)) = info.and_then(|info| Some((info.hostname.as_ref()?, info.port))) {
        names.push(format!("{host}:{port}"));
    }
    names
}

fn stream_id(response: &Response<Incoming>) -> Option<Arc<str>> {
    response.headers().get(STREAM_ID)?.to_str().ok().map(Arc::from)
}

/// The order in which masters are asked: any, but the one that was just lost last.
fn round(masters: &[String], left: Option<&str>) -> VecDeque<String> {
    let mut order = masters.to_vec();
    order.shuffle(&mut rand::rng());
    order.sort_by_key(|master| Some(master.as_str()) == left);
    order.into()
}
