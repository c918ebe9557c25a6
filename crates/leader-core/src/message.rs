//! What goes in and what comes out, as data.

use mesarch_state::{
    Change, Command, Effect, Outcome,
    command::{AgentSpec, Inventory, Link, OperationUpdate, OutboxPosition, ProviderWord, StatusUpdate},
    outcome::Refusal,
};
use mesarch_types::{
    AgentId, Epoch, ExecutorId, Fence, FrameworkId, LaunchId, OperationId, ProviderId, ResourceVersion,
    TaskId, UpdateUuid, digest::SetHash,
};

/// Names one proposal of one [`Leader`](crate::Leader); numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Why a proposal is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// There was no room, or its place was taken back: it may be made again.
    NoPlace,
    /// No entry holds it: made again it would be lost again.
    TooLarge,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An entry of this term was applied. Every entry comes, once, in log order.
    Applied {
        /// Log index of the entry.
        index: u64,
        /// Of all its commands, in order.
        changes: Vec<Change>,
        /// Of all its commands, in order.
        effects: Vec<Effect>,
    },
    /// A proposal was applied. May come before or after the [`Input::Applied`] of its index.
    Answered {
        /// Which proposal.
        ticket: Ticket,
        /// What `apply` said.
        outcome: Outcome,
        /// Log index of the entry it was in.
        index: u64,
    },
    /// A proposal found no place and **is not and will not be** in the log. A proposal whose fate is unknown is not
    /// lost: its fate is told later, or the term ends.
    Lost {
        /// Which proposal.
        ticket: Ticket,
        /// Why.
        why: Loss,
    },
    /// An agent opened a stream and said who it is.
    LinkOpened {
        /// Named by the caller: this term, and a serial that grows.
        link: Link,
        /// The stream's first message.
        hello: Hello,
    },
    /// The answer to [`ToAgent::InventoryRequest`].
    LinkInventory {
        /// From whom.
        link: Link,
        /// All that the agent runs.
        inventory: Inventory,
    },
    /// A stream ended, or was closed on request; unknown links are ignored.
    LinkClosed {
        /// Which.
        link: Link,
    },
    /// An agent reported something.
    FromAgent {
        /// From whom.
        link: Link,
        /// What.
        message: FromAgent,
    },
    /// The answer to [`ToAgent::Ping`].
    Pong {
        /// From whom.
        link: Link,
        /// As in the ping.
        number: u64,
    },
    /// A scheduler's event stream is in place for a subscription that is applied.
    StreamOpened {
        /// Whose.
        framework: FrameworkId,
        /// The subscription, as its outcome named it.
        epoch: Epoch,
    },
    /// A scheduler's event stream broke or was closed.
    StreamClosed {
        /// Whose.
        framework: FrameworkId,
        /// The subscription that it belonged to.
        epoch: Epoch,
    },
    /// Events of a framework's outbox were written to its stream.
    Delivered {
        /// Whose.
        framework: FrameworkId,
        /// The subscription whose stream took them.
        epoch: Epoch,
        /// All up to and including this one.
        up_to: OutboxPosition,
    },
    /// The time that [`Leader::next_wake`](crate::Leader::next_wake) named has come.
    Wake,
}

/// The first message of an agent's stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Hello {
    /// A new agent; repeated with the same nonce until answered.
    Register {
        /// Drawn by the agent.
        nonce: [u8; 16],
        /// Who it is.
        spec: AgentSpec,
    },
    /// A known agent on a new link.
    Attach(Attach),
}

/// See [`Hello::Attach`].
#[derive(Clone, Debug, PartialEq)]
pub struct Attach {
    /// Who.
    pub agent: AgentId,
    /// Who it is now; always sent, compared with what is stored.
    pub spec: AgentSpec,
    /// Form of the digest; only [`DIGEST_FORM`](mesarch_types::digest::DIGEST_FORM) can be compared.
    pub digest_form: u32,
    /// Over the tasks that are not listed.
    pub digest: SetHash,
    /// Tasks in launch, with unacknowledged updates, or changed since the last link broke.
    pub listed: Vec<TaskKey>,
    /// Too many tasks to list.
    pub inventory_wanted: bool,
    /// The highest fence that the agent has obeyed.
    pub highest: Option<Fence>,
    /// What it has stored of its resources; the default if nothing.
    pub stored: ResourceVersion,
}

/// One life of one task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskKey {
    /// Owner.
    pub framework: FrameworkId,
    /// Which task.
    pub task: TaskId,
    /// Which life.
    pub launch: LaunchId,
}

impl TaskKey {
    pub(crate) fn parts(&self) -> (FrameworkId, TaskId, LaunchId) {
        (self.framework.clone(), self.task.clone(), self.launch)
    }
}

/// What an attached agent reports.
#[derive(Clone, Debug, PartialEq)]
pub enum FromAgent {
    /// Status updates in the agent's order, repeated until acknowledged.
    Updates(Vec<StatusUpdate>),
    /// What the masters may forget.
    Forgot {
        /// Acknowledgements that it has stored.
        acknowledged: Vec<(FrameworkId, TaskId, LaunchId, UpdateUuid)>,
        /// Frameworks of which nothing runs there any more.
        frameworks: Vec<FrameworkId>,
    },
    /// It has stored what it was told of its resources, and volumes are as that says.
    ResourcesStored(ResourceVersion),
    /// Its resource providers.
    Providers {
        /// Counted on this link.
        sequence: u64,
        /// All of them.
        providers: Vec<ProviderWord>,
    },
    /// How operations stand, by its resource providers; repeated until acknowledged.
    Operations(Vec<OperationUpdate>),
    /// No run of an executor is there or awaited any more; repeated until [`ToAgent::ExecutorExitNoted`].
    ExecutorExited {
        /// Owner.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
        /// The newest launch that the agent had taken by then.
        newest: LaunchId,
        /// Wait status; −1 if unknown.
        status: i32,
    },
}

/// One thing to do.
#[expect(clippy::large_enum_variant, reason = "what is proposed is most of what comes out")]
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Put a command into the log; tell its fate with [`Input::Answered`] or [`Input::Lost`].
    Propose {
        /// Names it.
        ticket: Ticket,
        /// What.
        command: Command,
    },
    /// Tell a framework something. Looked up in the newest state; skipped if no longer so.
    Perform(Effect),
    /// Send to an agent. Messages of one link are sent in this order.
    Send {
        /// On which link.
        link: Link,
        /// What.
        message: ToAgent,
    },
    /// End a link. The leader has forgotten it already; a later [`Input::LinkClosed`] is harmless.
    CloseLink {
        /// Which.
        link: Link,
        /// Why, for the agent and the log.
        reason: CloseReason,
    },
}

/// A message to an agent. Bodies (`TaskInfo`, kill policy, `FrameworkInfo`) are looked up in the newest state by whoever
/// sends; a message about something that is no more is skipped.
#[derive(Clone, Debug, PartialEq)]
pub enum ToAgent {
    /// The leader knows the agent; everything else follows this.
    Attached {
        /// Its id.
        agent: AgentId,
        /// How it was recognised, for the metrics.
        how: How,
    },
    /// Tell all that you run.
    InventoryRequest,
    /// Store what became of your resources; idempotent on its version.
    Resources {
        /// To whom.
        agent: AgentId,
    },
    /// Have a resource provider carry out an operation; idempotent on its uuid.
    ApplyOperation {
        /// Owner.
        framework: FrameworkId,
        /// Which.
        operation: OperationId,
    },
    /// The end of an operation that a resource provider told is in the log, or of no interest.
    OperationAcknowledged {
        /// Who told.
        provider: ProviderId,
        /// Which operation.
        operation: UpdateUuid,
        /// Which status of it.
        status: UpdateUuid,
    },
    /// Start a task; idempotent on its launch id.
    RunTask {
        /// Owner.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which life.
        launch: LaunchId,
    },
    /// End a task.
    KillTask {
        /// Owner.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which life.
        launch: LaunchId,
    },
    /// An update is acknowledged.
    Acknowledged {
        /// Owner.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which life.
        launch: LaunchId,
        /// Which update.
        uuid: UpdateUuid,
    },
    /// End an executor.
    ShutdownExecutor {
        /// Owner.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
    },
    /// End everything of a framework.
    ShutdownFramework {
        /// Which.
        framework: FrameworkId,
    },
    /// The end of an executor is in the log, or says nothing that counts.
    ExecutorExitNoted {
        /// Owner.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
        /// As it was reported.
        newest: LaunchId,
    },
    /// End everything, and yourself: the masters never take this agent again, or not until its machine is up.
    Shutdown {
        /// Why, for the agent's log.
        reason: CloseReason,
    },
    /// Answer with the number.
    Ping {
        /// Grows from 1 on each link.
        number: u64,
    },
}

/// How an agent was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// As a new one.
    Registered,
    /// Its digest told what the masters knew; nothing else was sent.
    Digest,
    /// By inventory: the digests differed.
    Differed,
    /// By inventory: it had more to list than fits, or speaks another form of the digest.
    Wanted,
    /// By inventory: the masters did not know it, or had given it up.
    Unknown,
}

/// Why the leader ends a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text says it")]
pub enum CloseReason {
    #[error("the agent opened a newer link")]
    Replaced,
    #[error("the agent was given up; it must attach again with its inventory")]
    Unreachable,
    #[error("the agent's attachment on this link has ended; it must attach again")]
    Detached,
    #[error("no inventory came in time")]
    NoInventory,
    #[error("what the agent tells of itself and of what it runs is larger than any log entry")]
    TooLarge,
    #[error("the agent belongs to another cluster")]
    ForeignCluster,
    #[error("the agent has obeyed a newer leader than this one")]
    StaleLeader,
    #[error("an operator declared the agent gone")]
    Gone,
    #[error("the agent's machine is down for maintenance")]
    MachineDown,
    #[error("the masters refused the agent")]
    Refused(#[source] Refusal),
}
