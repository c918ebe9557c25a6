//! The planner's index: the allocator, kept up to date by folding changes, and rebuilt from a state when a term
//! begins. Both ways lead to the same (a test compares them), short refusals and turns taken apart.

use std::collections::BTreeSet;

use mesarch_allocator::{Allocator, GiveBack, Registry, Stats};
use mesarch_faults::{Fault, on};
use mesarch_state::{
    Change, Holding, LongFilter, Released, State,
    model::{Agent, Holder},
};
use mesarch_types::{AgentId, Epoch, FrameworkId, Millis, Priority, Quantities, Quota, RefuseFilter, Role};

use crate::config::Config;

/// The allocator, and what it has been told of operators' decisions.
pub(crate) struct Index {
    pub(crate) allocator: Allocator,
    /// The version of these decisions.
    pub(crate) policy: Epoch,
    registry: Registry,
    told: Told,
}

/// Whoever the allocator knows a decision about, so that its end can be told.
#[derive(Default)]
struct Told {
    /// The name of the policy; before anything was told, none.
    policy: Option<String>,
    /// Whether the registry knows it.
    is_known: bool,
    quotas: BTreeSet<Role>,
    roles: BTreeSet<Role>,
    frameworks: BTreeSet<FrameworkId>,
}

impl Index {
    /// The index of `state`.
    pub(crate) fn rebuild(config: &Config, state: &State) -> Self {
        let allocator = Allocator::new(config.allocator(state.term()));
        let registry = config.policies.clone();
        let mut index = Self { allocator, policy: Epoch::default(), registry, told: Told::default() };
        index.set_sharing(state);
        for framework in state.frameworks() {
            index.allocator.set_framework(framework.view());
        }
        for agent in state.agents() {
            index.allocator.set_agent(agent.view());
            index.take_all(agent);
        }
        for filter in state.filters() {
            index.refuse(&filter);
        }
        for (framework, agent, _) in state.inverse_offers() {
            index.allocator.ask_back(framework, agent);
        }
        index
    }

    fn take_all(&mut self, agent: &Agent) {
        let holdings = agent.ledger.used().iter().chain(agent.ledger.offered());
        for ((framework, role), resources) in holdings {
            self.allocator.take(framework, role, &agent.id, resources);
        }
    }

    /// Follows one change. `state` is at least as new as the change; what is gone by then is skipped, for the change
    /// that says so is still to come.
    pub(crate) fn fold(&mut self, change: &Change, state: &State, now: Millis) {
        match change {
            Change::Agent(id) => {
                if let Some(agent) = state.agent(id) {
                    self.allocator.set_agent(agent.view());
                }
            }
            Change::AgentRemoved(id) => self.allocator.remove_agent(id),
            Change::Framework(id) => {
                if let Some(framework) = state.framework(id) {
                    self.allocator.set_framework(framework.view());
                }
            }
            Change::FrameworkRemoved(id) => {
                self.allocator.remove_framework(id);
                if self.told.frameworks.remove(id) {
                    self.allocator.set_framework_priority(id, Priority::default());
                }
            }
            Change::Revived { framework, roles } => self.allocator.revive(framework, roles),
            // Broken: what is offered is not free.
            Change::Taken(_) if on(Fault::OverOffer) => {}
            Change::Taken(Holding { framework, role, agent, resources }) => {
                self.allocator.take(framework, role, agent, resources);
            }
            Change::Released { holding, how } => self.release(holding, *how, now),
            Change::InverseOfferAdded { framework, agent } => self.allocator.ask_back(framework, agent),
            Change::InverseOfferRemoved { framework, agent, until } => {
                self.allocator.answer_inverse(framework, agent, *until);
            }
            Change::Converted { holding: Holding { framework, role, agent, resources }, made } => {
                self.allocator.convert(framework, role, agent, resources, made);
            }
            Change::Policy => self.set_sharing(state),
            Change::TermBegan
            | Change::OfferAdded(_)
            | Change::OfferRemoved { .. }
            | Change::TaskAdded(..)
            | Change::TaskUpdated { .. }
            | Change::TaskRemoved(..)
            | Change::ExecutorAdded(_)
            | Change::ExecutorRemoved(_) => {}
        }
    }
}

impl Index {
    /// The name of the policy in force, if this leader does not know it. It goes by the default then.
    pub(crate) fn unknown_policy(&self) -> Option<&str> {
        self.told.policy.as_deref().filter(|_| !self.told.is_known)
    }

    fn set_sharing(&mut self, state: &State) {
        for (role, weight) in state.weights() {
            self.allocator.set_weight(role, weight);
        }
        self.set_policy(state.policy());
        self.set_quotas(state);
        self.set_priorities(state);
        let hosts = state.whitelist().map(|hosts| hosts.cloned().collect());
        self.allocator.set_whitelist(hosts);
        self.policy = state.policy_version();
    }

    fn set_policy(&mut self, name: &str) {
        if self.told.policy.as_deref() == Some(name) {
            return;
        }
        let policies = self.registry.make(name);
        self.told.policy = Some(name.to_owned());
        self.told.is_known = policies.is_ok();
        self.allocator.set_policies(policies.unwrap_or_default());
    }

    fn set_quotas(&mut self, state: &State) {
        let present: BTreeSet<Role> = state.quotas().map(|quota| quota.role().clone()).collect();
        for gone in self.told.quotas.difference(&present) {
            let none = Quota::new(gone.clone(), Quantities::default(), Quantities::default());
            none.into_iter().for_each(|none| self.allocator.set_quota(none));
        }
        state.quotas().for_each(|quota| self.allocator.set_quota(quota.clone()));
        self.told.quotas = present;
    }

    fn set_priorities(&mut self, state: &State) {
        let roles: BTreeSet<Role> = state.role_priorities().map(|(role, _)| role.clone()).collect();
        for gone in self.told.roles.difference(&roles) {
            self.allocator.set_role_priority(gone, Priority::default());
        }
        state.role_priorities().for_each(|(role, priority)| self.allocator.set_role_priority(role, priority));
        let frameworks: BTreeSet<FrameworkId> =
            state.framework_priorities().map(|(framework, _)| framework.clone()).collect();
        for gone in self.told.frameworks.difference(&frameworks) {
            self.allocator.set_framework_priority(gone, Priority::default());
        }
        for (framework, priority) in state.framework_priorities() {
            self.allocator.set_framework_priority(framework, priority);
        }
        (self.told.roles, self.told.frameworks) = (roles, frameworks);
    }

    fn refuse(&mut self, filter: &LongFilter) {
        self.allocator.refuse(&filter.framework, &filter.role, &filter.agent, filter.filter.clone());
    }

    fn release(&mut self, holding: &Holding, how: Released, now: Millis) {
        let Holding { framework, role, agent, resources } = holding;
        let why = match how {
            Released::Refused { .. } => GiveBack::Declined { now },
            Released::Freed => GiveBack::Freed,
        };
        self.allocator.give_back(framework, role, agent, resources, why);
        if let Released::Refused { until } = how
            && until > now
        {
            let filter = RefuseFilter { refused: resources.clone(), until };
            self.allocator.refuse(framework, role, agent, filter);
        }
    }
}

/// Where the index and the state disagree. It means a bug in one of the two.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// More was released than taken, so many times.
    #[error("more was released than had been taken, {0} times")]
    Unbalanced(u64),
    /// The numbers of agents, frameworks or wishes differ.
    #[error("the index counts other agents, frameworks or wishes than the state")]
    Counts,
    /// What is free on an agent differs.
    #[error("the index has other resources free on agent {0}")]
    Free(AgentId),
    /// What a framework holds in a role on an agent differs.
    #[error("the index books other resources of agent {2} for framework {0} in role {1}")]
    Held(FrameworkId, Role, AgentId),
    /// A framework's share differs.
    #[error("the index has another share for framework {0}")]
    Share(FrameworkId),
    /// What a role with quota consumes differs.
    #[error("the index counts another consumption of role {0}")]
    Consumed(Role),
    /// An inverse offer is outstanding that the index does not know.
    #[error("the index does not know that framework {0} is asked to leave agent {1}")]
    Asked(FrameworkId, AgentId),
}

impl Index {
    /// Compares with an index rebuilt from `state`, whose every change must have been folded. Costs a whole rebuild.
    pub(crate) fn check(&self, config: &Config, state: &State) -> Result<(), IndexError> {
        let (here, rebuilt) = (&self.allocator, Self::rebuild(config, state).allocator);
        let (stats, expect) = (here.stats(), rebuilt.stats());
        if stats.mismatches > 0 {
            return Err(IndexError::Unbalanced(stats.mismatches));
        }
        let counts = |stats: &Stats| (stats.agents, stats.frameworks, stats.clients_wanting);
        if counts(&stats) != counts(&expect) {
            return Err(IndexError::Counts);
        }
        for agent in state.agents() {
            check_agent(here, &rebuilt, agent)?;
        }
        if let Some(quota) = state.quotas().find(|quota| consumption_differs(here, state, quota.role())) {
            return Err(IndexError::Consumed(quota.role().clone()));
        }
        let mut asked = state.inverse_offers();
        if let Some((who, about, _)) = asked.find(|(who, about, _)| !here.is_asked_back(who, about)) {
            return Err(IndexError::Asked(who.clone(), about.clone()));
        }
        let share_differs = |id: &FrameworkId| here.framework_share(id) != rebuilt.framework_share(id);
        match state.frameworks().map(|framework| &framework.id).find(|id| share_differs(id)) {
            Some(id) => Err(IndexError::Share(id.clone())),
            None => Ok(()),
        }
    }
}

/// What the plan is made by must be what `apply` checks it by.
fn consumption_differs(here: &Allocator, state: &State, role: &Role) -> bool {
    let (mine, committed) = (here.consumed(role).unwrap_or_default(), state.consumed(role));
    committed.is_none_or(|committed| !committed.contains(&mine) || !mine.contains(committed))
}

fn check_agent(here: &Allocator, rebuilt: &Allocator, agent: &Agent) -> Result<(), IndexError> {
    if here.free(&agent.id) != rebuilt.free(&agent.id) {
        return Err(IndexError::Free(agent.id.clone()));
    }
    let holders = agent.ledger.used().keys().chain(agent.ledger.offered().keys());
    let differs = |(framework, role): &&Holder| {
        here.held(framework, role, &agent.id) != rebuilt.held(framework, role, &agent.id)
    };
    match holders.into_iter().find(differs) {
        Some((framework, role)) => Err(IndexError::Held(framework.clone(), role.clone(), agent.id.clone())),
        None => Ok(()),
    }
}
