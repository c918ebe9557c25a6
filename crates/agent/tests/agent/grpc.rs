//! The agent's services over gRPC: an executor's whole life, operators, health.

use bytes::Bytes;
use mesarch_proto::{
    api::{agent_operator_client::AgentOperatorClient, executor_client::ExecutorClient},
    mesos::v1::{
        CommandInfo, ExecutorId, ExecutorInfo, FrameworkId, TaskId, TaskInfo, TaskState, TaskStatus, agent,
        executor::{Call, Event, call, event},
        task_status,
    },
};
use tokio::time::timeout;
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    master::{DEADLINE, FRAMEWORK, Master, status},
    process::{Process, shell},
};

async fn channel(agent: &Process) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", agent.address)).unwrap();
    timeout(DEADLINE, endpoint.connect()).await.expect("in time").unwrap()
}

fn of(kind: call::Type) -> Call {
    Call {
        executor_id: ExecutorId { value: "E".into() },
        framework_id: FrameworkId { value: FRAMEWORK.into() },
        r#type: Some(kind as i32),
        ..Call::default()
    }
}

fn update(state: TaskState) -> Call {
    let status = TaskStatus {
        task_id: TaskId { value: "t".into() },
        state: state as i32,
        source: Some(task_status::Source::Executor as i32),
        uuid: Some(Bytes::from_static(&[7; 16])),
        ..TaskStatus::default()
    };
    Call { update: Some(call::Update { status }), ..of(call::Type::Update) }
}

/// A task whose executor is a process that does nothing; the test speaks for it.
fn custom() -> TaskInfo {
    let executor = ExecutorInfo {
        executor_id: ExecutorId { value: "E".into() },
        command: Some(CommandInfo { value: Some("exec sleep 1000".into()), ..Default::default() }),
        ..Default::default()
    };
    TaskInfo { command: None, executor: Some(executor), ..shell("t", "") }
}

async fn next(events: &mut Streaming<Event>, kind: event::Type) -> Event {
    let event = timeout(DEADLINE, events.message()).await.expect("in time").unwrap().expect("an event");
    assert_eq!(event.r#type(), kind);
    event
}

#[tokio::test]
async fn an_executor_speaks_grpc_by_the_same_rules() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let mut agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    let mut client = ExecutorClient::new(channel(&agent).await);
    let subscribe = || Call { subscribe: Some(call::Subscribe::default()), ..of(call::Type::Subscribe) };
    let unknown = client.subscribe(subscribe()).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::NotFound, "Framework cannot be found"));
    master.run(&custom(), 1).await;
    let mut events = loop {
        match client.subscribe(subscribe()).await {
            Ok(stream) => break stream.into_inner(),
            Err(refused) => assert_eq!(refused.code(), Code::NotFound, "{refused}"),
        }
    };
    let subscribed = next(&mut events, event::Type::Subscribed).await.subscribed.unwrap();
    assert_eq!(subscribed.executor_info.executor_id.value, "E");
    next(&mut events, event::Type::Launch).await;
    client.submit(update(TaskState::TaskRunning)).await.expect("accepted");
    assert_eq!(status(&master.update().await).state(), TaskState::TaskRunning);
    let acknowledged = next(&mut events, event::Type::Acknowledged).await.acknowledged.unwrap();
    assert_eq!(acknowledged.uuid[..], [7; 16]);

    for (call, code) in [
        (of(call::Type::Heartbeat), None),
        (of(call::Type::Unknown), Some(Code::Unimplemented)),
        (of(call::Type::Update), Some(Code::InvalidArgument)),
        (update(TaskState::TaskStaging), Some(Code::InvalidArgument)),
        (subscribe(), Some(Code::InvalidArgument)),
    ] {
        let answer = client.submit(call.clone()).await;
        assert_eq!(answer.err().map(|refused| refused.code()), code, "{call:?}");
    }
    let refused = client.subscribe(of(call::Type::Heartbeat)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    // An agent that stops ends the stream in order: the executor moves on.
    agent.stop().await;
    assert_eq!(timeout(DEADLINE, events.message()).await.expect("in time").unwrap(), None);
}

#[tokio::test]
async fn operators_of_an_agent_speak_grpc_and_see_its_health() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    let channel = channel(&agent).await;
    let mut client = AgentOperatorClient::new(channel.clone());
    let of = |kind: agent::call::Type| agent::Call { r#type: Some(kind as i32), ..Default::default() };
    let answer = client.submit(of(agent::call::Type::GetAgent)).await.unwrap().into_inner();
    assert_eq!(answer.r#type(), agent::response::Type::GetAgent);
    assert!(answer.get_agent.unwrap().agent_info.is_some());
    for (kind, code) in [
        (agent::call::Type::Unknown, Code::Unimplemented),
        (agent::call::Type::ReadFile, Code::InvalidArgument),
    ] {
        assert_eq!(client.submit(of(kind)).await.unwrap_err().code(), code, "{kind:?}");
    }
    let missing = agent::call::ReadFile { path: "/nothing".into(), ..Default::default() };
    let call = agent::Call { read_file: Some(missing), ..of(agent::call::Type::ReadFile) };
    let refused = client.submit(call).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "no such file"));

    let mut health = HealthClient::new(channel);
    for (service, expect) in [
        ("", Some(ServingStatus::Serving)),
        ("mesarch.api.Executor", Some(ServingStatus::Serving)),
        ("mesarch.api.AgentOperator", Some(ServingStatus::Serving)),
        ("mesarch.api.Scheduler", None),
    ] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await;
        assert_eq!(answer.ok().map(|answer| answer.into_inner().status()), expect, "{service}");
    }
}
