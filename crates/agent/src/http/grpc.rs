//! The same over gRPC: the operators' calls, the executors', whether this agent serves, and reflection of all that.

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use mesarch_edge::grpc::{self, Method, Methods, Outgoing, Service, Services};
use mesarch_mesos_v1::{ApiMessage, ContentType, decode, recordio::RECORD_BYTES_MAX};
use mesarch_proto::{
    FILE_DESCRIPTOR_SET,
    api::{agent_operator_server, executor_server},
    mesos::v1::{
        agent,
        executor::{self, call::Type},
    },
};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

use super::{
    Site,
    executor::{NotTaken, kind, open, submit},
    operator,
};
use crate::requests::CallRefusal;

/// The services that are served here, beside health and reflection.
const SERVICES: [&str; 2] = [agent_operator_server::SERVICE_NAME, executor_server::SERVICE_NAME];

/// All services of this agent.
pub(super) fn services(site: &Site) -> Services {
    let services = Services::new(HealthServer::new(Healthy))
        .add_service(Service::new(Operator(site.clone()), RECORD_BYTES_MAX))
        .add_service(Service::new(Executor(site.clone()), RECORD_BYTES_MAX));
    // The descriptors are compiled in, and nothing but reflection depends on them.
    grpc::reflected(services.clone(), &SERVICES, FILE_DESCRIPTOR_SET).unwrap_or_else(|error| {
        tracing::error!(%error, "gRPC reflection is not served");
        services
    })
}

fn parsed<M: ApiMessage>(bytes: &Bytes) -> Result<Box<M>, Status> {
    let call = decode(ContentType::Protobuf, bytes);
    call.map(Box::new).map_err(|error| Status::invalid_argument(format!("Failed to parse the call: {error}")))
}

/// Operators.
#[derive(Clone)]
struct Operator(Site);

impl Methods for Operator {
    const NAME: &'static str = agent_operator_server::SERVICE_NAME;

    fn method(name: &str) -> Option<Method<Self>> {
        match name {
            "Submit" => Some(Method::Unary(|it, request| operate(it.0, request).boxed())),
            _ => None,
        }
    }
}

async fn operate(site: Site, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let call: Box<agent::Call> = parsed(request.get_ref())?;
    let kind = operator::kind(&call).map_err(Status::invalid_argument)?;
    grpc::of_http(operator::carry_out(&site, call, kind, ContentType::Protobuf).await, &[]).await
}

/// Executors.
#[derive(Clone)]
struct Executor(Site);

impl Methods for Executor {
    const NAME: &'static str = executor_server::SERVICE_NAME;

    fn method(name: &str) -> Option<Method<Self>> {
        match name {
            "Subscribe" => Some(Method::Streaming(|it, request| subscribe(it.0, request).boxed())),
            "Submit" => Some(Method::Unary(|it, request| submitted(it.0, request).boxed())),
            _ => None,
        }
    }
}

async fn subscribe(site: Site, request: Request<Bytes>) -> Result<Response<Outgoing<Bytes>>, Status> {
    let call: Box<executor::Call> = parsed(request.get_ref())?;
    if kind(&call).map_err(Status::invalid_argument)? != Type::Subscribe {
        return Err(Status::invalid_argument("Subscribe takes calls of type SUBSCRIBE only"));
    }
    let events = open(&site, call, ContentType::Protobuf).await.map_err(refused)?;
    let events = stream::unfold(events, |mut events| async move {
        let frame = events.frames.recv().await?;
        Some((Ok(grpc::message_of(&frame)), events))
    });
    Ok(Response::new(events.boxed()))
}

/// Answers with an empty message, `SubmitReply`.
async fn submitted(site: Site, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let call: Box<executor::Call> = parsed(request.get_ref())?;
    let kind = kind(&call).map_err(Status::invalid_argument)?;
    if kind == Type::Subscribe {
        return Err(Status::invalid_argument("Submit takes calls of every type but SUBSCRIBE"));
    }
    submit(&site, call, kind).await.map_err(refused)?;
    Ok(Response::new(Bytes::new()))
}

fn refused(error: NotTaken) -> Status {
    let text = error.to_string();
    match error {
        NotTaken::Refused(CallRefusal::UnknownFramework | CallRefusal::UnknownExecutor) => {
            Status::not_found(text)
        }
        NotTaken::Refused(CallRefusal::NotSubscribed) => Status::permission_denied(text),
        NotTaken::Unknown => Status::unimplemented(text),
        NotTaken::Ending => Status::unavailable(text),
    }
}

/// An agent that runs serves all that it has.
#[derive(Debug)]
struct Healthy;

fn health(service: &str) -> ServingStatus {
    match service.is_empty() || SERVICES.contains(&service) {
        true => ServingStatus::Serving,
        false => ServingStatus::ServiceUnknown,
    }
}

#[tonic::async_trait]
impl Health for Healthy {
    type WatchStream = Outgoing<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        match health(service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found(format!("no such service: {service}"))),
            status => Ok(Response::new(HealthCheckResponse { status: status as i32 })),
        }
    }

    /// It does not change: the stream ends with the agent.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let status = health(&request.get_ref().service) as i32;
        let first = stream::iter([Ok(HealthCheckResponse { status })]);
        Ok(Response::new(first.chain(stream::pending()).boxed()))
    }
}
