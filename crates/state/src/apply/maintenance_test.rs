//! Machines that will be down, and those who are asked to leave them.

use mesarch_types::{AgentId, FrameworkId, Millis, Reason, TaskState, Unavailability};

use crate::{
    Change, Command, Effect, Outcome,
    command::{
        AnswerInverseOffers, Inventory, InverseOfferItem, IssueInverseOffers, Machines, RegisterAgent,
        SetSchedule, Window,
    },
    model::{MachineId, MachineMode, OutboxItem},
    outcome::{Denial, OfferRefusal, Refusal},
    testing::*,
};

fn machine(hostname: &str) -> MachineId {
    MachineId { hostname: hostname.into(), ip: "".into() }
}

fn outage(start_ns: i64) -> Unavailability {
    Unavailability { start_ns, duration_ns: Some(3600) }
}

fn schedule(machines: &[&str], start_ns: i64) -> Command {
    let machines: Vec<_> = machines.iter().map(|name| machine(name)).collect();
    let windows = (!machines.is_empty()).then(|| Window { machines, unavailability: outage(start_ns) });
    Command::SetSchedule(SetSchedule { windows: windows.into_iter().collect() })
}

fn start(name: &str) -> Command {
    Command::StartMaintenance(Machines { machines: vec![machine(name)] })
}

fn stop(name: &str) -> Command {
    Command::StopMaintenance(Machines { machines: vec![machine(name)] })
}

/// A framework with a task on an agent whose machine will be down.
fn scene() -> (World, FrameworkId, AgentId) {
    let mut world = World::new();
    let (framework, agent) = (world.framework(), world.agent(1));
    world.launch(&framework, &agent, &task("t", "cpus:1;mem:128"));
    world.apply(schedule(&["host", "other"], 1));
    (world, framework, agent)
}

fn ask(world: &mut World, framework: &FrameworkId, agent: &AgentId) -> Outcome {
    let agent_version = world.state.agent(agent).expect("known").version;
    let item = InverseOfferItem { framework: framework.clone(), agent: agent.clone(), agent_version };
    world.apply(Command::IssueInverseOffers(IssueInverseOffers { items: vec![item] })).outcome
}

#[test]
fn agents_of_scheduled_machines_are_offered_anew_with_their_outage() {
    let mut world = World::new();
    let (framework, agent) = (world.framework(), world.agent(1));
    world.offer(&framework, &agent, "cpus:1;mem:128");
    assert_eq!(world.apply(schedule(&["host"], 1)).outcome, Outcome::Changed { rescinded: 1 });
    assert_eq!(world.state.agent(&agent).expect("known").view().unavailability, Some(outage(1)));
    assert_eq!(world.apply(schedule(&["host"], 1)).outcome, Outcome::Changed { rescinded: 0 });
    world.offer(&framework, &agent, "cpus:1;mem:128");
    assert_eq!(world.apply(schedule(&["host"], 2)).outcome, Outcome::Changed { rescinded: 1 });
    let later = world.agent(2);
    assert_eq!(world.state.agent(&later).expect("known").unavailability, Some(outage(2)));
    world.give_up(&later);
    world.apply(schedule(&[], 0));
    assert_eq!(world.state.agent(&agent).expect("known").unavailability, None);
    world.attach(&later, Some(Inventory::default()));
    assert_eq!(world.state.agent(&later).expect("known").unavailability, None);
}

#[test]
fn agents_are_found_by_the_name_that_they_announce() {
    let check = |hostname: &str, ip: &str, announced: &str, expect: bool| {
        let mut world = World::new();
        let machine = MachineId { hostname: hostname.into(), ip: ip.into() };
        let windows = vec![Window { machines: vec![machine], unavailability: outage(1) }];
        world.apply(Command::SetSchedule(SetSchedule { windows }));
        let found = world.state.unavailability_of(announced).is_some();
        assert_eq!(found, expect, "{hostname:?} {ip:?} {announced:?}");
    };
    check("host", "", "host", true);
    check("host", "", "HOST", true);
    check("host", "10.0.0.1", "host", true);
    check("host", "10.0.0.1", "10.0.0.1", false);
    check("", "10.0.0.1", "10.0.0.1", true);
    check("host", "", "host2", false);
    check("host2", "", "host", false);
}

#[test]
fn agents_of_a_machine_that_goes_down_are_removed_and_none_may_come_until_it_is_up() {
    let (mut world, framework, agent) = scene();
    assert_eq!(world.apply(stop("host")).outcome, Outcome::Denied(Denial::NotDown(machine("host"))));
    let applied = world.apply(start("host"));
    assert_eq!(applied.outcome, Outcome::Done);
    assert!(applied.changes.contains(&Change::AgentRemoved(agent.clone())));
    let news = world.news(&framework);
    assert_eq!((news[0].state, news[0].reason), (TaskState::Lost, Some(Reason::AgentRemoved)));
    let modes: Vec<_> = world.state.machines().map(|(_, machine)| machine.mode).collect();
    assert_eq!(modes, [MachineMode::Down, MachineMode::Draining]);

    let twice = Outcome::Denied(Denial::NotScheduled(machine("host")));
    assert_eq!(world.apply(start("host")).outcome, twice);
    let register = RegisterAgent { nonce: [9; 16], spec: agent_spec(), link: link(9) };
    let refused = Outcome::Refused(Refusal::MachineDown);
    assert_eq!(world.apply(Command::RegisterAgent(register.clone())).outcome, refused);
    let left_out = Outcome::Denied(Denial::MachineDown(machine("host")));
    assert_eq!(world.apply(schedule(&["other"], 1)).outcome, left_out);

    assert_eq!(world.apply(stop("host")).outcome, Outcome::Changed { rescinded: 0 });
    assert_eq!(world.state.schedule()[0].machines, [machine("other")]);
    let back = world.apply(Command::RegisterAgent(register)).outcome;
    assert!(matches!(back, Outcome::AgentAttached { .. }), "{back:?}");
}

#[test]
fn an_unreachable_agent_may_not_come_back_to_a_machine_that_is_down() {
    let (mut world, _, agent) = scene();
    world.give_up(&agent);
    world.apply(start("host"));
    let back = world.attach(&agent, Some(Inventory::default()));
    assert_eq!(back.outcome, Outcome::Refused(Refusal::MachineDown));
    world.apply(stop("host"));
    let back = world.attach(&agent, Some(Inventory::default()));
    assert!(matches!(back.outcome, Outcome::AgentAttached { .. }));
}

#[test]
fn who_holds_something_is_asked_once_and_may_answer() {
    let (mut world, framework, agent) = scene();
    let Outcome::Issued(results) = ask(&mut world, &framework, &agent) else { panic!() };
    let offer = results[0].clone().expect("issued");
    let again = ask(&mut world, &framework, &agent);
    assert_eq!(again, Outcome::Issued(vec![Err(OfferRefusal::Resources)]), "it is asked already");
    let other = world.framework_with(|subscribe| subscribe.stream = "stream-2".into());
    let idle = ask(&mut world, &other, &agent);
    assert_eq!(idle, Outcome::Issued(vec![Err(OfferRefusal::Resources)]), "it holds nothing there");

    let answer = |framework: &FrameworkId| {
        let offers = vec![offer.clone(), "unknown".into()];
        let (framework, refuse) = (framework.clone(), refuse(5));
        Command::AnswerInverseOffers(AnswerInverseOffers { framework, offers, accepted: true, refuse })
    };
    world.apply(answer(&other));
    assert_eq!(world.state.inverse_offers().count(), 1, "it is not for others to answer");
    let applied = world.apply(answer(&framework));
    let until = Some(Millis(world.now).saturating_add(Millis::from_secs(5)));
    let removed = Change::InverseOfferRemoved { framework: framework.clone(), agent: agent.clone(), until };
    assert_eq!(applied.changes, [removed]);
    let answers: Vec<_> =
        world.state.inverse_answers().map(|(who, about, it)| (who, about, it.accepted)).collect();
    assert_eq!(answers, [(&framework, &agent, true)]);
    world.apply(schedule(&["host"], 7));
    assert_eq!(world.state.inverse_answers().count(), 0, "the answer was about another outage");
}

#[test]
fn a_new_leader_sends_outstanding_inverse_offers_again() {
    let (mut world, framework, agent) = scene();
    ask(&mut world, &framework, &agent);
    world.begin_term();
    assert_eq!(world.state.inverse_offers().count(), 1);
    let resume = world.apply(Command::Subscribe(crate::command::Subscribe {
        framework: Some(framework.clone()),
        resume: Some("stream-1".into()),
        stream: "stream-2".into(),
        ..subscribe()
    }));
    assert!(resume.effects.contains(&Effect::SendInverseOffer { framework, agent }));
}

#[test]
fn inverse_offers_are_withdrawn_when_nobody_has_to_leave() {
    type Edit = fn(&mut World, &FrameworkId, &AgentId);
    let cases: [(&str, Edit, bool); 5] = [
        ("another time", |world, _, _| drop(world.apply(schedule(&["host"], 2))), true),
        ("no time", |world, _, _| drop(world.apply(schedule(&[], 2))), true),
        ("the agent is away", |world, _, agent| drop(world.detach(agent)), true),
        ("the agent is given up", |world, _, agent| drop(world.give_up(agent)), true),
        (
            "the framework starts anew",
            |world, framework, _| {
                let framework = Some(framework.clone());
                let again = crate::command::Subscribe { framework, ..subscribe() };
                drop(world.apply(Command::Subscribe(again)));
            },
            false,
        ),
    ];
    for (why, edit, told) in cases {
        let (mut world, framework, agent) = scene();
        let Outcome::Issued(results) = ask(&mut world, &framework, &agent) else { panic!() };
        let offer = results[0].clone().expect("issued");
        edit(&mut world, &framework, &agent);
        assert_eq!(world.state.inverse_offers().count(), 0, "{why}");
        let outbox = &world.state.framework(&framework).expect("known").outbox;
        let rescinded = outbox.values().any(|item| **item == OutboxItem::RescindInverse(offer.clone()));
        assert_eq!(rescinded, told, "{why}");
    }
}

#[test]
fn an_agent_in_the_schedule_is_not_drained_by_hand() {
    let (mut world, _, agent) = scene();
    let drain = crate::command::DrainAgent { agent: agent.clone(), max_grace_ns: None, mark_gone: false };
    assert_eq!(world.apply(Command::DrainAgent(drain)).outcome, Outcome::Denied(Denial::Scheduled(agent)));
}

#[test]
fn an_agent_is_down_with_any_machine_of_its_name() {
    let mut world = World::new();
    let agent = world.agent(1);
    let both: Vec<_> =
        ["10.0.0.1", "10.0.0.2"].map(|ip| MachineId { hostname: "host".into(), ip: ip.into() }).into();
    let windows = vec![Window { machines: both.clone(), unavailability: outage(1) }];
    world.apply(Command::SetSchedule(SetSchedule { windows }));
    world.apply(Command::StartMaintenance(Machines { machines: vec![both[1].clone()] }));
    assert!(world.state.agent(&agent).is_none());
    let windows = vec![Window { machines: vec![both[1].clone()], unavailability: outage(1) }];
    world.apply(Command::SetSchedule(SetSchedule { windows }));
    let refused = world.attach(&agent, Some(Inventory::default())).outcome;
    assert_eq!(refused, Outcome::Refused(Refusal::MachineDown));
}
