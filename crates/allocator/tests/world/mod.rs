//! A cluster in miniature around the allocator: it accepts every plan at once and keeps what was offered.
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::collections::BTreeMap;

use mesarch_allocator::{Allocator, Config, GiveBack, Plan};
use mesarch_types::{
    AgentCapabilities, AgentId, AgentView, FrameworkCapabilities, FrameworkCapability, FrameworkId,
    FrameworkView, Millis, RefuseFilter, Resources, Role, parse_resources, refuse_duration,
};

/// So many cases, unless `PROPTEST_CASES` says otherwise.
#[expect(clippy::disallowed_methods, reason = "tests may look at their environment")]
pub(crate) fn cases(default: u32) -> proptest::prelude::ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    proptest::prelude::ProptestConfig::with_cases(asked.unwrap_or(default))
}

/// More than any test plans at once.
pub(crate) const MANY: usize = 1_000_000;

pub(crate) fn r(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("well-formed")
}

pub(crate) fn agent(id: &str, total: Resources) -> AgentView {
    AgentView {
        id: AgentId::from(id),
        hostname: id.into(),
        attributes: [].into(),
        total,
        capabilities: AgentCapabilities::all(),
        active: true,
        region: None,
        zone: None,
        unavailability: None,
        version: 1,
    }
}

pub(crate) fn framework(id: &str, roles: &[&str]) -> FrameworkView {
    FrameworkView {
        id: FrameworkId::from(id),
        roles: roles.iter().copied().map(Role::from).collect(),
        suppressed: Default::default(),
        capabilities: FrameworkCapabilities::NONE
            .with(FrameworkCapability::MultiRole)
            .with(FrameworkCapability::ReservationRefinement),
        active: true,
        min_allocatable: BTreeMap::new(),
        constraints: BTreeMap::new(),
        version: 1,
    }
}

/// Who holds what where: the framework's id, its role, the agent's id.
pub(crate) type Holding = (FrameworkId, Role, AgentId);

pub(crate) struct World {
    pub(crate) allocator: Allocator,
    pub(crate) now: Millis,
    interval: Millis,
    /// Offers since the last expectation.
    pub(crate) news: Vec<Plan>,
    pub(crate) offered: BTreeMap<Holding, Resources>,
    pub(crate) frameworks: BTreeMap<FrameworkId, FrameworkView>,
    pub(crate) agents: BTreeMap<AgentId, AgentView>,
}

impl Default for World {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            interval: config.allocation_interval,
            allocator: Allocator::new(config),
            now: Millis::ZERO,
            news: Vec::new(),
            offered: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            agents: BTreeMap::new(),
        }
    }

    /// One plan, accepted.
    pub(crate) fn plan(&mut self) -> usize {
        let plans = self.allocator.plan(self.now, MANY);
        for plan in &plans {
            self.allocator.take(&plan.framework, &plan.role, &plan.agent, &plan.resources);
            let holding = (plan.framework.clone(), plan.role.clone(), plan.agent.clone());
            *self.offered.entry(holding).or_default() += &plan.resources;
        }
        self.news.extend_from_slice(&plans);
        plans.len()
    }

    /// Lets time pass; plans whenever the allocator says that there is something to do.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end = self.now.saturating_add(Millis(ms));
        while let Some(wake) = self.allocator.next_wake(self.now).filter(|wake| *wake <= end) {
            self.now = wake;
            self.plan();
        }
        self.now = end;
    }

    /// A run over all agents, as if a tick had come.
    pub(crate) fn allocate(&mut self) {
        self.allocator.end_interval();
        self.plan();
    }

    pub(crate) fn add_agent(&mut self, id: &str, total: &str) {
        self.set_agent(agent(id, r(total)));
    }

    pub(crate) fn set_agent(&mut self, view: AgentView) {
        self.agents.insert(view.id.clone(), view.clone());
        self.allocator.set_agent(view);
        self.plan();
    }

    pub(crate) fn update_agent(&mut self, id: &str, change: impl FnOnce(&mut AgentView)) {
        let mut view = self.agents[id].clone();
        change(&mut view);
        view.version += 1;
        self.set_agent(view);
    }

    pub(crate) fn add_framework(&mut self, id: &str, roles: &[&str]) {
        self.set_framework(framework(id, roles));
    }

    /// Sets a framework and runs over all agents, as if a tick had come.
    pub(crate) fn set_framework(&mut self, view: FrameworkView) {
        self.frameworks.insert(view.id.clone(), view.clone());
        self.allocator.set_framework(view);
        self.allocate();
    }

    /// Changes a framework; nothing is planned.
    pub(crate) fn update_framework(&mut self, id: &str, change: impl FnOnce(&mut FrameworkView)) {
        let view = self.frameworks.get_mut(id).expect("known");
        change(view);
        view.version += 1;
        self.allocator.set_framework(view.clone());
    }

    pub(crate) fn suppress(&mut self, id: &str) {
        self.update_framework(id, |view| view.suppressed = view.roles.clone());
    }

    pub(crate) fn revive(&mut self, id: &str) {
        self.allocator.revive(&FrameworkId::from(id), &[]);
        self.update_framework(id, |view| view.suppressed.clear());
        self.allocate();
    }

    /// An offer's resources, or some of them, become a task's: nothing changes for the allocator.
    pub(crate) fn launch(&mut self, framework: &str, role: &str, agent: &str, resources: &str) {
        let offered = self.offered.get_mut(&holding(framework, role, agent)).expect("offered");
        *offered = offered.checked_sub(&r(resources)).expect("not more than offered");
    }

    /// All that is offered on the agent goes back; without `refuse_ms` no filter is made.
    pub(crate) fn decline(&mut self, framework: &str, agent: &str, refuse_ms: u64) {
        let mine = |(who, _, host): &Holding| who.as_str() == framework && host.as_str() == agent;
        let holdings: Vec<Holding> = self.offered.keys().filter(|holding| mine(holding)).cloned().collect();
        for holding in holdings {
            let resources = self.offered.remove(&holding).expect("just seen");
            let (framework, role, agent) = &holding;
            self.allocator.give_back(
                framework,
                role,
                agent,
                &resources,
                GiveBack::Declined { now: self.now },
            );
            if let Some(duration) = refuse_duration(Millis(refuse_ms), self.interval) {
                let filter = RefuseFilter { refused: resources, until: self.now.saturating_add(duration) };
                self.allocator.refuse(framework, role, agent, filter);
            }
        }
    }

    pub(crate) fn used(&mut self, framework: &str, role: &str, agent: &str, resources: &str) {
        let (framework, role, agent) = holding(framework, role, agent);
        self.allocator.take(&framework, &role, &agent, &r(resources));
    }

    pub(crate) fn freed(&mut self, framework: &str, role: &str, agent: &str, resources: &str) {
        let (framework, role, agent) = holding(framework, role, agent);
        self.allocator.give_back(&framework, &role, &agent, &r(resources), GiveBack::Freed);
    }

    /// Exactly these offers were made since the last expectation.
    #[track_caller]
    pub(crate) fn expect(&mut self, offers: &[(&str, &str, &str, &str)]) {
        let offers: Vec<_> =
            offers.iter().map(|(f, role, agent, text)| (*f, *role, *agent, r(text))).collect();
        self.expect_resources(&offers);
    }

    #[track_caller]
    pub(crate) fn expect_resources(&mut self, offers: &[(&str, &str, &str, Resources)]) {
        let mut expected: Vec<(Holding, String)> = (offers.iter())
            .map(|(framework, role, agent, resources)| {
                (holding(framework, role, agent), resources.to_string())
            })
            .collect();
        let mut made: Vec<(Holding, String)> = (self.news.drain(..))
            .map(|plan| ((plan.framework, plan.role, plan.agent), plan.resources.to_string()))
            .collect();
        expected.sort();
        made.sort();
        assert_eq!(made, expected, "at {:?}", self.now);
    }

    #[track_caller]
    pub(crate) fn expect_role_share(&self, role: &str, expect: f64) {
        let share = self.allocator.role_share(&Role::from(role)).as_f64();
        assert!((share - expect).abs() < 1e-6, "share of {role}: {share}, expected {expect}");
    }
}

pub(crate) fn holding(framework: &str, role: &str, agent: &str) -> Holding {
    (FrameworkId::from(framework), Role::from(role), AgentId::from(agent))
}
