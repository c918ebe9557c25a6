//! Operations on resources.

use std::sync::Arc;

use mesarch_proto::log::{self, convert_resources::Kind};
use mesarch_types::{AgentId, Conversion, Epoch, OperationId, Resource, ResourceVersion, Resources, Scalar};

use super::{
    DecodeError, Logged, field, from_logs,
    resource::{from_resources, to_resources},
    to_logs, uuid, uuid_bytes,
};
use crate::command::{AcknowledgeOperation, ConvertResources, Operation, ResourcesStored, StoredResources};

impl Logged for Conversion {
    type Message = log::Conversion;

    fn to_log(&self) -> log::Conversion {
        let all = |kind: Kind, resources: &Resources| (kind, to_resources(resources), 0);
        let (kind, resources, subtract) = match self {
            Self::Reserve(resources) => all(Kind::Reserve, resources),
            Self::Unreserve(resources) => all(Kind::Unreserve, resources),
            Self::Create(resources) => all(Kind::Create, resources),
            Self::Destroy(resources) => all(Kind::Destroy, resources),
            Self::Grow { volume, addition } => (Kind::Grow, to_logs(&[volume.clone(), addition.clone()]), 0),
            Self::Shrink { volume, subtract } => (Kind::Shrink, vec![volume.to_log()], subtract.0),
            Self::ChangeDisk(disk) => (Kind::ChangeDisk, vec![disk.to_log()], 0),
            Self::Rereserve { target, .. } => all(Kind::Rereserve, target),
        };
        let sources = match self {
            Self::Rereserve { source, .. } => to_resources(source),
            _ => Vec::new(),
        };
        log::Conversion { kind: kind as i32, resources, subtract, sources }
    }

    fn from_log(message: log::Conversion) -> Result<Self, DecodeError> {
        let all = from_resources;
        let list = message.resources;
        Ok(match Kind::try_from(message.kind).map_err(|_| DecodeError::Field("kind"))? {
            Kind::Reserve => Self::Reserve(all(list)?),
            Kind::Unreserve => Self::Unreserve(all(list)?),
            Kind::Create => Self::Create(all(list)?),
            Kind::Destroy => Self::Destroy(all(list)?),
            Kind::Grow => {
                let [volume, addition] = exactly(list)?;
                Self::Grow { volume, addition }
            }
            Kind::Shrink => {
                let [volume] = exactly(list)?;
                Self::Shrink { volume, subtract: Scalar(message.subtract) }
            }
            Kind::ChangeDisk => {
                let [disk] = exactly(list)?;
                Self::ChangeDisk(disk)
            }
            Kind::Rereserve => Self::Rereserve { source: all(message.sources)?, target: all(list)? },
        })
    }
}

fn exactly<const N: usize>(list: Vec<log::Resource>) -> Result<[Resource; N], DecodeError> {
    let list: Vec<Resource> = from_logs(list)?;
    list.try_into().map_err(|_| DecodeError::Field("resources"))
}

impl Logged for ConvertResources {
    type Message = log::ConvertResources;

    fn to_log(&self) -> log::ConvertResources {
        let log::Conversion { kind, resources, subtract, sources } = self.conversion.to_log();
        log::ConvertResources { agent: self.agent.to_string(), kind, resources, subtract, sources }
    }

    fn from_log(message: log::ConvertResources) -> Result<Self, DecodeError> {
        let log::ConvertResources { agent, kind, resources, subtract, sources } = message;
        let conversion = Conversion::from_log(log::Conversion { kind, resources, subtract, sources })?;
        Ok(Self { agent: AgentId::from(agent), conversion })
    }
}

impl Logged for Operation {
    type Message = log::Operation;

    fn to_log(&self) -> log::Operation {
        use log::operation;
        log::Operation {
            before: self.before,
            id: self.id.as_ref().map(OperationId::to_string),
            uuid: uuid_bytes(self.uuid),
            info: self.info.clone(),
            kind: Some(match &self.judged {
                Ok(conversion) => operation::Kind::Conversion(conversion.to_log()),
                Err(why) => operation::Kind::Invalid(why.to_string()),
            }),
        }
    }

    fn from_log(message: log::Operation) -> Result<Self, DecodeError> {
        use log::operation;
        Ok(Self {
            before: message.before,
            id: message.id.map(OperationId::from),
            uuid: uuid(&message.uuid)?,
            info: message.info,
            judged: match message.kind.ok_or(DecodeError::Field("operation"))? {
                operation::Kind::Conversion(conversion) => Ok(Conversion::from_log(conversion)?),
                operation::Kind::Invalid(why) => Err(Arc::from(why)),
            },
        })
    }
}

impl Logged for ResourceVersion {
    type Message = log::ResourceVersion;

    fn to_log(&self) -> log::ResourceVersion {
        log::ResourceVersion { incarnation: self.incarnation, epoch: self.epoch.0 }
    }

    fn from_log(message: log::ResourceVersion) -> Result<Self, DecodeError> {
        Ok(Self { incarnation: message.incarnation, epoch: Epoch(message.epoch) })
    }
}

impl Logged for ResourcesStored {
    type Message = log::ResourcesStored;

    fn to_log(&self) -> log::ResourcesStored {
        log::ResourcesStored { agent: self.agent.to_string(), version: Some(self.version.to_log()) }
    }

    fn from_log(message: log::ResourcesStored) -> Result<Self, DecodeError> {
        Ok(Self { agent: message.agent.into(), version: field(message.version, "version")? })
    }
}

impl Logged for StoredResources {
    type Message = log::StoredResources;

    fn to_log(&self) -> log::StoredResources {
        log::StoredResources {
            version: Some(self.version.to_log()),
            taken: to_resources(&self.taken),
            made: to_resources(&self.made),
        }
    }

    fn from_log(message: log::StoredResources) -> Result<Self, DecodeError> {
        Ok(Self {
            version: field(message.version, "version")?,
            taken: from_resources(message.taken)?,
            made: from_resources(message.made)?,
        })
    }
}

impl Logged for AcknowledgeOperation {
    type Message = log::AcknowledgeOperation;

    fn to_log(&self) -> log::AcknowledgeOperation {
        log::AcknowledgeOperation {
            framework: self.framework.to_string(),
            operation: self.operation.to_string(),
            uuid: uuid_bytes(self.uuid),
        }
    }

    fn from_log(message: log::AcknowledgeOperation) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: message.framework.into(),
            operation: message.operation.into(),
            uuid: uuid(&message.uuid)?,
        })
    }
}
