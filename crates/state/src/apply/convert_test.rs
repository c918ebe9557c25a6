//! Operators' reservations.

use mesarch_types::{AgentId, Conversion, OfferId};

use crate::{
    Applied, Change, Command, Outcome, Released,
    command::{AgentSpec, AttachAgent, ConvertResources, Link},
    model::OutboxItem,
    testing::{World, agent_spec, resources, task, without_entities},
};

fn reserve(text: &str) -> Conversion {
    Conversion::Reserve(resources(text))
}

fn convert(world: &mut World, agent: &AgentId, conversion: Conversion) -> Applied {
    world.apply(Command::ConvertResources(ConvertResources { agent: agent.clone(), conversion }))
}

fn total(world: &World, agent: &AgentId) -> String {
    world.state.agent(agent).expect("known").total().to_string()
}

fn attach_with(world: &mut World, agent: &AgentId, text: &str) {
    let link = Link { term: world.term, serial: 1000 + world.index };
    let spec = Some(AgentSpec { total: resources(text), ..agent_spec() });
    world.apply(Command::AttachAgent(AttachAgent {
        agent: agent.clone(),
        link,
        spec,
        inventory: None,
        stored: Default::default(),
    }));
}

#[test]
fn free_resources_are_reserved_and_given_back() {
    let mut world = World::new();
    let agent = world.agent(1);
    let version = world.state.agent(&agent).expect("known").version;
    let applied = convert(&mut world, &agent, reserve("cpus(eng,op):3"));
    assert_eq!(applied.outcome, Outcome::Changed { rescinded: 0 });
    assert_eq!(applied.changes, [Change::Agent(agent.clone())]);
    assert_eq!(total(&world, &agent), "cpus:5;cpus(eng,op):3;mem:8192");
    assert_eq!(world.free(&agent), "cpus:5;cpus(eng,op):3;mem:8192");
    assert!(world.state.agent(&agent).expect("known").version > version);
    convert(&mut world, &agent, Conversion::Unreserve(resources("cpus(eng,op):1")));
    assert_eq!(total(&world, &agent), "cpus:6;cpus(eng,op):2;mem:8192");
    convert(&mut world, &agent, Conversion::Unreserve(resources("cpus(eng,op):2")));
    assert_eq!(world.state.agent(&agent).expect("known").converted, None);
}

#[test]
fn just_enough_offers_give_way_and_are_not_repeated_for_a_while() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let offers: Vec<OfferId> = ["cpus:3", "mem:64", "cpus:3"]
        .into_iter()
        .map(|text| world.offer(&framework, &agent, text))
        .collect();
    let applied = convert(&mut world, &agent, reserve("cpus(ops,op):4"));
    assert_eq!(applied.outcome, Outcome::Changed { rescinded: 1 });
    let left: Vec<bool> = offers.iter().map(|offer| world.state.offer(offer).is_some()).collect();
    assert_eq!(left, [false, true, true]);
    let released = without_entities(&applied.changes);
    let until = world.state.now().saturating_add(mesarch_types::Millis::from_secs(5));
    assert!(
        matches!(&released[..], [Change::Released { how: Released::Refused { until: told }, .. }] if *told == until)
    );
    let outbox = &world.state.framework(&framework).expect("known").outbox;
    assert_eq!(**outbox.values().next().expect("told"), OutboxItem::Rescind(offers[0].clone()));
}

#[test]
fn what_is_not_there_or_in_use_is_denied_and_nothing_changes() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    world.launch(&framework, &agent, &task("t", "cpus:2;mem:512"));
    let offer = world.offer(&framework, &agent, "cpus:1");
    let table = [
        (agent.clone(), reserve("cpus(eng,op):7"), "resources: cpus:1 is not among cpus:6;mem:7680"),
        (agent.clone(), reserve("cpus(eng,op):9"), "resources: cpus:9 is not among cpus:8;mem:8192"),
        (agent.clone(), reserve("cpus(eng):1"), "resources: cpus(eng):1 is not dynamically reserved"),
        (
            agent.clone(),
            Conversion::Unreserve(resources("mem(eng,op):1")),
            "resources: mem(eng,op):1 is not among cpus:8;mem:8192",
        ),
        ("x".into(), reserve("cpus(eng,op):1"), "agent: there is no x"),
    ];
    for (agent, conversion, expect) in table {
        let before = world.state.digest();
        let at = world.clone();
        let applied = convert(&mut world, &agent, conversion);
        match applied.outcome {
            Outcome::Denied(denial) => assert_eq!(denial.to_string(), expect),
            other => panic!("{other:?}"),
        }
        assert!(applied.changes.is_empty() && world.state.offer(&offer).is_some());
        world = at;
        assert_eq!(world.state.digest(), before);
    }
}

#[test]
fn reservations_survive_absence_and_return() {
    let mut world = World::new();
    let agent = world.agent(1);
    convert(&mut world, &agent, reserve("cpus(eng,op):3"));
    let reserved = total(&world, &agent);
    world.detach(&agent);
    world.attach(&agent, None);
    assert_eq!((total(&world, &agent), world.free(&agent)), (reserved.clone(), reserved.clone()));
    world.give_up(&agent);
    world.attach(&agent, Some(Default::default()));
    assert_eq!((total(&world, &agent), world.free(&agent)), (reserved.clone(), reserved.clone()));
    world.begin_term();
    attach_with(&mut world, &agent, "cpus:8;mem:8192");
    assert_eq!(total(&world, &agent), reserved);
}

#[test]
fn below_the_level_of_operations_reservations_rest_on_what_the_agent_brings() {
    let mut world = World::of_level(2);
    let agent = world.agent(1);
    convert(&mut world, &agent, reserve("cpus(eng,op):3"));
    for (brought, expect) in [
        ("cpus:4;mem:64", "cpus:1;cpus(eng,op):3;mem:64"),
        ("cpus:2;mem:64", "cpus:2;mem:64"),
        ("cpus:8;mem:64", "cpus:5;cpus(eng,op):3;mem:64"),
    ] {
        attach_with(&mut world, &agent, brought);
        assert_eq!((total(&world, &agent), world.free(&agent)), (expect.into(), expect.into()), "{brought}");
    }
}

#[test]
fn a_reservation_is_consumption_of_its_role() {
    let mut world = World::new();
    let agent = world.agent(1);
    let quota = mesarch_types::Quota::new("eng".into(), Default::default(), "cpus:4".parse().expect("good"));
    let quotas = vec![quota.expect("good")];
    world.apply(Command::SetQuota(crate::command::SetQuota { quotas, force: false, there: None }));
    convert(&mut world, &agent, reserve("cpus(eng/web,op):3"));
    assert_eq!(world.state.consumed(&"eng".into()), Some(&"cpus:3".parse().expect("good")));
    world.give_up(&agent);
    assert_eq!(world.state.consumed(&"eng".into()), Some(&Default::default()));
}

#[test]
fn what_is_reserved_is_reserved_otherwise_in_one_step_and_only_from_its_level_on() {
    let otherwise = |text: &str, target: &str| Conversion::Rereserve {
        source: resources(text),
        target: resources(target),
    };
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    convert(&mut world, &agent, reserve("cpus(eng,op):3"));
    let offer = world.offer(&framework, &agent, "cpus:5");
    let applied = convert(&mut world, &agent, otherwise("cpus(eng,op):2", "cpus(ops,op):2"));
    assert_eq!(applied.outcome, Outcome::Changed { rescinded: 0 });
    assert_eq!(total(&world, &agent), "cpus:5;cpus(eng,op):1;cpus(ops,op):2;mem:8192");
    let applied = convert(&mut world, &agent, otherwise("cpus:1", "cpus(ops,op):1"));
    assert_eq!(applied.outcome, Outcome::Changed { rescinded: 1 });
    assert!(world.state.offer(&offer).is_none());
    let denied = convert(&mut world, &agent, otherwise("cpus(eng,op):2", "cpus(ops,op):2")).outcome;
    assert!(matches!(denied, Outcome::Denied(_)), "{denied:?}");

    let mut world = World::of_level(crate::LEVEL_RERESERVE - 1);
    let agent = world.agent(1);
    let refused = convert(&mut world, &agent, otherwise("cpus:1", "cpus(ops,op):1")).outcome;
    assert_eq!(refused, Outcome::Refused(crate::outcome::Refusal::LevelTooLow));
}

#[test]
fn a_new_reservation_of_what_was_reserved_stays_itself_in_the_log() {
    let conversion = Conversion::Rereserve {
        source: resources("cpus(eng,op):2;mem(eng,op):64"),
        target: resources("cpus(ops,op):2;mem(ops,op):64"),
    };
    let command = Command::ConvertResources(ConvertResources { agent: "a".into(), conversion });
    assert_eq!(Command::decode(&command.encode()).expect("as it was written"), command);
}
