//! Changes, answered once they are committed.

use axum::body::Body;
use http::{Response, StatusCode};
use mesarch_faults::{Fault, on};
use mesarch_proto::mesos::v1::{
    self, WeightInfo,
    master::call::{GrowVolume, ReserveResources, ShrinkVolume, UpdateQuota},
    quota::{QuotaConfig, QuotaRequest},
};
use mesarch_state::{
    Command, LEVEL_CONDITIONS,
    command::{SetQuota, Teardown},
    outcome::{Denial, Refusal},
};
use mesarch_types::{
    AgentId, Conversion, ConversionError, FrameworkId, Quota, Resources, Role, Scalar, Weight,
};

use crate::{
    app::App,
    http::{empty, error},
    leader::Session,
    operator::{
        self, ChangeError, Invalid,
        request::{self, Once, invalid},
    },
};

/// Commits a change; an empty answer says so.
pub(super) async fn committed(
    app: &App,
    session: &Session,
    command: Command,
    done: StatusCode,
) -> Result<Response<Body>, ChangeError> {
    operator::commit(app, session, command).await?;
    Ok(empty(done))
}

/// Weights of roles, as both APIs name them. An empty list changes nothing.
pub(in crate::http) async fn set_weights(
    app: &App,
    session: &Session,
    infos: &[WeightInfo],
) -> Result<Response<Body>, ChangeError> {
    if infos.is_empty() {
        return Ok(empty(StatusCode::OK));
    }
    let named = infos.iter().map(|info| (info.role().trim(), Weight::from_f64(info.weight)));
    committed(app, session, request::weights(named)?, StatusCode::OK).await
}

/// Quotas of roles, all of them or none. An empty list changes nothing.
pub(super) async fn update_quota(
    app: &App,
    session: &Session,
    update: &UpdateQuota,
) -> Result<Response<Body>, ChangeError> {
    if update.quota_configs.is_empty() {
        return Ok(empty(StatusCode::OK));
    }
    let command = request::quotas(update.quota_configs.iter().map(quota), update.force())?;
    committed(app, session, command, StatusCode::OK).await
}

fn quota(config: &QuotaConfig) -> Result<Quota, Invalid> {
    let role = request::role(&config.role)?;
    let guarantees = config.guarantees.iter().map(|(kind, scalar)| (kind.as_str(), scalar.value));
    let limits = config.limits.iter().map(|(kind, scalar)| (kind.as_str(), scalar.value));
    let quota = Quota::from_doubles(role, guarantees, limits);
    quota.map_err(|error| invalid(format!("quota of {}: {error}", config.role)))
}

/// The deprecated way: a guarantee that is the limit as well, for a role that has no quota yet.
pub(in crate::http) async fn set_quota(
    app: &App,
    session: &Session,
    request: &QuotaRequest,
) -> Result<Response<Body>, ChangeError> {
    let quota = requested_quota(request)?;
    let change = SetQuota { quotas: vec![quota], force: request.force(), there: Some(false) };
    match change_quota_if(app, session, change).await {
        Err(error @ ChangeError::Denied(Denial::Quota { .. })) => {
            Ok(error::text(StatusCode::CONFLICT, &error.to_string()))
        }
        answered => answered,
    }
}

/// A change that rests on whether there is a quota. Masters that do not all know such commands can only look before.
async fn change_quota_if(
    app: &App,
    session: &Session,
    mut change: SetQuota,
) -> Result<Response<Body>, ChangeError> {
    let mut turn = None;
    if app.newest().state.level() < LEVEL_CONDITIONS || on(Fault::QuotaAtTheEdge) {
        // Broken below: the changes of other leaders, or of this one, come between the look and the change.
        turn = match on(Fault::QuotaAtTheEdge) {
            true => None,
            false => Some(app.quota_turn.lock().await),
        };
        let there = change.there.take();
        let has = |quota: &Quota| Some(app.newest().state.quota(quota.role()).is_some());
        if let Some(quota) = change.quotas.iter().find(|quota| has(quota) != there) {
            let role = quota.role().clone();
            let has_not = there == Some(true);
            let denial = if has_not { Denial::HasNoQuota(role) } else { Denial::HasQuota(role) };
            return Err(ChangeError::Denied(denial));
        }
    }
    let answered = committed(app, session, Command::SetQuota(change), StatusCode::OK).await;
    drop(turn);
    answered
}

fn requested_quota(request: &QuotaRequest) -> Result<Quota, Invalid> {
    let role = request::role(request.role.as_deref().unwrap_or_default())?;
    if request.guarantee.is_empty() {
        return Err(invalid("guarantee: must not be empty"));
    }
    let mut names = Once::of("guarantee");
    let amounts = request.guarantee.iter().map(|resource| {
        names.add(&resource.name)?;
        Ok((resource.name.as_str(), plain_amount(resource)?))
    });
    let amounts = amounts.collect::<Result<Vec<_>, Invalid>>()?;
    let quota = Quota::from_doubles(role, amounts.iter().copied(), amounts.iter().copied());
    quota.map_err(|error| invalid(format!("guarantee: {error}")))
}

/// Of a scalar that says nothing but its amount.
fn plain_amount(resource: &v1::Resource) -> Result<f64, Invalid> {
    let wrong = |what: &str| Err(invalid(format!("guarantee: {} {what}", resource.name)));
    match &resource.scalar {
        None => wrong("is not a scalar"),
        _ if !resource.reservations.is_empty() || resource.reservation.is_some() => wrong("is reserved"),
        _ if resource.role.as_deref().is_some_and(|role| role != "*") => wrong("is reserved"),
        _ if resource.disk.is_some() => wrong("has disk info"),
        _ if resource.revocable.is_some() => wrong("is revocable"),
        Some(scalar) => Ok(scalar.value),
    }
}

/// The deprecated removal of a quota that is there.
pub(in crate::http) async fn remove_quota(
    app: &App,
    session: &Session,
    role: &str,
) -> Result<Response<Body>, ChangeError> {
    let role: Role = request::role(role)?;
    let nothing = Quota::new(role, [].into_iter().collect(), [].into_iter().collect());
    let nothing = nothing.map_err(|error| invalid(format!("role: {error}")))?;
    change_quota_if(app, session, SetQuota { quotas: vec![nothing], force: true, there: Some(true) }).await
}

/// Ends a framework with all of its tasks.
pub(in crate::http) async fn teardown(
    app: &App,
    session: &Session,
    framework: &str,
) -> Result<Response<Body>, ChangeError> {
    let command = Command::Teardown(Teardown { framework: FrameworkId::from(framework) });
    committed(app, session, command, StatusCode::OK).await
}

/// A reservation of what is not reserved yet, or, with `source`, of what is reserved in another way.
pub(super) async fn reserve(
    app: &App,
    session: &Session,
    reserve: &ReserveResources,
) -> Result<Response<Body>, ChangeError> {
    if !reserve.source.is_empty() {
        check_unallocated("source", &reserve.source)?;
        check_unallocated("resources", &reserve.resources)?;
        let agent = reserve.agent_id.value.as_str().into();
        let command = request::rereserve(agent, &reserve.source, &reserve.resources)?;
        return committed(app, session, command, StatusCode::ACCEPTED).await;
    }
    convert(app, session, &reserve.agent_id.value, &reserve.resources, Conversion::Reserve).await
}

/// A reservation or volume, made or undone, of resources that belong to nobody yet.
pub(in crate::http) async fn convert(
    app: &App,
    session: &Session,
    agent: &str,
    resources: &[v1::Resource],
    conversion: fn(Resources) -> Conversion,
) -> Result<Response<Body>, ChangeError> {
    check_unallocated("resources", resources)?;
    let command = request::convert(agent.into(), resources, conversion)?;
    committed(app, session, command, StatusCode::ACCEPTED).await
}

fn check_unallocated(field: &str, resources: &[v1::Resource]) -> Result<(), Invalid> {
    match resources.iter().find(|resource| resource.allocation_info.is_some()) {
        Some(marked) => Err(invalid(format!("{field}: {} must not be allocated to a role", marked.name))),
        None => Ok(()),
    }
}

/// A volume that becomes larger. Without an agent id it would be a resource provider's, and there are none.
pub(super) async fn grow(
    app: &App,
    session: &Session,
    grow: &GrowVolume,
) -> Result<Response<Body>, ChangeError> {
    let agent = named_agent(grow.agent_id.as_ref())?;
    let command = request::resize(agent, &grow.volume, |volume| {
        let addition = request::single("addition", &grow.addition)?;
        Ok(Conversion::Grow { volume, addition })
    })?;
    committed(app, session, command, StatusCode::ACCEPTED).await
}

/// A volume that becomes smaller, as [`grow`].
pub(super) async fn shrink(
    app: &App,
    session: &Session,
    shrink: &ShrinkVolume,
) -> Result<Response<Body>, ChangeError> {
    let agent = named_agent(shrink.agent_id.as_ref())?;
    let command = request::resize(agent, &shrink.volume, |volume| {
        let subtract = Scalar::from_f64(shrink.subtract.value);
        let subtract = subtract.ok_or_else(|| invalid("subtract: out of range"))?;
        Ok(Conversion::Shrink { volume, subtract })
    })?;
    committed(app, session, command, StatusCode::ACCEPTED).await
}

fn named_agent(id: Option<&v1::AgentId>) -> Result<AgentId, Invalid> {
    id.map(|id| AgentId::from(id.value.as_str())).ok_or_else(|| invalid("agent_id: must be present"))
}

/// Status of a change that was not made.
fn status(error: &ChangeError) -> StatusCode {
    match error {
        ChangeError::Invalid(_) => StatusCode::BAD_REQUEST,
        ChangeError::Level { .. } => StatusCode::CONFLICT,
        ChangeError::Denied(Denial::Conversion(ConversionError::NotThere { .. })) => StatusCode::CONFLICT,
        ChangeError::Denied(
            Denial::Quota { .. }
            | Denial::HasQuota(_)
            | Denial::HasNoQuota(_)
            | Denial::UnknownAgent(_)
            | Denial::Conversion(_)
            | Denial::NotDeactivated(_)
            | Denial::Draining(_)
            | Denial::Scheduled(_)
            | Denial::MachineDown(_)
            | Denial::NotScheduled(_)
            | Denial::NotDown(_),
        ) => StatusCode::BAD_REQUEST,
        ChangeError::Refused(Refusal::UnknownFramework | Refusal::FrameworkRemoved) => {
            StatusCode::BAD_REQUEST
        }
        ChangeError::Refused(_) => StatusCode::CONFLICT,
        ChangeError::Call(error) => error::status(error),
    }
}

/// A change that was not made.
pub(super) fn refused(error: &ChangeError) -> Response<Body> {
    match error {
        ChangeError::Call(error) => error::of_call(error),
        _ => error::text(status(error), &error.to_string()),
    }
}
