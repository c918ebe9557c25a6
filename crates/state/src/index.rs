//! What of the state follows from the rest: each entity's lists of others, sums and books.
//!
//! `apply` carries these on; a snapshot leaves them out, and they are made anew from what it holds.

use std::{collections::BTreeSet, sync::Arc};

use imbl::{OrdMap, OrdSet};
use mesarch_types::{AgentId, TaskId};

use crate::{
    apply::forgetting_hash,
    command::ExecutorKey,
    machine::State,
    model::{Agent, Framework, Task, TaskGroup},
};

impl State {
    /// Makes everything that follows from the rest anew.
    pub(crate) fn reindex(&mut self) {
        self.clear_indexes();
        self.index_away();
        self.index_offers();
        self.index_executors();
        self.index_tasks();
        self.index_groups();
        self.index_operations();
        self.index_filters();
        for id in self.agents.keys().cloned().collect::<Vec<AgentId>>() {
            let books = self.books(&id);
            if let (Some(books), Some(agent)) = (books, self.agents.get_mut(&id)) {
                Arc::make_mut(agent).ledger = books;
            }
        }
        self.recount();
    }

    fn clear_indexes(&mut self) {
        let nonces = self.agents.iter().filter_map(|(id, agent)| Some((agent.nonce?, id.clone())));
        self.nonces = nonces.collect();
        edit_all(&mut self.agents, clear_agent);
        self.index_maintenance();
        edit_all(&mut self.frameworks, clear_framework);
        edit_all(&mut self.unreachable, |away| Arc::make_mut(&mut away.agent).operations = BTreeSet::new());
        edit_all(&mut self.executors, |executor| executor.tasks = BTreeSet::new());
        self.unreachable_by_age = OrdSet::new();
        self.removed_by_age = OrdSet::new();
        self.gone_by_age = self.gone.iter().map(|(id, gone)| (gone.epoch, id.clone())).collect();
    }

    fn index_maintenance(&mut self) {
        let maintenance = &self.maintenance;
        let machine = |agent: &Agent| maintenance.machine_of(&agent.spec.hostname);
        edit_all(&mut self.agents, |agent| {
            agent.unavailability = machine(agent).map(|machine| machine.unavailability);
        });
    }

    fn index_away(&mut self) {
        for (id, away) in &self.unreachable {
            self.unreachable_by_age.insert((away.epoch, id.clone()));
            away.agent.nonce.into_iter().for_each(|nonce| drop(self.nonces.insert(nonce, id.clone())));
            for (framework, task) in away.tasks.keys() {
                if let Some(framework) = self.frameworks.get_mut(framework) {
                    Arc::make_mut(framework).unreachable.insert(task.clone(), id.clone());
                }
            }
        }
        for (id, removed) in &self.removed {
            self.removed_by_age.insert((removed.epoch, id.clone()));
        }
    }

    fn index_offers(&mut self) {
        for (id, offer) in &self.offers {
            if let Some(framework) = self.frameworks.get_mut(&offer.framework) {
                Arc::make_mut(framework).offers.insert(id.clone());
            }
            if let Some(agent) = self.agents.get_mut(&offer.agent) {
                Arc::make_mut(agent).offers.insert(id.clone());
            }
        }
    }

    fn index_executors(&mut self) {
        for key in self.executors.keys() {
            if let Some(agent) = self.agents.get_mut(&key.agent) {
                Arc::make_mut(agent).executors.insert((key.framework.clone(), key.executor.clone()));
            }
        }
    }

    fn index_tasks(&mut self) {
        for (key, task) in &self.tasks {
            if let Some(framework) = self.frameworks.get_mut(&key.0) {
                Arc::make_mut(framework).tasks.insert(key.1.clone());
            }
            if let Some(agent) = self.agents.get_mut(&task.agent).map(Arc::make_mut) {
                agent.tasks.insert(key.clone());
                agent.unsettled += u32::from(task.is_unsettled());
                task.set_hash().into_iter().for_each(|hash| agent.set_hash.insert(hash));
            }
            if let Some(executor) = task.executor_key().and_then(|key| self.executors.get_mut(&key)) {
                Arc::make_mut(executor).tasks.insert(key.1.clone());
            }
        }
    }

    fn index_groups(&mut self) {
        let unreported = |group: &TaskGroup| {
            let tasks = self.tasks_of_group(group).filter(|task| !task.reported);
            (group.launch, u32::try_from(tasks.count()).unwrap_or(u32::MAX))
        };
        let counts: Vec<_> = self.groups.values().map(|group| unreported(group)).collect();
        for (launch, unreported) in counts {
            if let Some(group) = self.groups.get_mut(&launch) {
                Arc::make_mut(group).unreported = unreported;
            }
        }
    }

    fn index_operations(&mut self) {
        let pending = self.operations.iter().filter(|(_, operation)| !operation.finished);
        let pending: Vec<_> = pending.map(|(key, one)| (key.clone(), one.agent.clone())).collect();
        for (key, agent) in pending {
            if let Some(agent) = self.agent_record_mut(&agent) {
                agent.operations.insert(key);
            }
        }
    }

    /// An agent's record, whether it is there or away.
    pub(crate) fn agent_record_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        if let Some(agent) = self.agents.get_mut(id) {
            return Some(Arc::make_mut(agent));
        }
        let away = Arc::make_mut(self.unreachable.get_mut(id)?);
        Some(Arc::make_mut(&mut away.agent))
    }

    fn index_filters(&mut self) {
        let ends = self.filters.entries.iter().map(|(key, filter)| (filter.until, key.clone()));
        self.filters.ends = ends.collect();
    }

    /// The tasks of the table that name this executor.
    pub(crate) fn tasks_of_executor(&self, key: &ExecutorKey) -> BTreeSet<TaskId> {
        let Some(agent) = self.agents.get(&key.agent) else {
            return BTreeSet::new();
        };
        let names_it = |task: &Task| task.spec.executor.as_ref().is_some_and(|spec| spec.id == key.executor);
        let own = agent.tasks.range((key.framework.clone(), TaskId::from(""))..);
        own.take_while(|(framework, _)| *framework == key.framework)
            .filter(|(framework, task)| self.task(framework, task).is_some_and(names_it))
            .map(|(_, task)| task.clone())
            .collect()
    }
}

fn edit_all<K: Ord + Clone, V: Clone>(map: &mut OrdMap<K, Arc<V>>, edit: impl Fn(&mut V)) {
    let edited = map.iter().map(|(key, value)| {
        let mut value = value.clone();
        edit(Arc::make_mut(&mut value));
        (key.clone(), value)
    });
    *map = edited.collect();
}

fn clear_agent(agent: &mut Agent) {
    agent.set_hash = forgetting_hash(agent);
    agent.unsettled = 0;
    agent.offers = BTreeSet::new();
    agent.tasks = OrdSet::new();
    agent.executors = BTreeSet::new();
    agent.operations = BTreeSet::new();
}

fn clear_framework(framework: &mut Framework) {
    framework.offers = OrdSet::new();
    framework.tasks = OrdSet::new();
    framework.unreachable = OrdMap::new();
    let minor = framework.outbox.iter().filter(|(_, item)| item.is_minor());
    framework.outbox_minor = minor.map(|(position, _)| *position).collect();
}
