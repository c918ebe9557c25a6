//! Turns the allocator's wishes for agents to be left into proposals, one at a time.
//!
//! As with offers, nothing is planned while a plan is in flight: from its proposal until its entry is applied.

use mesarch_allocator::InversePlan;
use mesarch_state::{
    Command, Outcome,
    command::{InverseOfferItem, IssueInverseOffers},
};
use mesarch_types::{AgentId, Epoch, Millis};

use crate::{desk::Purpose, index::Index, turn::Turn};

/// Most inverse offers of one plan.
const PLAN_ITEMS_MAX: usize = 256;
/// The pause after a plan of which nothing was issued.
const PAUSE_REFUSED: Millis = Millis(1000);

/// The plan in flight, and when the next one may be made.
#[derive(Debug, Default)]
pub(crate) struct InversePlanner {
    /// The agents that the plan in flight is about, item by item.
    flight: Option<Vec<AgentId>>,
    /// Index of the entry that holds it, once that is known.
    lands: Option<u64>,
    /// Index of the last applied entry.
    applied: u64,
    not_before: Millis,
}

impl InversePlanner {
    pub(crate) fn new(applied: u64) -> Self {
        Self { applied, ..Self::default() }
    }

    /// When to call [`Self::run`] although nothing happened; none while a plan is in flight.
    pub(crate) fn next(&self, index: &Index, now: Millis) -> Option<Millis> {
        if self.flight.is_some() {
            return None;
        }
        Some(index.allocator.next_inverse_wake(now)?.max(self.not_before))
    }

    /// Makes a plan and proposes it, if one is wanted and may be made.
    pub(crate) fn run(&mut self, turn: &mut Turn<'_>, index: &mut Index) {
        if self.next(index, turn.now).is_none_or(|wake| wake > turn.now) {
            return;
        }
        let plans = index.allocator.plan_inverse(turn.now, PLAN_ITEMS_MAX);
        if plans.is_empty() {
            return;
        }
        self.flight = Some(plans.iter().map(|plan| plan.agent.clone()).collect());
        self.lands = None;
        let items = plans.into_iter().map(item).collect();
        turn.desk.propose(Purpose::Inverse, Command::IssueInverseOffers(IssueInverseOffers { items }));
    }

    /// `apply` answered: what was refused is looked at again after a while.
    pub(crate) fn answered(&mut self, turn: &Turn<'_>, index: &mut Index, outcome: &Outcome, at: u64) {
        let agents = self.flight.as_deref().unwrap_or_default();
        let was_issued = |position: usize| match outcome {
            Outcome::Issued(results) => results.get(position).is_some_and(Result::is_ok),
            _ => false,
        };
        for (position, agent) in agents.iter().enumerate() {
            if !was_issued(position) {
                index.allocator.mark_dirty(agent);
                self.not_before = turn.after(PAUSE_REFUSED);
            }
        }
        self.lands = Some(at);
        self.land();
    }

    /// The plan found no place: it is made anew.
    pub(crate) fn lost(&mut self, turn: &Turn<'_>, index: &mut Index) {
        self.answered(turn, index, &Outcome::Issued(Vec::new()), 0);
    }

    /// The entry at `index` is applied and folded.
    pub(crate) fn applied(&mut self, index: u64) {
        self.applied = index.max(self.applied);
        self.land();
    }

    fn land(&mut self) {
        if self.lands.is_some_and(|lands| lands <= self.applied) {
            self.flight = None;
            self.lands = None;
        }
    }
}

fn item(plan: InversePlan) -> InverseOfferItem {
    InverseOfferItem {
        framework: plan.framework,
        agent: plan.agent,
        agent_version: Epoch(plan.agent_version),
    }
}
