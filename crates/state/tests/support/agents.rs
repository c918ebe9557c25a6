//! Terms, and agents that come and go.

use super::*;

impl Driver {
    pub(super) fn begin_term(&mut self) -> Command {
        self.at.term += 1;
        self.at.position = 0;
        self.at.index += 1;
        let cluster = ClusterId([7; 16]);
        Command::BeginTerm(BeginTerm { cluster, incarnation: 1, level: FEATURE_LEVEL_MAX, policy: None })
    }

    pub(super) fn link(&mut self) -> Link {
        self.serial += 1;
        Link { term: self.at.term, serial: self.serial }
    }

    pub(super) fn spec(&self, choice: u8) -> AgentSpec {
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

    pub(super) fn register(&mut self, a: u8, b: u8) -> Command {
        let (link, spec) = (self.link(), self.spec(b));
        Command::RegisterAgent(RegisterAgent { nonce: [a % 16; 16], spec, link })
    }

    pub(super) fn agent(&self, choice: u8) -> AgentId {
        pick(self.state.agents(), choice).map_or_else(|| "unknown".into(), |agent| agent.id.clone())
    }

    pub(super) fn framework(&self, choice: u8) -> FrameworkId {
        pick(self.state.frameworks(), choice).map_or_else(|| "unknown".into(), |known| known.id.clone())
    }

    pub(super) fn attach(&mut self, a: u8, b: u8, c: u8) -> Command {
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
    pub(super) fn inventory(&self, agent: &AgentId, choice: u8) -> Inventory {
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
    pub(super) fn add_unheard_of(&self, inventory: &mut Inventory, choice: u8) {
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

    pub(super) fn listed(&self, task: &Task, choice: u8) -> InventoryTask {
        let older = choice % 16 == 3;
        InventoryTask {
            framework: task.framework.clone(),
            launch: LaunchId { index: task.launch.index - u64::from(older), ..task.launch },
            spec: task.spec.clone(),
            state: if choice.is_multiple_of(7) { TaskState::Failed } else { TaskState::Running },
            acknowledged: if choice.is_multiple_of(9) { None } else { task.acknowledged },
        }
    }

    pub(super) fn detach(&self, a: u8, b: u8) -> DetachAgent {
        let agent = self.agent(a);
        let known = self.state.agent(&agent).map(|agent| agent.link);
        let link = known.filter(|_| b >= 32).unwrap_or_default();
        DetachAgent { agent, link }
    }

    pub(super) fn mark_unreachable(&self, a: u8, b: u8) -> Command {
        let DetachAgent { agent, link } = self.detach(a, b);
        Command::MarkUnreachable(MarkUnreachable { agents: vec![(agent, link)] })
    }
}
