//! Who waits for which command. Outcomes come from the local apply, never from what Raft answers to a write.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::envelope::Origin;
use crate::handle::Unresolved;

/// How a waiter is told.
pub(crate) type Reply<O> = oneshot::Sender<Result<O, Unresolved>>;

/// The commands that this process proposed and whose outcome is open.
pub(crate) struct Waiters<O> {
    origin: Origin,
    table: Mutex<Table<O>>,
}

struct Table<O> {
    next: u64,
    /// By sequence number.
    open: BTreeMap<u64, Waiter<O>>,
    /// The newest term of which an entry was applied here.
    applied_term: u64,
    closed: bool,
}

struct Waiter<O> {
    term: u64,
    reply: Reply<O>,
}

impl<O> Waiters<O> {
    pub(crate) fn new(origin: Origin) -> Self {
        let table = Table { next: 1, open: BTreeMap::new(), applied_term: 0, closed: false };
        Self { origin, table: Mutex::new(table) }
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Number of commands whose outcome is open.
    pub(crate) fn open(&self) -> usize {
        self.table().open.len()
    }

    /// Gives out sequence numbers for commands that are about to be proposed in `term`; the first of them, or `None`
    /// if they cannot commit any more and were told so.
    pub(crate) fn register(&self, term: u64, replies: Vec<Reply<O>>) -> Option<u64> {
        let mut table = self.table();
        let refusal = match (table.closed, term < table.applied_term) {
            (true, _) => Some(Unresolved::Unknown),
            (_, true) => Some(Unresolved::NotCommitted),
            _ => None,
        };
        if let Some(refusal) = refusal {
            replies.into_iter().for_each(|reply| tell(reply, Err(refusal)));
            return None;
        }
        let first = table.next;
        for reply in replies {
            let sequence = table.next;
            table.next += 1;
            table.open.insert(sequence, Waiter { term, reply });
        }
        Some(first)
    }

    /// An entry of `term` was applied. If this process proposed it, its waiters get their outcomes. If the term is
    /// new, what is left of older terms can never commit: it would stand before this entry.
    pub(crate) fn applied(&self, term: u64, entry: Option<(Origin, u64, Vec<O>)>) {
        let mut table = self.table();
        if let Some((origin, first, outcomes)) = entry
            && origin == self.origin
        {
            for (sequence, outcome) in (first..).zip(outcomes) {
                if let Some(waiter) = table.open.remove(&sequence) {
                    tell(waiter.reply, Ok(outcome));
                }
            }
        }
        if term > table.applied_term {
            table.applied_term = term;
            table.resolve_before(term, Unresolved::NotCommitted);
        }
    }

    /// A snapshot that ends in `term` replaced the state: entries of this process may be among those it covers.
    pub(crate) fn installed(&self, term: u64) {
        let mut table = self.table();
        table.applied_term = table.applied_term.max(term);
        table.resolve_before(term + 1, Unresolved::Unknown);
    }

    /// These commands were refused before they were appended.
    pub(crate) fn refuse(&self, first: u64, count: u64) {
        let mut table = self.table();
        for sequence in first..first + count {
            if let Some(waiter) = table.open.remove(&sequence) {
                tell(waiter.reply, Err(Unresolved::NotCommitted));
            }
        }
    }

    /// Nothing will be applied any more.
    pub(crate) fn close(&self) {
        let mut table = self.table();
        table.closed = true;
        table.resolve_before(u64::MAX, Unresolved::Unknown);
    }

    fn table(&self) -> MutexGuard<'_, Table<O>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O> Table<O> {
    fn resolve_before(&mut self, term: u64, how: Unresolved) {
        for (_, waiter) in self.open.extract_if(.., |_, waiter| waiter.term < term) {
            tell(waiter.reply, Err(how));
        }
    }
}

/// A waiter that is gone has no use for the outcome.
fn tell<O>(reply: Reply<O>, outcome: Result<O, Unresolved>) {
    drop(reply.send(outcome));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { node: 1, epoch: [1; 16] };

    type Receiver = oneshot::Receiver<Result<u32, Unresolved>>;

    fn register(waiters: &Waiters<u32>, term: u64, count: usize) -> (Option<u64>, Vec<Receiver>) {
        let (replies, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| oneshot::channel()).unzip();
        (waiters.register(term, replies), receivers)
    }

    fn told(receivers: &mut [Receiver]) -> Vec<Option<Result<u32, Unresolved>>> {
        receivers.iter_mut().map(|receiver| receiver.try_recv().ok()).collect()
    }

    #[test]
    fn outcomes_reach_the_commands_of_this_process_only() {
        let waiters = Waiters::new(ORIGIN);
        let (first, mut receivers) = register(&waiters, 5, 3);
        assert_eq!(first, Some(1));
        for stranger in [Origin { node: 2, ..ORIGIN }, Origin { epoch: [2; 16], ..ORIGIN }] {
            waiters.applied(5, Some((stranger, 1, vec![0, 0, 0])));
        }
        waiters.applied(5, Some((ORIGIN, 2, vec![20, 30])));
        assert_eq!(told(&mut receivers), [None, Some(Ok(20)), Some(Ok(30))]);
        assert_eq!(waiters.open(), 1);
    }

    #[test]
    fn an_applied_entry_of_a_newer_term_proves_that_older_ones_never_commit() {
        let waiters = Waiters::new(ORIGIN);
        let (_, mut old) = register(&waiters, 5, 1);
        let (_, mut new) = register(&waiters, 6, 1);
        waiters.applied(5, None);
        assert_eq!(told(&mut old), [None]);
        waiters.applied(6, None);
        assert_eq!(told(&mut old), [Some(Err(Unresolved::NotCommitted))]);
        assert_eq!(told(&mut new), [None]);
        let (first, mut late) = register(&waiters, 5, 1);
        assert_eq!((first, told(&mut late)), (None, vec![Some(Err(Unresolved::NotCommitted))]));
    }

    #[test]
    fn a_snapshot_and_the_end_leave_the_outcome_unknown() {
        let waiters = Waiters::new(ORIGIN);
        let (_, mut covered) = register(&waiters, 5, 1);
        waiters.installed(5);
        assert_eq!(told(&mut covered), [Some(Err(Unresolved::Unknown))]);
        let (_, mut open) = register(&waiters, 5, 1);
        waiters.close();
        let (_, mut late) = register(&waiters, 5, 1);
        assert_eq!(told(&mut open), [Some(Err(Unresolved::Unknown))]);
        assert_eq!(told(&mut late), [Some(Err(Unresolved::Unknown))]);
    }

    #[test]
    fn a_refused_entry_is_not_committed() {
        let waiters = Waiters::new(ORIGIN);
        let (first, mut receivers) = register(&waiters, 5, 2);
        waiters.refuse(first.unwrap(), 2);
        let refused = Some(Err(Unresolved::NotCommitted));
        assert_eq!(told(&mut receivers), [refused, refused]);
    }
}
