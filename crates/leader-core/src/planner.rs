//! Turns the allocator's wishes into proposals: one plan at a time, in pieces. (The allocator bounds the rate.)
//!
//! A plan is in flight from its proposal until the entry of its last piece is applied; meanwhile nothing is planned, for
//! the index does not know the offers yet. No reply and no timeout ends it earlier. What happens meanwhile gathers in
//! the allocator and makes the next plan.

use std::collections::BTreeMap;

use mesarch_allocator::Plan;
use mesarch_state::{
    Command, Outcome,
    command::{IssueOffers, OfferItem},
};
use mesarch_types::{AgentId, Epoch, Millis, Resources};

use crate::{desk::Purpose, index::Index, message::Ticket, turn::Turn};

/// Most offers of one plan.
const PLAN_OFFERS_MAX: usize = 10_000;
/// Most offers of one piece.
pub(crate) const PIECE_OFFERS_MAX: usize = 256;
/// About the most bytes of one piece.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// The pause after a plan without offers.
const PAUSE_EMPTY: Millis = Millis(1);
/// The pause after a plan of which nothing was issued; doubles up to [`PAUSE_REFUSED_MAX`].
const PAUSE_REFUSED: Millis = Millis(10);
/// The longest pause of this kind.
const PAUSE_REFUSED_MAX: Millis = Millis(1000);

/// The plan in flight, and when the next one may be made.
#[derive(Debug)]
pub(crate) struct Planner {
    flight: Option<Flight>,
    /// Index of the last applied entry.
    applied: u64,
    not_before: Millis,
    pause_refused: Millis,
}

/// A plan with offers that was proposed and of which not every piece is answered and applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanInFlight {
    /// Counts the plans of this term; no two have the same.
    pub number: u64,
    /// How many offers were planned.
    pub offers: usize,
}

#[derive(Debug, Default)]
struct Flight {
    plan: PlanInFlight,
    /// Pieces that are not answered, with the agents they are about.
    open: BTreeMap<Ticket, Vec<AgentId>>,
    /// Highest index of the answered ones.
    last_index: u64,
    issued: usize,
    refused: usize,
}

impl Planner {
    pub(crate) fn new(applied: u64) -> Self {
        Self { flight: None, applied, not_before: Millis::ZERO, pause_refused: PAUSE_REFUSED }
    }

    pub(crate) fn in_flight(&self) -> Option<PlanInFlight> {
        self.flight.as_ref().map(|flight| flight.plan)
    }

    /// When to call [`Self::run`] although nothing happened; none while a plan is in flight.
    pub(crate) fn next(&self, index: &Index, now: Millis) -> Option<Millis> {
        if self.flight.is_some() {
            return None;
        }
        Some(index.allocator.next_plan_wake(now)?.max(self.not_before))
    }

    /// Makes a plan and proposes it, if one is wanted and may be made.
    pub(crate) fn run(&mut self, turn: &mut Turn<'_>, index: &mut Index) {
        if self.next(index, turn.now).is_none_or(|wake| wake > turn.now) {
            return;
        }
        let plans = index.allocator.plan(turn.now, PLAN_OFFERS_MAX);
        turn.counters.plans += 1;
        turn.counters.offers_planned += plans.len() as u64;
        if plans.is_empty() {
            self.not_before = turn.after(PAUSE_EMPTY);
        } else {
            self.flight = Some(propose(turn, plans, index.policy));
        }
    }

    /// `apply` answered a piece.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        index: &mut Index,
        ticket: Ticket,
        outcome: &Outcome,
        at: u64,
    ) {
        let Some(flight) = &mut self.flight else { return };
        let Some(agents) = flight.open.remove(&ticket) else {
            return;
        };
        flight.last_index = flight.last_index.max(at);
        let was_issued = |position: usize| match outcome {
            Outcome::Issued(results) => results.get(position).is_some_and(Result::is_ok),
            _ => false,
        };
        for (position, agent) in agents.iter().enumerate() {
            if was_issued(position) {
                flight.issued += 1;
            } else {
                flight.refused += 1;
                turn.counters.offers_refused += 1;
                index.allocator.mark_dirty(agent);
            }
        }
        self.land(turn.now);
    }

    /// A piece found no place: it is planned anew.
    pub(crate) fn lost(&mut self, turn: &mut Turn<'_>, index: &mut Index, ticket: Ticket) {
        let nothing = Outcome::Issued(Vec::new());
        self.answered(turn, index, ticket, &nothing, 0);
    }

    /// The entry at `index` is applied and folded.
    pub(crate) fn applied(&mut self, index: u64, now: Millis) {
        self.applied = index.max(self.applied);
        self.land(now);
    }

    /// Ends the flight once everything of it is answered and applied.
    fn land(&mut self, now: Millis) {
        let is_down = |flight: &mut Flight| flight.open.is_empty() && flight.last_index <= self.applied;
        let Some(flight) = self.flight.take_if(is_down) else {
            return;
        };
        if flight.issued > 0 || flight.refused == 0 {
            self.pause_refused = PAUSE_REFUSED;
        } else {
            self.not_before = self.not_before.max(now.saturating_add(self.pause_refused));
            self.pause_refused = Millis(self.pause_refused.0 * 2).min(PAUSE_REFUSED_MAX);
        }
    }
}

fn propose(turn: &mut Turn<'_>, plans: Vec<Plan>, policy: Epoch) -> Flight {
    let plan = PlanInFlight { number: turn.counters.plans, offers: plans.len() };
    let mut flight = Flight { plan, ..Flight::default() };
    for items in pieces(plans) {
        let agents = items.iter().map(|item| item.agent.clone()).collect();
        let command = Command::IssueOffers(IssueOffers { policy, items });
        flight.open.insert(turn.desk.propose(Purpose::Plan, command), agents);
    }
    flight
}

/// Cuts a plan in pieces of bounded length and, about, size.
fn pieces(plans: Vec<Plan>) -> Vec<Vec<OfferItem>> {
    let mut pieces = vec![Vec::new()];
    let mut bytes = 0;
    for plan in plans {
        let item = item(plan);
        let more = size(&item);
        let is_full = |piece: &Vec<OfferItem>| {
            piece.len() == PIECE_OFFERS_MAX || (!piece.is_empty() && bytes + more > PIECE_BYTES_MAX)
        };
        if pieces.last().is_none_or(is_full) {
            pieces.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        pieces.last_mut().expect("never empty: it begins with one piece").push(item);
    }
    pieces
}

fn item(plan: Plan) -> OfferItem {
    OfferItem {
        framework: plan.framework,
        role: plan.role,
        agent: plan.agent,
        resources: plan.resources,
        framework_version: Epoch(plan.framework_version),
        agent_version: Epoch(plan.agent_version),
    }
}

/// About the bytes of an item in the log.
fn size(item: &OfferItem) -> usize {
    let names = item.framework.as_str().len() + item.role.as_str().len() + item.agent.as_str().len();
    names + 32 + resources_size(&item.resources)
}

fn resources_size(resources: &Resources) -> usize {
    let size = |resource: &mesarch_types::Resource| {
        let reservations: usize = resource.reservations.iter().map(|one| 64 + one.labels.len()).sum();
        let disk = resource.disk.as_ref().map_or(0, |disk| 64 + disk.info.len());
        let value = match &resource.value {
            mesarch_types::Value::Scalar(_) => 8,
            mesarch_types::Value::Ranges(ranges) => ranges.iter().count() * 10,
            mesarch_types::Value::Set(set) => set.iter().map(|name| name.len() + 2).sum(),
        };
        resource.name.len() + 8 + reservations + disk + value
    };
    resources.iter().map(size).sum()
}
