//! What operators decided about sharing, and what the roles with quota consume.
//!
//! Consumption is what the allocator counts as well: everything reserved to the role or below it, held or not, and what
//! frameworks in it or below hold of unreserved, non-revocable amounts. It is carried on for roles with quota only, so
//! that a cluster without quota pays nothing for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::{OrdMap, OrdSet};
use mesarch_types::{
    AgentId, FrameworkId, Priority, Quantities, Quota, Resource, Role, Weight, resource::Resources,
};

use crate::{machine::State, model::Agent, step::Step};

/// The policy of a cluster for which none was chosen.
pub const POLICY_DEFAULT: &str = "drf";
/// Most roles with quota, most roles and most frameworks with priorities, each.
pub(crate) const ENTRIES_MAX: usize = 10_000;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sharing {
    /// None: [`POLICY_DEFAULT`].
    pub(crate) policy: Option<Arc<str>>,
    /// Roles that are not named have weight one.
    pub(crate) weights: OrdMap<Role, Weight>,
    /// By top-level role; none of them says nothing.
    pub(crate) quotas: OrdMap<Role, Quota>,
    /// Other than zero.
    pub(crate) role_priorities: OrdMap<Role, Priority>,
    /// Other than zero, of frameworks that are not removed.
    pub(crate) framework_priorities: OrdMap<FrameworkId, Priority>,
    /// Hosts whose agents may be offered; none: all.
    pub(crate) whitelist: Option<OrdSet<Arc<str>>>,
    /// What each role with quota consumes, offers included; without zeros. Follows from agents and books.
    pub(crate) consumed: OrdMap<Role, Quantities>,
}

/// Whether something comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    In,
    Out,
}

/// Consumption by top-level role.
pub(crate) type Consumption = BTreeMap<Role, Quantities>;

impl Step<'_> {
    /// A framework took or gave back something of a role.
    pub(crate) fn count_held(&mut self, role: &Role, resources: &Resources, count: Count) {
        if !self.state.sharing.quotas.is_empty() {
            let amounts = counted(resources);
            self.state.sharing.count(role.top_level(), &amounts, count);
        }
    }

    /// All that an agent makes roles consume comes or goes with it.
    pub(crate) fn count_agent(&mut self, agent: &AgentId, count: Count) {
        if self.state.sharing.quotas.is_empty() {
            return;
        }
        let mut consumed = Consumption::new();
        if let Some(agent) = self.state.agents.get(agent) {
            add_agent(&mut consumed, agent, Books::All);
        }
        for (role, amounts) in &consumed {
            self.state.sharing.count(role.as_str(), amounts, count);
        }
    }
}

impl Sharing {
    fn count(&mut self, top: &str, amounts: &Quantities, count: Count) {
        let Some(sum) = self.consumed.get_mut(top) else { return };
        let new = match count {
            Count::In => sum.saturating_add(amounts),
            Count::Out => sum.saturating_sub(amounts),
        };
        *sum = without_zeros(&new);
    }
}

/// Which holdings count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Books {
    /// In use and offered: what offers are measured by.
    All,
    /// In use only: what operators are told, and what a limit may not be set below.
    Used,
}

impl State {
    /// What every top-level role consumes.
    pub(crate) fn consumption(&self, books: Books) -> Consumption {
        let mut consumed = Consumption::new();
        self.agents().for_each(|agent| add_agent(&mut consumed, agent, books));
        consumed
    }

    /// Counts anew what the roles with quota consume.
    pub(crate) fn recount(&mut self) {
        let consumed = match self.sharing.quotas.is_empty() {
            true => Consumption::new(),
            false => self.consumption(Books::All),
        };
        let of = |role: &Role| without_zeros(&consumed.get(role).cloned().unwrap_or_default());
        self.sharing.consumed = self.sharing.quotas.keys().map(|role| (role.clone(), of(role))).collect();
    }

    /// All that agents have and nobody can take back at any time.
    pub(crate) fn capacity(&self) -> Quantities {
        let totals = self.agents().map(|agent| agent.total().non_revocable().quantities());
        totals.fold(Quantities::default(), |sum, total| sum.saturating_add(&total))
    }
}

/// What counts against a role's quota when a framework of the role holds it.
pub(crate) fn counted(resources: &Resources) -> Quantities {
    resources.filter(Resource::counts_in_quota).quantities()
}

fn add_agent(consumed: &mut Consumption, agent: &Agent, books: Books) {
    let offered = agent.ledger.offered().iter().filter(|_| books == Books::All);
    for ((_, role), held) in agent.ledger.used().iter().chain(offered) {
        add(consumed, role.top_level(), &counted(held));
    }
    let total = agent.total();
    let reserved = |resource: &Resource| resource.reserved_role().map(|role| Role::from(role.top_level()));
    for top in total.iter_counted().filter_map(|(resource, _)| reserved(resource)).collect::<BTreeSet<Role>>()
    {
        let own = total.filter(|resource| reserved(resource).as_ref() == Some(&top));
        add(consumed, top.as_str(), &own.quantities());
    }
}

fn add(consumed: &mut Consumption, top: &str, amounts: &Quantities) {
    if amounts.is_empty() {
        return;
    }
    let sum = consumed.entry(Role::from(top)).or_default();
    *sum = sum.saturating_add(amounts);
}

fn without_zeros(amounts: &Quantities) -> Quantities {
    let positive = amounts.iter().filter(|(_, amount)| !amount.is_zero());
    positive.map(|(kind, amount)| (kind.clone(), amount)).collect()
}
