//! Histories that are known to be good or bad: a checker that finds nothing in the bad ones is worth nothing.

use std::time::Duration;

use mesarch_client::v1::{TaskState, TaskState::*, task_status::Reason};

use crate::checker::{Promise, Promise::*, check};
use crate::history::{Entry, Event, Kind, Kind::*, Marks, Told};

const TASK: &str = "t";

fn entry(kind: Kind, event: Event) -> Entry {
    Entry { at: Duration::ZERO, process: 1, kind, event }
}

fn accept(kind: Kind) -> Entry {
    entry(kind, Event::Accept { tasks: vec![TASK.to_owned()] })
}

fn told(state: TaskState, uuid: &str) -> Entry {
    let uuid = Some(uuid.to_owned());
    entry(Info, Event::Told(Told { task: TASK.to_owned(), state, reason: None, uuid }))
}

fn dropped(reason: Reason, uuid: &str) -> Entry {
    let (reason, uuid) = (Some(reason), Some(uuid.to_owned()));
    entry(Info, Event::Told(Told { task: TASK.to_owned(), state: TaskDropped, reason, uuid }))
}

fn without_uuid(state: TaskState, reason: Reason) -> Entry {
    entry(Info, Event::Told(Told { task: TASK.to_owned(), state, reason: Some(reason), uuid: None }))
}

fn answer(state: TaskState) -> Entry {
    without_uuid(state, Reason::Reconciliation)
}

fn asked() -> Entry {
    entry(Invoke, Event::Reconcile { tasks: vec![TASK.to_owned()] })
}

fn refusal(state: TaskState) -> Entry {
    without_uuid(state, Reason::InvalidOffers)
}

/// What Mesos says of a second try while the first one's task runs.
fn duplicate() -> Entry {
    without_uuid(TaskError, Reason::TaskInvalid)
}

fn acknowledged(uuid: &str) -> Entry {
    entry(Ok, Event::Acknowledge { task: TASK.to_owned(), uuid: uuid.to_owned() })
}

/// The acknowledgement of a task's end, whose outcome nobody knows.
fn told_and_left() -> Entry {
    entry(Unknown, Event::Acknowledge { task: TASK.to_owned(), uuid: "b".to_owned() })
}

fn account(given: f64) -> Entry {
    entry(Info, Event::Account { agent: TASK.to_owned(), resource: "cpus", total: 4.0, given })
}

fn marks(starts: usize, ends: usize) -> Marks {
    let count = |count| [(TASK.to_owned(), count)].into_iter().filter(|(_, count)| *count > 0).collect();
    Marks { starts: count(starts), ends: count(ends) }
}

/// The plain life of a task, and what came in between.
fn life(between: &[Entry]) -> Vec<Entry> {
    let begin = [accept(Invoke), accept(Ok), told(TaskRunning, "a"), acknowledged("a")];
    let end = [told(TaskFinished, "b"), acknowledged("b")];
    [&begin, between, &end].concat()
}

fn ended(after: &[Entry]) -> Vec<Entry> {
    [life(&[]), after.to_vec()].concat()
}

#[test]
fn good_histories_are_clean() {
    let successor = entry(Info, Event::FrameworkEnds);
    let histories = [
        ("plain", life(&[])),
        ("an update comes twice in a row", life(&[told(TaskRunning, "a"), acknowledged("a")])),
        ("an answer tells the truth", life(&[answer(TaskRunning), account(4.0)])),
        ("what has ended may be forgotten", ended(&[answer(TaskUnknown), answer(TaskFinished)])),
        ("an unknown ACCEPT that worked", [vec![accept(Invoke), accept(Unknown)], life(&[])].concat()),
        ("an answer that is older than its ACCEPT", life(&[answer(TaskUnknown)])),
        (
            "refused on a stream that was gone, then done again",
            [vec![accept(Invoke), accept(Ok), successor.clone(), asked(), answer(TaskUnknown)], life(&[])]
                .concat(),
        ),
        (
            "an acknowledgement that its scheduler did not live to see answered",
            [life(&[]).split_at(5).0.to_vec(), vec![told_and_left(), successor]].concat(),
        ),
        (
            "refused, then done again",
            [vec![accept(Invoke), accept(Ok), refusal(TaskDropped)], life(&[])].concat(),
        ),
    ];
    let tried_twice = vec![accept(Invoke), accept(Unknown), accept(Invoke), accept(Unknown)];
    let repeated = [tried_twice, vec![answer(TaskStaging)], life(&[])];
    assert_eq!(check(&repeated.concat(), &marks(1, 1)), []);
    for (name, history) in histories {
        assert_eq!(check(&history, &marks(1, 1)), [], "{name}");
    }
    for history in
        [vec![accept(Invoke), accept(Unknown)], vec![accept(Invoke), accept(Fail), answer(TaskUnknown)]]
    {
        assert_eq!(check(&history, &marks(0, 0)), []);
    }
}

/// Name, history, how often the task left its marks, and which promises it breaks.
type Bad = (&'static str, Vec<Entry>, (usize, usize), &'static [Promise]);

#[test]
fn bad_histories_are_found() {
    let unknown_then_lost = vec![accept(Invoke), accept(Ok), asked(), answer(TaskUnknown)];
    let successor = entry(Info, Event::FrameworkEnds);
    let no_accept: Vec<Entry> = life(&[]).split_off(2);
    let table: Vec<Bad> = vec![
        ("accepted, then unknown", unknown_then_lost, (0, 0), &[AcceptedIsKnown, EveryTaskEnds]),
        ("lost while it runs", life(&[asked(), answer(TaskLost)]), (1, 1), &[AcceptedIsKnown]),
        ("declared lost", life(&[without_uuid(TaskLost, Reason::AgentRemoved)]), (1, 1), &[AcceptedIsKnown]),
        ("dropped while it runs", life(&[refusal(TaskDropped)]), (1, 1), &[AcceptedIsKnown]),
        ("nobody launched it", no_accept, (1, 1), &[RefusedIsNot, RefusedIsNot, RefusedIsNot]),
        ("it failed, and ran", vec![accept(Invoke), accept(Fail)], (1, 0), &[RefusedIsNot]),
        ("twice", life(&[]), (2, 1), &[RunsOnce, RunsOnce]),
        ("finished without running", life(&[]), (0, 0), &[RunsOnce]),
        (
            "back from the dead",
            ended(&[told(TaskRunning, "c"), acknowledged("c")]),
            (1, 1),
            &[TerminalIsFinal],
        ),
        ("the answer is older than the end", ended(&[answer(TaskRunning)]), (1, 1), &[TerminalIsFinal]),
        ("an old update comes back", ended(&[told(TaskRunning, "a")]), (1, 1), &[UpdatesInOrder]),
        ("never acknowledged", life(&[told(TaskRunning, "c")]), (1, 1), &[UpdatesInOrder]),
        (
            "lost to the successor",
            life(&[successor, asked(), answer(TaskUnknown)]),
            (1, 1),
            &[AcceptedIsKnown],
        ),
        (
            "nobody knows whether its end was acknowledged",
            [life(&[]).split_at(5).0.to_vec(), vec![told_and_left()]].concat(),
            (1, 1),
            &[UpdatesInOrder],
        ),
        ("never ends", life(&[]).drain(..4).collect(), (1, 0), &[EveryTaskEnds]),
        ("over-allocated", vec![account(4.001)], (0, 0), &[NothingTwice]),
    ];
    let again = [accept(Invoke), accept(Ok), duplicate()];
    for history in [life(&[duplicate()]), life(&again)] {
        assert_eq!(
            check(&history, &marks(1, 1))[0].promise,
            AcceptedIsKnown,
            "it is declared ended, and runs"
        );
    }
    let told_and_never_ended = vec![accept(Invoke), accept(Unknown), accept(Invoke), answer(TaskRunning)];
    assert_eq!(check(&told_and_never_ended, &marks(0, 0))[0].promise, EveryTaskEnds, "it was there");
    let killed = entry(Info, Event::AgentEnds { node: "a".to_owned() });
    let failed = [told(TaskFailed, "a"), acknowledged("a")];
    let with_agent = |agent: &[Entry]| [&[accept(Invoke), accept(Ok)], agent, &failed].concat();
    assert_eq!(check(&with_agent(&[]), &marks(0, 0))[0].promise, EveryTaskEnds, "nothing let it fail");
    assert_eq!(check(&with_agent(std::slice::from_ref(&killed)), &marks(0, 0)), [], "it never started");
    assert_eq!(
        check(&with_agent(std::slice::from_ref(&killed)), &marks(1, 0))[0].promise,
        EveryTaskEnds,
        "it started"
    );
    let asked = [accept(Invoke), accept(Ok)];
    // The first is what an agent says, the second what the masters say if one does not come back in time.
    let lost = [dropped(Reason::AgentRestarted, "a"), acknowledged("a")];
    let unsent = [dropped(Reason::AgentDisconnected, "a"), acknowledged("a")];
    let lost_after =
        |gone: &Entry| check(&[&asked[..], std::slice::from_ref(gone), &lost].concat(), &marks(0, 0));
    assert_eq!(lost_after(&killed), [], "its executor never got it");
    let (away, back) = (entry(Info, Event::AgentsAway), entry(Info, Event::AgentsBack));
    assert_eq!(lost_after(&away)[0].promise, EveryTaskEnds, "no agent was killed");
    for gone in [&killed, &away] {
        let before = [std::slice::from_ref(gone), &asked, &unsent].concat();
        assert_eq!(check(&before, &marks(0, 0)), [], "it was never sent");
        assert_eq!(check(&before, &marks(1, 0))[0].promise, EveryTaskEnds, "it was");
        let meanwhile = [&asked, std::slice::from_ref(gone), &unsent].concat();
        assert_eq!(check(&meanwhile, &marks(0, 0)), [], "it was not sent any more");
        let after = [&[gone.clone(), back.clone()], &asked[..], &unsent].concat();
        assert_eq!(check(&after, &marks(0, 0))[0].promise, EveryTaskEnds, "all agents were there");
    }
    for (name, history, (starts, ends), expect) in table {
        let found: Vec<Promise> =
            check(&history, &marks(starts, ends)).iter().map(|found| found.promise).collect();
        assert_eq!(found, expect, "{name}");
    }
}
