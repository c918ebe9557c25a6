//! What an operator may set, checked once.

use std::{collections::BTreeSet, sync::Arc};

use mesarch_allocator::Registry;
use mesarch_types::{Millis, Quantities};

/// Times and bounds of one leader. Start from [`Config::default`] and pass the result through [`Config::validated`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How long declined resources wait before they are offered again, and the shortest time between two offers of one
    /// agent to one framework and role.
    pub allocation_interval: Millis,
    /// Most offers planned per second; a burst may take one second's worth at once.
    pub offers_per_second_max: u32,
    /// How long after the beginning of a term no framework expires that was not there yet.
    pub framework_reregister_timeout: Millis,
    /// How long after its detachment, or the beginning of the term, an agent may be away before it is unreachable.
    pub agent_reregister_timeout: Millis,
    /// How long after the beginning of a term agents that were attached before it may take to come back.
    pub agents_expected: Millis,
    /// How long after the beginning of a term frameworks keep their outstanding offers without having come back.
    pub resume_grace: Millis,
    /// How long a link may be lost before the agent counts as detached.
    pub detach_after: Millis,
    /// Time between two pings on a link.
    pub ping_interval: Millis,
    /// So many pings in a row without an answer make an agent unreachable.
    pub max_ping_timeouts: u32,
    /// Most agents marked unreachable per second.
    pub agent_removals_per_second_max: u32,
    /// No agent is marked unreachable while more than this share (percent) of all agents is away: then the fault is more
    /// likely ours. 100 switches the guard off; clusters with few agents away (see
    /// [`REMOVAL_GUARD_FLOOR`](crate::REMOVAL_GUARD_FLOOR)) are not guarded.
    pub removal_guard_percent: u32,
    /// How long an agent may take to answer a request for its inventory before its link is closed.
    pub inventory_timeout: Millis,
    /// How long an offer may be outstanding; none: for ever.
    pub offer_timeout: Option<Millis>,
    /// The policies that this leader knows by name; which of them is in force the log says.
    pub policies: Registry,
    /// An offer holds at least one of these, unless its framework says otherwise; empty: anything.
    pub min_allocatable: Vec<Quantities>,
    /// Kinds of resources that do not count in shares.
    pub excluded_names: BTreeSet<Arc<str>>,
    /// Whether agents with gpus are kept for frameworks that know gpus.
    pub filter_gpus: bool,
    /// The masters' own region; agents of another one are for region-aware frameworks.
    pub region: Option<Arc<str>>,
}

impl Default for Config {
    fn default() -> Self {
        let allocator = mesarch_allocator::Config::default();
        Self {
            allocation_interval: Millis(1000),
            offers_per_second_max: 10_000,
            framework_reregister_timeout: Millis::from_secs(600),
            agent_reregister_timeout: Millis::from_secs(600),
            agents_expected: Millis::from_secs(5),
            resume_grace: Millis::from_secs(5),
            detach_after: Millis::from_secs(1),
            ping_interval: Millis::from_secs(15),
            max_ping_timeouts: 5,
            agent_removals_per_second_max: 100,
            removal_guard_percent: 50,
            inventory_timeout: Millis::from_secs(30),
            offer_timeout: None,
            policies: Registry::builtin(),
            min_allocatable: allocator.min_allocatable,
            excluded_names: allocator.excluded_names,
            filter_gpus: allocator.filter_gpus,
            region: allocator.region,
        }
    }
}

/// Why a configuration cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A time or bound that must be above zero is zero.
    #[error("{0} must be above zero")]
    Zero(&'static str),
    /// The guard's share is not a percentage.
    #[error("removal_guard_percent must be between 1 and 100")]
    Percent,
}

impl Config {
    /// The configuration itself, if a leader can work by it.
    pub fn validated(self) -> Result<Self, ConfigError> {
        let amounts = [
            ("allocation_interval", self.allocation_interval.0),
            ("offers_per_second_max", u64::from(self.offers_per_second_max)),
            ("ping_interval", self.ping_interval.0),
            ("max_ping_timeouts", u64::from(self.max_ping_timeouts)),
            ("agent_removals_per_second_max", u64::from(self.agent_removals_per_second_max)),
            ("inventory_timeout", self.inventory_timeout.0),
            ("offer_timeout", self.offer_timeout.map_or(1, |timeout| timeout.0)),
        ];
        if let Some((name, _)) = amounts.into_iter().find(|(_, amount)| *amount == 0) {
            return Err(ConfigError::Zero(name));
        }
        if !(1..=100).contains(&self.removal_guard_percent) {
            return Err(ConfigError::Percent);
        }
        Ok(self)
    }

    /// What of it the allocator needs to know.
    pub(crate) fn allocator(&self, seed: u64) -> mesarch_allocator::Config {
        mesarch_allocator::Config {
            allocation_interval: self.allocation_interval,
            offers_per_second_max: self.offers_per_second_max,
            min_allocatable: self.min_allocatable.clone(),
            excluded_names: self.excluded_names.clone(),
            filter_gpus: self.filter_gpus,
            region: self.region.clone(),
            seed,
            ..mesarch_allocator::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_zeros_are_refused() {
        let good = Config::default();
        assert_eq!(good.clone().validated(), Ok(good.clone()));
        for (bad, error) in [
            (Config { ping_interval: Millis::ZERO, ..good.clone() }, ConfigError::Zero("ping_interval")),
            (Config { offers_per_second_max: 0, ..good.clone() }, ConfigError::Zero("offers_per_second_max")),
            (
                Config { offer_timeout: Some(Millis::ZERO), ..good.clone() },
                ConfigError::Zero("offer_timeout"),
            ),
            (Config { removal_guard_percent: 0, ..good.clone() }, ConfigError::Percent),
            (Config { removal_guard_percent: 101, ..good.clone() }, ConfigError::Percent),
        ] {
            assert_eq!(bad.validated(), Err(error));
        }
    }
}
