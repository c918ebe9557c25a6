//! Leaders come and go.

use mesarch_proto::{
    link::{from_agent, to_agent},
    mesos::v1::TaskState::*,
};

use tonic::Status;

use crate::{
    master::{Master, status},
    process::{Process, shell},
};

#[tokio::test]
async fn the_agent_goes_to_a_new_leader_and_tells_what_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (Master::leading(1).await, Master::start().await);
    let _agent = Process::start(dir.path(), &[&first, &second]).await;
    first.attach().await;
    first.run(&shell("t", "exec sleep 1000"), 1).await;
    let starting = first.update().await;
    first.follow(2);
    second.lead(2);
    let from_agent::Kind::Attach(attach) = second.attach().await else { panic!("it is known by now") };
    assert_eq!((attach.listed.len(), attach.highest.unwrap().term), (1, 1));
    assert!(first.ends().await, "the link to the old leader ends");
    let again = second.update().await;
    assert_eq!(again.status, starting.status);
    second.acknowledge(&again).await;
    assert_eq!(status(&second.update().await).state(), TaskRunning);
}

#[tokio::test]
async fn a_leader_of_an_earlier_term_is_not_obeyed() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(5).await);
    let _agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&shell("t", "exec sleep 1000"), 1).await;
    master.goes_through(&[TaskStarting, TaskRunning]).await;
    master.send_in(4, to_agent::Kind::ShutdownFramework(Default::default())).await;
    assert!(master.ends().await, "the link is given up");
    let from_agent::Kind::Attach(attach) = master.attach().await else { panic!("comes back") };
    assert_eq!(attach.highest.unwrap().term, 5);
}

#[tokio::test]
async fn a_broken_link_is_opened_again_and_pings_are_answered() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let _agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.hang_up();
    assert!(matches!(master.attach().await, from_agent::Kind::Attach(_)));
    master.send(to_agent::Kind::Ping(mesarch_proto::link::Ping { number: 9 })).await;
    let from_agent::Kind::Pong(pong) = master.next().await else { panic!("answers") };
    assert_eq!(pong.number, 9);
}

#[tokio::test]
async fn an_agent_whose_first_masters_are_another_clusters_ends_and_says_what_to_do() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let mut agent = Process::start(dir.path(), &[&master]).await;
    master.hello().await;
    master.send_away(Status::unavailable("the agent opened a newer link")).await;
    let address = master.address.to_string();
    let away = tokio::spawn(async move {
        loop {
            master.hello().await;
            master.send_away(Status::permission_denied("the agent belongs to another cluster")).await;
        }
    });
    let text = agent.end().await.expect_err("it ends by itself").to_string();
    away.abort();
    for part in [&*dir.path().display().to_string(), &address, "empty work directory"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn an_agent_that_a_stray_master_sends_away_goes_to_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (mut stray, mut own) = (Master::leading(9).await, Master::start().await);
    let _agent = Process::start(dir.path(), &[&stray, &own]).await;
    stray.hello().await;
    own.lead(1);
    stray.send_away(Status::permission_denied("the agent belongs to another cluster")).await;
    own.attach().await;
    stray.lead(10);
    own.send(to_agent::Kind::Ping(mesarch_proto::link::Ping { number: 3 })).await;
    let from_agent::Kind::Pong(pong) = own.next().await else { panic!("answers") };
    assert_eq!(pong.number, 3);
}

#[tokio::test]
async fn an_agent_that_was_taken_once_waits_for_its_own_masters() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let _agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    for _ in 0..2 {
        master.send_away(Status::permission_denied("the agent belongs to another cluster")).await;
        assert!(matches!(master.attach().await, from_agent::Kind::Attach(_)), "it asks again");
    }
}

#[tokio::test]
async fn without_an_answer_to_its_registration_the_agent_asks_with_the_same_nonce() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    let from_agent::Kind::Register(first) = master.hello().await else { panic!("registers") };
    master.hang_up();
    let from_agent::Kind::Register(second) = master.hello().await else { panic!("registers again") };
    let _agent = agent.restart().await;
    let from_agent::Kind::Register(third) = master.hello().await else { panic!("registers again") };
    assert_eq!((&first.nonce, &first.nonce), (&second.nonce, &third.nonce));
}
