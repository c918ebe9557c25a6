//! Records to and from `mesarch.checkpoint`.

use bytes::Bytes;
use mesarch_agent_core::{
    Body, ExecutorSpec, FrameworkSpec, Record, ResourceFacts, Run, TaskKey, TaskRecord, Update,
};
use mesarch_proto::checkpoint::{self as proto, record::Kind};
use mesarch_types::{ContainerId, Millis, Reason, TaskState, UpdateUuid, WallMillis};
use prost::Message;

use crate::wire::{
    WireError, fence_from, fence_to, key_from, key_to, launch_from, launch_to, list_from, list_to,
    resources_from, resources_to, uuid_from, uuid_to,
};

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("not a batch of records")]
    Batch(#[from] prost::DecodeError),
    #[error("a record of a kind that this version does not know")]
    UnknownKind,
    #[error(transparent)]
    Field(#[from] WireError),
}

/// What a log says.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) nonce: Option<[u8; 16]>,
    pub(super) records: Vec<Record>,
}

impl Log {
    /// Takes one batch in.
    pub(super) fn read(&mut self, batch: &[u8]) -> Result<(), RecordError> {
        for record in proto::Batch::decode(batch)?.records {
            match record.kind.ok_or(RecordError::UnknownKind)? {
                Kind::Origin(origin) => self.nonce = Some(uuid_from(&origin.nonce)?.0),
                kind => self.records.push(from_proto(kind)?),
            }
        }
        Ok(())
    }
}

/// The bytes of one batch; the first one of a log starts with the nonce.
pub(super) fn batch(nonce: Option<[u8; 16]>, records: &[Record]) -> Vec<u8> {
    let origin = nonce.map(|nonce| Kind::Origin(proto::Origin { nonce: Bytes::copy_from_slice(&nonce) }));
    let kinds = origin.into_iter().chain(records.iter().map(to_proto));
    let records = kinds.map(|kind| proto::Record { kind: Some(kind) }).collect();
    proto::Batch { records }.encode_to_vec()
}

fn to_proto(record: &Record) -> Kind {
    match record {
        Record::Identity(agent) => Kind::Agent(agent.to_string()),
        Record::Fence(fence) => Kind::Fence(fence_to(fence)),
        Record::Framework(framework) => Kind::Framework(framework_to(framework)),
        Record::FrameworkEnding(id) => Kind::FrameworkEnding(id.to_string()),
        Record::FrameworkEnded(id) => Kind::FrameworkEnded(id.to_string()),
        Record::Executor(run, spec) => {
            Kind::Executor(proto::Executor { run: Some(run_to(run)), spec: Some(spec_to(spec)) })
        }
        Record::ExecutorEnded(run) => Kind::ExecutorEnded(run_to(run)),
        Record::Task(task) => Kind::Task(task_to(task)),
        Record::Bound(key, container) => {
            Kind::Bound(proto::Bound { key: Some(key_to(key)), container: container.to_string() })
        }
        Record::Update(key, update) => Kind::Update(update_to(key, update)),
        Record::Acknowledged(key, uuid) => Kind::Acknowledged(acknowledged_to(key, *uuid)),
        Record::Finished(key, uuid) => Kind::Finished(acknowledged_to(key, *uuid)),
        Record::Watermark(launch) => Kind::Watermark(launch_to(*launch)),
        Record::Provider(id, info) => {
            Kind::Provider(proto::Provider { id: id.to_string(), info: info.clone() })
        }
        Record::ProviderGone(id) => Kind::ProviderGone(id.to_string()),
        Record::Resources(facts) => {
            Kind::Resources(proto::Resources { told: Some(resources_to(facts)), gone: list_to(&facts.gone) })
        }
    }
}

fn from_proto(kind: Kind) -> Result<Record, RecordError> {
    let record = match kind {
        Kind::Origin(_) => return Err(RecordError::UnknownKind),
        Kind::Agent(id) => Record::Identity(id.into()),
        Kind::Fence(fence) => Record::Fence(fence_from(&fence)?),
        Kind::Framework(framework) => Record::Framework(framework_from(framework)),
        Kind::FrameworkEnding(id) => Record::FrameworkEnding(id.into()),
        Kind::FrameworkEnded(id) => Record::FrameworkEnded(id.into()),
        Kind::Executor(executor) => Record::Executor(run_from(executor.run)?, spec_from(executor.spec)?),
        Kind::ExecutorEnded(run) => Record::ExecutorEnded(run_from(Some(run))?),
        Kind::Task(task) => Record::Task(task_from(task)?),
        Kind::Bound(bound) => Record::Bound(key_from(bound.key)?, bound.container.into()),
        Kind::Update(update) => update_from(update)?,
        Kind::Acknowledged(it) => Record::Acknowledged(key_from(it.key)?, uuid_from(&it.uuid)?),
        Kind::Finished(it) => Record::Finished(key_from(it.key)?, uuid_from(&it.uuid)?),
        Kind::Watermark(launch) => Record::Watermark(launch_from(launch)),
        Kind::Provider(it) => Record::Provider(it.id.into(), it.info),
        Kind::ProviderGone(id) => Record::ProviderGone(id.into()),
        Kind::Resources(it) => {
            let told = resources_from(it.told.ok_or(WireError("told"))?)?;
            Record::Resources(ResourceFacts { gone: list_from(&it.gone)?, ..told })
        }
    };
    Ok(record)
}

fn framework_to(framework: &FrameworkSpec) -> proto::Framework {
    proto::Framework {
        id: framework.id.to_string(),
        info: framework.info.clone(),
        checkpoint: framework.checkpoint,
        partition_aware: framework.partition_aware,
    }
}

fn framework_from(framework: proto::Framework) -> FrameworkSpec {
    FrameworkSpec {
        id: framework.id.into(),
        info: framework.info,
        checkpoint: framework.checkpoint,
        partition_aware: framework.partition_aware,
    }
}

fn run_to(run: &Run) -> proto::Run {
    proto::Run {
        framework: run.framework.to_string(),
        executor: run.executor.to_string(),
        container: run.container.to_string(),
    }
}

fn run_from(run: Option<proto::Run>) -> Result<Run, WireError> {
    let run = run.ok_or(WireError("run"))?;
    Ok(Run {
        framework: run.framework.into(),
        executor: run.executor.into(),
        container: run.container.into(),
    })
}

fn spec_to(spec: &ExecutorSpec) -> proto::ExecutorSpec {
    proto::ExecutorSpec {
        id: spec.id.to_string(),
        info: spec.info.clone(),
        command: spec.command,
        shutdown_grace_ms: spec.shutdown_grace.0,
    }
}

fn spec_from(spec: Option<proto::ExecutorSpec>) -> Result<ExecutorSpec, WireError> {
    let spec = spec.ok_or(WireError("executor"))?;
    Ok(ExecutorSpec {
        id: spec.id.into(),
        info: spec.info,
        command: spec.command,
        shutdown_grace: Millis(spec.shutdown_grace_ms),
    })
}

fn task_to(task: &TaskRecord) -> proto::Task {
    proto::Task {
        key: Some(key_to(&task.key)),
        info: task.info.clone(),
        executor: Some(spec_to(&task.executor)),
        container: task.container.as_ref().map(ContainerId::to_string).unwrap_or_default(),
        state: task.state as i32,
        acknowledged: task.acknowledged.map(uuid_to).unwrap_or_default(),
        recent: task.recent.iter().copied().map(uuid_to).collect(),
    }
}

fn task_from(task: proto::Task) -> Result<TaskRecord, WireError> {
    let acknowledged = Some(&task.acknowledged).filter(|uuid| !uuid.is_empty());
    Ok(TaskRecord {
        key: key_from(task.key)?,
        info: task.info,
        executor: spec_from(task.executor)?,
        container: Some(task.container).filter(|container| !container.is_empty()).map(ContainerId::from),
        state: state_from(task.state)?,
        acknowledged: acknowledged.map(|uuid| uuid_from(uuid)).transpose()?,
        recent: task.recent.iter().map(|uuid| uuid_from(uuid)).collect::<Result<_, _>>()?,
    })
}

fn update_to(key: &TaskKey, update: &Update) -> proto::Update {
    let (status, reason, message) = match &update.body {
        Body::Executor(status) => (status.clone(), None, String::new()),
        Body::Agent { reason, message } => {
            (Bytes::new(), reason.map(|reason| reason as i32), message.to_string())
        }
    };
    proto::Update {
        key: Some(key_to(key)),
        uuid: uuid_to(update.uuid),
        state: update.state as i32,
        wall_ms: update.wall.0,
        status,
        reason,
        message,
    }
}

fn update_from(update: proto::Update) -> Result<Record, WireError> {
    let body = if update.status.is_empty() {
        let known = |number| Reason::from_number(number).ok_or(WireError("reason"));
        Body::Agent { reason: update.reason.map(known).transpose()?, message: update.message.into() }
    } else {
        Body::Executor(update.status)
    };
    let wall = WallMillis(update.wall_ms);
    let update_of = Update { uuid: uuid_from(&update.uuid)?, state: state_from(update.state)?, wall, body };
    Ok(Record::Update(key_from(update.key)?, update_of))
}

fn acknowledged_to(key: &TaskKey, uuid: UpdateUuid) -> proto::Acknowledged {
    proto::Acknowledged { key: Some(key_to(key)), uuid: uuid_to(uuid) }
}

fn state_from(number: i32) -> Result<TaskState, WireError> {
    TaskState::from_number(number).ok_or(WireError("state"))
}
