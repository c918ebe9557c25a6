//! Resource providers.

use std::sync::Arc;

use mesarch_proto::log;
use mesarch_types::{OperationState, UpdateUuid};

use super::{
    DecodeError, Logged, field, from_logs, optional,
    resource::{from_resources, to_resources},
    to_logs, uuid, uuid_bytes,
};
use crate::command::{OperationUpdate, ProviderState, ProviderWord, RecordOperations, UpdateProviders};

impl Logged for UpdateProviders {
    type Message = log::UpdateProviders;

    fn to_log(&self) -> log::UpdateProviders {
        log::UpdateProviders {
            agent: self.agent.to_string(),
            link: Some(self.link.to_log()),
            sequence: self.sequence,
            providers: to_logs(&self.providers),
        }
    }

    fn from_log(message: log::UpdateProviders) -> Result<Self, DecodeError> {
        Ok(Self {
            agent: message.agent.into(),
            link: field(message.link, "link")?,
            sequence: message.sequence,
            providers: from_logs(message.providers)?,
        })
    }
}

impl Logged for ProviderWord {
    type Message = log::ProviderWord;

    fn to_log(&self) -> log::ProviderWord {
        log::ProviderWord {
            id: self.id.to_string(),
            info: self.info.clone(),
            connected: self.connected,
            state: self.state.as_ref().map(Logged::to_log),
        }
    }

    fn from_log(message: log::ProviderWord) -> Result<Self, DecodeError> {
        Ok(Self {
            id: message.id.into(),
            info: message.info,
            connected: message.connected,
            state: optional(message.state)?,
        })
    }
}

impl Logged for ProviderState {
    type Message = log::ProviderState;

    fn to_log(&self) -> log::ProviderState {
        let known = |(operation, ended): &(UpdateUuid, bool)| log::KnownOperation {
            operation: uuid_bytes(*operation),
            ended: *ended,
        };
        log::ProviderState {
            version: uuid_bytes(self.version),
            total: to_resources(&self.total),
            operations: self.operations.iter().map(known).collect(),
        }
    }

    fn from_log(message: log::ProviderState) -> Result<Self, DecodeError> {
        let known = |known: log::KnownOperation| Ok((uuid(&known.operation)?, known.ended));
        Ok(Self {
            version: uuid(&message.version)?,
            total: from_resources(message.total)?,
            operations: message.operations.into_iter().map(known).collect::<Result<_, DecodeError>>()?,
        })
    }
}

impl Logged for RecordOperations {
    type Message = log::RecordOperations;

    fn to_log(&self) -> log::RecordOperations {
        log::RecordOperations { agent: self.agent.to_string(), updates: to_logs(&self.updates) }
    }

    fn from_log(message: log::RecordOperations) -> Result<Self, DecodeError> {
        Ok(Self { agent: message.agent.into(), updates: from_logs(message.updates)? })
    }
}

impl Logged for OperationUpdate {
    type Message = log::OperationUpdate;

    fn to_log(&self) -> log::OperationUpdate {
        log::OperationUpdate {
            provider: self.provider.to_string(),
            operation: uuid_bytes(self.operation),
            state: self.state as i32,
            status: self.status.map(uuid_bytes),
            message: self.message.to_string(),
            converted: to_resources(&self.converted),
        }
    }

    fn from_log(message: log::OperationUpdate) -> Result<Self, DecodeError> {
        Ok(Self {
            provider: message.provider.into(),
            operation: uuid(&message.operation)?,
            state: OperationState::from_number(message.state).ok_or(DecodeError::Field("state"))?,
            status: message.status.as_deref().map(uuid).transpose()?,
            message: Arc::from(message.message),
            converted: from_resources(message.converted)?,
        })
    }
}
