//! The allocator's rules written down once more, from nothing and without an index: what must be offered now, given all
//! that is known. Slow and plain on purpose. No shared resources; ranks are dominant shares by weight, ties go by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesarch_types::{
    AgentCapability, AgentId, AgentView, FrameworkCapability, FrameworkId, FrameworkView, Millis, Quantities,
    Quota, RefuseFilter, Resource, Resources, Role, Scalar, can_handle, is_allocatable,
};

use crate::world::Holding;

/// All that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) now: Millis,
    /// Number of the last tick: it decides the order of the agents.
    pub(crate) round: u64,
    pub(crate) agents: BTreeMap<AgentId, AgentView>,
    pub(crate) frameworks: BTreeMap<FrameworkId, FrameworkView>,
    pub(crate) weights: BTreeMap<Role, u64>,
    pub(crate) quotas: BTreeMap<Role, Quota>,
    pub(crate) whitelist: Option<BTreeSet<Arc<str>>>,
    pub(crate) held: BTreeMap<Holding, Resources>,
    pub(crate) filters: Vec<(Holding, RefuseFilter)>,
    pub(crate) min_allocatable: Vec<Quantities>,
}

/// What every run must offer when it looks at all agents.
pub(crate) fn offers(facts: &Facts) -> BTreeMap<Holding, Resources> {
    let mut run = Run { facts, held: facts.held.clone(), offers: BTreeMap::new() };
    let agents = run.agents();
    for agent in &agents {
        while let Some((client, chunk)) = run.guaranteed(agent) {
            run.give(client, agent, chunk);
        }
    }
    for agent in &agents {
        while let Some((client, chunk)) = run.anything(agent) {
            run.give(client, agent, chunk);
        }
    }
    run.offers
}

type Client = (FrameworkId, Role);

struct Run<'a> {
    facts: &'a Facts,
    /// With what this run gave.
    held: BTreeMap<Holding, Resources>,
    offers: BTreeMap<Holding, Resources>,
}

fn counts(resource: &Resource) -> bool {
    resource.value.as_scalar().is_some() && resource.reservations.is_empty() && !resource.revocable
}

impl Facts {
    /// What a role with quota consumes, given who holds what.
    pub(crate) fn consumed(&self, role: &Role, held: &BTreeMap<Holding, Resources>) -> Quantities {
        let within = |other: &Role| other.top_level() == role.as_str();
        let reserved = self.agents.values().map(|agent| {
            agent.total.filter(|resource| resource.reserved_role().is_some_and(within)).quantities()
        });
        let own =
            held.iter().filter(|((_, holder, agent), _)| within(holder) && self.agents.contains_key(agent));
        let used = own.map(|(_, resources)| resources.filter(counts).quantities());
        reserved.chain(used).fold(Quantities::default(), |sum, more| sum.saturating_add(&more))
    }

    /// What all guarantees lack, and what is free for them, by kind.
    pub(crate) fn headroom(&self, held: &BTreeMap<Holding, Resources>) -> (Quantities, Quantities) {
        let lacks = self.quotas.values().map(|quota| {
            let consumed = self.consumed(quota.role(), held);
            quota.guarantees().saturating_sub(&consumed)
        });
        let required = lacks.fold(Quantities::default(), |sum, more| sum.saturating_add(&more));
        let sum = |sum: Quantities, resources: &Resources| {
            sum.saturating_add(&resources.filter(counts).quantities())
        };
        let total = self.agents.values().fold(Quantities::default(), |all, agent| sum(all, &agent.total));
        let here = held.iter().filter(|((_, _, agent), _)| self.agents.contains_key(agent));
        let used = here.fold(Quantities::default(), |all, (_, resources)| sum(all, resources));
        (required, total.saturating_sub(&used))
    }
}

impl Run<'_> {
    /// The agents that may be offered, in the order of this round.
    fn agents(&self) -> Vec<AgentId> {
        let listed = |host: &Arc<str>| self.facts.whitelist.as_ref().is_none_or(|hosts| hosts.contains(host));
        let usable = self.facts.agents.values().filter(|agent| agent.active && listed(&agent.hostname));
        let mut agents: Vec<AgentId> = usable.map(|agent| agent.id.clone()).collect();
        agents.sort_by_key(|id| (mix(salt(id.as_str()) ^ self.facts.round), id.clone()));
        agents
    }

    fn free(&self, agent: &AgentId) -> Resources {
        let here = self.held.iter().filter(|((_, _, host), _)| host == agent);
        here.fold(self.facts.agents[agent].total.clone(), |rest, (_, held)| rest.saturating_sub(held))
    }

    fn give(&mut self, (framework, role): Client, agent: &AgentId, chunk: Resources) {
        let holding = (framework, role, agent.clone());
        *self.held.entry(holding.clone()).or_default() += &chunk;
        *self.offers.entry(holding).or_default() += &chunk;
    }

    /// All that want offers, in order.
    fn clients(&self) -> Vec<Client> {
        let mut all = Vec::new();
        for view in self.facts.frameworks.values() {
            all.extend(
                view.roles.iter().filter(|role| view.wants(role)).map(|role| (view.id.clone(), role.clone())),
            );
        }
        self.sorted_below("", all)
    }

    /// The clients at or below a role path (the empty one is above all), in order.
    fn sorted_below(&self, path: &str, clients: Vec<Client>) -> Vec<Client> {
        let mut branches: BTreeMap<String, Vec<Client>> = BTreeMap::new();
        for (framework, role) in clients {
            let branch = match role.as_str().strip_prefix(path) {
                Some("") => format!("{path}/."),
                Some(rest) => {
                    let rest = rest.trim_start_matches('/');
                    let child = rest.split('/').next().unwrap_or(rest);
                    if path.is_empty() { child.to_owned() } else { format!("{path}/{child}") }
                }
                None => unreachable!("only what is below comes here"),
            };
            branches.entry(branch).or_default().push((framework, role));
        }
        let mut ranked: Vec<(f64, String, Vec<Client>)> = branches
            .into_iter()
            .map(|(branch, clients)| (self.rank_of_branch(&branch), branch, clients))
            .collect();
        ranked.sort_by(|left, right| left.0.total_cmp(&right.0).then_with(|| left.1.cmp(&right.1)));
        let below = |(_, branch, clients): (f64, String, Vec<Client>)| match branch.strip_suffix("/.") {
            Some(_) => self.sorted_frameworks(clients),
            None => self.sorted_below(&branch, clients),
        };
        ranked.into_iter().flat_map(below).collect()
    }

    fn sorted_frameworks(&self, mut clients: Vec<Client>) -> Vec<Client> {
        let share =
            |client: &Client| self.share(|(framework, role, _)| *framework == client.0 && *role == client.1);
        clients.sort_by(|left, right| share(left).total_cmp(&share(right)).then_with(|| left.cmp(right)));
        clients
    }

    fn rank_of_branch(&self, branch: &str) -> f64 {
        match branch.strip_suffix("/.") {
            Some(own) => self.share(|(_, role, _)| role.as_str() == own),
            None => {
                let weight = self.facts.weights.get(branch).copied().unwrap_or(1000);
                let within = |role: &Role| role.as_str() == branch || Role::from(branch).is_ancestor_of(role);
                let share = self.share(|(_, role, _)| within(role));
                if weight == 1000 { share } else { share * 1000.0 / weight as f64 }
            }
        }
    }

    /// The dominant share of what is held by those.
    fn share(&self, of: impl Fn(&Holding) -> bool) -> f64 {
        let all = |sum: Quantities, agent: &AgentView| sum.saturating_add(&agent.total.quantities());
        let totals = self.facts.agents.values().fold(Quantities::default(), all);
        let own = self.held.iter().filter(|(holding, _)| of(holding));
        let held = own.fold(Quantities::default(), |sum, (_, held)| sum.saturating_add(&held.quantities()));
        let parts = held.iter().filter(|(kind, _)| !totals.get(kind).is_zero());
        parts.map(|(kind, amount)| amount.0 as f64 / totals.get(kind).0 as f64).fold(0.0, f64::max)
    }

    /// What of the free resources may be put before the client at all.
    fn fitting(&self, (framework, role): &Client, agent: &AgentId) -> Resources {
        let (view, host) = (&self.facts.frameworks[framework], &self.facts.agents[agent]);
        let knows = |one| view.capabilities.has(one);
        let gpus = host.total.iter().any(|resource| &*resource.name == "gpus");
        let old = !host.capabilities.has(AgentCapability::MultiRole) && knows(FrameworkCapability::MultiRole)
            || !host.capabilities.has(AgentCapability::HierarchicalRole) && role.as_str().contains('/');
        let excluded = view.constraints.get(role).is_some_and(|constraints| !constraints.admit(host));
        if gpus && !knows(FrameworkCapability::GpuResources) || old || excluded {
            return Resources::default();
        }
        let free = self.free(agent).allocatable_to(role);
        free.filter(|resource| can_handle(view.capabilities, resource))
    }

    fn is_offer(&self, (framework, role): &Client, agent: &AgentId, chunk: &Resources) -> bool {
        let view = &self.facts.frameworks[framework];
        let least = view.min_allocatable.get(role).unwrap_or(&self.facts.min_allocatable);
        let of_pair = |(holder, whose, host): &Holding| (holder, whose, host) == (framework, role, agent);
        let refused = self
            .facts
            .filters
            .iter()
            .any(|(pair, filter)| of_pair(pair) && filter.blocks(chunk, self.facts.now));
        !chunk.is_empty() && is_allocatable(&chunk.quantities(), least) && !refused
    }

    /// As much of what counts as the limit of the client's role and the headroom for open guarantees allow.
    fn bounded(&self, role: &Role, countable: &Resources, already: &Quantities) -> Resources {
        let (required, free) = self.facts.headroom(&self.held);
        let mut target = Quantities::default();
        if let Some(quota) = self.facts.quotas.get(role.top_level()) {
            let consumed = self.facts.consumed(quota.role(), &self.held).saturating_add(already);
            for (kind, limit) in quota.limits().iter() {
                target.set(kind.clone(), limit.saturating_sub(consumed.get(kind)));
            }
        }
        for (kind, need) in required.iter().filter(|(_, need)| *need > Scalar::ZERO) {
            let room = free.get(kind).saturating_sub(need);
            target.set(kind.clone(), target.get_exact(kind).map_or(room, |limit| limit.min(room)));
        }
        countable.shrink_to_limits(&target)
    }

    /// First stage: who gets something of this agent for the sake of a guarantee.
    fn guaranteed(&self, agent: &AgentId) -> Option<(Client, Resources)> {
        self.clients().into_iter().find_map(|client| {
            let quota = self.facts.quotas.get(client.1.top_level())?;
            let consumed = self.facts.consumed(quota.role(), &self.held);
            let lacking = quota.guarantees().saturating_sub(&consumed);
            let named: Quantities = lacking
                .iter()
                .filter(|(_, amount)| !amount.is_zero())
                .map(|(kind, amount)| (kind.clone(), amount))
                .collect();
            if named.is_empty() {
                return None;
            }
            let fitting = self.fitting(&client, agent);
            let countable = fitting.filter(counts);
            let owed = countable.shrink_to(&named);
            let chunk = if owed.is_empty() {
                fitting.filter(|resource| !resource.reservations.is_empty())
            } else {
                let more = self.bounded(&client.1, &countable.saturating_sub(&owed), &owed.quantities());
                &(&fitting.saturating_sub(&countable) + &owed) + &more
            };
            self.is_offer(&client, agent, &chunk).then_some((client, chunk))
        })
    }

    /// Second stage: who gets something of this agent anyway.
    fn anything(&self, agent: &AgentId) -> Option<(Client, Resources)> {
        self.clients().into_iter().find_map(|client| {
            let fitting = self.fitting(&client, agent);
            let countable = fitting.filter(counts);
            let kept = self.bounded(&client.1, &countable, &Quantities::default());
            let chunk = &fitting.saturating_sub(&countable) + &kept;
            self.is_offer(&client, agent, &chunk).then_some((client, chunk))
        })
    }
}

fn mix(seed: u64) -> u64 {
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

fn salt(name: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325u64;
    name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
