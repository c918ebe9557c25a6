//! Commands as bytes of the log, and back.
//!
//! Each type of the vocabulary has a message of its own; the two directions stand side by side, so that a field that
//! is missing in one shows. Nothing is guessed: bytes that do not say a whole command are an error, and the node that
//! reads them from its log stops.

mod administration;
mod agent;
mod framework;
mod operation;
mod provider;
mod resource;
mod sharing;
mod task;

use bytes::Bytes;
use mesarch_proto::log;
use mesarch_types::{ClusterId, Epoch, FrameworkId, OfferId, UpdateUuid};
use prost::Message;

use crate::command::{BeginTerm, Command, EventsDelivered, OutboxPosition, RescindOffers, SetLevel};

/// Why bytes are no command.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// They are no message of the log.
    #[error("not a command of the log")]
    Message(#[from] prost::DecodeError),
    /// A kind that this version does not know, or none.
    #[error("the command is of a kind unknown to this version")]
    UnknownKind,
    /// A field is missing or out of its range.
    #[error("the command's field {0} is missing or malformed")]
    Field(&'static str),
}

impl Command {
    /// The command's bytes for the log. Equal commands have equal bytes.
    pub fn encode(&self) -> Bytes {
        log::Command { kind: Some(to_kind(self)) }.encode_to_vec().into()
    }

    /// Reads a command from the log. Never panics; an error means that this version must not go on.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        from_kind(log::Command::decode(bytes)?.kind.ok_or(DecodeError::UnknownKind)?)
    }
}

fn to_kind(command: &Command) -> log::command::Kind {
    use log::command::Kind;
    match command {
        Command::BeginTerm(c) => Kind::BeginTerm(c.to_log()),
        Command::SetLevel(c) => Kind::SetLevel(c.to_log()),
        Command::EventsDelivered(c) => Kind::EventsDelivered(c.to_log()),
        Command::RegisterAgent(c) => Kind::RegisterAgent(c.to_log()),
        Command::AttachAgent(c) => Kind::AttachAgent(c.to_log()),
        Command::DetachAgent(c) => Kind::DetachAgent(c.to_log()),
        Command::MarkUnreachable(c) => Kind::MarkUnreachable(c.to_log()),
        Command::Subscribe(c) => Kind::Subscribe(c.to_log()),
        Command::UpdateFramework(c) => Kind::UpdateFramework(c.to_log()),
        Command::Disconnect(c) => Kind::Disconnect(c.to_log()),
        Command::Suppress(c) => Kind::Suppress(c.to_log()),
        Command::Revive(c) => Kind::Revive(c.to_log()),
        Command::Teardown(c) => Kind::Teardown(c.to_log()),
        Command::ExpireFailover(c) => Kind::ExpireFailover(c.to_log()),
        Command::IssueOffers(c) => Kind::IssueOffers(c.to_log()),
        Command::AcceptOffers(c) => Kind::AcceptOffers(c.to_log()),
        Command::DeclineOffers(c) => Kind::DeclineOffers(c.to_log()),
        Command::RescindOffers(c) => Kind::RescindOffers(c.to_log()),
        Command::RecordUpdates(c) => Kind::RecordUpdates(c.to_log()),
        Command::AcknowledgeUpdates(c) => Kind::AcknowledgeUpdates(c.to_log()),
        Command::AgentForgot(c) => Kind::AgentForgot(c.to_log()),
        Command::RequestKill(c) => Kind::RequestKill(c.to_log()),
        Command::RequestShutdown(c) => Kind::RequestShutdown(c.to_log()),
        Command::ExecutorExited(c) => Kind::ExecutorExited(c.to_log()),
        Command::SetWeights(c) => Kind::SetWeights(c.to_log()),
        Command::SetQuota(c) => Kind::SetQuota(c.to_log()),
        Command::SetPriorities(c) => Kind::SetPriorities(c.to_log()),
        Command::SetWhitelist(c) => Kind::SetWhitelist(c.to_log()),
        Command::SetPolicy(c) => Kind::SetPolicy(c.to_log()),
        Command::ConvertResources(c) => Kind::ConvertResources(c.to_log()),
        Command::DrainAgent(c) => Kind::DrainAgent(c.to_log()),
        Command::DeactivateAgent(c) => Kind::DeactivateAgent(c.to_log()),
        Command::ReactivateAgent(c) => Kind::ReactivateAgent(c.to_log()),
        Command::MarkAgentGone(c) => Kind::MarkAgentGone(c.to_log()),
        Command::SetSchedule(c) => Kind::SetSchedule(c.to_log()),
        Command::StartMaintenance(c) => Kind::StartMaintenance(c.to_log()),
        Command::StopMaintenance(c) => Kind::StopMaintenance(c.to_log()),
        Command::IssueInverseOffers(c) => Kind::IssueInverseOffers(c.to_log()),
        Command::AnswerInverseOffers(c) => Kind::AnswerInverseOffers(c.to_log()),
        Command::ResourcesStored(c) => Kind::ResourcesStored(c.to_log()),
        Command::AcknowledgeOperation(c) => Kind::AcknowledgeOperation(c.to_log()),
        Command::UpdateProviders(c) => Kind::UpdateProviders(c.to_log()),
        Command::RecordOperations(c) => Kind::RecordOperations(c.to_log()),
    }
}

fn from_kind(kind: log::command::Kind) -> Result<Command, DecodeError> {
    use log::command::Kind;
    Ok(match kind {
        Kind::BeginTerm(c) => Command::BeginTerm(Logged::from_log(c)?),
        Kind::SetLevel(c) => Command::SetLevel(Logged::from_log(c)?),
        Kind::EventsDelivered(c) => Command::EventsDelivered(Logged::from_log(c)?),
        Kind::RegisterAgent(c) => Command::RegisterAgent(Logged::from_log(c)?),
        Kind::AttachAgent(c) => Command::AttachAgent(Logged::from_log(c)?),
        Kind::DetachAgent(c) => Command::DetachAgent(Logged::from_log(c)?),
        Kind::MarkUnreachable(c) => Command::MarkUnreachable(Logged::from_log(c)?),
        Kind::Subscribe(c) => Command::Subscribe(Logged::from_log(c)?),
        Kind::UpdateFramework(c) => Command::UpdateFramework(Logged::from_log(c)?),
        Kind::Disconnect(c) => Command::Disconnect(Logged::from_log(c)?),
        Kind::Suppress(c) => Command::Suppress(Logged::from_log(c)?),
        Kind::Revive(c) => Command::Revive(Logged::from_log(c)?),
        Kind::Teardown(c) => Command::Teardown(Logged::from_log(c)?),
        Kind::ExpireFailover(c) => Command::ExpireFailover(Logged::from_log(c)?),
        Kind::IssueOffers(c) => Command::IssueOffers(Logged::from_log(c)?),
        Kind::AcceptOffers(c) => Command::AcceptOffers(Logged::from_log(c)?),
        Kind::DeclineOffers(c) => Command::DeclineOffers(Logged::from_log(c)?),
        Kind::RescindOffers(c) => Command::RescindOffers(Logged::from_log(c)?),
        Kind::RecordUpdates(c) => Command::RecordUpdates(Logged::from_log(c)?),
        Kind::AcknowledgeUpdates(c) => Command::AcknowledgeUpdates(Logged::from_log(c)?),
        Kind::AgentForgot(c) => Command::AgentForgot(Logged::from_log(c)?),
        Kind::RequestKill(c) => Command::RequestKill(Logged::from_log(c)?),
        Kind::RequestShutdown(c) => Command::RequestShutdown(Logged::from_log(c)?),
        Kind::ExecutorExited(c) => Command::ExecutorExited(Logged::from_log(c)?),
        Kind::SetWeights(c) => Command::SetWeights(Logged::from_log(c)?),
        Kind::SetQuota(c) => Command::SetQuota(Logged::from_log(c)?),
        Kind::SetPriorities(c) => Command::SetPriorities(Logged::from_log(c)?),
        Kind::SetWhitelist(c) => Command::SetWhitelist(Logged::from_log(c)?),
        Kind::SetPolicy(c) => Command::SetPolicy(Logged::from_log(c)?),
        Kind::ConvertResources(c) => Command::ConvertResources(Logged::from_log(c)?),
        Kind::DrainAgent(c) => Command::DrainAgent(Logged::from_log(c)?),
        Kind::DeactivateAgent(c) => Command::DeactivateAgent(Logged::from_log(c)?),
        Kind::ReactivateAgent(c) => Command::ReactivateAgent(Logged::from_log(c)?),
        Kind::MarkAgentGone(c) => Command::MarkAgentGone(Logged::from_log(c)?),
        Kind::SetSchedule(c) => Command::SetSchedule(Logged::from_log(c)?),
        Kind::StartMaintenance(c) => Command::StartMaintenance(Logged::from_log(c)?),
        Kind::StopMaintenance(c) => Command::StopMaintenance(Logged::from_log(c)?),
        Kind::IssueInverseOffers(c) => Command::IssueInverseOffers(Logged::from_log(c)?),
        Kind::AnswerInverseOffers(c) => Command::AnswerInverseOffers(Logged::from_log(c)?),
        Kind::ResourcesStored(c) => Command::ResourcesStored(Logged::from_log(c)?),
        Kind::AcknowledgeOperation(c) => Command::AcknowledgeOperation(Logged::from_log(c)?),
        Kind::UpdateProviders(c) => Command::UpdateProviders(Logged::from_log(c)?),
        Kind::RecordOperations(c) => Command::RecordOperations(Logged::from_log(c)?),
    })
}

/// A type of the vocabulary with its message.
trait Logged: Sized {
    /// Its form in the log.
    type Message;
    fn to_log(&self) -> Self::Message;
    fn from_log(message: Self::Message) -> Result<Self, DecodeError>;
}

fn to_logs<T: Logged>(list: &[T]) -> Vec<T::Message> {
    list.iter().map(T::to_log).collect()
}

fn from_logs<T: Logged, L: FromIterator<T>>(list: Vec<T::Message>) -> Result<L, DecodeError> {
    list.into_iter().map(T::from_log).collect()
}

/// A message field that has to be there.
fn field<T: Logged>(message: Option<T::Message>, name: &'static str) -> Result<T, DecodeError> {
    T::from_log(message.ok_or(DecodeError::Field(name))?)
}

/// A message field that may be absent.
fn optional<T: Logged>(message: Option<T::Message>) -> Result<Option<T>, DecodeError> {
    message.map(T::from_log).transpose()
}

/// Ids, roles and names as they are.
fn texts<'a, T: AsRef<str> + 'a>(list: impl IntoIterator<Item = &'a T>) -> Vec<String> {
    list.into_iter().map(|text| text.as_ref().to_owned()).collect()
}

fn ids<T: From<String>, L: FromIterator<T>>(list: Vec<String>) -> L {
    list.into_iter().map(T::from).collect()
}

fn sixteen(bytes: &[u8], name: &'static str) -> Result<[u8; 16], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Field(name))
}

fn uuid(bytes: &[u8]) -> Result<UpdateUuid, DecodeError> {
    sixteen(bytes, "uuid").map(UpdateUuid)
}

fn uuid_bytes(uuid: UpdateUuid) -> Bytes {
    Bytes::copy_from_slice(&uuid.0)
}

impl Logged for BeginTerm {
    type Message = log::BeginTerm;

    fn to_log(&self) -> log::BeginTerm {
        let cluster = Bytes::copy_from_slice(&self.cluster.0);
        let policy = self.policy.as_deref().map(str::to_owned);
        log::BeginTerm { cluster, incarnation: self.incarnation, level: self.level, policy }
    }

    fn from_log(message: log::BeginTerm) -> Result<Self, DecodeError> {
        let cluster = ClusterId(sixteen(&message.cluster, "cluster")?);
        let policy = message.policy.map(Into::into);
        Ok(Self { cluster, incarnation: message.incarnation, level: message.level, policy })
    }
}

impl Logged for SetLevel {
    type Message = log::SetLevel;

    fn to_log(&self) -> log::SetLevel {
        log::SetLevel { level: self.level }
    }

    fn from_log(message: log::SetLevel) -> Result<Self, DecodeError> {
        Ok(Self { level: message.level })
    }
}

impl Logged for EventsDelivered {
    type Message = log::EventsDelivered;

    fn to_log(&self) -> log::EventsDelivered {
        let framework = self.framework.to_string();
        log::EventsDelivered { framework, stream: self.stream.0, up_to: self.up_to.0 }
    }

    fn from_log(message: log::EventsDelivered) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            stream: Epoch(message.stream),
            up_to: OutboxPosition(message.up_to),
        })
    }
}

impl Logged for RescindOffers {
    type Message = log::RescindOffers;

    fn to_log(&self) -> log::RescindOffers {
        log::RescindOffers { offers: texts::<OfferId>(&self.offers) }
    }

    fn from_log(message: log::RescindOffers) -> Result<Self, DecodeError> {
        Ok(Self { offers: ids(message.offers) })
    }
}
