//! Delivery of updates.

use bytes::Bytes;
use mesarch_types::{Millis, TaskState, UpdateUuid};

use crate::{fixture::*, *};

/// An update is stored first; only then does the executor or a master hear of it.
#[test]
fn an_update_is_stored_before_anybody_hears_of_it() {
    let mut driver = Driver::attached();
    let run = driver.running("t", 10);
    let outputs = driver.update(&run, "t", 2, TaskState::Finished);
    assert!(matches!(outputs[0], Output::Persist(Record::Update(..))));
    assert_eq!(records(&outputs), 1);
}

#[test]
fn an_acknowledgement_is_stored_before_forgot_is_told() {
    let mut driver = Driver::attached();
    driver.running("t", 10);
    let outputs = driver.acknowledge("t", 10, 1);
    assert!(matches!(outputs[0], Output::Persist(Record::Acknowledged(..))));
    expect(&outputs, &["forgot t 10 1"]);
    expect(&driver.acknowledge("t", 10, 1), &["forgot t 10 1"]);
}

#[test]
fn an_executor_s_repeat_is_recorded_once_and_acknowledged_twice() {
    let mut driver = Driver::attached();
    let run = driver.running("t", 10);
    let outputs = driver.update(&run, "t", 1, TaskState::Running);
    assert_eq!(records(&outputs), 0);
    expect(&outputs, &["t<ack t 1"]);
    driver.acknowledge("t", 10, 1);
    expect(&driver.update(&run, "t", 1, TaskState::Running), &["t<ack t 1"]);
}

#[test]
fn nothing_follows_the_end() {
    let mut driver = Driver::attached();
    let run = driver.running("t", 10);
    driver.update(&run, "t", 2, TaskState::Finished);
    expect(&driver.update(&run, "t", 3, TaskState::Failed), &["t<ack t 3"]);
    assert_eq!(driver.agent.durable().tasks[&key("t", 10)].state, TaskState::Finished);
}

#[test]
fn an_update_about_an_unknown_task_is_acknowledged_to_the_executor_and_dropped() {
    let mut driver = Driver::attached();
    let run = driver.running("t", 10);
    let outputs = driver.update(&run, "other", 9, TaskState::Running);
    assert_eq!(records(&outputs), 0);
    expect(&outputs, &["t<ack other 9"]);
}

#[test]
fn only_the_oldest_is_outstanding_and_it_carries_the_newest_state() {
    let mut driver = Driver::attached();
    let run = driver.running("t", 10);
    driver.update(&run, "t", 2, TaskState::Finished);
    let outputs = driver.advance(Millis(10_000));
    expect(&outputs, &["t 10 TASK_RUNNING latest TASK_FINISHED"]);
    expect(&driver.acknowledge("t", 10, 2), &[]);
    let outputs = driver.acknowledge("t", 10, 1);
    expect(&outputs, &["forgot t 10 1", "t 10 TASK_FINISHED latest TASK_FINISHED"]);
}

#[test]
fn the_head_is_repeated_at_doubling_intervals_up_to_ten_minutes() {
    let mut driver = Driver::attached();
    driver.running("t", 10);
    let mut times = Vec::new();
    while driver.now < Millis(4_000_000) {
        let wake = driver.agent.next_wake().expect("the head is repeated until acknowledged");
        if !driver.advance(wake).is_empty() {
            times.push(driver.now.0 / 1000);
        }
    }
    assert_eq!(times[..8], [10, 30, 70, 150, 310, 630, 1230, 1830]);
    driver.acknowledge("t", 10, 1);
    assert_eq!(driver.agent.next_wake(), None);
}

#[test]
fn repeats_pause_without_a_leader_and_start_anew_at_the_next_one() {
    let mut driver = Driver::attached();
    driver.running("t", 10);
    driver.advance(Millis(40_000));
    driver.input(Input::LinkClosed { link: driver.links });
    expect(&driver.advance(Millis(700_000)), &[]);
    let outputs = driver.attach(2);
    assert_eq!(seen(&outputs).last().map(String::as_str), Some("t 10 TASK_RUNNING latest TASK_RUNNING"));
    expect(&driver.advance(Millis(709_999)), &[]);
    expect(&driver.advance(Millis(710_000)), &["t 10 TASK_RUNNING latest TASK_RUNNING"]);
}

#[test]
fn an_update_made_twice_because_of_a_crash_has_one_uuid() {
    let made = |driver: &mut Driver| {
        driver.master(MasterMessage::KillTask { key: key("t", 10), policy: Default::default() });
        driver.agent.durable().tasks[&key("t", 10)].updates[0].uuid
    };
    assert_eq!(made(&mut Driver::attached()), made(&mut Driver::attached()));
}

#[test]
fn unacknowledged_updates_are_bounded_and_keep_the_head_and_the_newest() {
    let mut driver = Driver::attached();
    let run = driver.running("t", 10);
    let uuid = |number: usize| {
        let mut bytes = [0xaa; 16];
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        UpdateUuid(bytes)
    };
    for number in 0..3 * UPDATES_MAX {
        let ends = number + 1 == 3 * UPDATES_MAX;
        let state = if ends { TaskState::Finished } else { TaskState::Running };
        let update = ExecutorUpdate { task: "t".into(), uuid: uuid(number), state, status: Bytes::new() };
        driver.input(Input::ExecutorUpdate { run: run.clone(), update });
    }
    let task = &driver.agent.durable().tasks[&key("t", 10)];
    assert_eq!(task.updates.len(), UPDATES_MAX);
    assert_eq!(task.updates[1].uuid, uuid(0), "the first ones stay");
    let last = task.updates.back().expect("some");
    assert_eq!((last.uuid, last.state), (uuid(3 * UPDATES_MAX - 1), TaskState::Finished));
}
