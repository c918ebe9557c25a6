//! An agent's own list of what it runs, against what the masters know. Of two lives of one task id the newer launch
//! wins, wherever it is, and even if it is over: its framework has used the id again and must not hear of the older one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use mesarch_types::{AgentId, FrameworkId, LaunchId, Reason, TaskState, resource::Resources};

use super::{
    attach::Returned,
    lifecycle::{Conclusion, report},
};
use crate::{
    command::{ExecutorKey, Inventory, InventoryExecutor, InventoryTask},
    effect::Effect,
    machine::LEVEL_TRUE_LIVES,
    model::{Executor, Task, TaskKey, ledger::Side},
    step::Step,
};

/// The wait status of an executor whose end nobody saw.
const UNKNOWN_STATUS: i32 = -1;

/// The newest launch of each task id that is history.
type PastLives = BTreeMap<TaskKey, LaunchId>;

impl Step<'_> {
    /// Takes over an inventory. `returned` holds the tasks that the agent had when it was given up.
    ///
    /// What ends comes before what is new, so that sums over the changes never hold both at once.
    pub(crate) fn take_inventory(&mut self, agent: &AgentId, inventory: Inventory, mut returned: Returned) {
        if let Some(agent) = self.agent_mut(agent) {
            agent.owes_inventory = false;
        }
        let remembered = inventory.frameworks;
        self.conclude_missing(agent, &inventory.tasks);
        let (known, new): (Vec<_>, Vec<_>) =
            inventory.tasks.into_iter().partition(|item| self.is_known(agent, item));
        for item in known {
            self.confirm(&item);
        }
        self.take_executors(agent, (inventory.executors, inventory.newest), &remembered);
        let past = self.past_lives(&new);
        for item in new {
            self.take_unknown(agent, item, &remembered, (&past, &mut returned));
        }
        for (key, task) in returned {
            self.conclude_returned(&key, task);
        }
    }

    /// A task that the agent spoke of before and does not list is lost. One that it never spoke of is sent again; one
    /// that ended only waits for its framework.
    fn conclude_missing(&mut self, agent: &AgentId, listed: &[InventoryTask]) {
        let listed: BTreeSet<(TaskKey, LaunchId)> =
            listed.iter().map(|item| (key_of(item), item.launch)).collect();
        for key in self.task_ids_on(agent) {
            let missing = self.state.tasks.get(&key).is_some_and(|task| {
                task.reported && !task.state.is_terminal() && !listed.contains(&(key.clone(), task.launch))
            });
            if missing {
                self.conclude_task(&key, not_found());
            }
        }
    }

    fn is_known(&self, agent: &AgentId, item: &InventoryTask) -> bool {
        let task = self.state.tasks.get(&key_of(item));
        task.is_some_and(|task| (&task.agent, task.launch) == (agent, item.launch))
    }

    /// A listed task that is not this agent's in the table.
    fn take_unknown(
        &mut self,
        agent: &AgentId,
        item: InventoryTask,
        remembered: &[(FrameworkId, Bytes)],
        (past, returned): (&PastLives, &mut Returned),
    ) {
        let key = key_of(&item);
        if self.state.removed.contains_key(&key.0) {
            return self.order_shutdown(agent, &key.0);
        }
        if self.is_forgetting(agent, &key, item.launch) {
            return;
        }
        if self.is_known(agent, &item) {
            return self.confirm(&item);
        }
        let newest = self.newest_life(&key, returned).max(past.get(&key).copied());
        if newest.is_some_and(|newest| newest > item.launch) {
            return self.end_old_life(agent, &key, &item);
        }
        self.end_older_lives(&key);
        self.ensure_framework(&key.0, remembered);
        let before = match returned.remove(&key) {
            Some(task) if task.launch == item.launch => Some(task),
            older => {
                older.into_iter().for_each(|task| self.remember(task));
                None
            }
        };
        self.adopt_task(agent, item, before);
    }

    fn is_forgetting(&self, agent: &AgentId, key: &TaskKey, launch: LaunchId) -> bool {
        let entry = (key.0.clone(), key.1.clone(), launch);
        self.state.agents.get(agent).is_some_and(|known| known.forgetting.contains_key(&entry))
    }

    /// The newest launch in the history of each task id that is used by one of `items`.
    fn past_lives(&self, items: &[InventoryTask]) -> PastLives {
        let mut past = PastLives::new();
        if self.state.meta.level < LEVEL_TRUE_LIVES || items.is_empty() {
            return past;
        }
        let listed: BTreeSet<TaskKey> = items.iter().map(key_of).collect();
        let owners: BTreeSet<&FrameworkId> = listed.iter().map(|key| &key.0).collect();
        let owners = owners.into_iter().filter_map(|owner| self.state.frameworks.get(owner));
        for task in owners.flat_map(|owner| owner.completed.iter()) {
            let key = task.key();
            if listed.contains(&key) {
                let newest = past.entry(key).or_insert(task.launch);
                *newest = (*newest).max(task.launch);
            }
        }
        past
    }

    /// The newest launch of this task id that is not over anywhere.
    fn newest_life(&self, key: &TaskKey, returned: &Returned) -> Option<LaunchId> {
        let live = self.state.tasks.get(key).map(|task| task.launch);
        let away = self.state.unreachable_task(key).map(|task| task.launch);
        let back = returned.get(key).map(|task| task.launch);
        live.max(away).max(back)
    }

    fn end_old_life(&mut self, agent: &AgentId, key: &TaskKey, item: &InventoryTask) {
        if !item.state.is_terminal() {
            let (framework, task) = key.clone();
            self.effect(Effect::KillTask { agent: agent.clone(), framework, task, launch: item.launch });
        }
    }

    /// An agent knows a later launch than the masters (they were restored from an older copy): theirs is history.
    fn end_older_lives(&mut self, key: &TaskKey) {
        if let Some(task) = self.end_task(key, &not_found()) {
            self.remember(task);
        }
        let Some(agent) = self.state.frameworks.get(&key.0).and_then(|known| known.unreachable.get(&key.1))
        else {
            return;
        };
        let agent = agent.clone();
        if let Some(task) = self.take_unreachable(&agent, key) {
            self.remember(task);
        }
    }

    /// A task that both sides know: the agent knows its newest state, the masters what was acknowledged.
    fn confirm(&mut self, item: &InventoryTask) {
        let key = &key_of(item);
        self.mark_reported(key);
        self.advance_task(key, item.state);
        let Some(task) = self.task_mut(key) else { return };
        if item.acknowledged == task.acknowledged {
            task.ack_owed = false;
            return;
        }
        // Either the agent has yet to hear of the newest acknowledgement, or it was given to masters that are no more.
        let Some(uuid) = item.acknowledged.filter(|_| !task.ack_owed) else {
            return;
        };
        if task.pending().and_then(|pending| pending.uuid) == Some(uuid) {
            task.unacknowledged = false;
        }
        self.mark_acknowledged(key, uuid);
    }

    /// Enters a task that the agent has and the table does not, and tells its framework.
    fn adopt_task(&mut self, agent: &AgentId, item: InventoryTask, before: Option<Arc<Task>>) {
        let state = item.state;
        let back = Conclusion::new(state, Reason::AgentReregistered, "Agent reregistered");
        let mut task = match before {
            Some(task) => Arc::unwrap_or_clone(task),
            None => self.task_of(agent, &item),
        };
        task.state = state;
        if state.is_terminal() {
            task.kill = None;
        }
        task.reported = true;
        task.acknowledged = task.acknowledged.or(item.acknowledged);
        task.push_report(report(state, &back, self.at.wall));
        let key = task.key();
        if !state.is_terminal() {
            self.make_room(agent, &task.spec.resources.without_allocation());
        }
        self.add_task(task, true);
        if state != TaskState::Staging {
            self.tell(&key.0, &key.1, Some(agent), back);
        }
    }

    /// What already runs comes before what is only offered.
    fn make_room(&mut self, agent: &AgentId, resources: &Resources) {
        if self.state.agents.get(agent).is_some_and(|known| !known.available().contains(resources)) {
            self.withdraw_offers_of_agent(agent);
        }
    }

    fn task_of(&self, agent: &AgentId, item: &InventoryTask) -> Task {
        Task {
            framework: item.framework.clone(),
            role: self.role_of(&item.framework, &item.spec.resources),
            spec: item.spec.clone(),
            launch: item.launch,
            agent: agent.clone(),
            state: item.state,
            statuses: Vec::new(),
            unacknowledged: false,
            reported: true,
            acknowledged: item.acknowledged,
            ack_owed: false,
            kill: None,
        }
    }

    fn conclude_returned(&mut self, key: &TaskKey, mut task: Arc<Task>) {
        let conclusion = not_found();
        let state = self.in_words_of(&key.0, conclusion.state);
        let wall = self.at.wall;
        let ended = Arc::make_mut(&mut task);
        ended.state = state;
        ended.push_report(report(state, &conclusion, wall));
        self.tell(&key.0, &key.1, Some(&task.agent), conclusion);
        self.remember(task);
    }

    /// Executors that are not listed are no more; listed ones that are new are entered. Ends of former runs, told before
    /// this inventory, are not theirs: each run that is there now began after those.
    fn take_executors(
        &mut self,
        agent: &AgentId,
        (listed, newest): (Vec<InventoryExecutor>, LaunchId),
        remembered: &[(FrameworkId, Bytes)],
    ) {
        self.remove_missing_executors(agent, &listed);
        for item in listed {
            if self.state.removed.contains_key(&item.framework) {
                self.order_shutdown(agent, &item.framework);
                continue;
            }
            let key = ExecutorKey {
                framework: item.framework.clone(),
                agent: agent.clone(),
                executor: item.spec.id.clone(),
            };
            if !self.state.executors.contains_key(&key) {
                self.ensure_framework(&item.framework, remembered);
                self.adopt_executor(key, item);
            }
        }
        if self.state.meta.level >= LEVEL_TRUE_LIVES {
            self.confirm_executors(agent, newest);
        }
    }

    /// The agent has taken every launch up to `newest`, and those of the executors' tasks that it did not speak of are
    /// on their way; launches that were given up are not counted on any more.
    fn confirm_executors(&mut self, agent: &AgentId, newest: LaunchId) {
        let count_on = |executor: &Executor| {
            let tasks = executor.tasks.iter();
            let tasks = tasks.filter_map(|task| self.state.task(&executor.key.framework, task));
            (executor.key.clone(), tasks.map(|task| task.launch).fold(newest, LaunchId::max))
        };
        let launches: Vec<_> = self.state.executors_on(agent).map(count_on).collect();
        for (key, launch) in launches {
            if let Some(executor) = self.executor_mut(&key) {
                executor.launch = launch;
            }
        }
    }

    /// An executor that waits for its first task is not listed yet.
    fn remove_missing_executors(&mut self, agent: &AgentId, listed: &[InventoryExecutor]) {
        let listed: BTreeSet<_> = listed.iter().map(|item| (&item.framework, &item.spec.id)).collect();
        let gone = self.state.executors_on(agent).filter(|executor| {
            let waiting = executor.tasks.iter().any(|task| {
                self.state.task(&executor.key.framework, task).is_some_and(|task| !task.reported)
            });
            !waiting && !listed.contains(&(&executor.key.framework, &executor.key.executor))
        });
        let gone: Vec<ExecutorKey> = gone.map(|executor| executor.key.clone()).collect();
        for key in gone {
            self.remove_executor(&key);
            if self.state.meta.level >= LEVEL_TRUE_LIVES {
                self.announce_exit(key, UNKNOWN_STATUS);
            }
        }
    }

    fn adopt_executor(&mut self, key: ExecutorKey, item: InventoryExecutor) {
        let role = self.role_of(&key.framework, &item.spec.resources);
        let holder = (key.framework.clone(), role.clone());
        let resources = item.spec.resources.without_allocation();
        let agent = key.agent.clone();
        self.make_room(&agent, &resources);
        self.add_executor(Executor {
            key,
            spec: item.spec,
            role,
            launch: LaunchId::default(),
            shutdown_requested: false,
            tasks: BTreeSet::new(),
        });
        self.take(Side::Used, &agent, &holder, &resources);
    }
}

fn not_found() -> Conclusion {
    Conclusion::new(TaskState::Gone, Reason::Reconciliation, "Task is unknown to the agent")
}

fn key_of(item: &InventoryTask) -> TaskKey {
    (item.framework.clone(), item.spec.id.clone())
}
