use mesarch_agent_core::TaskRecord;
use mesarch_types::{LaunchId, Millis, UpdateUuid, WallMillis};

use super::*;

fn framework() -> Record {
    Record::Framework(FrameworkSpec {
        id: "F".into(),
        checkpoint: true,
        partition_aware: true,
        info: Bytes::new(),
    })
}

fn spec(id: &str) -> ExecutorSpec {
    ExecutorSpec { id: id.into(), info: Bytes::new(), command: true, shutdown_grace: Millis::ZERO }
}

fn run(number: u64) -> Run {
    let name = number.to_string();
    Run { framework: "F".into(), executor: name.as_str().into(), container: name.as_str().into() }
}

fn key(number: u64) -> TaskKey {
    let launch = LaunchId { index: number, position: 0 };
    TaskKey { framework: "F".into(), task: number.to_string().as_str().into(), launch }
}

fn task(number: u64, info: &'static [u8]) -> Record {
    Record::Task(TaskRecord {
        key: key(number),
        info: Bytes::from_static(info),
        executor: spec(&number.to_string()),
        container: Some(run(number).container),
        state: TaskState::Staging,
        acknowledged: None,
        recent: Vec::new(),
        group: None,
    })
}

fn update(number: u64, uuid: u8, state: TaskState) -> Record {
    let body = Body::Agent { reason: None, message: "".into() };
    Record::Update(key(number), Update { uuid: UpdateUuid([uuid; 16]), state, wall: WallMillis(1), body })
}

/// All of one task's life.
fn life(number: u64, info: &'static [u8]) -> Vec<Record> {
    vec![
        framework(),
        task(number, info),
        Record::Executor(run(number), spec(&number.to_string())),
        update(number, 1, TaskState::Running),
        update(number, 2, TaskState::Finished),
        Record::Acknowledged(key(number), UpdateUuid([1; 16])),
        Record::Acknowledged(key(number), UpdateUuid([2; 16])),
        Record::ExecutorEnded(run(number)),
    ]
}

#[test]
fn a_task_is_completed_once_its_end_is_acknowledged() {
    let all = life(1, b"info");
    for (length, live, completed) in [(2, 1, 0), (5, 1, 0), (6, 1, 0), (7, 0, 1), (8, 0, 1)] {
        let history = History::of(&all[..length]);
        let found = (history.live_of(&"F".into()).count(), history.completed().count());
        assert_eq!(found, (live, completed), "after {length} records");
    }
    let history = History::of(&all);
    let (_, told) = history.completed().next().unwrap();
    assert_eq!((told.state, told.statuses.len(), &told.info[..]), (TaskState::Finished, 2, &b"info"[..]));
    assert_eq!(history.ended().count(), 1);
    assert!(history.frameworks.is_empty() && history.runs.is_empty() && history.live.is_empty());
}

#[test]
fn what_a_removed_framework_had_is_over() {
    let mut records = life(1, b"");
    records.truncate(4);
    records.push(Record::FrameworkEnded("F".into()));
    let history = History::of(&records);
    assert_eq!((history.completed().count(), history.ended().count()), (1, 1));
    assert!(history.frameworks.is_empty() && history.runs.is_empty() && history.live.is_empty());
}

#[test]
fn what_ran_when_its_framework_was_removed_is_remembered_as_killed() {
    let mut records = vec![framework(), Record::Executor(run(1), spec("1")), task(1, b"info")];
    records.push(update(1, 1, TaskState::Running));
    records.push(Record::FrameworkEnded("F".into()));
    let history = History::of(&records);
    let states: Vec<TaskState> = history.completed().map(|(_, task)| task.state).collect();
    assert_eq!((states, history.live().count()), (vec![TaskState::Killed], 0));
}

#[test]
fn the_oldest_are_forgotten_first() {
    let mut history = History::default();
    let tasks = TASKS_MAX as u64 + 5;
    (0..tasks).flat_map(|number| life(number, b"1234")).for_each(|record| history.apply(&record));
    assert_eq!((history.completed().count(), history.ended().count()), (TASKS_MAX, RUNS_MAX));
    assert_eq!(history.completed().next().unwrap().0, key(5));
    assert_eq!(history.completed_bytes, TASKS_MAX * 4);
    static LARGE: [u8; TASKS_BYTES_MAX / 2] = [0; TASKS_BYTES_MAX / 2];
    for number in tasks..tasks + 3 {
        life(number, &LARGE).iter().for_each(|record| history.apply(record));
    }
    assert_eq!(history.completed().count(), 2);
}

#[test]
fn a_task_that_repeats_itself_keeps_few_statuses() {
    let mut history = History::of(&[framework(), task(1, b"")]);
    for round in 0..20 {
        history.apply(&update(1, round, TaskState::Running));
    }
    let count = |history: &History| history.live_of(&"F".into()).next().unwrap().1.statuses.len();
    assert_eq!(count(&history), 1);
    for round in 0..20 {
        let state = if round % 2 == 0 { TaskState::Starting } else { TaskState::Running };
        history.apply(&update(1, round, state));
    }
    assert_eq!(count(&history), STATUSES_MAX);
}

#[test]
fn what_a_drain_ends_says_so_and_nothing_else_does() {
    let sent = |state: TaskState| {
        let status = TaskStatus { state: state as i32, ..TaskStatus::default() };
        let body = Body::Executor(status.encode_to_vec().into());
        Update { uuid: UpdateUuid([state as u8; 16]), state, wall: WallMillis(0), body }
    };
    let reasons = |is_drained: bool| {
        let mut history = History::default();
        [framework(), task(1, b"")].iter().for_each(|record| history.apply(record));
        if is_drained {
            history.drained(&key(1));
        }
        for state in [TaskState::Running, TaskState::Killed] {
            history.apply(&Record::Update(key(1), sent(state)));
        }
        let (_, told) = history.live().next().unwrap();
        let reason = |update: &Update| match &update.body {
            Body::Executor(status) => TaskStatus::decode(status.clone()).unwrap().reason,
            Body::Agent { .. } => panic!("the executor sent it"),
        };
        told.statuses.iter().map(reason).collect::<Vec<_>>()
    };
    assert_eq!(reasons(true), [None, Some(Reason::AgentDraining as i32)]);
    assert_eq!(reasons(false), [None, None]);
}
