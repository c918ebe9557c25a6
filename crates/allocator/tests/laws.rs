//! Laws that hold after any sequence of events. More cases with `PROPTEST_CASES=10000`.

mod reference;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mesarch_allocator::{Allocator, Config, Contender, GiveBack, Plan, Policies, Policy, Rank};
use mesarch_types::{
    AgentId, AgentView, Attribute, AttributeValue, Constraint, Constraints, FrameworkCapabilities,
    FrameworkCapability, FrameworkId, FrameworkView, Millis, Predicate, Quantities, Quota, RefuseFilter,
    Resources, Role, Scalar, Selector, Weight,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use reference::Facts;
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

const TOTALS: [&str; 5] = [
    "cpus:4;mem:4096;ports:[1-100]",
    "cpus:8;mem:2048;cpus(a):2;mem(a):512",
    "cpus:2;cpus(a/b):2;cpus(c):1;cpus{REV}:3",
    "cpus:0.005;mem:8;disk:10",
    "cpus:1;mem:300;gpus:1",
];
const ROLES: [&str; 5] = ["a", "a/b", "c", "*", "a/b/d"];
/// Guarantees and limits.
const QUOTAS: [(&str, &str); 6] = [
    ("", ""),
    ("cpus:3;mem:1024", ""),
    ("", "cpus:5;mem:2000"),
    ("cpus:2", "cpus:2;mem:0"),
    ("cpus:30", "cpus:40"),
    ("gpus:1;mem:600", "mem:5000"),
];

#[derive(Clone, Debug)]
enum Step {
    SetAgent {
        number: u8,
        total: usize,
        active: bool,
        ssd: bool,
    },
    RemoveAgent {
        number: u8,
    },
    SetFramework {
        number: u8,
        roles: u8,
        suppressed: u8,
        active: bool,
        special: u8,
    },
    RemoveFramework {
        number: u8,
    },
    SetWeight {
        role: usize,
        weight: u64,
    },
    SetQuota {
        role: usize,
        quota: usize,
    },
    SetWhitelist {
        hosts: Option<u8>,
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
        3 => (0..6u8, 0..TOTALS.len(), prop::bool::weighted(0.9), any::<bool>())
            .prop_map(|(number, total, active, ssd)| Step::SetAgent { number, total, active, ssd }),
        1 => (0..6u8).prop_map(|number| Step::RemoveAgent { number }),
        3 => (0..4u8, 0..32u8, 0..32u8, prop::bool::weighted(0.9), 0..8u8).prop_map(
            |(number, roles, suppressed, active, special)| Step::SetFramework {
                number, roles, suppressed: roles & suppressed, active, special,
            }
        ),
        1 => (0..4u8).prop_map(|number| Step::RemoveFramework { number }),
        1 => (0..ROLES.len(), 100..5000u64).prop_map(|(role, weight)| Step::SetWeight { role, weight }),
        2 => (0..ROLES.len(), 0..QUOTAS.len()).prop_map(|(role, quota)| Step::SetQuota { role, quota }),
        1 => prop::option::of(0..64u8).prop_map(|hosts| Step::SetWhitelist { hosts }),
        6 => any::<bool>().prop_map(|refuses| Step::Plan { refuses }),
        4 => (any::<Index>(), any::<bool>(), prop_oneof![Just(0), 1..8000u64])
            .prop_map(|(which, half, refuse_ms)| Step::Decline { which, half, refuse_ms }),
        3 => any::<Index>().prop_map(|which| Step::Free { which }),
        1 => (0..4u8).prop_map(|number| Step::Revive { number }),
        3 => (1..1500u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// The allocator beside what the state would know: enough to build an index from nothing.
struct Model {
    allocator: Allocator,
    facts: Facts,
}

impl Model {
    fn new() -> Self {
        let facts = Facts { min_allocatable: config().min_allocatable, ..Facts::default() };
        Self { allocator: Allocator::new(config()), facts }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::SetAgent { number, total, active, ssd } => self.set_agent(number, total, active, ssd),
            Step::RemoveAgent { number } => {
                let id = AgentId::from(format!("n{number}"));
                self.facts.agents.remove(&id);
                self.facts.held.retain(|(_, _, host), _| *host != id);
                self.facts.filters.retain(|((_, _, host), _)| *host != id);
                self.allocator.remove_agent(&id);
            }
            Step::SetFramework { number, roles, suppressed, active, special } => {
                let view = framework(&format!("f{number}"), &[]);
                let view = FrameworkView { roles: pick(roles), suppressed: pick(suppressed), active, ..view };
                self.set_framework(specialised(view, special));
            }
            Step::RemoveFramework { number } => {
                let id = FrameworkId::from(format!("f{number}"));
                self.facts.frameworks.remove(&id);
                self.forget(|(who, ..)| *who == id);
                self.allocator.remove_framework(&id);
            }
            Step::SetWeight { role, weight } => {
                self.facts.weights.insert(Role::from(ROLES[role]), weight);
                let weight = Weight::from_thousandths(weight).expect("in range");
                self.allocator.set_weight(&Role::from(ROLES[role]), weight);
            }
            Step::SetQuota { role, quota } => self.set_quota(role, quota),
            Step::SetWhitelist { hosts } => {
                let listed = |bits: u8| (0..6).filter(move |number| bits & 1 << number != 0);
                let hosts =
                    hosts.map(|bits| listed(bits).map(|number| Arc::from(format!("n{number}"))).collect());
                self.facts.whitelist.clone_from(&hosts);
                self.allocator.set_whitelist(hosts);
            }
            Step::Plan { refuses } => self.plan(refuses),
            Step::Decline { which, half, refuse_ms } => self.decline(&which, half, refuse_ms),
            Step::Free { which } => {
                if let Some((holding, resources)) = self.some_held(&which) {
                    self.facts.held.remove(&holding);
                    let (framework, role, agent) = &holding;
                    self.allocator.give_back(framework, role, agent, &resources, GiveBack::Freed);
                }
            }
            Step::Revive { number } => {
                let id = FrameworkId::from(format!("f{number}"));
                self.forget(|(who, ..)| *who == id);
                self.allocator.revive(&id, &[]);
            }
            Step::Pass { ms } => self.facts.now = self.facts.now.saturating_add(Millis(ms)),
        }
    }

    fn set_agent(&mut self, number: u8, total: usize, active: bool, ssd: bool) {
        let ssd = ssd.then(|| Attribute { name: "ssd".into(), value: AttributeValue::Text("yes".into()) });
        let attributes: Arc<[Attribute]> = ssd.into_iter().collect();
        let view = AgentView { active, attributes, ..agent(&format!("n{number}"), r(TOTALS[total])) };
        let old = self.facts.agents.insert(view.id.clone(), view.clone());
        if old.is_some_and(|old| old.attributes != view.attributes) {
            self.facts.filters.retain(|((_, _, host), _)| *host != view.id);
        }
        self.allocator.set_agent(view);
    }

    fn set_quota(&mut self, role: usize, quota: usize) {
        let role = Role::from(Role::from(ROLES[role]).top_level());
        let (guarantees, limits) = QUOTAS[quota];
        let parse = |text: &str| text.parse::<Quantities>().expect("good");
        let quota = Quota::new(role.clone(), parse(guarantees), parse(limits)).expect("good");
        match quota.is_none() {
            true => self.facts.quotas.remove(&role),
            false => self.facts.quotas.insert(role, quota.clone()),
        };
        self.allocator.set_quota(quota);
    }

    fn forget(&mut self, of: impl Fn(&Holding) -> bool) {
        self.facts.filters.retain(|(holding, _)| !of(holding));
    }

    fn set_framework(&mut self, view: FrameworkView) {
        let old = self.facts.frameworks.insert(view.id.clone(), view.clone());
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
        let place = (!self.facts.held.is_empty()).then(|| which.index(self.facts.held.len()))?;
        self.facts.held.iter().nth(place).map(|(holding, resources)| (holding.clone(), resources.clone()))
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
            rest if rest.is_empty() => self.facts.held.remove(&holding),
            rest => self.facts.held.insert(holding.clone(), rest),
        };
        let (framework, role, agent) = &holding;
        let view = self.facts.frameworks.get(framework);
        let is_known =
            view.is_some_and(|view| view.roles.contains(role)) && self.facts.agents.contains_key(agent);
        let now = self.facts.now;
        self.allocator.give_back(framework, role, agent, &part, GiveBack::Declined { now });
        if is_known && refuse_ms > 0 {
            let filter = RefuseFilter { refused: part, until: now.saturating_add(Millis(refuse_ms)) };
            self.allocator.refuse(framework, role, agent, filter.clone());
            self.facts.filters.push((holding, filter));
        }
    }

    fn plan(&mut self, refuses: bool) {
        let plans = self.allocator.plan(self.facts.now, MANY);
        self.check(&plans);
        let before = self.facts.held.clone();
        for (place, plan) in plans.iter().enumerate() {
            if refuses && place % 3 == 0 {
                self.allocator.mark_dirty(&plan.agent);
                continue;
            }
            self.take(plan);
        }
        self.check_limits(&before);
        if !refuses {
            self.check_headroom(&before);
        }
    }

    fn take(&mut self, plan: &Plan) {
        self.allocator.take(&plan.framework, &plan.role, &plan.agent, &plan.resources);
        *self.facts.held.entry(holding_of(plan)).or_default() += &plan.resources;
    }

    /// Each item may be offered, and together they fit.
    fn check(&self, plans: &[Plan]) {
        let mut given: BTreeMap<&AgentId, Resources> = BTreeMap::new();
        let facts = &self.facts;
        for plan in plans {
            let (view, host) = (&facts.frameworks[&plan.framework], &facts.agents[&plan.agent]);
            assert!(view.wants(&plan.role) && host.active, "{plan:?}");
            assert!(facts.whitelist.as_ref().is_none_or(|hosts| hosts.contains(&host.hostname)), "{plan:?}");
            assert!(
                view.constraints.get(&plan.role).is_none_or(|constraints| constraints.admit(host)),
                "{plan:?}"
            );
            assert_eq!(plan.resources.allocatable_to(&plan.role), plan.resources);
            assert!(
                plan.resources.iter().all(|one| mesarch_types::can_handle(view.capabilities, one)),
                "{plan:?}"
            );
            let holding = holding_of(plan);
            let mut filters = facts.filters.iter().filter(|(of, _)| *of == holding);
            assert!(
                !filters.any(|(_, filter)| filter.blocks(&plan.resources, facts.now)),
                "refused: {plan:?}"
            );
            *given.entry(&plan.agent).or_default() += &plan.resources;
        }
        for (agent, given) in given {
            assert!(self.free(agent).contains(&given), "{agent}: {given} of {}", self.free(agent));
        }
    }

    /// What was given since `before` goes over no limit.
    fn check_limits(&self, before: &BTreeMap<Holding, Resources>) {
        let facts = &self.facts;
        for quota in facts.quotas.values() {
            let (was, is) = (facts.consumed(quota.role(), before), facts.consumed(quota.role(), &facts.held));
            for (kind, limit) in quota.limits().iter() {
                assert!(is.get(kind) <= limit.max(was.get(kind)), "{quota:?}: {was} became {is}");
            }
            assert_eq!(self.allocator.consumed(quota.role()).map(non_zero), Some(non_zero(is)), "{quota:?}");
        }
    }

    /// Beyond what guarantees needed, what was given since `before` left them enough.
    fn check_headroom(&self, before: &BTreeMap<Holding, Resources>) {
        let facts = &self.facts;
        let ((needed, free), (needs, left)) = (facts.headroom(before), facts.headroom(&facts.held));
        for (kind, need) in needed.iter() {
            let given = free.get(kind).0 - left.get(kind).0;
            let beyond = given - (need.0 - needs.get(kind).0);
            assert!(beyond <= (free.get(kind).0 - need.0).max(0), "{kind}: {beyond} beyond guarantees");
        }
    }

    fn free(&self, agent: &AgentId) -> Resources {
        let here = self.facts.held.iter().filter(|((_, _, host), _)| host == agent);
        let held = here.fold(Resources::default(), |sum, (_, held)| &sum + held);
        self.facts.agents[agent].total.saturating_sub(&held)
    }

    /// An index built from what the state knows.
    fn rebuilt(&self, backwards: bool) -> Allocator {
        let mut allocator = Allocator::new(config());
        let facts = &self.facts;
        let turned = |length: usize, place: usize| if backwards { length - 1 - place } else { place };
        let (agents, frameworks): (Vec<_>, Vec<_>) =
            (facts.agents.values().collect(), facts.frameworks.values().collect());
        let held: Vec<_> = facts.held.iter().collect();
        let take = |allocator: &mut Allocator| {
            for place in 0..held.len() {
                let ((framework, role, agent), resources) = held[turned(held.len(), place)];
                allocator.take(framework, role, agent, resources);
            }
        };
        if backwards {
            take(&mut allocator);
            facts.quotas.values().for_each(|quota| allocator.set_quota(quota.clone()));
        }
        for place in 0..frameworks.len() {
            allocator.set_framework(frameworks[turned(frameworks.len(), place)].clone());
        }
        for place in 0..agents.len() {
            allocator.set_agent(agents[turned(agents.len(), place)].clone());
        }
        if !backwards {
            take(&mut allocator);
            facts.quotas.values().for_each(|quota| allocator.set_quota(quota.clone()));
        }
        allocator.set_whitelist(facts.whitelist.clone());
        for (role, weight) in &facts.weights {
            allocator.set_weight(role, Weight::from_thousandths(*weight).expect("in range"));
        }
        for ((framework, role, agent), filter) in &facts.filters {
            allocator.refuse(framework, role, agent, filter.clone());
        }
        allocator
    }

    fn check_books(&self) {
        for id in self.facts.agents.keys() {
            assert_eq!(self.allocator.free(id), Some(self.free(id)), "{id}");
        }
        for ((framework, role, agent), held) in &self.facts.held {
            assert_eq!(self.allocator.held(framework, role, agent), *held);
        }
        assert_eq!(self.allocator.stats().mismatches, 0);
    }

    /// The index that saw every event plans as one that was built from the outcome, in any order.
    fn check_rebuilt(mut self) {
        let mut indexes = [self.rebuilt(false), self.rebuilt(true)];
        self.allocator.end_interval();
        let expected = self.allocator.plan(self.facts.now, MANY);
        for index in &mut indexes {
            for role in ROLES {
                let role = Role::from(role);
                assert_eq!(index.role_share(&role), self.allocator.role_share(&role), "{role}");
            }
            index.end_interval();
            assert_eq!(index.plan(self.facts.now, MANY), expected);
        }
    }

    /// A run over all agents offers what the rules say.
    fn check_against_reference(&mut self) {
        self.allocator.end_interval();
        let plans = self.allocator.plan(self.facts.now, MANY);
        self.facts.round = self.facts.now.0 / 1000;
        let expected = reference::offers(&self.facts);
        let made: BTreeMap<Holding, Resources> =
            plans.iter().map(|plan| (holding_of(plan), plan.resources.clone())).collect();
        assert_eq!(made, expected);
        plans.iter().for_each(|plan| self.take(plan));
    }

    /// Left to itself up to a tick, planning only when it asks to, the allocator leaves nothing that the rules would offer.
    fn check_nothing_is_missed(&mut self) {
        let tick = Millis((self.facts.now.0 / 1000 + 2) * 1000);
        let mut plans_made = 0;
        while let Some(wake) = self.allocator.next_wake(self.facts.now).filter(|wake| *wake <= tick) {
            self.facts.now = self.facts.now.max(wake);
            self.plan(false);
            plans_made += 1;
            assert!(plans_made < 1000, "it does not come to rest");
        }
        self.facts.now = tick;
        self.facts.round = tick.0 / 1000;
        assert_eq!(reference::offers(&self.facts), BTreeMap::new());
    }
}

fn non_zero(quantities: Quantities) -> Vec<(Arc<str>, Scalar)> {
    let positive = quantities.iter().filter(|(_, amount)| !amount.is_zero());
    positive.map(|(kind, amount)| (kind.clone(), amount)).collect()
}

fn pick(bits: u8) -> BTreeSet<Role> {
    let chosen = ROLES.iter().enumerate().filter(|(place, _)| bits & 1 << place != 0);
    chosen.map(|(_, role)| Role::from(*role)).collect()
}

/// Gpus and revocable resources, a constraint, a smallest offer of its own: a bit each.
fn specialised(mut view: FrameworkView, special: u8) -> FrameworkView {
    if special & 1 != 0 {
        let more = [FrameworkCapability::GpuResources, FrameworkCapability::RevocableResources];
        view.capabilities = FrameworkCapabilities::from_iter(view.capabilities.iter().chain(more));
    }
    let Some(role) = view.roles.first().cloned() else {
        return view;
    };
    if special & 2 != 0 {
        let selector = Selector::Attribute("ssd".into());
        let group = vec![Constraint { selector, predicate: Predicate::Exists }];
        view.constraints.insert(role.clone(), Constraints::new(vec![group]).expect("good"));
    }
    if special & 4 != 0 {
        view.min_allocatable.insert(role, Vec::new());
    }
    view
}

fn holding_of(plan: &Plan) -> Holding {
    (plan.framework.clone(), plan.role.clone(), plan.agent.clone())
}

proptest! {
    #![proptest_config(world::cases(256))]

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

    #[test]
    fn a_run_over_all_agents_offers_what_the_rules_say(steps in vec(step(), 0..40)) {
        let mut model = Model::new();
        for step in steps {
            let runs = matches!(step, Step::Plan { .. });
            model.play(step);
            if runs {
                model.check_against_reference();
            }
        }
        model.check_against_reference();
    }

    #[test]
    fn nothing_is_missed_by_looking_only_at_what_changed(steps in vec(step(), 0..40)) {
        let mut model = Model::new();
        steps.into_iter().for_each(|step| model.play(step));
        model.check_nothing_is_missed();
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
