//! What a policy is: a rank among siblings.

use std::{fmt, sync::Arc};

use mesarch_types::AgentView;

use crate::{Drf, Share, Usage};

/// One who competes with its siblings: a role beside roles, or a framework beside the other frameworks of its role.
#[derive(Clone, Copy, Debug)]
pub struct Contender<'a> {
    /// The role's path or the framework's id. A role's own frameworks stand together beside its child roles under the
    /// name `role/.`.
    pub name: &'a str,
    /// The role's weight in thousandths; 1000 for frameworks and for roles without one.
    pub weight_thousandths: u64,
    /// The role's or framework's priority; 0 for whoever has none.
    pub priority: i32,
    /// What it holds, offered or in use, with all below it.
    pub usage: Usage<'a>,
    /// How often it was given something since it joined.
    pub allocations: u64,
    /// The agent that is being given away; only for policies that rank [`Ranking::PerAgent`].
    pub agent: Option<&'a AgentView>,
    /// Even bits that differ for each agent, plan and contender and depend on nothing but the seed, the number of the
    /// plan and the names; zero for policies that do not rank [`Ranking::PerAgent`].
    pub draw: u64,
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

/// How long a rank holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ranking {
    /// Until what the contender holds, its weight, its priority or the cluster's total changes. Orders are kept sorted.
    #[default]
    Standing,
    /// For one agent of one plan. Orders are made anew for each, at a cost that grows with the number of siblings.
    PerAgent,
}

/// An order of contenders.
///
/// Must be a function of its arguments alone: no clock, no random source (there is [`Contender::draw`]), no memory.
pub trait Policy: fmt::Debug + Send + Sync {
    /// Where `contender` stands among its siblings.
    fn rank(&self, contender: &Contender<'_>) -> Rank;

    /// How long its ranks hold.
    fn ranking(&self) -> Ranking {
        Ranking::Standing
    }
}

/// The orders of a cluster: of roles among their siblings and of frameworks within their role.
#[derive(Clone, Debug)]
pub struct Policies {
    /// Orders roles among their siblings.
    pub roles: Arc<dyn Policy>,
    /// Orders the frameworks of a role.
    pub frameworks: Arc<dyn Policy>,
}

impl Policies {
    /// The same policy on both levels.
    pub fn both(policy: impl Policy + 'static) -> Self {
        let policy = Arc::new(policy);
        Self { roles: policy.clone(), frameworks: policy }
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self::both(Drf)
    }
}
