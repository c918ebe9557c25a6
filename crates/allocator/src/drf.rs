//! Dominant resource fairness, weighted.

use crate::{Contender, Policy, Rank};

/// Who holds the smallest dominant share by weight comes first; equal ones take turns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drf;

impl Policy for Drf {
    fn rank(&self, contender: &Contender<'_>) -> Rank {
        let share = contender.usage.dominant_share().per_weight(contender.weight_thousandths);
        Rank { tier: 0, share, allocations: contender.allocations }
    }
}
