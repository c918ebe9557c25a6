//! Whether a FrameworkInfo may subscribe, or take the place of the one that did. Refusals reach the scheduler as an ERROR
//! event, and in answer to UPDATE_FRAMEWORK as the call's.

use std::collections::BTreeSet;

use mesarch_mesos_v1::convert::{InvalidRules, constraints_from_v1, min_allocatable_from_v1};
use mesarch_proto::mesos::v1::{self, framework_info::capability::Type, scheduler::OfferConstraints};
use mesarch_state::command::OfferRules;
use mesarch_types::{InvalidRole, Role, valid_text_id};

/// Longest duration that Mesos can hold, in seconds: 2^63 ns.
const DURATION_SECONDS_MAX: f64 = 9_223_372_036.0;

/// Why a framework may not subscribe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidFramework {
    #[error(
        "'FrameworkInfo.id' is invalid: it must be 1 to 255 bytes, without '/', '\\' and control characters"
    )]
    Id,
    #[error("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable")]
    RoleWithMultiRole,
    #[error("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable")]
    RolesWithoutMultiRole,
    #[error("'FrameworkInfo.roles' contains duplicate items: {0}")]
    DuplicateRole(String),
    #[error("invalid role: {0}")]
    Role(#[from] InvalidRole),
    #[error("suppressed role '{0}' is not contained in the roles of the framework")]
    Suppressed(String),
    #[error("'FrameworkInfo.failover_timeout' of {0} seconds is no duration")]
    FailoverTimeout(String),
    #[error("{0}")]
    Rules(#[from] InvalidRules),
}

/// What a valid SUBSCRIBE or UPDATE_FRAMEWORK says beside the FrameworkInfo.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Roles for which the framework wants no offers now.
    pub(crate) suppressed: BTreeSet<Role>,
    /// What it says about its offers.
    pub(crate) rules: OfferRules,
}

/// Checks what SUBSCRIBE or UPDATE_FRAMEWORK says.
pub(crate) fn validate(
    info: &v1::FrameworkInfo,
    suppressed_roles: &[String],
    constraints: Option<&OfferConstraints>,
) -> Result<Wishes, InvalidFramework> {
    if info.id.as_ref().is_some_and(|id| !valid_text_id(&id.value)) {
        return Err(InvalidFramework::Id);
    }
    let roles = roles(info)?;
    let timeout = info.failover_timeout();
    if !timeout.is_finite() || timeout.abs() > DURATION_SECONDS_MAX {
        return Err(InvalidFramework::FailoverTimeout(timeout.to_string()));
    }
    let constraints = constraints.map(constraints_from_v1).transpose()?;
    let rules = OfferRules {
        constraints: constraints.unwrap_or_default(),
        min_allocatable: min_allocatable_from_v1(&info.offer_filters)?,
    };
    Ok(Wishes { suppressed: suppressed(suppressed_roles, &roles)?, rules })
}

fn roles(info: &v1::FrameworkInfo) -> Result<BTreeSet<Role>, InvalidFramework> {
    let multi_role = info.capabilities.iter().any(|one| one.r#type == Some(Type::MultiRole as i32));
    if !multi_role {
        return match info.roles.is_empty() {
            true => Ok(BTreeSet::from([Role::parse(info.role())?])),
            false => Err(InvalidFramework::RolesWithoutMultiRole),
        };
    }
    if info.role.is_some() {
        return Err(InvalidFramework::RoleWithMultiRole);
    }
    let mut roles = BTreeSet::new();
    for role in &info.roles {
        if !roles.insert(Role::parse(role)?) {
            return Err(InvalidFramework::DuplicateRole(role.clone()));
        }
    }
    Ok(roles)
}

fn suppressed(list: &[String], roles: &BTreeSet<Role>) -> Result<BTreeSet<Role>, InvalidFramework> {
    let suppressed: BTreeSet<Role> = list.iter().map(|role| Role::from(role.as_str())).collect();
    match suppressed.iter().find(|role| !roles.contains(*role)) {
        Some(foreign) => Err(InvalidFramework::Suppressed(foreign.to_string())),
        None => Ok(suppressed),
    }
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::{FrameworkId, FrameworkInfo, scheduler::call::Subscribe};

    use super::*;

    fn check(change: impl FnOnce(&mut Subscribe), expect: Result<(), &str>) {
        let multi = v1::framework_info::Capability { r#type: Some(Type::MultiRole as i32) };
        let info = FrameworkInfo {
            roles: vec!["a".into(), "b/c".into()],
            capabilities: vec![multi],
            ..Default::default()
        };
        let mut subscribe = Subscribe { framework_info: info, ..Default::default() };
        change(&mut subscribe);
        let constraints = subscribe.offer_constraints.as_ref();
        let validated = validate(&subscribe.framework_info, &subscribe.suppressed_roles, constraints);
        match (validated, expect) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error} instead of {text}"),
            (result, expect) => panic!("{result:?} instead of {expect:?} for {subscribe:?}"),
        }
    }

    #[test]
    fn every_rule_has_its_refusal() {
        check(|_| {}, Ok(()));
        check(|s| s.suppressed_roles = vec!["a".into()], Ok(()));
        check(|s| s.suppressed_roles = vec!["zzz".into()], Err("suppressed role 'zzz'"));
        check(|s| s.framework_info.role = Some("a".into()), Err("must not be set"));
        check(|s| s.framework_info.roles.push("a".into()), Err("duplicate"));
        check(|s| s.framework_info.roles.push("-bad".into()), Err("dash"));
        check(|s| s.framework_info.capabilities.clear(), Err("not MULTI_ROLE"));
        check(|s| s.framework_info.failover_timeout = Some(f64::INFINITY), Err("no duration"));
        check(|s| s.framework_info.failover_timeout = Some(1e11), Err("no duration"));
        check(|s| s.framework_info.failover_timeout = Some(-1.0), Ok(()));
        check(|s| s.framework_info.id = Some(FrameworkId { value: "a/b".into() }), Err("id"));
        check(|s| s.framework_info.id = Some(FrameworkId { value: "my-own".into() }), Ok(()));
        check(|s| drop(s.framework_info.offer_filters.insert("a".into(), Default::default())), Ok(()));
        check(
            |s| {
                let mut constraints = OfferConstraints::default();
                constraints.role_constraints.insert("a".into(), Default::default());
                s.offer_constraints = Some(constraints);
            },
            Err("offer_constraints[a].groups: must not be empty"),
        );
        check(|s| s.offer_constraints = Some(Default::default()), Ok(()));
        let old = |role: Option<&str>| FrameworkInfo { role: role.map(Into::into), ..Default::default() };
        check(|s| s.framework_info = old(None), Ok(()));
        check(|s| s.framework_info = old(Some("a")), Ok(()));
        check(|s| s.framework_info = old(Some("a b")), Err("blank"));
    }
}
