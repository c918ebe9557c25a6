//! What is told of the agent's resources is stored, made real and confirmed, in this order.

use std::sync::Arc;

use mesarch_types::{Disk, Epoch, Resource, ResourceVersion, Resources, Role, TaskState, parse_resources};

use crate::{fixture::*, *};

fn r(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("well-formed")
}

fn volume(id: &str, text: &str) -> Resources {
    let disk = Disk { persistence_id: Some(id.into()), ..Disk::default() };
    let below = r(text);
    let below = below.iter().next().expect("one").clone();
    Resources::new([Resource { disk: Some(Arc::new(disk)), ..below }]).expect("one")
}

fn told(incarnation: u64, epoch: u64, made: &Resources) -> MasterMessage {
    let version = ResourceVersion { incarnation, epoch: Epoch(epoch) };
    let facts = ResourceFacts { version, taken: r("disk:9"), made: made.clone(), gone: Resources::default() };
    MasterMessage::Resources(facts)
}

#[test]
fn what_is_told_is_stored_before_volumes_and_volumes_before_the_answer() {
    let mut driver = Driver::attached();
    let made = volume("v", "disk(eng,op):9");
    let outputs = driver.master(told(1, 5, &made));
    assert!(matches!(outputs[0], Output::Persist(Record::Resources(_))), "{outputs:?}");
    expect(&outputs, &["volumes disk(eng,op)[v]:9 not ", "stored 5"]);
    expect(&driver.master(told(1, 5, &made)), &["stored 5"]);
    expect(&driver.restart(), &["volumes disk(eng,op)[v]:9 not "]);
    driver.attach(2);
    expect(
        &driver.master(told(1, 7, &r("cpus(eng,op):1"))),
        &["volumes cpus(eng,op):1 not disk(eng,op)[v]:9", "stored 7"],
    );
    expect(&driver.restart(), &["volumes cpus(eng,op):1 not disk(eng,op)[v]:9"]);
    driver.attach(3);
    expect(&driver.master(told(1, 9, &r("cpus(eng,op):2"))), &["stored 9"]);
}

#[test]
fn a_volume_of_another_size_is_the_same_volume() {
    let mut driver = Driver::attached();
    driver.master(told(1, 5, &volume("v", "disk(eng,op):9")));
    let outputs = driver.master(told(1, 6, &volume("v", "disk(eng,op):4")));
    expect(&outputs, &["volumes disk(eng,op)[v]:4 not ", "stored 6"]);
}

#[test]
fn a_restored_cluster_is_obeyed_but_does_not_wipe_what_it_does_not_know() {
    let mut driver = Driver::attached();
    driver.master(told(1, 5, &volume("v", "disk(eng,op):9")));
    expect(&driver.master(told(2, 3, &Resources::default())), &["stored 3"]);
    assert_eq!(driver.agent.durable().resources.version.epoch, Epoch(3));
}

#[test]
fn what_is_stored_is_said_on_every_link_and_in_the_inventory() {
    let mut driver = Driver::attached();
    assert_eq!(driver.agent.inventory().resources, None);
    driver.master(told(1, 5, &r("cpus(eng,op):1")));
    driver.links += 1;
    let outputs = driver.input(Input::LinkOpened { link: driver.links });
    let [Output::ToMaster(ToMaster::Hello(hello))] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!(hello.stored, ResourceVersion { incarnation: 1, epoch: Epoch(5) });
    let resources = driver.agent.inventory().resources.expect("told");
    assert_eq!((resources.version, resources.made), (hello.stored, r("cpus(eng,op):1")));
    let mut copy = Durable::default();
    driver.agent.snapshot().iter().for_each(|record| copy.apply(record));
    assert_eq!(copy, *driver.agent.durable());
}

#[test]
fn a_task_without_its_volume_is_dropped() {
    let task = |name: &str, number, converted: &Resources| {
        let launch = RunTask { converted: converted.clone(), ..launch(name, number) };
        MasterMessage::RunTask(Box::new(launch))
    };
    let volume = volume("v", "disk(eng,op):9");
    let mut driver = Driver::attached();
    let never_told = driver.master(task("a", 1, &volume));
    assert!(
        seen(&never_told).contains(&"start a".to_owned()),
        "a cluster that does not tell: {never_told:?}"
    );
    driver.master(told(1, 5, &r("cpus(eng,op):1")));
    let dropped = driver.master(task("b", 2, &volume));
    let state = TaskState::Dropped.name();
    expect(&dropped, &[&format!("b 2 {state} latest {state}")]);
    driver.master(told(1, 6, &volume.checked_add(&r("cpus(eng,op):1")).expect("fits")));
    let started = driver.master(task("c", 3, &volume));
    assert!(seen(&started).contains(&"start c".to_owned()), "{started:?}");
}
