//! When offers are made again, when the allocator wants to be called, and what it says about it.

mod world;

use mesarch_allocator::{Allocator, Config, GiveBack};
use mesarch_types::{
    AgentId, Attribute, AttributeValue, FrameworkCapabilities, FrameworkId, Millis, RefuseFilter, Role,
};
use world::{MANY, World, agent, framework, holding, r};

const WHOLE: &str = "cpus:4;mem:4096";

/// One framework with one agent, offered to it at time zero.
fn offered() -> World {
    let mut world = World::default();
    world.add_framework("f", &["web"]);
    world.add_agent("n1", WHOLE);
    world.expect(&[("f", "web", "n1", WHOLE)]);
    world
}

#[test]
fn declined_resources_wait_for_the_tick_even_without_a_filter() {
    let mut world = offered();
    world.advance(400);
    world.decline("f", "n1", 0);
    assert_eq!(world.allocator.next_wake(world.now), Some(Millis(1000)));
    world.advance(599);
    world.expect(&[]);
    world.advance(1);
    world.expect(&[("f", "web", "n1", WHOLE)]);
}

#[test]
fn other_events_within_the_interval_do_not_offer_declined_resources_again() {
    let mut world = offered();
    world.decline("f", "n1", 0);
    world.allocator.mark_dirty(&AgentId::from("n1"));
    assert_eq!(world.plan(), 0);
    world.allocator.set_framework(framework("g", &["web"]));
    assert_eq!(world.plan(), 1);
    world.expect(&[("g", "web", "n1", WHOLE)]);
    world.decline("g", "n1", 0);
    world.allocator.mark_dirty(&AgentId::from("n1"));
    assert_eq!(world.plan(), 0, "both declined it in this interval");
    world.advance(1000);
    world.expect(&[("f", "web", "n1", WHOLE)]);
}

#[test]
fn a_decline_after_a_tick_that_was_not_handled_yet_waits_for_the_next_one() {
    let mut world = offered();
    world.now = Millis(1020);
    world.decline("f", "n1", 0);
    world.now = Millis(1050);
    assert_eq!(world.plan(), 0);
    assert_eq!(world.allocator.next_wake(world.now), Some(Millis(2000)));
}

#[test]
fn what_a_task_frees_is_offered_at_once_with_what_was_declined() {
    let mut world = offered();
    world.launch("f", "web", "n1", "cpus:1;mem:1024");
    world.decline("f", "n1", 5000);
    world.advance(100);
    world.expect(&[]);
    for _ in 0..3 {
        world.freed("f", "web", "n1", "cpus:1;mem:1024");
        assert_eq!(world.allocator.next_wake(world.now), Some(world.now));
        world.advance(1);
        world.expect(&[("f", "web", "n1", WHOLE)]);
        world.launch("f", "web", "n1", "cpus:1;mem:1024");
        world.decline("f", "n1", 0);
    }
}

#[test]
fn a_revive_within_the_interval_is_served_at_once() {
    let mut world = offered();
    world.decline("f", "n1", 3_600_000);
    world.allocator.revive(&FrameworkId::from("f"), &[Role::from("other")]);
    assert_eq!(world.plan(), 0);
    world.allocator.revive(&FrameworkId::from("f"), &[Role::from("web")]);
    assert_eq!(world.allocator.next_wake(world.now), Some(world.now));
    assert_eq!(world.plan(), 1);
}

#[test]
fn whoever_was_passed_over_is_asked_again_when_it_changes() {
    let mut world = offered();
    world.decline("f", "n1", 3_600_000);
    world.add_agent("gpu", "cpus:1;gpus:1");
    world.advance(1000);
    world.expect(&[]);
    world.allocator.revive(&FrameworkId::from("f"), &[]);
    world.plan();
    world.expect(&[("f", "web", "n1", WHOLE)]);
    world.update_framework("f", |view| view.capabilities = FrameworkCapabilities::all());
    world.plan();
    world.expect(&[("f", "web", "gpu", "cpus:1;gpus:1")]);
}

#[test]
fn what_was_declined_and_then_taken_counts_as_declined_no_more() {
    let mut world = offered();
    world.decline("f", "n1", 0);
    world.allocator.mark_dirty(&AgentId::from("n1"));
    assert_eq!(world.plan(), 0);
    world.used("f", "web", "n1", WHOLE);
    world.freed("f", "web", "n1", WHOLE);
    assert_eq!(world.plan(), 1);
}

#[test]
fn nothing_to_do_means_no_wake() {
    let mut world = offered();
    assert_eq!(world.allocator.next_wake(world.now), None);
    world.decline("f", "n1", 2500);
    assert_eq!(world.allocator.next_wake(world.now), Some(Millis(1000)));
    world.advance(1000);
    assert_eq!(world.allocator.next_wake(world.now), Some(Millis(3000)), "the tick after the filter's end");
    world.expect(&[]);
    world.advance(2000);
    world.expect(&[("f", "web", "n1", WHOLE)]);
    assert_eq!(world.allocator.next_wake(world.now), None);
}

#[test]
fn growth_beyond_what_was_refused_is_offered() {
    let mut world = offered();
    world.decline("f", "n1", 3_600_000);
    world.update_agent("n1", |view| view.total = r("cpus:5;mem:4096"));
    world.expect(&[("f", "web", "n1", "cpus:5;mem:4096")]);
}

#[test]
fn new_attributes_void_refusals_and_a_new_version_alone_does_nothing() {
    let mut world = offered();
    world.decline("f", "n1", 3_600_000);
    world.advance(1000);
    world.update_agent("n1", |_| ());
    world.expect(&[]);
    let rack = Attribute { name: "rack".into(), value: AttributeValue::Text("r1".into()) };
    world.update_agent("n1", |view| view.attributes = [rack].into());
    world.expect(&[("f", "web", "n1", WHOLE)]);
}

#[test]
fn a_plan_names_the_versions_it_saw_and_books_nothing() {
    let mut allocator = Allocator::new(Config::default());
    allocator.set_agent(agent("n1", r(WHOLE)));
    let mut view = framework("f", &["web"]);
    view.version = 7;
    allocator.set_framework(view);
    let plans = allocator.plan(Millis::ZERO, MANY);
    assert_eq!((plans[0].framework_version, plans[0].agent_version), (7, 1));
    assert_eq!(allocator.free(&AgentId::from("n1")), Some(r(WHOLE)));
    assert_eq!(allocator.role_share(&Role::from("web")).as_f64(), 0.0);
    assert!(allocator.plan(Millis::ZERO, MANY).is_empty(), "not again by itself");
    allocator.mark_dirty(&AgentId::from("n1"));
    assert_eq!(allocator.plan(Millis::ZERO, MANY), plans, "but when it was refused");
}

#[test]
fn what_does_not_fit_in_one_plan_comes_with_the_next() {
    let mut world = World::default();
    world.add_framework("f", &["web"]);
    for id in ["n1", "n2", "n3"] {
        world.allocator.set_agent(agent(id, r(WHOLE)));
    }
    for expect in [2, 1, 0] {
        let plans = world.allocator.plan(Millis::ZERO, 2);
        assert_eq!(plans.len(), expect);
        for plan in plans {
            world.allocator.take(&plan.framework, &plan.role, &plan.agent, &plan.resources);
        }
    }
}

#[test]
fn offers_per_second_are_bounded() {
    let mut world = World::new(Config { offers_per_second_max: 2, ..Config::default() });
    world.add_framework("f", &["web"]);
    for id in ["n1", "n2", "n3", "n4"] {
        world.allocator.set_agent(agent(id, r(WHOLE)));
    }
    assert_eq!(world.plan(), 2);
    assert_eq!(world.allocator.next_wake(world.now), Some(Millis(500)));
    world.advance(499);
    assert_eq!(world.news.len(), 2);
    world.advance(501);
    assert_eq!(world.news.len(), 4);
}

#[test]
fn an_inactive_agent_keeps_its_books_and_is_not_offered() {
    let mut world = World::default();
    world.add_framework("f", &["web"]);
    world.used("f", "web", "n1", "cpus:1");
    world.set_agent(mesarch_types::AgentView { active: false, ..agent("n1", r(WHOLE)) });
    world.freed("f", "web", "n1", "cpus:1");
    world.advance(5000);
    world.expect(&[]);
    world.update_agent("n1", |view| view.active = true);
    world.expect(&[("f", "web", "n1", WHOLE)]);
}

#[test]
fn what_a_removed_framework_holds_counts_until_it_is_given_back() {
    let mut world = offered();
    world.add_framework("g", &["web"]);
    world.allocator.remove_framework(&FrameworkId::from("f"));
    assert_eq!((world.plan(), world.allocator.stats().frameworks), (0, 2));
    world.freed("f", "web", "n1", WHOLE);
    assert_eq!((world.plan(), world.allocator.stats().frameworks), (1, 1));
    world.expect(&[("g", "web", "n1", WHOLE)]);
    assert_eq!(world.allocator.stats().mismatches, 0);
}

#[test]
fn an_agent_that_leaves_takes_its_books_with_it() {
    let mut world = offered();
    world.add_agent("n2", WHOLE);
    world.allocator.remove_agent(&AgentId::from("n1"));
    world.freed("f", "web", "n1", WHOLE);
    assert_eq!(world.allocator.role_share(&Role::from("web")).as_f64(), 1.0, "all of what is left");
    world.add_agent("n1", WHOLE);
    assert_eq!(world.news.len(), 2);
    assert_eq!(world.allocator.stats().mismatches, 0);
}

#[test]
fn what_is_given_back_by_nobody_known_on_an_agent_not_known_leaves_nothing_behind() {
    let mut world = World::default();
    world.used("f", "web", "n1", WHOLE);
    assert_eq!((world.allocator.stats().agents, world.allocator.stats().frameworks), (1, 1));
    world.freed("f", "web", "n1", WHOLE);
    assert_eq!(world.allocator.stats().agents, 0);
    assert_eq!(world.allocator.stats().frameworks, 0);
    assert_eq!(world.plan(), 0);
}

#[test]
fn a_framework_that_left_a_role_gets_nothing_more_in_it() {
    let mut world = World::default();
    world.add_framework("f", &["a", "b"]);
    world.update_framework("f", |view| view.roles = [Role::from("b")].into());
    world.add_agent("n1", "cpus(a):1;cpus(b):2");
    world.expect(&[("f", "b", "n1", "cpus(b):2")]);
}

#[test]
fn giving_back_more_than_is_held_is_counted_and_does_not_upset_the_books() {
    let mut world = offered();
    world.freed("f", "web", "n1", "cpus:5;mem:1");
    assert_eq!(world.allocator.stats().mismatches, 1);
    assert_eq!(world.allocator.free(&AgentId::from("n1")), Some(r("cpus:4;mem:1")));
    let (f, web, n1) = holding("f", "web", "n1");
    assert_eq!(world.allocator.held(&f, &web, &n1), r("mem:4095"));
}

#[test]
fn the_refusal_that_ends_soonest_gives_way() {
    let mut world = World::new(Config { filters_max: 2, ..Config::default() });
    world.add_framework("f", &["web"]);
    for (id, refuse_ms) in [("n1", 60_000), ("n2", 30_000), ("n3", 90_000)] {
        world.add_agent(id, WHOLE);
        world.decline("f", id, refuse_ms);
    }
    world.news.clear();
    let stats = world.allocator.stats();
    assert_eq!((stats.filters, stats.filters_evicted), (2, 1));
    world.advance(1000);
    world.expect(&[("f", "web", "n2", WHOLE)]);
}

#[test]
fn a_pair_keeps_few_refusals_and_only_those_that_say_something() {
    let mut world = offered();
    let (f, web, n1) = holding("f", "web", "n1");
    let refuse = |world: &mut World, text: &str, until| {
        world.allocator.refuse(&f, &web, &n1, RefuseFilter { refused: r(text), until: Millis(until) });
        world.allocator.stats().filters
    };
    assert_eq!(refuse(&mut world, "cpus:2", 5000), 1);
    assert_eq!(refuse(&mut world, "cpus:1", 4000), 1, "said already");
    assert_eq!(refuse(&mut world, "cpus:3", 5000), 1, "says more");
    assert_eq!(refuse(&mut world, "mem:3", 5000), 2, "something else, with the same end");
    for step in 0..20 {
        refuse(&mut world, &format!("cpus:{}", 10 + step), 4900 - step);
    }
    assert!(world.allocator.stats().filters <= 9);
    world.advance(10_000);
    assert_eq!(world.allocator.stats().filters, 0);
}

#[test]
fn unknown_names_change_nothing() {
    let mut world = offered();
    let before = world.allocator.stats();
    let (f, web, n1) = holding("f", "web", "n1");
    let (g, ops, n2) = holding("g", "ops", "n2");
    let refusal = RefuseFilter { refused: r("cpus:1"), until: Millis(5000) };
    world.allocator.give_back(&g, &web, &n1, &r("cpus:1"), GiveBack::Freed);
    world.allocator.give_back(&f, &ops, &n1, &r("cpus:1"), GiveBack::Freed);
    world.allocator.give_back(&f, &web, &n2, &r("cpus:1"), GiveBack::Freed);
    world.allocator.refuse(&f, &web, &n2, refusal);
    world.allocator.revive(&g, &[]);
    world.allocator.mark_dirty(&n2);
    world.allocator.remove_agent(&n2);
    world.allocator.remove_framework(&g);
    assert_eq!(world.allocator.stats(), before);
}

#[test]
fn an_agent_that_was_not_looked_at_for_long_has_not_missed_who_changed() {
    for revivals in [0, 1, 5000] {
        let mut world = World::default();
        world.add_framework("f", &["web"]);
        world.add_framework("other", &["web"]);
        world.add_agent("gpu", "cpus:1;gpus:1");
        world.expect(&[]);
        let gpus = |view: &mut mesarch_types::FrameworkView| view.capabilities = FrameworkCapabilities::all();
        world.used("busy", "web", "gpu", "cpus:1;gpus:1");
        world.update_framework("f", gpus);
        world.plan();
        for _ in 0..revivals {
            world.allocator.revive(&FrameworkId::from("other"), &[]);
            world.plan();
        }
        world.expect(&[]);
        world.freed("busy", "web", "gpu", "cpus:1;gpus:1");
        world.plan();
        world.expect(&[("f", "web", "gpu", "cpus:1;gpus:1")]);
    }
}
