//! What changed, in order, on every replica. Indexes, event streams and metrics are folds over changes, and each fold
//! can be rebuilt from a state.

use mesarch_types::{AgentId, FrameworkId, Millis, OfferId, Role, TaskId, TaskState, resource::Resources};

use crate::command::ExecutorKey;

/// One change. Entities are named, not copied: the reader looks them up in the state that the change led to, except
/// where the entity is gone by then.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A leader began its term.
    TermBegan,
    /// An agent is new, or its spec, attachment or activation changed.
    Agent(AgentId),
    /// An agent is no more (unreachable, gone or removed).
    AgentRemoved(AgentId),
    /// A framework is new, or its spec, roles, suppression, connection changed.
    Framework(FrameworkId),
    /// A framework is no more.
    FrameworkRemoved(FrameworkId),
    /// A framework dropped its refusals for these roles (empty: all).
    Revived {
        /// Who.
        framework: FrameworkId,
        /// Which.
        roles: Vec<Role>,
    },
    /// Resources of an agent are now offered to or used by a framework.
    Taken(Holding),
    /// Resources of an agent are free again.
    Released {
        /// What and whose.
        holding: Holding,
        /// How.
        how: Released,
    },
    /// Some of what a framework holds of an agent became something else. The agent's new total is a change of its own.
    Converted {
        /// What it was, and whose.
        holding: Holding,
        /// What it is, not marked with the role.
        made: Resources,
    },
    /// An offer is outstanding.
    OfferAdded(OfferId),
    /// An offer is no more.
    OfferRemoved {
        /// Which.
        offer: OfferId,
        /// Whose it was.
        framework: FrameworkId,
    },
    /// An inverse offer is outstanding.
    InverseOfferAdded {
        /// Who is asked.
        framework: FrameworkId,
        /// To leave which agent.
        agent: AgentId,
    },
    /// An inverse offer is answered or withdrawn.
    InverseOfferRemoved {
        /// Who was asked.
        framework: FrameworkId,
        /// To leave which agent.
        agent: AgentId,
        /// Cluster time before which the framework does not want to be asked again; none if it did not say.
        until: Option<Millis>,
    },
    /// A task is new.
    TaskAdded(FrameworkId, TaskId),
    /// A task's newest state changed, or an update of it was recorded.
    TaskUpdated {
        /// Owner.
        framework: FrameworkId,
        /// Which.
        task: TaskId,
        /// Now.
        state: TaskState,
    },
    /// A task left the live tasks (it may still be in the bounded history).
    TaskRemoved(FrameworkId, TaskId),
    /// An executor is new.
    ExecutorAdded(ExecutorKey),
    /// An executor is no more.
    ExecutorRemoved(ExecutorKey),
    /// Weights, quotas, priorities, the whitelist or the policy changed.
    Policy,
}

/// Resources of one agent in the hands of one framework for one of its roles.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// Who holds.
    pub framework: FrameworkId,
    /// For which role.
    pub role: Role,
    /// Whose.
    pub agent: AgentId,
    /// What, not marked with the role.
    pub resources: Resources,
}

/// How resources became free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// By DECLINE, or as the rest of an ACCEPT: they wait for the allocation interval, and are not offered to the
    /// same framework and role before `until`.
    Refused {
        /// Cluster time at which the refusal ends; not after now means none.
        until: Millis,
    },
    /// By the end of a task or executor, a rescinded or lost offer, a lost framework: they are offered at once.
    Freed,
}
