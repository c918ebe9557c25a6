//! Nodes, tasks and the real allocator, in virtual time.

use std::{cmp::Reverse, collections::BTreeMap, collections::BinaryHeap};

use mesarch_allocator::{Allocator, Config, GiveBack, Plan};
use mesarch_types::{
    AgentCapabilities, AgentId, AgentView, FrameworkCapabilities, FrameworkCapability, FrameworkId,
    FrameworkView, Millis, RefuseFilter, Resources, Role, parse_resources,
};
use rand::Rng;

use super::{
    Model,
    job::{Choice, Job},
};

/// The jobs of a simulation cannot end: nothing runs and nothing will be offered. A bug in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {0:?} of virtual time nothing runs and nothing will be offered, but tasks are left")]
pub(super) struct Stalled(Millis);

/// A cluster, or one partition of it, with the frameworks on it.
pub(super) struct Cluster<'a, R> {
    model: &'a Model,
    random: R,
    now: Millis,
    allocator: Allocator,
    nodes: BTreeMap<AgentId, usize>,
    jobs: BTreeMap<FrameworkId, Job>,
    /// What an offer of so many free slots holds.
    slots: Vec<Resources>,
    /// Tasks by their end, then by the order in which they began.
    running: BinaryHeap<Reverse<(Millis, u64, Task)>>,
    started: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Task {
    framework: FrameworkId,
    agent: AgentId,
}

impl<'a, R: Rng> Cluster<'a, R> {
    /// A cluster of the nodes of these numbers; all jobs are there from the beginning, each a framework of its own.
    pub(super) fn new(
        model: &'a Model,
        nodes: impl Iterator<Item = usize>,
        jobs: Vec<Job>,
        random: R,
    ) -> Self {
        let config = Config { allocation_interval: Millis(model.interval_ms), ..Config::default() };
        let mut cluster = Self {
            model,
            random,
            now: Millis::ZERO,
            allocator: Allocator::new(config),
            nodes: nodes.map(|number| (AgentId::from(format!("node-{number:04}")), number)).collect(),
            jobs: BTreeMap::new(),
            slots: (0..=model.slots).map(slots).collect(),
            running: BinaryHeap::new(),
            started: 0,
        };
        for (number, job) in jobs.into_iter().enumerate() {
            let id = FrameworkId::from(format!("hadoop-{number:03}"));
            cluster.allocator.set_framework(framework(&id, true));
            cluster.jobs.insert(id, job);
        }
        for id in cluster.nodes.keys() {
            cluster.allocator.set_agent(agent(id, &cluster.slots[model.slots]));
        }
        cluster
    }

    /// Plays until every job is done; the jobs as they ended.
    pub(super) fn play(mut self) -> Result<Vec<Job>, Stalled> {
        loop {
            self.answer_all();
            let end = self.running.peek().map(|Reverse((end, ..))| *end);
            let waits = self.jobs.values().any(Job::wants_more);
            let wake = self.allocator.next_wake(self.now).filter(|_| waits);
            let Some(next) = end.into_iter().chain(wake).min() else {
                return if waits { Err(Stalled(self.now)) } else { Ok(self.jobs.into_values().collect()) };
            };
            // What is to be done at this moment is done: the allocator is asked again one moment later at the earliest.
            self.now = next.max(self.now.saturating_add(Millis(1)));
            self.end_tasks();
        }
    }

    fn end_tasks(&mut self) {
        while self.running.peek().is_some_and(|Reverse((end, ..))| *end <= self.now) {
            let Some(Reverse((_, _, Task { framework, agent }))) = self.running.pop() else { return };
            self.allocator.give_back(&framework, &role(), &agent, &self.slots[1], GiveBack::Freed);
            if let Some(job) = self.jobs.get_mut(&framework) {
                job.ended(self.now);
            }
        }
    }

    /// Frameworks answer at once.
    fn answer_all(&mut self) {
        loop {
            let plans = self.allocator.plan(self.now, usize::MAX);
            if plans.is_empty() {
                return;
            }
            for Plan { framework, role, agent, resources, .. } in &plans {
                self.allocator.take(framework, role, agent, resources);
            }
            plans.iter().for_each(|plan| self.answer(plan));
        }
    }

    /// A framework fills the slots of an offer one by one and declines those that it has no use for.
    fn answer(&mut self, Plan { framework, role, agent, resources, .. }: &Plan) {
        let job = self.jobs.get_mut(framework).expect("only these frameworks were added");
        let (node, base) = (self.nodes[agent], &self.model);
        let mut free = self.slots.iter().position(|slots| slots == resources).expect("whole slots only");
        while free > 0 {
            let base_ms = match job.offered(node, self.now) {
                Choice::Local => base.local_ms,
                Choice::Remote => base.remote_ms,
                Choice::Decline => break,
            };
            let spread = base_ms * base.spread_percent / 100;
            let took = self.random.random_range(base_ms - spread..=base_ms + spread);
            let task = Task { framework: framework.clone(), agent: agent.clone() };
            self.running.push(Reverse((self.now.saturating_add(Millis(took)), self.started, task)));
            self.started += 1;
            free -= 1;
        }
        let is_done = !job.wants_more();
        if free > 0 {
            let why = GiveBack::Declined { now: self.now };
            self.allocator.give_back(framework, role, agent, &self.slots[free], why);
            let until = self.now.saturating_add(Millis(base.filter_ms));
            let filter = RefuseFilter { refused: self.slots[free].clone(), until };
            self.allocator.refuse(framework, role, agent, filter);
        }
        if is_done {
            self.allocator.set_framework(self::framework(framework, false));
        }
    }
}

fn role() -> Role {
    Role::from("hadoop")
}

/// One slot is a core and a gigabyte.
fn slots(count: usize) -> Resources {
    let text = format!("cpus:{count};mem:{}", 1024 * count);
    parse_resources(&text, &Role::any()).expect("two amounts")
}

fn agent(id: &AgentId, total: &Resources) -> AgentView {
    AgentView {
        id: id.clone(),
        hostname: id.as_str().into(),
        attributes: [].into(),
        total: total.clone(),
        capabilities: AgentCapabilities::all(),
        active: true,
        region: None,
        zone: None,
        unavailability: None,
        version: 1,
    }
}

fn framework(id: &FrameworkId, wants: bool) -> FrameworkView {
    let roles = std::collections::BTreeSet::from([role()]);
    FrameworkView {
        id: id.clone(),
        suppressed: if wants { Default::default() } else { roles.clone() },
        roles,
        capabilities: FrameworkCapabilities::from_iter([FrameworkCapability::MultiRole]),
        active: true,
        min_allocatable: Default::default(),
        constraints: Default::default(),
        version: if wants { 1 } else { 2 },
    }
}
