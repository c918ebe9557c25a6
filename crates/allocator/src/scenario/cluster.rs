//! The cluster that a scenario is about: what a master would keep beside its allocator.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use mesarch_types::{
    AgentId, AgentView, FrameworkCapabilities, FrameworkCapability, FrameworkId, FrameworkView, Millis,
    Priority, Quota, Resources, Role, Unavailability, Weight,
};

use super::{
    Scenario,
    step::{AddAgent, AddFramework, Step, UpdateAgent, UpdateFramework, Used, Wishes},
};
use crate::{Allocator, Config, GiveBack, Plan, Policies};

/// Framework, role, agent.
pub(super) type Holding = (FrameworkId, Role, AgentId);

/// An offer that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// To whom.
    pub framework: FrameworkId,
    /// In which of its roles.
    pub role: Role,
    /// On which agent.
    pub agent: AgentId,
    /// What.
    pub resources: Resources,
}

/// An inverse offer that was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InverseOffer {
    /// Who was asked.
    pub framework: FrameworkId,
    /// To leave which agent.
    pub agent: AgentId,
}

/// Why a step is refused, in words; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) String);

impl<E: std::error::Error> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

pub(super) fn refused<T>(message: impl fmt::Display) -> Result<T, Refused> {
    Err(Refused(message.to_string()))
}

/// How far a step has the allocator look.
pub(super) enum Scope {
    /// Nothing happens now.
    Nothing,
    /// One agent, whatever became free there.
    Agent(AgentId),
    /// All agents.
    All,
}

pub(super) struct Cluster {
    pub(super) allocator: Allocator,
    pub(super) now: Millis,
    pub(super) interval: Millis,
    pub(super) agents: BTreeMap<AgentId, AgentView>,
    pub(super) frameworks: BTreeMap<FrameworkId, FrameworkView>,
    /// What is offered and not yet answered.
    pub(super) offered: BTreeMap<Holding, Resources>,
    /// What tasks use.
    pub(super) used: BTreeMap<Holding, Resources>,
    /// What the present step made.
    pub(super) offers: Vec<Offer>,
    pub(super) inverse_offers: Vec<InverseOffer>,
}

impl Cluster {
    pub(super) fn new(scenario: &Scenario, policies: Policies) -> Self {
        let (options, default) = (&scenario.options, Config::default());
        let config = Config {
            allocation_interval: scenario.allocation_interval,
            min_allocatable: options.min_allocatable.clone().unwrap_or(default.min_allocatable.clone()),
            excluded_names: options.excluded.clone(),
            offers_per_second_max: u32::MAX,
            filter_gpus: options.filter_gpus.unwrap_or(default.filter_gpus),
            region: options.region.clone(),
            policies,
            seed: options.seed,
            ..default
        };
        Self {
            allocator: Allocator::new(config),
            now: Millis::ZERO,
            interval: scenario.allocation_interval,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            offered: BTreeMap::new(),
            used: BTreeMap::new(),
            offers: Vec::new(),
            inverse_offers: Vec::new(),
        }
    }

    /// Does one step, with all that follows at once.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), Refused> {
        let scope = match step {
            Step::AddAgent(step) => return self.add_agents(step),
            Step::Advance(ms) => {
                self.advance(*ms);
                Scope::Nothing
            }
            Step::UpdateAgent(step) => self.update_agent(step)?,
            Step::RemoveAgent(id) => self.remove_agent(id)?,
            Step::DeactivateAgent(id) => self.set_agent_active(id, false)?,
            Step::ActivateAgent(id) => self.set_agent_active(id, true)?,
            Step::AddFramework(step) => self.add_framework(step)?,
            Step::UpdateFramework(step) => self.update_framework(step)?,
            Step::RemoveFramework(id) => self.remove_framework(id)?,
            Step::DeactivateFramework(id) => self.set_framework_active(id, false)?,
            Step::ActivateFramework(id) => self.set_framework_active(id, true)?,
            Step::Suppress(id, roles) => self.suppress(id, roles)?,
            Step::Revive(id, roles) => self.revive(id, roles)?,
            Step::Decline(step) => self.decline(step)?,
            Step::Launch(framework, role, agent, resources) => {
                self.launch((framework.clone(), role.clone(), agent.clone()), resources)?
            }
            Step::Free(framework, role, agent, resources) => {
                self.free((framework.clone(), role.clone(), agent.clone()), resources)?
            }
            Step::Convert(framework, agent, operation) => {
                self.convert(framework.as_ref(), agent, operation)?
            }
            Step::AnswerInverse(framework, agent, refuse_seconds) => {
                self.answer_inverse(framework, agent, *refuse_seconds)?
            }
            Step::SetQuota(role, guarantees, limits) => {
                let quota = Quota::new(role.clone(), guarantees.clone(), limits.clone())?;
                self.set(|allocator| allocator.set_quota(quota))
            }
            Step::SetWeight(role, weight) => {
                let weight = Weight::from_f64(*weight)?;
                self.set(|allocator| allocator.set_weight(role, weight))
            }
            Step::SetPriority(role, priority) => {
                let priority = Priority::new(*priority)?;
                self.set(|allocator| allocator.set_role_priority(role, priority))
            }
            Step::SetWhitelist(hosts) => self.set(|allocator| allocator.set_whitelist(hosts.clone())),
            Step::Allocate => Scope::All,
            Step::Settle => Scope::Nothing,
        };
        self.run(scope);
        Ok(())
    }

    /// Operators' settings have no effect before the next run.
    fn set(&mut self, setting: impl FnOnce(&mut Allocator)) -> Scope {
        setting(&mut self.allocator);
        Scope::Nothing
    }

    /// Has the allocator plan, and takes every plan.
    fn run(&mut self, scope: Scope) {
        let plans = match scope {
            Scope::Nothing => return,
            Scope::Agent(id) => self.allocator.plan_only(&[id], self.now, usize::MAX),
            Scope::All => {
                self.allocator.end_interval();
                self.allocator.plan(self.now, usize::MAX)
            }
        };
        plans.into_iter().for_each(|plan| self.take(plan));
        for plan in self.allocator.plan_inverse(self.now, usize::MAX) {
            self.allocator.ask_back(&plan.framework, &plan.agent);
            self.inverse_offers.push(InverseOffer { framework: plan.framework, agent: plan.agent });
        }
    }

    fn take(&mut self, plan: Plan) {
        let Plan { framework, role, agent, resources, .. } = plan;
        self.allocator.take(&framework, &role, &agent, &resources);
        let holding = (framework.clone(), role.clone(), agent.clone());
        *self.offered.entry(holding).or_default() += &resources;
        self.offers.push(Offer { framework, role, agent, resources });
    }

    /// Lets time pass. Ticks at which nothing can be due are passed over.
    fn advance(&mut self, ms: u64) {
        let end = self.now.saturating_add(Millis(ms));
        let interval = self.interval.0;
        loop {
            let next = Millis((self.now.0 / interval).saturating_add(1).saturating_mul(interval));
            let Some(wake) = self.allocator.next_wake(self.now) else { break };
            let tick = Millis(wake.max(next).0.div_ceil(interval).saturating_mul(interval));
            if tick > end || tick <= self.now {
                break;
            }
            self.now = tick;
            self.run(Scope::All);
        }
        self.now = end;
    }

    fn add_agents(&mut self, step: &AddAgent) -> Result<(), Refused> {
        let Some(count) = step.count else {
            return self.add_agent(step, step.id.clone());
        };
        let names: Vec<AgentId> =
            (1..=count).map(|number| AgentId::from(format!("{}{number}", step.id))).collect();
        if let Some(known) = names.iter().find(|id| self.agents.contains_key(*id)) {
            return refused(format_args!("agent {known} is there already"));
        }
        names.into_iter().try_for_each(|id| self.add_agent(step, id))
    }

    fn add_agent(&mut self, step: &AddAgent, id: AgentId) -> Result<(), Refused> {
        if self.agents.contains_key(&id) {
            return refused(format_args!("agent {id} is there already"));
        }
        let view = AgentView {
            id: id.clone(),
            hostname: step.hostname.clone().unwrap_or_else(|| id.as_str().into()),
            attributes: step.attributes.clone(),
            total: step.resources.clone(),
            capabilities: step.capabilities,
            active: true,
            region: step.region.clone(),
            zone: step.zone.clone(),
            unavailability: step.unavailable_from_ms.map(outage),
            version: 1,
        };
        self.allocator.set_agent(view.clone());
        self.agents.insert(id.clone(), view);
        for (framework, by_role) in &step.used {
            for (role, resources) in by_role {
                self.use_up((FrameworkId::from(framework.as_str()), role.clone(), id.clone()), resources);
            }
        }
        self.run(Scope::Agent(id));
        Ok(())
    }

    /// What is used there anyway; said by the agent and by the framework, it counts once.
    fn use_up(&mut self, holding: Holding, resources: &Resources) {
        let used = self.used.entry(holding.clone()).or_default();
        let new = resources.saturating_sub(used);
        *used += &new;
        self.allocator.take(&holding.0, &holding.1, &holding.2, &new);
    }

    fn known_agent(&self, id: &AgentId) -> Result<AgentView, Refused> {
        self.agents.get(id).cloned().ok_or_else(|| Refused(format!("there is no agent {id}")))
    }

    pub(super) fn put_agent(&mut self, view: AgentView) {
        self.allocator.set_agent(view.clone());
        self.agents.insert(view.id.clone(), view);
    }

    fn update_agent(&mut self, step: &UpdateAgent) -> Result<Scope, Refused> {
        let old = self.known_agent(&step.id)?;
        let mut new = old.clone();
        let fixed = step.resources.clone().unwrap_or_else(|| old.total.non_revocable());
        let loose = step.oversubscribed.clone().unwrap_or_else(|| old.total.revocable());
        if !fixed.revocable().is_empty() || !loose.non_revocable().is_empty() {
            return refused("resources are not revocable, oversubscribed ones are");
        }
        new.total =
            fixed.checked_add(&loose).ok_or_else(|| Refused(format!("{fixed} and {loose} do not add up")))?;
        new.attributes = step.attributes.clone().unwrap_or(new.attributes);
        new.capabilities = step.capabilities.unwrap_or(new.capabilities);
        if let Some(from) = step.unavailable_from_ms {
            new.unavailability = from.map(outage);
        }
        if new == old {
            return Ok(Scope::Nothing);
        }
        new.version += 1;
        self.put_agent(new);
        Ok(Scope::Agent(step.id.clone()))
    }

    fn remove_agent(&mut self, id: &AgentId) -> Result<Scope, Refused> {
        self.known_agent(id)?;
        self.agents.remove(id);
        self.offered.retain(|(_, _, agent), _| agent != id);
        self.used.retain(|(_, _, agent), _| agent != id);
        self.allocator.remove_agent(id);
        Ok(Scope::Nothing)
    }

    fn set_agent_active(&mut self, id: &AgentId, active: bool) -> Result<Scope, Refused> {
        let view = self.known_agent(id)?;
        self.put_agent(AgentView { active, version: view.version + 1, ..view });
        Ok(Scope::Nothing)
    }

    pub(super) fn known_framework(&self, id: &FrameworkId) -> Result<FrameworkView, Refused> {
        self.frameworks.get(id).cloned().ok_or_else(|| Refused(format!("there is no framework {id}")))
    }

    fn put_framework(&mut self, view: FrameworkView) {
        self.allocator.set_framework(view.clone());
        self.frameworks.insert(view.id.clone(), view);
    }

    fn add_framework(&mut self, step: &AddFramework) -> Result<Scope, Refused> {
        if self.frameworks.contains_key(&step.id) {
            return refused(format_args!("framework {} is there already", step.id));
        }
        let capabilities = [FrameworkCapability::MultiRole, FrameworkCapability::ReservationRefinement];
        let view = FrameworkView {
            id: step.id.clone(),
            roles: step.roles.clone(),
            suppressed: BTreeSet::new(),
            capabilities: FrameworkCapabilities::from_iter(capabilities),
            active: step.active,
            min_allocatable: BTreeMap::new(),
            constraints: BTreeMap::new(),
            version: 1,
        };
        let view = with_wishes(view, &step.wishes)?;
        self.check_used(&step.used)?;
        for (agent, by_role) in &step.used {
            for (role, resources) in by_role {
                self.use_up((step.id.clone(), role.clone(), AgentId::from(agent.as_str())), resources);
            }
        }
        self.put_framework(view);
        Ok(Scope::All)
    }

    fn check_used(&self, used: &Used) -> Result<(), Refused> {
        used.keys().try_for_each(|agent| self.known_agent(&AgentId::from(agent.as_str())).map(|_| ()))
    }

    fn update_framework(&mut self, step: &UpdateFramework) -> Result<Scope, Refused> {
        let old = self.known_framework(&step.id)?;
        let roles = step.roles.clone().unwrap_or_else(|| old.roles.clone());
        let suppressed = old.suppressed.intersection(&roles).cloned().collect();
        let new = FrameworkView { roles, suppressed, version: old.version + 1, ..old };
        let new = with_wishes(new, &step.wishes)?;
        self.put_framework(new);
        Ok(Scope::Nothing)
    }

    fn remove_framework(&mut self, id: &FrameworkId) -> Result<Scope, Refused> {
        self.known_framework(id)?;
        for books in [&mut self.offered, &mut self.used] {
            for ((framework, role, agent), resources) in
                books.extract_if(.., |(framework, ..), _| framework == id)
            {
                self.allocator.give_back(&framework, &role, &agent, &resources, GiveBack::Freed);
            }
        }
        self.frameworks.remove(id);
        self.allocator.remove_framework(id);
        Ok(Scope::Nothing)
    }

    fn set_framework_active(&mut self, id: &FrameworkId, active: bool) -> Result<Scope, Refused> {
        let view = self.known_framework(id)?;
        self.put_framework(FrameworkView { active, version: view.version + 1, ..view });
        Ok(if active { Scope::All } else { Scope::Nothing })
    }

    fn suppress(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) -> Result<Scope, Refused> {
        let mut view = self.with_roles(id, roles)?;
        let all = view.roles.clone();
        view.suppressed.extend(if roles.is_empty() { all } else { roles.clone() });
        self.put_framework(view);
        Ok(Scope::Nothing)
    }

    fn revive(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) -> Result<Scope, Refused> {
        let mut view = self.with_roles(id, roles)?;
        view.suppressed.retain(|role| !roles.is_empty() && !roles.contains(role));
        let named: Vec<Role> = roles.iter().cloned().collect();
        self.allocator.revive(id, &named);
        self.put_framework(view);
        Ok(Scope::All)
    }

    fn with_roles(&self, id: &FrameworkId, roles: &BTreeSet<Role>) -> Result<FrameworkView, Refused> {
        let view = self.known_framework(id)?;
        match roles.iter().find(|role| !view.roles.contains(*role)) {
            Some(other) => refused(format_args!("framework {id} is not in role {other}")),
            None => Ok(FrameworkView { version: view.version + 1, ..view }),
        }
    }
}

/// Milliseconds of virtual time as the nanoseconds of an outage without end.
fn outage(from_ms: u64) -> Unavailability {
    let start_ns = i64::try_from(from_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    Unavailability { start_ns, duration_ns: None }
}

fn with_wishes(view: FrameworkView, wishes: &Wishes) -> Result<FrameworkView, Refused> {
    let view = FrameworkView {
        capabilities: wishes.capabilities.unwrap_or(view.capabilities),
        suppressed: wishes.suppressed.clone().unwrap_or(view.suppressed),
        min_allocatable: wishes.min_allocatable.clone().unwrap_or(view.min_allocatable),
        constraints: wishes.constraints.clone().unwrap_or(view.constraints),
        ..view
    };
    if view.roles.len() > 1 && !view.capabilities.has(FrameworkCapability::MultiRole) {
        return refused("a framework with several roles needs the capability MULTI_ROLE");
    }
    match view.suppressed.iter().find(|role| !view.roles.contains(*role)) {
        Some(other) => refused(format_args!("suppressed role {other} is not among the framework's roles")),
        None => Ok(view),
    }
}
