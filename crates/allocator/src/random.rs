//! Weighted random: each agent goes to whoever is drawn for it.

use crate::{Contender, Policy, Rank, Ranking, Share};

/// At each level of the tree siblings are drawn, for each agent anew, with chances in proportion to their weights.
///
/// The draws come from the allocator's seed and the number of the plan, so the same history gives the same offers.
#[derive(Clone, Copy, Debug, Default)]
pub struct WeightedRandom;

impl Policy for WeightedRandom {
    fn rank(&self, contender: &Contender<'_>) -> Rank {
        Rank { share: Share::drawn(contender.draw, contender.weight_thousandths), ..Rank::default() }
    }

    fn ranking(&self) -> Ranking {
        Ranking::PerAgent
    }
}
