//! Commands of operators about who gets how much, and what a framework says about its own offers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mesarch_types::{
    AgentId, Constraints, Conversion, FrameworkId, Priority, Quantities, Quota, Role, Weight,
};

/// See [`Command::SetWeights`](super::Command::SetWeights). Roles that are not named keep theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct SetWeights {
    /// At most one for a role; the last one counts.
    pub weights: Vec<(Role, Weight)>,
}

/// See [`Command::SetQuota`](super::Command::SetQuota). Roles that are not named keep theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct SetQuota {
    /// One that says nothing removes the role's. All of them are taken, or none.
    pub quotas: Vec<Quota>,
    /// Limits may be below what is in use, and guarantees above what the cluster has.
    pub force: bool,
    /// Refused unless each of these roles has a quota (true), or none of them has (false).
    pub there: Option<bool>,
}

/// See [`Command::SetPriorities`](super::Command::SetPriorities). Whoever is not named keeps his; zero removes one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetPriorities {
    /// Of roles among their siblings.
    pub roles: Vec<(Role, Priority)>,
    /// Of frameworks in each of their roles. An unknown one refuses the command.
    pub frameworks: Vec<(FrameworkId, Priority)>,
}

/// See [`Command::SetWhitelist`](super::Command::SetWhitelist).
#[derive(Clone, Debug, PartialEq)]
pub struct SetWhitelist {
    /// Host names; none: all hosts.
    pub hosts: Option<BTreeSet<Arc<str>>>,
}

/// See [`Command::SetPolicy`](super::Command::SetPolicy).
#[derive(Clone, Debug, PartialEq)]
pub struct SetPolicy {
    /// A name that the proposing leader knows.
    pub name: Arc<str>,
}

/// See [`Command::ConvertResources`](super::Command::ConvertResources).
#[derive(Clone, Debug, PartialEq)]
pub struct ConvertResources {
    /// Whose resources.
    pub agent: AgentId,
    /// Which become what.
    pub conversion: Conversion,
}

/// What a framework says about its own offers, role by role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfferRules {
    /// Which agents it wants to be offered; a role that is not named takes any.
    pub constraints: BTreeMap<Role, Constraints>,
    /// Its smallest offers; a role that is not named takes the cluster's, an empty list takes anything.
    pub min_allocatable: BTreeMap<Role, Vec<Quantities>>,
}
