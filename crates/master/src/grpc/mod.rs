//! The gRPC services of the client port.

mod admin;
mod health;
mod link;
mod operator;
mod scheduler;

use std::sync::Arc;

use mesarch_edge::grpc::{self, LEADER, Service, Services};
use mesarch_mesos_v1::recordio::RECORD_BYTES_MAX;
use mesarch_proto::{
    FILE_DESCRIPTOR_SET,
    admin::admin_server::{self, AdminServer},
    api::{operator_server, scheduler_server},
    link::agent_link_server::{self, AgentLinkServer},
};
use tonic::Status;
use tonic_health::pb::health_server::HealthServer;

use crate::{
    app::{App, Leadership},
    calls::CallError,
    leader::Session,
};

pub(crate) use mesarch_edge::grpc::Outgoing;

/// Largest message of an agent, in bytes: its inventory.
const LINK_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest call, in bytes.
const CALL_BYTES_MAX: usize = RECORD_BYTES_MAX;

/// The services that are served here, beside health and reflection.
const SERVICES: [&str; 4] = [
    scheduler_server::SERVICE_NAME,
    operator_server::SERVICE_NAME,
    admin_server::SERVICE_NAME,
    agent_link_server::SERVICE_NAME,
];

/// All services of this master.
pub(crate) fn routes(app: &Arc<App>) -> Services {
    let link = AgentLinkServer::new(link::Service { app: app.clone() })
        .max_decoding_message_size(LINK_MESSAGE_BYTES_MAX);
    let services = Services::new(link)
        .add_service(Service::new(scheduler::Calls { app: app.clone() }, CALL_BYTES_MAX))
        .add_service(Service::new(operator::Calls { app: app.clone() }, CALL_BYTES_MAX))
        .add_service(AdminServer::new(admin::Service { app: app.clone() }))
        .add_service(HealthServer::new(health::Service { view: app.view.clone() }));
    // The descriptors are compiled in, and nothing but reflection depends on them.
    grpc::reflected(services.clone(), &SERVICES, FILE_DESCRIPTOR_SET).unwrap_or_else(|error| {
        tracing::error!(%error, "gRPC reflection is not served");
        services
    })
}

/// The leader's session, or a refusal that names the leader in its metadata.
async fn leader(app: &App) -> Result<Arc<Session>, Status> {
    match app.leadership().await {
        Leadership::Here(session) => Ok(session),
        Leadership::Elsewhere(leader) => {
            let mut status = Status::failed_precondition(format!("the leader is {leader}"));
            if let Ok(value) = leader.parse() {
                status.metadata_mut().insert(LEADER, value);
            }
            Err(status)
        }
        Leadership::Nobody => Err(Status::unavailable("No leader elected")),
    }
}

/// A refused call; if it is because another master leads by now, the refusal names that one: nothing was done.
async fn refused(app: &App, error: &CallError) -> Status {
    if *error == CallError::NotLeader
        && let Err(elsewhere) = leader(app).await
    {
        return elsewhere;
    }
    status(error)
}

/// A refused call.
fn status(error: &CallError) -> Status {
    let text = error.to_string();
    match error {
        CallError::Invalid(_)
        | CallError::Framework(_)
        | CallError::StreamIdOnSubscribe
        | CallError::NoStreamId
        | CallError::WrongStreamId => Status::invalid_argument(text),
        CallError::UnknownFramework => Status::not_found(text),
        CallError::NotSubscribed => Status::permission_denied(text),
        CallError::TooManyTasks { .. } | CallError::TooManyOperations { .. } | CallError::TooLarge { .. } => {
            Status::out_of_range(text)
        }
        CallError::UnknownType | CallError::NotImplemented(_) | CallError::Level { .. } => {
            Status::unimplemented(text)
        }
        CallError::Busy | CallError::Full(_) => Status::resource_exhausted(text),
        CallError::NotLeader => Status::failed_precondition(text),
        CallError::Unknown => Status::unknown(text),
    }
}
