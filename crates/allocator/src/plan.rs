//! One run: from what is free to a list of offers. First what is guaranteed, then everything.

use mesarch_types::{AgentId, FrameworkId, Millis, Resources, Role};

use crate::{
    allocator::Allocator,
    bits::Bits,
    draw::mix,
    index::{AgentIx, ClientIx, NodeIx, QuotaIx},
    kinds::{Amount, Stock},
    quota::counts,
    tree::{Ranker, Turn},
};

/// An offer to be proposed. `apply` refuses it if a version or the free resources changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// To whom.
    pub framework: FrameworkId,
    /// In which of its roles.
    pub role: Role,
    /// On which agent.
    pub agent: AgentId,
    /// What, not stamped with the role.
    pub resources: Resources,
    /// The framework's version that was seen.
    pub framework_version: u64,
    /// The agent's version that was seen.
    pub agent_version: u64,
}

/// A run that may plan few offers looks at so many agents for each, and at least at so many in all.
const LOOKS_PER_OFFER: usize = 4;
const LOOKS_MIN: usize = 1024;

/// So many agents come from memory together, before each is looked at. They lie in no order: one after the other, a run
/// over a large cluster would wait for memory most of the time.
const FETCH: usize = 16;

/// What a run keeps beside its result.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) now: Millis,
    pub(crate) offers_max: usize,
    pub(crate) plans: Vec<Plan>,
    /// What is booked for the time of the run, so that shares and rooms move with each offer.
    pub(crate) booked: Vec<Booking>,
    pub(crate) amounts: Vec<Amount>,
    pub(crate) candidates: Bits,
    pub(crate) newly_blocked: Vec<ClientIx>,
    /// The roles whose guarantees were open when the run began; some may be fulfilled by now.
    pub(crate) guaranteed: Vec<(QuotaIx, NodeIx)>,
    /// Clients whose limits leave no room for one of the smallest offers.
    pub(crate) exhausted: Bits,
    /// Guarantees leave no room for one of the smallest offers to anybody.
    pub(crate) no_headroom: bool,
    pub(crate) draw: u64,
}

/// A piece of the run's `amounts`, up to `end`, booked to a leaf and, from `countable` on, to a quota.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Booking {
    leaf: NodeIx,
    quota: Option<QuotaIx>,
    countable: usize,
    end: usize,
}

/// What is left of an agent in a run.
#[derive(Debug)]
pub(crate) struct Slate {
    pub(crate) slot: AgentIx,
    pub(crate) stock: Stock,
    /// The stock is all that is free.
    pub(crate) whole: bool,
    /// Who was given something of it, and where that stands in the plan.
    pub(crate) given: Vec<(ClientIx, usize)>,
}

impl Run {
    /// To look only: what the next plan would be about.
    pub(crate) fn to_look(now: Millis, draw: u64, guaranteed: Vec<(QuotaIx, NodeIx)>) -> Self {
        Self { now, draw, guaranteed, ..Self::default() }
    }

    /// About an offer for each of so many agents is to come.
    fn expect(&mut self, agents: usize) {
        let offers = agents.min(self.offers_max);
        self.plans.reserve(offers);
        self.booked.reserve(offers);
        self.amounts.reserve(4 * offers);
    }
}

impl Allocator {
    /// The run itself: see [`Allocator::plan`].
    pub(crate) fn run(&mut self, now: Millis, offers_max: usize) -> Vec<Plan> {
        self.turn(now);
        self.look_again_for_renewed();
        let offers_max = offers_max.min(self.pace.room(now));
        let mut run =
            Run { now, offers_max, draw: mix(self.config.seed ^ mix(self.sequence)), ..Run::default() };
        if offers_max > 0 && !self.agents.dirty.is_empty() {
            self.sequence += 1;
            self.refresh_order();
            self.find_exhausted(&mut run);
            if self.quotas.is_hungry() {
                self.run_both_stages(&mut run);
            } else {
                self.run_one_stage(&mut run);
            }
            self.undo_bookings(&run);
        }
        self.pace.spend(run.plans.len());
        run.plans
    }

    /// No guarantee is open: each agent once.
    fn run_one_stage(&mut self, run: &mut Run) {
        let order = self.dirty_in_order(run);
        run.expect(order.len());
        for (position, slot) in order.iter().enumerate() {
            if run.plans.len() >= run.offers_max {
                return;
            }
            if position % FETCH == 0 {
                self.agents.fetch(&order[position..order.len().min(position + FETCH)]);
            }
            self.agents.dirty.clear(slot.0);
            if let Some(mut slate) = self.slate(*slot) {
                self.serve_all(&mut slate, run);
            }
        }
    }

    /// Guarantees on all agents before anything else on any.
    fn run_both_stages(&mut self, run: &mut Run) {
        run.guaranteed = self.guaranteed_roles();
        let order = self.dirty_in_order(run);
        let mut slates = Vec::with_capacity(order.len());
        for slot in order {
            if run.plans.len() >= run.offers_max {
                return;
            }
            match self.slate(slot) {
                None => self.agents.dirty.clear(slot.0),
                Some(mut slate) => {
                    self.serve_guarantees(&mut slate, run);
                    slates.push(slate);
                }
            }
        }
        for mut slate in slates {
            if run.plans.len() >= run.offers_max {
                return;
            }
            self.agents.dirty.clear(slate.slot.0);
            self.serve_all(&mut slate, run);
        }
    }

    /// What can be given of an agent; none if it must not be given, or nothing is free.
    fn slate(&mut self, slot: AgentIx) -> Option<Slate> {
        self.agents.held_back.clear(slot.0);
        if !self.is_offerable(slot) {
            return None;
        }
        let interval = self.agents.interval;
        let agent = &mut self.agents.slots[slot];
        agent.begin_interval(interval);
        agent.learn_renewals(&self.clients);
        let stock = agent.free(&mut self.kinds, &self.config.min_allocatable);
        agent.check_blocked(&stock.resources);
        if stock.resources.is_empty() {
            self.agents.idle.clear(slot.0);
            return None;
        }
        Some(Slate { slot, stock, whole: true, given: Vec::new() })
    }

    /// Clients that are new, revived or changed: no agent may believe any more that there is nothing for them. Each learns
    /// it when it is looked at; those with something free are, by the next plan.
    pub(crate) fn look_again_for_renewed(&mut self) {
        if self.clients.renewed.is_empty() {
            return;
        }
        let mut wanted = self.clients.take_renewed();
        wanted.intersect(&self.clients.wanting);
        if !wanted.is_empty() {
            let (idle, dirty) = (&self.agents.idle, &mut self.agents.dirty);
            dirty.unite(idle);
        }
    }

    pub(crate) fn refresh_order(&mut self) {
        self.tree.refresh(&Ranker { policies: &self.config.policies, kinds: &self.kinds });
    }

    /// Ranks as they are for one agent.
    pub(crate) fn turn_of(&self, slot: AgentIx, draw: u64) -> Turn<'_> {
        Turn {
            ranker: Ranker { policies: &self.config.policies, kinds: &self.kinds },
            agent: self.agents.slots[slot].view.as_deref(),
            draw: mix(draw ^ self.agents.salts[slot.0 as usize]),
        }
    }

    /// The agents to look at, in an order that only the round and their ids decide. Of many more than there may be offers
    /// only the first: the others stay dirty, and need not be sorted for each of many small plans.
    fn dirty_in_order(&self, run: &Run) -> Vec<AgentIx> {
        let key = |number: u32| (mix(self.agents.salts[number as usize] ^ self.round), AgentIx(number));
        let mut keyed: Vec<(u64, AgentIx)> = self.agents.dirty.ones().map(key).collect();
        let compare = |left: &(u64, AgentIx), right: &(u64, AgentIx)| {
            let by_id = || self.agents.slots[left.1].id.cmp(&self.agents.slots[right.1].id);
            left.0.cmp(&right.0).then_with(by_id)
        };
        let first = run.offers_max.saturating_mul(LOOKS_PER_OFFER).max(LOOKS_MIN);
        if first < keyed.len() {
            keyed.select_nth_unstable_by(first, compare);
            keyed.truncate(first);
        }
        keyed.sort_unstable_by(compare);
        keyed.into_iter().map(|(_, slot)| slot).collect()
    }

    /// First stage, one agent: roles whose guarantees are not fulfilled, each with all below it.
    fn serve_guarantees(&mut self, slate: &mut Slate, run: &mut Run) {
        while run.plans.len() < run.offers_max && self.quotas.is_hungry() && !slate.stock.resources.is_empty()
        {
            let Some((client, chunk)) = self.pick_guaranteed(slate, run) else {
                return;
            };
            self.give(slate, client, chunk.resources, run);
        }
    }

    /// Second stage, one agent: all roles, as far as limits and open guarantees allow.
    fn serve_all(&mut self, slate: &mut Slate, run: &mut Run) {
        while !slate.stock.resources.is_empty() {
            if run.plans.len() >= run.offers_max {
                self.agents.dirty.set(slate.slot.0);
                return;
            }
            let Some((client, chunk)) = self.pick(slate, run) else {
                return;
            };
            if chunk.withheld {
                self.agents.held_back.set(slate.slot.0);
            }
            self.give(slate, client, chunk.resources, run);
        }
    }

    /// Plans an offer and takes it off the slate; two pieces for one client become one offer.
    fn give(&mut self, slate: &mut Slate, client: ClientIx, chunk: Resources, run: &mut Run) {
        self.book_for_run(client, &chunk, &slate.stock, run);
        let rest = slate.stock.resources.saturating_sub(&chunk);
        match slate.given.iter().find(|(who, _)| *who == client) {
            Some((_, place)) => run.plans[*place].resources += &chunk,
            None => {
                if !rest.is_empty() {
                    slate.given.push((client, run.plans.len()));
                }
                run.plans.extend(self.plan_of(client, slate.slot, chunk));
            }
        }
        slate.whole = false;
        match rest.is_empty() {
            true => slate.stock.resources = rest,
            false => slate.stock = self.kinds.stock(rest, &self.config.min_allocatable),
        }
    }

    /// Books for the time of the run. Shared resources are left out: that they count once is for the real books.
    fn book_for_run(&mut self, client: ClientIx, chunk: &Resources, stock: &Stock, run: &mut Run) {
        let begin = run.amounts.len();
        if chunk.ptr_eq(&stock.resources) {
            run.amounts.extend_from_slice(&stock.facts.amounts);
        } else {
            self.kinds.amounts(chunk, &mut run.amounts, |resource| !resource.shared);
        }
        let (leaf, quota) = (self.clients.get(client).leaf, self.clients.get(client).quota);
        self.tree.add_held(leaf, &run.amounts[begin..]);
        let countable = run.amounts.len();
        if !self.quotas.is_empty() {
            self.kinds.amounts(chunk, &mut run.amounts, counts);
            for (kind, amount) in &run.amounts[countable..] {
                self.quotas.give(quota, *kind, *amount);
            }
            self.find_no_headroom(run);
            quota.into_iter().for_each(|quota| self.note_if_exhausted(quota, run));
        }
        run.booked.push(Booking { leaf, quota, countable, end: run.amounts.len() });
        self.refresh_order();
    }

    fn undo_bookings(&mut self, run: &Run) {
        let mut begin = 0;
        for Booking { leaf, quota, countable, end } in &run.booked {
            self.tree.undo_held(*leaf, &run.amounts[begin..*countable]);
            for (kind, amount) in &run.amounts[*countable..*end] {
                self.quotas.give(*quota, *kind, amount.wrapping_neg());
            }
            begin = *end;
        }
    }

    fn plan_of(&self, client: ClientIx, slot: AgentIx, resources: Resources) -> Option<Plan> {
        let agent = &self.agents.slots[slot];
        let framework = self.clients.view_of(client)?;
        Some(Plan {
            framework: framework.id.clone(),
            role: self.clients.get(client).role.clone(),
            agent: agent.id.clone(),
            resources,
            framework_version: framework.version,
            agent_version: agent.version,
        })
    }
}
