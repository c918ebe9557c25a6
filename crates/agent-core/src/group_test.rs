//! Groups: one delivery, and one end before it.

use bytes::Bytes;
use mesarch_types::TaskState;

use crate::{fixture::*, *};

fn kill(task: &str, launch: u64) -> MasterMessage {
    MasterMessage::KillTask { key: key(task, launch), policy: Bytes::new() }
}

fn subscribe(driver: &mut Driver) -> Vec<Output> {
    let run = driver.run_of("E");
    driver.input(Input::ExecutorSubscribed { run, resume: Resume::default() })
}

#[test]
fn a_group_starts_one_executor_and_is_handed_over_as_one() {
    let mut driver = Driver::attached();
    let outputs = driver.master(group(&["b", "a"], 10));
    expect(&outputs, &["start E"]);
    assert_eq!(records(&outputs), 4, "framework, two tasks and the run are stored together");
    expect(&driver.master(group(&["b", "a"], 10)), &[]);
    expect(&subscribe(&mut driver), &["E<subscribed", "E<launch together task b, task a"]);
    expect(&driver.master(group(&["c"], 12)), &["E<launch together task c"]);
}

#[test]
fn a_kill_before_delivery_ends_all_of_it() {
    let mut driver = Driver::attached();
    driver.master(group(&["a", "b"], 10));
    driver.master(custom_task("alone", 12));
    let outputs = driver.master(kill("b", 11));
    expect(&outputs, &["a 10 TASK_KILLED latest TASK_KILLED", "b 11 TASK_KILLED latest TASK_KILLED"]);
    expect(&subscribe(&mut driver), &["E<subscribed", "E<launch task alone"]);
}

#[test]
fn a_kill_after_delivery_is_the_executor_s_to_judge() {
    let mut driver = Driver::attached();
    driver.master(group(&["a", "b"], 10));
    subscribe(&mut driver);
    expect(&driver.master(kill("b", 11)), &["E<kill b"]);
}

#[test]
fn what_was_killed_before_it_came_takes_its_group_with_it() {
    let mut driver = Driver::attached();
    expect(&driver.master(kill("a", 10)), &["a 10 TASK_KILLED latest TASK_KILLED"]);
    let outputs = driver.master(group(&["a", "b"], 10));
    expect(&outputs, &["b 11 TASK_DROPPED latest TASK_DROPPED", "E exited -1"]);
}

#[test]
fn a_group_of_which_a_part_is_missing_is_not_started() {
    let mut driver = Driver::attached();
    let MasterMessage::RunTaskGroup(mut part) = group(&["a", "b"], 10) else { panic!("a group") };
    part.tasks.remove(0);
    let outputs = driver.master(MasterMessage::RunTaskGroup(part));
    expect(&outputs, &["b 11 TASK_DROPPED latest TASK_DROPPED", "E exited -1"]);
}

#[test]
fn what_is_wrong_with_one_is_wrong_with_all() {
    let mut driver = Driver::attached();
    let MasterMessage::RunTaskGroup(mut bad) = group(&["a", "b"], 10) else { panic!("a group") };
    bad.tasks[1].refused = Some("not implemented: that".into());
    let outputs = driver.master(MasterMessage::RunTaskGroup(bad));
    let failed = |task, launch| format!("{task} {launch} TASK_FAILED latest TASK_FAILED");
    let exited = || "E exited -1".to_owned();
    assert_eq!(seen(&outputs), [failed("a", 10), exited(), failed("b", 11), exited()]);
}

#[test]
fn a_group_outlives_a_restart_of_its_agent() {
    let mut driver = Driver::attached();
    driver.master(group(&["a", "b"], 10));
    subscribe(&mut driver);
    let run = driver.run_of("E");
    driver.update(&run, "a", 1, TaskState::Running);
    driver.restart();
    let resume = Resume { tasks: vec!["b".into()], updates: Vec::new() };
    let outputs = driver.input(Input::ExecutorSubscribed { run, resume });
    expect(&outputs, &["E<subscribed"]);
    let lives = driver.agent.durable().together(&key("b", 11));
    assert_eq!(lives, [key("a", 10), key("b", 11)]);
}

#[test]
fn a_group_waits_as_one_for_the_end_of_a_former_run() {
    let mut driver = Driver::attached();
    driver.master(custom_task("old", 9));
    let former = driver.run_of("E");
    driver.input(Input::ExecutorSubscribed { run: former.clone(), resume: Resume::default() });
    driver.master(MasterMessage::ShutdownExecutor(former.key()));
    expect(&driver.master(group(&["a", "b"], 10)), &[]);
    let outputs = driver.input(Input::ExecutorExited { run: former, status: 0 });
    assert!(seen(&outputs).contains(&"start E".to_owned()), "{outputs:?}");
    expect(&subscribe(&mut driver), &["E<subscribed", "E<launch together task a, task b"]);
}
