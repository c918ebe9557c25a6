//! The way out: numbers proposals, remembers why each was made, and collects the outputs of one step.

use std::collections::{BTreeMap, VecDeque};

use mesarch_state::{
    Command, Effect,
    command::{ExecutorKey, Link},
};
use mesarch_types::{LaunchId, Millis};

use crate::message::{CloseReason, Loss, Output, Ticket, ToAgent};

/// How long a proposal that found no place waits before it is made again.
pub(crate) const RETRY_AFTER: Millis = Millis(250);

/// Why a proposal was made, for those whose answer matters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Purpose {
    /// Nothing depends on the answer, and a lost one is made again by somebody else.
    Once,
    /// Nothing depends on the answer, but it must get into the log. Only for commands that name what they end or may
    /// be applied twice.
    Surely,
    /// An agent waits on this link; must get into the log.
    Attach(Link),
    /// An agent waits to hear that this executor's end, told with this newest launch, is judged; must get into the log.
    Exit(ExecutorKey, LaunchId),
    /// A piece of the plan in flight; a lost one is planned anew.
    Plan,
    /// The requests to leave agents that are in flight; lost ones are planned anew.
    Inverse,
}

#[derive(Debug)]
struct Open {
    purpose: Purpose,
    /// Kept for those that are made again.
    command: Option<Command>,
}

/// Open proposals and pending outputs.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    last: u64,
    open: BTreeMap<Ticket, Open>,
    retries: VecDeque<(Millis, Open)>,
    outputs: Vec<Output>,
}

impl Desk {
    /// Proposes `command`.
    pub(crate) fn propose(&mut self, purpose: Purpose, command: Command) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        let must = matches!(purpose, Purpose::Surely | Purpose::Attach(_) | Purpose::Exit(..));
        let kept = must.then(|| command.clone());
        self.open.insert(ticket, Open { purpose, command: kept });
        self.outputs.push(Output::Propose { ticket, command });
        ticket
    }

    /// Ends a proposal that was applied; `None` if it is not ours.
    pub(crate) fn answered(&mut self, ticket: Ticket) -> Option<Purpose> {
        self.open.remove(&ticket).map(|open| open.purpose)
    }

    /// Ends a proposal that is not in the log. It is made again later if it must get there and ever can.
    pub(crate) fn lost(&mut self, ticket: Ticket, why: Loss, now: Millis) -> Option<Purpose> {
        let open = self.open.remove(&ticket)?;
        let purpose = open.purpose.clone();
        if open.command.is_some() && why == Loss::NoPlace {
            self.retries.push_back((now.saturating_add(RETRY_AFTER), open));
        }
        Some(purpose)
    }

    /// Makes those lost proposals again whose time has come; `wanted` says which still matter.
    pub(crate) fn retry(&mut self, now: Millis, wanted: impl Fn(&Purpose) -> bool) {
        while self.retries.front().is_some_and(|(when, _)| *when <= now) {
            let Some((_, open)) = self.retries.pop_front() else {
                break;
            };
            if let Some(command) = open.command.filter(|_| wanted(&open.purpose)) {
                self.propose(open.purpose, command);
            }
        }
    }

    /// When the next lost proposal is made again.
    pub(crate) fn next_retry(&self) -> Option<Millis> {
        self.retries.front().map(|(when, _)| *when)
    }

    /// Tells a framework something.
    pub(crate) fn perform(&mut self, effect: Effect) {
        self.outputs.push(Output::Perform(effect));
    }

    /// Tells an agent something.
    pub(crate) fn send(&mut self, link: Link, message: ToAgent) {
        self.outputs.push(Output::Send { link, message });
    }

    /// Ends a link.
    pub(crate) fn close(&mut self, link: Link, reason: CloseReason) {
        self.outputs.push(Output::CloseLink { link, reason });
    }

    /// The outputs of this step, in order.
    pub(crate) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesarch_state::command::RescindOffers;

    fn command() -> Command {
        Command::RescindOffers(RescindOffers { offers: Vec::new() })
    }

    #[test]
    fn a_lost_proposal_is_made_again_only_if_it_must_get_into_the_log() {
        let wanted_link = Link { term: 1, serial: 1 };
        let gone_link = Link { term: 1, serial: 2 };
        for (purpose, again) in [
            (Purpose::Once, false),
            (Purpose::Plan, false),
            (Purpose::Surely, true),
            (Purpose::Attach(wanted_link), true),
            (Purpose::Attach(gone_link), false),
        ] {
            let mut desk = Desk::default();
            let ticket = desk.propose(purpose.clone(), command());
            assert_eq!(desk.lost(ticket, Loss::NoPlace, Millis(0)), Some(purpose.clone()));
            assert_eq!(desk.lost(ticket, Loss::NoPlace, Millis(0)), None, "a ticket ends once");
            desk.take();
            let wanted = |purpose: &Purpose| *purpose != Purpose::Attach(gone_link);
            desk.retry(Millis(RETRY_AFTER.0 - 1), wanted);
            assert!(desk.take().is_empty());
            desk.retry(RETRY_AFTER, wanted);
            let expect = again.then(|| Output::Propose { ticket: Ticket(2), command: command() });
            assert_eq!(desk.take(), expect.into_iter().collect::<Vec<_>>(), "{purpose:?}");
            assert_eq!(desk.next_retry(), None);
        }
    }

    #[test]
    fn what_no_entry_holds_is_not_tried_again() {
        let mut desk = Desk::default();
        let ticket = desk.propose(Purpose::Surely, command());
        assert_eq!(desk.lost(ticket, Loss::TooLarge, Millis(0)), Some(Purpose::Surely));
        assert_eq!(desk.next_retry(), None);
    }
}
