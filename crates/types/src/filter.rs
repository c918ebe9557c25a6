//! Refusals: what a framework does not want to be offered again for a while.

use crate::{Millis, resource::Resources};

/// Most filters kept in the cluster; the one that ends soonest gives way, and a metric counts it.
pub const FILTERS_MAX: usize = 2_000_000;
/// How long a refusal lasts when the framework does not say.
pub const REFUSE_DEFAULT: Millis = Millis::from_secs(5);
/// The longest refusal; longer ones are cut to it.
pub const REFUSE_MAX: Millis = Millis::from_secs(365 * 24 * 3600);

/// A framework refused these resources of one agent for one role until a moment in cluster time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefuseFilter {
    /// What was refused, not stamped with an allocation.
    pub refused: Resources,
    /// The first moment (cluster time) at which it no longer blocks.
    pub until: Millis,
}

impl RefuseFilter {
    /// Whether an offer of `offered` (not stamped with an allocation) is blocked at `now`: it brings nothing beyond what
    /// was refused. Any growth passes.
    pub fn blocks(&self, offered: &Resources, now: Millis) -> bool {
        now < self.until && self.refused.contains(offered)
    }
}

/// How long a refusal of `refuse_ms` lasts: at least one allocation interval, at most [`REFUSE_MAX`]; `None` for zero,
/// which makes no filter.
pub fn refuse_duration(refuse_ms: Millis, allocation_interval: Millis) -> Option<Millis> {
    (refuse_ms > Millis::ZERO).then(|| refuse_ms.max(allocation_interval).min(REFUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Role, resource::parse_resources};

    #[test]
    fn a_filter_blocks_what_it_contains_until_it_ends() {
        let r = |text| parse_resources(text, &Role::any()).expect("good");
        let filter = RefuseFilter { refused: r("cpus:2;mem:1024;ports:[1-9]"), until: Millis(100) };
        for (offered, now, expect) in [
            ("cpus:2;mem:1024;ports:[1-9]", 99, true),
            ("cpus:1;ports:[3-4]", 0, true),
            ("cpus:2;mem:1024;ports:[1-9]", 100, false),
            ("cpus:2.001", 0, false),
            ("cpus:1;disk:1", 0, false),
            ("cpus(eng):1", 0, false),
            ("ports:[9-10]", 0, false),
        ] {
            assert_eq!(filter.blocks(&r(offered), Millis(now)), expect, "{offered} at {now}");
        }
    }

    #[test]
    fn durations_are_bounded_on_both_sides() {
        let interval = Millis(1000);
        for (asked, expect) in [
            (Millis::ZERO, None),
            (Millis(1), Some(interval)),
            (Millis(2000), Some(Millis(2000))),
            (Millis::FOREVER, Some(REFUSE_MAX)),
        ] {
            assert_eq!(refuse_duration(asked, interval), expect);
        }
    }
}
