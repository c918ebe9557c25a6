//! Times the allocator alone: full cycles, and ticks of a cluster whose frameworks refuse everything.
//!
//! `cycle [AGENTS FRAMEWORKS ROLES ROUNDS]`; without arguments, the sizes of the design's targets.
#![expect(clippy::print_stdout, reason = "its result")]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::float_arithmetic, reason = "it shows milliseconds")]

use std::time::{Duration, Instant};

use mesarch_allocator::{Allocator, Config, GiveBack, Plan};
use mesarch_types::{
    AgentCapabilities, AgentId, AgentView, FrameworkCapabilities, FrameworkCapability, FrameworkId,
    FrameworkView, Millis, RefuseFilter, Resources, Role, parse_resources,
};

const TICK: u64 = 1000;

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    match arguments[..] {
        [agents, frameworks, roles, rounds] => full_cycles(agents, frameworks, roles, rounds),
        _ => {
            full_cycles(10_000, 1_000, 10, 20);
            full_cycles(10_000, 1_000, 1_000, 20);
            full_cycles(20_000, 2_000, 20, 10);
            refusing(1_000, 1_000, Some(5 * TICK), 30);
            refusing(1_000, 1_000, None, 30);
            all_refused(1_000, 1_000, 1_000);
        }
    }
}

fn cluster(agents: usize, frameworks: usize, roles: usize) -> Allocator {
    let offers_per_second_max = u32::try_from(agents.max(10_000)).unwrap_or(u32::MAX);
    let mut allocator = Allocator::new(Config { offers_per_second_max, ..Config::default() });
    for number in 0..agents {
        allocator.set_agent(agent(number));
    }
    for number in 0..frameworks {
        allocator.set_framework(framework(number, &format!("team-{}", number % roles)));
    }
    allocator
}

fn agent(number: usize) -> AgentView {
    let total = parse_resources("cpus:16;mem:65536;disk:1000000;ports:[31000-32000]", &Role::any());
    AgentView {
        id: AgentId::from(format!("5b3c2d1e-7a64-4f0b-9c58-1d2e3f4a5b6c-1-S{number}")),
        hostname: format!("host-{number}").into(),
        attributes: [].into(),
        total: total.expect("a constant"),
        capabilities: AgentCapabilities::all(),
        active: true,
        region: None,
        zone: None,
        unavailability: None,
        version: 1,
    }
}

fn framework(number: usize, role: &str) -> FrameworkView {
    FrameworkView {
        id: FrameworkId::from(format!("5b3c2d1e-7a64-4f0b-9c58-1d2e3f4a5b6c-1-{number:04}")),
        roles: [Role::from(role)].into(),
        suppressed: Default::default(),
        capabilities: FrameworkCapabilities::NONE.with(FrameworkCapability::MultiRole),
        active: true,
        min_allocatable: Default::default(),
        constraints: Default::default(),
        version: 1,
    }
}

/// As the state would hold it: decoded from the log, sharing nothing with the plan.
fn decoded(resources: &Resources) -> Resources {
    let copied = resources.iter().map(|resource| {
        let mut copy = resource.clone();
        copy.name = (&*resource.name).into();
        copy
    });
    Resources::new(copied).expect("was valid")
}

fn take_all(allocator: &mut Allocator, plans: &mut [Plan]) -> Duration {
    plans.iter_mut().for_each(|plan| plan.resources = decoded(&plan.resources));
    timed(|| {
        plans
            .iter()
            .for_each(|plan| allocator.take(&plan.framework, &plan.role, &plan.agent, &plan.resources))
    })
    .0
}

fn decline_all(allocator: &mut Allocator, plans: &[Plan], now: Millis, refuse_ms: Option<u64>) {
    for plan in plans {
        let why = GiveBack::Declined { now };
        allocator.give_back(&plan.framework, &plan.role, &plan.agent, &plan.resources, why);
        if let Some(refuse_ms) = refuse_ms {
            let until = now.saturating_add(Millis(refuse_ms));
            let filter = RefuseFilter { refused: plan.resources.clone(), until };
            allocator.refuse(&plan.framework, &plan.role, &plan.agent, filter);
        }
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let result = work();
    (begin.elapsed(), result)
}

/// Median and least, in milliseconds.
fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    format!("{:.2} ms (least {:.2})", ms(times[times.len() / 2]), ms(times[0]))
}

/// Everything is declined, then everything is planned again: from the first decline to the last offer.
fn full_cycles(agents: usize, frameworks: usize, roles: usize, rounds: usize) {
    let mut allocator = cluster(agents, frameworks, roles);
    let (mut cycles, mut declines, mut takes) = (Vec::new(), Vec::new(), Vec::new());
    let mut plans = allocator.plan(Millis(TICK), usize::MAX);
    takes.push(take_all(&mut allocator, &mut plans));
    for round in 1..=rounds as u64 {
        let (decline, ()) = timed(|| decline_all(&mut allocator, &plans, Millis(round * TICK + 1), None));
        let (plan, made) = timed(|| allocator.plan(Millis((round + 1) * TICK), usize::MAX));
        assert_eq!(made.len(), agents);
        plans = made;
        takes.push(take_all(&mut allocator, &mut plans));
        declines.push(decline);
        cycles.push(decline + plan);
    }
    println!(
        "full cycle, {agents} agents x {frameworks} frameworks in {roles} roles: {}, of it declines {}; then take {}",
        summary(cycles),
        summary(declines),
        summary(takes),
    );
}

/// Every framework declines whatever it is offered, with or without a filter, for so many seconds of cluster time.
fn refusing(agents: usize, frameworks: usize, refuse_ms: Option<u64>, seconds: u64) {
    let mut allocator = cluster(agents, frameworks, 10);
    let (mut now, mut offers, mut plans_made) = (Millis::ZERO, 0, 0);
    let end = Millis(seconds * TICK);
    let (spent, ()) = timed(|| {
        while let Some(wake) = allocator.next_wake(now).filter(|wake| *wake < end) {
            now = wake;
            let mut plans = allocator.plan(now, 256);
            take_all(&mut allocator, &mut plans);
            decline_all(&mut allocator, &plans, now, refuse_ms);
            offers += plans.len();
            plans_made += 1;
        }
    });
    let percent = spent.as_secs_f64() * 100.0 / seconds as f64;
    println!(
        "{frameworks} frameworks decline {agents} idle agents, refuse {refuse_ms:?} ms: {percent:.2} % of a core, {} offers/s, {} plans/s",
        offers as u64 / seconds,
        plans_made / seconds,
    );
}

/// Every pair is refused for an hour, and the cluster is asked again and again.
fn all_refused(agents: usize, frameworks: usize, ticks: u64) {
    let mut allocator = cluster(agents, frameworks, 10);
    let (fill, ()) = timed(|| {
        let views: Vec<(AgentView, Resources)> =
            (0..agents).map(agent).map(|view| (view.clone(), view.total)).collect();
        for number in 0..frameworks {
            let (id, role) = (framework(number, "x").id, Role::from(format!("team-{}", number % 10)));
            for (view, total) in &views {
                let filter = RefuseFilter { refused: total.clone(), until: Millis(3_600_000) };
                allocator.refuse(&id, &role, &view.id, filter);
            }
        }
    });
    let (first, plans) = timed(|| allocator.plan(Millis(TICK), usize::MAX));
    assert!(plans.is_empty());
    assert_eq!(allocator.next_wake(Millis(TICK)), Some(Millis(3_600_000)), "nothing to do for an hour");
    let (spent, ()) = timed(|| {
        for tick in 2..2 + ticks {
            allocator.end_interval();
            assert!(allocator.plan(Millis(tick * TICK), usize::MAX).is_empty());
        }
    });
    println!(
        "{agents} x {frameworks} pairs refused: {:.0} ns each to remember, first look {:.1} ms, then {:.3} ms a tick if all agents are looked at, no wake if not",
        fill.as_secs_f64() * 1e9 / (agents * frameworks) as f64,
        first.as_secs_f64() * 1e3,
        spent.as_secs_f64() * 1e3 / ticks as f64,
    );
}
