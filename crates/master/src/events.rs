//! Events of the scheduler API, built.

use mesarch_proto::mesos::v1::{self, scheduler::event};
use mesarch_state::model::OutboxItem;
use mesarch_types::{AgentId, ExecutorId, FrameworkId, OfferId};

use crate::{master_info::MasterFacts, status, streams::HEARTBEAT_INTERVAL};

pub(crate) use mesarch_proto::mesos::v1::scheduler::Event;

fn of(kind: event::Type) -> Event {
    Event { r#type: Some(kind as i32), ..Default::default() }
}

pub(crate) fn agent_id(id: &AgentId) -> v1::AgentId {
    v1::AgentId { value: id.to_string() }
}

pub(crate) fn executor_id(id: &ExecutorId) -> v1::ExecutorId {
    v1::ExecutorId { value: id.to_string() }
}

pub(crate) fn framework_id(id: &FrameworkId) -> v1::FrameworkId {
    v1::FrameworkId { value: id.to_string() }
}

pub(crate) fn subscribed(framework: &FrameworkId, master: &MasterFacts) -> Event {
    let subscribed = event::Subscribed {
        framework_id: framework_id(framework),
        heartbeat_interval_seconds: Some(HEARTBEAT_INTERVAL.as_secs_f64()),
        master_info: Some(master.info()),
    };
    Event { subscribed: Some(subscribed), ..of(event::Type::Subscribed) }
}

pub(crate) fn heartbeat() -> Event {
    of(event::Type::Heartbeat)
}

pub(crate) fn error(message: &str) -> Event {
    Event { error: Some(event::Error { message: message.to_owned() }), ..of(event::Type::Error) }
}

pub(crate) fn offers(offers: Vec<v1::Offer>) -> Event {
    Event { offers: Some(event::Offers { offers }), ..of(event::Type::Offers) }
}

pub(crate) fn inverse_offers(inverse_offers: Vec<v1::InverseOffer>) -> Event {
    let inverse_offers = Some(event::InverseOffers { inverse_offers });
    Event { inverse_offers, ..of(event::Type::InverseOffers) }
}

pub(crate) fn update(status: v1::TaskStatus) -> Event {
    Event { update: Some(event::Update { status }), ..of(event::Type::Update) }
}

pub(crate) fn update_operation(status: v1::OperationStatus) -> Event {
    let update = event::UpdateOperationStatus { status };
    Event { update_operation_status: Some(update), ..of(event::Type::UpdateOperationStatus) }
}

pub(crate) fn message(agent: &AgentId, executor: &ExecutorId, data: bytes::Bytes) -> Event {
    let message = event::Message { agent_id: agent_id(agent), executor_id: executor_id(executor), data };
    Event { message: Some(message), ..of(event::Type::Message) }
}

fn rescind(offer: &OfferId) -> Event {
    let rescind = event::Rescind { offer_id: v1::OfferId { value: offer.to_string() } };
    Event { rescind: Some(rescind), ..of(event::Type::Rescind) }
}

fn rescind_inverse(offer: &OfferId) -> Event {
    let inverse_offer_id = v1::OfferId { value: offer.to_string() };
    let rescind_inverse_offer = Some(event::RescindInverseOffer { inverse_offer_id });
    Event { rescind_inverse_offer, ..of(event::Type::RescindInverseOffer) }
}

fn failure(agent: &AgentId, executor: Option<&ExecutorId>, status: Option<i32>) -> Event {
    let failure =
        event::Failure { agent_id: Some(agent_id(agent)), executor_id: executor.map(executor_id), status };
    Event { failure: Some(failure), ..of(event::Type::Failure) }
}

/// What a framework is told of one item of its outbox.
pub(crate) fn of_outbox(item: &OutboxItem) -> Event {
    match item {
        OutboxItem::Update(news) => update(status::of_news(news)),
        OutboxItem::Rescind(offer) => rescind(offer),
        OutboxItem::RescindInverse(offer) => rescind_inverse(offer),
        OutboxItem::Operation(news) => update_operation(status::of_operation_news(news)),
        OutboxItem::Failure { agent, executor, status } => failure(agent, executor.as_ref(), *status),
    }
}
