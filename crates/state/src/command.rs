//! Everything that can be in the log.
//!
//! A command carries what the proposer drew or judged (times are in [`At`](mesarch_types::At), uuids and stream ids
//! in the command, syntax already checked); `apply` judges only how it relates to the facts that are stored. A command
//! that ends something names the beginning that it ends.

mod administration;
mod operation;
mod provider;
mod sharing;

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use mesarch_types::{
    AgentId, ClusterId, Epoch, ExecutorId, FrameworkId, LaunchId, Millis, OfferId, Reason, ResourceVersion,
    Role, Source, StreamId, TaskId, TaskState, UpdateUuid,
    attribute::Attribute,
    capability::{AgentCapabilities, FrameworkCapabilities},
    resource::Resources,
};

pub use administration::{
    AnswerInverseOffers, DeactivateAgent, DrainAgent, InverseOfferItem, IssueInverseOffers, Machines,
    MarkAgentGone, ReactivateAgent, SetSchedule, Window,
};
pub use operation::{AcknowledgeOperation, Operation, ResourcesStored, StoredResources};
pub use provider::{OperationUpdate, ProviderState, ProviderWord, RecordOperations, UpdateProviders};
pub use sharing::{
    ConvertResources, OfferRules, SetPolicy, SetPriorities, SetQuota, SetWeights, SetWhitelist,
};

/// One command of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A leader's first command: from here on its effects count, and every stream and link is unproven.
    BeginTerm(BeginTerm),
    /// The cluster goes on to a higher feature level, for good.
    SetLevel(SetLevel),
    /// The outbox of a framework has been written to its stream up to a position.
    EventsDelivered(EventsDelivered),
    /// A new agent asks for an id.
    RegisterAgent(RegisterAgent),
    /// A known agent has a (new) link to the leader.
    AttachAgent(AttachAgent),
    /// An agent's link is gone for good.
    DetachAgent(DetachAgent),
    /// Agents that have been away too long.
    MarkUnreachable(MarkUnreachable),
    /// A scheduler subscribes, anew or again.
    Subscribe(Subscribe),
    /// A framework changes what it says of itself, and stays subscribed.
    UpdateFramework(UpdateFramework),
    /// A scheduler's stream broke.
    Disconnect(Disconnect),
    /// A framework wants no offers for some roles.
    Suppress(FrameworkRoles),
    /// A framework wants offers again, and drops its filters.
    Revive(FrameworkRoles),
    /// A framework ends.
    Teardown(Teardown),
    /// A framework did not come back in time.
    ExpireFailover(ExpireFailover),
    /// The planner's result.
    IssueOffers(IssueOffers),
    /// A framework takes offers and launches tasks on them.
    AcceptOffers(AcceptOffers),
    /// A framework gives offers back.
    DeclineOffers(DeclineOffers),
    /// Offers are withdrawn.
    RescindOffers(RescindOffers),
    /// Status updates from one agent, in its order.
    RecordUpdates(RecordUpdates),
    /// Frameworks acknowledged status updates.
    AcknowledgeUpdates(AcknowledgeUpdates),
    /// The agent has forgotten what was acknowledged or shut down.
    AgentForgot(AgentForgot),
    /// A framework wants a task to end.
    RequestKill(RequestKill),
    /// A framework wants an executor to end.
    RequestShutdown(ExecutorKey),
    /// An executor's process has ended.
    ExecutorExited(ExecutorExited),
    /// An operator sets the weights of roles.
    SetWeights(SetWeights),
    /// An operator sets the quotas of roles.
    SetQuota(SetQuota),
    /// An operator sets priorities of roles and frameworks.
    SetPriorities(SetPriorities),
    /// An operator says on which hosts agents may be offered.
    SetWhitelist(SetWhitelist),
    /// An operator chooses the policy.
    SetPolicy(SetPolicy),
    /// An operator reserves resources of an agent, makes volumes of them, or takes that back.
    ConvertResources(ConvertResources),
    /// An operator wants an agent to be offered no more and all that runs on it to end.
    DrainAgent(DrainAgent),
    /// An operator wants an agent to be offered no more.
    DeactivateAgent(DeactivateAgent),
    /// An operator takes either back, once no drain is under way.
    ReactivateAgent(ReactivateAgent),
    /// An operator declares an agent gone for ever.
    MarkAgentGone(MarkAgentGone),
    /// An operator says which machines will be down, and when.
    SetSchedule(SetSchedule),
    /// Scheduled machines go down.
    StartMaintenance(Machines),
    /// Machines that were down are up again.
    StopMaintenance(Machines),
    /// The planner's requests to leave agents whose machines will be down.
    IssueInverseOffers(IssueInverseOffers),
    /// A framework says whether it will leave.
    AnswerInverseOffers(AnswerInverseOffers),
    /// An agent has stored what its resources were made into.
    ResourcesStored(ResourcesStored),
    /// A framework acknowledged the end of an operation.
    AcknowledgeOperation(AcknowledgeOperation),
    /// An agent tells of its resource providers.
    UpdateProviders(UpdateProviders),
    /// Resource providers tell how operations ended.
    RecordOperations(RecordOperations),
}

/// See [`Command::BeginTerm`]. The first one of a cluster fixes `cluster`; a later one that differs is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct BeginTerm {
    /// The cluster that the proposer's data directory belongs to.
    pub cluster: ClusterId,
    /// Raised by restore and recovery; never lowered.
    pub incarnation: u64,
    /// The feature level that a new cluster starts with; ignored once there is one, which rises by [`SetLevel`].
    pub level: u32,
    /// The policy that a new cluster starts with; ignored once there is one. None: the default.
    pub policy: Option<Arc<str>>,
}

/// See [`Command::SetLevel`]. Proposed only after every member has said that it knows the level, and with it this command.
/// One that is not above the present level is refused; a replica that does not know the level stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLevel {
    /// The level from here on.
    pub level: u32,
}

/// See [`Command::EventsDelivered`].
#[derive(Clone, Debug, PartialEq)]
pub struct EventsDelivered {
    /// Whose outbox.
    pub framework: FrameworkId,
    /// The subscription whose stream took them.
    pub stream: Epoch,
    /// Everything up to and including this outbox position is written.
    pub up_to: OutboxPosition,
}

/// A place in a framework's outbox; positions grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxPosition(pub u64);

/// What an agent says of itself: the typed fields that decisions read, beside the message as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSpec {
    /// Canonical `mesos.v1.AgentInfo` (without id).
    pub info: Bytes,
    /// Name by which people and whitelists know the machine.
    pub hostname: Arc<str>,
    /// Port of the agent's own HTTP API.
    pub port: u16,
    /// Everything the agent has to give.
    pub total: Resources,
    /// In the operator's order.
    pub attributes: Arc<[Attribute]>,
    /// What the agent can do.
    pub capabilities: AgentCapabilities,
    /// The agent software's version, for display.
    pub version: Arc<str>,
}

/// One link of an agent to a leader. Ordered: links of a later term, or later ones of the same term, are newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// The term of the leader that holds it.
    pub term: u64,
    /// Numbered by that leader.
    pub serial: u64,
}

/// See [`Command::RegisterAgent`].
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterAgent {
    /// Drawn and stored by the agent before it first asks: the same nonce gets the same id again.
    pub nonce: [u8; 16],
    /// Who it is.
    pub spec: AgentSpec,
    /// The link it asks on; it is attached by it at once.
    pub link: Link,
}

/// See [`Command::AttachAgent`].
#[derive(Clone, Debug, PartialEq)]
pub struct AttachAgent {
    /// Who.
    pub agent: AgentId,
    /// The new link; refused if the agent already has a newer one.
    pub link: Link,
    /// Present when the agent's info or resources changed since the masters last heard.
    pub spec: Option<AgentSpec>,
    /// Present when the digests differed (or the agent is unknown or unreachable): all that the agent runs.
    pub inventory: Option<Inventory>,
    /// What of its resources it has stored; the default if nothing, or if it is of a version that does not.
    pub stored: ResourceVersion,
}

/// Everything that an agent runs or has not yet had acknowledged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// Tasks that the agent knows, in any order.
    pub tasks: Vec<InventoryTask>,
    /// Executors that run, with the frameworks that own them.
    pub executors: Vec<InventoryExecutor>,
    /// Frameworks as the agent remembers them: lets a master that knows less adopt what runs.
    pub frameworks: Vec<(FrameworkId, Bytes)>,
    /// The newest launch that the agent has taken: what it does not list of those up to here is over.
    pub newest: LaunchId,
    /// What its resources were made into, as it has stored it: lets masters that know less adopt it.
    pub resources: Option<StoredResources>,
}

/// A task as its agent knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct InventoryTask {
    /// Owner.
    pub framework: FrameworkId,
    /// Which life of the id.
    pub launch: LaunchId,
    /// What it is; lets a master that knows less adopt it.
    pub spec: TaskSpec,
    /// Newest state that the agent knows.
    pub state: TaskState,
    /// The last update that its framework acknowledged, as the agent stored it.
    pub acknowledged: Option<UpdateUuid>,
}

/// An executor as its agent knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct InventoryExecutor {
    /// Owner.
    pub framework: FrameworkId,
    /// What it is.
    pub spec: ExecutorSpec,
}

/// See [`Command::DetachAgent`].
#[derive(Clone, Debug, PartialEq)]
pub struct DetachAgent {
    /// Who.
    pub agent: AgentId,
    /// The link that ended; refused if the agent has a newer one.
    pub link: Link,
}

/// See [`Command::MarkUnreachable`].
#[derive(Clone, Debug, PartialEq)]
pub struct MarkUnreachable {
    /// Who, and the last link each had; an agent with a newer link is left alone.
    pub agents: Vec<(AgentId, Link)>,
}

/// What a framework says of itself: the typed fields that decisions read, beside the message as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameworkSpec {
    /// Canonical `mesos.v1.FrameworkInfo`; its id is set by `apply` readers, not stored inside.
    pub info: Bytes,
    /// Display name.
    pub name: Arc<str>,
    /// Default user of its tasks.
    pub user: Arc<str>,
    /// Who may speak for it.
    pub principal: Option<Arc<str>>,
    /// Roles it subscribes to (one for the old style).
    pub roles: BTreeSet<Role>,
    /// What it can deal with.
    pub capabilities: FrameworkCapabilities,
    /// Whether its tasks survive a broken agent link and an agent restart.
    pub checkpoint: bool,
    /// How long it may be away before it is removed.
    pub failover_timeout: Millis,
    /// What it says about its offers.
    pub rules: Arc<OfferRules>,
}

/// See [`Command::Subscribe`].
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe {
    /// Set on a re-subscription.
    pub framework: Option<FrameworkId>,
    /// Replaces what was known (user, checkpoint and principal excepted, by Mesos' rule).
    pub spec: FrameworkSpec,
    /// Roles for which it wants no offers now.
    pub suppressed: BTreeSet<Role>,
    /// Drawn by the master that holds the stream.
    pub stream: StreamId,
    /// The stream that the client wants to go on with; if it is the current one it stays valid, with its offers.
    pub resume: Option<StreamId>,
}

/// See [`Command::UpdateFramework`]. One that changes the user, the principal or whether it checkpoints is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateFramework {
    /// Who.
    pub framework: FrameworkId,
    /// Replaces what was known.
    pub spec: FrameworkSpec,
    /// Roles for which it wants no offers now; the others it wants.
    pub suppressed: BTreeSet<Role>,
}

/// See [`Command::Disconnect`].
#[derive(Clone, Debug, PartialEq)]
pub struct Disconnect {
    /// Who.
    pub framework: FrameworkId,
    /// The subscription whose stream broke.
    pub stream: Epoch,
}

/// A framework and some of its roles; no role named means all.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameworkRoles {
    /// Who.
    pub framework: FrameworkId,
    /// Which; empty means all that it subscribes to. One that it does not subscribe to refuses the command.
    pub roles: BTreeSet<Role>,
}

/// See [`Command::Teardown`].
#[derive(Clone, Debug, PartialEq)]
pub struct Teardown {
    /// Who.
    pub framework: FrameworkId,
}

/// See [`Command::ExpireFailover`].
#[derive(Clone, Debug, PartialEq)]
pub struct ExpireFailover {
    /// Who.
    pub framework: FrameworkId,
    /// The disconnection that lasted too long; refused once it subscribed again.
    pub disconnected: Epoch,
}

/// See [`Command::IssueOffers`]. At most 256 items.
#[derive(Clone, Debug, PartialEq)]
pub struct IssueOffers {
    /// The version of weights, quota and policy that it was planned on.
    pub policy: Epoch,
    /// Each is judged on its own.
    pub items: Vec<OfferItem>,
}

/// One planned offer.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferItem {
    /// To whom.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: Role,
    /// Whose resources.
    pub agent: AgentId,
    /// What; not yet marked as allocated to the role.
    pub resources: Resources,
    /// [`Framework::version`](crate::model::Framework) it was planned on.
    pub framework_version: Epoch,
    /// [`Agent::version`](crate::model::Agent) it was planned on.
    pub agent_version: Epoch,
}

/// See [`Command::AcceptOffers`].
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptOffers {
    /// Who.
    pub framework: FrameworkId,
    /// Offers of one agent and one role; all are used up.
    pub offers: Vec<OfferId>,
    /// In the framework's order; at most 1,000.
    pub launches: Vec<Launch>,
    /// Beside the launches, in order; not below level 3.
    pub operations: Vec<Operation>,
    /// What becomes of the rest.
    pub refuse: Refuse,
}

/// For how long the framework does not want the same resources again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refuse {
    /// Zero: no filter, but the allocation interval still applies.
    pub duration: Millis,
}

/// One task of an ACCEPT.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Where the framework says that it is to run (`TaskInfo.agent_id`): updates that refuse it name this agent. None in
    /// entries that are older than the field.
    pub agent: Option<AgentId>,
    /// The task.
    pub task: Judged,
}

/// A task of an ACCEPT, as the edge judged it.
#[derive(Clone, Debug, PartialEq)]
pub enum Judged {
    /// Its description is in order.
    Valid(TaskSpec),
    /// Its description is not; the framework is told TASK_ERROR in its place.
    Invalid {
        /// Which.
        task: TaskId,
        /// What is wrong with it, for the framework.
        message: Arc<str>,
    },
}

impl Launch {
    /// The id that the framework gave to the task.
    pub fn task_id(&self) -> &TaskId {
        match &self.task {
            Judged::Valid(spec) => &spec.id,
            Judged::Invalid { task, .. } => task,
        }
    }
}

/// A task as its framework described it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// Which.
    pub id: TaskId,
    /// Canonical `mesos.v1.TaskInfo`.
    pub info: Bytes,
    /// What it uses beside its executor, marked with the role.
    pub resources: Resources,
    /// None: the agent's built-in command executor, outside the accounting.
    pub executor: Option<ExecutorSpec>,
}

/// An executor as its framework described it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutorSpec {
    /// Which.
    pub id: ExecutorId,
    /// Canonical `mesos.v1.ExecutorInfo`; equal bytes mean the same executor.
    pub info: Bytes,
    /// What it uses itself, as long as it runs.
    pub resources: Resources,
}

/// See [`Command::DeclineOffers`]. Offers that are unknown are ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclineOffers {
    /// Who.
    pub framework: FrameworkId,
    /// Which.
    pub offers: Vec<OfferId>,
    /// For how long it does not want them again.
    pub refuse: Refuse,
}

/// See [`Command::RescindOffers`]. Offers that are gone already are ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct RescindOffers {
    /// Which.
    pub offers: Vec<OfferId>,
}

/// See [`Command::RecordUpdates`].
#[derive(Clone, Debug, PartialEq)]
pub struct RecordUpdates {
    /// Who reports.
    pub agent: AgentId,
    /// Each is judged on its own.
    pub updates: Vec<StatusUpdate>,
}

/// One status update of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate {
    /// Owner of the task.
    pub framework: FrameworkId,
    /// Which task.
    pub task: TaskId,
    /// Which life of it.
    pub launch: LaunchId,
    /// Canonical `mesos.v1.TaskStatus`, complete, with its uuid.
    pub status: Bytes,
    /// Of this update.
    pub state: TaskState,
    /// Newest state that the agent knows, maybe ahead of `state`.
    pub latest: TaskState,
    /// Names this update in its acknowledgement.
    pub uuid: UpdateUuid,
    /// Who made it.
    pub source: Source,
    /// Why, if said.
    pub reason: Option<Reason>,
}

/// See [`Command::AcknowledgeUpdates`].
#[derive(Clone, Debug, PartialEq)]
pub struct AcknowledgeUpdates {
    /// Each is judged on its own.
    pub items: Vec<Acknowledgement>,
}

/// A framework has processed one update.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledgement {
    /// Who.
    pub framework: FrameworkId,
    /// Where the task runs, as the framework says.
    pub agent: AgentId,
    /// Which task.
    pub task: TaskId,
    /// Which update.
    pub uuid: UpdateUuid,
}

/// See [`Command::AgentForgot`].
#[derive(Clone, Debug, PartialEq)]
pub struct AgentForgot {
    /// Who.
    pub agent: AgentId,
    /// Acknowledgements that it has stored (a terminal one: the task is forgotten).
    pub acknowledged: Vec<(FrameworkId, TaskId, LaunchId, UpdateUuid)>,
    /// Frameworks of which nothing runs there any more.
    pub frameworks: Vec<FrameworkId>,
}

/// See [`Command::RequestKill`].
#[derive(Clone, Debug, PartialEq)]
pub struct RequestKill {
    /// Who asks.
    pub framework: FrameworkId,
    /// Which task.
    pub task: TaskId,
    /// If given and wrong, nothing happens.
    pub agent: Option<AgentId>,
    /// Canonical `mesos.v1.KillPolicy`, if given.
    pub policy: Option<Bytes>,
}

/// One executor of one framework on one agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutorKey {
    /// Owner.
    pub framework: FrameworkId,
    /// Where.
    pub agent: AgentId,
    /// Which.
    pub executor: ExecutorId,
}

/// See [`Command::ExecutorExited`].
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutorExited {
    /// Which.
    pub executor: ExecutorKey,
    /// The newest launch that its agent had taken when it ended. Launches reach an agent in their order, so one that is
    /// newer will start another run, and the executor stays. None in entries that are older than the field.
    pub newest: Option<LaunchId>,
    /// Wait status of its process; −1 if unknown.
    pub status: i32,
}
