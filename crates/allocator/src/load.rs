//! Clusters of any size for measurements. Without a clock: whoever measures brings one.

use mesarch_types::{
    AgentCapabilities, AgentId, AgentView, FrameworkCapabilities, FrameworkCapability, FrameworkId,
    FrameworkView, Millis, Quantities, Quota, RefuseFilter, Reservation, ReservationKind, Resource,
    Resources, Role, Scalar, parse_resources,
};

use crate::{Allocator, Config, GiveBack, Plan};

/// The size and kind of a cluster. All agents and frameworks are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How many agents.
    pub agents: usize,
    /// How many frameworks.
    pub frameworks: usize,
    /// In how many roles, in turn; at least one.
    pub roles: usize,
    /// How many levels the roles have; zero counts as one.
    pub role_levels: usize,
    /// How many roles have a quota: guarantees and limits of an equal part of half of the cluster.
    pub quota_roles: usize,
    /// How many reservations with labels of their own each agent has, for roles in turn.
    pub reservations_per_agent: usize,
    /// Of how many frameworks each second one has its roles suppressed.
    pub suppressed: usize,
}

/// A cluster under load.
#[derive(Debug)]
pub struct Load {
    /// The allocator.
    pub allocator: Allocator,
    shape: Shape,
    /// The offers that are outstanding.
    offers: Vec<Plan>,
    tick: u64,
}

/// Most offers of one piece of the log, as in a leader.
const PIECE_OFFERS_MAX: usize = 256;
/// Cluster time from one tick to the next.
const TICK_MS: u64 = 1000;
const AGENT: &str = "cpus:16;mem:65536;disk:1000000;ports:[31000-32000]";

impl Load {
    /// A cluster of this shape, in which nothing was planned yet.
    pub fn new(shape: Shape) -> Self {
        let shape = Shape { roles: shape.roles.max(1), role_levels: shape.role_levels.max(1), ..shape };
        let mut allocator = Allocator::new(Config { offers_per_second_max: u32::MAX, ..Config::default() });
        (0..shape.quota_roles).for_each(|number| allocator.set_quota(quota(shape, number)));
        (0..shape.frameworks).for_each(|number| allocator.set_framework(framework(shape, number)));
        let total = parse_resources(AGENT, &Role::any()).expect("a constant");
        (0..shape.agents).for_each(|number| allocator.set_agent(agent(shape, number, &total)));
        Self { allocator, shape, offers: Vec::new(), tick: 0 }
    }

    /// Plans at the next tick, all that there is to offer. The plan is not taken yet.
    pub fn plan(&mut self) -> Vec<Plan> {
        self.tick += 1;
        self.allocator.plan(Millis(self.tick * TICK_MS), usize::MAX)
    }

    /// Plans at this moment, without waiting for a tick.
    pub fn plan_now(&mut self) -> Vec<Plan> {
        self.allocator.plan(self.now(), usize::MAX)
    }

    /// Books a plan, as the state would have it: decoded from the log, sharing no resources with the plan. Within a piece of
    /// the log, neighbours that are equal share theirs.
    pub fn take(&mut self, plans: Vec<Plan>) {
        let mut last = (Resources::default(), Resources::default());
        let decoded = plans.into_iter().enumerate().map(|(number, plan)| {
            if number % PIECE_OFFERS_MAX == 0 || plan.resources != last.0 {
                last = (plan.resources.clone(), decoded(&plan.resources));
            }
            Plan { resources: last.1.clone(), ..plan }
        });
        self.take_as_it_is(decoded.collect());
    }

    /// Books a plan and nothing else.
    pub fn take_as_it_is(&mut self, plans: Vec<Plan>) {
        for plan in &plans {
            self.allocator.take(&plan.framework, &plan.role, &plan.agent, &plan.resources);
        }
        self.offers.extend(plans);
    }

    /// Every outstanding offer is declined, with a refusal until `refuse_ms` later or without one.
    pub fn decline_all(&mut self, refuse_ms: Option<u64>) {
        let now = Millis(self.tick * TICK_MS + 1);
        for plan in std::mem::take(&mut self.offers) {
            let why = GiveBack::Declined { now };
            self.allocator.give_back(&plan.framework, &plan.role, &plan.agent, &plan.resources, why);
            if let Some(refuse_ms) = refuse_ms {
                let until = now.saturating_add(Millis(refuse_ms));
                let filter = RefuseFilter { refused: plan.resources, until };
                self.allocator.refuse(&plan.framework, &plan.role, &plan.agent, filter);
            }
        }
    }

    /// On the agent of the `number`-th outstanding offer (if there are as many) a task of one cpu ends.
    pub fn free_one(&mut self, number: usize) {
        let Some(plan) = self.offers.get_mut(number) else { return };
        let task = parse_resources("cpus:1;mem:1024", &Role::any()).expect("a constant");
        plan.resources = plan.resources.saturating_sub(&task);
        self.allocator.give_back(&plan.framework, &plan.role, &plan.agent, &task, GiveBack::Freed);
    }

    /// The `number`-th framework revives.
    pub fn revive(&mut self, number: usize) {
        self.allocator.revive(&framework_id(number), &[]);
    }

    /// Every framework refuses every agent for so long.
    pub fn refuse_everything(&mut self, refuse_ms: u64) {
        let until = self.now().saturating_add(Millis(refuse_ms));
        let total = parse_resources(AGENT, &Role::any()).expect("a constant");
        for number in 0..self.shape.frameworks {
            let (id, role) = (framework_id(number), role(self.shape, number));
            for agent in 0..self.shape.agents {
                let filter = RefuseFilter { refused: total.clone(), until };
                self.allocator.refuse(&id, &role, &agent_id(agent), filter);
            }
        }
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The offers that are outstanding.
    pub fn outstanding(&self) -> &[Plan] {
        &self.offers
    }

    /// An agent like the others that is not there yet.
    pub fn another_agent(&self) -> AgentView {
        let total = parse_resources(AGENT, &Role::any()).expect("a constant");
        agent(self.shape, self.shape.agents, &total)
    }

    /// How many offers are outstanding.
    pub fn offers(&self) -> usize {
        self.offers.len()
    }

    fn now(&self) -> Millis {
        Millis(self.tick * TICK_MS + 2)
    }
}

fn agent_id(number: usize) -> AgentId {
    AgentId::from(format!("5b3c2d1e-7a64-4f0b-9c58-1d2e3f4a5b6c-1-S{number}"))
}

fn framework_id(number: usize) -> FrameworkId {
    FrameworkId::from(format!("5b3c2d1e-7a64-4f0b-9c58-1d2e3f4a5b6c-1-{number:04}"))
}

/// `team-7`, and with more levels `team-7/part-1/part-0`.
fn role(shape: Shape, number: usize) -> Role {
    let mut path = format!("team-{}", number % shape.roles);
    for level in 1..shape.role_levels {
        path += &format!("/part-{}", (number / shape.roles + level) % 3);
    }
    Role::from(path)
}

fn agent(shape: Shape, number: usize, plain: &Resources) -> AgentView {
    let reserved = (0..shape.reservations_per_agent).map(|place| Resource {
        reservations: [Reservation {
            kind: ReservationKind::Dynamic,
            role: role(shape, number + place),
            principal: Some("ops".into()),
            labels: format!("\u{a}\u{4}\u{a}\u{2}{place:02}").into_bytes().into(),
        }]
        .into_iter()
        .collect(),
        ..Resource::new("cpus", Scalar::from_units(1))
    });
    let reserved = Resources::new(reserved).expect("amounts of one");
    AgentView {
        id: agent_id(number),
        hostname: format!("host-{number}").into(),
        attributes: [].into(),
        total: plain + &reserved,
        capabilities: AgentCapabilities::all(),
        active: true,
        region: None,
        zone: None,
        unavailability: None,
        version: 1,
    }
}

fn framework(shape: Shape, number: usize) -> FrameworkView {
    let roles = std::collections::BTreeSet::from([role(shape, number)]);
    let is_suppressed = number % 2 == 1 && number < shape.suppressed;
    let capabilities = [FrameworkCapability::MultiRole, FrameworkCapability::ReservationRefinement];
    FrameworkView {
        id: framework_id(number),
        suppressed: if is_suppressed { roles.clone() } else { Default::default() },
        roles,
        capabilities: FrameworkCapabilities::from_iter(capabilities),
        active: true,
        min_allocatable: Default::default(),
        constraints: Default::default(),
        version: 1,
    }
}

fn quota(shape: Shape, number: usize) -> Quota {
    let units = shape.agents as i64 / (2 * shape.quota_roles as i64);
    let part = |whole: i64| Scalar::from_units(whole * units.max(1));
    let amounts: Quantities = [("cpus".into(), part(16)), ("mem".into(), part(65_536))].into_iter().collect();
    Quota::new(Role::from(format!("team-{number}")), amounts.clone(), amounts)
        .expect("a limit like its guarantee")
}

fn decoded(resources: &Resources) -> Resources {
    let copied = resources.iter().map(|resource| {
        let mut copy = resource.clone();
        copy.name = (&*resource.name).into();
        copy
    });
    Resources::new(copied).expect("was valid")
}
