//! The gRPC services of the client port.

mod admin;
mod link;
mod raw;
mod scheduler;

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use mesarch_proto::{admin::admin_server::AdminServer, link::agent_link_server::AgentLinkServer};
use tonic::{Status, service::Routes};

use crate::{
    app::{App, Leadership},
    calls::CallError,
    leader::Session,
};

/// Largest message of an agent, in bytes: its inventory.
const LINK_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest call of a scheduler, in bytes.
const CALL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A stream of messages to a client.
type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// All services of this master.
pub(crate) fn routes(app: Arc<App>) -> Routes {
    let link = AgentLinkServer::new(link::Service { app: app.clone() })
        .max_decoding_message_size(LINK_MESSAGE_BYTES_MAX);
    let scheduler = scheduler::Service { app: app.clone() };
    Routes::new(link).add_service(scheduler).add_service(AdminServer::new(admin::Service { app }))
}

/// The leader's session, or a refusal that names the leader in its metadata.
async fn leader(app: &App) -> Result<Arc<Session>, Status> {
    match app.leadership().await {
        Leadership::Here(session) => Ok(session),
        Leadership::Elsewhere(leader) => {
            let mut status = Status::failed_precondition(format!("the leader is {leader}"));
            if let Ok(value) = leader.parse() {
                status.metadata_mut().insert("mesarch-leader", value);
            }
            Err(status)
        }
        Leadership::Nobody => Err(Status::unavailable("No leader elected")),
    }
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
