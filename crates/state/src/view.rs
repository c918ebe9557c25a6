//! Read-only questions to the state, for adapters, planner and streams.

use std::{collections::BTreeMap, sync::Arc};

use mesarch_types::{
    AgentId, ClusterId, Epoch, ExecutorId, Fence, FrameworkId, LaunchId, Millis, OfferId, OperationId,
    Priority, Quantities, Quota, Role, TaskId, TaskState, Unavailability, UpdateUuid, WallMillis, Weight,
    digest::SetHash,
};

use crate::{
    command::{ExecutorKey, Window},
    filters::LongFilter,
    machine::State,
    model::{
        Agent, Executor, Framework, GoneAgent, InverseAnswer, InverseOffer, Machine, MachineId, MachineMode,
        Offer, Operation, RemovedFramework, Task, TaskKey, UnreachableAgent,
    },
    outcome::Refusal,
    sharing::{Books, POLICY_DEFAULT},
    snapshot,
};

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub agents: usize,
    pub unreachable_agents: usize,
    pub gone_agents: usize,
    pub frameworks: usize,
    pub removed_frameworks: usize,
    pub tasks: usize,
    pub executors: usize,
    pub offers: usize,
    pub filters: usize,
    /// Refusals that gave way because there were too many.
    pub filters_evicted: u64,
}

impl State {
    /// The cluster's id; none before the first BeginTerm.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.meta.cluster
    }

    /// Raised by restore and recovery.
    pub fn incarnation(&self) -> u64 {
        self.meta.incarnation
    }

    /// The feature level.
    pub fn level(&self) -> u32 {
        self.meta.level
    }

    /// The term of the newest BeginTerm.
    pub fn term(&self) -> u64 {
        self.meta.term
    }

    /// What orders this term's leader for agents; none before the first BeginTerm.
    pub fn fence(&self) -> Option<Fence> {
        let (incarnation, term) = (self.meta.incarnation, self.meta.term);
        self.meta.cluster.map(|cluster| Fence { cluster, incarnation, term })
    }

    /// Cluster time of the newest entry.
    pub fn now(&self) -> Millis {
        self.meta.now
    }

    /// Wall time of the newest entry. For display, and for a new leader's clock.
    pub fn wall(&self) -> WallMillis {
        self.meta.wall
    }

    /// Cluster time at which the term began.
    pub fn term_began(&self) -> Millis {
        self.meta.term_began
    }

    /// Place in the log of the last change of weights, quota, priorities, whitelist or policy.
    pub fn policy_version(&self) -> Epoch {
        self.meta.policy_version
    }

    /// The agent, unless it is unknown or given up.
    pub fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(id).map(|agent| &**agent)
    }

    /// All agents that are not given up, by id.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values().map(|agent| &**agent)
    }

    /// The agent, if it was given up and is remembered.
    pub fn unreachable_agent(&self, id: &AgentId) -> Option<&UnreachableAgent> {
        self.unreachable.get(id).map(|away| &**away)
    }

    /// All agents that were given up and are remembered, by id.
    pub fn unreachable_agents(&self) -> impl Iterator<Item = &UnreachableAgent> {
        self.unreachable.values().map(|away| &**away)
    }

    /// The agent, if an operator declared it gone and that is remembered.
    pub fn gone_agent(&self, id: &AgentId) -> Option<&GoneAgent> {
        self.gone.get(id)
    }

    /// All agents that operators declared gone and that are remembered, by id.
    pub fn gone_agents(&self) -> impl Iterator<Item = (&AgentId, &GoneAgent)> {
        self.gone.iter()
    }

    /// The maintenance schedule, in the operator's order.
    pub fn schedule(&self) -> &[Window] {
        &self.maintenance.windows
    }

    /// All machines of the schedule, by name.
    pub fn machines(&self) -> impl Iterator<Item = (&MachineId, &Machine)> {
        self.maintenance.machines.iter()
    }

    /// Whether agents that announce this host name are on a machine that is down.
    pub fn is_down(&self, hostname: &str) -> bool {
        self.maintenance.machines_of(hostname).any(|machine| machine.mode == MachineMode::Down)
    }

    /// When the machine of agents that announce this host name will be down.
    pub(crate) fn unavailability_of(&self, hostname: &str) -> Option<Unavailability> {
        self.maintenance.machine_of(hostname).map(|machine| machine.unavailability)
    }

    /// The outstanding request to a framework to leave an agent.
    pub fn inverse_offer(&self, framework: &FrameworkId, agent: &AgentId) -> Option<&InverseOffer> {
        self.maintenance.asked.get(&(framework.clone(), agent.clone()))
    }

    /// All outstanding requests to leave agents: whom, about which agent.
    pub fn inverse_offers(&self) -> impl Iterator<Item = (&FrameworkId, &AgentId, &InverseOffer)> {
        self.maintenance.asked.iter().map(|((framework, agent), offer)| (framework, agent, offer))
    }

    /// A framework's outstanding requests to leave agents, by agent.
    pub fn inverse_offers_of(&self, framework: &FrameworkId) -> Vec<(AgentId, InverseOffer)> {
        let first = (framework.clone(), AgentId::from(""));
        let own = self.maintenance.asked.range(first..).take_while(|((owner, _), _)| owner == framework);
        own.map(|((_, agent), offer)| (agent.clone(), offer.clone())).collect()
    }

    /// What frameworks answered to the last requests to leave agents: who, about which agent, what.
    pub fn inverse_answers(&self) -> impl Iterator<Item = (&FrameworkId, &AgentId, &InverseAnswer)> {
        self.maintenance.answers.iter().map(|((framework, agent), answer)| (framework, agent, answer))
    }

    /// The framework, unless it is unknown or removed.
    pub fn framework(&self, id: &FrameworkId) -> Option<&Framework> {
        self.frameworks.get(id).map(|framework| &**framework)
    }

    /// All frameworks that are not removed, by id.
    pub fn frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.frameworks.values().map(|framework| &**framework)
    }

    /// The framework, if it was removed and is remembered.
    pub fn removed_framework(&self, id: &FrameworkId) -> Option<&RemovedFramework> {
        self.removed.get(id).map(|removed| &**removed)
    }

    /// All removed frameworks that are remembered, by id.
    pub fn removed_frameworks(&self) -> impl Iterator<Item = (&FrameworkId, &RemovedFramework)> {
        self.removed.iter().map(|(id, removed)| (id, &**removed))
    }

    /// The offer, if it is outstanding.
    pub fn offer(&self, id: &OfferId) -> Option<&Offer> {
        self.offers.get(id).map(|offer| &**offer)
    }

    /// All outstanding offers, by id.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers.values().map(|offer| &**offer)
    }

    /// The task, if it is in the table: live, or ended and not yet acknowledged.
    pub fn task(&self, framework: &FrameworkId, task: &TaskId) -> Option<&Task> {
        self.tasks.get(&(framework.clone(), task.clone())).map(|task| &**task)
    }

    /// All tasks of the table, by framework and id.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().map(|task| &**task)
    }

    /// The tasks that a framework has in the table.
    pub fn tasks_of<'a>(&'a self, framework: &'a FrameworkId) -> impl Iterator<Item = &'a Task> {
        // Side by side in the table, which is much cheaper than a search for each.
        let own = self.tasks.range((framework.clone(), TaskId::from(""))..);
        own.take_while(move |((owner, _), _)| owner == framework).map(|(_, task)| &**task)
    }

    /// The executor, if it runs or is about to.
    pub fn executor(&self, key: &ExecutorKey) -> Option<&Executor> {
        self.executors.get(key).map(|executor| &**executor)
    }

    /// All executors, by framework, agent and id.
    pub fn executors(&self) -> impl Iterator<Item = &Executor> {
        self.executors.values().map(|executor| &**executor)
    }

    /// The executors of a framework.
    pub fn executors_of<'a>(&'a self, framework: &'a FrameworkId) -> impl Iterator<Item = &'a Executor> {
        let first = ExecutorKey {
            framework: framework.clone(),
            agent: AgentId::from(""),
            executor: ExecutorId::from(""),
        };
        let own = self.executors.range(first..).take_while(move |(key, _)| key.framework == *framework);
        own.map(|(_, executor)| &**executor)
    }

    /// The executors on an agent.
    pub fn executors_on<'a>(&'a self, agent: &'a AgentId) -> impl Iterator<Item = &'a Executor> {
        let keys = self.agent(agent).into_iter().flat_map(|known| known.executors.iter());
        keys.filter_map(move |(framework, executor)| {
            let key = ExecutorKey {
                framework: framework.clone(),
                agent: agent.clone(),
                executor: executor.clone(),
            };
            self.executor(&key)
        })
    }

    /// The task, if it is kept with an unreachable agent.
    pub fn unreachable_task(&self, key: &TaskKey) -> Option<&Task> {
        let agent = self.framework(&key.0)?.unreachable.get(&key.1)?;
        self.unreachable.get(agent)?.tasks.get(key).map(|task| &**task)
    }

    /// What reconciliation answers about a task that is in the table or with an unreachable agent: the last state told
    /// to the framework, where the task is, and since when its agent is unreachable.
    pub fn known_state(
        &self,
        framework: &FrameworkId,
        task: &TaskId,
    ) -> Option<(TaskState, AgentId, Option<WallMillis>)> {
        if let Some(task) = self.task(framework, task) {
            let state = task.forwarded().map_or(task.state, |last| last.state);
            return Some((state, task.agent.clone(), None));
        }
        let agent = self.framework(framework)?.unreachable.get(task)?;
        let since = self.unreachable.get(agent).map(|away| away.wall);
        Some((TaskState::Unreachable, agent.clone(), since))
    }

    /// The operation, until its framework has acknowledged its end.
    pub fn operation(&self, framework: &FrameworkId, operation: &OperationId) -> Option<&Operation> {
        self.operations.get(&(framework.clone(), operation.clone())).map(|operation| &**operation)
    }

    /// All operations that their frameworks want to hear of, by framework and id.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values().map(|operation| &**operation)
    }

    /// The operations of a framework, by id.
    pub fn operations_of<'a>(&'a self, framework: &'a FrameworkId) -> impl Iterator<Item = &'a Operation> {
        let own = self.operations.range((framework.clone(), OperationId::from(""))..);
        own.take_while(move |(key, _)| key.0 == *framework).map(|(_, operation)| &**operation)
    }

    /// The weight of a role; one if none was set.
    pub fn weight(&self, role: &Role) -> Weight {
        self.sharing.weights.get(role).copied().unwrap_or_default()
    }

    /// All weights that were set, by role.
    pub fn weights(&self) -> impl Iterator<Item = (&Role, Weight)> {
        self.sharing.weights.iter().map(|(role, weight)| (role, *weight))
    }

    /// The quota of a top-level role, if it has one.
    pub fn quota(&self, role: &Role) -> Option<&Quota> {
        self.sharing.quotas.get(role)
    }

    /// All quotas, by role.
    pub fn quotas(&self) -> impl Iterator<Item = &Quota> {
        self.sharing.quotas.values()
    }

    /// What each top-level role consumes, by what is reserved and in use; offers do not count. Costs a walk over all
    /// agents.
    pub fn consumption_in_use(&self) -> BTreeMap<Role, Quantities> {
        self.consumption(Books::Used)
    }

    /// What a role with quota consumes, offers included; none for a role without.
    pub fn consumed(&self, role: &Role) -> Option<&Quantities> {
        self.sharing.consumed.get(role)
    }

    /// All priorities of roles other than zero.
    pub fn role_priorities(&self) -> impl Iterator<Item = (&Role, Priority)> {
        self.sharing.role_priorities.iter().map(|(role, priority)| (role, *priority))
    }

    /// All priorities of frameworks other than zero.
    pub fn framework_priorities(&self) -> impl Iterator<Item = (&FrameworkId, Priority)> {
        self.sharing.framework_priorities.iter().map(|(id, priority)| (id, *priority))
    }

    /// The hosts whose agents may be offered, in order; none: all.
    pub fn whitelist(&self) -> Option<impl Iterator<Item = &Arc<str>>> {
        self.sharing.whitelist.as_ref().map(imbl::OrdSet::iter)
    }

    /// The name of the policy in force.
    pub fn policy(&self) -> &str {
        self.sharing.policy.as_deref().unwrap_or(POLICY_DEFAULT)
    }

    /// The refusals of more than ten seconds that have not ended: a new leader's allocator starts with these.
    pub fn filters(&self) -> impl Iterator<Item = LongFilter> + '_ {
        self.filters.live(self.meta.now)
    }

    /// How many of each there are.
    pub fn counts(&self) -> Counts {
        Counts {
            agents: self.agents.len(),
            unreachable_agents: self.unreachable.len(),
            gone_agents: self.gone.len(),
            frameworks: self.frameworks.len(),
            removed_frameworks: self.removed.len(),
            tasks: self.tasks.len(),
            executors: self.executors.len(),
            offers: self.offers.len(),
            filters: self.filters.entries.len(),
            filters_evicted: self.filters.evicted,
        }
    }

    /// Whether an agent may attach without an inventory: its set hash over the tasks that it did not list is the
    /// masters' over the same, and it listed what has to be listed. `false` for an unknown agent.
    pub fn knows_tasks_of(
        &self,
        agent: &AgentId,
        digest: SetHash,
        listed: &[(FrameworkId, TaskId, LaunchId)],
    ) -> bool {
        let Some(known) = self.agent(agent) else {
            return false;
        };
        if known.incarnation != self.meta.incarnation {
            return false;
        }
        let (mut expect, mut unsettled) = (known.set_hash, 0);
        for (framework, task, launch) in listed {
            let entry = (framework.clone(), task.clone(), *launch);
            let live =
                self.task(framework, task).filter(|task| (&task.agent, task.launch) == (agent, *launch));
            if let Some(task) = live {
                task.set_hash().into_iter().for_each(|hash| expect.remove(hash));
                unsettled += u32::from(task.is_unsettled());
            } else if let Some(uuid) = known.forgetting.get(&entry) {
                expect.remove(mesarch_types::digest::task_hash(framework, task, *launch, Some(*uuid)));
            } else if !known.pending_shutdowns.contains(framework) {
                return false;
            }
        }
        expect == digest && unsettled == known.unsettled
    }

    /// Whether the agent has not yet said that it stored this acknowledgement: until it does, it is told again on every
    /// attachment.
    pub fn owes_acknowledgement(
        &self,
        agent: &AgentId,
        framework: &FrameworkId,
        task: &TaskId,
        launch: LaunchId,
        uuid: UpdateUuid,
    ) -> bool {
        let live = self.task(framework, task).filter(|live| live.ack_owed && live.agent == *agent);
        if live.is_some_and(|live| (live.launch, live.acknowledged) == (launch, Some(uuid))) {
            return true;
        }
        let ended = (framework.clone(), task.clone(), launch);
        self.agent(agent).is_some_and(|known| known.forgetting.get(&ended) == Some(&uuid))
    }

    /// The hash of the snapshot's bytes: equal on replicas that applied the same entries. Costs a whole encoding.
    pub fn digest(&self) -> u128 {
        snapshot::digest(self)
    }

    /// The framework that a command names.
    pub(crate) fn known_framework(&self, id: &FrameworkId) -> Result<&Arc<Framework>, Refusal> {
        let missing = || match self.removed.contains_key(id) {
            true => Refusal::FrameworkRemoved,
            false => Refusal::UnknownFramework,
        };
        self.frameworks.get(id).ok_or_else(missing)
    }
}
