//! Quota in the course of time: what is kept, for whom, and when it is set free.

mod world;

use mesarch_types::{AgentId, FrameworkId, Millis, Quota, Role};
use world::{MANY, World, agent, framework, r};

fn quota(role: &str, guarantees: &str, limits: &str) -> Quota {
    let parse = |text: &str| text.parse().expect("good");
    Quota::new(Role::from(role), parse(guarantees), parse(limits)).expect("good")
}

#[test]
fn what_a_refused_item_would_have_used_of_a_limit_is_offered_from_the_next_tick_on() {
    let mut world = World::default();
    world.allocator.set_quota(quota("a", "", "cpus:4;mem:2000"));
    let mut view = framework("f", &["a"]);
    view.min_allocatable.insert(Role::from("a"), Vec::new());
    world.set_framework(view);
    for id in ["n1", "n2"] {
        world.allocator.set_agent(agent(id, r("cpus:4;mem:2000;disk:10")));
    }
    let plans = world.allocator.plan(world.now, MANY);
    let texts: Vec<String> = plans.iter().map(|plan| plan.resources.to_string()).collect();
    assert_eq!(texts, ["cpus:4;disk:10;mem:2000", "disk:10"]);
    world.allocator.mark_dirty(&plans[0].agent);
    world.allocator.remove_agent(&plans[0].agent);
    let (framework, role) = (FrameworkId::from("f"), Role::from("a"));
    world.allocator.take(&framework, &role, &plans[1].agent, &plans[1].resources);
    world.advance(1000);
    world.expect(&[("f", "a", plans[1].agent.as_str(), "cpus:4;mem:2000")]);
}

#[test]
fn what_was_kept_for_a_guarantee_is_offered_from_the_tick_after_its_end() {
    let mut world = World::default();
    world.allocator.set_quota(quota("gold", "cpus:2;mem:2048", ""));
    world.add_framework("b", &["bronze"]);
    world.add_agent("n1", "cpus:2;mem:2048");
    world.expect(&[]);
    assert_eq!(world.allocator.stats().agents_held_back, 1);
    assert_eq!(world.allocator.next_wake(world.now), Some(Millis(1000)), "the new agent brought room");
    world.advance(1000);
    world.expect(&[]);
    assert_eq!(world.allocator.next_wake(world.now), None, "nothing can have changed");
    world.allocator.set_quota(quota("gold", "", ""));
    world.advance(999);
    world.expect(&[]);
    world.advance(1);
    world.expect(&[("b", "bronze", "n1", "cpus:2;mem:2048")]);
}

#[test]
fn consumption_is_reservations_held_or_not_and_what_is_held_of_the_rest() {
    let mut world = World::default();
    world.add_framework("w", &["eng/web"]);
    world.add_agent("n1", "cpus:2;mem:512;cpus(eng):1;cpus(eng/db):3;cpus{REV}:9;ports:[1-9]");
    let role = Role::from("eng");
    assert_eq!(world.allocator.consumed(&role), None, "without quota nobody counts");
    world.allocator.set_quota(quota("eng", "cpus:1", "cpus:9"));
    let consumed = |world: &World| world.allocator.consumed(&role).expect("quota").to_string();
    assert_eq!(consumed(&world), "cpus:6;mem:512");
    world.freed("w", "eng/web", "n1", "cpus:2;mem:512;cpus(eng):1;ports:[1-9]");
    assert_eq!(consumed(&world), "cpus:4");
    world.allocator.remove_agent(&AgentId::from("n1"));
    assert_eq!(consumed(&world), "");
}

#[test]
fn a_quota_set_before_or_after_everything_else_counts_the_same() {
    let build = |first: bool| {
        let mut world = World::default();
        if first {
            world.allocator.set_quota(quota("a", "cpus:3;mem:512", "cpus:5"));
        }
        world.used("f", "a/x", "n1", "cpus:1;mem:64");
        world.add_agent("n1", "cpus:1;mem:64;cpus(a):1");
        world.allocator.set_framework(framework("f", &["a/x"]));
        world.allocator.set_framework(framework("g", &["b"]));
        if !first {
            world.allocator.set_quota(quota("a", "cpus:3;mem:512", "cpus:5"));
        }
        world.allocator.set_agent(agent("n2", r("cpus:8;mem:1024")));
        world.allocator.plan(world.now, MANY)
    };
    assert_eq!(build(true), build(false));
}

#[test]
fn what_an_ended_quota_kept_is_offered_although_an_item_is_refused_meanwhile() {
    let mut world = World::default();
    world.allocator.set_quota(quota("a", "cpus:2", "cpus:2;mem:0"));
    world.add_framework("f", &["a"]);
    world.add_agent("n1", "cpus:4;mem:4096");
    world.expect(&[("f", "a", "n1", "cpus:2")]);
    world.allocator.set_agent(agent("n2", r("cpus:4;mem:4096")));
    world.allocator.set_quota(quota("a", "", ""));
    let plans = world.allocator.plan(world.now, MANY);
    assert_eq!(plans.len(), 1);
    world.allocator.mark_dirty(&plans[0].agent);
    world.advance(1000);
    world.expect(&[("f", "a", "n1", "cpus:2;mem:4096"), ("f", "a", "n2", "cpus:4;mem:4096")]);
}
