//! Commands about agents.

use bytes::Bytes;
use mesarch_proto::log;
use mesarch_types::{
    AgentId, FrameworkId, LaunchId, ResourceVersion, TaskId, UpdateUuid, capability::AgentCapabilities,
};
use prost::Message;

use super::{
    DecodeError, Logged, field, from_logs, ids, optional,
    resource::{from_resources, to_resources},
    sixteen,
    task::from_state,
    texts, to_logs, uuid, uuid_bytes,
};
use crate::command::{
    AgentForgot, AgentSpec, AttachAgent, DetachAgent, Inventory, InventoryExecutor, InventoryTask, Link,
    MarkUnreachable, RegisterAgent,
};

impl Logged for AgentSpec {
    type Message = log::AgentSpec;

    fn to_log(&self) -> log::AgentSpec {
        log::AgentSpec {
            info: self.info.clone(),
            hostname: self.hostname.to_string(),
            port: self.port.into(),
            total: to_resources(&self.total),
            attributes: to_logs(&self.attributes),
            capabilities: self.capabilities.numbers().collect(),
            version: self.version.to_string(),
        }
    }

    fn from_log(message: log::AgentSpec) -> Result<Self, DecodeError> {
        Ok(Self {
            info: message.info,
            hostname: message.hostname.into(),
            port: message.port.try_into().map_err(|_| DecodeError::Field("port"))?,
            total: from_resources(message.total)?,
            attributes: from_logs::<_, Vec<_>>(message.attributes)?.into(),
            capabilities: AgentCapabilities::from_numbers(message.capabilities),
            version: message.version.into(),
        })
    }
}

impl Logged for Link {
    type Message = log::Link;

    fn to_log(&self) -> log::Link {
        log::Link { term: self.term, serial: self.serial }
    }

    fn from_log(message: log::Link) -> Result<Self, DecodeError> {
        Ok(Self { term: message.term, serial: message.serial })
    }
}

impl Logged for RegisterAgent {
    type Message = log::RegisterAgent;

    fn to_log(&self) -> log::RegisterAgent {
        log::RegisterAgent {
            nonce: Bytes::copy_from_slice(&self.nonce),
            spec: Some(self.spec.to_log()),
            link: Some(self.link.to_log()),
        }
    }

    fn from_log(message: log::RegisterAgent) -> Result<Self, DecodeError> {
        Ok(Self {
            nonce: sixteen(&message.nonce, "nonce")?,
            spec: field(message.spec, "spec")?,
            link: field(message.link, "link")?,
        })
    }
}

impl Logged for AttachAgent {
    type Message = log::AttachAgent;

    fn to_log(&self) -> log::AttachAgent {
        log::AttachAgent {
            agent: self.agent.to_string(),
            link: Some(self.link.to_log()),
            spec: self.spec.as_ref().map(Logged::to_log),
            inventory: self.inventory.as_ref().map(Logged::to_log),
            stored: (self.stored != ResourceVersion::default()).then(|| self.stored.to_log()),
        }
    }

    fn from_log(message: log::AttachAgent) -> Result<Self, DecodeError> {
        Ok(Self {
            agent: AgentId::from(message.agent),
            link: field(message.link, "link")?,
            spec: optional(message.spec)?,
            inventory: optional(message.inventory)?,
            stored: optional(message.stored)?.unwrap_or_default(),
        })
    }
}

impl Logged for Inventory {
    type Message = log::Inventory;

    fn to_log(&self) -> log::Inventory {
        let frameworks = self.frameworks.iter().map(|(framework, info)| log::InventoryFramework {
            framework: framework.to_string(),
            info: info.clone(),
        });
        log::Inventory {
            tasks: to_logs(&self.tasks),
            executors: to_logs(&self.executors),
            frameworks: frameworks.collect(),
            newest: (self.newest != LaunchId::default()).then(|| self.newest.to_log()),
            resources: self.resources.as_ref().map(Logged::to_log),
        }
    }

    fn from_log(message: log::Inventory) -> Result<Self, DecodeError> {
        let frameworks = message.frameworks.into_iter();
        Ok(Self {
            tasks: from_logs(message.tasks)?,
            executors: from_logs(message.executors)?,
            frameworks: frameworks.map(|known| (FrameworkId::from(known.framework), known.info)).collect(),
            newest: optional(message.newest)?.unwrap_or_default(),
            resources: optional(message.resources)?,
        })
    }
}

impl Inventory {
    /// Bytes that it takes in a command.
    pub fn encoded_len(&self) -> usize {
        self.to_log().encoded_len()
    }
}

impl Logged for InventoryTask {
    type Message = log::InventoryTask;

    fn to_log(&self) -> log::InventoryTask {
        log::InventoryTask {
            framework: self.framework.to_string(),
            launch: Some(self.launch.to_log()),
            spec: Some(self.spec.to_log()),
            state: self.state as i32,
            acknowledged: self.acknowledged.map(uuid_bytes),
        }
    }

    fn from_log(message: log::InventoryTask) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            launch: field(message.launch, "launch")?,
            spec: field(message.spec, "spec")?,
            state: from_state(message.state)?,
            acknowledged: message.acknowledged.map(|bytes| uuid(&bytes)).transpose()?,
        })
    }
}

impl Logged for InventoryExecutor {
    type Message = log::InventoryExecutor;

    fn to_log(&self) -> log::InventoryExecutor {
        log::InventoryExecutor { framework: self.framework.to_string(), spec: Some(self.spec.to_log()) }
    }

    fn from_log(message: log::InventoryExecutor) -> Result<Self, DecodeError> {
        Ok(Self { framework: FrameworkId::from(message.framework), spec: field(message.spec, "spec")? })
    }
}

impl Logged for DetachAgent {
    type Message = log::DetachAgent;

    fn to_log(&self) -> log::DetachAgent {
        log::DetachAgent { agent: self.agent.to_string(), link: Some(self.link.to_log()) }
    }

    fn from_log(message: log::DetachAgent) -> Result<Self, DecodeError> {
        Ok(Self { agent: AgentId::from(message.agent), link: field(message.link, "link")? })
    }
}

impl Logged for MarkUnreachable {
    type Message = log::MarkUnreachable;

    fn to_log(&self) -> log::MarkUnreachable {
        let agents = self
            .agents
            .iter()
            .map(|(agent, link)| log::DetachAgent { agent: agent.to_string(), link: Some(link.to_log()) });
        log::MarkUnreachable { agents: agents.collect() }
    }

    fn from_log(message: log::MarkUnreachable) -> Result<Self, DecodeError> {
        let agents = message.agents.into_iter();
        let agents = agents.map(|one| Ok((AgentId::from(one.agent), field(one.link, "link")?)));
        Ok(Self { agents: agents.collect::<Result<_, DecodeError>>()? })
    }
}

type Forgotten = (FrameworkId, TaskId, LaunchId, UpdateUuid);

impl Logged for Forgotten {
    type Message = log::Forgotten;

    fn to_log(&self) -> log::Forgotten {
        log::Forgotten {
            framework: self.0.to_string(),
            task: self.1.to_string(),
            launch: Some(self.2.to_log()),
            uuid: uuid_bytes(self.3),
        }
    }

    fn from_log(message: log::Forgotten) -> Result<Self, DecodeError> {
        let launch = field(message.launch, "launch")?;
        Ok((message.framework.into(), message.task.into(), launch, uuid(&message.uuid)?))
    }
}

impl Logged for AgentForgot {
    type Message = log::AgentForgot;

    fn to_log(&self) -> log::AgentForgot {
        log::AgentForgot {
            agent: self.agent.to_string(),
            acknowledged: to_logs(&self.acknowledged),
            frameworks: texts(&self.frameworks),
        }
    }

    fn from_log(message: log::AgentForgot) -> Result<Self, DecodeError> {
        Ok(Self {
            agent: AgentId::from(message.agent),
            acknowledged: from_logs(message.acknowledged)?,
            frameworks: ids(message.frameworks),
        })
    }
}
