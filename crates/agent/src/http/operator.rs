//! `/api/v1`: the gates in Mesos' order, then the call. What is listed comes from one look at the agent.

use axum::{
    extract::Request as HttpRequest,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use mesarch_mesos_v1::{
    ContentType,
    agent::validate,
    encode,
    writer::{Field, Fields, message},
};
use mesarch_proto::mesos::v1::{
    Flag, Metric, Resource, ResourceProviderInfo, VersionInfo,
    agent::{
        Call, Response as Answer,
        call::{MarkResourceProviderGone, SetLoggingLevel, Type},
        response::{self, Type as AnswerType, get_resource_providers::ResourceProvider},
    },
};
use mesarch_telemetry::logs;
use tokio::sync::oneshot;

use super::{API_LEVEL, Site, containers, files, gates, metrics, state::Look, state::v1};
use crate::{
    requests::{GoneRefusal, Request},
    runner::Facts,
};

/// An answer that grows with what runs: its type, its field, and what is in it.
struct Long {
    kind: AnswerType,
    field: Field,
    write: fn(&Look, &mut Fields<'_>),
}

const STATE: Long = Long { kind: AnswerType::GetState, field: Field("get_state", 9), write: v1::write_state };
const FRAMEWORKS: Long =
    Long { kind: AnswerType::GetFrameworks, field: Field("get_frameworks", 11), write: v1::write_frameworks };
const EXECUTORS: Long =
    Long { kind: AnswerType::GetExecutors, field: Field("get_executors", 12), write: v1::write_executors };
const TASKS: Long =
    Long { kind: AnswerType::GetTasks, field: Field("get_tasks", 13), write: v1::write_tasks };
const CONTAINERS: Long =
    Long { kind: AnswerType::GetContainers, field: Field("get_containers", 10), write: write_containers };

/// Answers one call.
pub(super) async fn handle(site: &Site, request: HttpRequest) -> Response {
    let (headers, call) = match gates::call::<Call>(site, request).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    let kind = match kind(&call) {
        Ok(kind) => kind,
        Err(reason) => return *gates::refuse(StatusCode::BAD_REQUEST, &reason),
    };
    // These are answered by a stream of records, in formats of its own: an Accept of those is no mistake.
    if matches!(kind, Type::LaunchNestedContainerSession | Type::AttachContainerOutput) {
        return super::not_implemented(kind.as_str_name());
    }
    match gates::negotiate(&headers) {
        Ok(content_type) => carry_out(site, call, kind, content_type).await,
        Err(refused) => *refused,
    }
}

/// The type of a valid call, or why it is none.
pub(super) fn kind(call: &Call) -> Result<Type, String> {
    validate(call).map_err(|error| format!("Failed to validate agent::Call: {error}"))
}

/// What each call leads to. The field of its type is there: the gates saw to that.
pub(super) async fn carry_out(
    site: &Site,
    call: Box<Call>,
    kind: Type,
    content_type: ContentType,
) -> Response {
    match kind {
        Type::GetHealth => small(content_type, &health()),
        Type::GetFlags => small(content_type, &flags(&site.facts)),
        Type::GetVersion => small(content_type, &version()),
        Type::GetMetrics => short(site, content_type, get_metrics).await,
        Type::GetLoggingLevel => small(content_type, &logging_level()),
        Type::SetLoggingLevel => set_logging_level(&call.set_logging_level.unwrap_or_default()),
        Type::ListFiles => list_files(site, content_type, call.list_files.unwrap_or_default().path).await,
        Type::ReadFile => read_file(site, content_type, call.read_file.unwrap_or_default()).await,
        Type::GetState => long(site, content_type, &STATE).await,
        Type::GetContainers => long(site, content_type, &CONTAINERS).await,
        Type::GetFrameworks => long(site, content_type, &FRAMEWORKS).await,
        Type::GetExecutors => long(site, content_type, &EXECUTORS).await,
        Type::GetTasks => long(site, content_type, &TASKS).await,
        Type::GetAgent => short(site, content_type, get_agent).await,
        Type::GetOperations => short(site, content_type, operations).await,
        // There are no images, of which none could be in use.
        Type::PruneImages => StatusCode::OK.into_response(),
        Type::GetResourceProviders => short(site, content_type, resource_providers).await,
        Type::MarkResourceProviderGone => {
            mark_gone(site, call.mark_resource_provider_gone.unwrap_or_default()).await
        }
        Type::LaunchNestedContainer
        | Type::WaitNestedContainer
        | Type::KillNestedContainer
        | Type::RemoveNestedContainer
        | Type::LaunchNestedContainerSession
        | Type::AttachContainerInput
        | Type::AttachContainerOutput
        | Type::LaunchContainer
        | Type::WaitContainer
        | Type::KillContainer
        | Type::RemoveContainer
        | Type::AddResourceProviderConfig
        | Type::UpdateResourceProviderConfig
        | Type::RemoveResourceProviderConfig => super::not_implemented(kind.as_str_name()),
        Type::Unknown => super::not_implemented("a call of type UNKNOWN"),
    }
}

/// Writes a long answer, item by item.
async fn long(site: &Site, content_type: ContentType, long: &'static Long) -> Response {
    let write = move |look: &Look| {
        let answer = message(content_type, |answer| {
            answer.symbol(Field("type", 1), long.kind.as_str_name(), long.kind as i32);
            answer.message(long.field, |lists| (long.write)(look, lists));
        });
        with(content_type, answer.into())
    };
    site.rendered(write).await
}

fn write_containers(look: &Look, out: &mut Fields<'_>) {
    // Nested and standalone ones, which the call may ask for, do not exist here.
    out.list(Field("containers", 1), containers::containers(look));
}

/// Writes an answer that is built as a whole.
async fn short(site: &Site, content_type: ContentType, answer: fn(&Look) -> Answer) -> Response {
    site.rendered(move |look| small(content_type, &answer(look))).await
}

fn small(content_type: ContentType, answer: &Answer) -> Response {
    with(content_type, encode(content_type, answer))
}

fn with(content_type: ContentType, bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, content_type.as_str())], bytes).into_response()
}

/// An answer of this type, to be filled.
fn of(kind: AnswerType) -> Answer {
    Answer { r#type: Some(kind as i32), ..Answer::default() }
}

fn health() -> Answer {
    Answer { get_health: Some(response::GetHealth { healthy: true }), ..of(AnswerType::GetHealth) }
}

fn flags(facts: &Facts) -> Answer {
    let flag = |(name, value): (&String, &serde_json::Value)| Flag {
        name: name.clone(),
        value: value.as_str().map(str::to_owned),
    };
    let get_flags = response::GetFlags { flags: facts.flags.iter().map(flag).collect() };
    Answer { get_flags: Some(get_flags), ..of(AnswerType::GetFlags) }
}

fn version() -> Answer {
    let version_info = VersionInfo { version: API_LEVEL.to_owned(), ..VersionInfo::default() };
    Answer { get_version: Some(response::GetVersion { version_info }), ..of(AnswerType::GetVersion) }
}

/// All are in memory: no timeout is ever met.
fn get_metrics(look: &Look) -> Answer {
    let metrics = metrics::gather(look).into_iter().map(|(name, value)| Metric { name, value: Some(value) });
    let get_metrics = response::GetMetrics { metrics: metrics.collect() };
    Answer { get_metrics: Some(get_metrics), ..of(AnswerType::GetMetrics) }
}

fn logging_level() -> Answer {
    let get_logging_level = response::GetLoggingLevel { level: logs::verbosity() };
    Answer { get_logging_level: Some(get_logging_level), ..of(AnswerType::GetLoggingLevel) }
}

fn set_logging_level(call: &SetLoggingLevel) -> Response {
    let Ok(nanoseconds) = u64::try_from(call.duration.nanoseconds) else {
        return *gates::refuse(StatusCode::BAD_REQUEST, "duration: must not be negative");
    };
    match logs::set_verbosity(call.level, std::time::Duration::from_nanos(nanoseconds)) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => *gates::refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn list_files(site: &Site, content_type: ContentType, path: String) -> Response {
    let facts = site.facts.clone();
    let work = move || match files::list(&facts, &path) {
        Ok(file_infos) => {
            let list_files = Some(response::ListFiles { file_infos });
            small(content_type, &Answer { list_files, ..of(AnswerType::ListFiles) })
        }
        Err(error) => error.into_response(),
    };
    site.blocking(work).await
}

async fn read_file(
    site: &Site,
    content_type: ContentType,
    call: mesarch_proto::mesos::v1::agent::call::ReadFile,
) -> Response {
    let facts = site.facts.clone();
    let work = move || match files::read(&facts, &call.path, call.offset, call.length) {
        Ok((size, data)) => {
            let read_file = Some(response::ReadFile { size, data: data.into() });
            small(content_type, &Answer { read_file, ..of(AnswerType::ReadFile) })
        }
        Err(error) => error.into_response(),
    };
    site.blocking(work).await
}

fn get_agent(look: &Look) -> Answer {
    let agent_info = Some(v1::agent_info(look));
    let get_agent = response::GetAgent { agent_info, ..response::GetAgent::default() };
    Answer { get_agent: Some(get_agent), ..of(AnswerType::GetAgent) }
}

/// Those on what resource providers bring: the others are done when they are accepted.
fn operations(look: &Look) -> Answer {
    let get_operations = Some(response::GetOperations { operations: look.operations.clone() });
    Answer { get_operations, ..of(AnswerType::GetOperations) }
}

/// All that have ever subscribed and were not given up; one that is away has nothing.
fn resource_providers(look: &Look) -> Answer {
    let shown = |(info, resources): &(ResourceProviderInfo, Vec<Resource>)| ResourceProvider {
        resource_provider_info: info.clone(),
        total_resources: resources.clone(),
    };
    let resource_providers = look.providers.iter().map(shown).collect();
    let get_resource_providers = Some(response::GetResourceProviders { resource_providers });
    Answer { get_resource_providers, ..of(AnswerType::GetResourceProviders) }
}

/// It is answered once it is stored that the provider never comes back.
async fn mark_gone(site: &Site, call: MarkResourceProviderGone) -> Response {
    let (reply, answer) = oneshot::channel();
    let provider = call.resource_provider_id.value.into();
    if site.requests.send(Request::MarkProviderGone { provider, reply }).await.is_err() {
        return super::ending();
    }
    match answer.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(refusal)) => {
            let status = match refusal {
                GoneRefusal::Unknown => StatusCode::NOT_FOUND,
                GoneRefusal::InUse => StatusCode::INTERNAL_SERVER_ERROR,
            };
            *gates::refuse(status, &refusal.to_string())
        }
        Err(_) => super::ending(),
    }
}
