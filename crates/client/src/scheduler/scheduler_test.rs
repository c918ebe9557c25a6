use std::time::Duration;

use bytes::Bytes;
use mesarch_proto::link::{
    self,
    agent_link_server::{AgentLink, AgentLinkServer},
};
use tokio::time::timeout;

use super::fake_master::{FakeMaster, FakeRequest, of_type};
use super::{Calls, Event, Options, Scheduler};
use crate::build::framework;
use crate::error::{CallError, Ended, Retry};
use crate::v1;
use crate::v1::scheduler::{call, event};

const WITHIN: Duration = Duration::from_secs(10);

/// Subscribes to `master`; the stream lives as long as the returned request.
async fn subscribed(master: &mut FakeMaster) -> (Scheduler, FakeRequest) {
    subscribed_with(Options::new(vec![master.address.clone()], framework("f")), master).await
}

async fn subscribed_with(options: Options, master: &mut FakeMaster) -> (Scheduler, FakeRequest) {
    let connect = tokio::spawn(Scheduler::connect(options));
    let stream = master.request().await;
    stream.subscribed("s1", "F1").await;
    let mut scheduler = connect.await.unwrap().unwrap();
    let Event::Subscribed { framework, resumed, .. } = scheduler.next().await.unwrap() else {
        panic!("SUBSCRIBED comes first");
    };
    assert_eq!((framework.value.as_str(), resumed), ("F1", false));
    (scheduler, stream)
}

fn launch(calls: &Calls) -> tokio::task::JoinHandle<Result<(), CallError>> {
    let calls = calls.clone();
    tokio::spawn(async move { calls.launch([v1::OfferId { value: "O1".to_owned() }], []).await })
}

fn update(uuid: &[u8; 16]) -> v1::scheduler::Event {
    let status = v1::TaskStatus {
        task_id: v1::TaskId { value: "t".to_owned() },
        agent_id: Some(v1::AgentId { value: "S1".to_owned() }),
        state: v1::TaskState::TaskRunning as i32,
        uuid: Some(Bytes::copy_from_slice(uuid)),
        ..v1::TaskStatus::default()
    };
    v1::scheduler::Event { update: Some(event::Update { status }), ..of_type(event::Type::Update) }
}

#[tokio::test]
async fn a_redirect_is_followed_and_calls_carry_the_stream_id() {
    let mut follower = FakeMaster::start().await;
    let mut leader = FakeMaster::start().await;
    let options = Options::new(vec![follower.address.clone()], framework("f"));
    let connect = tokio::spawn(Scheduler::connect(options));
    let location = format!("location: //{}/master/api/v1/scheduler\r\n", leader.address);
    follower.request().await.answer("307 Temporary Redirect", &location, "").await;
    let stream = leader.request().await;
    assert_eq!(stream.header("mesarch-resume"), None);
    stream.subscribed("s1", "F1").await;
    let scheduler = connect.await.unwrap().unwrap();
    let launched = launch(&scheduler.calls());
    let accept = leader.request().await;
    assert_eq!(accept.header("mesos-stream-id"), Some("s1"));
    assert_eq!(accept.call().framework_id.unwrap().value, "F1");
    accept.answer("202 Accepted", "", "").await;
    launched.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broken_stream_is_resumed_with_its_id_and_the_frameworks() {
    let mut master = FakeMaster::start().await;
    let (mut scheduler, stream) = subscribed(&mut master).await;
    drop(stream);
    assert!(matches!(scheduler.next().await.unwrap(), Event::Disconnected { .. }));
    let again = master.request().await;
    assert_eq!(again.header("mesarch-resume"), Some("s1"));
    let call = again.call();
    assert_eq!(call.framework_id.unwrap().value, "F1");
    assert_eq!(call.subscribe.unwrap().framework_info.id.unwrap().value, "F1");
    again.subscribed("s1", "F1").await;
    let Event::Subscribed { resumed, .. } = scheduler.next().await.unwrap() else {
        panic!("subscribed again")
    };
    assert!(resumed, "the same stream id means that the stream goes on");
}

#[tokio::test]
async fn an_update_is_acknowledged_when_the_next_event_is_asked_for() {
    let mut master = FakeMaster::start().await;
    let (mut scheduler, stream) = subscribed(&mut master).await;
    stream.record(&update(&[7; 16])).await;
    let Event::Update(status) = scheduler.next().await.unwrap() else { panic!("an update") };
    assert!(timeout(Duration::from_millis(50), scheduler.next()).await.is_err(), "no further event");
    let acknowledge = master.request().await;
    let call = acknowledge.call();
    assert_eq!(call.r#type(), call::Type::Acknowledge);
    assert_eq!(Some(call.acknowledge.unwrap().uuid), status.uuid);
    acknowledge.answer("202 Accepted", "", "").await;
}

#[tokio::test]
async fn a_launch_whose_answer_is_lost_is_not_repeated_but_a_decline_is() {
    let mut master = FakeMaster::start().await;
    let (scheduler, _stream) = subscribed(&mut master).await;
    let launched = launch(&scheduler.calls());
    drop(master.request().await);
    let error = launched.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::OutcomeUnknown { .. }), "{error}");

    let calls = scheduler.calls();
    let declined =
        tokio::spawn(async move { calls.decline([v1::OfferId { value: "O1".to_owned() }], None).await });
    drop(master.request().await);
    let second = master.request().await;
    assert_eq!(second.call().r#type(), call::Type::Decline);
    second.answer("202 Accepted", "", "").await;
    declined.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_busy_leader_is_asked_again_and_a_refusal_is_final() {
    let mut master = FakeMaster::start().await;
    let (scheduler, _stream) = subscribed(&mut master).await;
    let launched = launch(&scheduler.calls());
    master.request().await.answer("503 Service Unavailable", "retry-after: 0\r\n", "busy").await;
    master.request().await.answer("202 Accepted", "", "").await;
    launched.await.unwrap().unwrap();

    let launched = launch(&scheduler.calls());
    master.request().await.answer("400 Bad Request", "", "no such offer form").await;
    match launched.await.unwrap().unwrap_err() {
        CallError::Refused { status: 400, reason } => assert_eq!(reason, "no such offer form"),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_leader_that_is_full_is_named_with_its_advice_once_time_is_up() {
    let master = FakeMaster::start().await;
    let (mut options, mut master) = (Options::new(vec![master.address.clone()], framework("f")), master);
    // Less than the leader asks for: there is no time for a third try.
    options.call_max = Duration::from_secs(2);
    let (scheduler, _stream) = subscribed_with(options, &mut master).await;
    let launched = launch(&scheduler.calls());
    let full = |seconds: u32| format!("retry-after: {seconds}\r\nmesarch-full: disk space\r\n");
    master.request().await.answer("503 Service Unavailable", &full(0), "no room").await;
    master.request().await.answer("503 Service Unavailable", &full(3600), "no room").await;
    let error = launched.await.unwrap().unwrap_err();
    let CallError::Full { what, reason, .. } = &error else { panic!("{error}") };
    assert_eq!((what.as_str(), reason.as_str()), ("disk space", "no room"));
    assert_eq!(error.retry(), Retry::SameNode);
    // What it asks for is bounded, however much that is.
    assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
}

#[tokio::test]
async fn without_the_word_that_nothing_was_done_a_launch_is_not_repeated() {
    let mut master = FakeMaster::start().await;
    let (scheduler, _stream) = subscribed(&mut master).await;
    let launched = launch(&scheduler.calls());
    master.request().await.answer("503 Service Unavailable", "", "the outcome is unknown").await;
    let error = launched.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::OutcomeUnknown { .. }), "{error}");
}

#[tokio::test]
async fn a_call_made_between_two_leaders_waits_for_the_next() {
    let mut master = FakeMaster::start().await;
    let (mut scheduler, stream) = subscribed(&mut master).await;
    drop(stream);
    assert!(matches!(scheduler.next().await.unwrap(), Event::Disconnected { .. }));
    let launched = launch(&scheduler.calls());
    let again = master.request().await;
    assert_eq!(again.call().r#type(), call::Type::Subscribe, "no call goes out without a subscription");
    again.subscribed("s2", "F1").await;
    let accept = master.request().await;
    assert_eq!(accept.header("mesos-stream-id"), Some("s2"));
    accept.answer("202 Accepted", "", "").await;
    launched.await.unwrap().unwrap();
}

#[tokio::test]
async fn error_ends_the_subscription_for_good() {
    let mut master = FakeMaster::start().await;
    let (mut scheduler, stream) = subscribed(&mut master).await;
    let error = event::Error { message: "Framework has been removed".to_owned() };
    stream.record(&v1::scheduler::Event { error: Some(error), ..of_type(event::Type::Error) }).await;
    let expect = Ended::Refused("Framework has been removed".to_owned());
    assert_eq!(scheduler.next().await.unwrap_err(), expect);
    let Err(CallError::Ended(ended)) = scheduler.calls().revive(&[]).await else { panic!("calls end too") };
    assert_eq!(ended, expect);
}

#[tokio::test]
async fn silence_for_several_heartbeats_counts_as_a_lost_leader() {
    let mut master = FakeMaster::start().await;
    let mut options = Options::new(vec![master.address.clone()], framework("f"));
    options.heartbeats_missed_max = 1;
    let connect = tokio::spawn(Scheduler::connect(options));
    let stream = master.request().await;
    stream.stream("mesos-stream-id: s1\r\n").await;
    let subscribed = event::Subscribed {
        framework_id: v1::FrameworkId { value: "F1".to_owned() },
        heartbeat_interval_seconds: Some(0.05),
        master_info: None,
    };
    let record = v1::scheduler::Event { subscribed: Some(subscribed), ..of_type(event::Type::Subscribed) };
    stream.record(&record).await;
    let mut scheduler = connect.await.unwrap().unwrap();
    assert!(matches!(scheduler.next().await.unwrap(), Event::Subscribed { .. }));
    let broken = timeout(WITHIN, scheduler.next()).await.expect("noticed in time").unwrap();
    assert!(matches!(broken, Event::Disconnected { .. }), "{broken:?}");
}

#[tokio::test]
async fn nobody_home_is_told_with_the_addresses_and_the_cause() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut options = Options::new(vec![address.clone()], framework("f"));
    options.connect_max = Duration::from_millis(100);
    let error = Scheduler::connect(options).await.unwrap_err();
    assert!(matches!(&error, Ended::NoLeader { masters, .. } if *masters == address), "{error}");
}

/// A master that only tells who leads.
struct Teller(tokio::sync::watch::Receiver<link::LeaderChange>);

#[tonic::async_trait]
impl AgentLink for Teller {
    type ConnectStream = futures::stream::Empty<Result<link::ToAgent, tonic::Status>>;
    type WatchLeaderStream = futures::stream::BoxStream<'static, Result<link::LeaderChange, tonic::Status>>;

    async fn connect(
        &self,
        _: tonic::Request<tonic::Streaming<link::FromAgent>>,
    ) -> Result<tonic::Response<Self::ConnectStream>, tonic::Status> {
        Err(tonic::Status::unimplemented("it only tells who leads"))
    }

    async fn watch_leader(
        &self,
        _: tonic::Request<link::WatchLeaderRequest>,
    ) -> Result<tonic::Response<Self::WatchLeaderStream>, tonic::Status> {
        let changes = futures::stream::unfold(self.0.clone(), async |mut changes| {
            changes.changed().await.ok()?;
            let now = changes.borrow_and_update().clone();
            Some((Ok(now), changes))
        });
        Ok(tonic::Response::new(Box::pin(changes)))
    }
}

/// Serves on a kernel's port; the address and who is to be named.
async fn start_teller() -> (String, tokio::sync::watch::Sender<link::LeaderChange>) {
    let (sender, receiver) = tokio::sync::watch::channel(link::LeaderChange::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let service = AgentLinkServer::new(Teller(receiver));
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (address, sender)
}

#[tokio::test]
async fn a_leader_that_died_without_a_word_is_left_when_another_master_names_the_next() {
    let (mut dead, mut next) = (FakeMaster::start().await, FakeMaster::start().await);
    let (teller, leads) = start_teller().await;
    leads.send_replace(link::LeaderChange { term: 1, leader: dead.address.clone(), ..Default::default() });
    // Only the teller can be asked at first; the others come by redirect.
    let options = Options::new(vec![teller, dead.address.clone()], framework("f"));
    let connect = tokio::spawn(Scheduler::connect(options));
    let stream = dead.request().await;
    stream.subscribed("s1", "F1").await;
    let mut scheduler = connect.await.unwrap().unwrap();
    assert!(matches!(scheduler.next().await.unwrap(), Event::Subscribed { .. }));
    leads.send_replace(link::LeaderChange { term: 2, leader: next.address.clone(), ..Default::default() });
    let Event::Disconnected { reason } = scheduler.next().await.unwrap() else {
        panic!("the stream is given up")
    };
    assert!(reason.contains(&next.address), "{reason}");
    let again = next.request().await;
    assert_eq!(again.header("mesarch-resume"), Some("s1"));
    again.subscribed("s1", "F1").await;
    assert!(matches!(scheduler.next().await.unwrap(), Event::Subscribed { resumed: true, .. }));
    drop(stream);
}
