//! What an operator may set, checked once.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
};

use mesarch_allocator::UnknownPolicy;
use mesarch_consensus::Compaction;
use mesarch_edge::{InvalidPort, PortOptions};
use mesarch_leader_core::Config;
use mesarch_state::{FEATURE_LEVEL_MAX, POLICY_DEFAULT};
use mesarch_types::{Millis, Quantities, ResourceTextError};
use serde::{Deserialize, Serialize};

/// What [`Options::snapshot_entries`] may be. Fewer would write snapshots all the time; more would not fit into memory.
pub const SNAPSHOT_ENTRIES: RangeInclusive<u64> = 10..=1_000_000;

/// What [`Options::state_digest_interval_ms`] may be.
pub const STATE_DIGEST_INTERVAL_MS: RangeInclusive<u64> = 100..=86_400_000;
/// What a digest may cost in a large cluster, about a third of a second of a core, is then half a per cent of it.
const STATE_DIGEST_INTERVAL_MS_DEFAULT: u64 = 60_000;

/// Where one master is found, as other machines write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MasterAddress {
    /// host:port for the other masters.
    pub raft: String,
    /// host:port for agents, frameworks and operators.
    pub client: String,
}

/// What fails together, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Such as a city.
    pub region: String,
    /// A part of it, such as a building.
    pub zone: String,
}

/// Settings of one master. Start from [`Options::default`]; [`Master::start`](crate::Master::start) checks them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// This master's number in the Raft group, above zero. Belongs to the data directory: never reused on another disk.
    pub node_id: u64,
    /// Where clients are served (HTTP/1.1, HTTP/2 and gRPC).
    pub listen: SocketAddr,
    /// Where the other masters are served.
    pub raft_listen: SocketAddr,
    /// Host name or address under which other machines reach this one; by default the one it listens on.
    pub advertise: Option<String>,
    /// Holds the log, the snapshots and this master's identity. Created if missing; one process at a time.
    pub data_dir: PathBuf,
    /// The cluster's name, for display.
    pub cluster: String,
    /// The first members by node id, this one included. Read with `bootstrap` only; empty means this master alone.
    pub initial_masters: BTreeMap<u64, MasterAddress>,
    /// Makes a new cluster of `initial_masters`. Exactly once in a cluster's life, on one of them; refused afterwards.
    pub bootstrap: bool,
    /// How often a leader shows that it lives, in ms.
    pub heartbeat_ms: u64,
    /// Shortest silence of the leader after which another master stands for election, in ms.
    pub election_min_ms: u64,
    /// Longest such silence, in ms; each election draws its own.
    pub election_max_ms: u64,
    /// Whether a refused connection to the leader starts an election at once. To be switched off where something
    /// between the masters answers for them.
    pub crash_detector: bool,
    /// A snapshot is taken after so many log entries, and sooner if they are large; within [`SNAPSHOT_ENTRIES`].
    pub snapshot_entries: u64,
    /// The masters compare their states once in so much cluster time, in ms, within [`STATE_DIGEST_INTERVAL_MS`]. The
    /// same on all masters: those that differ in it compare nothing.
    pub state_digest_interval_ms: u64,
    /// The highest feature level that this master lets the cluster rise to, and starts a new one on. Below what its
    /// version knows it keeps the way back to an older version open; a level that was reached is never left.
    pub feature_level_max: u32,
    /// Shortest time after a change of leader in which no framework that was there before expires, in ms.
    pub framework_reregister_timeout_ms: u64,
    /// How long an agent may be away before it is unreachable, in ms.
    pub agent_reregister_timeout_ms: u64,
    /// How long an agent has to answer a ping, in ms.
    pub agent_ping_timeout_ms: u64,
    /// So many unanswered pings in a row make an agent unreachable.
    pub max_agent_ping_timeouts: u32,
    /// Most agents that become unreachable per second.
    pub agent_removals_per_second_max: u32,
    /// How long declined resources wait, in ms.
    pub allocation_interval_ms: u64,
    /// Most offers per second.
    pub offers_per_second_max: u32,
    /// How long an offer may be outstanding, in ms; none: for ever.
    pub offer_timeout_ms: Option<u64>,
    /// The policy of a new cluster, by its name in the registry; read with `bootstrap` by whoever leads it first. Later
    /// the log says which one is in force, and operators change it there.
    pub allocator: String,
    /// An offer holds at least one of these alternatives, `cpus:0.01|mem:32`, unless its framework says otherwise; empty:
    /// anything.
    pub min_allocatable_resources: String,
    /// Kinds of resources that do not count in shares.
    pub fair_sharing_excluded_resource_names: BTreeSet<String>,
    /// Whether agents with gpus are offered only to frameworks with the capability GPU_RESOURCES.
    pub filter_gpu_resources: bool,
    /// Where this master stands; agents of another region are offered only to frameworks with the capability REGION_AWARE.
    pub domain: Option<Domain>,
    /// Bounds of the client port.
    pub port: PortOptions,
    /// Allows listening on addresses that other machines reach. There is no authentication yet: whoever reaches the
    /// port may run commands on every agent.
    pub allow_remote: bool,
}

impl Default for Options {
    fn default() -> Self {
        let leader = Config::default();
        Self {
            node_id: 1,
            listen: SocketAddr::from(([127, 0, 0, 1], 5050)),
            raft_listen: SocketAddr::from(([127, 0, 0, 1], 5052)),
            advertise: None,
            data_dir: PathBuf::from("mesarch-master"),
            cluster: String::new(),
            initial_masters: BTreeMap::new(),
            bootstrap: false,
            heartbeat_ms: 100,
            election_min_ms: 300,
            election_max_ms: 600,
            crash_detector: true,
            snapshot_entries: Compaction::default().snapshot_entries,
            state_digest_interval_ms: STATE_DIGEST_INTERVAL_MS_DEFAULT,
            feature_level_max: FEATURE_LEVEL_MAX,
            framework_reregister_timeout_ms: leader.framework_reregister_timeout.0,
            agent_reregister_timeout_ms: leader.agent_reregister_timeout.0,
            agent_ping_timeout_ms: leader.ping_interval.0,
            max_agent_ping_timeouts: leader.max_ping_timeouts,
            agent_removals_per_second_max: leader.agent_removals_per_second_max,
            allocation_interval_ms: leader.allocation_interval.0,
            offers_per_second_max: leader.offers_per_second_max,
            offer_timeout_ms: None,
            allocator: POLICY_DEFAULT.to_owned(),
            min_allocatable_resources: "cpus:0.01|mem:32".to_owned(),
            fair_sharing_excluded_resource_names: BTreeSet::new(),
            filter_gpu_resources: leader.filter_gpus,
            domain: None,
            port: PortOptions::default(),
            allow_remote: false,
        }
    }
}

/// Why settings cannot work. The text names the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text says it")]
pub enum OptionsError {
    #[error("node_id must be above zero")]
    NodeId,
    #[error(
        "{setting} is {address}, which other machines reach, and there is no authentication: set allow_remote to accept that"
    )]
    Remote { setting: &'static str, address: IpAddr },
    #[error(
        "{setting} is the unspecified address {address}: set advertise to the name or address that others can use"
    )]
    Unspecified { setting: &'static str, address: IpAddr },
    #[error("advertise must be a host name or an address, without port, scheme or path")]
    Advertise,
    #[error("heartbeat_ms, election_min_ms and election_max_ms must be above zero and grow in this order")]
    Elections,
    #[error("snapshot_entries must be from {} to {}", SNAPSHOT_ENTRIES.start(), SNAPSHOT_ENTRIES.end())]
    SnapshotEntries,
    #[error(
        "state_digest_interval_ms must be from {} to {}",
        STATE_DIGEST_INTERVAL_MS.start(),
        STATE_DIGEST_INTERVAL_MS.end()
    )]
    StateDigestInterval,
    #[error("feature_level_max must be from 1 to {FEATURE_LEVEL_MAX}")]
    FeatureLevelMax,
    #[error("initial_masters is only read together with bootstrap")]
    InitialMastersWithoutBootstrap,
    #[error("initial_masters must hold this master's own node_id, {0}")]
    InitialMastersWithoutSelf(u64),
    #[error("initial_masters: node {node}: {address:?} is not host:port")]
    InitialMasterAddress { node: u64, address: String },
    #[error("min_allocatable_resources: {text:?}: {error}")]
    MinAllocatable { text: String, error: ResourceTextError },
    #[error("allocator: {0}")]
    Allocator(UnknownPolicy),
    #[error("{0}")]
    Port(#[from] InvalidPort),
    #[error("{0}")]
    Leader(#[from] mesarch_leader_core::ConfigError),
}

impl Options {
    /// Checks everything that can be checked without looking at the machine.
    pub fn validate(&self) -> Result<(), OptionsError> {
        if self.node_id == 0 {
            return Err(OptionsError::NodeId);
        }
        self.check_addresses()?;
        let rising = [0, self.heartbeat_ms, self.election_min_ms, self.election_max_ms];
        if !rising.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(OptionsError::Elections);
        }
        self.check_replication()?;
        self.check_initial_masters()?;
        self.port.validate()?;
        self.leader_config()?;
        Ok(())
    }

    fn check_replication(&self) -> Result<(), OptionsError> {
        if !SNAPSHOT_ENTRIES.contains(&self.snapshot_entries) {
            return Err(OptionsError::SnapshotEntries);
        }
        if !STATE_DIGEST_INTERVAL_MS.contains(&self.state_digest_interval_ms) {
            return Err(OptionsError::StateDigestInterval);
        }
        if !(1..=FEATURE_LEVEL_MAX).contains(&self.feature_level_max) {
            return Err(OptionsError::FeatureLevelMax);
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), OptionsError> {
        let name = self.advertise.as_deref();
        if name.is_some_and(|name| name.is_empty() || name.contains(['/', '@', ' ']) || is_host_port(name)) {
            return Err(OptionsError::Advertise);
        }
        for (setting, address) in [("listen", self.listen.ip()), ("raft_listen", self.raft_listen.ip())] {
            if !address.is_loopback() && !self.allow_remote {
                return Err(OptionsError::Remote { setting, address });
            }
            if address.is_unspecified() && self.advertise.is_none() {
                return Err(OptionsError::Unspecified { setting, address });
            }
        }
        Ok(())
    }

    fn check_initial_masters(&self) -> Result<(), OptionsError> {
        if self.initial_masters.is_empty() {
            return Ok(());
        }
        if !self.bootstrap {
            return Err(OptionsError::InitialMastersWithoutBootstrap);
        }
        if !self.initial_masters.contains_key(&self.node_id) {
            return Err(OptionsError::InitialMastersWithoutSelf(self.node_id));
        }
        let addresses =
            self.initial_masters.iter().flat_map(|(node, it)| [(node, &it.raft), (node, &it.client)]);
        match addresses.into_iter().find(|(_, address)| !is_host_port(address)) {
            Some((node, address)) => {
                Err(OptionsError::InitialMasterAddress { node: *node, address: address.clone() })
            }
            None => Ok(()),
        }
    }

    /// What the leader's mind is told.
    pub(crate) fn leader_config(&self) -> Result<Config, OptionsError> {
        let config = Config {
            allocation_interval: Millis(self.allocation_interval_ms),
            offers_per_second_max: self.offers_per_second_max,
            framework_reregister_timeout: Millis(self.framework_reregister_timeout_ms),
            agent_reregister_timeout: Millis(self.agent_reregister_timeout_ms),
            ping_interval: Millis(self.agent_ping_timeout_ms),
            max_ping_timeouts: self.max_agent_ping_timeouts,
            agent_removals_per_second_max: self.agent_removals_per_second_max,
            offer_timeout: self.offer_timeout_ms.map(Millis),
            min_allocatable: self.min_allocatable()?,
            excluded_names: self
                .fair_sharing_excluded_resource_names
                .iter()
                .map(|name| name.as_str().into())
                .collect(),
            filter_gpus: self.filter_gpu_resources,
            region: self.domain.as_ref().map(|domain| domain.region.as_str().into()),
            ..Config::default()
        };
        Ok(config.validated()?)
    }

    fn min_allocatable(&self) -> Result<Vec<Quantities>, OptionsError> {
        let texts = self.min_allocatable_resources.split('|').map(str::trim).filter(|text| !text.is_empty());
        let wrong = |text: &str, error| OptionsError::MinAllocatable { text: text.to_owned(), error };
        texts.map(|text| text.parse().map_err(|error| wrong(text, error))).collect()
    }

    /// How long an agent may hear nothing from its leader before it looks for another one.
    pub(crate) fn agent_silence_max(&self) -> Millis {
        Millis(self.agent_ping_timeout_ms.saturating_mul(u64::from(self.max_agent_ping_timeouts)))
    }

    /// host:port under which others reach the socket that listens on `bound`.
    pub(crate) fn advertised(&self, bound: SocketAddr) -> String {
        match &self.advertise {
            Some(host) if host.contains(':') => format!("[{host}]:{}", bound.port()),
            Some(host) => format!("{host}:{}", bound.port()),
            None => bound.to_string(),
        }
    }
}

/// Whether the text is `host:port` or `[v6]:port`.
fn is_host_port(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return false;
    }
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Options), expect: Result<(), &str>) {
        let mut options = Options::default();
        change(&mut options);
        match (options.validate(), expect) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (result, expect) => panic!("{result:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let address = || MasterAddress { raft: "h:1".into(), client: "h:2".into() };
        let remote = SocketAddr::from(([10, 0, 0, 1], 5050));
        let any = SocketAddr::from(([0, 0, 0, 0], 5050));
        check(|_| {}, Ok(()));
        check(|o| o.node_id = 0, Err("node_id"));
        check(|o| o.listen = remote, Err("listen is 10.0.0.1"));
        check(|o| o.raft_listen = remote, Err("raft_listen"));
        check(|o| (o.listen, o.allow_remote) = (remote, true), Ok(()));
        check(|o| (o.listen, o.allow_remote) = (any, true), Err("set advertise"));
        check(|o| (o.listen, o.allow_remote, o.advertise) = (any, true, Some("m1".into())), Ok(()));
        check(|o| o.advertise = Some("m1:5050".into()), Err("without port"));
        check(|o| o.advertise = Some("::1".into()), Ok(()));
        check(|o| o.election_min_ms = 50, Err("election_min_ms"));
        check(|o| o.heartbeat_ms = 0, Err("heartbeat_ms"));
        check(|o| o.snapshot_entries = 9, Err("snapshot_entries must be from 10"));
        check(|o| o.snapshot_entries = 1_000_001, Err("to 1000000"));
        check(|o| o.snapshot_entries = 10, Ok(()));
        check(|o| o.state_digest_interval_ms = 99, Err("state_digest_interval_ms must be from 100"));
        check(|o| o.state_digest_interval_ms = 86_400_001, Err("to 86400000"));
        check(|o| o.feature_level_max = 0, Err("feature_level_max must be from 1"));
        check(|o| o.feature_level_max = FEATURE_LEVEL_MAX + 1, Err("feature_level_max"));
        check(|o| o.feature_level_max = 1, Ok(()));
        check(|o| o.allocation_interval_ms = 0, Err("allocation_interval"));
        check(
            |o| o.min_allocatable_resources = "cpus:1|mem".into(),
            Err("min_allocatable_resources: \"mem\""),
        );
        check(|o| o.min_allocatable_resources = String::new(), Ok(()));
        check(|o| drop(o.initial_masters.insert(1, address())), Err("bootstrap"));
        check(|o| (o.bootstrap, o.initial_masters) = (true, [(2, address())].into()), Err("own node_id, 1"));
        let wrong = MasterAddress { raft: "h".into(), ..address() };
        check(
            |o| (o.bootstrap, o.initial_masters) = (true, [(1, wrong)].into()),
            Err("\"h\" is not host:port"),
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = serde_json::from_str::<Options>(r#"{"nodeid": 2}"#).expect_err("a wrong key");
        assert!(error.to_string().contains("nodeid"));
        let good: Options = serde_json::from_str(r#"{"node_id": 2}"#).expect("good");
        assert_eq!(good, Options { node_id: 2, ..Options::default() });
    }

    #[test]
    fn the_advertised_address_has_the_port_that_was_bound() {
        let bound = SocketAddr::from(([127, 0, 0, 1], 7));
        for (name, expect) in [(None, "127.0.0.1:7"), (Some("m1"), "m1:7"), (Some("::1"), "[::1]:7")] {
            let options = Options { advertise: name.map(Into::into), ..Options::default() };
            assert_eq!(options.advertised(bound), expect);
        }
    }
}
