//! The link to the leader: one stream at a time, always the newest.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mesarch_agent_core::Input;
use mesarch_client::backoff::{self, Backoff};
use mesarch_proto::link::{
    FromAgent, Pong, ToAgent, agent_link_client::AgentLinkClient, from_agent, to_agent,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Channel};

use crate::{
    launch::Rules,
    masters::{self, Standing},
    requests::Request,
    tasks::Tasks,
    wire::{self, WireError},
};

/// Most messages that wait to be sent; a leader that reads slower loses the link.
const OUTGOING_MAX: usize = 4096;
/// From opening the stream to the first word of the leader.
const FIRST_WORD_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence that ends a link when the leader has not said how much is normal.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// The largest message in either direction; an inventory is the largest one.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The cluster's feature level from which on its masters know of resource providers.
const PROVIDERS_LEVEL: u32 = 4;

/// Without a leader for this long, it is time to say so; and again after each of the longer intervals.
const COMPLAIN_AFTER: Duration = Duration::from_secs(5);
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// An agent that nobody has taken ends after so long without a leader but another cluster's: longer than its own masters
/// need for an election.
const LOST_FOR: Duration = Duration::from_secs(5);

/// Follows the leader until it is dropped.
pub(crate) struct Follower {
    standings: Vec<watch::Receiver<Standing>>,
    /// The masters that this agent was started with.
    given: Arc<[String]>,
    tasks: Tasks,
    /// Whether a leader has taken this agent since it started.
    attached: Arc<AtomicBool>,
    /// Since when nobody but another cluster leads.
    lost_since: Option<Instant>,
    /// Masters that led another cluster when they were asked: gone to only if nobody else leads.
    foreign: BTreeSet<Arc<str>>,
    /// Why the last link ended: the same again is not worth another line.
    told: String,
    requests: mpsc::Sender<Request>,
    rules: Arc<Rules>,
    links: u64,
}

/// The agent is one of another cluster than the one that is led at its masters' addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherCluster;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkEnd {
    #[error("this agent's work directory belongs to another cluster than its masters")]
    OtherCluster,
    #[error("the leader did not answer in time")]
    NoAnswer,
    #[error("the leader has been silent for too long")]
    Silent,
    #[error("the leader ended the stream")]
    Ended,
    #[error("the agent gave the link up")]
    GivenUp,
    #[error("the leader's message cannot be read")]
    Unreadable(#[from] WireError),
    #[error("{}", .0.message())]
    Refused(tonic::Status),
}

impl From<tonic::Status> for LinkEnd {
    fn from(status: tonic::Status) -> Self {
        if status.code() == Code::PermissionDenied { Self::OtherCluster } else { Self::Refused(status) }
    }
}

impl Follower {
    pub(crate) fn new(
        masters: &[String],
        requests: mpsc::Sender<Request>,
        rules: Rules,
        tasks: &Tasks,
    ) -> Self {
        let (attached, told) = (Arc::default(), String::new());
        let mut follower = Self {
            standings: Vec::new(),
            given: masters.into(),
            tasks: tasks.clone(),
            attached,
            foreign: BTreeSet::new(),
            lost_since: None,
            told,
            requests,
            rules: Arc::new(rules),
            links: 0,
        };
        follower.watch_also(masters);
        follower
    }

    /// Watches those masters that are not watched yet.
    fn watch_also(&mut self, masters: &[String]) {
        for master in masters {
            if self.standings.iter().any(|known| **known.borrow().master() == **master) {
                continue;
            }
            let (sender, receiver) = watch::channel(Standing::unknown(master));
            self.tasks.spawn("watch on a master", masters::follow(master.clone(), sender));
            self.standings.push(receiver);
        }
    }

    /// Watches the members that a master of the highest term names, beside those that this agent was given; no others any
    /// more. While nobody names any, all that were named before are watched on.
    fn heed_members(&mut self) {
        let newest = self.standings.iter().map(|standing| standing.borrow().told.clone());
        let newest = newest.filter(|(_, members)| !members.is_empty()).max_by_key(|(term, _)| *term);
        let Some((_, members)) = newest else { return };
        self.watch_also(&members);
        let given = self.given.clone();
        self.standings.retain(|standing| {
            let master = standing.borrow().master().clone();
            given.iter().chain(members.iter()).any(|wanted| **wanted == *master)
        });
    }

    /// One link after another, always to whoever leads in the highest term. Ends only if nobody has taken this agent and
    /// for a while every master answered, of which none but another cluster's led: an address may have got into wrong
    /// hands, and masters that were there before may come back.
    pub(crate) async fn run(mut self) -> OtherCluster {
        let mut backoff = Backoff::new();
        loop {
            let (term, channel, master) = self.leader_above(None).await;
            self.links += 1;
            let link = self.links;
            let session = self.session(link, master.clone());
            let began = Instant::now();
            let end = tokio::select! {
                end = session.run(channel) => Some(end),
                _ = self.leader_above(Some(term)) => None,
            };
            self.tell(Request::Input(Input::LinkClosed { link })).await;
            match end {
                Some(LinkEnd::OtherCluster) => {
                    self.tell_end(link, term, &LinkEnd::OtherCluster);
                    self.foreign.insert(master);
                    if self.is_lost_for_long() {
                        return OtherCluster;
                    }
                }
                Some(end) => self.tell_end(link, term, &end),
                None => tracing::info!(link, term, "a newer leader is there"),
            }
            if began.elapsed() > backoff::LONGEST {
                backoff.reset();
            }
            // Whoever leads in a newer term is gone to at once; the same one is not run into again and again.
            if self.best().is_none_or(|(newest, ..)| newest <= term) {
                tokio::select! {
                    () = sleep(backoff.next()) => {}
                    _ = self.leader_above(Some(term)) => {}
                }
            }
        }
    }

    fn session(&self, link: u64, master: Arc<str>) -> Session {
        let (requests, rules) = (self.requests.clone(), self.rules.clone());
        let attached = self.attached.clone();
        Session { link, master, requests, rules, attached, knows_providers: AtomicBool::new(false) }
    }

    fn tell_end(&mut self, link: u64, term: u64, end: &LinkEnd) {
        let text = end.to_string();
        match end {
            _ if text == self.told => tracing::debug!(link, term, %end, "the link to the leader ended again"),
            LinkEnd::OtherCluster => tracing::error!(link, term, %end, "the masters do not take this agent"),
            _ => tracing::info!(link, term, %end, "the link to the leader ended"),
        }
        self.told = text;
    }

    async fn tell(&self, request: Request) {
        // The runner outlives its follower; if it is gone there is nobody to tell.
        let _ = self.requests.send(request).await;
    }

    /// Who leads in the highest term; one that was found to be foreign only if there is no other.
    fn best(&self) -> Option<(u64, Channel, Arc<str>)> {
        let leading = self.standings.iter().filter_map(|standing| {
            let standing = standing.borrow();
            let (term, channel) = standing.leads.clone()?;
            Some((term, channel, standing.master().clone()))
        });
        leading.max_by_key(|(term, _, master)| (!self.foreign.contains(master), *term))
    }

    /// Whether nobody has taken this agent, every master that it was given answers, and for a while all that led were
    /// another cluster's.
    fn is_lost_for_long(&mut self) -> bool {
        let is_lost = !self.attached.load(Ordering::Relaxed)
            && self.standings.iter().all(|standing| {
                let standing = standing.borrow();
                let was_given = self.given.iter().any(|given| **given == **standing.master());
                (standing.answers() || !was_given)
                    && (standing.leads.is_none() || self.foreign.contains(standing.master()))
            });
        self.lost_since = self.lost_since.or_else(|| Some(Instant::now())).filter(|_| is_lost);
        self.lost_since.is_some_and(|since| since.elapsed() >= LOST_FOR)
    }

    /// Waits for a master that leads in a higher term than `term`.
    async fn leader_above(&mut self, term: Option<u64>) -> (u64, Channel, Arc<str>) {
        let mut complain_at = Instant::now() + COMPLAIN_AFTER;
        loop {
            self.standings.iter_mut().for_each(|standing| {
                standing.borrow_and_update();
            });
            self.heed_members();
            if let Some(best) = self.best().filter(|(newest, ..)| term.is_none_or(|term| *newest > term)) {
                return best;
            }
            tokio::select! {
                () = any_change(&mut self.standings) => {}
                // Who has a leader and waits for a newer one misses nothing.
                () = sleep_until(complain_at), if term.is_none() => {
                    tracing::warn!(masters = %self.troubles(), "no master leads; still looking");
                    complain_at = Instant::now() + COMPLAIN_EVERY;
                }
            }
        }
    }

    /// What each master's watch says, for people.
    fn troubles(&self) -> String {
        let troubles = self.standings.iter().map(|standing| standing.borrow().to_string());
        troubles.collect::<Vec<_>>().join("; ")
    }
}

/// Waits until one of the masters says something new.
async fn any_change(standings: &mut [watch::Receiver<Standing>]) {
    let mut changes: Vec<_> = standings.iter_mut().map(|standing| Box::pin(standing.changed())).collect();
    std::future::poll_fn(|context| {
        let ready = changes.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// One link.
struct Session {
    link: u64,
    master: Arc<str>,
    requests: mpsc::Sender<Request>,
    rules: Arc<Rules>,
    attached: Arc<AtomicBool>,
    /// Whether the runner was told that this leader knows of resource providers.
    knows_providers: AtomicBool,
}

impl Session {
    async fn run(self, channel: Channel) -> LinkEnd {
        match self.talk(channel).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn talk(self, channel: Channel) -> Result<std::convert::Infallible, LinkEnd> {
        let (sender, receiver) = mpsc::channel(OUTGOING_MAX);
        let (open, mut given_up) = oneshot::channel();
        let pongs = sender.downgrade();
        let master = self.master.clone();
        self.tell(Request::LinkOpened { link: self.link, master, sender, open }).await?;
        let mut client = AgentLinkClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        metrics::counter!(crate::metrics::LINKS).increment(1);
        let opening = client.connect(ReceiverStream::new(receiver));
        let opened = timeout(FIRST_WORD_TIMEOUT, opening).await.map_err(|_| LinkEnd::NoAnswer)??;
        let mut stream = opened.into_inner();
        let first = timeout(FIRST_WORD_TIMEOUT, next(&mut stream)).await.map_err(|_| LinkEnd::NoAnswer)??;
        let (mut message, mut silence) = (first, SILENCE_MAX);
        loop {
            silence = announced_silence(&message).unwrap_or(silence);
            self.take(message, &pongs).await?;
            message = tokio::select! {
                message = timeout(silence, next(&mut stream)) => message.map_err(|_| LinkEnd::Silent)??,
                _ = &mut given_up => return Err(LinkEnd::GivenUp),
            };
        }
    }

    async fn take(&self, message: ToAgent, pongs: &mpsc::WeakSender<FromAgent>) -> Result<(), LinkEnd> {
        let knows = message.level >= PROVIDERS_LEVEL;
        if knows && !self.knows_providers.swap(true, Ordering::Relaxed) {
            self.tell(Request::LeaderKnowsProviders { link: self.link }).await?;
        }
        let kind = message.kind.ok_or(WireError("kind"))?;
        if let to_agent::Kind::KillTask(kill) = &kind
            && kill.draining
        {
            self.tell(Request::Drained { key: wire::key_from(kill.key.clone())? }).await?;
        }
        if let to_agent::Kind::Ping(ping) = &kind {
            let pong = FromAgent { kind: Some(from_agent::Kind::Pong(Pong { number: ping.number })) };
            let sender = pongs.upgrade().ok_or(LinkEnd::GivenUp)?;
            return sender.try_send(pong).map_err(|_| LinkEnd::GivenUp);
        }
        if let to_agent::Kind::Attached(_) = &kind {
            self.attached.store(true, Ordering::Relaxed);
        }
        let fence = wire::fence_from(message.fence.as_ref().ok_or(WireError("fence"))?)?;
        let Some(message) = wire::master_message(kind, &self.rules)? else {
            return Ok(());
        };
        self.tell(Request::Input(Input::Master { link: self.link, fence, message })).await
    }

    async fn tell(&self, request: Request) -> Result<(), LinkEnd> {
        self.requests.send(request).await.map_err(|_| LinkEnd::GivenUp)
    }
}

/// How much silence the leader calls too much.
fn announced_silence(message: &ToAgent) -> Option<Duration> {
    match &message.kind {
        Some(to_agent::Kind::Attached(attached)) if attached.silence_ms_max > 0 => {
            Some(Duration::from_millis(attached.silence_ms_max.into()))
        }
        _ => None,
    }
}

async fn next(stream: &mut Streaming<ToAgent>) -> Result<ToAgent, LinkEnd> {
    stream.message().await?.ok_or(LinkEnd::Ended)
}
