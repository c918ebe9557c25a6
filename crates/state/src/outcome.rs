//! What the proposer of a command is told. A refusal is an outcome: all replicas agree on it.

use mesarch_types::{
    AgentId, ConversionError, Epoch, FrameworkId, LaunchId, OfferId, QuotaError, Role, TaskId,
};

use crate::model::MachineId;

/// The answer to one command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done; nothing to tell.
    Done,
    /// BeginTerm took effect.
    TermBegun,
    /// The agent has this id and is attached.
    AgentAttached {
        /// Its id, given out now or known before.
        agent: AgentId,
    },
    /// The framework is subscribed.
    Subscribed {
        /// Its id, given out now or known before.
        framework: FrameworkId,
        /// Names this subscription.
        stream: Epoch,
        /// Whether the resumed stream and its offers stayed valid.
        resumed: bool,
    },
    /// One result per planned offer, in order.
    Issued(Vec<Result<OfferId, OfferRefusal>>),
    /// One result per launch, in order.
    Accepted(Vec<LaunchResult>),
    /// One result per update, in order.
    Recorded(Vec<Result<(), UpdateRefusal>>),
    /// One result per acknowledgement, in order.
    Acknowledged(Vec<Result<(), AckRefusal>>),
    /// An operator's change is made.
    Changed {
        /// Offers that were withdrawn for it.
        rescinded: u32,
    },
    /// An operator's change is not possible as things are; nothing was changed.
    Denied(Denial),
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why an operator's change is not possible. Names the field and the bound.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the text says it, and the fields are what it names")]
pub enum Denial {
    #[error("quota of {role}: {error}")]
    Quota { role: Role, error: QuotaError },
    #[error("role: {0} has a quota already")]
    HasQuota(Role),
    #[error("role: {0} has no quota")]
    HasNoQuota(Role),
    #[error("agent: there is no {0}")]
    UnknownAgent(AgentId),
    #[error("resources: {0}")]
    Conversion(ConversionError),
    #[error("agent: {0} is not deactivated")]
    NotDeactivated(AgentId),
    #[error("agent: {0} is being drained; it can be reactivated once it is drained")]
    Draining(AgentId),
    #[error("agent: the machine of {0} is in the maintenance schedule")]
    Scheduled(AgentId),
    #[error("machine: {0} is down and must stay in the schedule until its maintenance is stopped")]
    MachineDown(MachineId),
    #[error("machine: {0} is not draining: it is not in the maintenance schedule, or down already")]
    NotScheduled(MachineId),
    #[error("machine: {0} is not down")]
    NotDown(MachineId),
}

/// What became of one task of an ACCEPT.
#[derive(Clone, Debug, PartialEq)]
pub enum LaunchResult {
    /// It is STAGING under this launch id.
    Launched(LaunchId),
    /// The framework has this task live already: it is told the known state, nothing is launched.
    AlreadyLive(TaskId),
    /// The framework is told the reason in a status update.
    Refused(LaunchRefusal),
}

/// Why one task was not launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text says it")]
pub enum LaunchRefusal {
    #[error("the task's description is invalid")]
    Invalid,
    #[error("something is wrong with the group of the task")]
    InvalidGroup,
    #[error("an offer is not outstanding, or the offers are not of one agent and one role")]
    InvalidOffers,
    #[error("the task and its executor use more than what is left of the offers")]
    Resources,
    #[error("another executor with the same id runs on the agent")]
    ExecutorDiffers,
    #[error("the executor is to end")]
    ExecutorEnding,
}

/// Why one planned offer was not issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text says it")]
pub enum OfferRefusal {
    #[error("the framework, or its roles, changed since the plan")]
    FrameworkChanged,
    #[error("the agent changed since the plan")]
    AgentChanged,
    #[error("weights, quota or policy changed since the plan")]
    PolicyChanged,
    #[error("the agent does not have that much left")]
    Resources,
    #[error("the role's quota limit leaves no room for it")]
    Quota,
}

/// Why one status update was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text says it")]
pub enum UpdateRefusal {
    #[error("no such task, or an earlier life of it")]
    UnknownTask,
    #[error("recorded before and not yet acknowledged")]
    Pending,
    #[error("recorded and acknowledged before")]
    Acknowledged,
    #[error("an earlier update of the task is not yet acknowledged")]
    OutOfOrder,
    #[error("the framework is removed")]
    FrameworkRemoved,
    #[error("the agent is unknown")]
    AgentUnknown,
}

/// Why an acknowledgement had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text says it")]
pub enum AckRefusal {
    #[error("no such task on that agent")]
    UnknownTask,
    #[error("not the uuid of the task's pending update")]
    NotPending,
}

/// Why a whole command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text says it")]
pub enum Refusal {
    #[error("the log belongs to another cluster")]
    WrongCluster,
    #[error("the incarnation would go back")]
    StaleIncarnation,
    #[error("the feature level would not rise")]
    StaleLevel,
    #[error("no such framework")]
    UnknownFramework,
    #[error("Framework has been removed")]
    FrameworkRemoved,
    #[error("the framework's principal cannot change")]
    PrincipalChanged,
    #[error("the framework's user cannot change")]
    UserChanged,
    #[error("whether the framework checkpoints cannot change")]
    CheckpointChanged,
    #[error("the cluster's feature level does not have this yet")]
    LevelTooLow,
    #[error("a newer subscription exists")]
    StaleStream,
    #[error("the framework is subscribed again")]
    Resubscribed,
    #[error("a role is not among the framework's roles")]
    UnknownRole,
    #[error("no such agent")]
    UnknownAgent,
    #[error("the agent has a newer link")]
    StaleLink,
    #[error("an inventory is needed")]
    InventoryNeeded,
    #[error(
        "the agent brings less than was reserved or made into volumes of it; undo that, or bring as much as before"
    )]
    Shrunk,
    #[error("an operator declared the agent gone")]
    AgentGone,
    #[error("the agent's machine is down for maintenance")]
    MachineDown,
    #[error("no such task")]
    UnknownTask,
    #[error("no such operation, or not the uuid of its end")]
    UnknownOperation,
    #[error("no such executor")]
    UnknownExecutor,
    #[error("a newer launch starts the executor again")]
    StaleExit,
    #[error("there are as many entries of this kind as there may be")]
    Full,
}
