//! Facts that may wait a moment: what frameworks took from their outboxes and what agents forgot. Reported one by one
//! by the outside, put into the log together.

use std::collections::BTreeMap;

use mesarch_state::{
    Command,
    command::{AgentForgot, EventsDelivered, OutboxPosition},
};
use mesarch_types::{AgentId, Epoch, FrameworkId, LaunchId, Millis, TaskId, UpdateUuid};

/// A batch goes into the log at most this long after its first fact.
pub(crate) const FLUSH_AFTER: Millis = Millis(50);
/// A batch goes into the log at once with so many facts.
pub(crate) const FLUSH_AT: usize = 256;

/// An acknowledgement that an agent has stored.
pub(crate) type Forgotten = (FrameworkId, TaskId, LaunchId, UpdateUuid);

/// Facts not yet proposed; at most [`FLUSH_AT`] and what one message brings.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    delivered: BTreeMap<FrameworkId, (Epoch, OutboxPosition)>,
    forgotten: BTreeMap<AgentId, AgentForgot>,
    facts: usize,
    due: Option<Millis>,
}

impl Batch {
    /// Events of `framework` up to a position are on the stream `epoch`.
    pub(crate) fn delivered(
        &mut self,
        now: Millis,
        framework: FrameworkId,
        epoch: Epoch,
        up_to: OutboxPosition,
    ) {
        let newest = self.delivered.entry(framework).or_insert((epoch, up_to));
        *newest = (epoch, up_to).max(*newest);
        self.count(now, 1);
    }

    /// `agent` forgot these.
    pub(crate) fn forgot(
        &mut self,
        now: Millis,
        agent: &AgentId,
        acknowledged: Vec<Forgotten>,
        frameworks: Vec<FrameworkId>,
    ) {
        self.count(now, acknowledged.len() + frameworks.len());
        let empty = || AgentForgot { agent: agent.clone(), acknowledged: Vec::new(), frameworks: Vec::new() };
        let batch = self.forgotten.entry(agent.clone()).or_insert_with(empty);
        batch.acknowledged.extend(acknowledged);
        batch.frameworks.extend(frameworks);
    }

    fn count(&mut self, now: Millis, facts: usize) {
        self.facts += facts;
        self.due.get_or_insert(now.saturating_add(FLUSH_AFTER));
    }

    /// When the batch is due.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.due
    }

    /// The commands of the batch if it is due or full; frameworks first, each kind by id.
    pub(crate) fn flush(&mut self, now: Millis) -> Vec<Command> {
        if self.facts < FLUSH_AT && self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let batch = std::mem::take(self);
        let delivered = batch.delivered.into_iter().map(|(framework, (stream, up_to))| {
            Command::EventsDelivered(EventsDelivered { framework, stream, up_to })
        });
        delivered.chain(batch.forgotten.into_values().map(Command::AgentForgot)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_wait_for_company_but_not_long() {
        let mut batch = Batch::default();
        for position in [3, 9, 7] {
            batch.delivered(Millis(position), "f".into(), Epoch(5), OutboxPosition(position));
        }
        batch.forgot(Millis(20), &"a".into(), Vec::new(), vec!["f".into()]);
        batch.forgot(Millis(21), &"a".into(), Vec::new(), vec!["g".into()]);
        assert_eq!(batch.flush(Millis(52)), []);
        assert_eq!(batch.next(), Some(Millis(53)));
        let expect = [
            Command::EventsDelivered(EventsDelivered {
                framework: "f".into(),
                stream: Epoch(5),
                up_to: OutboxPosition(9),
            }),
            Command::AgentForgot(AgentForgot {
                agent: "a".into(),
                acknowledged: Vec::new(),
                frameworks: vec!["f".into(), "g".into()],
            }),
        ];
        assert_eq!(batch.flush(Millis(53)), expect);
        assert_eq!((batch.next(), batch.flush(Millis(1000))), (None, Vec::new()));
    }

    #[test]
    fn a_full_batch_does_not_wait_and_a_newer_stream_wins() {
        let mut batch = Batch::default();
        batch.delivered(Millis(0), "f".into(), Epoch(6), OutboxPosition(1));
        for position in 2..=FLUSH_AT as u64 {
            assert_eq!(batch.flush(Millis(0)), []);
            batch.delivered(Millis(0), "f".into(), Epoch(5), OutboxPosition(position));
        }
        let expect = EventsDelivered { framework: "f".into(), stream: Epoch(6), up_to: OutboxPosition(1) };
        assert_eq!(batch.flush(Millis(0)), [Command::EventsDelivered(expect)]);
    }
}
