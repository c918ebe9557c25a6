//! Shared volumes in the books: always free, counted once.

mod world;

use std::sync::Arc;

use mesarch_types::{Disk, FrameworkId, Reservation, ReservationKind, Resource, Resources, Role, Scalar};
use world::{World, agent, r};

fn shared_volume() -> Resource {
    let reservation = Reservation {
        kind: ReservationKind::Dynamic,
        role: Role::from("ads"),
        principal: Some("ops".into()),
        labels: Default::default(),
    };
    let disk = Disk { persistence_id: Some("shared-1".into()), ..Disk::default() };
    Resource {
        reservations: vec![reservation].into(),
        disk: Some(Arc::new(disk)),
        shared: true,
        ..Resource::new("disk", Scalar::from_units(5))
    }
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
