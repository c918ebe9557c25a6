//! Turns small random choices into commands that mostly make sense in the present state.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use mesarch_proto::mesos::v1::FrameworkInfo;
use mesarch_state::{
    Applied, Command, FEATURE_LEVEL_MAX, LEVEL_ADMIN, LEVEL_PROVIDERS, State,
    command::*,
    model::{self, MachineId, MachineMode, Task},
};
use mesarch_types::{
    AgentId, At, ClusterId, Constraint, Constraints, Conversion, Disk, DiskSource, Epoch, FrameworkId,
    LaunchId, Millis, OfferId, OperationId, OperationState, Predicate, Priority, ProviderId, Quantities,
    Quota, Reservations, Resource, ResourceVersion, Role, Scalar, Selector, Source, StreamId, TaskId,
    TaskState, TextPattern, Unavailability, UpdateUuid, WallMillis, Weight,
    capability::{AgentCapabilities, FrameworkCapabilities, FrameworkCapability},
    resource::{Resources, parse_resources},
};
use prost::Message;

/// What decides one command: its kind, and three picks.
pub(crate) type Choice = [u8; 4];

/// A cluster that is driven by choices.
#[derive(Clone)]
pub(crate) struct Driver {
    pub(crate) state: State,
    pub(crate) at: At,
    serial: u64,
}

const ROLES: [&str; 3] = ["eng", "eng/web", "ops"];
const STATES: [TaskState; 8] = [
    TaskState::Starting,
    TaskState::Running,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Failed,
    TaskState::Killed,
    TaskState::Dropped,
];

pub(crate) fn resources(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("well-formed")
}

fn pick<T>(list: impl IntoIterator<Item = T>, choice: u8) -> Option<T> {
    let mut list: Vec<T> = list.into_iter().collect();
    let count = list.len();
    (count > 0).then(|| list.swap_remove(usize::from(choice) % count))
}

/// Dynamically reserved, too.
fn reserved(resource: Resource, role: &Role) -> Resource {
    let like = resources(&format!("disk({role},op):1"));
    let innermost = like.iter().flat_map(|one| one.reservations.iter()).cloned();
    let reservations = resource.reservations.iter().cloned().chain(innermost).collect();
    Resource { reservations, ..resource }
}

impl Driver {
    pub(crate) fn new() -> Self {
        Self::of_level(FEATURE_LEVEL_MAX)
    }

    /// A cluster that begins on a level; if it is not the newest, the level rises on the way.
    pub(crate) fn of_level(level: u32) -> Self {
        let at = At { index: 0, position: 0, term: 0, now: Millis(1), wall: WallMillis(1) };
        let mut driver = Self { state: State::new(), at, serial: 0 };
        if let Command::BeginTerm(begin) = driver.begin_term() {
            driver.apply(Command::BeginTerm(BeginTerm { level, ..begin }));
        }
        driver
    }

    /// Applies a command, some of them in the same entry as the one before.
    pub(crate) fn apply(&mut self, command: Command) -> Applied {
        self.state.apply(self.at, command)
    }

    /// The next command; where it has nothing to work on it is one about something unknown.
    pub(crate) fn next(&mut self, [kind, a, b, c]: Choice) -> Command {
        let same_entry = kind >= 128 && self.at.position < 7;
        self.at.position = if same_entry { self.at.position + 1 } else { 0 };
        self.at.index += u64::from(!same_entry);
        self.at.now = self.at.now.saturating_add(Millis(u64::from(c) * 10));
        self.at.wall = WallMillis(self.at.now.0 + 1_000_000);
        let few_agents = self.state.agents().count() < 4;
        if self.state.level() >= LEVEL_ADMIN && kind % 16 == 15 {
            return self.administer(a, b, c);
        }
        if self.state.level() >= LEVEL_PROVIDERS && kind % 16 == 14 {
            return self.provide(a, b, c);
        }
        match kind % 50 {
            0 if a < 64 => self.begin_term(),
            0 if self.state.level() < FEATURE_LEVEL_MAX => {
                Command::SetLevel(SetLevel { level: self.state.level() + 1 })
            }
            0..=3 if few_agents || b < 16 => self.register(a, b),
            0..=3 => self.attach(a, b, c),
            4 if b < 96 => Command::DetachAgent(self.detach(a, b)),
            5 if b < 64 => self.mark_unreachable(a, b),
            6 | 7 => self.subscribe_new(a, b),
            8 => self.subscribe_again(a, b, c),
            9 if b < 96 => self.disconnect(a, b),
            10 => self.roles(a, b, c),
            11 if b < 24 => Command::Teardown(Teardown { framework: self.framework(a) }),
            11 if b < 96 => self.expire(a),
            12 if b < 64 => self.update_framework(a, b, c),
            12 => self.decline(a, b, c),
            13 if b < 96 => Command::RescindOffers(RescindOffers { offers: self.offer_ids(None, a, b) }),
            14 => self.forgot(a, b),
            15 => self.delivered(a, b),
            16 => self.kill(a, b),
            17 => self.executor(a, b),
            18..=21 => self.attach(a, b, c),
            22..=28 => self.issue(a, b, c),
            29..=35 => self.accept(a, b, c),
            36..=39 => self.acknowledge(a, b),
            46 => self.stored(a, b),
            47 => self.acknowledge_operation(a, b),
            48 => self.share(a, b, c),
            49 => self.convert(a, b, c),
            _ => self.record(a, b, c),
        }
    }

    /// What agents tell of their resource providers, and these of operations.
    fn provide(&self, a: u8, b: u8, c: u8) -> Command {
        let pending = self.state.operations().filter(|one| one.on_provider.is_some() && !one.finished);
        match pick(pending, a) {
            Some(operation) if !c.is_multiple_of(3) => self.told_of(operation, b),
            _ => self.told_of_providers(a, b, c),
        }
    }

    fn told_of(&self, operation: &model::Operation, b: u8) -> Command {
        let on = operation.on_provider.as_ref().expect("on a provider's resources");
        let states = [OperationState::Finished, OperationState::Failed, OperationState::Dropped];
        let taken = on.taken.iter().next().expect("an operation takes something");
        let update = OperationUpdate {
            provider: on.provider.clone(),
            operation: if b == 0 { UpdateUuid([0; 16]) } else { operation.uuid },
            state: pick(states, b / 2).filter(|_| b != 1).unwrap_or(OperationState::Pending),
            status: (!b.is_multiple_of(5)).then_some(UpdateUuid([b; 16])),
            message: "told".into(),
            converted: Self::provided(&on.provider, b, taken.reservations.clone()),
        };
        let agent = operation.agent.clone();
        Command::RecordOperations(RecordOperations { agent, updates: vec![update] })
    }

    fn told_of_providers(&self, a: u8, b: u8, c: u8) -> Command {
        let agent = self.agent(a);
        let known = self.state.agent(&agent);
        let (link, heard) = known.map(|known| (known.link, known.heard)).unwrap_or_default();
        let sequence = if heard.link == link { heard.sequence } else { 0 } + u64::from(b != 2);
        let pending: Vec<_> = known
            .into_iter()
            .flat_map(|known| &known.operations)
            .filter_map(|(framework, id)| self.state.operation(framework, id))
            .map(|operation| (operation.uuid, c.is_multiple_of(5)))
            .filter(|(uuid, _)| !(uuid.0[0] ^ b).is_multiple_of(3))
            .collect();
        let words = [("p0", 1), ("p1", 2)].into_iter().filter(|(_, bit)| b & bit == 0 || b < 64);
        let providers = words.map(|(id, bit)| ProviderWord {
            id: id.into(),
            info: Bytes::copy_from_slice(&[bit]),
            connected: c & 4 == 0,
            state: (!c.is_multiple_of(7)).then(|| ProviderState {
                version: UpdateUuid([c % 4 + bit; 16]),
                total: [b, c].into_iter().fold(Resources::default(), |sum, choice| {
                    sum.saturating_add(&Self::provided(&id.into(), choice, Reservations::default()))
                }),
                operations: pending.clone(),
            }),
        });
        let providers = providers.collect();
        Command::UpdateProviders(UpdateProviders { agent, link, sequence, providers })
    }

    /// A disk of a provider's.
    fn provided(provider: &ProviderId, choice: u8, reservations: Reservations) -> Resources {
        let source = [DiskSource::Raw, DiskSource::Mount, DiskSource::Block][usize::from(choice % 3)];
        let disk = Disk { source, source_id: Some(format!("d{}", choice % 4).into()), ..Disk::default() };
        let plain = resources("disk:10").iter().next().expect("one").clone();
        let provider = Some(provider.as_str().into());
        Resources::new([Resource { disk: Some(Arc::new(disk)), provider, reservations, ..plain }])
            .expect("one")
    }

    /// What an operator may decide about agents and machines, and what frameworks say to that.
    fn administer(&mut self, a: u8, b: u8, c: u8) -> Command {
        let away: Vec<_> = self.state.unreachable_agents().map(|away| away.agent.id.clone()).collect();
        let agent = match b % 4 {
            0 => pick(away, a).unwrap_or_else(|| self.agent(a)),
            _ => self.agent(a),
        };
        match c % 10 {
            0 | 1 => {
                let max_grace_ns = (!b.is_multiple_of(3)).then_some(u64::from(b) * 1_000_000_000);
                Command::DrainAgent(DrainAgent { agent, max_grace_ns, mark_gone: a.is_multiple_of(3) })
            }
            2 => Command::DeactivateAgent(DeactivateAgent { agent }),
            3 | 4 => {
                let known = self.state.agents().filter(|agent| agent.administration.deactivated);
                let agent = pick(known, a).map_or(agent, |known| known.id.clone());
                Command::ReactivateAgent(ReactivateAgent { agent })
            }
            5 if b < 96 => Command::MarkAgentGone(MarkAgentGone { agent }),
            5 => self.come_back(a),
            6 => self.schedule(a, b),
            7 => self.maintain(a, b),
            8 => self.ask_back(a, b),
            _ => self.answer(a, b),
        }
    }

    /// An agent that was declared gone comes, or some other.
    fn come_back(&mut self, choice: u8) -> Command {
        let gone = self.state.gone_agents().map(|(id, _)| id.clone());
        let agent = pick(gone, choice).unwrap_or_else(|| self.agent(choice));
        let (link, spec) = (self.link(), Some(self.spec(choice)));
        let (inventory, stored) = (Some(Inventory::default()), ResourceVersion::default());
        Command::AttachAgent(AttachAgent { agent, link, spec, inventory, stored })
    }

    fn machine(choice: u8) -> MachineId {
        let (hostname, ip) =
            [("host", "10.0.0.1"), ("host-2", ""), ("", "10.0.0.3")][usize::from(choice % 3)];
        MachineId { hostname: hostname.into(), ip: ip.into() }
    }

    fn schedule(&self, a: u8, b: u8) -> Command {
        let window = |choice: u8| Window {
            machines: vec![Self::machine(choice)],
            unavailability: Unavailability {
                start_ns: i64::from(b % 4),
                duration_ns: (b % 8 > 1).then_some(i64::from(choice)),
            },
        };
        let windows = (0..3).filter(|nth| a >> nth & 1 == 1).map(window).collect();
        Command::SetSchedule(SetSchedule { windows })
    }

    fn maintain(&self, a: u8, b: u8) -> Command {
        let machines = self.state.machines().map(|(id, machine)| (id.clone(), machine.mode));
        let (machine, mode) = pick(machines, a).unwrap_or_else(|| (Self::machine(a), MachineMode::Draining));
        let machines = Machines { machines: vec![machine] };
        match mode {
            MachineMode::Draining if b < 64 => Command::StartMaintenance(machines),
            MachineMode::Draining => self.ask_back(a, b),
            MachineMode::Down => Command::StopMaintenance(machines),
        }
    }

    fn ask_back(&self, a: u8, b: u8) -> Command {
        let held = self.state.agents().filter(|agent| agent.unavailability.is_some());
        let held = held.flat_map(|agent| {
            let books = agent.ledger.used().keys().chain(agent.ledger.offered().keys());
            books.map(move |(framework, _)| InverseOfferItem {
                framework: framework.clone(),
                agent: agent.id.clone(),
                agent_version: agent.version,
            })
        });
        let mut items: Vec<_> = pick(held, a).into_iter().collect();
        if b.is_multiple_of(8) {
            let (framework, agent) = (self.framework(a), self.agent(b));
            items.push(InverseOfferItem { framework, agent, agent_version: Epoch(1) });
        }
        Command::IssueInverseOffers(IssueInverseOffers { items })
    }

    fn answer(&self, a: u8, b: u8) -> Command {
        let asked =
            self.state.inverse_offers().map(|(framework, _, offer)| (framework.clone(), offer.id.clone()));
        let (framework, offer) = pick(asked, a).unwrap_or_else(|| (self.framework(a), "unknown".into()));
        let refuse = Refuse { duration: Millis(u64::from(b) * 100) };
        let offers = vec![offer, "gone".into()];
        Command::AnswerInverseOffers(AnswerInverseOffers { framework, offers, accepted: b < 128, refuse })
    }

    /// What an operator may decide about sharing, often about roles that hold something.
    fn share(&self, a: u8, b: u8, c: u8) -> Command {
        let amounts = ["", "cpus:2", "cpus:4;mem:1024", "cpus:0", "cpus:12;mem:512", "ports:1"];
        let amounts = |choice: u8| -> Quantities {
            amounts[usize::from(choice) % amounts.len()].parse().expect("well-formed")
        };
        let role = Role::from(["eng", "ops"][usize::from(a % 2)]);
        let priority = Priority::new(i64::from(b % 3) - 1).expect("in range");
        match a % 6 {
            0 | 1 => {
                let quota = Quota::new(role.clone(), amounts(b), amounts(c));
                let quota = quota.or_else(|_| Quota::new(role, Quantities::default(), amounts(c)));
                let quotas = vec![quota.expect("limits alone are good")];
                Command::SetQuota(SetQuota { quotas, force: a < 128 })
            }
            2 => {
                let frameworks = vec![(self.framework(c), priority)];
                Command::SetPriorities(SetPriorities { roles: vec![(role, priority)], frameworks })
            }
            3 => {
                let hosts = (b < 64).then(|| ["host".into(), "other".into()].into());
                Command::SetWhitelist(SetWhitelist { hosts })
            }
            4 => Command::SetPolicy(SetPolicy { name: ["drf", "priority"][usize::from(b % 2)].into() }),
            _ => {
                let weight = Weight::from_thousandths(u64::from(b) + 1).expect("in range");
                Command::SetWeights(SetWeights { weights: vec![(role, weight)] })
            }
        }
    }

    /// An operator's reservation, or the end of one that is there.
    fn convert(&self, a: u8, b: u8, c: u8) -> Command {
        let agent = self.agent(a);
        let total = self.state.agent(&agent).map(|agent| agent.total()).unwrap_or_default();
        let dynamic = total.filter(|resource| resource.to_string().contains(",op)"));
        let conversion = match (b % 4, pick(dynamic.iter(), c)) {
            (0, Some(one)) => {
                Conversion::Unreserve(Resources::new([one.clone()]).expect("one of the agent's"))
            }
            (1, _) => Conversion::Reserve(resources("mem(eng/web,op):512;ports(eng/web,op):[20-22]")),
            (2, _) => Conversion::Reserve(resources("cpus(eng,op):9")),
            _ => Conversion::Reserve(resources("cpus(eng,op):1")),
        };
        Command::ConvertResources(ConvertResources { agent, conversion })
    }

    /// What a framework may say about its offers.
    fn rules(choice: u8) -> Arc<OfferRules> {
        let mut rules = OfferRules::default();
        if choice.is_multiple_of(5) {
            let pattern = TextPattern::new("h.*").expect("well-formed");
            let constraint =
                Constraint { selector: Selector::Hostname, predicate: Predicate::TextMatches(pattern) };
            let constraints = Constraints::new(vec![vec![constraint]]).expect("one");
            rules.constraints.insert(Role::from(ROLES[0]), constraints);
            rules
                .min_allocatable
                .insert(Role::from(ROLES[0]), vec!["cpus:0.5".parse().expect("well-formed")]);
        }
        Arc::new(rules)
    }

    fn begin_term(&mut self) -> Command {
        self.at.term += 1;
        self.at.position = 0;
        self.at.index += 1;
        let cluster = ClusterId([7; 16]);
        Command::BeginTerm(BeginTerm { cluster, incarnation: 1, level: FEATURE_LEVEL_MAX, policy: None })
    }

    fn link(&mut self) -> Link {
        self.serial += 1;
        Link { term: self.at.term, serial: self.serial }
    }

    fn spec(&self, choice: u8) -> AgentSpec {
        let total =
            ["cpus:8;mem:4096;ports:[1-99];disk(eng):60", "cpus:4;mem:4096;ports:[1-50];disk(eng):100"];
        AgentSpec {
            info: Bytes::from_static(b"info"),
            hostname: ["host", "Host-2", "10.0.0.3"][usize::from(choice / 64 % 3)].into(),
            port: 5051,
            total: resources(total[usize::from(choice.is_multiple_of(8))]),
            attributes: [].into(),
            capabilities: AgentCapabilities::all(),
            version: "1".into(),
        }
    }

    fn register(&mut self, a: u8, b: u8) -> Command {
        let (link, spec) = (self.link(), self.spec(b));
        Command::RegisterAgent(RegisterAgent { nonce: [a % 16; 16], spec, link })
    }

    fn agent(&self, choice: u8) -> AgentId {
        pick(self.state.agents(), choice).map_or_else(|| "unknown".into(), |agent| agent.id.clone())
    }

    fn framework(&self, choice: u8) -> FrameworkId {
        pick(self.state.frameworks(), choice).map_or_else(|| "unknown".into(), |known| known.id.clone())
    }

    fn attach(&mut self, a: u8, b: u8, c: u8) -> Command {
        let away: Vec<_> = self.state.unreachable_agents().map(|away| away.agent.id.clone()).collect();
        let agent = match b % 4 {
            0 => pick(away, a).unwrap_or_else(|| self.agent(a)),
            _ => self.agent(a),
        };
        let spec = (b % 16 == 5).then(|| self.spec(c));
        let inventory = (b.is_multiple_of(2)).then(|| self.inventory(&agent, c));
        let link = if b < 8 { Link { term: 1, serial: 1 } } else { self.link() };
        // Mostly it has what it said; now and then it is behind, or has more than the masters have ever told.
        let known =
            self.state.agent(&agent).map(|agent| (agent.stored, agent.converted_at)).unwrap_or_default();
        let stored = match c % 8 {
            0 => ResourceVersion::default(),
            1 => ResourceVersion { incarnation: 2, epoch: Epoch(u64::from(c)) },
            2 => known.1,
            _ => known.0,
        };
        Command::AttachAgent(AttachAgent { agent, link, spec, inventory, stored })
    }

    /// What the agent runs, with some of it lost and some of it changed.
    fn inventory(&self, agent: &AgentId, choice: u8) -> Inventory {
        let live = self.state.tasks().filter(|task| task.agent == *agent && task.reported);
        let away = self.state.unreachable_agent(agent).into_iter().flat_map(|away| away.tasks.values());
        let away = away.map(|task| &**task).filter(|task| task.reported);
        let gone = self.state.frameworks().flat_map(|known| known.completed.iter()).map(|task| &**task);
        let gone = gone.filter(|task| task.agent == *agent && choice.is_multiple_of(5)).take(2);
        let tasks: Vec<InventoryTask> = live
            .chain(away)
            .chain(gone)
            .enumerate()
            .filter(|(position, _)| (position + usize::from(choice)) % 4 != 0)
            .map(|(_, task)| self.listed(task, choice))
            .collect();
        let executors = tasks.iter().filter(|_| !choice.is_multiple_of(3)).filter_map(|item| {
            let spec = item.spec.executor.clone()?;
            Some(InventoryExecutor { framework: item.framework.clone(), spec })
        });
        let mut inventory = Inventory { executors: executors.collect(), tasks, ..Inventory::default() };
        inventory.newest =
            LaunchId { index: self.at.index.saturating_sub(u64::from(choice / 16)), position: 0 };
        if choice % 16 < 4 {
            self.add_unheard_of(&mut inventory, choice);
        }
        inventory
    }

    /// A task and its executor that only the agent knows, and maybe their framework: the masters were restored from an
    /// older copy.
    fn add_unheard_of(&self, inventory: &mut Inventory, choice: u8) {
        let remembered = FrameworkId::from("remembered");
        let framework = if choice.is_multiple_of(2) { remembered.clone() } else { self.framework(choice) };
        let role = Role::from(ROLES[0]);
        let launch = LaunchId { index: self.at.index.saturating_sub(1), position: 1000 + u32::from(choice) };
        let spec =
            TaskSpec { id: TaskId::from(format!("u{}", choice % 8)), ..self.task(choice, choice, &role) };
        let executor = spec.executor.clone();
        inventory
            .executors
            .extend(executor.map(|spec| InventoryExecutor { framework: framework.clone(), spec }));
        let state = if choice < 64 { TaskState::Finished } else { TaskState::Running };
        inventory.tasks.push(InventoryTask { framework, launch, spec, state, acknowledged: None });
        let info = FrameworkInfo {
            user: "user".into(),
            name: "name".into(),
            role: Some(ROLES[0].into()),
            checkpoint: Some(choice < 128),
            ..Default::default()
        };
        inventory.frameworks.push((remembered, info.encode_to_vec().into()));
    }

    fn listed(&self, task: &Task, choice: u8) -> InventoryTask {
        let older = choice % 16 == 3;
        InventoryTask {
            framework: task.framework.clone(),
            launch: LaunchId { index: task.launch.index - u64::from(older), ..task.launch },
            spec: task.spec.clone(),
            state: if choice.is_multiple_of(7) { TaskState::Failed } else { TaskState::Running },
            acknowledged: if choice.is_multiple_of(9) { None } else { task.acknowledged },
        }
    }

    fn detach(&self, a: u8, b: u8) -> DetachAgent {
        let agent = self.agent(a);
        let known = self.state.agent(&agent).map(|agent| agent.link);
        let link = known.filter(|_| b >= 32).unwrap_or_default();
        DetachAgent { agent, link }
    }

    fn mark_unreachable(&self, a: u8, b: u8) -> Command {
        let DetachAgent { agent, link } = self.detach(a, b);
        Command::MarkUnreachable(MarkUnreachable { agents: vec![(agent, link)] })
    }

    fn subscription(&mut self, a: u8, b: u8) -> Subscribe {
        self.serial += 1;
        let capabilities = match a % 3 {
            0 => FrameworkCapabilities::NONE,
            _ => FrameworkCapabilities::NONE.with(FrameworkCapability::PartitionAware),
        };
        let roles: BTreeSet<Role> =
            ROLES.iter().take(1 + usize::from(b % 3)).map(|role| Role::from(*role)).collect();
        Subscribe {
            framework: None,
            spec: FrameworkSpec {
                info: Bytes::new(),
                name: "name".into(),
                user: "user".into(),
                principal: None,
                roles,
                capabilities,
                checkpoint: a.is_multiple_of(2),
                failover_timeout: Millis(1000),
                rules: Self::rules(a),
            },
            suppressed: BTreeSet::new(),
            stream: StreamId::from(format!("stream-{}", self.serial)),
            resume: None,
        }
    }

    fn subscribe_new(&mut self, a: u8, b: u8) -> Command {
        if self.state.frameworks().count() >= 5 {
            return self.subscribe_again(a, b, b);
        }
        Command::Subscribe(self.subscription(a, b))
    }

    fn subscribe_again(&mut self, a: u8, b: u8, c: u8) -> Command {
        let removed: Vec<_> = self.state.removed_frameworks().map(|(id, _)| id.clone()).collect();
        let framework = if c < 16 { pick(removed, a) } else { None }.unwrap_or_else(|| self.framework(a));
        let stream = self.state.framework(&framework).and_then(|known| known.stream());
        let resume = stream.map(|(stream, _)| stream.clone()).filter(|_| c.is_multiple_of(2));
        Command::Subscribe(Subscribe { framework: Some(framework), resume, ..self.subscription(a, b) })
    }

    fn stream_epoch(&self, framework: &FrameworkId) -> Epoch {
        self.state
            .framework(framework)
            .and_then(|known| known.stream())
            .map(|(_, epoch)| epoch)
            .unwrap_or_default()
    }

    fn disconnect(&self, a: u8, b: u8) -> Command {
        let framework = self.framework(a);
        let stream = if b < 32 { Epoch(1) } else { self.stream_epoch(&framework) };
        Command::Disconnect(Disconnect { framework, stream })
    }

    fn roles(&self, a: u8, b: u8, c: u8) -> Command {
        let roles = ROLES.iter().take(usize::from(b % 3)).map(|role| Role::from(*role)).collect();
        let roles = FrameworkRoles { framework: self.framework(a), roles };
        if c.is_multiple_of(3) { Command::Suppress(roles) } else { Command::Revive(roles) }
    }

    fn expire(&self, a: u8) -> Command {
        use mesarch_state::model::Connection;
        let framework = self.framework(a);
        let disconnected = match self.state.framework(&framework).map(|known| &known.connection) {
            Some(Connection::Disconnected { epoch, .. }) => *epoch,
            _ => Epoch(3),
        };
        Command::ExpireFailover(ExpireFailover { framework, disconnected })
    }

    fn issue(&self, a: u8, b: u8, c: u8) -> Command {
        let policy = self.state.policy_version();
        let what = ["cpus:1;mem:256", "cpus:2;mem:512;ports:[1-9]", "cpus:3;ports:[5-20]", "disk(eng):10"];
        let items = [(a, b), (b, c), (c, a)].into_iter().filter_map(|(framework, agent)| {
            let framework = pick(self.state.frameworks(), framework)?;
            let agent = pick(self.state.agents(), agent)?;
            let role = pick(framework.spec.roles.iter().cloned(), c)?;
            // Whatever there is for the role, as a plan would have it, or some of what there may be.
            let all = agent.available().filter(|one| one.is_allocatable_to(&role));
            let some = || resources(what[usize::from(a ^ b) % what.len()]);
            Some(OfferItem {
                framework: framework.id.clone(),
                role,
                agent: agent.id.clone(),
                resources: if c.is_multiple_of(4) { all } else { some() },
                framework_version: framework.version,
                agent_version: agent.version,
            })
        });
        Command::IssueOffers(IssueOffers { policy, items: items.collect() })
    }

    fn offer_ids(&self, framework: Option<&FrameworkId>, a: u8, b: u8) -> Vec<OfferId> {
        let own = || self.state.offers().filter(|offer| framework.is_none_or(|id| offer.framework == *id));
        let Some(first) = pick(own(), a) else {
            return vec![OfferId::from("gone")];
        };
        let alike = own().filter(|offer| (&offer.agent, &offer.role) == (&first.agent, &first.role));
        let mut ids: Vec<OfferId> =
            alike.take(1 + usize::from(b % 2)).map(|offer| offer.id.clone()).collect();
        ids.extend((b.is_multiple_of(16)).then(|| OfferId::from("gone")));
        ids
    }

    fn accept(&self, a: u8, b: u8, c: u8) -> Command {
        let framework =
            pick(self.state.offers(), a).map_or_else(|| self.framework(a), |offer| offer.framework.clone());
        let offers = self.offer_ids(Some(&framework), a, b);
        let role = self.state.offer(&offers[0]).map_or_else(Role::any, |offer| offer.role.clone());
        let launches = (0..c % 4).map(|number| self.task(b.wrapping_add(number), c, &role));
        let mut launches: Vec<Judged> = launches.map(Judged::Valid).collect();
        if c % 8 == 7 {
            launches.push(Judged::Invalid { task: TaskId::from("invalid"), message: "bad".into() });
        }
        let agent = Some(self.agent(b)).filter(|_| !a.is_multiple_of(4));
        let launches = launches.into_iter().map(|task| Launch { agent: agent.clone(), task }).collect();
        let operations = (0..a % 4).map(|number| self.operation(&offers[0], [b, c, number])).collect();
        let refuse = Refuse { duration: Millis(u64::from(b) * 100) };
        Command::AcceptOffers(AcceptOffers { framework, offers, launches, operations, refuse })
    }

    /// Something that may be done with the offer, as far as what it holds allows it.
    fn operation(&self, offer: &OfferId, [a, b, number]: [u8; 3]) -> Operation {
        let offer = self.state.offer(offer);
        let role = offer.map_or_else(|| Role::from(ROLES[0]), |offer| offer.role.clone());
        let offered = offer.map(|offer| offer.resources.without_allocation()).unwrap_or_default();
        let pick_of =
            |wanted: fn(&Resource) -> bool| pick(offered.iter().filter(|one| wanted(one)).cloned(), b);
        let one = |resource: Resource| Resources::new([resource]).expect("one of an offer");
        let dynamic = |one: &Resource| one.to_string().contains(",op)") && !one.is_persistent();
        let volume = pick_of(Resource::is_persistent);
        let provided = pick_of(|one| one.provider.is_some() && !one.is_persistent());
        let conversion = match (a.wrapping_add(number) % 8, volume) {
            (6, _) if provided.is_some() => Conversion::ChangeDisk(provided.expect("looked at")),
            (7, _) if provided.is_some() => {
                Conversion::Reserve(one(reserved(provided.expect("looked at"), &role)))
            }
            (0, _) => Conversion::Reserve(resources(&format!("cpus({role},op):{}", 1 + b % 3))),
            (1, _) => Conversion::Unreserve(pick_of(dynamic).map(one).unwrap_or_default()),
            (2, Some(volume)) => Conversion::Destroy(one(volume)),
            (3, Some(volume)) => {
                let addition = resources("disk(eng):5").iter().next().expect("one").clone();
                Conversion::Grow { volume, addition }
            }
            (4, Some(volume)) => Conversion::Shrink { volume, subtract: Scalar::from_units(5) },
            _ => Conversion::Create(one(Self::volume(b))),
        };
        let judged = if b == 7 { Err("bad".into()) } else { Ok(conversion) };
        Operation {
            before: u32::from(number % 3),
            id: (!a.is_multiple_of(3)).then(|| OperationId::from(format!("o{}", b % 16))),
            uuid: UpdateUuid([a ^ b; 16]),
            info: Bytes::copy_from_slice(&[a, b, number]),
            judged,
        }
    }

    fn volume(choice: u8) -> Resource {
        let disk = Disk { persistence_id: Some(format!("v{}", choice % 5).into()), ..Disk::default() };
        let below = resources(if choice.is_multiple_of(2) { "disk(eng):10" } else { "disk(eng):20" });
        Resource { disk: Some(Arc::new(disk)), ..below.iter().next().expect("one").clone() }
    }

    /// Mostly what the agent was told last.
    fn stored(&self, a: u8, b: u8) -> Command {
        let owing =
            self.state.agents().filter(|agent| agent.is_owed_resources()).map(|agent| agent.id.clone());
        let agent = pick(owing, a).unwrap_or_else(|| self.agent(a));
        let newest = self.state.agent(&agent).map(|agent| agent.converted_at).unwrap_or_default();
        let epoch = Epoch(
            newest.epoch.0.wrapping_add_signed(i64::from(b.is_multiple_of(16)) - i64::from(b % 16 == 1)),
        );
        Command::ResourcesStored(ResourcesStored { agent, version: ResourceVersion { epoch, ..newest } })
    }

    fn acknowledge_operation(&self, a: u8, b: u8) -> Command {
        let known = pick(self.state.operations(), a);
        Command::AcknowledgeOperation(AcknowledgeOperation {
            framework: known.map_or_else(|| self.framework(a), |known| known.framework.clone()),
            operation: known.map_or_else(|| "unknown".into(), |known| known.id.clone()),
            uuid: known.filter(|_| b >= 16).map_or(UpdateUuid([0; 16]), |known| known.uuid),
        })
    }

    /// Mostly other roles and wishes; now and then what must not change.
    fn update_framework(&self, a: u8, b: u8, c: u8) -> Command {
        let framework = self.framework(a);
        let Some(known) = self.state.framework(&framework) else { return self.share(a, b, c) };
        let mut spec = (*known.spec).clone();
        spec.roles = ROLES.iter().take(1 + usize::from(c % 3)).map(|role| Role::from(*role)).collect();
        spec.rules = Self::rules(c);
        spec.checkpoint ^= b == 3;
        let suppressed = spec.roles.iter().filter(|_| c.is_multiple_of(4)).cloned().collect();
        Command::UpdateFramework(UpdateFramework { framework, spec, suppressed })
    }

    fn task(&self, id: u8, kind: u8, role: &Role) -> TaskSpec {
        let executor = (kind % 4 < 2).then(|| ExecutorSpec {
            id: format!("e{}", kind % 2).into(),
            info: Bytes::copy_from_slice(&[kind / 64]),
            resources: resources("cpus:0.1;mem:32").allocated_to(role),
        });
        TaskSpec {
            id: TaskId::from(format!("t{}", id % 24)),
            info: Bytes::copy_from_slice(&[id, kind]),
            resources: resources(if kind < 128 { "cpus:0.5;mem:64" } else { "ports:[5-6]" })
                .allocated_to(role),
            executor,
        }
    }

    fn decline(&self, a: u8, b: u8, c: u8) -> Command {
        let framework =
            pick(self.state.offers(), a).map_or_else(|| self.framework(a), |offer| offer.framework.clone());
        let offers = self.offer_ids(Some(&framework), a, b);
        Command::DeclineOffers(DeclineOffers {
            framework,
            offers,
            refuse: Refuse { duration: Millis(u64::from(c) * 100) },
        })
    }

    fn record(&self, a: u8, b: u8, c: u8) -> Command {
        let Some(task) = pick(self.state.tasks(), a) else {
            return Command::RecordUpdates(RecordUpdates { agent: self.agent(a), updates: Vec::new() });
        };
        let state = STATES[usize::from(b % 8)];
        let again = task.pending().and_then(|pending| pending.uuid).or(task.acknowledged);
        let uuid = again.filter(|_| c.is_multiple_of(4)).unwrap_or(UpdateUuid([b ^ c; 16]));
        let update = StatusUpdate {
            framework: task.framework.clone(),
            task: task.spec.id.clone(),
            launch: if b > 250 { LaunchId::default() } else { task.launch },
            status: Bytes::copy_from_slice(&[a, b, c]),
            state,
            latest: if c % 8 == 1 { TaskState::Failed } else { state },
            uuid,
            source: Source::Executor,
            reason: None,
        };
        Command::RecordUpdates(RecordUpdates { agent: task.agent.clone(), updates: vec![update] })
    }

    fn acknowledge(&self, a: u8, b: u8) -> Command {
        let waiting = self.state.tasks().filter_map(|task| Some((task, task.pending()?.uuid?)));
        let items = pick(waiting, a).map(|(task, uuid)| Acknowledgement {
            framework: task.framework.clone(),
            agent: task.agent.clone(),
            task: task.spec.id.clone(),
            uuid: if b < 16 { UpdateUuid([0; 16]) } else { uuid },
        });
        Command::AcknowledgeUpdates(AcknowledgeUpdates { items: items.into_iter().collect() })
    }

    fn forgot(&self, a: u8, b: u8) -> Command {
        let agent = self.agent(a);
        let known = self.state.agent(&agent);
        let ended = known.into_iter().flat_map(|known| known.forgetting.iter());
        let mut acknowledged: Vec<_> = ended
            .map(|((framework, task, launch), uuid)| (framework.clone(), task.clone(), *launch, *uuid))
            .collect();
        let live = self.state.tasks().filter(|task| task.agent == agent && task.ack_owed);
        acknowledged.extend(live.filter_map(|task| {
            Some((task.framework.clone(), task.spec.id.clone(), task.launch, task.acknowledged?))
        }));
        let frameworks = known.into_iter().flat_map(|known| known.pending_shutdowns.iter().cloned());
        let frameworks = frameworks.filter(|_| b.is_multiple_of(2)).collect();
        Command::AgentForgot(AgentForgot { agent, acknowledged, frameworks })
    }

    fn delivered(&self, a: u8, b: u8) -> Command {
        let framework = self.framework(a);
        let stream = self.stream_epoch(&framework);
        Command::EventsDelivered(EventsDelivered { framework, stream, up_to: OutboxPosition(u64::from(b)) })
    }

    fn kill(&self, a: u8, b: u8) -> Command {
        let task = pick(self.state.tasks(), a);
        Command::RequestKill(RequestKill {
            framework: task.map_or_else(|| self.framework(a), |task| task.framework.clone()),
            task: task.map_or_else(|| "unknown".into(), |task| task.spec.id.clone()),
            agent: (b < 16).then(|| self.agent(b)),
            policy: None,
        })
    }

    fn executor(&self, a: u8, b: u8) -> Command {
        let key = pick(self.state.executors(), a).map(|executor| executor.key.clone());
        match key {
            Some(key) if !b.is_multiple_of(4) => Command::RequestShutdown(key),
            Some(executor) => {
                let taken = self.at.index.saturating_sub(u64::from(b) % 32);
                let newest = (!b.is_multiple_of(16)).then_some(LaunchId { index: taken, position: 0 });
                Command::ExecutorExited(ExecutorExited { executor, newest, status: i32::from(b) })
            }
            None => self.share(a, b, b),
        }
    }
}
