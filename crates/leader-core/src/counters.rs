//! What a leader has done in its term, for the metrics.

use crate::message::How;

/// Sums since the beginning of the term; they only grow, except for those said to be present values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Agents that attached as new ones.
    pub attached_registered: u64,
    /// Agents that attached by digest alone.
    pub attached_digest: u64,
    /// Agents that attached by inventory because the digests differed.
    pub attached_differed: u64,
    /// Agents that attached by inventory because they asked for it or speak another form.
    pub attached_wanted: u64,
    /// Agents that attached by inventory because the masters did not know them.
    pub attached_unknown: u64,
    /// Agents proposed to be detached.
    pub detached: u64,
    /// Agents proposed to be marked unreachable.
    pub removed: u64,
    /// Agents that are due to be marked unreachable now but held by the rate or the guard (a present value).
    pub removals_held: u64,
    /// Frameworks proposed to be expired.
    pub expired: u64,
    /// Plans made, empty ones included.
    pub plans: u64,
    /// Offers planned.
    pub offers_planned: u64,
    /// Planned offers that `apply` refused or that found no place.
    pub offers_refused: u64,
    /// Repeated status updates answered from the state without a command.
    pub updates_repeated: u64,
    /// Messages of agents whose link is not attached, ignored.
    pub ignored: u64,
    /// Proposals that no log entry holds.
    pub too_large: u64,
}

impl Counters {
    pub(crate) fn attached(&mut self, how: How) {
        *match how {
            How::Registered => &mut self.attached_registered,
            How::Digest => &mut self.attached_digest,
            How::Differed => &mut self.attached_differed,
            How::Wanted => &mut self.attached_wanted,
            How::Unknown => &mut self.attached_unknown,
        } += 1;
    }
}
