//! What a leader, and only a leader, does after an entry is applied.
//!
//! Effects name things; whoever performs them looks the rest up in the newest state and skips what is no longer so.
//! They may be performed twice, and every one is listed again by [`open_work`](crate::open_work) when a leader dies
//! before it performed it. A variant that may be lost instead says so here.

use mesarch_types::{
    AgentId, Epoch, FrameworkId, LaunchId, OfferId, OperationId, ProviderId, StreamId, TaskId, UpdateUuid,
};

use crate::command::{ExecutorKey, OutboxPosition};

/// What the ERROR event of a stream says that a newer subscription replaces. Clients match on it.
pub const FAILED_OVER: &str = "Framework failed over";

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Send an outstanding offer to its framework.
    SendOffer {
        /// To whom.
        framework: FrameworkId,
        /// Which.
        offer: OfferId,
    },
    /// Send an outstanding inverse offer to its framework.
    SendInverseOffer {
        /// Who is asked.
        framework: FrameworkId,
        /// To leave which agent.
        agent: AgentId,
    },
    /// Send a task's pending update to its framework.
    SendUpdate {
        /// To whom.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which update.
        uuid: UpdateUuid,
    },
    /// Send what is in the outbox at this position (an update without uuid, RESCIND or FAILURE).
    SendOutbox {
        /// To whom.
        framework: FrameworkId,
        /// Which.
        position: OutboxPosition,
    },
    /// Tell a framework the end of an operation that it wants to hear of.
    SendOperation {
        /// To whom.
        framework: FrameworkId,
        /// Which.
        operation: OperationId,
        /// Of the status; names this use of the operation's id.
        uuid: UpdateUuid,
    },
    /// Close a stream that has been replaced or whose framework ended. May be lost: the stream dies with its leader.
    CloseStream {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        stream: StreamId,
        /// Which subscription.
        epoch: Epoch,
        /// What the ERROR event says; none closes without one.
        error: Option<&'static str>,
    },
    /// Tell an agent what became of its resources, to be stored before anything that rests on it. What is told is what is
    /// so by then.
    SendResources {
        /// Whom.
        agent: AgentId,
    },
    /// Have a resource provider carry out an operation. The agent lets it do so once, however often this comes.
    ApplyOperation {
        /// Where.
        agent: AgentId,
        /// Owner.
        framework: FrameworkId,
        /// Which.
        operation: OperationId,
    },
    /// Tell a resource provider that the end of an operation is known. May be lost: the provider tells it until it hears this.
    AcknowledgeOperation {
        /// Where.
        agent: AgentId,
        /// Whom.
        provider: ProviderId,
        /// Which operation.
        operation: UpdateUuid,
        /// Which status of it.
        status: UpdateUuid,
    },
    /// Send a STAGING task to its agent.
    RunTask {
        /// Where.
        agent: AgentId,
        /// Owner.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which life.
        launch: LaunchId,
    },
    /// Ask the agent to end a task. May be lost only for a life of the task that is not in the table: the agent names
    /// it again in its next update or inventory.
    KillTask {
        /// Where.
        agent: AgentId,
        /// Owner.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which life.
        launch: LaunchId,
    },
    /// Tell the agent that an update is acknowledged. May be lost only where it answers a repeated or unknown update:
    /// the agent repeats that until it hears this.
    SendAcknowledgement {
        /// Where.
        agent: AgentId,
        /// Owner.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which life.
        launch: LaunchId,
        /// Which update.
        uuid: UpdateUuid,
    },
    /// Ask the agent to end an executor.
    ShutdownExecutor(ExecutorKey),
    /// Ask the agent to end everything of a removed framework.
    ShutdownFramework {
        /// Where.
        agent: AgentId,
        /// Whose.
        framework: FrameworkId,
    },
}

impl Effect {
    /// The agent that it is for; none if it is for a framework.
    pub(crate) fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::SendResources { agent }
            | Self::ApplyOperation { agent, .. }
            | Self::AcknowledgeOperation { agent, .. }
            | Self::RunTask { agent, .. }
            | Self::KillTask { agent, .. }
            | Self::SendAcknowledgement { agent, .. }
            | Self::ShutdownFramework { agent, .. } => Some(agent),
            Self::ShutdownExecutor(key) => Some(&key.agent),
            Self::SendOffer { .. }
            | Self::SendInverseOffer { .. }
            | Self::SendUpdate { .. }
            | Self::SendOutbox { .. }
            | Self::SendOperation { .. }
            | Self::CloseStream { .. } => None,
        }
    }
}
