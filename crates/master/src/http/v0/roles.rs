//! `/roles`.

use std::collections::{BTreeMap, BTreeSet};

use mesarch_state::State;
use mesarch_types::{
    Role,
    resource::{Resources, Value},
};
use serde::Serialize;

/// Amounts by kind, without zeros; ranges and sets by their size.
type Quantities = BTreeMap<String, f64>;

#[derive(Serialize)]
pub(super) struct RolesView<'a> {
    roles: Vec<RoleView<'a>>,
}

#[derive(Serialize)]
struct RoleView<'a> {
    name: String,
    weight: f64,
    quota: QuotaView,
    resources: Quantities,
    allocated: Quantities,
    offered: Quantities,
    reserved: Quantities,
    frameworks: Vec<&'a str>,
}

/// The quota of a top-level role, empty where there is none, and what counts against one.
#[derive(Serialize)]
struct QuotaView {
    role: String,
    guarantee: Quantities,
    limit: Quantities,
    consumed: Quantities,
}

/// What a role has, over all agents.
#[derive(Default)]
pub(in crate::http) struct RoleHoldings {
    pub(in crate::http) allocated: Vec<Resources>,
    pub(in crate::http) offered: Vec<Resources>,
    reserved: Vec<Resources>,
}

pub(super) fn list(state: &State) -> RolesView<'_> {
    let holdings = role_holdings(state);
    RolesView { roles: holdings.iter().map(|(role, held)| view(state, role, held)).collect() }
}

/// Roles that have frameworks, resources, reservations, weights or quota, and all above them.
pub(in crate::http) fn role_holdings(state: &State) -> BTreeMap<Role, RoleHoldings> {
    let mut all = holdings(state);
    let mut names: BTreeSet<Role> = all.keys().cloned().collect();
    names.extend(state.weights().map(|(role, _)| role.clone()));
    names.extend(state.quotas().map(|quota| quota.role().clone()));
    names.extend(state.frameworks().flat_map(|framework| framework.spec.roles.iter().cloned()));
    let above: Vec<Role> = names.iter().flat_map(|role| role.ancestors().map(Role::from)).collect();
    names.extend(above);
    for role in names {
        all.entry(role).or_default();
    }
    all
}

fn holdings(state: &State) -> BTreeMap<Role, RoleHoldings> {
    let mut all: BTreeMap<Role, RoleHoldings> = BTreeMap::new();
    for agent in state.agents() {
        for ((_, role), used) in agent.ledger.used() {
            all.entry(role.clone()).or_default().allocated.push(used.clone());
        }
        for ((_, role), offered) in agent.ledger.offered() {
            all.entry(role.clone()).or_default().offered.push(offered.clone());
        }
        for resource in agent.total().iter() {
            if let Some(role) = resource.reserved_role() {
                let one = Resources::new([resource.clone()]).unwrap_or_default();
                all.entry(role.clone()).or_default().reserved.push(one);
            }
        }
    }
    all
}

fn view<'a>(state: &'a State, role: &Role, held: &RoleHoldings) -> RoleView<'a> {
    let frameworks = state.frameworks().filter(|framework| framework.spec.roles.contains(role));
    let unused = held.reserved.iter();
    let (allocated, offered) = (quantities(&held.allocated), quantities(&held.offered));
    let unreserved_use: Vec<Resources> = held.allocated.iter().map(Resources::unreserved).collect();
    let quota = state.quota(role);
    RoleView {
        weight: state.weight(role).thousandths() as f64 / 1000.0,
        quota: QuotaView {
            role: role.to_string(),
            guarantee: quota.map(|quota| amounts(quota.guarantees())).unwrap_or_default(),
            limit: quota.map(|quota| amounts(quota.limits())).unwrap_or_default(),
            consumed: quantities(unused.chain(&unreserved_use)),
        },
        resources: quantities(held.allocated.iter().chain(&held.offered)),
        allocated,
        offered,
        reserved: quantities(&held.reserved),
        frameworks: frameworks.map(|framework| framework.id.as_str()).collect(),
        name: role.to_string(),
    }
}

/// A zero is a limit.
fn amounts(quantities: &mesarch_types::Quantities) -> Quantities {
    quantities.iter().map(|(kind, amount)| (kind.to_string(), amount.to_f64())).collect()
}

fn quantities<'a>(all: impl IntoIterator<Item = &'a Resources>) -> Quantities {
    let mut sum: BTreeMap<String, i64> = BTreeMap::new();
    for resource in all.into_iter().flat_map(Resources::iter) {
        let thousandths = match &resource.value {
            Value::Scalar(amount) => amount.thousandths(),
            Value::Ranges(ranges) => i64::try_from(ranges.count()).unwrap_or(i64::MAX).saturating_mul(1000),
            Value::Set(set) => i64::try_from(set.count()).unwrap_or(i64::MAX).saturating_mul(1000),
        };
        let amount = sum.entry(resource.name.to_string()).or_default();
        *amount = amount.saturating_add(thousandths);
    }
    sum.into_iter()
        .filter(|(_, amount)| *amount != 0)
        .map(|(name, amount)| (name, amount as f64 / 1000.0))
        .collect()
}
