//! Messages of the agent link: our types to and from `link.proto`.

use bytes::Bytes;
use mesarch_consensus::COMMAND_BYTES_MAX;
use mesarch_leader_core::{Attach, FromAgent, Hello, TaskKey, ToAgent};
use mesarch_mesos_v1::convert::{ResourceForm, resources_from_v1, resources_to_v1};
use mesarch_proto::{link, mesos::v1};
use mesarch_state::{
    State,
    command::{
        Inventory, InventoryExecutor, InventoryTask, OperationUpdate, ProviderState, ProviderWord,
        StatusUpdate, StoredResources,
    },
    model::{Agent, Operation, PROVIDERS_MAX, Task},
};
use mesarch_types::{
    ClusterId, Epoch, Fence, FrameworkId, LaunchId, Millis, OperationState, Reason, ResourceVersion,
    Resources, Role, Source, TaskId, TaskState, UpdateUuid, digest::SetHash,
};
use prost::Message;

use crate::specs::{self, InvalidSpec};

/// Most tasks that an Attach may list; beyond, the agent sends an inventory.
const LISTED_MAX: usize = 256;

/// Largest AgentInfo, in bytes of protobuf.
const AGENT_BYTES_MAX: usize = 1024 * 1024;
/// Most that an agent's resource providers may say together, in bytes.
const PROVIDERS_BYTES_MAX: usize = 4 * AGENT_BYTES_MAX;
/// Largest inventory, in bytes as it would be in the log: tens of thousands of tasks. It goes into the log whole, in one
/// command with what the agent says of itself, for which room is left; so there is no moment at which half of it counts.
const INVENTORY_BYTES_MAX: usize = COMMAND_BYTES_MAX - 4 * AGENT_BYTES_MAX;

/// Why a message of an agent cannot be used. The link is closed with this text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidMessage {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{field} must have {expect} bytes")]
    Length { field: &'static str, expect: usize },
    #[error("{field} is not valid: {reason}")]
    Field { field: &'static str, reason: String },
    #[error("more than {LISTED_MAX} tasks are listed: an inventory is needed")]
    TooManyListed,
    #[error("{what} of {bytes} bytes is larger than {max} bytes")]
    TooLarge { what: &'static str, bytes: usize, max: usize },
    #[error("{0}")]
    Spec(#[from] InvalidSpec),
}

/// The message for an agent; none if what it is about is no more.
pub(crate) fn to_agent(
    state: &State,
    term: u64,
    silence_max: Millis,
    message: &ToAgent,
) -> Option<link::ToAgent> {
    use link::to_agent::Kind;
    let kind = match message {
        ToAgent::Attached { agent, .. } => Kind::Attached(link::Attached {
            agent: agent.to_string(),
            silence_ms_max: u32::try_from(silence_max.0).unwrap_or(u32::MAX),
        }),
        ToAgent::InventoryRequest => Kind::InventoryRequest(link::InventoryRequest {}),
        ToAgent::Resources { agent } => Kind::Resources(resources(state.agent(agent)?)),
        ToAgent::ApplyOperation { framework, operation } => {
            Kind::ApplyOperation(apply_operation(state.operation(framework, operation)?)?)
        }
        ToAgent::OperationAcknowledged { provider, operation, status } => {
            Kind::OperationAcknowledged(link::OperationAcknowledged {
                provider: provider.to_string(),
                operation: uuid_bytes(*operation),
                status: uuid_bytes(*status),
            })
        }
        ToAgent::RunTask { framework, task, launch } => {
            Kind::RunTask(run_task(state, this_life(state, framework, task, *launch)?)?)
        }
        ToAgent::RunTaskGroup { launch } => Kind::RunTaskGroup(run_task_group(state, *launch)?),
        ToAgent::KillTask { framework, task, launch } => Kind::KillTask(link::KillTask {
            key: Some(key(framework, task, *launch)),
            policy: kill_policy(state, framework, task, *launch),
            draining: is_drained(state, framework, task, *launch),
        }),
        ToAgent::Acknowledged { framework, task, launch, uuid } => Kind::Acknowledged(link::Acknowledged {
            key: Some(key(framework, task, *launch)),
            uuid: Bytes::copy_from_slice(&uuid.0),
        }),
        ToAgent::ShutdownExecutor { framework, executor } => Kind::ShutdownExecutor(link::ShutdownExecutor {
            framework: framework.to_string(),
            executor: executor.to_string(),
        }),
        ToAgent::ShutdownFramework { framework } => {
            Kind::ShutdownFramework(link::ShutdownFramework { framework: framework.to_string() })
        }
        ToAgent::ExecutorExitNoted { framework, executor, newest } => {
            Kind::ExecutorExitNoted(link::ExecutorExitNoted {
                framework: framework.to_string(),
                executor: executor.to_string(),
                newest: Some(link::LaunchId { index: newest.index, position: newest.position }),
            })
        }
        ToAgent::Shutdown { reason } => Kind::Shutdown(link::Shutdown { reason: reason.to_string() }),
        ToAgent::Ping { number } => Kind::Ping(link::Ping { number: *number }),
    };
    Some(fenced(state, term, kind))
}

/// Bytes from a scheduler for an executor.
pub(crate) fn scheduler_message(state: &State, term: u64, message: link::SchedulerMessage) -> link::ToAgent {
    fenced(state, term, link::to_agent::Kind::Message(message))
}

fn fenced(state: &State, term: u64, kind: link::to_agent::Kind) -> link::ToAgent {
    let cluster = state.cluster().map_or_else(Bytes::new, |cluster| Bytes::copy_from_slice(&cluster.0));
    let fence = link::Fence { cluster, incarnation: state.incarnation(), term };
    link::ToAgent { fence: Some(fence), level: state.level(), kind: Some(kind) }
}

fn key(framework: &FrameworkId, task: &TaskId, launch: LaunchId) -> link::TaskKey {
    link::TaskKey {
        framework: framework.to_string(),
        task: task.to_string(),
        launch: Some(link::LaunchId { index: launch.index, position: launch.position }),
    }
}

/// All that is so now of what the agent's resources were made into.
fn resources(agent: &Agent) -> link::Resources {
    let list = |resources: &Resources| {
        let list = resources_to_v1(resources, ResourceForm::New);
        list.into_iter().map(|resource| Bytes::from(resource.encode_to_vec())).collect()
    };
    let converted = agent.converted.as_deref();
    link::Resources {
        version: Some(link::ResourceVersion {
            incarnation: agent.converted_at.incarnation,
            epoch: agent.converted_at.epoch.0,
        }),
        taken: converted.map(|converted| list(&converted.taken)).unwrap_or_default(),
        made: converted.map(|converted| list(&converted.made)).unwrap_or_default(),
    }
}

/// None once the operation has ended.
fn apply_operation(operation: &Operation) -> Option<link::ApplyOperation> {
    let on = operation.on_provider.as_ref().filter(|_| !operation.finished)?;
    Some(link::ApplyOperation {
        provider: on.provider.to_string(),
        operation: uuid_bytes(operation.uuid),
        framework: operation.framework.to_string(),
        info: operation.info.clone(),
        version: uuid_bytes(on.version),
    })
}

fn uuid_bytes(uuid: UpdateUuid) -> Bytes {
    Bytes::copy_from_slice(&uuid.0)
}

fn this_life<'a>(
    state: &'a State,
    framework: &FrameworkId,
    task: &TaskId,
    launch: LaunchId,
) -> Option<&'a Task> {
    let found: &'a Task = state.task(framework, task)?;
    (found.launch == launch).then_some(found)
}

fn run_task(state: &State, task: &Task) -> Option<link::RunTask> {
    let framework = state.framework(&task.framework)?;
    Some(link::RunTask {
        key: Some(key(&task.framework, &task.spec.id, task.launch)),
        info: task.spec.info.clone(),
        framework_info: specs::framework_info_with_id(&framework.spec.info, &framework.id),
    })
}

/// None once the agent has spoken of all of it.
fn run_task_group(state: &State, launch: LaunchId) -> Option<link::RunTaskGroup> {
    let group = state.group(launch)?;
    let tasks = state.tasks_of_group(group).map(|task| run_task(state, task));
    let size = u32::try_from(group.tasks.len()).ok()?;
    Some(link::RunTaskGroup { tasks: tasks.collect::<Option<_>>()?, size })
}

/// A kill of a life that is no longer in the table carries no policy.
fn kill_policy(state: &State, framework: &FrameworkId, task: &TaskId, launch: LaunchId) -> Bytes {
    let kill = this_life(state, framework, task, launch).and_then(|task| task.kill.as_ref());
    kill.and_then(|kill| kill.policy.clone()).unwrap_or_default()
}

fn is_drained(state: &State, framework: &FrameworkId, task: &TaskId, launch: LaunchId) -> bool {
    let agent = this_life(state, framework, task, launch).and_then(|task| state.agent(&task.agent));
    agent.is_some_and(|agent| agent.administration.drain.is_some())
}

/// The first message of a link.
pub(crate) fn hello(kind: link::from_agent::Kind) -> Result<Hello, InvalidMessage> {
    match kind {
        link::from_agent::Kind::Register(register) => {
            let nonce = nonce(&register.nonce)?;
            within("agent info", register.info.len(), AGENT_BYTES_MAX)?;
            let spec = specs::agent_spec(&register.info, &register.version, &register.capabilities)?;
            Ok(Hello::Register { nonce, spec })
        }
        link::from_agent::Kind::Attach(attach) => Ok(Hello::Attach(attach_of(attach)?)),
        _ => Err(InvalidMessage::Missing("register or attach")),
    }
}

fn within(what: &'static str, bytes: usize, max: usize) -> Result<(), InvalidMessage> {
    if bytes > max { Err(InvalidMessage::TooLarge { what, bytes, max }) } else { Ok(()) }
}

fn nonce(bytes: &[u8]) -> Result<[u8; 16], InvalidMessage> {
    bytes.try_into().map_err(|_| InvalidMessage::Length { field: "nonce", expect: 16 })
}

fn attach_of(attach: link::Attach) -> Result<Attach, InvalidMessage> {
    nonce(&attach.nonce)?;
    within("agent info", attach.info.len(), AGENT_BYTES_MAX)?;
    if attach.agent.is_empty() {
        return Err(InvalidMessage::Missing("agent"));
    }
    if attach.listed.len() > LISTED_MAX {
        return Err(InvalidMessage::TooManyListed);
    }
    let digest = attach.digest.as_ref().try_into();
    let digest = digest.map_err(|_| InvalidMessage::Length { field: "digest", expect: 16 })?;
    Ok(Attach {
        agent: attach.agent.as_str().into(),
        spec: specs::agent_spec(&attach.info, &attach.version, &attach.capabilities)?,
        digest_form: attach.digest_form,
        digest: SetHash(u128::from_le_bytes(digest)),
        listed: attach.listed.into_iter().map(task_key).collect::<Result<_, _>>()?,
        inventory_wanted: attach.inventory_wanted,
        highest: attach.highest.map(fence).transpose()?,
        stored: attach.stored.map(version).unwrap_or_default(),
    })
}

fn fence(fence: link::Fence) -> Result<Fence, InvalidMessage> {
    let cluster = ClusterId::try_from(fence.cluster.as_ref());
    let cluster = cluster.map_err(|_| InvalidMessage::Length { field: "fence.cluster", expect: 16 })?;
    Ok(Fence { cluster, incarnation: fence.incarnation, term: fence.term })
}

fn version(version: link::ResourceVersion) -> ResourceVersion {
    ResourceVersion { incarnation: version.incarnation, epoch: Epoch(version.epoch) }
}

/// Each a `mesos.v1.Resource`.
fn list(list: Vec<Bytes>) -> Result<Resources, InvalidMessage> {
    let list: Result<Vec<v1::Resource>, _> =
        list.iter().map(|bytes| specs::decode(bytes, "resource")).collect();
    Ok(resources_from_v1(&list?).map_err(InvalidSpec::from)?.without_allocation())
}

/// What an agent says of its resource providers.
pub(crate) fn providers(told: link::Providers) -> Result<FromAgent, InvalidMessage> {
    if told.providers.len() > PROVIDERS_MAX {
        let (bytes, max) = (told.providers.len(), PROVIDERS_MAX);
        return Err(InvalidMessage::TooLarge { what: "the number of resource providers", bytes, max });
    }
    within("resource providers", told.encoded_len(), PROVIDERS_BYTES_MAX)?;
    let providers: Result<_, _> = told.providers.into_iter().map(provider).collect();
    Ok(FromAgent::Providers { sequence: told.sequence, providers: providers? })
}

fn provider(told: link::Provider) -> Result<ProviderWord, InvalidMessage> {
    let info = specs::decode::<v1::ResourceProviderInfo>(&told.info, "resource provider info")?;
    Ok(ProviderWord {
        id: told.id.into(),
        info: info.encode_to_vec().into(),
        connected: told.connected,
        state: told.state.map(provider_state).transpose()?,
    })
}

fn provider_state(told: link::ProviderState) -> Result<ProviderState, InvalidMessage> {
    let known = |known: link::KnownOperation| Ok((uuid(&known.operation)?, known.ended));
    Ok(ProviderState {
        version: uuid(&told.version)?,
        total: list(told.resources)?,
        operations: told.operations.into_iter().map(known).collect::<Result<_, InvalidMessage>>()?,
    })
}

/// How operations on what resource providers bring stand.
pub(crate) fn operation_updates(told: link::OperationUpdates) -> Result<FromAgent, InvalidMessage> {
    let updates: Result<_, _> = told.updates.into_iter().map(operation_update).collect();
    Ok(FromAgent::Operations(updates?))
}

fn operation_update(told: link::OperationUpdate) -> Result<OperationUpdate, InvalidMessage> {
    let status = specs::decode::<v1::OperationStatus>(&told.status, "operation status")?;
    let state = OperationState::from_number(status.state).ok_or_else(|| InvalidMessage::Field {
        field: "status.state",
        reason: format!("{} is not a state of operations", status.state),
    })?;
    let converted = resources_from_v1(&status.converted_resources).map_err(InvalidSpec::from)?;
    Ok(OperationUpdate {
        provider: told.provider.into(),
        operation: uuid(&told.operation)?,
        state,
        status: status.uuid.map(|status| uuid(&status.value)).transpose()?,
        message: status.message.unwrap_or_default().into(),
        converted: converted.without_allocation(),
    })
}

/// What an agent says it has stored of its resources.
fn stored_resources(resources: link::Resources) -> Result<StoredResources, InvalidMessage> {
    Ok(StoredResources {
        version: version(resources.version.ok_or(InvalidMessage::Missing("version"))?),
        taken: list(resources.taken)?,
        made: list(resources.made)?,
    })
}

fn task_key(key: link::TaskKey) -> Result<TaskKey, InvalidMessage> {
    let launch = key.launch.ok_or(InvalidMessage::Missing("launch"))?;
    if key.framework.is_empty() || key.task.is_empty() {
        return Err(InvalidMessage::Missing("framework or task of a key"));
    }
    Ok(TaskKey {
        framework: key.framework.into(),
        task: key.task.into(),
        launch: LaunchId { index: launch.index, position: launch.position },
    })
}

fn required_key(key: Option<link::TaskKey>) -> Result<TaskKey, InvalidMessage> {
    task_key(key.ok_or(InvalidMessage::Missing("key"))?)
}

fn uuid(bytes: &[u8]) -> Result<UpdateUuid, InvalidMessage> {
    UpdateUuid::try_from(bytes).map_err(|_| InvalidMessage::Length { field: "uuid", expect: 16 })
}

fn task_state(number: i32, field: &'static str) -> Result<TaskState, InvalidMessage> {
    TaskState::from_number(number)
        .ok_or_else(|| InvalidMessage::Field { field, reason: format!("{number} is not a task state") })
}

/// Status updates, decoded as far as decisions read them.
pub(crate) fn updates(updates: link::Updates) -> Result<FromAgent, InvalidMessage> {
    let list: Result<Vec<_>, _> = updates.updates.into_iter().map(status_update).collect();
    Ok(FromAgent::Updates(list?))
}

fn status_update(update: link::Update) -> Result<StatusUpdate, InvalidMessage> {
    let key = required_key(update.key)?;
    let status = specs::decode::<v1::TaskStatus>(&update.status, "status")?;
    Ok(StatusUpdate {
        framework: key.framework,
        task: key.task,
        launch: key.launch,
        state: task_state(status.state, "status.state")?,
        latest: task_state(update.latest, "latest")?,
        uuid: uuid(status.uuid.as_deref().unwrap_or_default())?,
        source: status.source.and_then(Source::from_number).unwrap_or(Source::Agent),
        reason: status.reason.and_then(Reason::from_number),
        // Canonical, without what is not in the schema.
        status: status.encode_to_vec().into(),
    })
}

/// What the agent has forgotten.
pub(crate) fn forgot(forgot: link::Forgot) -> Result<FromAgent, InvalidMessage> {
    let acknowledged: Result<Vec<_>, InvalidMessage> = forgot
        .updates
        .into_iter()
        .map(|one| {
            let key = required_key(one.key)?;
            Ok((key.framework, key.task, key.launch, uuid(&one.uuid)?))
        })
        .collect();
    let frameworks = forgot.frameworks.into_iter().map(FrameworkId::from).collect();
    Ok(FromAgent::Forgot { acknowledged: acknowledged?, frameworks })
}

/// The agent has stored what it was told of its resources.
pub(crate) fn resources_stored(stored: link::ResourcesStored) -> Result<FromAgent, InvalidMessage> {
    let told = stored.version.ok_or(InvalidMessage::Missing("version"))?;
    Ok(FromAgent::ResourcesStored(version(told)))
}

/// The end of an executor.
pub(crate) fn executor_exited(exited: link::ExecutorExited) -> Result<FromAgent, InvalidMessage> {
    let newest = exited.newest.ok_or(InvalidMessage::Missing("newest"))?;
    Ok(FromAgent::ExecutorExited {
        framework: exited.framework.into(),
        executor: exited.executor.into(),
        newest: LaunchId { index: newest.index, position: newest.position },
        status: exited.status,
    })
}

/// All that an agent runs. One that does not fit into a command is refused here, by name: the agent logs the reason, and
/// tries again as slowly as after any link that broke.
pub(crate) fn inventory(inventory: link::Inventory) -> Result<Inventory, InvalidMessage> {
    let inventory = Inventory {
        tasks: inventory.tasks.into_iter().map(inventory_task).collect::<Result<_, _>>()?,
        executors: inventory.executors.into_iter().map(inventory_executor).collect::<Result<_, _>>()?,
        frameworks: inventory.frameworks.into_iter().map(|one| (one.framework.into(), one.info)).collect(),
        newest: inventory
            .newest
            .map(|newest| LaunchId { index: newest.index, position: newest.position })
            .unwrap_or_default(),
        resources: inventory.resources.map(stored_resources).transpose()?,
    };
    within("inventory", inventory.encoded_len(), INVENTORY_BYTES_MAX)?;
    Ok(inventory)
}

fn inventory_task(task: link::InventoryTask) -> Result<InventoryTask, InvalidMessage> {
    let key = required_key(task.key)?;
    let info = specs::decode::<v1::TaskInfo>(&task.info, "task info")?;
    let role = role_of(&info.resources);
    let acknowledged = (!task.acknowledged.is_empty()).then(|| uuid(&task.acknowledged)).transpose()?;
    Ok(InventoryTask {
        framework: key.framework.clone(),
        launch: key.launch,
        spec: specs::task_spec(info, &key.framework, &role)?,
        state: task_state(task.state, "state")?,
        acknowledged,
    })
}

fn inventory_executor(executor: link::InventoryExecutor) -> Result<InventoryExecutor, InvalidMessage> {
    let info = specs::decode::<v1::ExecutorInfo>(&executor.info, "executor info")?;
    let (framework, role) = (FrameworkId::from(executor.framework), role_of(&info.resources));
    let spec = specs::executor_spec(info, &framework, &role)?;
    Ok(InventoryExecutor { framework, spec })
}

/// The role that the masters wrote into a launched task's resources.
fn role_of(resources: &[v1::Resource]) -> Role {
    let marks = resources.iter().filter_map(|resource| resource.allocation_info.as_ref());
    marks.filter_map(|mark| mark.role.as_deref()).next().map_or_else(Role::any, Role::from)
}
