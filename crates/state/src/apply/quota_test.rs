//! Quota, priorities, whitelist and policy.

use mesarch_types::{Priority, Quantities, Quota, Role, Weight};

use crate::{
    Applied, Change, Command, Outcome,
    command::{
        IssueOffers, OfferItem, SetPolicy, SetPriorities, SetQuota, SetWeights, SetWhitelist, Teardown,
    },
    model::OutboxItem,
    outcome::{Denial, OfferRefusal, Refusal},
    snapshot,
    testing::{World, role, task},
};

fn amounts(text: &str) -> Quantities {
    text.parse().expect("well-formed")
}

fn quota(role: &str, guarantees: &str, limits: &str) -> Quota {
    Quota::new(Role::from(role), amounts(guarantees), amounts(limits)).expect("good")
}

fn set(world: &mut World, quotas: Vec<Quota>, force: bool) -> Applied {
    world.apply(Command::SetQuota(SetQuota { quotas, force, there: None }))
}

fn issue(world: &mut World, items: Vec<OfferItem>) -> Vec<Option<OfferRefusal>> {
    let policy = world.state.policy_version();
    match world.apply(Command::IssueOffers(IssueOffers { policy, items })).outcome {
        Outcome::Issued(results) => results.into_iter().map(Result::err).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_quota_is_stored_changed_and_removed() {
    let mut world = World::new();
    world.agent(1);
    let applied = set(&mut world, vec![quota("eng", "cpus:2", "cpus:4")], false);
    assert_eq!((applied.outcome, applied.changes), (Outcome::Changed { rescinded: 0 }, vec![Change::Policy]));
    set(&mut world, vec![quota("eng", "", "cpus:6"), quota("ops", "mem:1", "")], false);
    let quotas: Vec<_> = world.state.quotas().cloned().collect();
    assert_eq!(quotas, [quota("eng", "", "cpus:6"), quota("ops", "mem:1", "")]);
    set(&mut world, vec![quota("eng", "", ""), quota("unheard-of", "", "")], false);
    assert_eq!(world.state.quotas().map(Quota::role).collect::<Vec<_>>(), [&Role::from("ops")]);
}

#[test]
fn a_change_that_rests_on_a_quota_is_judged_when_it_is_applied() {
    let mut world = World::new();
    let (one, other) = (quota("eng", "", "cpus:1"), quota("eng", "", "cpus:2"));
    let mut apply = |quota: &Quota, there| {
        let quotas = vec![quota.clone()];
        world.apply(Command::SetQuota(SetQuota { quotas, force: true, there: Some(there) })).outcome
    };
    let (done, eng) = (Outcome::Changed { rescinded: 0 }, || Role::from("eng"));
    assert_eq!(apply(&one, true), Outcome::Denied(Denial::HasNoQuota(eng())));
    assert_eq!(apply(&one, false), done);
    assert_eq!(apply(&other, false), Outcome::Denied(Denial::HasQuota(eng())));
    assert_eq!(apply(&quota("eng", "", ""), true), done);
    assert_eq!(apply(&quota("eng", "", ""), true), Outcome::Denied(Denial::HasNoQuota(eng())));
    assert_eq!(world.state.quotas().count(), 0);
}

#[test]
fn what_the_cluster_cannot_keep_is_denied_by_name_unless_forced() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    world.launch(&framework, &agent, &task("t", "cpus:2;mem:512"));
    let table = [
        (
            vec![quota("eng", "", "cpus:1")],
            "quota of eng: limits.cpus: 1 is below the present consumption of 2",
        ),
        (
            vec![quota("ops", "cpus:9", "")],
            "quota of ops: guarantees.cpus: 9 are guaranteed in all, the cluster has 8",
        ),
        (
            vec![quota("ops", "cpus:5", ""), quota("web", "cpus:4", "")],
            "quota of ops: guarantees.cpus: 9 are guaranteed in all, the cluster has 8",
        ),
        (
            vec![quota("ops", "gpus:1", "")],
            "quota of ops: guarantees.gpus: 1 are guaranteed in all, the cluster has 0",
        ),
    ];
    for (quotas, expect) in table {
        let before = world.state.digest();
        match set(&mut world, quotas.clone(), false).outcome {
            Outcome::Denied(denial) => assert_eq!(denial.to_string(), expect),
            other => panic!("{other:?}"),
        }
        assert_eq!(world.state.quotas().count(), 0);
        let mut forced = world.clone();
        assert_eq!(set(&mut forced, quotas, true).outcome, Outcome::Changed { rescinded: 0 });
        assert_ne!(forced.state.digest(), before);
    }
    assert_eq!(
        set(&mut world, vec![quota("eng", "cpus:8", "cpus:8")], false).outcome,
        Outcome::Changed { rescinded: 0 }
    );
    assert!(matches!(set(&mut world, vec![quota("ops", "cpus:1", "")], false).outcome, Outcome::Denied(_)));
}

#[test]
fn offers_over_the_limit_of_the_top_level_role_are_refused() {
    let mut world = World::new();
    let agent = world.agent(1);
    let web = Role::from("eng/web");
    let framework = world.framework_with(|c| c.spec.roles = [role(), Role::from("eng/web")].into());
    set(&mut world, vec![quota("eng", "", "cpus:3")], false);
    let item = |world: &World, role: &Role, text: &str| OfferItem {
        role: role.clone(),
        ..world.offer_item(&framework, &agent, text)
    };
    let items = vec![
        item(&world, &role(), "cpus:2"),
        item(&world, &web, "cpus:1.5"),
        item(&world, &web, "mem:1024"),
        item(&world, &web, "cpus:1"),
        item(&world, &role(), "cpus:0.001"),
    ];
    let over = Some(OfferRefusal::Quota);
    assert_eq!(issue(&mut world, items), [None, over, None, None, over]);
    assert_eq!(world.state.consumed(&role()), Some(&amounts("cpus:3;mem:1024")));
    assert_eq!(world.state.consumption_in_use().get(&role()), None, "offers are not in use");
}

#[test]
fn a_lower_limit_withdraws_the_newest_offers_that_exceed_it() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    world.launch(&framework, &agent, &task("t", "cpus:1;mem:1"));
    let offers = [
        world.offer(&framework, &agent, "cpus:1"),
        world.offer(&framework, &agent, "mem:64"),
        world.offer(&framework, &agent, "cpus:2"),
    ];
    let applied = set(&mut world, vec![quota("eng", "", "cpus:2")], false);
    assert_eq!(applied.outcome, Outcome::Changed { rescinded: 1 });
    let left: Vec<bool> = offers.iter().map(|offer| world.state.offer(offer).is_some()).collect();
    assert_eq!(left, [true, true, false]);
    let outbox = &world.state.framework(&framework).expect("known").outbox;
    assert_eq!(**outbox.values().next().expect("told"), OutboxItem::Rescind(offers[2].clone()));
}

#[test]
fn a_guarantee_withdraws_offers_of_roles_without_one_until_it_is_free() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let offers: Vec<_> = ["cpus:3", "mem:64", "cpus:3", "cpus:2"]
        .into_iter()
        .map(|text| world.offer(&framework, &agent, text))
        .collect();
    let applied = set(&mut world, vec![quota("ops", "cpus:4", "")], false);
    assert_eq!(applied.outcome, Outcome::Changed { rescinded: 2 });
    let left: Vec<bool> = offers.iter().map(|offer| world.state.offer(offer).is_some()).collect();
    assert_eq!(left, [true, true, false, false]);
}

#[test]
fn priorities_are_set_together_and_end_with_their_framework() {
    let mut world = World::new();
    let framework = world.framework();
    let priority = |value| Priority::new(value).expect("in range");
    let roles = vec![(role(), priority(7)), (Role::from("ops"), priority(0))];
    let unknown = SetPriorities { roles: roles.clone(), frameworks: vec![("x".into(), priority(1))] };
    let refused = world.apply(Command::SetPriorities(unknown));
    assert_eq!(refused.outcome, Outcome::Refused(Refusal::UnknownFramework));
    assert_eq!(world.state.role_priorities().count(), 0);
    let set = SetPriorities { roles, frameworks: vec![(framework.clone(), priority(-3))] };
    world.apply(Command::SetPriorities(set));
    assert_eq!(world.state.role_priorities().collect::<Vec<_>>(), [(&role(), priority(7))]);
    assert_eq!(world.state.framework_priorities().collect::<Vec<_>>(), [(&framework, priority(-3))]);
    world.apply(Command::Teardown(Teardown { framework }));
    assert_eq!(world.state.framework_priorities().count(), 0);
}

#[test]
fn whitelist_policy_and_weights_are_kept_and_void_older_plans() {
    let mut world = World::new();
    assert_eq!((world.state.policy(), world.state.whitelist().is_none()), ("drf", true));
    let commands = [
        Command::SetPolicy(SetPolicy { name: "priority".into() }),
        Command::SetWhitelist(SetWhitelist { hosts: Some(["b".into(), "a".into()].into()) }),
        Command::SetWeights(SetWeights { weights: vec![(role(), Weight::from_f64(2.5).expect("good"))] }),
    ];
    for command in commands {
        let before = world.state.policy_version();
        assert_eq!(world.apply(command).changes, [Change::Policy]);
        assert!(world.state.policy_version() > before);
    }
    let mut bytes = Vec::new();
    snapshot::encode(&world.state, &mut bytes).expect("in memory");
    let restored = snapshot::decode(&mut &bytes[..]).expect("just encoded");
    assert_eq!(restored.policy(), "priority");
    assert_eq!(restored.whitelist().expect("set").map(|host| &**host).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(restored.weight(&role()).thousandths(), 2500);
}
