//! The planner's index: the allocator, kept up to date by folding changes, and rebuilt from a state when a term
//! begins. Both ways lead to the same (a test compares them), short refusals and turns taken apart.

use mesarch_allocator::{Allocator, GiveBack, Stats};
use mesarch_state::{
    Change, Holding, LongFilter, Released, State,
    model::{Agent, Holder},
};
use mesarch_types::{AgentId, Epoch, FrameworkId, Millis, RefuseFilter, Role, Weight};

use crate::config::Config;

/// The allocator and the version of the policy that it has been told.
pub(crate) struct Index {
    pub(crate) allocator: Allocator,
    pub(crate) policy: Epoch,
}

impl Index {
    /// The index of `state`.
    pub(crate) fn rebuild(config: &Config, state: &State) -> Self {
        let allocator = Allocator::new(config.allocator());
        let mut index = Self { allocator, policy: Epoch::default() };
        index.set_weights(state);
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
            Change::FrameworkRemoved(id) => self.allocator.remove_framework(id),
            Change::Revived { framework, roles } => self.allocator.revive(framework, roles),
            Change::Taken(Holding { framework, role, agent, resources }) => {
                self.allocator.take(framework, role, agent, resources);
            }
            Change::Released { holding, how } => self.release(holding, *how, now),
            Change::Policy => self.set_weights(state),
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
    fn set_weights(&mut self, state: &State) {
        for (role, weight) in state.weights() {
            // The edge refuses zero and what is beyond the bound.
            if let Ok(weight) = Weight::from_thousandths(weight) {
                self.allocator.set_weight(role, weight);
            }
        }
        self.policy = state.policy_version();
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
        let share_differs = |id: &FrameworkId| here.framework_share(id) != rebuilt.framework_share(id);
        match state.frameworks().map(|framework| &framework.id).find(|id| share_differs(id)) {
            Some(id) => Err(IndexError::Share(id.clone())),
            None => Ok(()),
        }
    }
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
