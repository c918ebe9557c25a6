//! Offers issued, declined, withdrawn.

use mesarch_types::{Millis, OfferId, Weight, resource::Resources};

use crate::{
    Applied, Change, Command, Effect, Holding, Outcome, Released,
    command::{DeclineOffers, FrameworkRoles, IssueOffers, OfferItem, RescindOffers, SetWeights},
    model::OutboxItem,
    outcome::OfferRefusal,
    testing::{TOTAL, World, refuse, resources, role, without_entities},
};

fn weight(thousandths: u64) -> Weight {
    Weight::from_thousandths(thousandths).expect("in range")
}

fn issue(world: &mut World, items: Vec<OfferItem>) -> Vec<Result<OfferId, OfferRefusal>> {
    let policy = world.state.policy_version();
    match world.apply(Command::IssueOffers(IssueOffers { policy, items })).outcome {
        Outcome::Issued(results) => results,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offer_is_booked_marked_and_sent() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let item = world.offer_item(&framework, &agent, "cpus:4");
    let policy = world.state.policy_version();
    let applied = world.apply(Command::IssueOffers(IssueOffers { policy, items: vec![item] }));
    let offer = world.state.offers().next().expect("issued").clone();
    let holding = Holding {
        framework: framework.clone(),
        role: role(),
        agent: agent.clone(),
        resources: resources("cpus:4"),
    };
    let expect = Applied {
        outcome: Outcome::Issued(vec![Ok(offer.id.clone())]),
        changes: vec![Change::Taken(holding), Change::OfferAdded(offer.id.clone())],
        effects: vec![Effect::SendOffer { framework, offer: offer.id.clone() }],
    };
    assert_eq!(applied, expect);
    assert_eq!(offer.resources, resources("cpus:4").allocated_to(&role()));
    assert_eq!(offer.id.as_str(), "abababab-abab-abab-abab-abababababab-1-O0");
}

#[test]
fn a_stale_plan_is_refused() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let good = world.offer_item(&framework, &agent, "cpus:4");
    let item = |edit: &dyn Fn(&mut OfferItem)| {
        let mut item = good.clone();
        edit(&mut item);
        item
    };
    let table = [
        (item(&|item| item.framework_version.0 += 1), OfferRefusal::FrameworkChanged),
        (item(&|item| item.framework = "x".into()), OfferRefusal::FrameworkChanged),
        (item(&|item| item.role = "other".into()), OfferRefusal::FrameworkChanged),
        (item(&|item| item.agent_version.0 -= 1), OfferRefusal::AgentChanged),
        (item(&|item| item.agent = "x".into()), OfferRefusal::AgentChanged),
        (item(&|item| item.resources = resources("cpus:9")), OfferRefusal::Resources),
        (item(&|item| item.resources = Resources::default()), OfferRefusal::Resources),
    ];
    for (item, expect) in table {
        assert_eq!(issue(&mut world, vec![item.clone()]), [Err(expect)], "{item:?}");
    }
    let twice =
        issue(&mut world, vec![good.clone(), OfferItem { resources: resources("cpus:5"), ..good.clone() }]);
    assert!(twice[0].is_ok() && twice[1] == Err(OfferRefusal::Resources));
    world.apply(Command::Suppress(FrameworkRoles { framework: framework.clone(), roles: [role()].into() }));
    let current = world.offer_item(&framework, &agent, "cpus:1");
    assert_eq!(issue(&mut world, vec![current]), [Err(OfferRefusal::FrameworkChanged)], "suppressed");
}

#[test]
fn a_plan_on_an_older_policy_is_refused_as_a_whole() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let item = world.offer_item(&framework, &agent, "cpus:1");
    let policy = world.state.policy_version();
    let applied = world.apply(Command::SetWeights(SetWeights { weights: vec![(role(), weight(2000))] }));
    assert_eq!((applied.outcome, applied.changes), (Outcome::Done, vec![Change::Policy]));
    assert_eq!((world.state.weight(&role()), world.state.weight(&"x".into())), (weight(2000), weight(1000)));
    let applied = world.apply(Command::IssueOffers(IssueOffers { policy, items: vec![item] }));
    assert_eq!(applied.outcome, Outcome::Issued(vec![Err(OfferRefusal::PolicyChanged)]));
}

#[test]
fn declined_offers_wait_and_long_refusals_are_kept_until_they_end() {
    for (secs, kept) in [(0, 0), (5, 0), (10, 0), (11, 1), (u64::MAX / 1000, 1)] {
        let mut world = World::new();
        let (agent, framework) = (world.agent(1), world.framework());
        let offer = world.offer(&framework, &agent, "cpus:4");
        let decline = DeclineOffers {
            framework: framework.clone(),
            offers: vec![offer, OfferId::from("unknown")],
            refuse: refuse(secs),
        };
        let applied = world.apply(Command::DeclineOffers(decline));
        let until = Millis(world.now).saturating_add(Millis::from_secs(secs.min(365 * 24 * 3600)));
        let holding = Holding {
            framework: framework.clone(),
            role: role(),
            agent: agent.clone(),
            resources: resources("cpus:4"),
        };
        let released = Change::Released { holding, how: Released::Refused { until } };
        assert_eq!(without_entities(&applied.changes), [released]);
        assert_eq!(world.free(&agent), TOTAL);
        assert_eq!(world.state.filters().count(), kept, "{secs}");
        world.apply(Command::Revive(FrameworkRoles { framework, roles: Default::default() }));
        assert_eq!(world.state.filters().count(), 0);
    }
}

#[test]
fn others_cannot_decline_and_revive_names_roles() {
    let mut world = World::new();
    let (agent, framework, other) = (world.agent(1), world.framework(), world.framework());
    let offer = world.offer(&framework, &agent, "cpus:4");
    let decline = DeclineOffers { framework: other.clone(), offers: vec![offer.clone()], refuse: refuse(0) };
    assert_eq!(world.apply(Command::DeclineOffers(decline)).changes, []);
    assert!(world.state.offer(&offer).is_some());
    let revive = FrameworkRoles { framework: other.clone(), roles: [role()].into() };
    let applied = world.apply(Command::Revive(revive));
    assert_eq!(applied.changes, [Change::Revived { framework: other, roles: vec![role()] }]);
}

#[test]
fn a_rescinded_offer_is_told_and_freed() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let offer = world.offer(&framework, &agent, "cpus:4");
    let rescind = RescindOffers { offers: vec![offer.clone(), OfferId::from("unknown")] };
    let applied = world.apply(Command::RescindOffers(rescind.clone()));
    assert_eq!(applied.outcome, Outcome::Done);
    assert!(matches!(
        without_entities(&applied.changes)[..],
        [Change::Released { how: Released::Freed, .. }]
    ));
    let outbox = &world.state.framework(&framework).expect("known").outbox;
    assert_eq!(**outbox.values().next().expect("one"), OutboxItem::Rescind(offer));
    assert_eq!(world.free(&agent), TOTAL);
    assert_eq!(world.apply(Command::RescindOffers(rescind)).changes, []);
}
