//! Schedulers' streams, and what becomes of frameworks and offers that nobody comes for.

use std::collections::{BTreeMap, BTreeSet};

use mesarch_state::{
    Command,
    command::{Disconnect, ExpireFailover, RescindOffers},
    model::{Connection, Framework},
};
use mesarch_types::{Epoch, FrameworkId, Millis, OfferId};

use crate::{timers::Timer, turn::Turn};

/// Most offers that one command withdraws.
const RESCINDED_PER_COMMAND_MAX: usize = 256;

/// Streams at this leader, and frameworks that are away.
#[derive(Debug, Default)]
pub(crate) struct Frameworks {
    streams: BTreeMap<FrameworkId, Epoch>,
    /// Frameworks that had a stream in this term: their own failover timeout counts, others have the grace of the term.
    seen: BTreeSet<FrameworkId>,
    /// Disconnections that a timer watches.
    watched: BTreeMap<FrameworkId, Epoch>,
}

impl Frameworks {
    /// A stream is in place.
    pub(crate) fn stream_opened(&mut self, framework: FrameworkId, epoch: Epoch) {
        let newest = self.streams.entry(framework).or_insert(epoch);
        *newest = epoch.max(*newest);
    }

    /// A stream broke.
    pub(crate) fn stream_closed(&mut self, turn: &mut Turn<'_>, framework: FrameworkId, epoch: Epoch) {
        if self.streams.get(&framework) == Some(&epoch) {
            self.streams.remove(&framework);
        }
        turn.surely(Command::Disconnect(Disconnect { framework, stream: epoch }));
    }

    /// Follows a framework's connection.
    pub(crate) fn changed(&mut self, turn: &mut Turn<'_>, framework: &Framework) {
        match &framework.connection {
            Connection::Connected { epoch, .. } => {
                self.watched.remove(&framework.id);
                self.seen.insert(framework.id.clone());
                if self.streams.get(&framework.id) != Some(epoch) {
                    let look = turn.after(turn.config.resume_grace);
                    turn.timers.at(look, Timer::StreamMissing(framework.id.clone(), *epoch));
                }
            }
            Connection::Disconnected { epoch, at } => {
                if self.watched.insert(framework.id.clone(), *epoch) != Some(*epoch) {
                    let end = self.failover_end(turn, framework, *at);
                    turn.timers.at(end, Timer::FailoverEnd(framework.id.clone(), *epoch));
                }
            }
            Connection::Expected { .. } => {}
        }
    }

    /// Time without a leader never counts: a framework that has not been here in this term has the term's own grace.
    fn failover_end(&self, turn: &Turn<'_>, framework: &Framework, at: Millis) -> Millis {
        let own = at.saturating_add(framework.spec.failover_timeout);
        if self.seen.contains(&framework.id) {
            return own;
        }
        own.max(turn.after_term_began(turn.config.framework_reregister_timeout))
    }

    /// The framework is no more.
    pub(crate) fn removed(&mut self, framework: &FrameworkId) {
        self.streams.remove(framework);
        self.seen.remove(framework);
        self.watched.remove(framework);
    }

    /// A framework should be back by now.
    pub(crate) fn failover_due(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, epoch: Epoch) {
        let Some(framework) = turn.state.framework(id) else {
            return;
        };
        if !matches!(framework.connection, Connection::Disconnected { epoch: away, .. } if away == epoch) {
            return;
        }
        turn.counters.expired += 1;
        let command = ExpireFailover { framework: id.clone(), disconnected: epoch };
        turn.surely(Command::ExpireFailover(command));
    }

    /// A subscription was applied a while ago: if nobody serves its stream, it is over.
    pub(crate) fn stream_due(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, epoch: Epoch) {
        let Some(framework) = turn.state.framework(id) else {
            return;
        };
        let is_current =
            matches!(framework.connection, Connection::Connected { epoch: current, .. } if current == epoch);
        if is_current && self.streams.get(id) != Some(&epoch) {
            turn.surely(Command::Disconnect(Disconnect { framework: id.clone(), stream: epoch }));
        }
    }

    /// Those that were connected before this term and are not back lose their offers, and get no more.
    pub(crate) fn expected_due(&mut self, turn: &mut Turn<'_>) {
        let state = turn.state;
        for framework in state.frameworks() {
            if let Connection::Expected { epoch, .. } = framework.connection {
                let command = Disconnect { framework: framework.id.clone(), stream: epoch };
                turn.surely(Command::Disconnect(command));
            }
        }
    }
}

/// Outstanding offers in order of age, if they may grow too old.
#[derive(Debug, Default)]
pub(crate) struct OfferAges {
    queue: BTreeSet<(Millis, OfferId)>,
    /// The same, by offer.
    due: BTreeMap<OfferId, Millis>,
}

impl OfferAges {
    /// An offer is outstanding from now on.
    pub(crate) fn added(&mut self, turn: &mut Turn<'_>, offer: OfferId) {
        let Some(timeout) = turn.config.offer_timeout else {
            return;
        };
        let due = turn.after(timeout);
        if self.queue.is_empty() {
            turn.timers.at(due, Timer::Offers);
        }
        self.due.insert(offer.clone(), due);
        self.queue.insert((due, offer));
    }

    /// An offer is outstanding no more.
    pub(crate) fn removed(&mut self, offer: &OfferId) {
        if let Some((offer, due)) = self.due.remove_entry(offer) {
            self.queue.remove(&(due, offer));
        }
    }

    /// Withdraws those that are too old, and looks again when the next one is.
    pub(crate) fn due(&mut self, turn: &mut Turn<'_>) {
        let mut old = Vec::new();
        while self.queue.first().is_some_and(|(due, _)| *due <= turn.now) {
            let first = self.queue.pop_first().map(|(_, offer)| offer);
            if let Some(offer) = &first {
                self.due.remove(offer);
            }
            old.extend(first.filter(|offer| turn.state.offer(offer).is_some()));
        }
        for piece in old.chunks(RESCINDED_PER_COMMAND_MAX) {
            turn.surely(Command::RescindOffers(RescindOffers { offers: piece.to_vec() }));
        }
        if let Some((due, _)) = self.queue.first() {
            turn.timers.at(*due, Timer::Offers);
        }
    }
}
