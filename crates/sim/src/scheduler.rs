//! Frameworks' schedulers: they launch, decline, acknowledge, lose their stream and repeat themselves.

use std::collections::{BTreeMap, BTreeSet};

use mesarch_state::{
    Command,
    command::{
        AcceptOffers, AcknowledgeOperation, AcknowledgeUpdates, Acknowledgement, DeclineOffers,
        FrameworkRoles, FrameworkSpec, Judged, Launch, Operation, Refuse, Subscribe,
    },
};
use mesarch_types::{
    AgentId, Conversion, Epoch, FrameworkCapability, FrameworkId, Millis, OfferId, Role, StreamId, TaskId,
    TaskState, UpdateUuid,
};

use crate::{
    convert,
    event::{Call, Event, News, Proposer},
    world::World,
};

/// One scheduler.
#[derive(Default)]
pub(crate) struct Scheduler {
    pub(crate) id: Option<FrameworkId>,
    pub(crate) stream: Option<(Epoch, StreamId)>,
    /// The last stream, to go on with.
    last: Option<StreamId>,
    offers: BTreeSet<OfferId>,
    /// So many tasks are still to be launched.
    pub(crate) wants: usize,
    pub(crate) offers_seen: u64,
    /// Tasks, and whether their end has been told; by framework, for a removed one starts anew.
    pub(crate) told: BTreeMap<(FrameworkId, TaskId), bool>,
    named: u64,
    /// Ids of tasks whose end has been told: they may be used again.
    spare: BTreeSet<TaskId>,
}

impl Scheduler {
    /// A new one that wants to launch so many tasks.
    pub(crate) fn wanting(tasks: usize) -> Self {
        Self { wants: tasks, ..Self::default() }
    }

    /// What is told of a task, with or without a uuid.
    fn hear(&mut self, framework: &FrameworkId, task: &TaskId, state: TaskState) {
        *self.told.entry((framework.clone(), task.clone())).or_default() |= state.is_terminal();
        if state.is_terminal() {
            self.spare.insert(task.clone());
        }
    }

    /// A task was launched, maybe under an id that was used before: its end is still to be told.
    pub(crate) fn begin(&mut self, framework: &FrameworkId, task: &TaskId) {
        self.told.insert((framework.clone(), task.clone()), false);
        self.spare.remove(task);
    }

    pub(crate) fn held_offers(&self) -> Vec<OfferId> {
        self.offers.iter().cloned().collect()
    }
}

impl World {
    /// Keeps asking until a stream is there.
    pub(crate) fn subscribe(&mut self, number: usize) {
        if self.schedulers[number].stream.is_some() {
            return;
        }
        self.soon(1500, 4000, Event::Subscribe { scheduler: number });
        if self.master.leader.is_none() {
            return;
        }
        let stream = StreamId::from(format!("stream-{}", self.fresh()));
        let resumes = self.rng.chance(60);
        let scheduler = &self.schedulers[number];
        let resume = scheduler.last.clone().filter(|_| resumes);
        let command = Subscribe {
            framework: scheduler.id.clone(),
            spec: spec(number, self.checkpoints(number)),
            suppressed: BTreeSet::new(),
            stream,
            resume,
        };
        self.propose(Proposer::Subscriber(number), Command::Subscribe(command));
    }

    pub(crate) fn called(&mut self, number: usize, call: Call) {
        match call {
            Call::Command(command) | Call::Insist(command) if self.master.leader.is_some() => {
                self.propose(Proposer::Caller, command);
            }
            Call::Insist(command) => {
                let call = Call::Insist(command);
                self.soon(200, 3000, Event::Call { scheduler: number, call });
            }
            Call::Command(_) => {}
        }
    }

    pub(crate) fn insist(&mut self, number: usize, command: Command) {
        self.soon(4000, 5000, Event::Call { scheduler: number, call: Call::Insist(command) });
    }

    /// It wants offers again, for whatever role it had suppressed.
    pub(crate) fn revive(&mut self, number: usize) {
        if let Some(framework) = self.schedulers[number].id.clone() {
            let roles = BTreeSet::new();
            self.insist(number, Command::Revive(FrameworkRoles { framework, roles }));
        }
    }

    pub(crate) fn call(&mut self, number: usize, command: Command) {
        self.soon(1, 60, Event::Call { scheduler: number, call: Call::Command(command) });
    }

    pub(crate) fn told(&mut self, number: usize, epoch: Epoch, news: News) {
        let scheduler = &mut self.schedulers[number];
        match news {
            News::Subscribed { framework, stream, resumed } => {
                // Of two subscriptions the newer one counts; the scheduler closes the other one's stream.
                let newest = scheduler.stream.as_ref().map(|(newest, _)| *newest);
                if newest.is_some_and(|newest| newest > epoch) {
                    return self.soon(1, 100, Event::StreamGone { framework, epoch });
                }
                let former = scheduler.id.clone().zip(newest);
                if !resumed {
                    scheduler.offers.clear();
                }
                scheduler.id = Some(framework);
                scheduler.last = Some(stream.clone());
                scheduler.stream = Some((epoch, stream));
                if let Some((framework, epoch)) = former {
                    self.soon(1, 100, Event::StreamGone { framework, epoch });
                }
            }
            News::Removed => self.start_anew(number),
            other if scheduler.stream.as_ref().is_some_and(|(current, _)| *current == epoch) => {
                self.told_on_stream(number, other);
            }
            _ => {}
        }
    }

    /// The framework is removed: the scheduler asks for a new id.
    pub(crate) fn start_anew(&mut self, number: usize) {
        let scheduler = &mut self.schedulers[number];
        scheduler.id = None;
        scheduler.stream = None;
        scheduler.last = None;
        scheduler.offers.clear();
        scheduler.spare.clear();
        self.soon(1, 500, Event::Subscribe { scheduler: number });
    }

    fn told_on_stream(&mut self, number: usize, news: News) {
        let scheduler = &mut self.schedulers[number];
        let Some(framework) = scheduler.id.clone() else {
            return;
        };
        match news {
            News::Offer(offer) => {
                scheduler.offers_seen += 1;
                scheduler.offers.insert(offer.clone());
                self.answer_offer(number, framework, offer);
            }
            News::Rescind(offer) => drop(scheduler.offers.remove(&offer)),
            News::Update { task, uuid, state, agent } => {
                scheduler.hear(&framework, &task, state);
                self.watch.updated(&framework, &task, uuid, state);
                self.acknowledge(number, framework, agent, task, uuid);
            }
            News::Operation { operation, uuid } => {
                self.operations_ended += 1;
                if self.calm || self.rng.chance(85) {
                    let acknowledge = AcknowledgeOperation { framework, operation, uuid };
                    self.call(number, Command::AcknowledgeOperation(acknowledge));
                }
            }
            News::Status { task, state } => scheduler.hear(&framework, &task, state),
            News::Closed => {
                scheduler.stream = None;
                self.soon(1, 1000, Event::Subscribe { scheduler: number });
            }
            News::Failure | News::Subscribed { .. } | News::Removed => {}
        }
    }

    fn acknowledge(
        &mut self,
        number: usize,
        framework: FrameworkId,
        agent: AgentId,
        task: TaskId,
        uuid: UpdateUuid,
    ) {
        if self.calm || self.rng.chance(85) {
            let items = vec![Acknowledgement { framework, agent, task, uuid }];
            self.call(number, Command::AcknowledgeUpdates(AcknowledgeUpdates { items }));
        }
    }

    fn answer_offer(&mut self, number: usize, framework: FrameworkId, offer: OfferId) {
        let refuse = Refuse { duration: Millis([0, 1000, 5000, 20_000][self.rng.index(4)]) };
        let idle = !self.calm && self.rng.chance(5);
        let offers = vec![offer];
        if idle {
            return;
        }
        if self.schedulers[number].wants == 0 || self.rng.chance(20) {
            return self.call(number, Command::DeclineOffers(DeclineOffers { framework, offers, refuse }));
        }
        let mut launches: Vec<Launch> = (0..self.rng.between(1, 3)).map(|_| self.new_task(number)).collect();
        if self.rng.chance(30) {
            self.group(number, &mut launches);
        }
        let operations = self.new_operations(number, &offers[0]);
        let command = Command::AcceptOffers(AcceptOffers { framework, offers, launches, operations, refuse });
        let call = Call::Insist(command);
        if self.rng.chance(10) {
            self.soon(1, 5000, Event::Call { scheduler: number, call: call.clone() });
        }
        self.soon(1, 60, Event::Call { scheduler: number, call });
    }

    /// Reservations and volumes on what is offered, or the end of some that are offered. Some are not possible.
    fn new_operations(&mut self, number: usize, offer: &OfferId) -> Vec<Operation> {
        let role = role_of(number);
        let offered = self.master.state.offer(offer).map(|offer| offer.resources.without_allocation());
        let reserved = offered.unwrap_or_default().filter(|resource| !resource.reservations.is_empty());
        let (volumes, plain) = (
            reserved.filter(|resource| resource.is_persistent()),
            reserved.filter(|resource| !resource.is_persistent()),
        );
        let mut conversions = Vec::new();
        match self.rng.between(0, 6) {
            0 => {
                let disk = format!("disk({role},op):20");
                let id = self.rng.between(0, 4);
                conversions.push(Conversion::Reserve(convert::resources(&disk)));
                conversions.push(Conversion::Create(convert::volume(&format!("v{id}"), &disk)));
            }
            1 => conversions.push(Conversion::Reserve(convert::resources(&format!("mem({role},op):64")))),
            2 if !volumes.is_empty() => conversions.push(Conversion::Destroy(volumes)),
            3 if !plain.is_empty() => conversions.push(Conversion::Unreserve(plain)),
            _ => {}
        }
        let operations = conversions.into_iter().map(|conversion| {
            let serial = self.fresh();
            let mut uuid = [0; 16];
            uuid[..8].copy_from_slice(&serial.to_le_bytes());
            Operation {
                before: self.rng.between(0, 2) as u32,
                id: self.rng.chance(70).then(|| format!("operation-{serial}").into()),
                uuid: UpdateUuid(uuid),
                info: Default::default(),
                judged: Ok(conversion),
            }
        });
        operations.collect()
    }

    /// In two stories of three some frameworks' tasks do not outlive a broken link or a restart of their agent.
    fn checkpoints(&self, number: usize) -> bool {
        self.options.seed.is_multiple_of(3) || number.is_multiple_of(2)
    }

    /// Half of the time under an id that was used before, if the end of its task was told.
    fn new_task(&mut self, number: usize) -> Launch {
        let (own, again) = (self.rng.chance(45), self.rng.chance(50));
        let nth = self.rng.index(self.schedulers[number].spare.len());
        let life = self.fresh();
        let scheduler = &mut self.schedulers[number];
        scheduler.wants = scheduler.wants.saturating_sub(1);
        let spare = scheduler.spare.iter().nth(nth).cloned().filter(|_| again);
        let id = match spare {
            Some(id) => {
                self.reused += 1;
                scheduler.spare.take(&id).unwrap_or(id)
            }
            None => {
                scheduler.named += 1;
                TaskId::from(format!("task-{number}-{}", scheduler.named))
            }
        };
        let executor = own.then(|| convert::executor_spec(&format!("executor-{number}"), "cpus:0.1;mem:32"));
        let task = Judged::Valid(convert::task_spec(&id, "cpus:0.5;mem:128", executor, life));
        Launch { agent: None, group: None, task }
    }

    /// Makes one group of the launches.
    fn group(&self, number: usize, launches: &mut [Launch]) {
        for launch in launches {
            launch.group = Some(0);
            if let Judged::Valid(spec) = &mut launch.task {
                let executor = || convert::executor_spec(&format!("executor-{number}"), "cpus:0.1;mem:32");
                spec.executor.get_or_insert_with(executor);
            }
        }
    }
}

fn role_of(number: usize) -> &'static str {
    ["a", "b", "b/c", "d"][number % 4]
}

fn spec(number: usize, checkpoint: bool) -> FrameworkSpec {
    let name = role_of(number);
    FrameworkSpec {
        info: name.to_owned().into(),
        name: name.into(),
        user: "u".into(),
        principal: None,
        roles: [Role::from(name)].into(),
        capabilities: [FrameworkCapability::MultiRole, FrameworkCapability::PartitionAware]
            .into_iter()
            .collect(),
        checkpoint,
        failover_timeout: Millis::from_secs(3600),
        rules: Default::default(),
    }
}
