//! The state, and the one way in.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use mesarch_types::{AgentId, At, ClusterId, Epoch, FrameworkId, LaunchId, Millis, OfferId, WallMillis};

use crate::{
    change::Change,
    command::{Command, ExecutorKey},
    effect::Effect,
    filters::Filters,
    model::{
        Agent, Executor, Framework, GoneAgent, Maintenance, Offer, Operation, OperationKey, RemovedFramework,
        Task, TaskGroup, TaskKey, UnreachableAgent,
    },
    outcome::{Outcome, Refusal},
    sharing::Sharing,
    step::Step,
};

/// The highest feature level that this version understands. Any change of what a command does to any state raises it,
/// so that replicas of different versions agree as long as the cluster stays on the lower level.
pub const FEATURE_LEVEL_MAX: u32 = 5;

/// From this level on, updates that refuse a task of an ACCEPT name the agent that the task names, and an ACCEPT whose
/// offers are good answers for a task that is live already with its known state, as one whose offers are gone does. An
/// agent that comes back with an earlier life of a task than the newest one in the history is told to end it.
///
/// And executors are named by launches, as tasks are: the end of one counts only for launches that its agent had taken,
/// one that is to end gets no more tasks, and the framework hears of one that an inventory does not list. An agent whose
/// link ended together with something that may run on there comes back with its inventory.
pub(crate) const LEVEL_TRUE_LIVES: u32 = 2;

/// From this level on the log may hold quotas, priorities, whitelists, policies, operators' reservations and
/// frameworks' rules about their offers. Older versions stop at such a command, so none is proposed below it.
pub const LEVEL_SHARING: u32 = 2;

/// From this level on operators may drain, deactivate and give up agents, and schedule maintenance. Nothing of it is in
/// the states of lower levels, so what the other commands do there is what it was.
pub const LEVEL_ADMIN: u32 = 3;

/// From this level on frameworks may change what they say of themselves without a new subscription, and ACCEPT may hold
/// operations on resources beside launches. Agents are told what became of their resources, and store it.
pub const LEVEL_OPERATIONS: u32 = 3;

/// From this level on an ACCEPT may launch groups of tasks, which reach their agent as one. Below it every task of an
/// ACCEPT is on its own.
pub const LEVEL_GROUPS: u32 = 4;

/// From this level on agents may have resource providers, and ACCEPT may hold operations on what these bring. Nothing of
/// it is in the states of lower levels.
pub const LEVEL_PROVIDERS: u32 = 4;

/// From this level on operators may reserve otherwise what is reserved already. Nothing of it is in the states of lower
/// levels.
pub const LEVEL_RERESERVE: u32 = 5;

/// From this level on a change of quota may rest on whether its roles have one. Below it only the leader looks, and
/// nothing but its own changes can wait for that.
pub const LEVEL_CONDITIONS: u32 = 5;

/// All that the cluster must not forget. Read it through its methods; [`State::apply`] is the only writer.
///
/// A clone costs a few counters and shares what is equal.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(crate) meta: Meta,
    pub(crate) agents: OrdMap<AgentId, Arc<Agent>>,
    /// Lets an agent that asks twice get one id. Unreachable agents included.
    pub(crate) nonces: OrdMap<[u8; 16], AgentId>,
    pub(crate) unreachable: OrdMap<AgentId, Arc<UnreachableAgent>>,
    /// The unreachable agents by age: the oldest is forgotten when there are too many.
    pub(crate) unreachable_by_age: OrdSet<(Epoch, AgentId)>,
    /// Agents that operators gave up.
    pub(crate) gone: OrdMap<AgentId, GoneAgent>,
    /// The gone agents by age: the oldest is forgotten when there are too many.
    pub(crate) gone_by_age: OrdSet<(Epoch, AgentId)>,
    pub(crate) frameworks: OrdMap<FrameworkId, Arc<Framework>>,
    pub(crate) removed: OrdMap<FrameworkId, Arc<RemovedFramework>>,
    /// The removed frameworks by age.
    pub(crate) removed_by_age: OrdSet<(Epoch, FrameworkId)>,
    pub(crate) tasks: OrdMap<TaskKey, Arc<Task>>,
    /// Groups with tasks of which their agent has not spoken, by the launch of their first task.
    pub(crate) groups: OrdMap<LaunchId, Arc<TaskGroup>>,
    pub(crate) executors: OrdMap<ExecutorKey, Arc<Executor>>,
    pub(crate) offers: OrdMap<OfferId, Arc<Offer>>,
    /// Operations that their frameworks want to hear of, until these acknowledge how they ended.
    pub(crate) operations: OrdMap<OperationKey, Arc<Operation>>,
    /// Refusals of more than ten seconds.
    pub(crate) filters: Filters,
    /// What operators decided about sharing.
    pub(crate) sharing: Sharing,
    /// Which machines will be down, and who was asked to leave them.
    pub(crate) maintenance: Maintenance,
}

/// The facts that there is one of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Fixed by the first BeginTerm.
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) incarnation: u64,
    pub(crate) level: u32,
    pub(crate) term: u64,
    /// The entry that began the term: launches of earlier ones may have been sent by an earlier leader.
    pub(crate) term_index: u64,
    /// The same in cluster time.
    pub(crate) term_began: Millis,
    pub(crate) now: Millis,
    pub(crate) wall: WallMillis,
    /// The last change of weights, quota, priorities, whitelist or policy.
    pub(crate) policy_version: Epoch,
    pub(crate) next_framework: u64,
    pub(crate) next_agent: u64,
    pub(crate) next_offer: u64,
}

/// What one command led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// What the proposer is told. A refusal is an outcome, not an error: all replicas agree on it.
    pub outcome: Outcome,
    /// What changed, in order, on every replica: indexes, event streams and metrics are folds over it.
    pub changes: Vec<Change>,
    /// What a leader, and only a leader, does next. Idempotent: it may run twice after a failover.
    pub effects: Vec<Effect>,
}

impl State {
    /// The state before the first entry of the log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one committed command. Total: every command yields an outcome on every replica.
    ///
    /// Deterministic: the only inputs are `self` and the arguments. `at` was chosen by the leader and is part of the
    /// entry. Commands before the log's first BeginTerm are refused.
    pub fn apply(&mut self, at: At, command: Command) -> Applied {
        self.meta.now = self.meta.now.max(at.now);
        self.meta.wall = at.wall;
        let at = At { now: self.meta.now, ..at };
        let begun = self.meta.cluster.is_some() || matches!(command, Command::BeginTerm(_));
        let mut step = Step::new(self, at);
        let outcome = if begun { step.dispatch(command) } else { Err(Refusal::WrongCluster) };
        let outcome = outcome.unwrap_or_else(Outcome::Refused);
        step.settle_drains();
        let Step { changes, effects, .. } = step;
        if cfg!(any(test, debug_assertions)) {
            assert_eq!(crate::invariants::check(self), Ok(()), "after {at:?}");
        }
        Applied { outcome, changes, effects }
    }
}

impl Step<'_> {
    fn dispatch(&mut self, command: Command) -> Result<Outcome, Refusal> {
        match command {
            Command::BeginTerm(c) => self.begin_term(c),
            Command::SetLevel(c) => self.set_level(c),
            Command::EventsDelivered(c) => self.events_delivered(&c),
            Command::RegisterAgent(c) => Ok(self.register_agent(c)),
            Command::AttachAgent(c) => self.attach_agent(c),
            Command::DetachAgent(c) => self.detach_agent(&c),
            Command::MarkUnreachable(c) => Ok(self.mark_unreachable(c)),
            Command::Subscribe(c) => self.subscribe(c),
            Command::UpdateFramework(c) => self.update_framework(c),
            Command::Disconnect(c) => self.disconnect(&c),
            Command::Suppress(c) => self.suppress(c),
            Command::Revive(c) => self.revive(c),
            Command::Teardown(c) => self.teardown(&c),
            Command::ExpireFailover(c) => self.expire_failover(&c),
            Command::IssueOffers(c) => Ok(self.issue_offers(c)),
            Command::AcceptOffers(c) => self.accept_offers(c),
            Command::DeclineOffers(c) => self.decline_offers(c),
            Command::RescindOffers(c) => Ok(self.rescind_offers(&c)),
            Command::RecordUpdates(c) => Ok(self.record_updates(c)),
            Command::AcknowledgeUpdates(c) => Ok(self.acknowledge_updates(c)),
            Command::AgentForgot(c) => self.agent_forgot(c),
            Command::RequestKill(c) => self.request_kill(c),
            Command::RequestShutdown(c) => self.request_shutdown(c),
            Command::ExecutorExited(c) => self.executor_exited(c),
            Command::SetWeights(c) => Ok(self.set_weights(c)),
            Command::SetQuota(c) => self.set_quota(c),
            Command::SetPriorities(c) => self.set_priorities(c),
            Command::SetWhitelist(c) => Ok(self.set_whitelist(c)),
            Command::SetPolicy(c) => Ok(self.set_policy(c)),
            Command::ConvertResources(c) => Ok(self.convert_resources(&c)),
            Command::DrainAgent(c) => self.administrate(|step| step.drain_agent(&c)),
            Command::DeactivateAgent(c) => self.administrate(|step| step.deactivate_agent(&c)),
            Command::ReactivateAgent(c) => self.administrate(|step| step.reactivate_agent(&c)),
            Command::MarkAgentGone(c) => self.administrate(|step| step.mark_agent_gone(&c)),
            Command::SetSchedule(c) => self.administrate(|step| step.set_schedule(c)),
            Command::StartMaintenance(c) => self.administrate(|step| step.start_maintenance(&c)),
            Command::StopMaintenance(c) => self.administrate(|step| step.stop_maintenance(&c)),
            Command::IssueInverseOffers(c) => self.administrate(|step| Ok(step.issue_inverse_offers(c))),
            Command::AnswerInverseOffers(c) => self.administrate(|step| Ok(step.answer_inverse_offers(&c))),
            Command::ResourcesStored(c) => self.resources_stored(&c),
            Command::AcknowledgeOperation(c) => self.acknowledge_operation(c),
            Command::UpdateProviders(c) => self.update_providers(c),
            Command::RecordOperations(c) => self.record_operations(c),
        }
    }
}
