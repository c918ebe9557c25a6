//! Carries out what the leader's mind decided, towards frameworks and agents.
//!
//! Everything is looked up in the newest state and skipped if it is no longer so: an effect may be late or doubled,
//! never wrong. Nothing here waits for a peer: queues that are full close their stream or link.

use std::{collections::BTreeMap, sync::Arc};

use mesarch_leader_core::{CloseReason, How, ToAgent};
use mesarch_state::{
    Effect, State,
    command::{Link, OutboxPosition},
    model::Operation,
    open_work_of_framework,
};
use mesarch_types::{AgentId, FrameworkId, Millis, OfferId, OperationId, TaskId, UpdateUuid};
use tokio::sync::mpsc;

use crate::{
    events::{self, Event},
    leader::Session,
    link_messages,
    links::Links,
    machine::{Outlets, Published},
    metrics, offers, status,
    streams::{Stream, Streams},
};

/// Most works that wait for the effects task; the leader keeps more to itself.
pub(crate) const WORK_MAX: usize = 4096;

/// One thing to carry out.
#[derive(Debug)]
pub(crate) enum Work {
    /// Tell frameworks.
    Perform {
        /// The log entry that these follow from; none if from something else.
        index: Option<u64>,
        effects: Vec<Effect>,
    },
    /// Make a stream visible, and send what its framework is owed.
    Open { stream: Arc<Stream>, subscribed: Box<Event> },
    /// Tell an agent.
    Send { link: Link, message: ToAgent },
    /// End an agent's link.
    CloseLink { link: Link, reason: CloseReason },
}

/// What effects are performed with. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Performer {
    pub(crate) outlets: Outlets,
    pub(crate) streams: Arc<Streams>,
    pub(crate) links: Arc<Links>,
    /// Told to agents that attach: how long they may hear nothing.
    pub(crate) silence_max: Millis,
}

/// OFFERS of one burst, per framework, in order.
type Burst = BTreeMap<FrameworkId, Vec<OfferId>>;

impl Performer {
    /// Performs until the leader's side ends, and then what is still queued.
    pub(crate) async fn run(self, session: Arc<Session>, mut works: mpsc::Receiver<Work>) {
        while let Some(work) = works.recv().await {
            match work {
                Work::Perform { index, effects } => self.perform(index, effects),
                Work::Open { stream, subscribed } => self.open(stream, *subscribed, session.clone()),
                Work::Send { link, message } => self.send(&session, link, &message),
                Work::CloseLink { link, reason } => self.links.dismiss(link, reason),
            }
        }
    }

    fn open(&self, stream: Arc<Stream>, subscribed: Event, session: Arc<Session>) {
        let published = self.outlets.newest();
        let owed = open_work_of_framework(&published.state, &stream.framework);
        self.streams.open(stream.clone(), session, subscribed);
        self.perform_in(&published, None, owed);
        stream.listed_up_to(published.index);
    }

    fn perform(&self, index: Option<u64>, effects: Vec<Effect>) {
        self.perform_in(&self.outlets.newest(), index, effects);
    }

    fn perform_in(&self, published: &Published, index: Option<u64>, effects: Vec<Effect>) {
        let state = &published.state;
        let mut burst = Burst::new();
        let mut inverse: BTreeMap<FrameworkId, Vec<AgentId>> = BTreeMap::new();
        for effect in effects {
            match effect {
                Effect::SendOffer { framework, offer } => burst.entry(framework).or_default().push(offer),
                Effect::SendInverseOffer { framework, agent } => {
                    inverse.entry(framework).or_default().push(agent);
                }
                Effect::SendUpdate { framework, task, uuid } => {
                    self.with_stream(state, &framework, index, |stream| {
                        send_update(state, stream, &task, uuid)
                    });
                }
                Effect::SendOutbox { framework, position } => {
                    self.with_stream(state, &framework, index, |stream| send_outbox(state, stream, position));
                }
                Effect::SendOperation { framework, operation, uuid } => {
                    self.with_stream(state, &framework, index, |stream| {
                        send_operation(state, stream, &operation, uuid);
                    });
                }
                Effect::CloseStream { framework, epoch, error, .. } => {
                    self.streams.close(&framework, epoch, error);
                }
                // The leader's mind turns these into messages on links.
                Effect::SendResources { .. }
                | Effect::ApplyOperation { .. }
                | Effect::AcknowledgeOperation { .. }
                | Effect::RunTask { .. }
                | Effect::KillTask { .. }
                | Effect::SendAcknowledgement { .. }
                | Effect::ShutdownExecutor(_)
                | Effect::ShutdownFramework { .. } => {
                    tracing::debug!(?effect, "an effect for an agent came without its link");
                }
            }
        }
        for (framework, list) in burst {
            self.with_stream(state, &framework, index, |stream| send_offers(state, stream, &list));
        }
        for (framework, agents) in inverse {
            self.with_stream(state, &framework, index, |stream| send_inverse_offers(state, stream, &agents));
        }
    }

    /// Calls `send` with the framework's stream, if it is that of its present subscription and has not yet been told
    /// what follows from the entry at `index`.
    fn with_stream(
        &self,
        state: &State,
        framework: &FrameworkId,
        index: Option<u64>,
        send: impl FnOnce(&Stream),
    ) {
        let Some(stream) = self.streams.get(framework) else {
            return;
        };
        let current = state.framework(framework).and_then(|framework| framework.stream());
        let is_current = current.is_some_and(|(_, epoch)| epoch == stream.epoch);
        if is_current && !index.is_some_and(|index| stream.has_listed(index)) {
            send(&stream);
        }
    }

    fn send(&self, session: &Session, link: Link, message: &ToAgent) {
        let published = self.outlets.newest();
        if let ToAgent::Attached { how, .. } = message {
            metrics::attached(how_label(*how));
        }
        let built = link_messages::to_agent(&published.state, session.term, self.silence_max, message);
        match built {
            Some(built) => self.links.send(link, built),
            None => tracing::debug!(?message, "a message about something that is no more is not sent"),
        }
    }
}

fn how_label(how: How) -> &'static str {
    match how {
        How::Registered => "registered",
        How::Digest => "digest",
        How::Differed => "inventory_differed",
        How::Wanted => "inventory_wanted",
        How::Unknown => "inventory_unknown",
    }
}

fn send_offers(state: &State, stream: &Stream, list: &[OfferId]) {
    let outstanding = list.iter().filter_map(|id| state.offer(id));
    let offers: Vec<_> = outstanding.filter_map(|offer| offers::of_state(state, offer)).collect();
    if !offers.is_empty() {
        stream.push(&events::offers(offers), None);
    }
}

fn send_inverse_offers(state: &State, stream: &Stream, agents: &[AgentId]) {
    let offers = agents.iter().filter_map(|agent| offers::inverse_of_state(state, &stream.framework, agent));
    let offers: Vec<_> = offers.collect();
    if !offers.is_empty() {
        stream.push(&events::inverse_offers(offers), None);
    }
}

fn send_update(state: &State, stream: &Stream, task: &TaskId, uuid: UpdateUuid) {
    let pending = state.task(&stream.framework, task).and_then(|task| task.pending().cloned());
    let wanted = pending.filter(|report| report.uuid == Some(uuid));
    if let Some(status) = wanted.and_then(|report| status::of_report(&report)) {
        stream.push(&events::update(status), None);
    }
}

fn send_operation(state: &State, stream: &Stream, operation: &OperationId, uuid: UpdateUuid) {
    let finished = |known: &&Operation| known.finished && known.uuid == uuid;
    let framework = state.framework(&stream.framework);
    let known = state.operation(&stream.framework, operation).filter(finished);
    if let Some((known, framework)) = known.zip(framework) {
        let status = status::of_known_operation(known, offers::form(framework));
        stream.push(&events::update_operation(status), None);
    }
}

fn send_outbox(state: &State, stream: &Stream, position: OutboxPosition) {
    let item = state.framework(&stream.framework).and_then(|framework| framework.outbox.get(&position));
    if let Some(item) = item {
        stream.push(&events::of_outbox(item), Some(position));
    }
}
