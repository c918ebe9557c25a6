//! Single decisions on a cluster on which everything is given away: `cargo bench -p mesarch-allocator`.
//!
//! Each decision leaves the cluster as it was, so that a million of them measure the same. What only leads back is not
//! timed.
#![expect(missing_docs, reason = "made by the macros")]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mesarch_allocator::{
    GiveBack, Plan,
    load::{Load, Shape},
};
use mesarch_types::{Millis, Resources, Role, parse_resources};

/// Agents and frameworks; each framework has a role of its own.
const SIZES: [(usize, usize); 2] = [(1_000, 200), (50_000, 6_000)];
/// The distance between agents of two decisions: neighbours would share cache lines.
const STRIDE: usize = 7;

/// Takes a decision so many times: the time of all.
type Decision = fn(&mut Load, u64) -> Duration;

fn full(agents: usize, frameworks: usize) -> Load {
    let mut load = Load::new(Shape { agents, frameworks, roles: frameworks, ..Shape::default() });
    let plans = load.plan();
    load.take(plans);
    load
}

fn task() -> Resources {
    parse_resources("cpus:1;mem:1024", &Role::any()).expect("a constant")
}

/// The time of `decision` over `count` offers in turn; `undo` is not timed.
fn timed<T>(
    load: &mut Load,
    count: u64,
    mut decision: impl FnMut(&mut Load, &Plan) -> T,
    mut undo: impl FnMut(&mut Load, &Plan, T),
) -> Duration {
    let offers = load.outstanding().to_vec();
    let mut time = Duration::ZERO;
    for number in 0..count as usize {
        let offer = &offers[number * STRIDE % offers.len()];
        let begin = Instant::now();
        let result = decision(load, offer);
        time += begin.elapsed();
        undo(load, offer, result);
    }
    time
}

fn a_task_ends(load: &mut Load, count: u64) -> Duration {
    let task = task();
    let decision = |load: &mut Load, offer: &Plan| {
        load.allocator.give_back(&offer.framework, &offer.role, &offer.agent, &task, GiveBack::Freed);
        load.plan_now()
    };
    timed(load, count, decision, |load, offer, plans| {
        assert_eq!(plans.len(), 1);
        load.allocator.take(&offer.framework, &offer.role, &offer.agent, &task);
    })
}

fn a_framework_revives(load: &mut Load, count: u64) -> Duration {
    let decision = |load: &mut Load, offer: &Plan| {
        load.allocator.revive(&offer.framework, &[]);
        load.plan_now()
    };
    timed(load, count, decision, |_, _, plans| assert!(plans.is_empty()))
}

fn an_agent_is_added(load: &mut Load, count: u64) -> Duration {
    let new = load.another_agent();
    let id = new.id.clone();
    let decision = |load: &mut Load, _: &Plan| {
        load.allocator.set_agent(new.clone());
        load.plan_now()
    };
    timed(load, count, decision, |load, _, plans| {
        assert_eq!(plans.len(), 1);
        load.allocator.remove_agent(&id);
    })
}

/// Why the last framework is not offered an agent that another one just declined: the whole order is asked.
fn a_pair_is_explained(load: &mut Load, count: u64) -> Duration {
    let asking = load.outstanding().last().expect("offers").framework.clone();
    let declined = load.outstanding()[0].clone();
    let Plan { framework, role, agent, resources, .. } = &declined;
    let now = Millis(u64::from(u32::MAX));
    load.allocator.give_back(framework, role, agent, resources, GiveBack::Declined { now });
    let decision = |load: &mut Load, _: &Plan| load.allocator.explain(&asking, Some(agent), now);
    let time = timed(load, count, decision, |_, _, why| assert_eq!(why.len(), 1));
    load.allocator.take(framework, role, agent, resources);
    time
}

fn decisions(criterion: &mut Criterion) {
    let all: [(&str, Decision); 4] = [
        ("task_ends", a_task_ends),
        ("framework_revives", a_framework_revives),
        ("agent_added", an_agent_is_added),
        ("explain_pair", a_pair_is_explained),
    ];
    for (name, decision) in all {
        let mut group = criterion.benchmark_group(name);
        for (agents, frameworks) in SIZES {
            let mut load = full(agents, frameworks);
            group.bench_function(BenchmarkId::from_parameter(agents), |bencher| {
                bencher.iter_custom(|count| decision(&mut load, count));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
