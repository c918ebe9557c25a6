//! Agents and frameworks that do what the protocol asks of them, in one thread.

use std::collections::{BTreeMap, BTreeSet};

use mesarch_leader_core::{Attach, CloseReason, FromAgent, Hello, Input, Output, TaskKey, ToAgent};
use mesarch_state::{
    Command, Effect,
    command::{
        AcceptOffers, AcknowledgeUpdates, Acknowledgement, AgentSpec, AnswerInverseOffers, DeclineOffers,
        Inventory, InventoryTask, Judged, Launch, Link, Refuse, StatusUpdate, TaskSpec,
    },
    model::OutboxItem,
};
use mesarch_types::{
    AgentId, Epoch, Fence, FrameworkId, LaunchId, Millis, OfferId, ResourceVersion, Source, StreamId, TaskId,
    TaskState, UpdateUuid,
    digest::{DIGEST_FORM, SetHash, task_hash},
};

use crate::cluster::{CLUSTER, Cluster, agent_spec, resources, subscription};

/// A task as its agent knows it.
#[derive(Clone)]
struct Life {
    launch: LaunchId,
    spec: TaskSpec,
    state: TaskState,
    /// Recorded updates that the framework has not acknowledged, oldest first.
    unacknowledged: Vec<(UpdateUuid, TaskState)>,
    acknowledged: Option<UpdateUuid>,
}

/// An agent with its memory.
pub(crate) struct Agent {
    nonce: u8,
    pub(crate) id: Option<AgentId>,
    pub(crate) link: Option<Link>,
    tasks: BTreeMap<(FrameworkId, TaskId), Life>,
    /// No launch up to this one is run again.
    watermark: LaunchId,
    /// What it has stored of its resources.
    resources: ResourceVersion,
    pub(crate) answers_pings: bool,
    drawn: u64,
}

impl Agent {
    pub(crate) fn new(nonce: u8) -> Self {
        Self {
            nonce,
            id: None,
            link: None,
            tasks: BTreeMap::new(),
            watermark: LaunchId::default(),
            resources: ResourceVersion::default(),
            answers_pings: true,
            drawn: 0,
        }
    }

    fn spec(&self) -> AgentSpec {
        agent_spec(&format!("h{}", self.nonce), "cpus:4;mem:4096")
    }

    /// Opens a link, unless one is open.
    pub(crate) fn connect(&mut self, cluster: &mut Cluster) {
        if self.link.is_some() || cluster.leader.is_none() {
            return;
        }
        let link = cluster.link();
        self.link = Some(link);
        let hello = match &self.id {
            None => Hello::Register { nonce: [self.nonce; 16], spec: self.spec() },
            Some(id) => Hello::Attach(self.attach(id.clone(), cluster.term)),
        };
        cluster.input(Input::LinkOpened { link, hello });
    }

    fn attach(&self, agent: AgentId, term: u64) -> Attach {
        let mut digest = SetHash::default();
        let mut listed = Vec::new();
        for ((framework, task), life) in &self.tasks {
            if life.unacknowledged.is_empty() && life.acknowledged.is_some() {
                digest.insert(task_hash(framework, task, life.launch, life.acknowledged));
            } else {
                let (framework, task, launch) = (framework.clone(), task.clone(), life.launch);
                listed.push(TaskKey { framework, task, launch });
            }
        }
        let highest = Some(Fence { cluster: CLUSTER, incarnation: 1, term });
        let (spec, inventory_wanted) = (self.spec(), false);
        let stored = self.resources;
        Attach { agent, spec, digest_form: DIGEST_FORM, digest, listed, inventory_wanted, highest, stored }
    }

    /// The link breaks.
    pub(crate) fn disconnect(&mut self, cluster: &mut Cluster) {
        if let Some(link) = self.link.take() {
            cluster.input(Input::LinkClosed { link });
        }
    }

    /// One of its tasks goes on to `state`.
    pub(crate) fn advance(&mut self, cluster: &mut Cluster, nth: usize, state: TaskState) {
        let live: Vec<_> =
            self.tasks.iter().filter(|(_, life)| !life.state.is_terminal()).map(|it| it.0.clone()).collect();
        if let Some(key) = live.get(nth % live.len().max(1)).cloned() {
            self.report(&key, state);
            self.send_updates(cluster);
        }
    }

    fn report(&mut self, key: &(FrameworkId, TaskId), state: TaskState) {
        self.drawn += 1;
        let mut uuid = [self.nonce; 16];
        uuid[..8].copy_from_slice(&self.drawn.to_le_bytes());
        if let Some(life) = self.tasks.get_mut(key) {
            life.state = state;
            life.unacknowledged.push((UpdateUuid(uuid), state));
        }
    }

    /// The head of every task's updates, as on every attachment and by timer.
    pub(crate) fn send_updates(&mut self, cluster: &mut Cluster) {
        let Some(link) = self.link else { return };
        let heads = self.tasks.iter().filter_map(|((framework, task), life)| {
            let (uuid, state) = *life.unacknowledged.first()?;
            Some(StatusUpdate {
                framework: framework.clone(),
                task: task.clone(),
                launch: life.launch,
                status: uuid.0.to_vec().into(),
                state,
                latest: life.state,
                uuid,
                source: Source::Executor,
                reason: None,
            })
        });
        let updates: Vec<_> = heads.collect();
        if !updates.is_empty() {
            cluster.input(Input::FromAgent { link, message: FromAgent::Updates(updates) });
        }
    }

    /// A message on its link.
    fn take(&mut self, cluster: &mut Cluster, link: Link, message: ToAgent) {
        match message {
            ToAgent::Attached { agent, .. } => {
                self.id = Some(agent);
                self.send_updates(cluster);
            }
            ToAgent::InventoryRequest => {
                let inventory = self.inventory();
                cluster.input(Input::LinkInventory { link, inventory });
            }
            ToAgent::Resources { agent } => {
                let told = cluster.state.agent(&agent).map(|agent| agent.converted_at);
                self.resources = told.unwrap_or(self.resources);
                let message = FromAgent::ResourcesStored(self.resources);
                cluster.input(Input::FromAgent { link, message });
            }
            ToAgent::RunTask { framework, task, launch } => self.run(cluster, (framework, task), launch),
            ToAgent::KillTask { framework, task, launch } => {
                let key = (framework, task);
                if self.tasks.get(&key).is_some_and(|life| life.launch == launch && !life.state.is_terminal())
                {
                    self.report(&key, TaskState::Killed);
                    self.send_updates(cluster);
                }
            }
            ToAgent::Acknowledged { framework, task, launch, uuid } => {
                self.acknowledged(cluster, link, (framework, task), launch, uuid);
            }
            ToAgent::ShutdownFramework { framework } => {
                self.tasks.retain(|key, _| key.0 != framework);
                let message = FromAgent::Forgot { acknowledged: Vec::new(), frameworks: vec![framework] };
                cluster.input(Input::FromAgent { link, message });
            }
            ToAgent::Shutdown { reason } => {
                self.tasks.clear();
                if reason == CloseReason::Gone {
                    // Its operator gives it an empty work directory.
                    self.id = None;
                }
            }
            ToAgent::ApplyOperation { .. } | ToAgent::OperationAcknowledged { .. } => {
                panic!("{message:?} is for resource providers, and there are none")
            }
            ToAgent::ShutdownExecutor { .. } | ToAgent::ExecutorExitNoted { .. } => {}
            ToAgent::Ping { number } if self.answers_pings => cluster.input(Input::Pong { link, number }),
            ToAgent::Ping { .. } => {}
        }
    }

    fn inventory(&self) -> Inventory {
        let tasks = self.tasks.iter().map(|((framework, _), life)| InventoryTask {
            framework: framework.clone(),
            launch: life.launch,
            spec: life.spec.clone(),
            state: life.state,
            acknowledged: life.acknowledged,
        });
        Inventory { tasks: tasks.collect(), ..Inventory::default() }
    }

    fn run(&mut self, cluster: &mut Cluster, key: (FrameworkId, TaskId), launch: LaunchId) {
        let Some(task) = cluster.state.task(&key.0, &key.1).filter(|task| task.launch == launch) else {
            return;
        };
        if launch <= self.watermark {
            return;
        }
        self.watermark = launch;
        let life = Life {
            launch,
            spec: task.spec.clone(),
            state: TaskState::Staging,
            unacknowledged: Vec::new(),
            acknowledged: None,
        };
        assert!(self.tasks.insert(key.clone(), life).is_none(), "a task id is used once at a time");
        self.report(&key, TaskState::Running);
        self.send_updates(cluster);
    }

    fn acknowledged(
        &mut self,
        cluster: &mut Cluster,
        link: Link,
        key: (FrameworkId, TaskId),
        launch: LaunchId,
        uuid: UpdateUuid,
    ) {
        if let Some(life) = self.tasks.get_mut(&key).filter(|life| life.launch == launch) {
            if life.unacknowledged.first().is_some_and(|head| head.0 == uuid) {
                life.unacknowledged.remove(0);
                life.acknowledged = Some(uuid);
            }
            if life.state.is_terminal() && life.unacknowledged.is_empty() {
                self.tasks.remove(&key);
            }
        }
        let message =
            FromAgent::Forgot { acknowledged: vec![(key.0, key.1, launch, uuid)], frameworks: Vec::new() };
        cluster.input(Input::FromAgent { link, message });
        self.send_updates(cluster);
    }
}

/// A framework with its scheduler.
pub(crate) struct Framework {
    name: String,
    pub(crate) id: Option<FrameworkId>,
    pub(crate) stream: Option<(StreamId, Epoch)>,
    pub(crate) offers: BTreeSet<OfferId>,
    /// So many tasks are still to be launched.
    pub(crate) wants: usize,
    pub(crate) refuse: Millis,
    pub(crate) offers_seen: usize,
    named: usize,
}

impl Framework {
    pub(crate) fn new(name: &str, wants: usize, refuse: Millis) -> Self {
        Self {
            name: name.into(),
            id: None,
            stream: None,
            offers: BTreeSet::new(),
            wants,
            refuse,
            offers_seen: 0,
            named: 0,
        }
    }

    /// Subscribes, unless a stream is in place.
    pub(crate) fn connect(&mut self, cluster: &mut Cluster) {
        if self.stream.is_some() || cluster.leader.is_none() {
            return;
        }
        let mut c = subscription(&self.name, 100_000);
        c.framework = self.id.clone();
        c.stream = StreamId::from(format!("{}-{}", self.name, cluster.index));
        let stream = c.stream.clone();
        self.offers.clear();
        let (id, epoch) = cluster.subscribe(c);
        self.stream = Some((stream, epoch));
        self.id = Some(id);
    }

    /// The stream breaks.
    pub(crate) fn disconnect(&mut self, cluster: &mut Cluster) {
        if let (Some(framework), Some((_, epoch))) = (self.id.clone(), self.stream.take()) {
            cluster.input(Input::StreamClosed { framework, epoch });
        }
    }

    /// What a leader tells it, as its master would write it to the stream.
    fn take(&mut self, cluster: &mut Cluster, effect: Effect) {
        match effect {
            Effect::SendOffer { framework, offer } => self.offered(cluster, framework, offer),
            Effect::SendUpdate { framework, task, uuid } => {
                let Some(known) = cluster.state.task(&framework, &task) else {
                    return;
                };
                let agent = known.agent.clone();
                let items = vec![Acknowledgement { framework, agent, task, uuid }];
                cluster.command(Command::AcknowledgeUpdates(AcknowledgeUpdates { items }));
            }
            Effect::SendOutbox { framework, position } => {
                let Some(known) = cluster.state.framework(&framework) else {
                    return;
                };
                let item = known.outbox.get(&position).cloned();
                match item.as_deref() {
                    Some(OutboxItem::Rescind(offer)) => drop(self.offers.remove(offer)),
                    Some(
                        OutboxItem::Update(_)
                        | OutboxItem::Failure { .. }
                        | OutboxItem::RescindInverse(_)
                        | OutboxItem::Operation(_),
                    ) => {}
                    None => return,
                }
                let Some((_, epoch)) = self.stream else { return };
                cluster.input(Input::Delivered { framework, epoch, up_to: position });
            }
            Effect::SendInverseOffer { framework, agent } => {
                let Some(asked) = cluster.state.inverse_offer(&framework, &agent) else {
                    return;
                };
                let (offers, refuse) = (vec![asked.id.clone()], Refuse { duration: self.refuse });
                let answer = AnswerInverseOffers { framework, offers, accepted: true, refuse };
                cluster.command(Command::AnswerInverseOffers(answer));
            }
            Effect::CloseStream { epoch, .. } => {
                if self.stream.as_ref().is_some_and(|(_, current)| *current == epoch) {
                    self.stream = None;
                }
            }
            other => panic!("{other:?} is not for frameworks"),
        }
    }

    fn offered(&mut self, cluster: &mut Cluster, framework: FrameworkId, offer: OfferId) {
        if cluster.state.offer(&offer).is_none() {
            return;
        }
        self.offers_seen += 1;
        let refuse = Refuse { duration: self.refuse };
        if self.wants == 0 {
            let offers = vec![offer];
            cluster.command(Command::DeclineOffers(DeclineOffers { framework, offers, refuse }));
            return;
        }
        self.wants -= 1;
        self.named += 1;
        let id = TaskId::from(format!("{}-{}", self.name, self.named));
        let info = id.as_str().to_owned().into();
        let spec = TaskSpec { id, info, resources: resources("cpus:1;mem:64"), executor: None };
        let (offers, launches) = (vec![offer], vec![Launch { agent: None, task: Judged::Valid(spec) }]);
        cluster.command(Command::AcceptOffers(AcceptOffers {
            framework,
            offers,
            launches,
            operations: Vec::new(),
            refuse,
        }));
    }
}

/// Everybody who talks to the leader.
pub(crate) struct Players {
    pub(crate) agents: Vec<Agent>,
    pub(crate) frameworks: Vec<Framework>,
}

impl Players {
    /// Hands every output to whom it is for, until nothing comes any more.
    pub(crate) fn deliver(&mut self, cluster: &mut Cluster) {
        while let Some(output) = cluster.outputs.pop_front() {
            match output {
                Output::Send { link, message } => {
                    if let Some(agent) = self.agents.iter_mut().find(|agent| agent.link == Some(link)) {
                        agent.take(cluster, link, message);
                    }
                }
                Output::CloseLink { link, .. } => {
                    let agent = self.agents.iter_mut().find(|agent| agent.link == Some(link));
                    agent.into_iter().for_each(|agent| agent.link = None);
                }
                Output::Perform(effect) => {
                    let to = owner(&effect);
                    if let Some(framework) =
                        self.frameworks.iter_mut().find(|known| known.id.as_ref() == Some(&to))
                    {
                        framework.take(cluster, effect);
                    }
                }
                Output::Propose { .. } => unreachable!("proposals go into the log"),
            }
        }
    }

    /// Links and streams break with their leader.
    pub(crate) fn fail_over(&mut self, cluster: &mut Cluster) {
        self.agents.iter_mut().for_each(|agent| agent.link = None);
        self.frameworks.iter_mut().for_each(|framework| framework.stream = None);
        cluster.fail_over();
    }

    /// Everybody comes back.
    pub(crate) fn connect_all(&mut self, cluster: &mut Cluster) {
        for agent in &mut self.agents {
            agent.connect(cluster);
        }
        for framework in &mut self.frameworks {
            framework.connect(cluster);
        }
        self.deliver(cluster);
    }

    /// Lets time pass in small pieces, with everybody at work.
    pub(crate) fn pass(&mut self, cluster: &mut Cluster, millis: u64) {
        for _ in 0..millis.div_ceil(100) {
            cluster.pass(100);
            self.deliver(cluster);
        }
    }
}

fn owner(effect: &Effect) -> FrameworkId {
    match effect {
        Effect::SendOffer { framework, .. }
        | Effect::SendInverseOffer { framework, .. }
        | Effect::SendUpdate { framework, .. }
        | Effect::SendOutbox { framework, .. }
        | Effect::CloseStream { framework, .. } => framework.clone(),
        other => panic!("{other:?} is not for frameworks"),
    }
}
