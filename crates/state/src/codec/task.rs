//! Commands about tasks and executors.

use mesarch_proto::log;
use mesarch_types::{AgentId, ExecutorId, FrameworkId, LaunchId, Reason, Source, TaskId, TaskState};

use super::{
    DecodeError, Logged, field, from_logs, optional,
    resource::{from_resources, to_resources},
    to_logs, uuid, uuid_bytes,
};
use crate::command::{
    AcknowledgeUpdates, Acknowledgement, ExecutorExited, ExecutorKey, ExecutorSpec, RecordUpdates,
    RequestKill, StatusUpdate, TaskSpec,
};

pub(super) fn from_state(number: i32) -> Result<TaskState, DecodeError> {
    TaskState::from_number(number).ok_or(DecodeError::Field("state"))
}

impl Logged for LaunchId {
    type Message = log::LaunchId;

    fn to_log(&self) -> log::LaunchId {
        log::LaunchId { index: self.index, position: self.position }
    }

    fn from_log(message: log::LaunchId) -> Result<Self, DecodeError> {
        Ok(Self { index: message.index, position: message.position })
    }
}

impl Logged for TaskSpec {
    type Message = log::TaskSpec;

    fn to_log(&self) -> log::TaskSpec {
        log::TaskSpec {
            id: self.id.to_string(),
            info: self.info.clone(),
            resources: to_resources(&self.resources),
            executor: self.executor.as_ref().map(Logged::to_log),
        }
    }

    fn from_log(message: log::TaskSpec) -> Result<Self, DecodeError> {
        Ok(Self {
            id: TaskId::from(message.id),
            info: message.info,
            resources: from_resources(message.resources)?,
            executor: optional(message.executor)?,
        })
    }
}

impl Logged for ExecutorSpec {
    type Message = log::ExecutorSpec;

    fn to_log(&self) -> log::ExecutorSpec {
        log::ExecutorSpec {
            id: self.id.to_string(),
            info: self.info.clone(),
            resources: to_resources(&self.resources),
        }
    }

    fn from_log(message: log::ExecutorSpec) -> Result<Self, DecodeError> {
        Ok(Self {
            id: ExecutorId::from(message.id),
            info: message.info,
            resources: from_resources(message.resources)?,
        })
    }
}

impl Logged for RecordUpdates {
    type Message = log::RecordUpdates;

    fn to_log(&self) -> log::RecordUpdates {
        log::RecordUpdates { agent: self.agent.to_string(), updates: to_logs(&self.updates) }
    }

    fn from_log(message: log::RecordUpdates) -> Result<Self, DecodeError> {
        Ok(Self { agent: AgentId::from(message.agent), updates: from_logs(message.updates)? })
    }
}

impl Logged for StatusUpdate {
    type Message = log::StatusUpdate;

    fn to_log(&self) -> log::StatusUpdate {
        log::StatusUpdate {
            framework: self.framework.to_string(),
            task: self.task.to_string(),
            launch: Some(self.launch.to_log()),
            status: self.status.clone(),
            state: self.state as i32,
            latest: self.latest as i32,
            uuid: uuid_bytes(self.uuid),
            source: self.source as i32,
            reason: self.reason.map(|reason| reason as i32),
        }
    }

    fn from_log(message: log::StatusUpdate) -> Result<Self, DecodeError> {
        let reason = |number| Reason::from_number(number).ok_or(DecodeError::Field("reason"));
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            task: TaskId::from(message.task),
            launch: field(message.launch, "launch")?,
            status: message.status,
            state: from_state(message.state)?,
            latest: from_state(message.latest)?,
            uuid: uuid(&message.uuid)?,
            source: Source::from_number(message.source).ok_or(DecodeError::Field("source"))?,
            reason: message.reason.map(reason).transpose()?,
        })
    }
}

impl Logged for AcknowledgeUpdates {
    type Message = log::AcknowledgeUpdates;

    fn to_log(&self) -> log::AcknowledgeUpdates {
        log::AcknowledgeUpdates { items: to_logs(&self.items) }
    }

    fn from_log(message: log::AcknowledgeUpdates) -> Result<Self, DecodeError> {
        Ok(Self { items: from_logs(message.items)? })
    }
}

impl Logged for Acknowledgement {
    type Message = log::Acknowledgement;

    fn to_log(&self) -> log::Acknowledgement {
        log::Acknowledgement {
            framework: self.framework.to_string(),
            agent: self.agent.to_string(),
            task: self.task.to_string(),
            uuid: uuid_bytes(self.uuid),
        }
    }

    fn from_log(message: log::Acknowledgement) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            agent: AgentId::from(message.agent),
            task: TaskId::from(message.task),
            uuid: uuid(&message.uuid)?,
        })
    }
}

impl Logged for RequestKill {
    type Message = log::RequestKill;

    fn to_log(&self) -> log::RequestKill {
        log::RequestKill {
            framework: self.framework.to_string(),
            task: self.task.to_string(),
            agent: self.agent.as_ref().map(AgentId::to_string),
            policy: self.policy.clone(),
        }
    }

    fn from_log(message: log::RequestKill) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            task: TaskId::from(message.task),
            agent: message.agent.map(AgentId::from),
            policy: message.policy,
        })
    }
}

impl Logged for ExecutorKey {
    type Message = log::ExecutorKey;

    fn to_log(&self) -> log::ExecutorKey {
        log::ExecutorKey {
            framework: self.framework.to_string(),
            agent: self.agent.to_string(),
            executor: self.executor.to_string(),
        }
    }

    fn from_log(message: log::ExecutorKey) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            agent: AgentId::from(message.agent),
            executor: ExecutorId::from(message.executor),
        })
    }
}

impl Logged for ExecutorExited {
    type Message = log::ExecutorExited;

    fn to_log(&self) -> log::ExecutorExited {
        let newest = self.newest.as_ref().map(Logged::to_log);
        log::ExecutorExited { executor: Some(self.executor.to_log()), status: self.status, newest }
    }

    fn from_log(message: log::ExecutorExited) -> Result<Self, DecodeError> {
        let executor = field(message.executor, "executor")?;
        Ok(Self { executor, newest: optional(message.newest)?, status: message.status })
    }
}
