//! Resource providers: who is subscribed, what each said last, and what each has to do.
//!
//! The agent stores who they are, and nothing else of them: what a provider has it says whenever it subscribes, with the
//! operations that it knows, and it tells the end of each until that is acknowledged. An operation goes to its provider
//! once: not before the provider has said on its present stream which ones it knows, and not if that is among them. One
//! that rests on an older word of the provider than its newest is dropped here, before it could do harm.

mod provider;
mod publish;
mod serve;

use std::collections::BTreeMap;

use bytes::Bytes;
use mesarch_agent_core::{Durable, ProviderOperation};
use mesarch_mesos_v1::{ContentType, recordio};
use mesarch_proto::{
    link::{self, from_agent::Kind},
    mesos::v1::{
        self, FrameworkId, Operation, OperationState, OperationStatus, ResourceProviderInfo, Uuid, offer,
        resource_provider::{
            Event,
            call::{self, UpdateState},
            event,
        },
    },
};
use mesarch_types::{AgentId, ProviderId, UpdateUuid};
use prost::Message;
use tokio::sync::{mpsc, oneshot};

use crate::{
    requests::{EventStream, Request},
    tasks::Tasks,
    wire::uuid_to,
};
use provider::{Known, OPERATION_BYTES, OPERATIONS_MAX, Provider, Stream, is_terminal};
pub(crate) use publish::Publishing;
pub(crate) use serve::clock;

/// Most providers of an agent (the masters' bound).
pub(crate) const PROVIDERS_MAX: usize = 32;
/// Most events that a provider may leave unread; then its stream is closed, and it subscribes again.
const EVENTS_MAX: usize = 1024;
/// Most that all providers may say together, in bytes: it goes to the masters in one message.
const WORDS_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Most ends of operations in one message to the masters, and most bytes of them beside the last one's.
const UPDATES_MAX: usize = 256;
const UPDATES_BYTES_MAX: usize = 1024 * 1024;

/// Why a call of a resource provider is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProviderRefusal {
    /// 409
    #[error("At most {PROVIDERS_MAX} resource providers may subscribe to an agent")]
    TooMany,
    /// 409
    #[error("A resource provider of this type and name is known already; subscribe with its id, '{0}'")]
    NameTaken(ProviderId),
    /// 400
    #[error("Resource provider '{0}' is unknown or was marked gone")]
    Unknown(ProviderId),
    /// 400
    #[error("Resource provider '{0}' has another type or name")]
    OtherName(ProviderId),
    /// 403
    #[error("Resource provider is not subscribed")]
    NotSubscribed,
    /// 400
    #[error(
        "The stream ID '{given}' included in this request didn't match the stream ID currently associated with resource \
         provider ID '{id}'"
    )]
    OtherStream { given: String, id: ProviderId },
    /// 413
    #[error("A resource provider may have at most {OPERATIONS_MAX} operations that are not over")]
    TooManyOperations,
    /// 413
    #[error("The resource providers of the agent say more than {WORDS_BYTES_MAX} bytes together")]
    TooLarge,
}

/// What a call led to that concerns others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing.
    Nothing,
    /// The provider can be given work.
    Ready,
    /// It published resources, or could not.
    Published { uuid: UpdateUuid, done: bool },
}

/// All resource providers.
#[derive(Debug)]
pub(crate) struct Providers {
    known: BTreeMap<ProviderId, Provider>,
    opened: u64,
    requests: mpsc::Sender<Request>,
    tasks: Tasks,
    /// Decided, and written once what they rest on is stored.
    outgoing: Vec<(ProviderId, u64, Event)>,
    /// How operations stand, for the leader, if one listens that knows of providers. The newest of each counts.
    for_master: BTreeMap<(ProviderId, UpdateUuid), OperationStatus>,
    /// The link on which that is so.
    link: Option<u64>,
    /// The link on which the leader was told of everything.
    told_on: Option<u64>,
    /// Of the last message about all providers.
    sequence: u64,
    /// The leader has not heard of everything.
    is_news: bool,
    /// There is one, or was one once, of which masters may know.
    was_any: bool,
}

/// Who subscribes, once it is stored.
pub(crate) struct Admission {
    pub(crate) id: ProviderId,
    pub(crate) info: ResourceProviderInfo,
}

impl Providers {
    /// Those that were given ids by former starts of the agent.
    pub(crate) fn new(durable: &Durable, requests: mpsc::Sender<Request>, tasks: Tasks) -> Self {
        let provider = |(id, info): (&ProviderId, &Bytes)| {
            // What was stored is what was encoded here.
            let info = ResourceProviderInfo::decode(info.clone()).unwrap_or_default();
            (id.clone(), Provider::new(info))
        };
        Self {
            was_any: !durable.providers.is_empty() || durable.provider_gone.is_some(),
            known: durable.providers.iter().map(provider).collect(),
            opened: 0,
            requests,
            tasks,
            outgoing: Vec::new(),
            for_master: BTreeMap::new(),
            link: None,
            told_on: None,
            sequence: 0,
            is_news: false,
        }
    }

    /// Judges a subscription; a new provider gets an id.
    pub(crate) fn admit(&self, asked: ResourceProviderInfo) -> Result<Admission, ProviderRefusal> {
        let is_same =
            |other: &ResourceProviderInfo| (&other.r#type, &other.name) == (&asked.r#type, &asked.name);
        let id = match &asked.id {
            Some(id) => {
                let id = ProviderId::from(id.value.as_str());
                let known = self.known.get(&id).ok_or_else(|| ProviderRefusal::Unknown(id.clone()))?;
                if !is_same(&known.info) {
                    return Err(ProviderRefusal::OtherName(id));
                }
                id
            }
            None => {
                if let Some((id, _)) = self.known.iter().find(|(_, known)| is_same(&known.info)) {
                    return Err(ProviderRefusal::NameTaken(id.clone()));
                }
                if self.known.len() >= PROVIDERS_MAX {
                    return Err(ProviderRefusal::TooMany);
                }
                ProviderId::from(uuid::Uuid::new_v4().to_string())
            }
        };
        let info = ResourceProviderInfo { id: Some(to_v1(&id)), ..asked };
        Ok(Admission { id, info })
    }

    /// Opens a stream for a provider that is, or is being, stored; an older one of the same provider ends.
    pub(crate) fn open(&mut self, admitted: Admission, content_type: ContentType) -> (String, EventStream) {
        (self.opened, self.was_any) = (self.opened + 1, true);
        let Admission { id, info } = admitted;
        let (frames, receiver) = mpsc::channel(EVENTS_MAX);
        let (open, closed) = oneshot::channel();
        let stream_id = uuid::Uuid::new_v4().to_string();
        let stream = Stream { number: self.opened, id: stream_id.clone(), content_type, frames };
        let provider = self.known.entry(id.clone()).or_insert_with(|| Provider::new(info.clone()));
        provider.info = info;
        provider.lose_stream();
        provider.stream = Some(stream);
        self.is_news = true;
        let watch = watch(closed, id.clone(), self.opened, self.requests.clone());
        self.tasks.spawn("event stream of a resource provider", watch);
        let subscribed = event::Subscribed { provider_id: to_v1(&id) };
        self.tell(&id, Event { subscribed: Some(subscribed), ..of(event::Type::Subscribed) });
        (stream_id, EventStream { frames: receiver, _open: open })
    }

    /// A stream's reader is gone.
    pub(crate) fn closed(&mut self, id: &ProviderId, number: u64) {
        if let Some(provider) = self.known.get_mut(id)
            && provider.stream.as_ref().is_none_or(|stream| stream.number == number)
        {
            provider.lose_stream();
            self.is_news = true;
        }
    }

    /// Every provider is to subscribe again: only then is it known what it has. What was to be done is forgotten: the
    /// masters say again what they know of it, and the rest never was.
    pub(crate) fn renew(&mut self) {
        for provider in self.known.values_mut() {
            provider.lose_stream();
            provider.word = None;
            provider.waiting.clear();
            provider.operations.retain(|_, known| known.end.is_some());
        }
        self.is_news = true;
    }

    /// The provider ends here for ever; it is told so.
    pub(crate) fn remove(&mut self, id: &ProviderId) {
        self.tell(id, of(event::Type::Teardown));
        self.write();
        self.known.remove(id);
        self.is_news = true;
    }

    pub(crate) fn is_known(&self, id: &ProviderId) -> bool {
        self.known.contains_key(id)
    }

    /// The provider behind a call that names this stream.
    pub(crate) fn caller(&self, id: &ProviderId, given: &str) -> Result<(), ProviderRefusal> {
        let provider = self.known.get(id).ok_or_else(|| ProviderRefusal::Unknown(id.clone()))?;
        let stream = provider.stream.as_ref().ok_or(ProviderRefusal::NotSubscribed)?;
        match stream.id == given {
            true => Ok(()),
            false => Err(ProviderRefusal::OtherStream { given: given.to_owned(), id: id.clone() }),
        }
    }

    /// UPDATE_STATE.
    pub(crate) fn state(&mut self, id: &ProviderId, update: UpdateState) -> Result<Told, ProviderRefusal> {
        if update.operations.len() > OPERATIONS_MAX {
            return Err(ProviderRefusal::TooManyOperations);
        }
        let others = self.known.iter().filter(|(other, _)| *other != id);
        let others = others.map(|(_, other)| other.bytes()).sum::<usize>();
        let Some(provider) = self.known.get_mut(id) else {
            return Err(ProviderRefusal::Unknown(id.clone()));
        };
        if others + update.encoded_len() + provider.operations.len() * OPERATION_BYTES > WORDS_BYTES_MAX {
            return Err(ProviderRefusal::TooLarge);
        }
        let again = provider.hear(update);
        self.is_news = true;
        again.into_iter().for_each(|order| self.apply(order));
        self.tell_ends(id);
        Ok(Told::Ready)
    }

    /// UPDATE_OPERATION_STATUS.
    pub(crate) fn status(&mut self, id: &ProviderId, update: call::UpdateOperationStatus) {
        let Some(operation) = uuid_of(&update.operation_uuid) else { return };
        let Some(provider) = self.known.get_mut(id) else { return };
        // The newest of several that are not acknowledged says how it is.
        let status = update.latest_status.filter(|latest| latest.uuid.is_some()).unwrap_or(update.status);
        let is_kept = provider.operations.contains_key(&operation) || !provider.is_full();
        if !is_terminal(&status) || !is_kept {
            self.for_master.insert((id.clone(), operation), status);
            return;
        }
        provider.operations.entry(operation).or_default().end_with(status);
        self.tell_end(id, operation);
    }

    /// Hands an operation on, unless the provider has it already.
    pub(crate) fn apply(&mut self, order: ProviderOperation) {
        let id = order.provider.clone();
        let Some(provider) = self.known.get_mut(&id) else {
            return self.drop_operation(&order, "The resource provider is unknown to its agent");
        };
        if provider.operations.contains_key(&order.operation) {
            return self.tell_end(&id, order.operation);
        }
        let is_full = provider.is_full();
        if !provider.is_ready && !is_full {
            if provider.waiting.iter().all(|other| other.operation != order.operation) {
                provider.waiting.push(order);
            }
            return;
        }
        if is_full {
            return self.drop_operation(&order, "The resource provider has too many operations under way");
        }
        if provider.word.as_ref().is_none_or(|word| word.version != order.version) {
            return self.drop_operation(&order, "The resource provider's resources have changed");
        }
        let Ok(mut info) = offer::Operation::decode(order.info.clone()) else {
            return self.drop_operation(&order, "The operation cannot be read");
        };
        strip_marks(&mut info);
        let apply = event::ApplyOperation {
            framework_id: Some(FrameworkId { value: order.framework.to_string() }),
            info,
            operation_uuid: to_uuid(order.operation),
            resource_version_uuid: to_uuid(order.version),
        };
        let known = Known { order: Some(order.clone()), ..Known::default() };
        provider.operations.insert(order.operation, known);
        self.tell(&id, Event { apply_operation: Some(apply), ..of(event::Type::ApplyOperation) });
    }

    /// Nobody waits for an acknowledgement of that: whoever asks again is answered again.
    fn drop_operation(&mut self, order: &ProviderOperation, why: &str) {
        let status = OperationStatus {
            state: OperationState::OperationDropped as i32,
            message: Some(why.to_owned()),
            ..Default::default()
        };
        self.for_master.insert((order.provider.clone(), order.operation), status);
    }

    /// The masters know a state of an operation; if it is how it ended, the operation is over.
    pub(crate) fn acknowledged(&mut self, id: &ProviderId, operation: UpdateUuid, status: UpdateUuid) {
        let Some(provider) = self.known.get_mut(id) else { return };
        let is_over = provider.operations.get(&operation).is_some_and(|known| known.ended_with(status));
        if is_over && provider.operations.remove(&operation).is_some_and(|known| known.is_silent) {
            return;
        }
        let acknowledge = event::AcknowledgeOperationStatus {
            status_uuid: to_uuid(status),
            operation_uuid: to_uuid(operation),
        };
        let acknowledge_operation_status = Some(acknowledge);
        let kind = of(event::Type::AcknowledgeOperationStatus);
        self.tell(id, Event { acknowledge_operation_status, ..kind });
    }

    /// Asks a provider to make resources usable; none if it is not there now.
    pub(crate) fn publish(&mut self, id: &ProviderId, uuid: UpdateUuid, resources: &[v1::Resource]) {
        if self.known.get(id).is_none_or(|provider| !provider.is_ready) {
            return;
        }
        let publish = event::PublishResources { uuid: to_uuid(uuid), resources: resources.to_vec() };
        self.tell(id, Event { publish_resources: Some(publish), ..of(event::Type::PublishResources) });
    }

    /// Asks providers for the ends of operations that have been under way for long: one may have been lost.
    pub(crate) fn tick(&mut self) {
        self.is_news |= self.was_any;
        for id in self.known.keys().cloned().collect::<Vec<_>>() {
            self.tell_ends(&id);
            let Some(provider) = self.known.get(&id).filter(|provider| provider.is_ready) else { continue };
            let open = provider.operations.iter().filter(|(_, known)| known.end.is_none());
            let operation_uuids: Vec<Uuid> = open.map(|(uuid, _)| to_uuid(*uuid)).collect();
            if !operation_uuids.is_empty() {
                let reconcile = Some(event::ReconcileOperations { operation_uuids });
                let kind = of(event::Type::ReconcileOperations);
                self.tell(&id, Event { reconcile_operations: reconcile, ..kind });
            }
        }
    }

    fn tell_ends(&mut self, id: &ProviderId) {
        let Some(provider) = self.known.get(id) else { return };
        for (uuid, known) in &provider.operations {
            let told = known.end.clone().map(|end| ((id.clone(), *uuid), end));
            self.for_master.extend(told);
        }
    }

    fn tell_end(&mut self, id: &ProviderId, operation: UpdateUuid) {
        let known = self.known.get(id).and_then(|provider| provider.operations.get(&operation));
        let end = known.and_then(|known| known.end.clone());
        self.for_master.extend(end.map(|end| ((id.clone(), operation), end)));
    }

    /// The leader on this link knows of providers.
    pub(crate) fn known_on(&mut self, link: u64) {
        self.link = Some(link);
    }

    /// What the leader on `link`, to which the agent is attached, is to hear, in order: on a new link all providers and all
    /// ends. What nobody can hear is told again on the next link.
    pub(crate) fn take_for_master(&mut self, link: Option<u64>) -> Vec<Kind> {
        if link.is_none() || link != self.link {
            self.for_master.clear();
            return Vec::new();
        }
        if self.told_on != link {
            self.told_on = link;
            self.is_news |= self.was_any;
            for id in self.known.keys().cloned().collect::<Vec<_>>() {
                self.tell_ends(&id);
            }
        }
        let mut messages = Vec::new();
        if std::mem::take(&mut self.is_news) {
            self.sequence += 1;
            let providers = self.known.iter().map(|(id, provider)| provider.to_link(id)).collect();
            messages.push(Kind::Providers(link::Providers { sequence: self.sequence, providers }));
        }
        messages.extend(packed(std::mem::take(&mut self.for_master)));
        messages
    }

    /// Every provider with what it has, for readers. One that is away has nothing.
    pub(crate) fn shown(&self) -> Vec<(ResourceProviderInfo, Vec<v1::Resource>)> {
        let shown = self.known.values().map(|provider| {
            let word = provider.word.as_ref().filter(|_| provider.is_ready);
            (provider.info.clone(), word.map(|word| word.resources.clone()).unwrap_or_default())
        });
        shown.collect()
    }

    /// What providers are to do, or have done and masters do not know yet, as far as this agent knows what it is.
    pub(crate) fn operations(&self, agent: Option<&AgentId>) -> Vec<Operation> {
        let all = self.known.values().flat_map(|provider| {
            let known = provider.operations.values();
            let sent = known.filter_map(|known| Some((known.order.as_ref()?, known.end.as_ref())));
            sent.chain(provider.waiting.iter().map(|order| (order, None)))
        });
        all.map(|(order, end)| shown(order, end, agent)).collect()
    }

    /// Event streams: opened since the agent was started, and open now.
    pub(crate) fn streams(&self) -> (u64, u64) {
        let open = self.known.values().filter(|provider| provider.stream.is_some()).count();
        (self.opened, open as u64)
    }

    fn tell(&mut self, id: &ProviderId, event: Event) {
        let stream = self.known.get(id).and_then(|provider| provider.stream.as_ref());
        if let Some(number) = stream.map(|stream| stream.number) {
            self.outgoing.push((id.clone(), number, event));
        }
    }

    /// Writes what was decided: what it rests on is stored.
    pub(crate) fn write(&mut self) {
        for (id, number, event) in std::mem::take(&mut self.outgoing) {
            let Some(provider) = self.known.get_mut(&id) else { continue };
            let Some(stream) = provider.stream.as_ref().filter(|stream| stream.number == number) else {
                continue;
            };
            let frame = recordio::encode_message(stream.content_type, &event);
            if stream.frames.try_send(frame).is_err() {
                tracing::warn!(provider = %id, "closing an event stream that is not read");
                provider.lose_stream();
                self.is_news = true;
            }
        }
    }
}

/// Tells the runner when the reader is gone.
async fn watch(
    closed: oneshot::Receiver<()>,
    provider: ProviderId,
    stream: u64,
    requests: mpsc::Sender<Request>,
) {
    // The sender is dropped with the stream and never used.
    let _ = closed.await;
    let _ = requests.send(Request::ProviderStreamClosed { provider, stream }).await;
}

/// To whom resources are allocated is nothing to a provider: it would have to tell them back so.
fn strip_marks(info: &mut offer::Operation) {
    let many = [
        info.reserve.as_mut().map(|it| &mut it.resources),
        info.unreserve.as_mut().map(|it| &mut it.resources),
        info.create.as_mut().map(|it| &mut it.volumes),
        info.destroy.as_mut().map(|it| &mut it.volumes),
    ];
    let one = [
        info.create_disk.as_mut().map(|it| &mut it.source),
        info.destroy_disk.as_mut().map(|it| &mut it.source),
    ];
    let all = many.into_iter().flatten().flatten().chain(one.into_iter().flatten());
    all.for_each(|resource| resource.allocation_info = None);
}

fn shown(order: &ProviderOperation, end: Option<&OperationStatus>, agent: Option<&AgentId>) -> Operation {
    let agent_id = agent.map(|id| v1::AgentId { value: id.to_string() });
    // What was handed on could be read.
    let info = offer::Operation::decode(order.info.clone()).unwrap_or_default();
    let pending = || OperationStatus {
        operation_id: info.id.clone(),
        state: OperationState::OperationPending as i32,
        agent_id: agent_id.clone(),
        resource_provider_id: Some(to_v1(&order.provider)),
        ..OperationStatus::default()
    };
    Operation {
        framework_id: Some(FrameworkId { value: order.framework.to_string() }),
        latest_status: end.cloned().unwrap_or_else(pending),
        agent_id,
        info,
        statuses: end.cloned().into_iter().collect(),
        uuid: to_uuid(order.operation),
    }
}

/// In messages that the link takes.
fn packed(updates: BTreeMap<(ProviderId, UpdateUuid), OperationStatus>) -> Vec<Kind> {
    let (mut packs, mut bytes) = (Vec::<link::OperationUpdates>::new(), 0);
    for ((provider, operation), status) in updates {
        let status: Bytes = status.encode_to_vec().into();
        bytes += status.len();
        let update =
            link::OperationUpdate { provider: provider.to_string(), operation: uuid_to(operation), status };
        match packs.last_mut() {
            Some(pack) if pack.updates.len() < UPDATES_MAX && bytes <= UPDATES_BYTES_MAX => {
                pack.updates.push(update)
            }
            _ => {
                bytes = update.status.len();
                packs.push(link::OperationUpdates { updates: vec![update] });
            }
        }
    }
    packs.into_iter().map(Kind::OperationUpdates).collect()
}

fn uuid_of(uuid: &Uuid) -> Option<UpdateUuid> {
    UpdateUuid::try_from(uuid.value.as_ref()).ok()
}

fn to_uuid(uuid: UpdateUuid) -> Uuid {
    Uuid { value: uuid_to(uuid) }
}

fn to_v1(id: &ProviderId) -> v1::ResourceProviderId {
    v1::ResourceProviderId { value: id.to_string() }
}

fn of(kind: event::Type) -> Event {
    Event { r#type: Some(kind as i32), ..Default::default() }
}

#[cfg(test)]
#[path = "providers_test.rs"]
mod tests;
