//! What the allocator says about an offer that is not there, in many set-ups.

mod world;

use mesarch_allocator::{Config, Policies, Reason, StrictPriority, Why};
use mesarch_types::{
    AgentCapabilities, AgentId, AgentView, Constraint, Constraints, FrameworkCapabilities,
    FrameworkCapability, FrameworkId, Millis, Predicate, Priority, Quota, Role, Selector,
};
use world::{World, agent, framework, r};

const WHOLE: &str = "cpus:4;mem:4096";

fn explain(world: &mut World, framework: &str, agent: &str) -> Vec<Why> {
    world.allocator.explain(&FrameworkId::from(framework), Some(&AgentId::from(agent)), world.now)
}

fn reasons(world: &mut World, framework: &str, agent: &str) -> Vec<Reason> {
    explain(world, framework, agent).into_iter().map(|why| why.reason).collect()
}

fn one_offered() -> World {
    let mut world = World::default();
    world.add_framework("f", &["web"]);
    world.add_agent("n1", WHOLE);
    world
}

fn quota(role: &str, guarantees: &str, limits: &str) -> Quota {
    let parse = |text: &str| text.parse().expect("good");
    Quota::new(Role::from(role), parse(guarantees), parse(limits)).expect("good")
}

#[test]
fn who_is_not_there_or_not_connected() {
    let mut world = one_offered();
    assert_eq!(reasons(&mut world, "nobody", "n1"), [Reason::FrameworkUnknown]);
    assert_eq!(reasons(&mut world, "f", "nowhere"), [Reason::AgentUnknown]);
    world.update_agent("n1", |view| view.active = false);
    assert!(reasons(&mut world, "f", "n1").contains(&Reason::AgentInactive));
    world.update_framework("f", |view| view.active = false);
    assert_eq!(reasons(&mut world, "f", "n1"), [Reason::FrameworkInactive]);
    world.set_framework(framework("roleless", &[]));
    assert_eq!(reasons(&mut world, "roleless", "n1"), [Reason::NoRole]);
    let mut empty = World::default();
    empty.add_framework("f", &["web"]);
    let all = empty.allocator.explain(&FrameworkId::from("f"), None, Millis::ZERO);
    assert_eq!(all[0].reason, Reason::NoAgents);
}

#[test]
fn what_is_held_already() {
    let mut world = one_offered();
    world.add_framework("g", &["web"]);
    assert_eq!(
        reasons(&mut world, "f", "n1"),
        [Reason::NothingFree, Reason::Holds { resources: WHOLE.to_owned() }]
    );
    assert_eq!(reasons(&mut world, "g", "n1"), [Reason::NothingFree]);
}

#[test]
fn declined_refused_and_waiting() {
    let mut world = one_offered();
    world.decline("f", "n1", 0);
    assert_eq!(reasons(&mut world, "f", "n1"), [Reason::JustDeclined { until_ms: 1000 }]);
    world.allocator.set_framework(framework("g", &["web"]));
    assert_eq!(reasons(&mut world, "g", "n1"), [Reason::WaitsForTick { until_ms: 1000 }]);
    world.allocator.remove_framework(&FrameworkId::from("g"));
    world.advance(1000);
    world.decline("f", "n1", 60_000);
    assert_eq!(reasons(&mut world, "f", "n1"), [Reason::Refused { until_ms: 61_000 }]);
    world.suppress("f");
    assert_eq!(reasons(&mut world, "f", "n1"), [Reason::Suppressed]);
}

#[test]
fn what_the_agent_lacks_or_the_framework() {
    let mut world = World::new(Config { region: Some("eu".into()), ..Config::default() });
    world.add_framework("f", &["web"]);
    let table: [(AgentView, Reason); 5] = [
        (agent("gpu", r("cpus:1;gpus:1")), Reason::NeedsGpuCapability),
        (agent("tiny", r("disk:1")), Reason::TooSmall),
        (agent("theirs", r("cpus(them):1")), Reason::NothingForRole),
        (AgentView { region: Some("us".into()), ..agent("far", r(WHOLE)) }, Reason::OtherRegion),
        (AgentView { capabilities: AgentCapabilities::NONE, ..agent("old", r(WHOLE)) }, Reason::AgentTooOld),
    ];
    for (view, reason) in table {
        let id = view.id.clone();
        world.set_agent(view);
        assert_eq!(reasons(&mut world, "f", id.as_str()), [reason]);
    }
}

#[test]
fn what_needs_a_capability_is_nothing_to_those_who_lack_it() {
    let table = [
        ("cpus(web)(web/night,ops):2;mem(web)(web/night,ops):64", FrameworkCapability::ReservationRefinement),
        ("cpus{REV}:2;mem{REV}:64", FrameworkCapability::RevocableResources),
    ];
    for (total, capability) in table {
        let mut world = World::default();
        let mut without = framework("f", &["web/night"]);
        without.capabilities = FrameworkCapabilities::NONE.with(FrameworkCapability::MultiRole);
        world.set_framework(without.clone());
        world.add_agent("n1", total);
        world.expect(&[]);
        assert_eq!(reasons(&mut world, "f", "n1"), [Reason::NothingForRole], "{total}");
        without.capabilities = without.capabilities.with(capability);
        world.set_framework(without);
        world.expect(&[("f", "web/night", "n1", total)]);
    }
}

#[test]
fn constraints_and_whitelist() {
    let mut world = World::default();
    let has_ssd = Constraint { selector: Selector::Attribute("ssd".into()), predicate: Predicate::Exists };
    let mut picky = framework("f", &["web"]);
    picky.constraints.insert(Role::from("web"), Constraints::new(vec![vec![has_ssd]]).expect("good"));
    world.set_framework(picky);
    world.add_agent("n1", WHOLE);
    world.expect(&[]);
    assert_eq!(reasons(&mut world, "f", "n1"), [Reason::Constraint]);
    world.allocator.set_whitelist(Some(["other".into()].into()));
    assert_eq!(reasons(&mut world, "f", "n1"), [Reason::NotWhitelisted]);
}

#[test]
fn limits_and_headroom() {
    let mut world = World::default();
    world.allocator.set_quota(quota("capped", "", "cpus:0;mem:0"));
    world.add_framework("c", &["capped/below"]);
    world.add_agent("n1", WHOLE);
    world.expect(&[]);
    assert_eq!(reasons(&mut world, "c", "n1"), [Reason::OverLimit]);
    world.allocator.set_quota(quota("gold", "cpus:4;mem:4096", ""));
    world.add_framework("b", &["bronze"]);
    world.expect(&[]);
    assert_eq!(reasons(&mut world, "b", "n1"), [Reason::Headroom]);
}

#[test]
fn the_order_names_who_is_before() {
    let mut world = World::new(Config { policies: Policies::both(StrictPriority), ..Config::default() });
    world.allocator.set_role_priority(&Role::from("prod"), Priority::new(5).expect("good"));
    world.allocator.set_framework(framework("p", &["prod"]));
    world.allocator.set_framework(framework("t", &["test"]));
    world.allocator.set_agent(agent("n1", r(WHOLE)));
    assert_eq!(
        reasons(&mut world, "t", "n1"),
        [Reason::Behind { framework: "p".to_owned(), role: "prod".to_owned() }]
    );
    assert_eq!(reasons(&mut world, "p", "n1"), [Reason::InTurn]);
}

#[test]
fn an_open_guarantee_is_before_the_order() {
    let mut world = World::default();
    world.allocator.set_quota(quota("gold", "cpus:4", ""));
    for (id, role) in [("a", "aaa"), ("g", "gold/x")] {
        world.allocator.set_framework(framework(id, &[role]));
    }
    world.allocator.set_agent(agent("n1", r("cpus:8;mem:4096")));
    let before = Reason::Behind { framework: "g".to_owned(), role: "gold/x".to_owned() };
    assert_eq!(reasons(&mut world, "a", "n1"), [before]);
}

#[test]
fn the_rate_is_used_up() {
    let mut world = World::new(Config { offers_per_second_max: 1, ..Config::default() });
    world.add_framework("f", &["web"]);
    for id in ["n1", "n2"] {
        world.allocator.set_agent(agent(id, r(WHOLE)));
    }
    assert_eq!(world.plan(), 1);
    let free = if world.news[0].agent.as_str() == "n1" { "n2" } else { "n1" };
    assert_eq!(reasons(&mut world, "f", free), [Reason::Paced { until_ms: 1000 }]);
}

#[test]
fn over_all_agents_equal_reasons_are_counted() {
    let mut world = World::default();
    world.add_framework("f", &["web"]);
    for id in ["g1", "g2", "g3"] {
        world.add_agent(id, "cpus:1;gpus:1");
    }
    world.add_agent("tiny", "disk:1");
    let all = world.allocator.explain(&FrameworkId::from("f"), None, Millis::ZERO);
    let words: Vec<String> = all.iter().map(Why::to_string).collect();
    assert_eq!(
        words,
        [
            "role web, 3 agents such as g1: the agent has gpus and the framework lacks the capability GPU_RESOURCES",
            "role web, agent tiny: what is free is less than the smallest offer",
        ]
    );
}

#[test]
fn words_and_json_say_the_same() {
    let mut world = one_offered();
    world.decline("f", "n1", 60_000);
    let why = explain(&mut world, "f", "n1");
    assert_eq!(why[0].to_string(), "role web, agent n1: the framework refused as much until 60000 ms");
    assert_eq!(
        serde_json::to_string(&why[0]).expect("JSON"),
        r#"{"role":"web","agent":"n1","agents":1,"reason":"refused","until_ms":60000}"#
    );
    let unknown = explain(&mut world, "nobody", "n1");
    assert_eq!(unknown[0].to_string(), "agent n1: the framework is not known");
}
