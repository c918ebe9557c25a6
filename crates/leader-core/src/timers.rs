//! Everything that happens because time passed, in one queue.
//!
//! A timer is a reminder to look, never a decision: whoever is woken judges by the newest state, so a timer that is
//! late, doubled or about something that is over does no harm.

use std::collections::BTreeMap;

use mesarch_state::command::Link;
use mesarch_types::{AgentId, Epoch, FrameworkId, Millis};

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An agent without a link: is it still away?
    AgentAway(AgentId),
    /// Agents that were attached before this term: who is not back?
    ExpectedAgents,
    /// An agent detached at this epoch: is it away for too long?
    Reregister(AgentId, Epoch),
    /// Time for the next ping.
    Ping(Link),
    /// Did the inventory come?
    Inventory(Link),
    /// Agents wait to be marked unreachable.
    Removals,
    /// A framework that is away since this epoch: did it come back?
    FailoverEnd(FrameworkId, Epoch),
    /// A subscription without a stream: has it one now?
    StreamMissing(FrameworkId, Epoch),
    /// Frameworks that were connected before this term: who is not back?
    ExpectedFrameworks,
    /// Offers may have been outstanding for too long.
    Offers,
    /// Ends of operations that are not acknowledged are told again.
    Operations,
}

impl Timer {
    /// What it is about, whichever beginning it names: a newer one replaces it.
    fn subject(&self) -> Self {
        match self {
            Self::Reregister(agent, _) => Self::Reregister(agent.clone(), Epoch::default()),
            Self::FailoverEnd(framework, _) => Self::FailoverEnd(framework.clone(), Epoch::default()),
            Self::StreamMissing(framework, _) => Self::StreamMissing(framework.clone(), Epoch::default()),
            Self::AgentAway(_)
            | Self::ExpectedAgents
            | Self::Ping(_)
            | Self::Inventory(_)
            | Self::Removals
            | Self::ExpectedFrameworks
            | Self::Offers
            | Self::Operations => self.clone(),
        }
    }
}

/// The queue; at most one entry per subject, however often that comes and goes.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<(Millis, u64), Timer>,
    /// The place of each subject's entry.
    places: BTreeMap<Timer, (Millis, u64)>,
    serial: u64,
}

impl Timers {
    /// Looks at `timer`'s subject at `when` or soon after, and not when it was to be looked at before; a time that never
    /// comes is not kept.
    pub(crate) fn at(&mut self, when: Millis, timer: Timer) {
        let subject = timer.subject();
        if let Some(place) = self.places.remove(&subject) {
            self.queue.remove(&place);
        }
        if when < Millis::FOREVER {
            self.serial += 1;
            let place = (when, self.serial);
            self.places.insert(subject, place);
            self.queue.insert(place, timer);
        }
    }

    /// Takes out the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<Timer> {
        let (when, _) = *self.queue.first_key_value()?.0;
        if when > now {
            return None;
        }
        let (_, timer) = self.queue.pop_first()?;
        self.places.remove(&timer.subject());
        Some(timer)
    }

    /// When the earliest timer is due.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.queue.first_key_value().map(|((when, _), _)| *when)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_of_time_then_of_setting() {
        let mut timers = Timers::default();
        timers.at(Millis(20), Timer::Offers);
        timers.at(Millis(10), Timer::Removals);
        timers.at(Millis(10), Timer::ExpectedAgents);
        timers.at(Millis::FOREVER, Timer::ExpectedFrameworks);
        assert_eq!(timers.next(), Some(Millis(10)));
        assert_eq!(timers.pop_due(Millis(9)), None);
        assert_eq!(timers.pop_due(Millis(15)), Some(Timer::Removals));
        assert_eq!(timers.pop_due(Millis(15)), Some(Timer::ExpectedAgents));
        assert_eq!(timers.pop_due(Millis(15)), None);
        assert_eq!(timers.pop_due(Millis(20)), Some(Timer::Offers));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_newer_timer_of_a_subject_takes_the_place_of_the_older() {
        let mut timers = Timers::default();
        let reregister = |epoch| Timer::Reregister("a".into(), Epoch(epoch));
        for epoch in 0..100 {
            timers.at(Millis(1000 - epoch), reregister(epoch));
        }
        timers.at(Millis(5), Timer::Reregister("b".into(), Epoch(1)));
        assert_eq!(timers.queue.len(), 2);
        assert_eq!(timers.pop_due(Millis(5)), Some(Timer::Reregister("b".into(), Epoch(1))));
        assert_eq!(timers.pop_due(Millis(901)), Some(reregister(99)));
        assert!(timers.queue.is_empty() && timers.places.is_empty());
    }
}
