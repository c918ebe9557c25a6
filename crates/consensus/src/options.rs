//! What a node is started with. Checked once, by [`Options::validate`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mesarch_storage::{Backend, NodeInfo};
use mesarch_types::NodeId;

/// Everything that can be chosen for a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the log, the snapshots and the identity live.
    pub data_dir: PathBuf,
    /// The node's id; never reused after its disk is lost.
    pub node_id: NodeId,
    /// Where the Raft listener binds, unless a bound one is given.
    pub raft_listen: SocketAddr,
    /// Where the others reach this node.
    pub advertise: NodeInfo,
    /// The members of a new cluster, this node among them; given to exactly one node, exactly once.
    pub bootstrap: Option<BTreeMap<NodeId, NodeInfo>>,
    /// How the log is stored.
    pub backend: Backend,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// Whether a refused connection is taken as proof that the leader's process is gone. Off where something between
    /// the masters may refuse connections for a living one.
    pub crash_detector: bool,
    /// When snapshots are taken and how much of the log stays.
    pub compaction: Compaction,
    /// What must stay free; proposals are refused before it is touched.
    pub reserve: Reserve,
    /// The highest feature level of commands that the machine knows, above zero; told to whoever asks.
    pub feature_level: u32,
}

impl Options {
    /// Options with the defaults for all that has one.
    pub fn new(data_dir: PathBuf, node_id: NodeId, raft_listen: SocketAddr, advertise: NodeInfo) -> Self {
        Self {
            data_dir,
            node_id,
            raft_listen,
            advertise,
            bootstrap: None,
            backend: Backend::default(),
            timing: Timing::default(),
            crash_detector: true,
            compaction: Compaction::default(),
            reserve: Reserve::default(),
            feature_level: 1,
        }
    }

    /// Checks that the options fit together.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let Timing { heartbeat, election_min, election_max } = self.timing;
        if heartbeat.is_zero() || election_min < heartbeat * 2 || election_max <= election_min {
            return Err(OptionsError::Timing);
        }
        if self.compaction.snapshot_entries == 0 || self.compaction.snapshot_bytes == 0 {
            return Err(OptionsError::Compaction);
        }
        for info in std::iter::once(&self.advertise).chain(self.bootstrap.iter().flat_map(BTreeMap::values)) {
            check_address(&info.raft)?;
        }
        match &self.bootstrap {
            Some(members) if members.get(&self.node_id) != Some(&self.advertise) => {
                Err(OptionsError::NotAMember { node: self.node_id })
            }
            _ => Ok(()),
        }
    }
}

/// When a node sends heartbeats and when it stands for election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// Least silence before an election.
    pub election_min: Duration,
    /// Most silence before an election; also the leader's lease.
    pub election_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { heartbeat: ms(100), election_min: ms(300), election_max: ms(600) }
    }
}

/// When a snapshot is taken and how much of the log stays behind it for followers that lag a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// A snapshot is due after so many entries,
    pub snapshot_entries: u64,
    /// or after so many bytes of entries.
    pub snapshot_bytes: u64,
    /// Entries kept that a snapshot covers,
    pub keep_entries: u64,
    /// as long as all entries are not more than so many bytes.
    pub keep_bytes: u64,
}

impl Compaction {
    /// A snapshot after every `entries` entries, and a fifth of them kept behind it.
    pub fn every(entries: u64) -> Self {
        let default = Self::default();
        Self { snapshot_entries: entries, keep_entries: entries / KEPT_PART, ..default }
    }
}

/// One in so many entries that a snapshot covers is kept for followers that lag a little.
const KEPT_PART: u64 = 5;

impl Default for Compaction {
    fn default() -> Self {
        Self {
            snapshot_entries: 50_000,
            snapshot_bytes: 128 << 20,
            keep_entries: 50_000 / KEPT_PART,
            keep_bytes: 64 << 20,
        }
    }
}

/// What stays free for Raft itself and for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Bytes on the data directory's file system.
    pub disk_bytes: u64,
    /// Bytes of memory available to the process.
    pub memory_bytes: u64,
    /// File descriptors.
    pub descriptors: u64,
}

impl Default for Reserve {
    fn default() -> Self {
        Self { disk_bytes: 256 << 20, memory_bytes: 128 << 20, descriptors: 64 }
    }
}

/// Options that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The times contradict each other.
    #[error(
        "the shortest election timeout must be at least two heartbeats, the longest longer than the shortest"
    )]
    Timing,
    /// A snapshot would be due all the time.
    #[error("a snapshot after no entries or no bytes would never end")]
    Compaction,
    /// The bootstrap does not name this node as it is advertised.
    #[error("the members to bootstrap must contain node {node} with the addresses that it advertises")]
    NotAMember {
        /// This node.
        node: NodeId,
    },
    /// An address is not `host:port`.
    #[error("{0:?} is not a Raft address: expected host:port")]
    Address(String),
}

fn check_address(address: &str) -> Result<(), OptionsError> {
    let parts = address.rsplit_once(':');
    let valid =
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if valid { Ok(()) } else { Err(OptionsError::Address(address.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let info = NodeInfo { raft: "localhost:5052".into(), client: "localhost:5050".into() };
        Options::new("/data".into(), NodeId(1), ([127, 0, 0, 1], 5052).into(), info)
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(options().validate(), Ok(()));
        let mut timing = options();
        timing.timing.election_min = timing.timing.heartbeat;
        assert_eq!(timing.validate(), Err(OptionsError::Timing));
        let mut compaction = options();
        compaction.compaction.snapshot_entries = 0;
        assert_eq!(compaction.validate(), Err(OptionsError::Compaction));
        let mut bootstrap = options();
        bootstrap.bootstrap = Some(BTreeMap::from([(NodeId(2), options().advertise)]));
        assert_eq!(bootstrap.validate(), Err(OptionsError::NotAMember { node: NodeId(1) }));
        for address in ["", "host", "host:", ":5052", "host:0", "host:99999"] {
            let mut wrong = options();
            wrong.advertise.raft = address.into();
            assert_eq!(wrong.validate(), Err(OptionsError::Address(address.into())));
        }
    }
}
