use std::time::Duration;

use tokio::sync::mpsc;

use super::session::Session;
use super::{Environment, Event, Executor, status};
use crate::ContentType;
use crate::scheduler::fake_master::{FakeMaster, FakeRequest};
use crate::v1;
use crate::v1::executor::{Call, Event as Wire, call, event};

fn environment(agent: &str, checkpoint: &str) -> Environment {
    let variables = [
        ("MESOS_AGENT_ENDPOINT", agent),
        ("MESOS_FRAMEWORK_ID", "F"),
        ("MESOS_EXECUTOR_ID", "E"),
        ("MESOS_CHECKPOINT", checkpoint),
    ];
    Environment::from_variables(|name| {
        variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
    })
    .unwrap()
}

fn read(request: &FakeRequest) -> Call {
    mesarch_mesos_v1::decode(ContentType::Protobuf, &request.body).unwrap()
}

fn of_type(kind: event::Type) -> Wire {
    Wire { r#type: Some(kind as i32), ..Wire::default() }
}

async fn subscribe(request: &FakeRequest) {
    request.stream("").await;
    let subscribed = event::Subscribed {
        executor_info: v1::ExecutorInfo::default(),
        framework_info: v1::FrameworkInfo::default(),
        agent_info: v1::AgentInfo::default(),
        container_id: None,
    };
    request.record(&Wire { subscribed: Some(subscribed), ..of_type(event::Type::Subscribed) }).await;
}

async fn launch(stream: &FakeRequest, id: &str) -> v1::TaskId {
    let task_id = v1::TaskId { value: id.to_owned() };
    let task = v1::TaskInfo { task_id: task_id.clone(), ..v1::TaskInfo::default() };
    stream.record(&Wire { launch: Some(event::Launch { task }), ..of_type(event::Type::Launch) }).await;
    task_id
}

#[tokio::test]
async fn what_is_not_acknowledged_is_told_to_a_restarted_agent() {
    let mut agent = FakeMaster::start().await;
    let mut executor = Executor::start(environment(&agent.address, "1"), ContentType::Protobuf);
    let stream = agent.request().await;
    subscribe(&stream).await;
    assert!(matches!(executor.next().await.unwrap(), Event::Subscribed(_)));
    let first = launch(&stream, "first").await;
    let second = launch(&stream, "second").await;
    for _ in 0..2 {
        assert!(matches!(executor.next().await.unwrap(), Event::Launch(_)));
    }
    let running = executor.calls().update(status(&first, v1::TaskState::TaskRunning)).await.unwrap();
    let sent = agent.request().await;
    let update = read(&sent).update.unwrap();
    assert_eq!(update.status.uuid, Some(running.clone()));
    assert_eq!(update.status.source(), v1::task_status::Source::Executor);
    sent.answer("202 Accepted", "", "").await;
    let acknowledged = event::Acknowledged { task_id: first.clone(), uuid: running };
    let record = Wire { acknowledged: Some(acknowledged), ..of_type(event::Type::Acknowledged) };
    stream.record(&record).await;
    assert!(matches!(executor.next().await.unwrap(), Event::Acknowledged { .. }));
    let finished = executor.calls().update(status(&first, v1::TaskState::TaskFinished)).await.unwrap();
    agent.request().await.answer("202 Accepted", "", "").await;

    drop(stream);
    assert!(matches!(executor.next().await.unwrap(), Event::Disconnected { .. }));
    let again = read(&agent.request().await).subscribe.unwrap();
    assert_eq!(again.unacknowledged_tasks.len(), 1);
    assert_eq!(again.unacknowledged_tasks[0].task_id, second);
    assert_eq!(again.unacknowledged_updates.len(), 1);
    assert_eq!(again.unacknowledged_updates[0].status.uuid, Some(finished));
}

#[tokio::test]
async fn an_executor_of_a_framework_that_does_not_checkpoint_ends_with_its_agent() {
    let mut agent = FakeMaster::start().await;
    let mut executor = Executor::start(environment(&agent.address, "0"), ContentType::Protobuf);
    let stream = agent.request().await;
    subscribe(&stream).await;
    assert!(matches!(executor.next().await.unwrap(), Event::Subscribed(_)));
    drop(stream);
    assert!(matches!(executor.next().await.unwrap(), Event::Disconnected { .. }));
    assert!(matches!(executor.next().await.unwrap_err(), super::Ended::AgentLost(_)));
}

#[tokio::test]
async fn an_agent_that_answers_and_does_not_greet_is_asked_again() {
    let mut agent = FakeMaster::start().await;
    let (event_sender, mut events) = mpsc::channel(1);
    let (_calls, call_queue) = mpsc::channel(1);
    let environment = environment(&agent.address, "1");
    let session = Session::new(environment, ContentType::Protobuf, event_sender, call_queue);
    let running = tokio::spawn(session.subscribed_within(Duration::from_millis(20)).run());
    let mute = agent.request().await;
    mute.stream("").await;
    let again = agent.request().await;
    assert_eq!(read(&again).r#type(), call::Type::Subscribe);
    subscribe(&again).await;
    assert!(matches!(events.recv().await, Some(Event::Subscribed(_))), "nobody was told of the mute one");
    running.abort();
}

#[tokio::test]
async fn an_update_made_while_the_agent_is_away_is_sent_when_it_is_back() {
    let mut agent = FakeMaster::start().await;
    let executor = Executor::start(environment(&agent.address, "1"), ContentType::Protobuf);
    let task = v1::TaskId { value: "t".to_owned() };
    let uuid = executor.calls().update(status(&task, v1::TaskState::TaskFinished)).await.unwrap();
    agent.request().await.answer("503 Service Unavailable", "", "Agent has not finished recovery").await;
    let stream = agent.request().await;
    subscribe(&stream).await;
    let sent = agent.request().await;
    assert_eq!(read(&sent).r#type(), call::Type::Update);
    assert_eq!(read(&sent).update.unwrap().status.uuid, Some(uuid));
}
