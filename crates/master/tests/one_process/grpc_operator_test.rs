//! Operators over gRPC: the answers and refusals of HTTP; deadlines, health and reflection.

use std::{collections::BTreeSet, net::SocketAddr};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use mesarch_edge::Raw;
use mesarch_proto::{
    api::operator_client::OperatorClient,
    mesos::v1::{
        AgentId, WeightInfo,
        master::{Call, Response, call, event},
    },
};
use prost::Message;
use serde_json::json;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    agent::FakeAgent,
    client::{JSON, Reply, Scheduler, framework_info, get, request},
    cluster::{Cluster, soon, wait_for},
};

const SUBMIT: &str = "/mesarch.api.Operator/Submit";
const PROTOBUF: (&str, &str) = ("Accept", "application/x-protobuf");

async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
    soon("a channel", endpoint.connect()).await.expect("a channel")
}

async fn operator(address: SocketAddr) -> OperatorClient<Channel> {
    OperatorClient::new(channel(address).await)
}

fn of(kind: call::Type) -> Call {
    Call { r#type: Some(kind as i32), ..Call::default() }
}

/// Over HTTP.
async fn post(address: SocketAddr, call: &serde_json::Value) -> Reply {
    request(address, "POST", "/api/v1", &[JSON, PROTOBUF], call.to_string().as_bytes()).await
}

/// Over gRPC, as the bytes that they are.
async fn submit(address: SocketAddr, call: &Call) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel(address).await);
    client.ready().await.expect("a connection");
    let request = Request::new(Bytes::from(call.encode_to_vec()));
    let answer = client.unary(request, PathAndQuery::from_static(SUBMIT), Raw);
    Ok(soon("an answer", answer).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_read_the_same_bytes_over_grpc_as_over_http() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let _agent = FakeAgent::register(address).await;
    let _scheduler = Scheduler::subscribe(address, framework_info("one"), &[]).await;
    for kind in [
        call::Type::GetHealth,
        call::Type::GetVersion,
        call::Type::GetFlags,
        call::Type::GetLoggingLevel,
        call::Type::GetMaster,
        call::Type::GetState,
        call::Type::GetAgents,
        call::Type::GetFrameworks,
        call::Type::GetExecutors,
        call::Type::GetTasks,
        call::Type::GetOperations,
        call::Type::GetRoles,
        call::Type::GetWeights,
        call::Type::GetQuota,
        call::Type::GetMaintenanceStatus,
        call::Type::GetMaintenanceSchedule,
    ] {
        let name = kind.as_str_name();
        // An offer may come in between.
        wait_for(name, || async {
            let over_http = post(address, &json!({ "type": name })).await;
            assert_eq!(over_http.status, 200, "{name}");
            let over_grpc = submit(address, &of(kind)).await.expect(name);
            (over_grpc == over_http.body).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_refused_over_grpc_with_the_words_of_http() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let remove_quota =
        Call { remove_quota: Some(call::RemoveQuota { role: "eng".into() }), ..of(call::Type::RemoveQuota) };
    let agent_id = AgentId { value: "nobody".into() };
    let gone = call::MarkAgentGone { agent_id };
    let weight = WeightInfo { weight: -1.0, role: Some("eng".into()) };
    let weights = call::UpdateWeights { weight_infos: vec![weight] };
    let table = [
        (of(call::Type::Unknown), json!({ "type": "UNKNOWN" }), Code::Unimplemented, 501),
        // Either of these ends a master of Apache Mesos.
        (
            remove_quota,
            json!({ "type": "REMOVE_QUOTA", "remove_quota": { "role": "eng" } }),
            Code::FailedPrecondition,
            400,
        ),
        (
            Call { mark_agent_gone: Some(gone), ..of(call::Type::MarkAgentGone) },
            json!({ "type": "MARK_AGENT_GONE", "mark_agent_gone": { "agent_id": { "value": "nobody" } } }),
            Code::NotFound,
            404,
        ),
        (
            Call { update_weights: Some(weights), ..of(call::Type::UpdateWeights) },
            json!({ "type": "UPDATE_WEIGHTS",
                "update_weights": { "weight_infos": [{ "weight": -1.0, "role": "eng" }] } }),
            Code::InvalidArgument,
            400,
        ),
        (of(call::Type::SetQuota), json!({ "type": "SET_QUOTA" }), Code::InvalidArgument, 400),
    ];
    for (call, text, code, status) in table {
        let refused = submit(address, &call).await.expect_err("refused");
        let reply = post(address, &text).await;
        assert_eq!((refused.code(), reply.status), (code, status), "{text}: {refused}");
        assert_eq!(refused.message(), reply.text(), "{text}");
    }
    assert_eq!(get(address, "/state").await.status, 200, "life goes on");
    let refused = submit(address, &of(call::Type::Subscribe)).await.expect_err("no stream");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_names_the_leader_and_answers_stale_reads() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let mut client = operator(cluster.address(follower)).await;
    let refused = client.submit(of(call::Type::GetAgents)).await.expect_err("a follower");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let named = refused.metadata().get("mesarch-leader").and_then(|value| value.to_str().ok());
    assert_eq!(named, Some(cluster.address(leader).to_string().as_str()));

    let with = |kind, consistency: &'static str| {
        let mut request = Request::new(of(kind));
        request.metadata_mut().insert("mesarch-consistency", consistency.parse().expect("text"));
        request
    };
    let stale = client.submit(with(call::Type::GetAgents, "stale")).await.expect("an answer");
    assert!(stale.metadata().contains_key("mesarch-applied-index"));
    assert!(stale.metadata().contains_key("mesarch-staleness-ms"));
    let no_read = client.submit(with(call::Type::GetMaster, "stale")).await.expect_err("no read");
    assert_eq!(no_read.code(), Code::InvalidArgument);
    let unknown = client.submit(with(call::Type::GetAgents, "soon")).await.expect_err("no such word");
    assert_eq!(unknown.code(), Code::InvalidArgument);
    let mut at_leader = operator(cluster.address(leader)).await;
    at_leader.submit(with(call::Type::GetAgents, "linearizable")).await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_follow_the_state_over_grpc_until_the_leader_goes() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let address = cluster.address(leader);
    let mut client = operator(address).await;
    let stream = soon("a stream", client.subscribe(of(call::Type::Subscribe))).await.expect("subscribed");
    let mut events = stream.into_inner();
    let mut kinds = Vec::new();
    let scheduler = Scheduler::subscribe(address, framework_info("one"), &[]).await;
    while kinds.last() != Some(&event::Type::FrameworkAdded) {
        let event = soon("an event", events.message()).await.expect("an event").expect("an event");
        kinds.push(event.r#type());
    }
    assert_eq!(kinds[..2], [event::Type::Subscribed, event::Type::Heartbeat]);
    let other = client.subscribe(of(call::Type::GetAgents)).await.expect_err("no SUBSCRIBE");
    assert_eq!(other.code(), Code::InvalidArgument);

    cluster.shutdown(leader).await;
    let end = loop {
        match soon("the end", events.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.message(), "this master does not lead any more");
    drop(scheduler);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_deadline_has_passed_is_not_begun() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let weight = WeightInfo { weight: 2.0, role: Some("eng".into()) };
    let weights = call::UpdateWeights { weight_infos: vec![weight] };
    let call = Call { update_weights: Some(weights), ..of(call::Type::UpdateWeights) }.encode_to_vec();
    // Spoken by hand: a client of gRPC would not even send it.
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let send = async |timeout: &str| {
        let mut frame = vec![0];
        frame.extend((call.len() as u32).to_be_bytes());
        frame.extend(&call);
        let request = http::Request::post(format!("http://{address}{SUBMIT}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", timeout)
            .body(Full::from(frame))
            .expect("a request");
        let answer = soon("an answer", client.request(request)).await.expect("an answer");
        let in_head = answer.headers().get("grpc-status").cloned();
        let body = soon("a body", answer.into_body().collect()).await.expect("a body");
        let in_trailers = body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned());
        in_head.or(in_trailers).expect("a status")
    };
    let weights = async || submit(address, &of(call::Type::GetWeights)).await.expect("weights");
    assert_eq!(send("0n").await, "4", "DEADLINE_EXCEEDED");
    assert_eq!(send("1x").await, "3", "INVALID_ARGUMENT");
    let answer = Response::decode(weights().await).expect("a response");
    assert_eq!(answer.get_weights, None, "nothing was done");
    assert_eq!(send("20S").await, "0", "OK");
    let answer = Response::decode(weights().await).expect("a response");
    assert_eq!(answer.get_weights.expect("weights").weight_infos.len(), 1);
}

async fn health(address: SocketAddr, service: &str) -> Result<ServingStatus, Code> {
    let mut client = HealthClient::new(channel(address).await);
    let asked = HealthCheckRequest { service: service.into() };
    let answer = soon("an answer", client.check(asked)).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_who_leads() {
    use ServingStatus::{NotServing, Serving};
    let mut cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let table = [
        ("", Ok(Serving), Ok(Serving)),
        ("mesarch.api.Scheduler", Ok(Serving), Ok(NotServing)),
        ("mesarch.api.Operator", Ok(Serving), Ok(NotServing)),
        ("mesarch.admin.Admin", Ok(Serving), Ok(Serving)),
        ("mesarch.link.AgentLink", Ok(Serving), Ok(Serving)),
        ("mesarch.api.Executor", Err(Code::NotFound), Err(Code::NotFound)),
    ];
    for (service, at_leader, at_follower) in table {
        assert_eq!(health(cluster.address(leader), service).await, at_leader, "{service} of the leader");
        assert_eq!(health(cluster.address(follower), service).await, at_follower, "{service} of another");
    }
    // All that are left are watched: one of them takes over.
    let mut watches = Vec::new();
    for node in (0..3).filter(|node| *node != leader) {
        let mut client = HealthClient::new(channel(cluster.address(node)).await);
        let asked = HealthCheckRequest { service: "mesarch.api.Scheduler".into() };
        let mut watch = soon("a stream", client.watch(asked)).await.expect("a stream").into_inner();
        let first = soon("a status", watch.message()).await.expect("a status").expect("a status");
        assert_eq!(first.status(), NotServing);
        watches.push(watch);
    }
    cluster.kill(leader).await;
    let (one, other) = watches.split_at_mut(1);
    let serving = soon("a new leader", async {
        tokio::select! {
            status = one[0].message() => status,
            status = other[0].message() => status,
        }
    });
    assert_eq!(serving.await.expect("a status").expect("a status").status(), Serving);
}

async fn reflect(address: SocketAddr, asked: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(channel(address).await);
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let answers = client.server_reflection_info(tokio_stream::once(request));
    let mut answers = soon("answers", answers).await.expect("answers").into_inner();
    let answer = soon("an answer", answers.message()).await.expect("an answer").expect("an answer");
    answer.message_response.expect("a response")
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_shows_what_is_served_and_nothing_else() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let MessageResponse::ListServicesResponse(list) =
        reflect(address, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list")
    };
    let names: BTreeSet<String> = list.service.into_iter().map(|service| service.name).collect();
    let expect = [
        "grpc.health.v1.Health",
        "mesarch.admin.Admin",
        "mesarch.api.Operator",
        "mesarch.api.Scheduler",
        "mesarch.link.AgentLink",
    ];
    assert_eq!(names, expect.map(str::to_owned).into());
    for name in names {
        let asked = MessageRequest::FileContainingSymbol(name.clone());
        let MessageResponse::FileDescriptorResponse(files) = reflect(address, asked).await else {
            panic!("{name}: no file")
        };
        assert!(!files.file_descriptor_proto.is_empty(), "{name}");
    }
}
