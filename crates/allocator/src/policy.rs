//! What a policy is: a rank among siblings.

use std::fmt;

use crate::{Share, Usage};

/// One who competes with its siblings: a role beside roles, or a framework beside the other frameworks of its role.
#[derive(Clone, Copy, Debug)]
pub struct Contender<'a> {
    /// The role's path or the framework's id.
    pub name: &'a str,
    /// The role's weight in thousandths; 1000 for frameworks and for roles without one.
    pub weight_thousandths: u64,
    /// What it holds, offered or in use, with all below it.
    pub usage: Usage<'a>,
    /// How often it was given something since it joined.
    pub allocations: u64,
}

/// Where a contender stands: smaller is served first; equal ranks are served by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Compared first. Zero where a policy has no tiers.
    pub tier: i64,
    /// Compared second.
    pub share: Share,
    /// Compared third.
    pub allocations: u64,
}

/// An order of contenders. Called whenever what a contender holds, its weight or the cluster's total changed.
///
/// Must be a function of its argument alone: ranks are kept until the contender changes.
pub trait Policy: fmt::Debug + Send + Sync {
    /// Where `contender` stands among its siblings.
    fn rank(&self, contender: &Contender<'_>) -> Rank;
}
