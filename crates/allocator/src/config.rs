//! What operators choose.

use std::{collections::BTreeSet, sync::Arc};

use mesarch_types::{FILTERS_MAX, Millis, Quantities, Scalar};

use crate::Policies;

/// The allocator's options.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long declined resources wait; ticks are the whole multiples of it in cluster time. At least 1 ms.
    pub allocation_interval: Millis,
    /// An offer holds at least one of these; empty: anything.
    pub min_allocatable: Vec<Quantities>,
    /// Kinds that do not count in shares.
    pub excluded_names: BTreeSet<Arc<str>>,
    /// Most offers planned per second of cluster time, and at once. At least 1.
    pub offers_per_second_max: u32,
    /// Whether agents with gpus are kept for frameworks that know gpus.
    pub filter_gpus: bool,
    /// The masters' own region; agents of another one are for region-aware frameworks. None: no agent is remote.
    pub region: Option<Arc<str>>,
    /// Most refusals remembered; the one that ends soonest gives way.
    pub filters_max: usize,
    /// Who comes first.
    pub policies: Policies,
    /// Where the draws of policies begin that draw. Two leaders of one cluster may have different ones.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        let least = |name: &str, amount| [(Arc::from(name), amount)].into_iter().collect();
        Self {
            allocation_interval: Millis(1000),
            min_allocatable: vec![least("cpus", Scalar(10)), least("mem", Scalar::from_units(32))],
            excluded_names: BTreeSet::new(),
            offers_per_second_max: 10_000,
            filter_gpus: true,
            region: None,
            filters_max: FILTERS_MAX,
            policies: Policies::default(),
            seed: 0,
        }
    }
}

impl Config {
    /// The tick at or before `now`, counted from zero.
    pub(crate) fn round(&self, now: Millis) -> u64 {
        now.0 / self.interval_ms()
    }

    /// The moment of a tick.
    pub(crate) fn tick(&self, round: u64) -> Millis {
        Millis(round.saturating_mul(self.interval_ms()))
    }

    /// The first tick at or after `moment`.
    pub(crate) fn tick_from(&self, moment: Millis) -> Millis {
        self.tick(moment.0.div_ceil(self.interval_ms()))
    }

    fn interval_ms(&self) -> u64 {
        self.allocation_interval.0.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_multiples_of_the_interval() {
        let config = Config::default();
        for (moment, round, next) in
            [(0, 0, 0), (1, 0, 1000), (999, 0, 1000), (1000, 1, 1000), (1001, 1, 2000)]
        {
            assert_eq!(
                (config.round(Millis(moment)), config.tick_from(Millis(moment))),
                (round, Millis(next))
            );
        }
        assert_eq!(config.tick(u64::MAX), Millis::FOREVER);
    }
}
