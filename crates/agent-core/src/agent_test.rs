//! Launching, killing, fences and lives.

use bytes::Bytes;
use mesarch_types::{Millis, TaskState};

use crate::{fixture::*, *};

fn kill(task: &str, launch: u64) -> MasterMessage {
    MasterMessage::KillTask { key: key(task, launch), policy: Bytes::new() }
}

/// The first output that somebody sees comes after all records that explain it.
#[test]
fn a_launch_is_stored_before_its_executor_starts() {
    let mut driver = Driver::attached();
    let outputs = driver.master(run_task("t", 10));
    assert!(matches!(outputs[..3], [Output::Persist(_), Output::Persist(_), Output::Persist(_)]));
    expect(&outputs, &["start t"]);
    let tasks: Vec<_> = driver.stored.iter().filter(|record| matches!(record, Record::Task(_))).collect();
    assert_eq!(tasks.len(), 1);
}

#[test]
fn the_whole_life_of_a_task() {
    let mut driver = Driver::attached();
    driver.master(run_task("t", 10));
    let run = driver.run_of("t");
    let outputs = driver.input(Input::ExecutorSubscribed { run: run.clone(), resume: Resume::default() });
    expect(&outputs, &["t<subscribed", "t<launch task t"]);
    let outputs = driver.update(&run, "t", 1, TaskState::Starting);
    expect(&outputs, &["t 10 TASK_STARTING latest TASK_STARTING", "t<ack t 1"]);
    expect(&driver.update(&run, "t", 2, TaskState::Running), &["t<ack t 2"]);
    let outputs = driver.acknowledge("t", 10, 1);
    expect(&outputs, &["forgot t 10 1", "t 10 TASK_RUNNING latest TASK_RUNNING"]);
    expect(&driver.acknowledge("t", 10, 2), &["forgot t 10 2"]);
    let outputs = driver.update(&run, "t", 3, TaskState::Finished);
    expect(&outputs, &["t 10 TASK_FINISHED latest TASK_FINISHED", "t<ack t 3"]);
    expect(&driver.acknowledge("t", 10, 3), &["forgot t 10 3"]);
    expect(&driver.input(Input::ExecutorExited { run, status: 0 }), &[]);
    assert!(driver.agent.durable().tasks.is_empty());
    assert!(driver.agent.durable().frameworks.is_empty());
}

#[test]
fn a_doubled_launch_runs_once() {
    let mut driver = Driver::attached();
    expect(&driver.master(run_task("t", 10)), &["start t"]);
    expect(&driver.master(run_task("t", 10)), &[]);
    driver.running("u", 11);
    expect(&driver.master(run_task("u", 11)), &[]);
}

#[test]
fn a_late_launch_of_a_finished_life_does_not_run() {
    let mut driver = Driver::attached();
    let run = driver.running("t", 10);
    driver.acknowledge("t", 10, 1);
    driver.update(&run, "t", 2, TaskState::Finished);
    driver.acknowledge("t", 10, 2);
    driver.input(Input::ExecutorExited { run, status: 0 });
    expect(&driver.master(run_task("t", 10)), &["forgot t 10 2"]);
    driver.restart();
    driver.attach(1);
    expect(&driver.master(run_task("t", 10)), &["forgot t 10 2"]);
}

#[test]
fn a_late_message_of_an_old_life_is_ignored_while_a_newer_one_runs() {
    let mut driver = Driver::attached();
    driver.running("t", 20);
    expect(&driver.master(run_task("t", 10)), &[]);
    expect(&driver.master(kill("t", 10)), &[]);
    expect(&driver.acknowledge("t", 10, 1), &["forgot t 10 1"]);
    assert_eq!(driver.agent.durable().tasks[&key("t", 20)].updates.len(), 1);
}

#[test]
fn a_reused_id_waits_for_the_end_of_the_earlier_executor() {
    let mut driver = Driver::attached();
    let first = driver.running("t", 10);
    driver.update(&first, "t", 2, TaskState::Finished);
    expect(&driver.master(run_task("t", 20)), &["t<shutdown"]);
    expect(&driver.input(Input::ExecutorExited { run: first.clone(), status: 0 }), &["start t"]);
    let second = driver.run_of("t");
    assert_ne!(first.container, second.container);
    let outputs = driver.input(Input::ExecutorSubscribed { run: second, resume: Resume::default() });
    expect(&outputs, &["t<subscribed", "t<launch task t"]);
    assert_eq!(driver.agent.durable().tasks.len(), 2, "the first life still waits for its acknowledgements");
}

#[test]
fn a_reused_id_of_a_task_that_still_runs_is_dropped_and_the_old_life_killed() {
    let mut driver = Driver::attached();
    driver.running("t", 10);
    let outputs = driver.master(run_task("t", 20));
    expect(&outputs, &["t<kill t", "t 20 TASK_DROPPED latest TASK_DROPPED"]);
}

#[test]
fn kills_by_how_far_the_task_has_come() {
    let mut driver = Driver::attached();
    driver.master(run_task("starting", 10));
    let outputs = driver.master(kill("starting", 10));
    expect(&outputs, &["starting 10 TASK_KILLED latest TASK_KILLED", "kill -9 starting"]);
    driver.running("running", 11);
    expect(&driver.master(kill("running", 11)), &["running<kill running"]);
    expect(&driver.master(kill("running", 11)), &["running<kill running"]);
    let outputs = driver.master(kill("unknown", 12));
    expect(&outputs, &["unknown 12 TASK_KILLED latest TASK_KILLED"]);
}

#[test]
fn a_launch_that_was_killed_before_it_came_never_runs() {
    let mut driver = Driver::attached();
    driver.master(kill("t", 10));
    expect(&driver.master(run_task("t", 10)), &[]);
    let killed = driver.agent.durable().tasks[&key("t", 10)].updates[0].uuid;
    driver.master(MasterMessage::Acknowledged { key: key("t", 10), uuid: killed });
    driver.restart();
    driver.attach(1);
    assert_eq!(records(&driver.master(run_task("t", 10))), 0);
}

#[test]
fn a_launch_below_the_watermark_is_dropped() {
    let mut driver = Driver::attached();
    driver.stored.push(Record::Watermark(mesarch_types::LaunchId { index: 100, position: 0 }));
    driver.restart();
    driver.attach(1);
    expect(&driver.master(run_task("t", 99)), &["t 99 TASK_DROPPED latest TASK_DROPPED"]);
    expect(&driver.master(run_task("t", 101)), &["start t"]);
}

#[test]
fn what_the_agent_cannot_run_fails_at_once() {
    let mut driver = Driver::attached();
    let refused = Some("not implemented: images".into());
    let launch = RunTask { refused, ..launch("t", 10) };
    let outputs = driver.master(MasterMessage::RunTask(Box::new(launch)));
    expect(&outputs, &["t 10 TASK_FAILED latest TASK_FAILED"]);
}

#[test]
fn fences_are_stored_and_lower_or_foreign_ones_refused() {
    let mut driver = Driver::attached();
    driver.attach(5);
    let outputs = driver.master_in(4, run_task("t", 10));
    expect(&outputs, &["close link: the leader's fence is lower than the highest one obeyed"]);
    driver.restart();
    driver.links += 1;
    driver.input(Input::LinkOpened { link: driver.links });
    let outputs = driver.master_in(4, MasterMessage::Attached("S0".into()));
    expect(&outputs, &["close link: the leader's fence is lower than the highest one obeyed"]);
    let mut foreign = fence(9);
    foreign.cluster.0 = [8; 16];
    let message = MasterMessage::InventoryRequest;
    let outputs = driver.input(Input::Master { link: driver.links, fence: foreign, message });
    expect(&outputs, &["close link: the masters belong to another cluster"]);
}

#[test]
fn only_the_newest_link_is_listened_to() {
    let mut driver = Driver::attached();
    driver.attach(2);
    let old = driver.links - 1;
    let outputs = driver.input(Input::Master { link: old, fence: fence(2), message: run_task("t", 10) });
    assert_eq!(outputs, []);
    driver.input(Input::LinkClosed { link: old });
    assert!(driver.agent.attached());
}

#[test]
fn a_framework_that_cannot_say_gone_is_told_lost() {
    let mut driver = Driver::attached();
    let framework = FrameworkSpec { partition_aware: false, ..framework_spec() };
    driver.master(MasterMessage::RunTask(Box::new(RunTask {
        framework: framework.clone(),
        ..launch("t", 10)
    })));
    driver.restart();
    driver.attach(1);
    expect(&driver.advance(Millis(2_000)), &["kill -9 t"]);
    let run = driver.run_of("t");
    let outputs = driver.input(Input::ExecutorExited { run, status: -1 });
    expect(&outputs, &["t 10 TASK_LOST latest TASK_LOST"]);
}

/// A life that was refused must not hide an older one that still runs.
#[test]
fn a_third_life_waits_for_the_first_although_the_second_was_refused() {
    let mut driver = Driver::attached();
    driver.running("t", 10);
    driver.master(run_task("t", 20));
    let outputs = driver.master(run_task("t", 30));
    expect(&outputs, &["t<kill t", "t 30 TASK_DROPPED latest TASK_DROPPED"]);
}

#[test]
fn nothing_is_launched_before_the_agent_has_an_id() {
    let mut driver = Driver::fresh();
    driver.links = 1;
    driver.input(Input::LinkOpened { link: 1 });
    expect(&driver.master_in(1, run_task("t", 10)), &[]);
}

/// What it is called, and how it comes about.
type FirstLife = (&'static str, fn(&mut Driver));

/// How far the first life of `t` (launch 10) came before the second one (launch 20) was launched.
fn first_lives() -> [FirstLife; 5] {
    let finished = |driver: &mut Driver| {
        let run = driver.running("t", 10);
        driver.acknowledge("t", 10, 1);
        driver.update(&run, "t", 2, TaskState::Finished);
        driver.input(Input::ExecutorExited { run, status: 0 });
    };
    [
        ("never came", |_| {}),
        ("killed before it came", |driver| drop(driver.master(kill("t", 10)))),
        ("ended, and nobody knows", |driver| {
            let run = driver.running("t", 10);
            driver.update(&run, "t", 2, TaskState::Finished);
            driver.input(Input::ExecutorExited { run, status: 0 });
        }),
        ("ended", finished),
        ("ended and acknowledged", |driver| {
            let run = driver.running("t", 10);
            driver.acknowledge("t", 10, 1);
            driver.update(&run, "t", 2, TaskState::Finished);
            driver.acknowledge("t", 10, 2);
            driver.input(Input::ExecutorExited { run, status: 0 });
        }),
    ]
}

#[test]
fn nothing_that_comes_late_for_the_first_life_touches_the_second() {
    for (name, first_life) in first_lives() {
        for restarts in [false, true] {
            for late in 0..5 {
                let mut driver = Driver::attached();
                first_life(&mut driver);
                driver.running("t", 20);
                if restarts {
                    driver.restart();
                    driver.attach(1);
                }
                let second = driver.agent.durable().tasks[&key("t", 20)].clone();
                let outputs = match late {
                    0 => driver.master(run_task("t", 10)),
                    1 => driver.master(kill("t", 10)),
                    2 => driver.acknowledge("t", 10, 1),
                    3 => driver.acknowledge("t", 10, 2),
                    _ => driver.acknowledge("t", 10, 9),
                };
                assert_eq!(driver.agent.durable().tasks[&key("t", 20)], second, "{name}, late {late}");
                let harmless = |word: &String| word.starts_with("forgot t 10") || word.starts_with("t 10 ");
                let words = seen(&outputs);
                assert!(words.iter().all(harmless), "{name}, late {late}, restarted {restarts}: {words:?}");
            }
        }
    }
}

#[test]
fn a_second_life_in_the_same_executor_has_its_own_updates() {
    let mut driver = Driver::attached();
    driver.master(custom_task("a", 10));
    let run = driver.run_of("E");
    driver.input(Input::ExecutorSubscribed { run: run.clone(), resume: Resume::default() });
    driver.update(&run, "a", 1, TaskState::Finished);
    // The masters know that the end was acknowledged; the agent is yet to hear it.
    driver.master(custom_task("a", 20));
    expect(&driver.update(&run, "a", 1, TaskState::Finished), &["E<ack a 1"]);
    expect(
        &driver.update(&run, "a", 2, TaskState::Running),
        &["a 20 TASK_RUNNING latest TASK_RUNNING", "E<ack a 2"],
    );
    expect(&driver.acknowledge("a", 10, 1), &["forgot a 10 1"]);
    assert_eq!(driver.agent.durable().tasks[&key("a", 20)].state, TaskState::Running);
}
