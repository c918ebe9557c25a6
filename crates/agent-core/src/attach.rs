//! What a leader is told first, so that it knows the agent's tasks from one number and a short list.

use bytes::Bytes;
use mesarch_types::{
    AgentId, Fence, FrameworkId, LaunchId, Millis, ResourceVersion, TaskState, UpdateUuid,
    digest::{DIGEST_FORM, SetHash, task_hash},
};

use crate::{
    Agent, ExecutorKey, LinkRefusal, Output, Record, ResourceFacts, TaskFacts, TaskKey, ToMaster,
    agent::{Exit, LinkState, Out},
};

/// Most tasks that an Attach lists one by one (design bound).
pub const LISTED_MAX: usize = 256;

/// Most ends of executors that are kept until the masters have noted them; beyond, the next link brings an inventory.
pub(crate) const EXITS_MAX: usize = 4096;

/// The first message of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// None: the agent asks for an id.
    pub agent: Option<AgentId>,
    /// Form of the digest.
    pub digest_form: u32,
    /// Over the tasks that are not listed.
    pub digest: SetHash,
    /// Tasks whose state the masters may see differently; empty if an inventory is wanted.
    pub listed: Vec<TaskKey>,
    /// The digest says too little: the leader is to ask for the inventory.
    pub inventory_wanted: bool,
    /// The highest fence obeyed.
    pub highest: Option<Fence>,
    /// What of the agent's resources is stored; the default if it was never told anything.
    pub stored: ResourceVersion,
}

/// Everything that the agent runs or has not yet had acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Tasks (without those that were killed before their description came).
    pub tasks: Vec<InventoryTask>,
    /// Frameworks' own executors: owner and `mesos.v1.ExecutorInfo`.
    pub executors: Vec<(FrameworkId, Bytes)>,
    /// Owner and `mesos.v1.FrameworkInfo`.
    pub frameworks: Vec<(FrameworkId, Bytes)>,
    /// The newest launch that was taken: those of up to here that are not listed are over.
    pub newest: LaunchId,
    /// What became of the agent's resources, if it was ever told.
    pub resources: Option<ResourceFacts>,
}

/// A task as its agent knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryTask {
    /// Which life.
    pub key: TaskKey,
    /// `mesos.v1.TaskInfo`.
    pub info: Bytes,
    /// Newest state known.
    pub state: TaskState,
    /// The last acknowledged update.
    pub acknowledged: Option<UpdateUuid>,
}

impl Agent {
    pub(crate) fn link_opened(&mut self, out: &mut Out, number: u64) {
        if self.link.is_some_and(|newest| newest.number >= number) {
            return;
        }
        self.link = Some(LinkState { number, attached: false });
        out.master(ToMaster::Hello(Box::new(self.hello())));
    }

    pub(crate) fn link_closed(&mut self, out: &mut Out, number: u64) {
        if self.link.take_if(|link| link.number == number).is_some_and(|link| link.attached) {
            self.drop_settled(out.now.mono);
        }
    }

    /// The digest, and what the leader must not take from it.
    fn hello(&self) -> Hello {
        let mut digest = SetHash::default();
        let mut listed: Vec<TaskKey> = Vec::new();
        for (key, task) in &self.durable.tasks {
            if quiescent(task) {
                digest.insert(task_hash(&key.framework, &key.task, key.launch, task.acknowledged));
            } else {
                listed.push(key.clone());
            }
        }
        let inventory_wanted = listed.len() > LISTED_MAX || self.owes_inventory;
        if inventory_wanted {
            listed.clear();
        }
        let agent = self.durable.agent.clone();
        Hello {
            agent,
            digest_form: DIGEST_FORM,
            digest,
            listed,
            inventory_wanted,
            highest: self.durable.fence,
            stored: self.durable.resources.version,
        }
    }

    /// Everything that the agent runs or has not yet had acknowledged.
    pub fn inventory(&self) -> Inventory {
        let known = self.durable.tasks.iter().filter(|(_, task)| !task.info.is_empty());
        let tasks = known.map(|(key, task)| InventoryTask {
            key: key.clone(),
            info: task.info.clone(),
            state: task.state,
            acknowledged: task.acknowledged,
        });
        let own = self.durable.runs.iter().filter(|(_, run)| !run.spec.command);
        let frameworks = self.durable.frameworks.iter();
        Inventory {
            tasks: tasks.collect(),
            executors: own.map(|(key, run)| (key.framework.clone(), run.spec.info.clone())).collect(),
            frameworks: frameworks.map(|(id, facts)| (id.clone(), facts.spec.info.clone())).collect(),
            newest: self.durable.newest,
            resources: Some(self.durable.resources.clone())
                .filter(|facts| *facts != ResourceFacts::default()),
        }
    }

    /// The leader knows the agent: tell again what may have been lost, and every head update at once.
    pub(crate) fn attach(&mut self, out: &mut Out, agent: AgentId) {
        let Some(link) = &mut self.link else { return };
        match &self.durable.agent {
            Some(own) if *own != agent => {
                let number = link.number;
                out.outputs.push(Output::CloseLink { link: number, why: LinkRefusal::OtherAgent });
                return;
            }
            _ => link.attached = true,
        }
        if self.durable.agent.is_none() {
            self.commit(out, Record::Identity(agent));
        }
        self.owes_inventory = false;
        self.tell_again(out);
        let keys: Vec<TaskKey> = self.durable.tasks.keys().cloned().collect();
        for key in keys {
            self.send_head(out, &key, self.config.repeat_first);
        }
    }

    fn tell_again(&mut self, out: &mut Out) {
        for (executor, Exit { newest, status }) in &self.exited {
            let (executor, newest, status) = (executor.clone(), *newest, *status);
            out.outputs.push(Output::ToMaster(ToMaster::ExecutorExited { executor, newest, status }));
        }
        for (at, key, uuid) in &mut self.forgotten {
            *at = out.now.mono;
            out.outputs.push(Output::ToMaster(ToMaster::Forgot { key: key.clone(), uuid: *uuid }));
        }
    }

    /// No run of the executor is there or awaited: the masters are told, on every link, until they have noted it.
    ///
    /// Launches come in their order, so the newest one taken says which of those that the masters have accepted for the
    /// executor were still on their way: these start another run, and that is not what has ended.
    pub(crate) fn tell_exit(&mut self, out: &mut Out, executor: ExecutorKey, status: i32) {
        let newest = self.durable.newest;
        if self.attached() {
            out.master(ToMaster::ExecutorExited { executor: executor.clone(), newest, status });
        }
        self.exited.insert(executor, Exit { newest, status });
        if self.exited.len() > EXITS_MAX {
            self.exited.pop_first();
            self.owes_inventory = true;
        }
    }

    pub(crate) fn exit_noted(&mut self, executor: &ExecutorKey, newest: LaunchId) {
        if self.exited.get(executor).is_some_and(|exit| exit.newest == newest) {
            self.exited.remove(executor);
        }
    }

    pub(crate) fn remember_forgotten(&mut self, now: Millis, key: TaskKey, uuid: UpdateUuid) {
        if self.attached() {
            self.drop_settled(now);
        }
        self.forgotten.push_back((now, key, uuid));
        // Those that the masters have not heard of make the digests differ, unless it is all or none of them: the
        // inventory then says it. None of it is needed for long: the masters repeat what was not confirmed.
        if self.forgotten.len() > LISTED_MAX + 1 {
            self.forgotten.pop_front();
        }
    }

    /// What was told on a link that lived on for a while has arrived. Not to be called while nobody listens.
    fn drop_settled(&mut self, now: Millis) {
        let settled = now.saturating_sub(self.config.in_flight_window);
        while self.forgotten.pop_front_if(|(at, ..)| *at < settled).is_some() {}
    }
}

/// Whether both sides see the task alike if no message is lost: it has been reported, and that was acknowledged.
fn quiescent(task: &TaskFacts) -> bool {
    task.updates.is_empty() && task.acknowledged.is_some()
}
