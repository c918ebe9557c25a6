//! What is offered to whom, played step by step.

mod world;

use std::sync::Arc;

use mesarch_allocator::Config;
use mesarch_types::{
    AgentCapabilities, AgentCapability, Disk, FrameworkCapability, FrameworkId, FrameworkView, Reservation,
    ReservationKind, Resource, Resources, Role, Scalar,
};
use world::{World, agent, framework, r};

fn with(view: FrameworkView, capability: FrameworkCapability) -> FrameworkView {
    FrameworkView { capabilities: view.capabilities.with(capability), ..view }
}

#[test]
fn the_example_of_the_drf_paper_comes_to_three_and_two_tasks() {
    let mut world = World::default();
    world.add_framework("a-1", &["a"]);
    world.add_framework("b-1", &["b"]);
    world.add_agent("n1", "cpus:9;mem:18432");
    let turns = [
        ("a-1", "a", "cpus:9;mem:18432", "cpus:1;mem:4096"),
        ("b-1", "b", "cpus:8;mem:14336", "cpus:3;mem:1024"),
        ("a-1", "a", "cpus:5;mem:13312", "cpus:1;mem:4096"),
        ("b-1", "b", "cpus:4;mem:9216", "cpus:3;mem:1024"),
        ("a-1", "a", "cpus:1;mem:8192", "cpus:1;mem:4096"),
    ];
    for (framework, role, offer, task) in turns {
        world.expect(&[(framework, role, "n1", offer)]);
        world.launch(framework, role, "n1", task);
        world.decline(framework, "n1", 0);
        world.allocate();
    }
    world.expect_role_share("a", 2.0 / 3.0);
    world.expect_role_share("b", 2.0 / 3.0);
}

#[test]
fn frameworks_with_the_same_share_take_turns() {
    let mut world = World::default();
    world.add_framework("a1", &["*"]);
    world.add_framework("a2", &["*"]);
    world.add_agent("n1", "cpus:2;mem:1024");
    for framework in ["a1", "a2", "a1", "a2", "a1", "a2", "a1"] {
        world.expect(&[(framework, "*", "n1", "cpus:2;mem:1024")]);
        world.decline(framework, "n1", 0);
        world.advance(1000);
    }
}

#[test]
fn sibling_roles_compete_by_their_subtree_before_leaves_compete_inside_it() {
    let mut world = World::default();
    world.add_agent("n1", "cpus:4;mem:4096");
    world.add_framework("w", &["eng/web"]);
    world.expect(&[("w", "eng/web", "n1", "cpus:4;mem:4096")]);
    world.add_framework("d", &["eng/db"]);
    world.add_framework("o", &["ops/cron"]);
    world.expect(&[]);
    world.add_agent("n2", "cpus:2;mem:2048");
    world.expect(&[("o", "ops/cron", "n2", "cpus:2;mem:2048")]);
    world.add_framework("b", &["ops/backup"]);
    world.expect(&[]);
    world.add_agent("n3", "cpus:1;mem:1024");
    world.expect(&[("b", "ops/backup", "n3", "cpus:1;mem:1024")]);
    world.add_agent("n4", "cpus:2;mem:2048");
    world.expect(&[("b", "ops/backup", "n4", "cpus:2;mem:2048")]);
    world.add_agent("n5", "cpus:1;mem:1024");
    world.expect(&[("d", "eng/db", "n5", "cpus:1;mem:1024")]);
}

#[test]
fn a_role_of_weight_two_gets_twice_as_much_and_a_change_shows_at_the_next_run() {
    let mut world = World::default();
    world.add_framework("a1", &["ads"]);
    world.add_framework("w1", &["web"]);
    world.allocator.set_weight(&Role::from("web"), 2000);
    world.used("a1", "ads", "n1", "cpus:2;mem:2048");
    world.used("w1", "web", "n1", "cpus:3;mem:3072");
    world.add_agent("n1", "cpus:6;mem:6144");
    world.expect(&[("w1", "web", "n1", "cpus:1;mem:1024")]);
    world.add_agent("n2", "cpus:1;mem:1024");
    world.expect(&[("a1", "ads", "n2", "cpus:1;mem:1024")]);
    world.add_agent("n3", "cpus:2.5;mem:2560");
    world.expect(&[("w1", "web", "n3", "cpus:2.5;mem:2560")]);
    world.decline("w1", "n3", 3_600_000);
    world.expect(&[]);
    world.allocator.set_weight(&Role::from("web"), 1000);
    world.allocate();
    world.expect(&[("a1", "ads", "n3", "cpus:2.5;mem:2560")]);
    world.add_agent("n4", "cpus:1;mem:1024");
    world.expect(&[("w1", "web", "n4", "cpus:1;mem:1024")]);
}

#[test]
fn a_suppressed_framework_gets_nothing_until_it_revives() {
    let mut world = World::default();
    world.add_agent("n1", "cpus:2;mem:1024");
    world.add_framework("etl-1", &["etl"]);
    world.expect(&[("etl-1", "etl", "n1", "cpus:2;mem:1024")]);
    world.revive("etl-1");
    world.expect(&[]);
    world.decline("etl-1", "n1", 0);
    world.suppress("etl-1");
    world.advance(1000);
    world.expect(&[]);
    world.revive("etl-1");
    world.expect(&[("etl-1", "etl", "n1", "cpus:2;mem:1024")]);
}

#[test]
fn a_refused_offer_is_not_made_again_before_its_filter_ends() {
    let mut world = World::default();
    world.add_framework("etl-1", &["etl"]);
    world.add_agent("n1", "cpus:2;mem:2048");
    world.expect(&[("etl-1", "etl", "n1", "cpus:2;mem:2048")]);
    world.advance(500);
    world.decline("etl-1", "n1", 2000);
    for ms in [1000, 900] {
        world.advance(ms);
        world.expect(&[]);
    }
    world.advance(700);
    world.expect(&[("etl-1", "etl", "n1", "cpus:2;mem:2048")]);
}

#[test]
fn a_reservation_of_a_role_reaches_its_descendants_and_nobody_else() {
    let mut world = World::default();
    world.add_framework("c1", &["eng/web/front"]);
    world.add_agent("n1", "cpus(eng):1;mem(eng):512");
    world.expect(&[("c1", "eng/web/front", "n1", "cpus(eng):1;mem(eng):512")]);
    let mixed = "cpus:2;mem:1024;cpus(eng/web):4;mem(eng/web):2048";
    world.add_agent("n2", mixed);
    world.expect(&[("c1", "eng/web/front", "n2", mixed)]);
    world.add_framework("e1", &["eng"]);
    world.add_framework("d1", &["eng/db"]);
    world.add_agent("n3", "cpus(eng/web):1;mem(eng/web):1024");
    world.expect(&[("c1", "eng/web/front", "n3", "cpus(eng/web):1;mem(eng/web):1024")]);
}

#[test]
fn one_agent_is_parted_between_those_for_whom_its_parts_are_reserved() {
    let mut world = World::default();
    for (id, role) in [("x", "a"), ("y", "b"), ("z", "c")] {
        world.add_framework(id, &[role]);
    }
    world.add_agent("n1", "cpus(a):1;cpus(b):2;cpus(absent):4");
    world.expect(&[("x", "a", "n1", "cpus(a):1"), ("y", "b", "n1", "cpus(b):2")]);
}

#[test]
fn reserved_resources_count_between_roles_and_are_shared_inside_their_role() {
    let mut world = World::default();
    let big = "cpus:1;mem:1024;cpus(ads):20;mem(ads):2048";
    world.add_agent("n1", big);
    world.add_framework("ads-1", &["ads"]);
    world.expect(&[("ads-1", "ads", "n1", big)]);
    world.add_framework("web-1", &["web"]);
    world.expect(&[]);
    for id in ["n2", "n3"] {
        world.add_agent(id, "cpus:2;mem:1024");
        world.expect(&[("web-1", "web", id, "cpus:2;mem:1024")]);
    }
    world.add_framework("ads-2", &["ads"]);
    world.expect(&[]);
    world.add_agent("n4", "cpus(ads):2;mem(ads):1024");
    world.expect(&[("ads-2", "ads", "n4", "cpus(ads):2;mem(ads):1024")]);
}

#[test]
fn each_new_agent_goes_whole_to_the_poorest_role_then_to_its_poorest_framework() {
    let mut world = World::default();
    world.add_agent("n1", "cpus:4;mem:4096");
    world.add_framework("ads-1", &["ads"]);
    world.expect(&[("ads-1", "ads", "n1", "cpus:4;mem:4096")]);
    world.add_framework("web-1", &["web"]);
    world.expect(&[]);
    world.add_agent("n2", "cpus:2;mem:2048");
    world.expect(&[("web-1", "web", "n2", "cpus:2;mem:2048")]);
    world.add_agent("n3", "cpus:6;mem:10240");
    world.expect(&[("web-1", "web", "n3", "cpus:6;mem:10240")]);
    world.add_framework("ads-2", &["ads"]);
    world.add_agent("n4", "cpus:8;mem:8192");
    world.expect(&[("ads-2", "ads", "n4", "cpus:8;mem:8192")]);
    world.expect_role_share("ads", 0.6);
    world.expect_role_share("web", 0.5);
    let share = world.allocator.framework_share(&FrameworkId::from("web-1"));
    assert!((share.as_f64() - 0.5).abs() < 1e-6);
    world.add_framework("ads-3", &["ads"]);
    world.add_agent("n5", "cpus:1;mem:1024");
    world.expect(&[("web-1", "web", "n5", "cpus:1;mem:1024")]);
}

#[test]
fn an_offer_holds_one_of_the_smallest_amounts_reserved_and_unreserved_together() {
    let mut world = World::default();
    world.add_framework("ads-1", &["ads"]);
    let table = [
        ("n1", "cpus:0.005;mem:16;disk:128", false),
        ("n2", "cpus:0.01;mem:16;disk:128", true),
        ("n3", "cpus:0.005;mem:32;disk:128", true),
        ("n4", "cpus:0.006;mem:16;cpus(ads):0.006;mem(ads):10;disk:128", true),
    ];
    for (id, total, offered) in table {
        world.add_agent(id, total);
        let offer = ("ads-1", "ads", id, total);
        world.expect(if offered { std::slice::from_ref(&offer) } else { &[] });
    }
    let mut modest = framework("ads-2", &["ads"]);
    modest.min_allocatable.insert(Role::from("ads"), Vec::new());
    world.set_framework(modest);
    world.expect(&[("ads-2", "ads", "n1", "cpus:0.005;mem:16;disk:128")]);
}

#[test]
fn agents_with_gpus_are_kept_for_frameworks_that_know_gpus() {
    let mut world = World::default();
    world.add_agent("n1", "cpus:4;mem:4096;gpus:2");
    world.add_agent("n2", "cpus:1;mem:1024");
    world.add_framework("web-1", &["web"]);
    world.expect(&[("web-1", "web", "n2", "cpus:1;mem:1024")]);
    world.set_framework(with(framework("ml-1", &["ml"]), FrameworkCapability::GpuResources));
    world.expect(&[("ml-1", "ml", "n1", "cpus:4;mem:4096;gpus:2")]);
}

#[test]
fn revocable_resources_need_the_capability() {
    let mut world = World::default();
    world.add_agent("n1", "cpus:10;mem:1024");
    world.add_framework("web-1", &["web"]);
    world.expect(&[("web-1", "web", "n1", "cpus:10;mem:1024")]);
    world.update_agent("n1", |view| view.total = r("cpus:10;mem:1024;cpus{REV}:4"));
    world.expect(&[]);
    world.set_framework(with(framework("batch-1", &["batch"]), FrameworkCapability::RevocableResources));
    world.expect(&[("batch-1", "batch", "n1", "cpus{REV}:4")]);
}

fn shared_volume() -> Resource {
    let reservation = Reservation {
        kind: ReservationKind::Dynamic,
        role: Role::from("ads"),
        principal: Some("ops".into()),
        labels: Default::default(),
    };
    let disk = Disk { persistence_id: Some("shared-1".into()), ..Disk::default() };
    Resource {
        reservations: vec![reservation],
        disk: Some(Arc::new(disk)),
        shared: true,
        ..Resource::new("disk", Scalar::from_units(5))
    }
}

#[test]
fn a_shared_volume_is_left_out_for_those_that_cannot_share() {
    let plain = r("cpus:8;mem:1024;disk(ads,ops):95");
    let all = &plain + &Resources::new([shared_volume()]).expect("good");
    let mut world = World::default();
    world.set_agent(agent("n1", all.clone()));
    world.add_framework("ads-1", &["ads"]);
    world.expect_resources(&[("ads-1", "ads", "n1", plain)]);
    world.decline("ads-1", "n1", 3_600_000);
    world.set_framework(with(framework("ads-2", &["ads"]), FrameworkCapability::SharedResources));
    world.expect_resources(&[("ads-2", "ads", "n1", all)]);
}

#[test]
fn a_shared_volume_is_always_free_and_counts_once_for_each_framework_and_role() {
    let total = &r("cpus:8;mem:1024;disk(ads,ops):15") + &Resources::new([shared_volume()]).expect("good");
    let volume = total.shared();
    let mut world = World::default();
    world.set_agent(agent("n1", total));
    for id in ["f", "f", "g"] {
        let (framework, role, agent) = world::holding(id, "ads", "n1");
        world.allocator.take(&framework, &role, &agent, &volume);
    }
    assert!(world.allocator.free(&"n1".into()).expect("known").contains(&volume));
    let share = |world: &World, id: &str| world.allocator.framework_share(&FrameworkId::from(id)).as_f64();
    assert_eq!((share(&world, "f"), share(&world, "g")), (0.25, 0.25));
    world.expect_role_share("ads", 0.25);
    let steps = [("f", 0.25, 0.25), ("g", 0.0, 0.25), ("f", 0.0, 0.0)];
    for (id, left, of_role) in steps {
        let (framework, role, agent) = world::holding(id, "ads", "n1");
        world.allocator.give_back(&framework, &role, &agent, &volume, mesarch_allocator::GiveBack::Freed);
        assert_eq!(share(&world, id), left, "{id}");
        world.expect_role_share("ads", of_role);
    }
}

#[test]
fn two_equal_frameworks_get_a_whole_agent_each() {
    let mut world = World::default();
    world.add_agent("n1", "cpus:2;mem:1024");
    world.add_agent("n2", "cpus:2;mem:1024");
    world.add_framework("a1", &["ads"]);
    world.expect(&[("a1", "ads", "n1", "cpus:2;mem:1024"), ("a1", "ads", "n2", "cpus:2;mem:1024")]);
    world.decline("a1", "n1", 0);
    world.decline("a1", "n2", 0);
    world.add_framework("w1", &["web"]);
    let mut served: Vec<&str> = world.news.iter().map(|plan| plan.framework.as_str()).collect();
    served.sort_unstable();
    assert_eq!(served, ["a1", "w1"]);
    assert!(world.news.iter().all(|plan| plan.resources == r("cpus:2;mem:1024")));
}

#[test]
fn a_deactivated_framework_gets_no_offers_and_loses_its_filters() {
    let mut world = World::default();
    world.add_agent("n1", "cpus:2;mem:1024");
    world.add_framework("etl-1", &["etl"]);
    world.expect(&[("etl-1", "etl", "n1", "cpus:2;mem:1024")]);
    world.decline("etl-1", "n1", 86_400_000);
    world.update_framework("etl-1", |view| view.active = false);
    world.advance(2000);
    world.expect(&[]);
    world.update_framework("etl-1", |view| view.active = true);
    world.plan();
    world.expect(&[("etl-1", "etl", "n1", "cpus:2;mem:1024")]);
}

#[test]
fn an_excluded_kind_does_not_raise_the_share_of_its_holder() {
    let config = Config { excluded_names: [Arc::from("gpus")].into(), ..Config::default() };
    let mut world = World::new(config);
    world.add_agent("n1", "cpus:2;mem:2048;gpus:4");
    world.set_framework(with(framework("ml-1", &["ml"]), FrameworkCapability::GpuResources));
    world.expect(&[("ml-1", "ml", "n1", "cpus:2;mem:2048;gpus:4")]);
    world.add_framework("web-1", &["web"]);
    world.add_agent("n2", "cpus:4;mem:4096");
    world.expect(&[("web-1", "web", "n2", "cpus:4;mem:4096")]);
    world.expect_role_share("ml", 1.0 / 3.0);
    world.expect_role_share("web", 2.0 / 3.0);
    world.add_agent("n3", "cpus:3;mem:3072");
    world.expect(&[("ml-1", "ml", "n3", "cpus:3;mem:3072")]);
}

#[test]
fn old_agents_are_kept_from_frameworks_and_roles_that_need_more() {
    let mut world = World::default();
    let old = |id, total, capabilities| mesarch_types::AgentView { capabilities, ..agent(id, r(total)) };
    world.set_agent(old("n1", "cpus:1;mem:1024", AgentCapabilities::NONE));
    world.set_agent(old("n2", "cpus:2;mem:1024", AgentCapabilities::NONE.with(AgentCapability::MultiRole)));
    world.add_framework("multi", &["eng/web"]);
    world.expect(&[]);
    world.add_framework("flat", &["ops"]);
    world.expect(&[("flat", "ops", "n2", "cpus:2;mem:1024")]);
    let mut plain = framework("plain", &["lab"]);
    plain.capabilities = plain.capabilities.without(FrameworkCapability::MultiRole);
    world.set_framework(plain);
    world.expect(&[("plain", "lab", "n1", "cpus:1;mem:1024")]);
    world.decline("plain", "n1", 3_600_000);
    world.update_agent("n1", |view| view.capabilities = AgentCapabilities::all());
    world.expect(&[("multi", "eng/web", "n1", "cpus:1;mem:1024")]);
}

#[test]
fn agents_of_another_region_are_for_region_aware_frameworks() {
    let mut world = World::new(Config { region: Some("eu".into()), ..Config::default() });
    for (id, total, region) in
        [("n1", "cpus:1", Some("eu")), ("n2", "cpus:2", Some("us")), ("n3", "cpus:3", None)]
    {
        let view = mesarch_types::AgentView { region: region.map(Arc::from), ..agent(id, r(total)) };
        world.set_agent(view);
    }
    world.add_framework("local", &["web"]);
    world.expect(&[("local", "web", "n1", "cpus:1"), ("local", "web", "n3", "cpus:3")]);
    world.set_framework(with(framework("wide", &["web"]), FrameworkCapability::RegionAware));
    world.expect(&[("wide", "web", "n2", "cpus:2")]);
}
