//! What the policies promise: DRF's three properties, shares that grow together, draws that follow weights and seeds.

mod world;

use std::collections::BTreeMap;

use mesarch_allocator::{Allocator, Config, Drf, Plan, Policies, StrictPriority, WeightedRandom};
use mesarch_types::{FrameworkId, Millis, Priority, Role, Weight};
use proptest::{collection::vec, prelude::*};
use world::{MANY, World, agent, framework, r};

/// The cluster of the games below: one agent, so that nothing is lost between agents.
const CPUS: i64 = 200;
const MEM: i64 = 300;

/// Everyone launches one task after the other, poorest first as offered, until no task of anybody fits.
struct Game {
    /// Cpus and mem of one task, by framework.
    demands: Vec<(i64, i64)>,
    tasks: Vec<i64>,
    free: (i64, i64),
}

impl Game {
    fn play(demands: &[(i64, i64)]) -> Self {
        let config = Config { min_allocatable: Vec::new(), ..Config::default() };
        let mut world = World::new(config);
        for place in 0..demands.len() {
            world.add_framework(&name(place), &["*"]);
        }
        world.add_agent("n1", &format!("cpus:{CPUS};mem:{MEM}"));
        let mut game = Self { demands: demands.to_vec(), tasks: vec![0; demands.len()], free: (CPUS, MEM) };
        while let Some(plan) = world.news.pop() {
            game.take_turn(&mut world, &plan);
            world.allocate();
        }
        game
    }

    fn take_turn(&mut self, world: &mut World, plan: &Plan) {
        let place = (0..self.demands.len())
            .find(|place| name(*place) == plan.framework.as_str())
            .expect("one of ours");
        let (cpus, mem) = self.demands[place];
        assert_eq!(
            plan.resources,
            r(&format!("cpus:{};mem:{}", self.free.0, self.free.1)),
            "all that is free"
        );
        if cpus <= self.free.0 && mem <= self.free.1 {
            world.launch(plan.framework.as_str(), "*", "n1", &format!("cpus:{cpus};mem:{mem}"));
            world.decline(plan.framework.as_str(), "n1", 0);
            self.free = (self.free.0 - cpus, self.free.1 - mem);
            self.tasks[place] += 1;
        } else {
            world.decline(plan.framework.as_str(), "n1", 3_600_000);
        }
    }

    /// The dominant share of so many tasks of a framework.
    fn share(&self, place: usize, tasks: f64) -> f64 {
        let (cpus, mem) = self.demands[place];
        tasks * (cpus as f64 / CPUS as f64).max(mem as f64 / MEM as f64)
    }

    fn largest_task(&self) -> f64 {
        (0..self.demands.len()).map(|place| self.share(place, 1.0)).fold(0.0, f64::max)
    }
}

fn name(place: usize) -> String {
    format!("f{place}")
}

fn role(place: usize) -> Role {
    Role::from(format!("r{place}"))
}

proptest! {
    #![proptest_config(world::cases(64))]

    /// Nobody gets less than from an n-th of the cluster, up to the size of tasks.
    #[test]
    fn sharing_is_an_incentive(demands in vec((1..5i64, 1..5i64), 2..6)) {
        let game = Game::play(&demands);
        let part = 1.0 / demands.len() as f64;
        for (place, tasks) in game.tasks.iter().enumerate() {
            let share = game.share(place, *tasks as f64);
            prop_assert!(share >= part - 2.0 * game.largest_task(), "{place}: {share} of {part}");
        }
    }

    /// Nobody would run more of its tasks with what another got, up to the size of tasks.
    #[test]
    fn nobody_envies(demands in vec((1..5i64, 1..5i64), 2..6)) {
        let game = Game::play(&demands);
        for (place, (cpus, mem)) in demands.iter().enumerate() {
            let own = game.share(place, game.tasks[place] as f64);
            for (other, (their_cpus, their_mem)) in demands.iter().enumerate() {
                let tasks = game.tasks[other] as f64;
                let with_theirs =
                    (tasks * *their_cpus as f64 / *cpus as f64).min(tasks * *their_mem as f64 / *mem as f64);
                let envied = game.share(place, with_theirs);
                prop_assert!(envied <= own + 5.0 * game.largest_task(), "{place} envies {other}: {own}, {envied}");
            }
        }
    }

    /// Nothing is left with which anybody could do anything.
    #[test]
    fn nothing_is_wasted(demands in vec((1..5i64, 1..5i64), 1..6)) {
        let game = Game::play(&demands);
        for (cpus, mem) in &demands {
            prop_assert!(*cpus > game.free.0 || *mem > game.free.1, "{:?} are left", game.free);
        }
    }

    /// Progressive filling: nobody who was served is ahead of anybody by more than the last agent it was given.
    #[test]
    fn weighted_shares_grow_together(
        weights in vec(500..4000u64, 2..8),
        demands in vec((1..5i64, 1..5i64), 1..60),
    ) {
        let mut allocator = Allocator::new(Config::default());
        for (place, weight) in weights.iter().enumerate() {
            allocator.set_framework(framework(&name(place), &[role(place).as_str()]));
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

    /// The same seed gives the same offers, in whatever order agents and frameworks came; another seed gives others.
    #[test]
    fn draws_depend_on_the_seed_and_the_plan_alone(seed in any::<u64>(), agents in 20..60usize, frameworks in 2..6usize) {
        let deal = |seed: u64, backwards: bool| {
            let config = Config { policies: Policies::both(WeightedRandom), seed, ..Config::default() };
            let mut allocator = Allocator::new(config);
            let turned = |count: usize, place: usize| if backwards { count - 1 - place } else { place };
            for place in 0..frameworks {
                let place = turned(frameworks, place);
                allocator.set_framework(framework(&name(place), &[role(place % 2).as_str()]));
            }
            for place in 0..agents {
                allocator.set_agent(agent(&format!("n{}", turned(agents, place)), r("cpus:1;mem:64")));
            }
            allocator.plan(Millis::ZERO, MANY)
        };
        let plans = deal(seed, false);
        prop_assert_eq!(plans.len(), agents);
        prop_assert_eq!(&deal(seed, true), &plans);
        prop_assert_ne!(deal(seed.wrapping_add(1), false), plans);
    }

    /// A policy changed at run time orders as one that was there from the beginning.
    #[test]
    fn a_changed_policy_orders_as_if_it_had_always_been(
        priorities in vec(-3..4i64, 2..6),
        held in vec(0..4i64, 6),
    ) {
        let build = |policies: Policies| {
            let mut allocator = Allocator::new(Config { policies, ..Config::default() });
            for (place, priority) in priorities.iter().enumerate() {
                allocator.set_framework(framework(&name(place), &[role(place).as_str()]));
                allocator.set_role_priority(&role(place), Priority::new(*priority).expect("in range"));
                let id = FrameworkId::from(name(place));
                let resources = r(&format!("cpus:{};mem:32", held[place]));
                allocator.take(&id, &role(place), &"busy".into(), &resources);
            }
            allocator.set_agent(agent("busy", r("cpus:99;mem:999;disk:1")));
            (0..8).for_each(|number| allocator.set_agent(agent(&format!("n{number}"), r("cpus:1;mem:64"))));
            allocator
        };
        for (from, to) in [
            (Policies::both(Drf), Policies::both(StrictPriority)),
            (Policies::both(WeightedRandom), Policies::both(Drf)),
            (Policies::both(StrictPriority), Policies::both(WeightedRandom)),
        ] {
            let (mut changed, mut fresh) = (build(from), build(to.clone()));
            changed.set_policies(to);
            prop_assert_eq!(changed.plan(Millis::ZERO, MANY), fresh.plan(Millis::ZERO, MANY));
        }
    }
}

#[test]
fn who_ranks_low_starves_and_is_counted() {
    let config = Config { policies: Policies::both(StrictPriority), ..Config::default() };
    let mut world = World::new(config);
    world.allocator.set_role_priority(&Role::from("prod"), Priority::new(1).expect("in range"));
    world.add_framework("p", &["prod"]);
    world.add_framework("t", &["test"]);
    world.add_agent("n1", "cpus:1;mem:64");
    for _ in 0..20 {
        world.decline("p", "n1", 0);
        world.advance(1000);
    }
    assert!(world.news.iter().all(|plan| plan.framework.as_str() == "p"));
    assert_eq!(world.allocator.stats().starving, 1);
    world.suppress("p");
    world.decline("p", "n1", 0);
    world.advance(1000);
    assert_eq!(world.allocator.stats().starving, 0);
}

#[test]
fn a_framework_of_higher_priority_is_first_within_its_role() {
    let mut world = World::new(Config { policies: Policies::both(StrictPriority), ..Config::default() });
    world.allocator.set_framework_priority(&FrameworkId::from("z"), Priority::new(3).expect("in range"));
    world.add_framework("a", &["r"]);
    world.add_framework("z", &["r"]);
    for id in ["n1", "n2", "n3"] {
        world.add_agent(id, "cpus:1;mem:64");
    }
    assert!(world.news.iter().all(|plan| plan.framework.as_str() == "z"));
    world.allocator.set_framework_priority(&FrameworkId::from("z"), Priority::default());
    world.add_agent("n4", "cpus:1;mem:64");
    assert_eq!(world.news.last().expect("offered").framework.as_str(), "a");
}
