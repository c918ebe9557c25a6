//! What operators decide about sharing.

use crate::{change::Change, command::SetWeights, outcome::Outcome, step::Step};

/// The weight of a role that has none: one, in thousandths.
pub(crate) const WEIGHT_DEFAULT: u64 = 1000;

impl Step<'_> {
    /// A weight of zero, which the edge does not let pass, counts as the smallest.
    pub(crate) fn set_weights(&mut self, c: SetWeights) -> Outcome {
        for (role, weight) in c.weights {
            self.state.weights.insert(role, weight.max(1));
        }
        self.state.meta.policy_version = self.epoch();
        self.change(Change::Policy);
        Outcome::Done
    }
}
