//! What can happen next.

use mesarch_agent_core::{MasterMessage, Run, ToMaster};
use mesarch_leader_core::Ticket;
use mesarch_state::{Command, command::OutboxPosition};
use mesarch_types::{
    AgentId, Epoch, Fence, FrameworkId, OfferId, OperationId, StreamId, TaskId, TaskState, UpdateUuid,
};

/// A connection of an agent to a leader; numbers grow.
pub(crate) type ConnId = u64;

/// One thing that happens at its time.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A proposal is on a quorum.
    Commit { term: u64, proposer: Proposer, command: Command },
    /// A proposal found no place.
    NoPlace { term: u64, ticket: Ticket },
    /// What was applied is told to the leader's mind at last.
    Drain { term: u64 },
    /// The next leader is elected.
    Election,
    /// An agent's message arrives.
    Up { conn: ConnId, message: ToMaster },
    /// A leader's message arrives.
    Down { conn: ConnId, fence: Fence, message: Box<MasterMessage> },
    /// A connection that had stalled breaks.
    Broken { agent: usize, conn: ConnId },
    /// What was under way on a link that is torn comes out of it long after, at the leader.
    LateUp { conn: ConnId, message: ToMaster },
    /// The same, at the agent.
    LateDown { conn: ConnId, fence: Fence, message: Box<MasterMessage> },
    /// A ping arrives.
    Ping { conn: ConnId, number: u64 },
    /// Its answer arrives.
    Pong { conn: ConnId, number: u64 },
    /// The leader notices that a connection is gone.
    LeaderEndGone { conn: ConnId },
    /// The agent notices that its connection is gone.
    AgentEndGone { agent: usize, conn: ConnId },
    /// An agent looks for the leader.
    Connect { agent: usize },
    /// An agent's process starts again.
    Start { agent: usize },
    /// An executor does something.
    Executor { agent: usize, run: Run, act: Act },
    /// A scheduler looks for the leader.
    Subscribe { scheduler: usize },
    /// A scheduler's call arrives.
    Call { scheduler: usize, call: Call },
    /// An event arrives at a scheduler.
    Tell { scheduler: usize, epoch: Epoch, news: News },
    /// Outbox events were written to a stream.
    Written { framework: FrameworkId, epoch: Epoch, position: OutboxPosition },
    /// The leader notices that a stream broke.
    StreamGone { framework: FrameworkId, epoch: Epoch },
    /// The next fault, while there are faults.
    Fault,
    /// An operator decides something about an agent.
    Operate,
}

/// Who waits for the fate of a proposal.
#[derive(Clone, Debug)]
pub(crate) enum Proposer {
    /// The leader's mind.
    Mind(Ticket),
    /// A scheduler that subscribes.
    Subscriber(usize),
    /// A scheduler's call; it is not told the outcome.
    Caller,
}

/// What an executor does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Opens its event stream.
    Subscribe,
    /// A task goes on.
    Advance(TaskId, TaskState),
    /// The process ends.
    Exit,
    /// The agent hears of the end.
    Reaped,
}

/// What a scheduler wants.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// As it stands.
    Command(Command),
    /// The same, and again later if no leader is there to take it.
    Insist(Command),
}

/// What a scheduler is told.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// SUBSCRIBED.
    Subscribed { framework: FrameworkId, stream: StreamId, resumed: bool },
    /// The framework has been removed.
    Removed,
    /// OFFERS, one.
    Offer(OfferId),
    /// RESCIND.
    Rescind(OfferId),
    /// UPDATE with a uuid.
    Update { task: TaskId, uuid: UpdateUuid, state: TaskState, agent: AgentId },
    /// UPDATE without one.
    Status { task: TaskId, state: TaskState },
    /// UPDATE_OPERATION_STATUS with a uuid.
    Operation { operation: OperationId, uuid: UpdateUuid },
    /// FAILURE, or what is told of an operation without a uuid.
    Failure,
    /// The stream ended.
    Closed,
}
