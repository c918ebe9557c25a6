//! What a step of the state is to operators who follow it: events, in the order of the log.

use std::collections::BTreeMap;

use bytes::Bytes;
use mesarch_mesos_v1::{ContentType, recordio};
use mesarch_proto::mesos::v1::{
    self, FrameworkInfo,
    master::{
        Event,
        event::{self, Type},
    },
};
use mesarch_state::{
    Change, State,
    model::{Framework, Report, Task},
};
use mesarch_types::{AgentId, FrameworkId, Reason, TaskId, TaskState, WallMillis};
use prost::Message;

use super::{agents, frameworks, tasks};
use crate::{events::agent_id, moments::Step, status};

/// The records of one step.
pub(super) fn write(step: &Step, content_type: ContentType) -> Vec<Bytes> {
    let events = fold(&step.before.state, &step.after.state, &step.changes);
    events.iter().map(|event| recordio::encode_message(content_type, event)).collect()
}

/// What is written while nothing happens.
pub(super) fn heartbeat() -> Event {
    of(Type::Heartbeat)
}

/// All events between two states that lie one entry apart. Entities that came and went within it are not told.
pub(super) fn fold(before: &State, after: &State, changes: &[Change]) -> Vec<Event> {
    let (agents, frameworks) = (BTreeMap::new(), BTreeMap::new());
    let mut fold = Fold { before, after, agents, frameworks, events: Vec::new() };
    changes.iter().for_each(|change| fold.take(change));
    fold.events
}

struct Fold<'a> {
    before: &'a State,
    after: &'a State,
    /// Whether those that the entry changed are there now, as its reader knows.
    agents: BTreeMap<&'a AgentId, bool>,
    frameworks: BTreeMap<&'a FrameworkId, bool>,
    events: Vec<Event>,
}

impl<'a> Fold<'a> {
    fn take(&mut self, change: &'a Change) {
        let event = match change {
            Change::Agent(id) => self.agent(id),
            Change::AgentRemoved(id) => self.agent_removed(id),
            Change::Framework(id) => self.framework(id),
            Change::FrameworkRemoved(id) => self.framework_removed(id),
            Change::TaskAdded(framework, task) => self.task_added(framework, task),
            Change::TaskUpdated { framework, task, state } => self.task_updated(framework, task, *state),
            // A task that leaves was told to have ended, or to be unreachable.
            Change::TaskRemoved(..)
            | Change::TermBegan
            | Change::Revived { .. }
            | Change::Taken(_)
            | Change::Released { .. }
            | Change::OfferAdded(_)
            | Change::OfferRemoved { .. }
            | Change::InverseOfferAdded { .. }
            | Change::InverseOfferRemoved { .. }
            | Change::Converted { .. }
            | Change::ExecutorAdded(_)
            | Change::ExecutorRemoved(_)
            | Change::Policy => None,
        };
        self.events.extend(event);
    }

    fn agent(&mut self, id: &'a AgentId) -> Option<Event> {
        let is_known = *self.agents.entry(id).or_insert_with(|| self.before.agent(id).is_some());
        let agent = self.after.agent(id).filter(|_| !is_known)?;
        self.agents.insert(id, true);
        let added = event::AgentAdded { agent: agents::shown(agent) };
        Some(Event { agent_added: Some(added), ..of(Type::AgentAdded) })
    }

    fn agent_removed(&mut self, id: &'a AgentId) -> Option<Event> {
        let was_known = self.agents.insert(id, false).unwrap_or_else(|| self.before.agent(id).is_some());
        let removed = event::AgentRemoved { agent_id: agent_id(id) };
        was_known.then(|| Event { agent_removed: Some(removed), ..of(Type::AgentRemoved) })
    }

    fn framework(&mut self, id: &'a FrameworkId) -> Option<Event> {
        let is_known = *self.frameworks.entry(id).or_insert_with(|| self.before.framework(id).is_some());
        let framework = self.after.framework(id)?;
        self.frameworks.insert(id, true);
        let shown = || frameworks::registered(self.after, framework);
        if !is_known {
            let added = event::FrameworkAdded { framework: shown() };
            return Some(Event { framework_added: Some(added), ..of(Type::FrameworkAdded) });
        }
        // Suppressions are not shown.
        let same = self.before.framework(id).is_some_and(|earlier| looks_the_same(earlier, framework));
        let updated = || event::FrameworkUpdated { framework: shown() };
        (!same).then(|| Event { framework_updated: Some(updated()), ..of(Type::FrameworkUpdated) })
    }

    fn framework_removed(&mut self, id: &'a FrameworkId) -> Option<Event> {
        let before = self.before.framework(id);
        let was_known = self.frameworks.insert(id, false).unwrap_or(before.is_some());
        let record = self.after.removed_framework(id).and_then(|removed| removed.record.as_deref());
        let framework = before.or(record).filter(|_| was_known)?;
        let removed = event::FrameworkRemoved { framework_info: info(framework) };
        Some(Event { framework_removed: Some(removed), ..of(Type::FrameworkRemoved) })
    }

    /// A task that comes back with its agent was never gone: its state is news, and nothing else.
    fn task_added(&self, framework: &FrameworkId, id: &TaskId) -> Option<Event> {
        let task = self.find(framework, id)?;
        if self.before.unreachable_task(&(framework.clone(), id.clone())).is_some() {
            return self.task_updated(framework, id, task.state);
        }
        let added = event::TaskAdded { task: tasks::shown(task, task.state) };
        Some(Event { task_added: Some(added), ..of(Type::TaskAdded) })
    }

    fn task_updated(&self, framework: &FrameworkId, id: &TaskId, state: TaskState) -> Option<Event> {
        let task = self.find(framework, id)?;
        let updated = event::TaskUpdated {
            framework_id: crate::events::framework_id(framework),
            status: status_of(task, state, self.after.wall()),
            state: state as i32,
        };
        Some(Event { task_updated: Some(updated), ..of(Type::TaskUpdated) })
    }

    /// Where the entry has left it: live, away with its agent, or over.
    fn find(&self, framework: &FrameworkId, id: &TaskId) -> Option<&'a Task> {
        let live = self.after.task(framework, id);
        let away = || self.after.unreachable_task(&(framework.clone(), id.clone()));
        let record = || self.after.removed_framework(framework)?.record.as_deref();
        let owner = || self.after.framework(framework).or_else(record);
        let over = || owner()?.completed.iter().rev().map(|task| &**task).find(|task| task.spec.id == *id);
        live.or_else(away).or_else(over).or_else(|| self.before.task(framework, id))
    }
}

/// The newest status that reports this state; while the agent has only announced it, the newest of all.
fn status_of(task: &Task, state: TaskState, now: WallMillis) -> v1::TaskStatus {
    let newest = |wanted: &dyn Fn(&Report) -> bool| task.statuses.iter().rev().find(|report| wanted(report));
    match newest(&|report: &Report| report.state == state).or_else(|| newest(&|_: &Report| true)) {
        Some(report) => tasks::status(task, report),
        None => {
            let agent = Some(&task.agent);
            status::of_master(&task.spec.id, agent, state, Reason::Reconciliation, "", now)
        }
    }
}

/// Whether operators are shown the same, but for what it holds and is offered, which is not told of.
fn looks_the_same(one: &Framework, other: &Framework) -> bool {
    one.spec == other.spec
        && one.is_connected() == other.is_connected()
        && one.is_active() == other.is_active()
        && one.reregistered == other.reregistered
}

fn info(framework: &Framework) -> FrameworkInfo {
    let info = FrameworkInfo::decode(framework.spec.info.clone()).unwrap_or_default();
    FrameworkInfo { id: Some(crate::events::framework_id(&framework.id)), ..info }
}

fn of(kind: Type) -> Event {
    Event { r#type: Some(kind as i32), ..Event::default() }
}
