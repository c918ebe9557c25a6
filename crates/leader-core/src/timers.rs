//! Everything that happens because time passed, in one queue.
//!
//! A timer is a reminder to look, never a decision: whoever is woken judges by the newest state, so a timer that is
//! late, doubled or about something that is over does no harm.

use std::collections::BTreeMap;

use mesarch_state::command::Link;
use mesarch_types::{AgentId, Epoch, FrameworkId, Millis};

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// The queue; at most one entry per link, detached agent, absent framework and outstanding look.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<(Millis, u64), Timer>,
    serial: u64,
}

impl Timers {
    /// Looks at `timer`'s subject at `when` or soon after; a time that never comes is not kept.
    pub(crate) fn at(&mut self, when: Millis, timer: Timer) {
        if when < Millis::FOREVER {
            self.serial += 1;
            self.queue.insert((when, self.serial), timer);
        }
    }

    /// Takes out the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<Timer> {
        let (when, _) = *self.queue.first_key_value()?.0;
        if when > now {
            return None;
        }
        self.queue.pop_first().map(|(_, timer)| timer)
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
}
