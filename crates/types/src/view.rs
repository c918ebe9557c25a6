//! Agents and frameworks as the allocator sees them, as data.
//!
//! `state` makes these from what it stores, the planner reads them, and `apply` re-checks a plan with the same
//! predicates: so both judge alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    AgentCapabilities, AgentId, Attribute, Constraints, FrameworkCapabilities, FrameworkCapability,
    FrameworkId, Role,
    resource::{Quantities, Resource, Resources},
};

/// An agent, as far as offers depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentView {
    /// Its id.
    pub id: AgentId,
    /// Its host.
    pub hostname: Arc<str>,
    /// What it says about itself, in its order.
    pub attributes: Arc<[Attribute]>,
    /// All that it has, revocable resources included, not stamped with an allocation.
    pub total: Resources,
    /// What it can do.
    pub capabilities: AgentCapabilities,
    /// Whether it may be offered at all: attached or expected, not draining, not deactivated.
    pub active: bool,
    /// Its region; none: the masters' own.
    pub region: Option<Arc<str>>,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// When it will be down, if maintenance is planned.
    pub unavailability: Option<Unavailability>,
    /// Grows with every change of attributes, capabilities, activation or total; a plan names the version it saw.
    pub version: u64,
}

/// A planned outage. Display and comparison only: no decision reads the clock for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unavailability {
    /// Nanoseconds since 1970-01-01T00:00:00Z, as the operator said.
    pub start_ns: i64,
    /// How long in nanoseconds; none: without end.
    pub duration_ns: Option<i64>,
}

/// A framework, as far as offers depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkView {
    /// Its id.
    pub id: FrameworkId,
    /// The roles it subscribed to.
    pub roles: BTreeSet<Role>,
    /// Those of its roles for which it wants no offers now.
    pub suppressed: BTreeSet<Role>,
    /// What it can handle.
    pub capabilities: FrameworkCapabilities,
    /// Whether it is connected and may be offered anything.
    pub active: bool,
    /// Its own smallest offers by role; a role that is not named takes the cluster's, an empty list takes anything.
    pub min_allocatable: BTreeMap<Role, Vec<Quantities>>,
    /// Which agents it wants to be offered, by role; a role that is not named takes any.
    pub constraints: BTreeMap<Role, Constraints>,
    /// Grows with every change of the above; a plan names the version it saw.
    pub version: u64,
}

impl FrameworkView {
    /// Whether it wants offers for `role` now.
    pub fn wants(&self, role: &Role) -> bool {
        self.active && self.roles.contains(role) && !self.suppressed.contains(role)
    }
}

/// Whether `resource` may be put before a framework with these capabilities: shared, revocable and refined ones only
/// before those that know them.
pub fn can_handle(capabilities: FrameworkCapabilities, resource: &Resource) -> bool {
    let has = |one| capabilities.has(one);
    (!resource.shared || has(FrameworkCapability::SharedResources))
        && (!resource.revocable || has(FrameworkCapability::RevocableResources))
        && (resource.reservations.len() < 2 || has(FrameworkCapability::ReservationRefinement))
}

/// Whether `offered` is worth an offer: it holds at least one of the `alternatives`, or there are none.
pub fn is_allocatable(offered: &Quantities, alternatives: &[Quantities]) -> bool {
    alternatives.is_empty() || alternatives.iter().any(|least| offered.contains(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_holds_one_of_the_smallest_amounts() {
        let q = |text: &str| text.parse::<Quantities>().expect("good");
        let default = [q("cpus:0.01"), q("mem:32")];
        for (offered, expect) in
            [("cpus:0.01", true), ("mem:32", true), ("cpus:0.009;mem:31", false), ("disk:9999", false)]
        {
            assert_eq!(is_allocatable(&q(offered), &default), expect, "{offered}");
        }
        assert!(is_allocatable(&q(""), &[]));
    }

    #[test]
    fn special_resources_need_their_capability() {
        let parse = |text| crate::resource::parse_resources(text, &Role::any()).expect("good");
        let all = parse("cpus:1;cpus{REV}:2;cpus(a)(a/b,p):3");
        for (capability, expect) in [
            (FrameworkCapability::MultiRole, "cpus:1"),
            (FrameworkCapability::RevocableResources, "cpus:1;cpus{REV}:2"),
            (FrameworkCapability::ReservationRefinement, "cpus:1;cpus(a)(a/b,p):3"),
        ] {
            let capabilities = FrameworkCapabilities::NONE.with(capability);
            assert_eq!(all.filter(|resource| can_handle(capabilities, resource)), parse(expect));
        }
    }
}
