//! Frameworks come, go and end.

use mesarch_types::{AgentId, Epoch, FrameworkId, StreamId, TaskId, TaskState};

use crate::{
    Applied, Change, Command, Effect, Outcome,
    command::{
        AgentForgot, Disconnect, ExpireFailover, FrameworkRoles, FrameworkSpec, RescindOffers, SetLevel,
        Subscribe, Teardown, UpdateFramework,
    },
    model::Connection,
    outcome::Refusal,
    testing::{TOTAL, World, framework_spec, refuse, role, subscribe, task, task_with_executor},
};

fn again(framework: &FrameworkId, stream: &str) -> Subscribe {
    Subscribe { framework: Some(framework.clone()), stream: StreamId::from(stream), ..subscribe() }
}

fn refused(applied: &Applied) -> Option<Refusal> {
    match applied.outcome {
        Outcome::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

#[test]
fn ids_are_numbered_and_an_unknown_one_is_accepted() {
    let mut world = World::new();
    assert_eq!(world.framework().as_str(), "abababab-abab-abab-abab-abababababab-1-0000");
    assert_eq!(world.framework().as_str(), "abababab-abab-abab-abab-abababababab-1-0001");
    let own = FrameworkId::from("own");
    let applied = world.apply(Command::Subscribe(again(&own, "s")));
    let outcome = Outcome::Subscribed { framework: own.clone(), stream: world.epoch(), resumed: false };
    assert_eq!(applied, Applied { outcome, changes: vec![Change::Framework(own)], effects: vec![] });
}

#[test]
fn the_newest_subscription_wins_without_offers_and_without_rescinding_them() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let first = world.state.framework(&framework).and_then(|known| known.stream().map(|(_, epoch)| epoch));
    let (kept, rescinded) =
        (world.offer(&framework, &agent, "cpus:1"), world.offer(&framework, &agent, "cpus:1"));
    world.launch(&framework, &agent, &task("t", "cpus:1"));
    world.record(&framework, "t", TaskState::Running, 1);
    world.apply(Command::RescindOffers(RescindOffers { offers: vec![rescinded] }));
    let applied = world.apply(Command::Subscribe(again(&framework, "stream-2")));
    let stream = world.epoch();
    assert_eq!(applied.outcome, Outcome::Subscribed { framework: framework.clone(), stream, resumed: false });
    let close = Effect::CloseStream {
        framework: framework.clone(),
        stream: StreamId::from("stream-1"),
        epoch: first.expect("connected"),
        error: Some("Framework failed over"),
    };
    let update = Effect::SendUpdate {
        framework: framework.clone(),
        task: TaskId::from("t"),
        uuid: crate::testing::uuid(1),
    };
    assert_eq!(applied.effects, [close, update], "no RESCIND, the pending update again");
    assert!(world.state.offer(&kept).is_none());
    let stale = Disconnect { framework: framework.clone(), stream: first.expect("connected") };
    assert_eq!(refused(&world.apply(Command::Disconnect(stale))), Some(Refusal::StaleStream));
    assert!(world.state.framework(&framework).expect("known").is_connected());
}

#[test]
fn a_resumed_stream_goes_on_with_its_offers() {
    for new_term in [false, true] {
        let mut world = World::new();
        let (agent, framework) = (world.agent(1), world.framework());
        let offer = world.offer(&framework, &agent, "cpus:1");
        if new_term {
            world.begin_term();
        }
        let resume = Subscribe { resume: Some(StreamId::from("stream-1")), ..again(&framework, "stream-2") };
        let applied = world.apply(Command::Subscribe(resume));
        let stream = world.epoch();
        assert_eq!(
            applied.outcome,
            Outcome::Subscribed { framework: framework.clone(), stream, resumed: true }
        );
        let send = Effect::SendOffer { framework: framework.clone(), offer };
        assert_eq!(applied.effects.last(), Some(&send));
        let known = world.state.framework(&framework).expect("known");
        assert_eq!(known.stream(), Some((&StreamId::from("stream-1"), stream)));
    }
}

#[test]
fn only_the_current_stream_is_resumed() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let stream = world.epoch();
    world.offer(&framework, &agent, "cpus:1");
    let other = Subscribe { resume: Some(StreamId::from("stream-0")), ..again(&framework, "stream-2") };
    let mut disconnected = world.clone();
    disconnected.apply(Command::Disconnect(Disconnect { framework: framework.clone(), stream }));
    let late = Subscribe { resume: Some(StreamId::from("stream-1")), ..again(&framework, "stream-2") };
    for (world, command) in [(&mut world, other), (&mut disconnected, late)] {
        let applied = world.apply(Command::Subscribe(command));
        assert!(matches!(applied.outcome, Outcome::Subscribed { resumed: false, .. }));
        assert_eq!(world.state.offers().count(), 0);
        let known = world.state.framework(&framework).expect("known");
        assert_eq!(known.stream().map(|(stream, _)| stream.as_str()), Some("stream-2"));
    }
}

#[test]
fn some_fields_do_not_change_and_a_removed_framework_does_not_return() {
    let mut world = World::new();
    let framework = world.framework();
    let mut changed = again(&framework, "s");
    changed.spec.user = "root".into();
    changed.spec.checkpoint = false;
    changed.spec.name = "new name".into();
    world.apply(Command::Subscribe(changed.clone()));
    let spec = &world.state.framework(&framework).expect("known").spec;
    assert_eq!((&*spec.user, spec.checkpoint, &*spec.name), ("user", true, "new name"));
    changed.spec.principal = None;
    assert_eq!(refused(&world.apply(Command::Subscribe(changed.clone()))), Some(Refusal::PrincipalChanged));
    world.apply(Command::Teardown(Teardown { framework: framework.clone() }));
    changed.spec.principal = Some("principal".into());
    assert_eq!(refused(&world.apply(Command::Subscribe(changed))), Some(Refusal::FrameworkRemoved));
}

#[test]
fn a_reverted_user_is_reverted_in_the_message_as_well() {
    use mesarch_proto::mesos::v1::FrameworkInfo;
    use prost::Message;
    let info = |user: &str| FrameworkInfo { user: user.into(), name: "n".into(), ..Default::default() };
    let mut world = World::new();
    let framework = world.framework_with(|c| c.spec.info = info("user").encode_to_vec().into());
    let mut changed = again(&framework, "s");
    changed.spec.user = "root".into();
    changed.spec.info = info("root").encode_to_vec().into();
    world.apply(Command::Subscribe(changed));
    let stored = &world.state.framework(&framework).expect("known").spec.info;
    assert_eq!(FrameworkInfo::decode(stored.clone()).expect("message").user, "user");
}

#[test]
fn a_broken_stream_frees_the_offers_and_keeps_the_tasks() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let stream = world.epoch();
    world.launch(&framework, &agent, &task("t", "cpus:1"));
    world.offer(&framework, &agent, "cpus:4");
    let applied = world.apply(Command::Disconnect(Disconnect { framework: framework.clone(), stream }));
    assert_eq!((applied.outcome, applied.effects), (Outcome::Done, vec![]));
    assert_eq!(world.free(&agent), "cpus:7;mem:8192");
    let known = world.state.framework(&framework).expect("known");
    assert!(matches!(known.connection, Connection::Disconnected { .. }));
    assert_eq!(known.tasks.len(), 1);
    assert!(known.outbox.is_empty());
}

#[test]
fn only_the_disconnection_that_lasted_ends_a_framework() {
    let mut world = World::new();
    let framework = world.framework();
    let stream = world.epoch();
    world.apply(Command::Disconnect(Disconnect { framework: framework.clone(), stream }));
    let first = world.epoch();
    let expire =
        |disconnected| Command::ExpireFailover(ExpireFailover { framework: framework.clone(), disconnected });
    assert_eq!(refused(&world.apply(expire(Epoch(7)))), Some(Refusal::Resubscribed));
    world.apply(Command::Subscribe(again(&framework, "s")));
    let second = world.epoch();
    assert_eq!(refused(&world.apply(expire(first))), Some(Refusal::Resubscribed));
    assert_eq!(refused(&world.apply(expire(second))), Some(Refusal::Resubscribed), "connected");
    world.begin_term();
    assert_eq!(world.apply(expire(second)).outcome, Outcome::Done, "expected and never back");
    assert!(world.state.removed_framework(&framework).is_some());
}

/// A framework with a plain task and one under an executor, on one agent.
fn with_tasks() -> (World, AgentId, FrameworkId) {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    world.launch(&framework, &agent, &task("t", "cpus:1"));
    world.launch(&framework, &agent, &task_with_executor("u", "e"));
    (world, agent, framework)
}

#[test]
fn teardown_ends_everything_and_is_owed_to_the_agent_until_it_says_so() {
    let (mut world, agent, framework) = with_tasks();
    let epoch = world.state.framework(&framework).and_then(|known| known.stream()).expect("connected").1;
    world.offer(&framework, &agent, "cpus:1");
    let applied = world.apply(Command::Teardown(Teardown { framework: framework.clone() }));
    let stream = StreamId::from("stream-1");
    let shutdown = Effect::ShutdownFramework { agent: agent.clone(), framework: framework.clone() };
    let close = Effect::CloseStream { framework: framework.clone(), stream, epoch, error: None };
    assert_eq!(applied.effects, [close, shutdown.clone()]);
    assert_eq!(applied.changes.last(), Some(&Change::FrameworkRemoved(framework.clone())));
    assert_eq!(world.free(&agent), TOTAL);
    assert_eq!(world.state.counts().tasks + world.state.counts().executors + world.state.counts().offers, 0);
    let record = world.state.removed_framework(&framework).and_then(|removed| removed.record.clone());
    let states: Vec<TaskState> = record.expect("kept").completed.iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Killed; 2]);
    world.begin_term();
    assert_eq!(world.attach(&agent, None).effects, [shutdown]);
    let frameworks = vec![framework];
    world.apply(Command::AgentForgot(AgentForgot { agent: agent.clone(), acknowledged: vec![], frameworks }));
    assert_eq!(world.attach(&agent, None).effects, []);
}

#[test]
fn teardown_reaches_tasks_on_unreachable_agents() {
    let (mut world, agent, framework) = with_tasks();
    world.give_up(&agent);
    world.apply(Command::Teardown(Teardown { framework: framework.clone() }));
    assert!(world.state.unreachable_agent(&agent).expect("kept").tasks.is_empty());
    let applied = world.attach(&agent, Some(Default::default()));
    assert_eq!(applied.effects, [Effect::ShutdownFramework { agent, framework }]);
}

#[test]
fn suppress_and_revive_name_roles_that_are_subscribed() {
    let mut world = World::new();
    let framework = world.framework_with(|c| c.spec.roles = [role(), "web".into()].into());
    let named = |roles: &[&str]| FrameworkRoles {
        framework: framework.clone(),
        roles: roles.iter().map(|role| (*role).into()).collect(),
    };
    let suppressed = |world: &World| world.state.framework(&framework).expect("known").suppressed.len();
    assert_eq!(refused(&world.apply(Command::Suppress(named(&["eng", "x"])))), Some(Refusal::UnknownRole));
    assert_eq!(suppressed(&world), 0);
    for (command, expect, changes) in [
        (Command::Suppress(named(&["web"])), 1, 1),
        (Command::Suppress(named(&["web"])), 1, 0),
        (Command::Suppress(named(&[])), 2, 1),
        (Command::Revive(named(&["eng"])), 1, 2),
        (Command::Revive(named(&[])), 0, 2),
        (Command::Revive(named(&[])), 0, 1),
    ] {
        let applied = world.apply(command.clone());
        assert_eq!((suppressed(&world), applied.changes.len()), (expect, changes), "{command:?}");
    }
}

#[test]
fn refusals_end_with_the_stream() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let stream = world.epoch();
    let offer = world.offer(&framework, &agent, "cpus:1");
    let decline = crate::command::DeclineOffers {
        framework: framework.clone(),
        offers: vec![offer],
        refuse: refuse(60),
    };
    world.apply(Command::DeclineOffers(decline));
    assert_eq!(world.state.filters().count(), 1);
    let applied = world.apply(Command::Disconnect(Disconnect { framework: framework.clone(), stream }));
    assert_eq!(world.state.filters().count(), 0);
    assert!(applied.changes.contains(&Change::Revived { framework, roles: vec![] }));
}

fn update(framework: &FrameworkId, edit: impl FnOnce(&mut FrameworkSpec)) -> UpdateFramework {
    let mut spec = framework_spec();
    edit(&mut spec);
    UpdateFramework { framework: framework.clone(), spec, suppressed: [].into() }
}

#[test]
fn a_framework_changes_what_it_says_and_loses_the_offers_of_roles_that_it_left() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let offer = world.offer(&framework, &agent, "cpus:1");
    let same = update(&framework, |spec| spec.name = "new".into());
    let applied = world.apply(Command::UpdateFramework(same));
    assert_eq!(
        (applied.outcome, applied.changes),
        (Outcome::Done, vec![Change::Framework(framework.clone())])
    );
    let known = world.state.framework(&framework).expect("known");
    assert_eq!((&*known.spec.name, known.version), ("new", world.epoch()));
    assert!(known.is_connected() && world.state.offer(&offer).is_some());
    let left = update(&framework, |spec| spec.roles = ["ops".into()].into());
    let applied = world.apply(Command::UpdateFramework(left));
    let revived = Change::Revived { framework: framework.clone(), roles: vec![role()] };
    assert_eq!((&applied.changes[0], world.state.offer(&offer)), (&revived, None));
    assert!(matches!(applied.effects[..], [Effect::SendOutbox { .. }]), "RESCIND: {applied:?}");
    let suppressed = UpdateFramework { suppressed: [role()].into(), ..update(&framework, |_| {}) };
    world.apply(Command::UpdateFramework(suppressed));
    assert!(!world.state.framework(&framework).expect("known").wants(&role()));
}

#[test]
fn what_only_a_new_framework_may_choose_does_not_change() {
    let mut world = World::new();
    let framework = world.framework();
    let mut check = |update: UpdateFramework, expect| {
        assert_eq!(refused(&world.apply(Command::UpdateFramework(update))), Some(expect));
        assert_eq!(*world.state.framework(&framework).expect("known").spec, framework_spec());
    };
    check(update(&framework, |spec| spec.principal = None), Refusal::PrincipalChanged);
    check(update(&framework, |spec| spec.user = "other".into()), Refusal::UserChanged);
    check(update(&framework, |spec| spec.checkpoint = false), Refusal::CheckpointChanged);
    check(update(&"nobody".into(), |_| {}), Refusal::UnknownFramework);
}

#[test]
fn below_its_level_a_framework_subscribes_again_instead() {
    let mut world = World::of_level(2);
    let framework = world.framework();
    let rename = update(&framework, |spec| spec.name = "new".into());
    assert_eq!(refused(&world.apply(Command::UpdateFramework(rename.clone()))), Some(Refusal::LevelTooLow));
    world.apply(Command::SetLevel(SetLevel { level: 3 }));
    assert_eq!(world.apply(Command::UpdateFramework(rename)).outcome, Outcome::Done);
}
