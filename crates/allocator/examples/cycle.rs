//! Times the allocator alone, in milliseconds of wall and of CPU time: full cycles in many shapes, single decisions, ticks
//! of a cluster whose frameworks refuse everything.
//!
//! `cycle [AGENTS FRAMEWORKS ROLES [QUOTA_ROLES] ROUNDS]`; without arguments, all shapes of the design's targets.
#![expect(clippy::print_stdout, reason = "its result")]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::float_arithmetic, reason = "it shows milliseconds")]

use std::time::{Duration, Instant};

use mesarch_allocator::{
    Policies, WeightedRandom,
    load::{Load, Shape},
};

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    match arguments[..] {
        [agents, frameworks, roles, rounds] => {
            return full_cycle("asked for", shape(agents, frameworks, roles), rounds);
        }
        [agents, frameworks, roles, quota_roles, rounds] => {
            let shape = Shape { quota_roles, ..shape(agents, frameworks, roles) };
            return full_cycle("with quota", shape, rounds);
        }
        _ => {}
    }
    println!("| shape | rounds | cycle, median (least) | CPU | declines | take |");
    println!("|---|---|---|---|---|---|");
    full_cycle("one role", shape(1_000, 200, 1), 100);
    full_cycle("a role each", shape(1_000, 200, 200), 100);
    full_cycle("10 roles", shape(5_000, 1_000, 10), 40);
    full_cycle("10 roles", shape(10_000, 1_000, 10), 40);
    full_cycle("a role each", shape(10_000, 1_000, 1_000), 40);
    full_cycle("20 roles", shape(20_000, 2_000, 20), 20);
    full_cycle("100 roles", shape(50_000, 6_000, 100), 10);
    let base = shape(10_000, 1_000, 100);
    full_cycle("half suppressed", Shape { suppressed: 1_000, ..base }, 20);
    full_cycle("10 labelled reservations per agent", Shape { reservations_per_agent: 10, ..base }, 10);
    full_cycle("100 roles with quota", Shape { quota_roles: 100, ..base }, 10);
    full_cycle("three levels of roles", Shape { role_levels: 3, ..base }, 20);
    cycles_of("weighted random", drawing(base), 10);
    single_decisions(shape(50_000, 6_000, 100));
    revivals(shape(50_000, 6_000, 100));
    all_refused(shape(1_000, 1_000, 10), 1_000);
}

fn shape(agents: usize, frameworks: usize, roles: usize) -> Shape {
    Shape { agents, frameworks, roles, ..Shape::default() }
}

/// Wall time, and CPU time where the system tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

/// Nanoseconds that this process ran; zero where the system does not tell.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn timed<T>(work: impl FnOnce() -> T) -> (Spent, T) {
    let (begin, ran) = (Instant::now(), cpu());
    let result = work();
    (Spent { wall: begin.elapsed(), cpu: cpu().saturating_sub(ran) }, result)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(times: &mut [Spent]) -> (f64, f64) {
    times.sort_unstable();
    (ms(times[times.len() / 2].wall), ms(times[0].wall))
}

/// The CPU time of all rounds by their number: single readings are too coarse.
fn mean_cpu(times: &[Spent]) -> f64 {
    ms(times.iter().map(|spent| spent.cpu).sum::<Duration>()) / times.len() as f64
}

/// Everything is declined, then everything is planned again: from the first decline to the last offer.
fn full_cycle(name: &str, shape: Shape, rounds: usize) {
    cycles_of(name, Load::new(shape), rounds);
}

/// The same cluster under a policy that ranks anew for each agent.
fn drawing(shape: Shape) -> Load {
    let mut load = Load::new(shape);
    load.allocator.set_policies(Policies::both(WeightedRandom));
    load
}

fn cycles_of(name: &str, mut load: Load, rounds: usize) {
    let shape = load.shape();
    let (mut cycles, mut declines, mut takes) = (Vec::new(), Vec::new(), Vec::new());
    let plans = load.plan();
    load.take(plans);
    for _ in 0..rounds {
        let (cycle, (decline, plans)) = timed(|| {
            let begin = Instant::now();
            load.decline_all(None);
            (begin.elapsed(), load.plan())
        });
        cycles.push(cycle);
        declines.push(Spent { wall: decline, cpu: Duration::ZERO });
        takes.push(timed(|| load.take_as_it_is(plans)).0);
    }
    let cpu = mean_cpu(&cycles);
    let (cycle, decline, take) = (median(&mut cycles), median(&mut declines), median(&mut takes));
    println!(
        "| {} × {}, {name} | {rounds} | {:.2} ({:.2}) ms | {cpu:.2} ms | {:.2} ms | {:.2} ms |",
        shape.agents, shape.frameworks, cycle.0, cycle.1, decline.0, take.0
    );
}

/// One task ends on a full cluster, again and again.
fn single_decisions(shape: Shape) {
    let mut load = Load::new(shape);
    let plans = load.plan();
    load.take(plans);
    let mut times = Vec::new();
    for number in 0..2_000 {
        let (spent, plans) = timed(|| {
            load.free_one(number * 7 % shape.agents);
            load.plan_now()
        });
        assert_eq!(plans.len(), 1);
        load.take_as_it_is(plans);
        times.push(spent);
    }
    let (middle, least) = median(&mut times);
    let worst = times.iter().map(|spent| ms(spent.wall)).fold(0.0, f64::max);
    println!(
        "one task ends, {} × {}: planned in {middle:.4} ms (least {least:.4}, worst {worst:.3})",
        shape.agents, shape.frameworks
    );
}

/// Frameworks revive, one after the other, on a cluster on which nothing is free.
fn revivals(shape: Shape) {
    let mut load = Load::new(shape);
    let plans = load.plan();
    load.take(plans);
    let (spent, ()) = timed(|| {
        for number in 0..shape.frameworks {
            load.revive(number);
            assert!(load.plan_now().is_empty());
        }
    });
    println!(
        "a framework revives, {} × {}: {:.4} ms with the plan that follows",
        shape.agents,
        shape.frameworks,
        ms(spent.wall) / shape.frameworks as f64
    );
}

/// Every pair is refused for an hour, and the cluster is asked again and again.
fn all_refused(shape: Shape, ticks: usize) {
    let mut load = Load::new(shape);
    let (fill, ()) = timed(|| load.refuse_everything(3_600_000));
    let (first, plans) = timed(|| load.plan());
    assert!(plans.is_empty());
    let (spent, ()) = timed(|| {
        for _ in 0..ticks {
            load.allocator.end_interval();
            assert!(load.plan().is_empty());
        }
    });
    println!(
        "all of {} × {} refused: {:.0} ns each to remember, first look {:.2} ms, then {:.4} ms a tick if all agents are looked at",
        shape.agents,
        shape.frameworks,
        fill.wall.as_secs_f64() * 1e9 / (shape.agents * shape.frameworks) as f64,
        ms(first.wall),
        ms(spent.wall) / ticks as f64,
    );
}
