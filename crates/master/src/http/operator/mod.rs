//! `/api/v1`: the gates in Mesos' order, then the call. Reads are in `read.rs` and the files of what they list, changes
//! in `change.rs`.

mod administration;
mod agents;
mod change;
mod events;
mod frameworks;
mod process;
mod read;
mod roles;
mod subscribe;
mod tasks;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use mesarch_edge::Patience;
use mesarch_mesos_v1::{ContentType, operator::validate};
use mesarch_proto::mesos::v1::master::{Call, Response as Answer, call::Type, response::Type as AnswerType};
use mesarch_types::Conversion;

use super::{
    error, gates,
    read::{Reader, takes_gzip},
    redirect,
};
use crate::{app::App, calls::CallError, leader::Session, operator::ChangeError};

pub(crate) use subscribe::{Followed, follow};

pub(super) use administration::{set_schedule, start_maintenance, stop_maintenance};
pub(super) use agents::drain_info;
pub(super) use change::{convert, remove_quota, set_quota, set_weights, teardown};
pub(super) use roles::{config as quota_config, info as quota_info};

/// In which form an answer is wanted.
#[derive(Clone, Copy, Debug)]
struct AnswerForm {
    content_type: ContentType,
    /// Whether long ones may be compressed.
    gzip: bool,
}

/// A call that passed the gates.
struct Admitted {
    /// Boxed because it is large and moves from step to step.
    call: Box<Call>,
    kind: Type,
    form: AnswerForm,
    reader: Reader,
    /// The one that asks, if it carries nothing else meanwhile.
    connection: Option<Arc<Patience>>,
}

/// Answers one call. `long_path` is what a redirect names.
pub(super) async fn call(
    app: Arc<App>,
    request: Request<Incoming>,
    long_path: String,
    patience: Arc<Patience>,
) -> Response<Body> {
    // Others share a connection of HTTP/2, and a stream of it may end alone.
    let connection = (request.version() < Version::HTTP_2).then_some(patience);
    let query = request.uri().query().map(str::to_owned);
    let reader = match Reader::of(&app, &long_path, query.as_deref()).await {
        Ok(reader) => reader,
        Err(elsewhere) => return *elsewhere,
    };
    let admitted = match admit(&app, request, reader, connection).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    match done(&app, admitted).await {
        Ok(response) => response,
        Err(error) => refused(&app, &long_path, query.as_deref(), &error).await,
    }
}

async fn done(app: &Arc<App>, admitted: Admitted) -> Result<Response<Body>, ChangeError> {
    match admitted.reader.session().cloned() {
        Some(session) => carry_out(app.clone(), session, admitted).await,
        None => Ok(read_state(app.clone(), admitted).await),
    }
}

/// Answers a valid call other than SUBSCRIBE that came over another protocol, in protobuf.
///
/// # Errors
/// A change that was not made. Other refusals are answers, as in HTTP.
pub(crate) async fn answer(
    app: &Arc<App>,
    reader: Reader,
    call: Box<Call>,
    kind: Type,
) -> Result<Response<Body>, ChangeError> {
    let form = AnswerForm { content_type: ContentType::Protobuf, gzip: false };
    done(app, Admitted { call, kind, form, reader, connection: None }).await
}

/// A change that was not made. If another master leads by now, the client is sent there: nothing was done.
pub(super) async fn refused(
    app: &App,
    long_path: &str,
    query: Option<&str>,
    error: &ChangeError,
) -> Response<Body> {
    if matches!(error, ChangeError::Call(CallError::NotLeader))
        && let Err(elsewhere) = redirect::leader(app, long_path, query).await
    {
        return *elsewhere;
    }
    change::refused(error)
}

async fn admit(
    app: &App,
    request: Request<Incoming>,
    reader: Reader,
    connection: Option<Arc<Patience>>,
) -> Result<Admitted, gates::Refused> {
    let (parts, call): (_, Box<Call>) = gates::call(app, request).await?;
    let kind = validate(&call).map_err(|error| {
        gates::refuse(StatusCode::BAD_REQUEST, &format!("Failed to validate master::Call: {error}"))
    })?;
    let form =
        AnswerForm { content_type: gates::negotiate(&parts.headers)?, gzip: takes_gzip(&parts.headers) };
    Ok(Admitted { call, kind, form, reader, connection })
}

/// What each call leads to. The field of its type is there: the gates saw to that.
async fn carry_out(
    app: Arc<App>,
    session: Arc<Session>,
    admitted: Admitted,
) -> Result<Response<Body>, ChangeError> {
    let Admitted { call, kind, form, reader, connection } = admitted;
    let content_type = form.content_type;
    match kind {
        Type::GetHealth => Ok(small(content_type, &process::health())),
        Type::GetFlags => Ok(small(content_type, &process::flags(&app))),
        Type::GetVersion => Ok(small(content_type, &process::version())),
        Type::GetMetrics => Ok(small(content_type, &process::metrics(&app))),
        Type::GetLoggingLevel => Ok(small(content_type, &process::logging_level())),
        Type::SetLoggingLevel => Ok(process::set_logging_level(&call.set_logging_level.unwrap_or_default())),
        Type::GetMaster => Ok(small(content_type, &process::master(&app, &session))),
        Type::ListFiles | Type::ReadFile => Ok(super::v0::no_files()),
        Type::Subscribe
        | Type::GetState
        | Type::GetAgents
        | Type::GetFrameworks
        | Type::GetExecutors
        | Type::GetTasks
        | Type::GetOperations
        | Type::GetRoles
        | Type::GetWeights
        | Type::GetQuota
        | Type::GetMaintenanceStatus
        | Type::GetMaintenanceSchedule => {
            let admitted = Admitted { call, kind, form, reader, connection };
            Ok(read_state(app, admitted).await)
        }
        Type::UpdateWeights => {
            let weights = call.update_weights.unwrap_or_default().weight_infos;
            set_weights(&app, &session, &weights).await
        }
        Type::UpdateQuota => {
            change::update_quota(&app, &session, &call.update_quota.unwrap_or_default()).await
        }
        Type::SetQuota => set_quota(&app, &session, &call.set_quota.unwrap_or_default().quota_request).await,
        Type::RemoveQuota => remove_quota(&app, &session, &call.remove_quota.unwrap_or_default().role).await,
        Type::ReserveResources => {
            change::reserve(&app, &session, &call.reserve_resources.unwrap_or_default()).await
        }
        Type::UnreserveResources => {
            let asked = call.unreserve_resources.unwrap_or_default();
            convert(&app, &session, &asked.agent_id.value, &asked.resources, Conversion::Unreserve).await
        }
        Type::CreateVolumes => {
            let asked = call.create_volumes.unwrap_or_default();
            convert(&app, &session, &asked.agent_id.value, &asked.volumes, Conversion::Create).await
        }
        Type::DestroyVolumes => {
            let asked = call.destroy_volumes.unwrap_or_default();
            convert(&app, &session, &asked.agent_id.value, &asked.volumes, Conversion::Destroy).await
        }
        Type::GrowVolume => change::grow(&app, &session, &call.grow_volume.unwrap_or_default()).await,
        Type::ShrinkVolume => change::shrink(&app, &session, &call.shrink_volume.unwrap_or_default()).await,
        Type::Teardown => {
            teardown(&app, &session, &call.teardown.unwrap_or_default().framework_id.value).await
        }
        Type::DrainAgent => {
            administration::drain(&app, &session, &call.drain_agent.unwrap_or_default()).await
        }
        Type::DeactivateAgent => {
            let agent = call.deactivate_agent.unwrap_or_default().agent_id.value;
            administration::deactivate(&app, &session, &agent).await
        }
        Type::ReactivateAgent => {
            let agent = call.reactivate_agent.unwrap_or_default().agent_id.value;
            administration::reactivate(&app, &session, &agent).await
        }
        Type::MarkAgentGone => {
            let agent = call.mark_agent_gone.unwrap_or_default().agent_id.value;
            administration::mark_gone(&app, &session, &agent).await
        }
        Type::UpdateMaintenanceSchedule => {
            let asked = call.update_maintenance_schedule.unwrap_or_default();
            set_schedule(&app, &session, &asked.schedule).await
        }
        Type::StartMaintenance => {
            let machines = call.start_maintenance.unwrap_or_default().machines;
            start_maintenance(&app, &session, &machines).await
        }
        Type::StopMaintenance => {
            let machines = call.stop_maintenance.unwrap_or_default().machines;
            stop_maintenance(&app, &session, &machines).await
        }
        Type::Unknown => Ok(error::not_implemented("a call of type UNKNOWN")),
    }
}

/// What is answered from the state alone, and so by any master if its reader wants that.
async fn read_state(app: Arc<App>, admitted: Admitted) -> Response<Body> {
    let Admitted { kind, form, reader, connection, .. } = admitted;
    match kind {
        Type::Subscribe => match connection {
            Some(connection) => subscribe::subscribe(app, reader, form.content_type, connection).await,
            // Nothing could take back what waits for the window of one stream among many.
            None => super::error::text(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "SUBSCRIBE needs a connection of its own: use HTTP/1.1",
            ),
        },
        Type::GetState => read::long(app, reader, form, &read::STATE).await,
        Type::GetAgents => read::long(app, reader, form, &read::AGENTS).await,
        Type::GetFrameworks => read::long(app, reader, form, &read::FRAMEWORKS).await,
        Type::GetExecutors => read::long(app, reader, form, &read::EXECUTORS).await,
        Type::GetTasks => read::long(app, reader, form, &read::TASKS).await,
        Type::GetOperations => {
            read::short(app, reader, form, (AnswerType::GetOperations, read::operations)).await
        }
        Type::GetRoles => read::short(app, reader, form, (AnswerType::GetRoles, read::roles)).await,
        Type::GetWeights => read::short(app, reader, form, (AnswerType::GetWeights, read::weights)).await,
        Type::GetQuota => read::short(app, reader, form, (AnswerType::GetQuota, read::quota)).await,
        Type::GetMaintenanceStatus => {
            read::short(app, reader, form, (AnswerType::GetMaintenanceStatus, read::maintenance_status)).await
        }
        Type::GetMaintenanceSchedule => {
            read::short(app, reader, form, (AnswerType::GetMaintenanceSchedule, read::maintenance_schedule))
                .await
        }
        _ => {
            let reason = format!("consistency=stale: {} does not read the state", kind.as_str_name());
            error::text(StatusCode::BAD_REQUEST, &reason)
        }
    }
}

/// An answer of this type, to be filled.
fn of(kind: AnswerType) -> Answer {
    Answer { r#type: Some(kind as i32), ..Answer::default() }
}

/// An answer that is small.
fn small(content_type: ContentType, answer: &Answer) -> Response<Body> {
    with(content_type, mesarch_mesos_v1::encode(content_type, answer))
}

fn with(content_type: ContentType, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(bytes.into());
    let kind = HeaderValue::from_static(content_type.as_str());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
