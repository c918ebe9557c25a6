//! Laws that hold after any sequence of events.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use mesarch_allocator::{Allocator, Config, Contender, GiveBack, Plan, Policies, Policy, Rank};
use mesarch_types::{
    AgentId, AgentView, FrameworkId, FrameworkView, Millis, RefuseFilter, Resources, Role, Weight,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use world::{Holding, MANY, agent, framework, r};

/// DRF without turns: what an index cannot know after a rebuild does not count.
#[derive(Debug)]
struct SharesOnly;

impl Policy for SharesOnly {
    fn rank(&self, contender: &Contender<'_>) -> Rank {
        let share = contender.usage.dominant_share().per_weight(contender.weight_thousandths);
        Rank { share, ..Rank::default() }
    }
}

fn config() -> Config {
    Config { policies: Policies::both(SharesOnly), ..Config::default() }
}

const TOTALS: [&str; 4] = [
    "cpus:4;mem:4096;ports:[1-100]",
    "cpus:8;mem:2048;cpus(a):2;mem(a):512",
    "cpus:2;cpus(a/b):2;cpus(c):1;cpus{REV}:3",
    "cpus:0.005;mem:8;disk:10",
];
const ROLES: [&str; 4] = ["a", "a/b", "c", "*"];

#[derive(Clone, Debug)]
enum Step {
    SetAgent {
        number: u8,
        total: usize,
        active: bool,
    },
    RemoveAgent {
        number: u8,
    },
    SetFramework {
        number: u8,
        roles: u8,
        suppressed: u8,
        active: bool,
    },
    RemoveFramework {
        number: u8,
    },
    SetWeight {
        role: usize,
        weight: u64,
    },
    /// Every third item is refused when `refuses`.
    Plan {
        refuses: bool,
    },
    Decline {
        which: Index,
        half: bool,
        refuse_ms: u64,
    },
    Free {
        which: Index,
    },
    Revive {
        number: u8,
    },
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6u8, 0..TOTALS.len(), prop::bool::weighted(0.9))
            .prop_map(|(number, total, active)| Step::SetAgent { number, total, active }),
        1 => (0..6u8).prop_map(|number| Step::RemoveAgent { number }),
        3 => (0..4u8, 0..16u8, 0..16u8, prop::bool::weighted(0.9)).prop_map(
            |(number, roles, suppressed, active)| Step::SetFramework {
                number, roles, suppressed: roles & suppressed, active,
            }
        ),
        1 => (0..4u8).prop_map(|number| Step::RemoveFramework { number }),
        1 => (0..ROLES.len(), 100..5000u64).prop_map(|(role, weight)| Step::SetWeight { role, weight }),
        6 => any::<bool>().prop_map(|refuses| Step::Plan { refuses }),
        4 => (any::<Index>(), any::<bool>(), prop_oneof![Just(0), 1..8000u64])
            .prop_map(|(which, half, refuse_ms)| Step::Decline { which, half, refuse_ms }),
        3 => any::<Index>().prop_map(|which| Step::Free { which }),
        1 => (0..4u8).prop_map(|number| Step::Revive { number }),
        3 => (1..1500u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// What the state would know: enough to build an index from nothing.
struct Model {
    allocator: Allocator,
    now: Millis,
    agents: BTreeMap<AgentId, AgentView>,
    frameworks: BTreeMap<FrameworkId, FrameworkView>,
    weights: BTreeMap<Role, Weight>,
    held: BTreeMap<Holding, Resources>,
    filters: Vec<(Holding, RefuseFilter)>,
}

impl Model {
    fn new() -> Self {
        Self {
            allocator: Allocator::new(config()),
            now: Millis::ZERO,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            weights: BTreeMap::new(),
            held: BTreeMap::new(),
            filters: Vec::new(),
        }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::SetAgent { number, total, active } => {
                let view = AgentView { active, ..agent(&format!("n{number}"), r(TOTALS[total])) };
                self.agents.insert(view.id.clone(), view.clone());
                self.allocator.set_agent(view);
            }
            Step::RemoveAgent { number } => {
                let id = AgentId::from(format!("n{number}"));
                self.agents.remove(&id);
                self.held.retain(|(_, _, host), _| *host != id);
                self.filters.retain(|((_, _, host), _)| *host != id);
                self.allocator.remove_agent(&id);
            }
            Step::SetFramework { number, roles, suppressed, active } => {
                let pick = |bits: u8| {
                    let chosen = ROLES.iter().enumerate().filter(|(place, _)| bits & 1 << place != 0);
                    chosen.map(|(_, role)| Role::from(*role)).collect::<BTreeSet<Role>>()
                };
                let view = framework(&format!("f{number}"), &[]);
                self.set_framework(FrameworkView {
                    roles: pick(roles),
                    suppressed: pick(suppressed),
                    active,
                    ..view
                });
            }
            Step::RemoveFramework { number } => {
                let id = FrameworkId::from(format!("f{number}"));
                self.frameworks.remove(&id);
                self.forget(|(who, ..)| *who == id);
                self.allocator.remove_framework(&id);
            }
            Step::SetWeight { role, weight } => {
                let weight = Weight::from_thousandths(weight).expect("in range");
                self.weights.insert(Role::from(ROLES[role]), weight);
                self.allocator.set_weight(&Role::from(ROLES[role]), weight);
            }
            Step::Plan { refuses } => self.plan(refuses),
            Step::Decline { which, half, refuse_ms } => self.decline(&which, half, refuse_ms),
            Step::Free { which } => {
                if let Some((holding, resources)) = self.some_held(&which) {
                    self.held.remove(&holding);
                    let (framework, role, agent) = &holding;
                    self.allocator.give_back(framework, role, agent, &resources, GiveBack::Freed);
                }
            }
            Step::Revive { number } => {
                let id = FrameworkId::from(format!("f{number}"));
                self.forget(|(who, ..)| *who == id);
                self.allocator.revive(&id, &[]);
            }
            Step::Pass { ms } => self.now = self.now.saturating_add(Millis(ms)),
        }
    }

    fn forget(&mut self, of: impl Fn(&Holding) -> bool) {
        self.filters.retain(|(holding, _)| !of(holding));
    }

    fn set_framework(&mut self, view: FrameworkView) {
        let old = self.frameworks.insert(view.id.clone(), view.clone());
        if let Some(old) = old {
            let could = |view: &FrameworkView, role: &Role| view.active && view.roles.contains(role);
            self.forget(|(who, role, _)| {
                let left = could(&old, role) && !could(&view, role);
                let unsuppressed = could(&old, role) && !old.wants(role) && view.wants(role);
                *who == view.id && (left || unsuppressed)
            });
        }
        self.allocator.set_framework(view);
    }

    fn some_held(&self, which: &Index) -> Option<(Holding, Resources)> {
        let place = (!self.held.is_empty()).then(|| which.index(self.held.len()))?;
        self.held.iter().nth(place).map(|(holding, resources)| (holding.clone(), resources.clone()))
    }

    fn decline(&mut self, which: &Index, half: bool, refuse_ms: u64) {
        let Some((holding, all)) = self.some_held(which) else {
            return;
        };
        let part = if half { all.unreserved() } else { all.clone() };
        if part.is_empty() {
            return;
        }
        match all.checked_sub(&part).expect("a part") {
            rest if rest.is_empty() => self.held.remove(&holding),
            rest => self.held.insert(holding.clone(), rest),
        };
        let (framework, role, agent) = &holding;
        let known =
            |model: &Self| model.frameworks.get(framework).is_some_and(|view| view.roles.contains(role));
        self.allocator.give_back(framework, role, agent, &part, GiveBack::Declined { now: self.now });
        if known(self) && refuse_ms > 0 {
            let filter = RefuseFilter { refused: part, until: self.now.saturating_add(Millis(refuse_ms)) };
            self.allocator.refuse(framework, role, agent, filter.clone());
            self.filters.push((holding, filter));
        }
    }

    fn plan(&mut self, refuses: bool) {
        let plans = self.allocator.plan(self.now, MANY);
        self.check(&plans);
        for (place, plan) in plans.iter().enumerate() {
            if refuses && place % 3 == 0 {
                self.allocator.mark_dirty(&plan.agent);
                continue;
            }
            self.allocator.take(&plan.framework, &plan.role, &plan.agent, &plan.resources);
            *self.held.entry(holding_of(plan)).or_default() += &plan.resources;
        }
    }

    /// Each item may be offered, and together they fit.
    fn check(&self, plans: &[Plan]) {
        let mut given: BTreeMap<&AgentId, Resources> = BTreeMap::new();
        for plan in plans {
            let view = &self.frameworks[&plan.framework];
            assert!(view.wants(&plan.role), "{plan:?}");
            assert!(self.agents[&plan.agent].active, "{plan:?}");
            assert_eq!(plan.resources.allocatable_to(&plan.role), plan.resources);
            assert!(plan.resources.revocable().is_empty(), "nobody here can handle it");
            let holding = holding_of(plan);
            let mut filters = self.filters.iter().filter(|(of, _)| *of == holding);
            assert!(
                !filters.any(|(_, filter)| filter.blocks(&plan.resources, self.now)),
                "refused: {plan:?}"
            );
            *given.entry(&plan.agent).or_default() += &plan.resources;
        }
        for (agent, given) in given {
            assert!(self.free(agent).contains(&given), "{agent}: {given} of {}", self.free(agent));
        }
    }

    fn free(&self, agent: &AgentId) -> Resources {
        let here = self.held.iter().filter(|((_, _, host), _)| host == agent);
        let held = here.fold(Resources::default(), |sum, (_, held)| &sum + held);
        self.agents[agent].total.saturating_sub(&held)
    }

    /// An index built from what the state knows.
    fn rebuilt(&self, backwards: bool) -> Allocator {
        let mut allocator = Allocator::new(config());
        let turned = |length: usize, place: usize| if backwards { length - 1 - place } else { place };
        let (agents, frameworks): (Vec<_>, Vec<_>) =
            (self.agents.values().collect(), self.frameworks.values().collect());
        let held: Vec<_> = self.held.iter().collect();
        let take = |allocator: &mut Allocator| {
            for place in 0..held.len() {
                let ((framework, role, agent), resources) = held[turned(held.len(), place)];
                allocator.take(framework, role, agent, resources);
            }
        };
        if backwards {
            take(&mut allocator);
        }
        for place in 0..frameworks.len() {
            allocator.set_framework(frameworks[turned(frameworks.len(), place)].clone());
        }
        for place in 0..agents.len() {
            allocator.set_agent(agents[turned(agents.len(), place)].clone());
        }
        if !backwards {
            take(&mut allocator);
        }
        self.weights.iter().for_each(|(role, weight)| allocator.set_weight(role, *weight));
        for ((framework, role, agent), filter) in &self.filters {
            allocator.refuse(framework, role, agent, filter.clone());
        }
        allocator
    }

    fn check_books(&self) {
        for id in self.agents.keys() {
            assert_eq!(self.allocator.free(id), Some(self.free(id)), "{id}");
        }
        for ((framework, role, agent), held) in &self.held {
            assert_eq!(self.allocator.held(framework, role, agent), *held);
        }
        assert_eq!(self.allocator.stats().mismatches, 0);
    }

    /// The index that saw every event plans as one that was built from the outcome, in any order.
    fn check_rebuilt(mut self) {
        let mut indexes = [self.rebuilt(false), self.rebuilt(true)];
        self.allocator.end_interval();
        let expected = self.allocator.plan(self.now, MANY);
        for index in &mut indexes {
            for role in ROLES {
                let role = Role::from(role);
                assert_eq!(index.role_share(&role), self.allocator.role_share(&role), "{role}");
            }
            index.end_interval();
            assert_eq!(index.plan(self.now, MANY), expected);
        }
    }
}

fn holding_of(plan: &Plan) -> Holding {
    (plan.framework.clone(), plan.role.clone(), plan.agent.clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn resources_are_conserved_and_offers_are_sound(steps in vec(step(), 0..60)) {
        let mut model = Model::new();
        for step in steps {
            model.play(step);
            model.check_books();
        }
    }

    #[test]
    fn an_index_rebuilt_in_any_order_plans_the_same(steps in vec(step(), 0..60)) {
        let mut model = Model::new();
        steps.into_iter().for_each(|step| model.play(step));
        model.check_rebuilt();
    }

    /// Progressive filling: nobody who was served is ahead of anybody by more than the last agent it was given.
    #[test]
    fn weighted_shares_grow_together(
        weights in vec(500..4000u64, 2..8),
        demands in vec((1..5i64, 1..5i64), 1..60),
    ) {
        let mut allocator = Allocator::new(Config::default());
        let role = |place: usize| Role::from(format!("r{place}"));
        for (place, weight) in weights.iter().enumerate() {
            allocator.set_framework(framework(&format!("f{place}"), &[role(place).as_str()]));
            allocator.set_weight(&role(place), Weight::from_thousandths(*weight).expect("in range"));
        }
        for (place, (cpus, mem)) in demands.iter().enumerate() {
            allocator.set_agent(agent(&format!("n{place}"), r(&format!("cpus:{cpus};mem:{}", mem * 1024))));
        }
        let plans = allocator.plan(Millis::ZERO, MANY);
        prop_assert_eq!(plans.len(), demands.len(), "each agent whole to somebody");
        let mut before_last: BTreeMap<Role, f64> = BTreeMap::new();
        for plan in &plans {
            before_last.insert(plan.role.clone(), allocator.role_share(&plan.role).as_f64());
            allocator.take(&plan.framework, &plan.role, &plan.agent, &plan.resources);
        }
        let weight = |place: usize| weights[place] as f64;
        let finals: Vec<f64> =
            (0..weights.len()).map(|place| allocator.role_share(&role(place)).as_f64() / weight(place)).collect();
        for place in 0..weights.len() {
            if let Some(before) = before_last.get(&role(place)) {
                let poorest = finals.iter().copied().fold(f64::INFINITY, f64::min);
                prop_assert!(before / weight(place) <= poorest + 1e-9);
            }
        }
    }

    /// Nobody is offered again within the interval what it declined in it, whatever else happens.
    #[test]
    fn nobody_sees_what_it_declined_twice_within_an_interval(
        nudges in vec((0..3u8, 0..4u8), 1..30),
        frameworks in 1..4u8,
    ) {
        let mut world = world::World::default();
        for number in 0..frameworks {
            world.add_framework(&format!("f{number}"), &["a"]);
        }
        (0..3).for_each(|number| world.add_agent(&format!("n{number}"), "cpus:1;mem:100"));
        let mut seen: BTreeSet<Holding> = BTreeSet::new();
        for (agent, ms) in nudges {
            for plan in std::mem::take(&mut world.news) {
                prop_assert!(seen.insert(holding_of(&plan)), "again: {:?}", plan);
                world.decline(plan.framework.as_str(), plan.agent.as_str(), 0);
            }
            world.allocator.mark_dirty(&AgentId::from(format!("n{agent}")));
            // The interval began at zero and lasts 1000 ms: thirty nudges do not reach its end.
            world.advance(u64::from(ms) * 10);
        }
    }
}
