//! Events as a framework handles them: one variant each, with what it carries.

use bytes::Bytes;

use crate::v1::scheduler::{Event as Wire, event};
use crate::v1::{
    AgentId, ExecutorId, FrameworkId, InverseOffer, MasterInfo, Offer, OfferId, OperationStatus, TaskStatus,
};

/// What a master tells a framework, and what the SDK adds about the stream itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A leader took the subscription; also after every failover.
    Subscribed {
        /// The framework's id from now on.
        framework: FrameworkId,
        /// Whether the former stream goes on. If not, offers from before are void: forget them, and reconcile.
        resumed: bool,
        /// Who leads.
        master: Option<MasterInfo>,
    },
    /// The stream broke; the SDK looks for the leader. Calls wait.
    Disconnected {
        /// How it broke.
        reason: String,
    },
    /// New offers. One may come again after a failover, under the same id.
    Offers(Vec<Offer>),
    /// Requests to leave machines.
    InverseOffers(Vec<InverseOffer>),
    /// The offer is gone.
    Rescind(OfferId),
    /// The request is taken back.
    RescindInverseOffer(OfferId),
    /// A task took a step. The same step (same `uuid`) may come more than once.
    Update(TaskStatus),
    /// An operation took a step.
    UpdateOperation(OperationStatus),
    /// Bytes from an executor.
    Message {
        /// Where the executor runs.
        agent: AgentId,
        /// Who sent them.
        executor: ExecutorId,
        /// The bytes.
        data: Bytes,
    },
    /// An agent is lost (no `executor`), or an executor ended with a wait status (-1: unknown). A hint.
    Failure {
        /// The agent.
        agent: Option<AgentId>,
        /// The executor.
        executor: Option<ExecutorId>,
        /// Its wait status.
        status: Option<i32>,
    },
}

/// What the session makes of one record.
#[derive(Debug)]
pub(super) enum Read {
    /// Hand it to the framework.
    Event(Event),
    /// Answers SUBSCRIBE; the session knows whether it is a resumption.
    Subscribed(event::Subscribed),
    /// A sign of life, or something that a newer master invented.
    Nothing,
    /// ERROR: the end.
    Error(String),
}

/// Sorts one record. A type without its payload is a master's mistake and treated as nothing.
pub(super) fn read(wire: Wire) -> Read {
    use event::Type;
    let event = match wire.r#type() {
        Type::Subscribed => return wire.subscribed.map_or(Read::Nothing, Read::Subscribed),
        Type::Error => return Read::Error(wire.error.map_or_else(String::new, |error| error.message)),
        Type::Heartbeat | Type::Unknown => None,
        Type::Offers => wire.offers.map(|offers| Event::Offers(offers.offers)),
        Type::InverseOffers => wire.inverse_offers.map(|offers| Event::InverseOffers(offers.inverse_offers)),
        Type::Rescind => wire.rescind.map(|rescind| Event::Rescind(rescind.offer_id)),
        Type::RescindInverseOffer => {
            wire.rescind_inverse_offer.map(|rescind| Event::RescindInverseOffer(rescind.inverse_offer_id))
        }
        Type::Update => wire.update.map(|update| Event::Update(update.status)),
        Type::UpdateOperationStatus => {
            wire.update_operation_status.map(|update| Event::UpdateOperation(update.status))
        }
        Type::Message => wire.message.map(|message| Event::Message {
            agent: message.agent_id,
            executor: message.executor_id,
            data: message.data,
        }),
        Type::Failure => wire.failure.map(|failure| Event::Failure {
            agent: failure.agent_id,
            executor: failure.executor_id,
            status: failure.status,
        }),
    };
    event.map_or(Read::Nothing, Read::Event)
}
