//! What a new leader is told.

use mesarch_types::{
    Millis, TaskState,
    digest::{SetHash, task_hash},
};

use crate::{fixture::*, *};

fn hello(driver: &mut Driver) -> Hello {
    driver.links += 1;
    let outputs = driver.input(Input::LinkOpened { link: driver.links });
    match outputs.as_slice() {
        [Output::ToMaster(ToMaster::Hello(hello))] => (**hello).clone(),
        other => panic!("not a hello: {other:?}"),
    }
}

fn sum(tasks: &[(TaskKey, u8)]) -> SetHash {
    let mut sum = SetHash::default();
    for (key, acknowledged) in tasks {
        sum.insert(task_hash(&key.framework, &key.task, key.launch, Some(uuid(*acknowledged))));
    }
    sum
}

#[test]
fn a_new_agent_registers_and_stores_its_id() {
    let mut driver = Driver::fresh();
    assert_eq!(hello(&mut driver).agent, None);
    let outputs = driver.master_in(1, MasterMessage::Attached("S0".into()));
    assert!(outputs.contains(&Output::Persist(Record::Identity("S0".into()))));
    driver.restart();
    assert_eq!(hello(&mut driver).agent, Some("S0".into()));
}

#[test]
fn another_id_is_refused() {
    let mut driver = Driver::attached();
    hello(&mut driver);
    let outputs = driver.master_in(1, MasterMessage::Attached("S1".into()));
    expect(&outputs, &["close link: the leader gave another agent id than the stored one"]);
    assert!(!driver.agent.attached());
}

#[test]
fn settled_tasks_are_in_the_digest_and_the_others_listed() {
    let mut driver = Driver::attached();
    driver.running("quiet", 10);
    driver.acknowledge("quiet", 10, 1);
    driver.running("unacknowledged", 11);
    driver.master(run_task("launching", 12));
    driver.now = Millis(10_000);
    driver.input(Input::LinkClosed { link: driver.links });
    let hello = hello(&mut driver);
    assert_eq!(hello.digest, sum(&[(key("quiet", 10), 1)]));
    assert_eq!(hello.listed, [key("launching", 12), key("unacknowledged", 11)]);
    assert!(!hello.inventory_wanted);
}

#[test]
fn what_was_forgotten_just_before_the_link_broke_is_told_again_and_not_listed() {
    let mut driver = Driver::attached();
    let run = driver.running("t", 10);
    driver.acknowledge("t", 10, 1);
    driver.update(&run, "t", 2, TaskState::Finished);
    driver.acknowledge("t", 10, 2);
    driver.input(Input::LinkClosed { link: driver.links });
    driver.now = Millis(60_000);
    // The masters compare with and without what they know to be on its way to be forgotten.
    let said = hello(&mut driver);
    assert_eq!((said.listed, said.digest), (Vec::new(), SetHash::default()));
    let outputs = driver.master_in(2, MasterMessage::Attached("S0".into()));
    expect(&outputs, &["forgot t 10 2"]);
    driver.now = Millis(120_000);
    driver.input(Input::LinkClosed { link: driver.links });
    assert_eq!(hello(&mut driver).listed, []);
}

#[test]
fn the_end_of_an_executor_is_told_on_every_link_until_it_is_noted() {
    let mut driver = Driver::attached();
    driver.master(custom_task("a", 10));
    let run = driver.run_of("E");
    driver.input(Input::ExecutorExited { run, status: 0 });
    let executor = ExecutorKey::new(&framework(), &"E".into());
    for noted in [None, Some(9), Some(10), None] {
        // However long the dead link went unnoticed.
        driver.now = Millis(driver.now.0 + 60_000);
        driver.input(Input::LinkClosed { link: driver.links });
        assert!(!hello(&mut driver).inventory_wanted);
        let outputs = driver.master_in(1, MasterMessage::Attached("S0".into()));
        let told = outputs.iter().any(|output| {
            matches!(output, Output::ToMaster(ToMaster::ExecutorExited { newest, .. }) if *newest == key("a", 10).launch)
        });
        assert_eq!(told, driver.now < Millis(240_000), "at {:?}", driver.now);
        if let Some(index) = noted {
            let newest = key("a", index).launch;
            driver.master(MasterMessage::ExecutorExitNoted { executor: executor.clone(), newest });
        }
    }
}

#[test]
fn a_restarted_agent_and_one_with_many_open_tasks_ask_for_the_inventory() {
    let mut driver = Driver::attached();
    driver.restart();
    assert!(hello(&mut driver).inventory_wanted);
    driver.master_in(1, MasterMessage::Attached("S0".into()));
    assert!(!hello(&mut driver).inventory_wanted);
    driver.master_in(1, MasterMessage::Attached("S0".into()));
    for number in 0..=LISTED_MAX as u64 {
        driver.master(run_task(&format!("t{number}"), 100 + number));
    }
    assert!(hello(&mut driver).inventory_wanted);
}

#[test]
fn the_inventory_says_everything_that_can_be_adopted() {
    let mut driver = Driver::attached();
    driver.running("t", 10);
    driver.acknowledge("t", 10, 1);
    driver.master(custom_task("a", 11));
    driver.master(MasterMessage::KillTask { key: key("unknown", 12), policy: Default::default() });
    let inventory = driver.agent.inventory();
    let tasks: Vec<_> = inventory.tasks.iter().map(|task| (task.key.clone(), task.state)).collect();
    assert_eq!(tasks, [(key("a", 11), TaskState::Staging), (key("t", 10), TaskState::Running)]);
    assert_eq!(inventory.tasks[1].acknowledged, Some(uuid(1)));
    assert_eq!(inventory.executors.len(), 1, "the command executor is not reported");
    assert_eq!(inventory.frameworks.len(), 1);
    expect(&driver.master(MasterMessage::InventoryRequest), &["inventory of 2"]);
}
