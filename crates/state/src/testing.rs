//! A small cluster for table tests: every command goes through the codec, and every state through the invariants.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use mesarch_types::{
    AgentId, At, ClusterId, Epoch, ExecutorId, FrameworkId, LaunchId, Millis, OfferId, Role, Source,
    StreamId, TaskId, TaskState, UpdateUuid, WallMillis,
    capability::{AgentCapabilities, FrameworkCapabilities, FrameworkCapability},
    resource::{Resources, parse_resources},
};

use crate::{
    Applied, Change, Command, Effect, FEATURE_LEVEL_MAX, Outcome, State, check,
    command::*,
    model::{OutboxItem, TaskNews},
    open_work, snapshot,
};

pub(crate) const TOTAL: &str = "cpus:8;mem:8192";

/// A cluster under test.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) index: u64,
    pub(crate) now: u64,
    pub(crate) term: u64,
}

pub(crate) fn cluster() -> ClusterId {
    ClusterId([0xab; 16])
}

pub(crate) fn resources(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("well-formed")
}

pub(crate) fn agent_spec() -> AgentSpec {
    AgentSpec {
        info: Bytes::from_static(b"agent"),
        hostname: "host".into(),
        port: 5051,
        total: resources(TOTAL),
        attributes: Arc::from([]),
        capabilities: AgentCapabilities::all(),
        version: "1".into(),
    }
}

pub(crate) fn framework_spec() -> FrameworkSpec {
    FrameworkSpec {
        info: Bytes::new(),
        name: "name".into(),
        user: "user".into(),
        principal: Some("principal".into()),
        roles: [role()].into(),
        capabilities: FrameworkCapabilities::NONE.with(FrameworkCapability::PartitionAware),
        checkpoint: true,
        failover_timeout: Millis::from_secs(60),
        rules: Arc::default(),
    }
}

pub(crate) fn role() -> Role {
    Role::from("eng")
}

pub(crate) fn subscribe() -> Subscribe {
    Subscribe {
        framework: None,
        spec: framework_spec(),
        suppressed: BTreeSet::new(),
        stream: StreamId::from("stream-1"),
        resume: None,
    }
}

pub(crate) fn begin_term() -> BeginTerm {
    BeginTerm { cluster: cluster(), incarnation: 1, level: FEATURE_LEVEL_MAX, policy: None }
}

pub(crate) fn task(id: &str, cpus_mem: &str) -> TaskSpec {
    TaskSpec {
        id: TaskId::from(id),
        info: Bytes::from(format!("task {id}")),
        resources: resources(cpus_mem).allocated_to(&role()),
        executor: None,
    }
}

/// A task whose framework does not say where it is to run, as in entries of older versions.
pub(crate) fn launch_on_nothing(spec: TaskSpec) -> Launch {
    Launch { agent: None, task: Judged::Valid(spec) }
}

pub(crate) fn task_with_executor(id: &str, executor: &str) -> TaskSpec {
    let executor = ExecutorSpec {
        id: ExecutorId::from(executor),
        info: Bytes::from(format!("executor {executor}")),
        resources: resources("cpus:1;mem:64").allocated_to(&role()),
    };
    TaskSpec { executor: Some(executor), ..task(id, "cpus:1;mem:128") }
}

pub(crate) fn link(serial: u64) -> Link {
    Link { term: 1, serial }
}

pub(crate) fn uuid(byte: u8) -> UpdateUuid {
    UpdateUuid([byte; 16])
}

pub(crate) fn refuse(secs: u64) -> Refuse {
    Refuse { duration: Millis::from_secs(secs) }
}

impl World {
    /// A cluster in its first term.
    pub(crate) fn new() -> Self {
        Self::of_level(FEATURE_LEVEL_MAX)
    }

    /// The same, of a cluster that began on this level.
    pub(crate) fn of_level(level: u32) -> Self {
        let mut world = Self { state: State::new(), index: 0, now: 1000, term: 1 };
        world.apply(Command::BeginTerm(BeginTerm { level, ..begin_term() }));
        world
    }

    pub(crate) fn at(&self) -> At {
        At {
            index: self.index,
            position: 0,
            term: self.term,
            now: Millis(self.now),
            wall: WallMillis(self.now),
        }
    }

    /// The epoch of the newest command.
    pub(crate) fn epoch(&self) -> Epoch {
        self.at().epoch()
    }

    /// Applies a command at a new index.
    pub(crate) fn apply(&mut self, command: Command) -> Applied {
        self.index += 1;
        let applied_command = command.clone();
        let decoded = Command::decode(&command.encode()).expect("encoded");
        assert_eq!(decoded, command);
        let applied = self.state.apply(self.at(), command);
        check(&self.state).expect("invariants hold");
        self.assert_restorable();
        let owed = open_work(&self.state);
        for effect in &applied.effects {
            let repeatable = owed.contains(effect) || may_be_lost(&applied_command, effect);
            assert!(repeatable, "{effect:?} is not open work");
        }
        applied
    }

    fn assert_restorable(&self) {
        let mut bytes = Vec::new();
        snapshot::encode(&self.state, &mut bytes).expect("in memory");
        let restored = snapshot::decode(&mut &bytes[..]).expect("just encoded");
        assert_eq!(restored.digest(), self.state.digest());
        check(&restored).expect("invariants hold after a restore");
        assert_eq!(open_work(&restored), open_work(&self.state));
    }

    pub(crate) fn begin_term(&mut self) -> Applied {
        self.term += 1;
        self.apply(Command::BeginTerm(begin_term()))
    }

    /// A new attached agent; `nonce` is its number.
    pub(crate) fn agent(&mut self, nonce: u8) -> AgentId {
        let register = RegisterAgent { nonce: [nonce; 16], spec: agent_spec(), link: link(u64::from(nonce)) };
        match self.apply(Command::RegisterAgent(register)).outcome {
            Outcome::AgentAttached { agent } => agent,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn framework(&mut self) -> FrameworkId {
        self.framework_with(|_| {})
    }

    pub(crate) fn framework_with(&mut self, edit: impl FnOnce(&mut Subscribe)) -> FrameworkId {
        let mut command = subscribe();
        edit(&mut command);
        match self.apply(Command::Subscribe(command)).outcome {
            Outcome::Subscribed { framework, .. } => framework,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn offer_item(&self, framework: &FrameworkId, agent: &AgentId, text: &str) -> OfferItem {
        OfferItem {
            framework: framework.clone(),
            role: role(),
            agent: agent.clone(),
            resources: resources(text),
            framework_version: self.state.framework(framework).expect("known").version,
            agent_version: self.state.agent(agent).expect("known").version,
        }
    }

    pub(crate) fn offer(&mut self, framework: &FrameworkId, agent: &AgentId, text: &str) -> OfferId {
        let items = vec![self.offer_item(framework, agent, text)];
        let policy = self.state.policy_version();
        match self.apply(Command::IssueOffers(IssueOffers { policy, items })).outcome {
            Outcome::Issued(results) => results[0].clone().expect("issued"),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn accept(
        &mut self,
        framework: &FrameworkId,
        offers: &[OfferId],
        tasks: &[TaskSpec],
    ) -> Applied {
        self.apply(Command::AcceptOffers(AcceptOffers {
            framework: framework.clone(),
            offers: offers.to_vec(),
            launches: tasks.iter().cloned().map(launch_on_nothing).collect(),
            operations: Vec::new(),
            refuse: refuse(0),
        }))
    }

    /// Launches one task on an offer of its own and tells its launch id.
    pub(crate) fn launch(&mut self, framework: &FrameworkId, agent: &AgentId, spec: &TaskSpec) -> LaunchId {
        let offer = self.offer(framework, agent, "cpus:2;mem:512");
        self.accept(framework, &[offer], std::slice::from_ref(spec));
        self.state.task(framework, &spec.id).expect("launched").launch
    }

    /// The update that the agent of the task would send.
    pub(crate) fn status(
        &self,
        framework: &FrameworkId,
        task: &str,
        state: TaskState,
        id: u8,
    ) -> RecordUpdates {
        let task = self.state.task(framework, &TaskId::from(task)).expect("known");
        let update = StatusUpdate {
            framework: framework.clone(),
            task: task.spec.id.clone(),
            launch: task.launch,
            status: Bytes::from(format!("status {id}")),
            state,
            latest: state,
            uuid: uuid(id),
            source: Source::Executor,
            reason: None,
        };
        RecordUpdates { agent: task.agent.clone(), updates: vec![update] }
    }

    pub(crate) fn record(
        &mut self,
        framework: &FrameworkId,
        task: &str,
        state: TaskState,
        id: u8,
    ) -> Applied {
        let update = self.status(framework, task, state, id);
        self.apply(Command::RecordUpdates(update))
    }

    pub(crate) fn acknowledge(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        task: &str,
        id: u8,
    ) -> Applied {
        let item = Acknowledgement {
            framework: framework.clone(),
            agent: agent.clone(),
            task: TaskId::from(task),
            uuid: uuid(id),
        };
        self.apply(Command::AcknowledgeUpdates(AcknowledgeUpdates { items: vec![item] }))
    }

    pub(crate) fn forgot(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        task: &str,
        launch: LaunchId,
        id: u8,
    ) {
        self.apply(Command::AgentForgot(AgentForgot {
            agent: agent.clone(),
            acknowledged: vec![(framework.clone(), TaskId::from(task), launch, uuid(id))],
            frameworks: Vec::new(),
        }));
    }

    pub(crate) fn detach(&mut self, agent: &AgentId) -> Applied {
        let link = self.state.agent(agent).expect("known").link;
        self.apply(Command::DetachAgent(DetachAgent { agent: agent.clone(), link }))
    }

    pub(crate) fn give_up(&mut self, agent: &AgentId) -> Applied {
        let link = self.state.agent(agent).expect("known").link;
        self.apply(Command::MarkUnreachable(MarkUnreachable { agents: vec![(agent.clone(), link)] }))
    }

    /// Attaches an agent by a link that is newer than all before.
    pub(crate) fn attach(&mut self, agent: &AgentId, inventory: Option<Inventory>) -> Applied {
        let link = Link { term: self.term, serial: 1000 + self.index };
        self.apply(Command::AttachAgent(AttachAgent {
            agent: agent.clone(),
            link,
            spec: None,
            inventory,
            stored: Default::default(),
        }))
    }

    /// What is free on an agent.
    pub(crate) fn free(&self, agent: &AgentId) -> String {
        self.state.agent(agent).expect("known").available().to_string()
    }

    /// The states told in a framework's outbox, in order.
    pub(crate) fn told(&self, framework: &FrameworkId) -> Vec<(String, TaskState)> {
        let news = self.news(framework).into_iter();
        news.map(|news| (news.task.to_string(), news.state)).collect()
    }

    pub(crate) fn news(&self, framework: &FrameworkId) -> Vec<TaskNews> {
        let items = self.state.framework(framework).expect("known").outbox.values();
        let updates = items.filter_map(|item| match &**item {
            OutboxItem::Update(news) => Some(news.clone()),
            OutboxItem::Rescind(_)
            | OutboxItem::RescindInverse(_)
            | OutboxItem::Failure { .. }
            | OutboxItem::Operation(_) => None,
        });
        updates.collect()
    }

    /// An inventory of the agent's tasks in the table, as the agent would give it.
    pub(crate) fn inventory(&self, agent: &AgentId) -> Inventory {
        let known = self.state.agent(agent).expect("known");
        let tasks = known.tasks.iter().filter_map(|(framework, task)| self.state.task(framework, task));
        let tasks = tasks.map(|task| InventoryTask {
            framework: task.framework.clone(),
            launch: task.launch,
            spec: task.spec.clone(),
            state: task.state,
            acknowledged: task.acknowledged,
        });
        let executors = self.state.executors_on(agent);
        let executors = executors
            .map(|one| InventoryExecutor { framework: one.key.framework.clone(), spec: one.spec.clone() });
        Inventory { tasks: tasks.collect(), executors: executors.collect(), ..Inventory::default() }
    }
}

/// Whether the effect's documentation allows its loss: a stream dies with its leader, and an agent repeats what the
/// answer to an unknown life of a task would have told it.
fn may_be_lost(command: &Command, effect: &Effect) -> bool {
    match effect {
        Effect::CloseStream { .. } | Effect::AcknowledgeOperation { .. } => true,
        Effect::SendAcknowledgement { .. } => matches!(command, Command::RecordUpdates(_)),
        Effect::KillTask { .. } => matches!(command, Command::RecordUpdates(_) | Command::AttachAgent(_)),
        _ => false,
    }
}

/// The changes without those of the kinds that most tests do not look at.
pub(crate) fn without_entities(changes: &[Change]) -> Vec<Change> {
    let kept = |change: &&Change| matches!(change, Change::Taken(_) | Change::Released { .. });
    changes.iter().filter(kept).cloned().collect()
}
