//! Terms, time and outboxes.

use mesarch_types::{AgentId, At, ClusterId, Epoch, LaunchId, Millis, StreamId, WallMillis};

use crate::{
    Change, Command, Effect, Outcome, State,
    command::{BeginTerm, EventsDelivered, OutboxPosition, RescindOffers, SetLevel, SetWeights, Subscribe},
    model::{Attachment, Connection, OUTBOX_MAX, OutboxItem, TaskNews},
    open_work,
    outcome::Refusal,
    testing::{World, begin_term, subscribe, task, task_with_executor},
};

#[test]
fn a_new_term_expects_everybody_and_detaches_nobody() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let offer = world.offer(&framework, &agent, "cpus:1");
    world.launch(&framework, &agent, &task("t", "cpus:1"));
    let applied = world.begin_term();
    assert_eq!(
        (applied.outcome, applied.changes, applied.effects),
        (Outcome::TermBegun, vec![Change::TermBegan], vec![])
    );
    let known = world.state.agent(&agent).expect("known");
    assert_eq!((known.attachment, known.is_active()), (Attachment::Expected, true));
    let known = world.state.framework(&framework).expect("known");
    assert!(matches!(known.connection, Connection::Expected { .. }) && known.is_active());
    assert!(world.state.offer(&offer).is_some());
    assert_eq!(open_work(&world.state), []);
    assert_eq!(world.state.term(), 2);
}

#[test]
fn a_foreign_log_or_an_older_incarnation_is_refused() {
    let mut world = World::new();
    let table = [
        (BeginTerm { cluster: ClusterId([1; 16]), ..begin_term() }, Refusal::WrongCluster),
        (BeginTerm { incarnation: 0, ..begin_term() }, Refusal::StaleIncarnation),
    ];
    for (command, expect) in table {
        assert_eq!(world.apply(Command::BeginTerm(command)).outcome, Outcome::Refused(expect));
    }
    world.apply(Command::BeginTerm(BeginTerm { incarnation: 3, level: 9, ..begin_term() }));
    assert_eq!((world.state.incarnation(), world.state.level()), (3, crate::FEATURE_LEVEL_MAX));
    assert!(world.framework().as_str().ends_with("-3-0000"));
}

#[test]
fn a_level_rises_once_and_never_goes_down() {
    let mut world = World::new();
    world.state.meta.level = 1;
    let table = [
        (0, Err(Refusal::StaleLevel), 1),
        (1, Err(Refusal::StaleLevel), 1),
        (2, Ok(Outcome::Done), 2),
        (2, Err(Refusal::StaleLevel), 2),
        (1, Err(Refusal::StaleLevel), 2),
    ];
    for (level, expect, then) in table {
        let applied = world.apply(Command::SetLevel(SetLevel { level }));
        let expect = expect.unwrap_or_else(Outcome::Refused);
        assert_eq!((applied.outcome, applied.effects), (expect, vec![]), "to {level}");
        assert_eq!(world.state.level(), then);
        // A new leader of whatever version begins its term on the level that there is.
        world.apply(Command::BeginTerm(BeginTerm { level: 1, ..begin_term() }));
        assert_eq!(world.state.level(), then);
    }
}

/// Otherwise the end of a run that the agent reports would be taken for the end of the one that a later launch starts.
#[test]
fn executors_of_the_first_level_name_their_newest_launch_once_the_level_rises() {
    let mut world = World::new();
    world.state.meta.level = 1;
    let (agent, framework) = (world.agent(1), world.framework());
    let mut newest = LaunchId::default();
    for id in ["one", "two"] {
        newest = world.launch(&framework, &agent, &task_with_executor(id, "e"));
    }
    let named = |world: &World| world.state.executors().map(|executor| executor.launch).collect::<Vec<_>>();
    assert!(named(&world)[0] < newest);
    world.apply(Command::SetLevel(SetLevel { level: 2 }));
    assert_eq!(named(&world), [newest]);
}

#[test]
fn nothing_happens_before_the_first_term() {
    let mut state = State::new();
    let applied = state.apply(At::default(), Command::SetWeights(SetWeights { weights: Vec::new() }));
    assert_eq!(applied.outcome, Outcome::Refused(Refusal::WrongCluster));
}

#[test]
fn cluster_time_never_goes_back() {
    let mut world = World::new();
    for (now, expect) in [(5000, 5000), (4000, 5000), (6000, 6000)] {
        world.now = now;
        world.begin_term();
        assert_eq!((world.state.now(), world.state.term_began()), (Millis(expect), Millis(expect)));
        assert_eq!(world.state.wall(), WallMillis(now));
    }
}

#[test]
fn delivered_events_leave_the_outbox_of_that_stream_only() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let stream = world.epoch();
    world.give_up(&agent);
    let delivered =
        |stream| EventsDelivered { framework: framework.clone(), stream, up_to: OutboxPosition(0) };
    let stale = world.apply(Command::EventsDelivered(delivered(Epoch(1))));
    assert_eq!(stale.outcome, Outcome::Refused(Refusal::StaleStream));
    let position = OutboxPosition(0);
    assert_eq!(open_work(&world.state), [Effect::SendOutbox { framework: framework.clone(), position }]);
    assert_eq!(world.apply(Command::EventsDelivered(delivered(stream))).outcome, Outcome::Done);
    assert_eq!(open_work(&world.state), []);
}

#[test]
fn a_full_outbox_loses_failures_before_updates() {
    let mut world = World::new();
    let framework = world.framework();
    let mut known = world.state.framework(&framework).expect("known").clone();
    let failure = || OutboxItem::Failure { agent: AgentId::from("a"), executor: None, status: None };
    let update = || {
        OutboxItem::Update(TaskNews {
            task: "t".into(),
            agent: None,
            state: mesarch_types::TaskState::Lost,
            source: mesarch_types::Source::Master,
            reason: None,
            message: "".into(),
            unreachable: None,
            at: WallMillis(0),
        })
    };
    known.post(update());
    known.post(failure());
    for _ in 2..OUTBOX_MAX {
        known.post(update());
    }
    known.post(update());
    assert!(known.outbox_minor.is_empty() && known.outbox.contains_key(&OutboxPosition(0)));
    known.post(update());
    assert!(!known.outbox.contains_key(&OutboxPosition(0)));
    assert_eq!((known.outbox.len(), known.outbox_dropped), (OUTBOX_MAX, 2));
}

/// What the architecture says of RESCIND and FAILURE: up to their delivery they outlive streams and leaders.
#[test]
fn what_no_stream_has_taken_is_owed_to_the_next_one_in_any_term() {
    let mut world = World::new();
    let (agent, gone, framework) = (world.agent(1), world.agent(2), world.framework());
    let offer = world.offer(&framework, &agent, "cpus:1");
    world.apply(Command::RescindOffers(RescindOffers { offers: vec![offer] }));
    world.give_up(&gone);
    let owed = |world: &World| {
        let position = |effect| match effect {
            Effect::SendOutbox { position, .. } => Some(position.0),
            _ => None,
        };
        open_work(&world.state).into_iter().filter_map(position).collect::<Vec<_>>()
    };
    let resume = |world: &mut World| {
        let resume = Some(StreamId::from("stream-1"));
        world.apply(Command::Subscribe(Subscribe {
            framework: Some(framework.clone()),
            resume,
            ..subscribe()
        }));
        world.epoch()
    };
    assert_eq!(owed(&world), [0, 1], "RESCIND, then FAILURE");
    let first = resume(&mut world);
    assert_eq!(owed(&world), [0, 1], "the stream before took nothing");
    let delivered = |stream, position| {
        let up_to = OutboxPosition(position);
        Command::EventsDelivered(EventsDelivered { framework: framework.clone(), stream, up_to })
    };
    world.apply(delivered(first, 0));
    world.begin_term();
    assert_eq!(owed(&world), [0; 0], "nobody to tell");
    let second = resume(&mut world);
    assert_eq!(owed(&world), [1], "what was taken is not told again, the other is");
    world.apply(delivered(second, 1));
    world.begin_term();
    resume(&mut world);
    assert_eq!(owed(&world), [0; 0]);
}
