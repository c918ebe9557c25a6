//! One run: from what is free to a list of offers.

use mesarch_types::{AgentId, FrameworkId, Millis, Resources, Role};

use crate::{
    allocator::Allocator,
    bits::Bits,
    eligible::Case,
    index::{AgentIx, ClientIx, NodeIx, Slot},
    kinds::{Amount, Facts, Stock},
    tree::Ranker,
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

/// Up to so many candidates are sorted; among more, the tree is walked from the front.
const SORTED_MAX: u32 = 16;

/// What a run keeps beside its result.
#[derive(Debug, Default)]
struct Run {
    now: Millis,
    offers_max: usize,
    plans: Vec<Plan>,
    /// What is booked for the time of the run, so that shares move with each offer: leaf and end of its `amounts`.
    booked: Vec<(NodeIx, usize)>,
    amounts: Vec<Amount>,
    candidates: Bits,
    newly_blocked: Vec<ClientIx>,
}

impl Allocator {
    /// The run itself: see [`Allocator::plan`].
    pub(crate) fn run(&mut self, now: Millis, offers_max: usize) -> Vec<Plan> {
        self.turn(now);
        self.look_again_for_renewed();
        let offers_max = offers_max.min(self.pace.room(now));
        let mut run = Run { now, offers_max, ..Run::default() };
        if offers_max > 0 {
            self.refresh_order();
            for slot in self.dirty_in_order() {
                if run.plans.len() >= run.offers_max {
                    break;
                }
                self.agents.dirty.clear(slot.0);
                self.plan_agent(slot, &mut run);
            }
            self.undo_bookings(&run);
        }
        self.pace.spend(run.plans.len());
        run.plans
    }

    /// Clients that are new, revived or changed: no agent may believe any more that there is nothing for them.
    pub(crate) fn look_again_for_renewed(&mut self) {
        let renewed = std::mem::take(&mut self.clients.renewed);
        if renewed.is_empty() {
            return;
        }
        for (_, agent) in self.agents.slots.iter_mut() {
            agent.blocked.subtract(&renewed);
        }
        let mut wanted = renewed;
        wanted.intersect(&self.clients.wanting);
        if !wanted.is_empty() {
            let (idle, dirty) = (&self.agents.idle, &mut self.agents.dirty);
            dirty.unite(idle);
        }
    }

    fn refresh_order(&mut self) {
        let ranker = Ranker {
            roles: &*self.config.role_policy,
            frameworks: &*self.config.framework_policy,
            kinds: &self.kinds,
        };
        self.tree.refresh(&ranker);
    }

    /// The agents to look at, in an order that only the round and their ids decide.
    fn dirty_in_order(&self) -> Vec<AgentIx> {
        let key = |number: u32| (mix(self.agents.salts[number as usize] ^ self.round), AgentIx(number));
        let mut keyed: Vec<(u64, AgentIx)> = self.agents.dirty.ones().map(key).collect();
        keyed.sort_unstable_by(|left, right| {
            let by_id = || self.agents.slots[left.1].id.cmp(&self.agents.slots[right.1].id);
            left.0.cmp(&right.0).then_with(by_id)
        });
        keyed.into_iter().map(|(_, slot)| slot).collect()
    }

    fn plan_agent(&mut self, slot: AgentIx, run: &mut Run) {
        let agent = &mut self.agents.slots[slot];
        if !agent.is_active() {
            return;
        }
        let mut stock = agent.free(&mut self.kinds, &self.config.min_allocatable);
        agent.check_blocked(&stock.resources);
        if stock.resources.is_empty() {
            self.agents.idle.clear(slot.0);
        }
        let mut whole = true;
        while !stock.resources.is_empty() {
            if run.plans.len() >= run.offers_max {
                self.agents.dirty.set(slot.0);
                return;
            }
            let Some((client, chunk)) = self.pick(slot, &stock, whole, run) else {
                return;
            };
            self.book_for_run(client, &chunk, &stock, run);
            let rest = stock.resources.saturating_sub(&chunk);
            run.plans.extend(self.plan_of(client, slot, chunk));
            if rest.is_empty() {
                return;
            }
            stock = self.kinds.stock(rest, &self.config.min_allocatable);
            whole = false;
        }
    }

    /// The first client in order for whom there is something, and what. With `whole`, the stock is all that is free, and
    /// for whom there is nothing now is not asked again until something changes.
    fn pick(
        &mut self,
        slot: AgentIx,
        stock: &Stock,
        whole: bool,
        run: &mut Run,
    ) -> Option<(ClientIx, Resources)> {
        self.find_candidates(slot, &stock.facts, &mut run.candidates);
        let agent = &self.agents.slots[slot];
        let case = Case { config: &self.config, clients: &self.clients, agent, now: run.now };
        let (candidates, newly_blocked) = (&run.candidates, &mut run.newly_blocked);
        let mut serve = |client: ClientIx| {
            if !candidates.has(client.0) {
                return None;
            }
            let chunk = case.chunk(client, stock).map_err(|_| newly_blocked.push(client)).ok()?;
            Some((client, chunk))
        };
        let count = candidates.count();
        let picked = if count <= SORTED_MAX {
            self.sorted(candidates).into_iter().find_map(&mut serve)
        } else {
            self.starts(stock).into_iter().find_map(|node| self.tree.first(node, &mut serve))
        };
        if whole && !run.newly_blocked.is_empty() {
            self.agents.slots[slot].block(run.newly_blocked.iter().copied(), &stock.resources);
        }
        run.newly_blocked.clear();
        picked
    }

    /// All clients that may be served, by what is known without looking at each.
    fn find_candidates(&self, slot: AgentIx, facts: &Facts, out: &mut Bits) {
        out.assign_difference(&self.clients.wanting, &self.agents.slots[slot].blocked);
        if facts.all_revocable {
            out.intersect(&self.clients.take_revocable);
        }
        if !facts.enough {
            out.intersect(&self.clients.own_least);
        }
    }

    fn sorted(&self, candidates: &Bits) -> Vec<ClientIx> {
        let mut sorted: Vec<ClientIx> = candidates.ones().map(ClientIx::new).collect();
        let leaf = |client: &ClientIx| self.clients.get(*client).leaf;
        sorted.sort_unstable_by(|left, right| self.tree.compare(leaf(left), leaf(right)));
        sorted
    }

    /// Where to look in the tree: everywhere if something is unreserved, else below the roles it is reserved to.
    fn starts(&self, stock: &Stock) -> Vec<NodeIx> {
        let mut roles = Vec::new();
        for (resource, _) in stock.resources.iter_counted() {
            match resource.reserved_role() {
                None => return vec![self.tree.root()],
                Some(role) if !roles.contains(&role) => roles.push(role),
                Some(_) => {}
            }
        }
        roles.into_iter().filter_map(|role| self.tree.role_node(role)).collect()
    }

    /// Books for the time of the run. Shared resources are left out: that they count once is for the real books.
    fn book_for_run(&mut self, client: ClientIx, chunk: &Resources, stock: &Stock, run: &mut Run) {
        let begin = run.amounts.len();
        if chunk.ptr_eq(&stock.resources) {
            run.amounts.extend_from_slice(&stock.facts.amounts);
        } else {
            self.kinds.amounts(chunk, &mut run.amounts, |resource| !resource.shared);
        }
        let leaf = self.clients.get(client).leaf;
        self.tree.add_held(leaf, &run.amounts[begin..]);
        run.booked.push((leaf, run.amounts.len()));
        self.refresh_order();
    }

    fn undo_bookings(&mut self, run: &Run) {
        let mut begin = 0;
        for (leaf, end) in &run.booked {
            self.tree.undo_held(*leaf, &run.amounts[begin..*end]);
            begin = *end;
        }
    }

    fn plan_of(&self, client: ClientIx, slot: AgentIx, resources: Resources) -> Option<Plan> {
        let agent = self.agents.slots[slot].view.as_ref()?;
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

/// The finalizer of SplitMix64.
fn mix(seed: u64) -> u64 {
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}
