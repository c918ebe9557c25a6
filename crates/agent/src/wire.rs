//! `mesarch.link` to and from the core's vocabulary.

use bytes::Bytes;
use mesarch_agent_core::{
    ExecutorKey, Hello, Inventory, MasterMessage, ProviderOperation, ResourceFacts, TaskKey, ToMaster,
};
use mesarch_mesos_v1::convert::{ResourceForm, resources_from_v1, resources_to_v1};
use mesarch_proto::{
    link::{self, from_agent, to_agent},
    mesos::v1,
};
use mesarch_types::{
    AgentCapability, ClusterId, Epoch, Fence, LaunchId, ResourceVersion, Resources, UpdateUuid,
};
use prost::Message;

use crate::http::API_LEVEL;
use crate::{info::Identity, launch, status::Renderer};

/// The named field is missing or not in its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field `{0}` is missing or malformed")]
pub(crate) struct WireError(pub(crate) &'static str);

pub(crate) fn uuid_to(uuid: UpdateUuid) -> Bytes {
    Bytes::copy_from_slice(&uuid.0)
}

pub(crate) fn uuid_from(bytes: &[u8]) -> Result<UpdateUuid, WireError> {
    UpdateUuid::try_from(bytes).map_err(|_| WireError("uuid"))
}

pub(crate) fn launch_to(launch: LaunchId) -> link::LaunchId {
    link::LaunchId { index: launch.index, position: launch.position }
}

pub(crate) fn launch_from(launch: link::LaunchId) -> LaunchId {
    LaunchId { index: launch.index, position: launch.position }
}

pub(crate) fn key_to(key: &TaskKey) -> link::TaskKey {
    let launch = Some(launch_to(key.launch));
    link::TaskKey { framework: key.framework.to_string(), task: key.task.to_string(), launch }
}

pub(crate) fn key_from(key: Option<link::TaskKey>) -> Result<TaskKey, WireError> {
    let key = key.ok_or(WireError("key"))?;
    let launch = launch_from(key.launch.ok_or(WireError("launch"))?);
    Ok(TaskKey { framework: key.framework.into(), task: key.task.into(), launch })
}

pub(crate) fn fence_to(fence: &Fence) -> link::Fence {
    let cluster = Bytes::copy_from_slice(&fence.cluster.0);
    link::Fence { cluster, incarnation: fence.incarnation, term: fence.term }
}

pub(crate) fn fence_from(fence: &link::Fence) -> Result<Fence, WireError> {
    let cluster = ClusterId::try_from(&fence.cluster[..]).map_err(|_| WireError("cluster"))?;
    Ok(Fence { cluster, incarnation: fence.incarnation, term: fence.term })
}

pub(crate) fn version_to(version: ResourceVersion) -> link::ResourceVersion {
    link::ResourceVersion { incarnation: version.incarnation, epoch: version.epoch.0 }
}

/// Without what is to go: that is the agent's own business.
pub(crate) fn resources_to(facts: &ResourceFacts) -> link::Resources {
    link::Resources {
        version: Some(version_to(facts.version)),
        taken: list_to(&facts.taken),
        made: list_to(&facts.made),
    }
}

pub(crate) fn resources_from(told: link::Resources) -> Result<ResourceFacts, WireError> {
    let version = told.version.ok_or(WireError("version"))?;
    Ok(ResourceFacts {
        version: ResourceVersion { incarnation: version.incarnation, epoch: Epoch(version.epoch) },
        taken: list_from(&told.taken)?,
        made: list_from(&told.made)?,
        gone: Resources::default(),
    })
}

/// Each a `mesos.v1.Resource`.
pub(crate) fn list_to(resources: &Resources) -> Vec<Bytes> {
    let list = resources_to_v1(resources, ResourceForm::New);
    list.into_iter().map(|resource| resource.encode_to_vec().into()).collect()
}

pub(crate) fn list_from(list: &[Bytes]) -> Result<Resources, WireError> {
    let decode = |bytes: &Bytes| v1::Resource::decode(bytes.clone()).map_err(|_| WireError("resource"));
    let list: Vec<v1::Resource> = list.iter().map(decode).collect::<Result<_, _>>()?;
    resources_from_v1(&list).map_err(|_| WireError("resource"))
}

/// What the leader said. `Ping` is none of the core's business and is answered by the link itself.
pub(crate) fn master_message(
    kind: to_agent::Kind,
    launching: &launch::Rules,
) -> Result<Option<MasterMessage>, WireError> {
    use to_agent::Kind;
    let message = match kind {
        Kind::Attached(it) => MasterMessage::Attached(it.agent.into()),
        Kind::InventoryRequest(_) => MasterMessage::InventoryRequest,
        Kind::Resources(it) => MasterMessage::Resources(resources_from(it)?),
        Kind::ApplyOperation(it) => MasterMessage::ApplyOperation(Box::new(ProviderOperation {
            provider: it.provider.into(),
            operation: uuid_from(&it.operation)?,
            framework: it.framework.into(),
            info: it.info,
            version: uuid_from(&it.version)?,
        })),
        Kind::OperationAcknowledged(it) => MasterMessage::OperationAcknowledged {
            provider: it.provider.into(),
            operation: uuid_from(&it.operation)?,
            status: uuid_from(&it.status)?,
        },
        Kind::RunTask(it) => MasterMessage::RunTask(Box::new(launching.prepare(it)?)),
        Kind::RunTaskGroup(it) => MasterMessage::RunTaskGroup(launching.prepare_group(it)?),
        Kind::KillTask(it) => MasterMessage::KillTask { key: key_from(it.key)?, policy: it.policy },
        Kind::Acknowledged(it) => {
            MasterMessage::Acknowledged { key: key_from(it.key)?, uuid: uuid_from(&it.uuid)? }
        }
        Kind::ShutdownExecutor(it) => MasterMessage::ShutdownExecutor(executor(it.framework, it.executor)),
        Kind::ShutdownFramework(it) => MasterMessage::ShutdownFramework(it.framework.into()),
        Kind::Message(it) => {
            MasterMessage::Message { executor: executor(it.framework, it.executor), data: it.data }
        }
        Kind::ExecutorExitNoted(it) => MasterMessage::ExecutorExitNoted {
            executor: executor(it.framework, it.executor),
            newest: launch_from(it.newest.ok_or(WireError("newest"))?),
        },
        Kind::Shutdown(it) => MasterMessage::Shutdown(it.reason.into()),
        Kind::Ping(_) => return Ok(None),
    };
    Ok(Some(message))
}

fn executor(framework: String, executor: String) -> ExecutorKey {
    ExecutorKey { framework: framework.into(), executor: executor.into() }
}

/// How the agent speaks: what it puts into every first message, and into the updates that it makes.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    pub(crate) identity: Identity,
    pub(crate) nonce: [u8; 16],
    pub(crate) renderer: Renderer,
}

impl Speaker {
    /// The message for the leader.
    pub(crate) fn message(&self, message: ToMaster) -> from_agent::Kind {
        use from_agent::Kind;
        match message {
            ToMaster::Hello(hello) => self.hello(*hello),
            ToMaster::Inventory(inventory) => Kind::Inventory(inventory_to(inventory)),
            ToMaster::ResourcesStored(version) => {
                Kind::ResourcesStored(link::ResourcesStored { version: Some(version_to(version)) })
            }
            ToMaster::Update { key, update, latest, run } => {
                let status = self.renderer.status(&key, &update, run.as_ref());
                let update = link::Update { key: Some(key_to(&key)), status, latest: latest as i32 };
                Kind::Updates(link::Updates { updates: vec![update] })
            }
            ToMaster::Forgot { key, uuid } => {
                let update = link::ForgottenUpdate { key: Some(key_to(&key)), uuid: uuid_to(uuid) };
                Kind::Forgot(link::Forgot { updates: vec![update], frameworks: Vec::new() })
            }
            ToMaster::ForgotFramework(framework) => {
                Kind::Forgot(link::Forgot { updates: Vec::new(), frameworks: vec![framework.to_string()] })
            }
            ToMaster::ExecutorExited { executor, newest, status } => {
                Kind::ExecutorExited(link::ExecutorExited {
                    framework: executor.framework.to_string(),
                    executor: executor.executor.to_string(),
                    status,
                    newest: Some(launch_to(newest)),
                })
            }
            ToMaster::Message { executor, data } => Kind::Message(link::ExecutorMessage {
                framework: executor.framework.to_string(),
                executor: executor.executor.to_string(),
                data,
            }),
        }
    }

    fn hello(&self, hello: Hello) -> from_agent::Kind {
        let nonce = Bytes::copy_from_slice(&self.nonce);
        // Tools compare it with what Mesos' agents say: it is the level of the API.
        let (info, version) = (self.identity.bytes.clone(), API_LEVEL.to_owned());
        let capabilities = CAPABILITIES.iter().map(|one| *one as i32).collect();
        let Some(agent) = hello.agent else {
            return from_agent::Kind::Register(link::Register { nonce, info, version, capabilities });
        };
        from_agent::Kind::Attach(link::Attach {
            agent: agent.to_string(),
            nonce,
            version,
            info,
            digest_form: hello.digest_form,
            digest: Bytes::copy_from_slice(&hello.digest.0.to_le_bytes()),
            listed: hello.listed.iter().map(key_to).collect(),
            inventory_wanted: hello.inventory_wanted,
            highest: hello.highest.as_ref().map(fence_to),
            capabilities,
            stored: (hello.stored != ResourceVersion::default()).then(|| version_to(hello.stored)),
        })
    }
}

fn inventory_to(inventory: Inventory) -> link::Inventory {
    let tasks = inventory.tasks.into_iter().map(|task| link::InventoryTask {
        key: Some(key_to(&task.key)),
        info: task.info,
        state: task.state as i32,
        acknowledged: task.acknowledged.map(uuid_to).unwrap_or_default(),
    });
    let executors = inventory.executors.into_iter();
    let frameworks = inventory.frameworks.into_iter();
    link::Inventory {
        tasks: tasks.collect(),
        executors: executors
            .map(|(framework, info)| link::InventoryExecutor { framework: framework.to_string(), info })
            .collect(),
        frameworks: frameworks
            .map(|(framework, info)| link::InventoryFramework { framework: framework.to_string(), info })
            .collect(),
        newest: Some(launch_to(inventory.newest)),
        resources: inventory.resources.as_ref().map(resources_to),
    }
}

/// Adds `next` to `last` if both can travel in one message; otherwise gives it back.
pub(crate) fn merge(last: &mut from_agent::Kind, next: from_agent::Kind) -> Option<from_agent::Kind> {
    use from_agent::Kind;
    match (last, next) {
        (Kind::Updates(last), Kind::Updates(next)) if last.updates.len() < MERGED_MAX => {
            last.updates.extend(next.updates);
        }
        (Kind::Forgot(last), Kind::Forgot(next)) if last.updates.len() < MERGED_MAX => {
            last.updates.extend(next.updates);
            last.frameworks.extend(next.frameworks);
        }
        (_, next) => return Some(next),
    }
    None
}

/// What this agent can do, beyond running tasks.
const CAPABILITIES: [AgentCapability; 8] = [
    AgentCapability::MultiRole,
    AgentCapability::HierarchicalRole,
    AgentCapability::ReservationRefinement,
    AgentCapability::ResourceProvider,
    AgentCapability::ResizeVolume,
    AgentCapability::AgentOperationFeedback,
    AgentCapability::AgentDraining,
    AgentCapability::TaskResourceLimits,
];

/// Their names in the API.
pub(crate) fn capability_names() -> [&'static str; CAPABILITIES.len()] {
    CAPABILITIES.map(AgentCapability::name)
}

/// Most updates, or forgotten ones, in one message.
const MERGED_MAX: usize = 256;
