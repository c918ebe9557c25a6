//! Strict priority: who is more important is served first, however much it holds.
//!
//! A role's priority ranks it, with all below it, among its siblings; a framework's ranks it within its role. Equals
//! share by dominant share. Nothing protects whoever ranks low: it gets what the others refuse, and starves if that is
//! nothing ([`Stats::starving`](crate::Stats::starving) counts those). Quota guarantees come before any priority.

use crate::{Contender, Drf, Policy, Rank};

/// Higher priority first; among equals the smallest dominant share by weight.
#[derive(Clone, Copy, Debug, Default)]
pub struct StrictPriority;

impl Policy for StrictPriority {
    fn rank(&self, contender: &Contender<'_>) -> Rank {
        Rank { tier: -i64::from(contender.priority), ..Drf.rank(contender) }
    }
}
