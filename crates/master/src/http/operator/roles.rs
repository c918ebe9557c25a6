//! GET_ROLES and GET_QUOTA.

use mesarch_proto::mesos::v1::{
    self, Resource, Role as Shown,
    quota::{QuotaConfig, QuotaInfo, QuotaStatus},
    value,
};
use mesarch_state::State;
use mesarch_types::{Quantities, Quota, Role};

use crate::{
    events,
    http::v0::{RoleHoldings, role_holdings},
};

/// Roles that have frameworks, resources, reservations, weights or quota, and all above them, by name.
pub(super) fn list(state: &State) -> Vec<Shown> {
    let holdings = role_holdings(state);
    holdings.iter().map(|(role, held)| shown(state, role, held)).collect()
}

fn shown(state: &State, role: &Role, held: &RoleHoldings) -> Shown {
    let frameworks = state.frameworks().filter(|framework| framework.spec.roles.contains(role));
    let all = held.allocated.iter().chain(&held.offered).map(|resources| resources.quantities());
    let sum = all.fold(Quantities::default(), |sum, one| sum.saturating_add(&one));
    Shown {
        name: role.to_string(),
        weight: state.weight(role).thousandths() as f64 / 1000.0,
        frameworks: frameworks.map(|framework| events::framework_id(&framework.id)).collect(),
        resources: amounts(&sum),
    }
}

/// The present form, and the deprecated one of guarantees.
pub(super) fn quota(state: &State) -> QuotaStatus {
    let guaranteed = state.quotas().filter(|quota| !quota.guarantees().is_empty());
    QuotaStatus { infos: guaranteed.map(info).collect(), configs: state.quotas().map(config).collect() }
}

/// The deprecated form of a quota.
pub(in crate::http) fn info(quota: &Quota) -> QuotaInfo {
    QuotaInfo {
        role: Some(quota.role().to_string()),
        principal: None,
        guarantee: amounts(quota.guarantees()),
    }
}

/// The present form.
pub(in crate::http) fn config(quota: &Quota) -> QuotaConfig {
    let scalars = |amounts: &Quantities| {
        let scalar = |(kind, amount): (&std::sync::Arc<str>, mesarch_types::Scalar)| {
            (kind.to_string(), value::Scalar { value: amount.to_f64() })
        };
        amounts.iter().map(scalar).collect()
    };
    QuotaConfig {
        role: quota.role().to_string(),
        guarantees: scalars(quota.guarantees()),
        limits: scalars(quota.limits()),
    }
}

fn amounts(amounts: &Quantities) -> Vec<Resource> {
    let one = |(kind, amount): (&std::sync::Arc<str>, mesarch_types::Scalar)| Resource {
        name: kind.to_string(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value: amount.to_f64() }),
        ..v1::Resource::default()
    };
    amounts.iter().filter(|(_, amount)| !amount.is_zero()).map(one).collect()
}
