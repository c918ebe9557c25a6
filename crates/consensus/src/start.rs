//! Starts a node.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use mesarch_storage::{
    DataDir, DataDirError, DiskError, Fatal, Log, LogBackend, NodeInfo, Removal, SnapshotStore,
};
use openraft::errors::{InitializeError, RaftError};
use openraft::{Config, ConfigError, SnapshotPolicy};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::census::{Census, watch_members};
use crate::compaction::compact;
use crate::compare::{Checkpoints, Digests, Taken, compare, refuse_damage};
use crate::control::RaftControl;
use crate::detector::detect;
use crate::envelope::Origin;
use crate::handle::{Handle, Shared};
use crate::leadership::{Leadership, follow};
use crate::limits::{Full, shortage, step_aside, watch_resources};
use crate::machine::{Machine, Stamp};
use crate::network::client::Dialer;
use crate::network::gate::Gate;
use crate::network::heard::Heard;
use crate::network::server::{Service, serve};
use crate::options::{Options, OptionsError};
use crate::proposer::{Parts, Proposer, QUEUE};
use crate::queue::Queue;
use crate::running::Running;
use crate::standing::Watch as Standing;
use crate::state_machine::{Applier, Raft};
use crate::status::Members;
use crate::stop::Stopping;
use crate::waiters::Waiters;

/// Gives the times that entries are stamped with, at the moment when they are packed.
pub type Clock = Arc<dyn Fn() -> Stamp + Send + Sync>;

/// What a node needs from its surroundings.
pub struct Deps {
    /// The clock of the leader.
    pub clock: Clock,
    /// A Raft listener that is bound already; otherwise one is bound to [`Options::raft_listen`].
    pub listener: Option<TcpListener>,
    /// How a peer is reached, if not at the Raft address that it advertises: through a proxy, or with faults.
    pub route: Option<Route>,
    /// What stands between the log and its disk: nothing, or faults and delays.
    pub disk: Option<Disk>,
}

impl Deps {
    /// The clock, and everything else as usual.
    pub fn new(clock: Clock) -> Self {
        Self { clock, listener: None, route: None, disk: None }
    }
}

/// Gives the `host:port` at which a peer is dialled.
pub type Route = Arc<dyn Fn(&NodeInfo) -> String + Send + Sync>;

/// Puts something before the log's own backend.
pub type Disk = Box<dyn FnOnce(Box<dyn LogBackend>) -> Box<dyn LogBackend> + Send>;

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log or the snapshots cannot be used.
    #[error(transparent)]
    Disk(DiskError),
    /// What the log or the snapshots hold is not what was written.
    #[error(
        "{}: corrupt: {what}; keep this directory for those who look for the cause, and replace the master by one with a \
         new id and an empty directory, with `mesarch members add`",
        path.display()
    )]
    Corrupt {
        /// The damaged file or directory.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// An earlier process ended because its state was damaged, and the damage may be in the snapshot.
    #[error(
        "{}: the state after log entry {differs} differed from that of a majority of the masters, and what is stored, with \
         a snapshot of the log up to entry {covered}, may hold the damage; keep this directory for those who look for the cause, \
         and replace the master by one with a new id and an empty directory",
        path.display()
    )]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// The entry after which the state was found to differ.
        differs: u64,
        /// The entry that the snapshot covers; 0 without one.
        covered: u64,
    },
    /// The node was removed from its cluster.
    #[error(
        "{}: log entry {decided} removed this master from its cluster; give a new one a new id and an empty directory, and \
         add it with `mesarch members add`",
        path.display()
    )]
    Removed {
        /// The data directory.
        path: PathBuf,
        /// The entry that removed it.
        decided: u64,
    },
    /// The Raft listener cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Raft refuses its settings.
    #[error("Raft refuses its settings")]
    Settings(#[source] ConfigError),
    /// Raft cannot continue from what is stored.
    #[error("Raft cannot start: {0}")]
    Raft(String),
}

impl From<DiskError> for StartError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Corrupt { path, what } => Self::Corrupt { path, what },
            other => Self::Disk(other),
        }
    }
}

/// The entry point.
pub struct Consensus;

/// Who leads, who belongs to the cluster, and what runs out.
type Watches = (watch::Receiver<Leadership>, watch::Receiver<Members>, watch::Receiver<Option<Full>>);

/// What is on disk, opened.
struct Stored {
    dir: Arc<DataDir>,
    log: Log,
    snapshots: SnapshotStore,
}

impl Consensus {
    /// Starts a node and, if it was asked for or was begun before, bootstraps its cluster. Returns once the local state
    /// is restored; a leader may not be known yet.
    pub async fn start<M: Machine>(
        options: Options,
        machine: M,
        deps: Deps,
    ) -> Result<(Handle<M::Outcome>, Running), StartError> {
        options.validate()?;
        let fatal = Fatal::default();
        let stored = open(&options, deps.disk, fatal.clone()).await?;
        let listener = listen(&options, deps.listener).await?;
        let route = deps.route.unwrap_or_else(|| Arc::new(|info: &NodeInfo| info.raft.clone()));
        let node = Node::build(&options, machine, &stored, route, fatal).await?;
        if let Err(error) = node.bootstrap(&stored.dir).await {
            drop(node.raft.shutdown().await);
            return Err(error);
        }
        Ok(node.run(options, stored, listener, deps.clock))
    }
}

/// Raft and what is wired to it.
struct Node<M: Machine> {
    raft: Raft<M>,
    gate: Gate,
    dialer: Dialer,
    route: Route,
    waiters: Arc<Waiters<M::Outcome>>,
    applied: watch::Receiver<u64>,
    heard: Heard,
    digests: Digests,
    /// States whose digests are to be taken.
    taken: mpsc::Receiver<Taken<M::Frozen>>,
    /// The highest feature level that this node knows.
    level: u32,
    fatal: Fatal,
}

impl<M: Machine> Node<M> {
    async fn build(
        options: &Options,
        machine: M,
        stored: &Stored,
        route: Route,
        fatal: Fatal,
    ) -> Result<Self, StartError> {
        let node = options.node_id.0;
        let waiters = Arc::new(Waiters::new(Origin { node, epoch: uuid::Uuid::new_v4().into_bytes() }));
        let (applied_sender, applied) = watch::channel(0);
        let (checkpoints, taken) = Checkpoints::new(options.node_id);
        let digests = Digests::new(stored.dir.clone(), fatal.clone());
        let applier =
            Applier::new(machine, waiters.clone(), stored.snapshots.clone(), applied_sender, fatal.clone());
        let applier = applier.comparing(checkpoints);
        let gate = Gate::new(stored.dir.clone());
        let dialer = Dialer::new(gate.clone(), route.clone());
        let config = Arc::new(config(options)?);
        let raft = Raft::new(node, config, dialer.clone(), stored.log.clone(), applier).await;
        let raft = raft.map_err(|error| StartError::Raft(error.to_string()))?;
        let level = options.feature_level;
        let heard = Heard::new(applied.clone());
        Ok(Self { raft, gate, dialer, route, waiters, applied, heard, digests, taken, level, fatal })
    }

    /// Finishes a bootstrap that was begun, now or by an earlier process.
    async fn bootstrap(&self, dir: &Arc<DataDir>) -> Result<(), StartError> {
        let Some(members) = dir.identity().bootstrap else {
            return Ok(());
        };
        match self.raft.initialize(members).await {
            // The log holds the members already: the crash came after this step.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(StartError::Raft(error.to_string())),
        }
        let dir = dir.clone();
        Ok(on_blocking_thread(move || dir.finish_bootstrap()).await??)
    }

    fn run(
        self,
        options: Options,
        stored: Stored,
        listener: TcpListener,
        clock: Clock,
    ) -> (Handle<M::Outcome>, Running) {
        let (stop, stopping) = watch::channel(false);
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let (members_sender, members) = watch::channel(Members::default());
        let census = Census::new(options.timing);
        let queue = Arc::new(Queue::new(QUEUE));
        let control = Arc::new(RaftControl {
            raft: self.raft.clone(),
            log: stored.log.clone(),
            snapshots: stored.snapshots.clone(),
            applied: self.applied.clone(),
            census: census.clone(),
            route: self.route.clone(),
            dialer: self.dialer.clone(),
            level: self.level,
        });
        let mut running = self.serve(&stored, listener, stop, (control.clone(), leadership.clone()));
        let watch = self.raft.metrics();
        let following =
            follow(watch, (leadership_sender, members_sender), stopping.clone(), self.fatal.clone());
        running.spawn("leadership", following);
        let full = self.watch_disk(&mut running, &options, &stored, &stopping);
        if options.crash_detector {
            let (raft, route) = (self.raft.clone(), self.route.clone());
            running
                .spawn("detector", detect(raft, leadership.clone(), route, full.clone(), stopping.clone()));
        }
        let aside = step_aside(control.clone(), leadership.clone(), full.clone(), stopping.clone());
        running.spawn("step aside", aside);
        let proposer = self.proposer(queue.clone(), leadership.clone(), clock, stopping.clone());
        running.spawn("proposer", proposer.run());
        let watching = watch_members(control.clone(), census.clone(), stopping.clone());
        running.spawn("members", watching);
        let standing = self.standing(control.clone(), leadership.clone(), stored.dir.clone());
        running.spawn("standing", standing.run(stopping.clone()));
        let watches = (leadership, members, full);
        let handle = self.handle(queue, watches, (control.clone(), census), stored.dir);
        let comparing = compare::<M>(self.taken, self.digests, control, self.dialer, stopping);
        running.spawn("comparison", comparing);
        (handle, running)
    }

    /// Starts to answer the other masters.
    fn serve(
        &self,
        stored: &Stored,
        listener: TcpListener,
        stop: watch::Sender<bool>,
        control: (Arc<RaftControl<M>>, watch::Receiver<Leadership>),
    ) -> Running {
        let address = listener.local_addr().ok();
        let (stop_serving, serving) = watch::channel(false);
        let service = Service {
            raft: self.raft.clone(),
            gate: self.gate.clone(),
            snapshots: stored.snapshots.clone(),
            digests: self.digests.clone(),
            heard: self.heard.clone(),
            applied: self.applied.clone(),
            level: self.level,
        };
        let server = tokio::spawn(serve(listener, service, serving));
        let disk = (stored.log.clone(), stored.dir.clone());
        let (control, leadership) = control;
        let fatal = self.fatal.clone();
        let mut running = Running::new(server, stop_serving, stop, (control, leadership), disk, fatal);
        running.address = address;
        let waiters = self.waiters.clone();
        running.at_end = Some(Box::new(move || waiters.close()));
        running
    }

    /// Keeps the log small and watches what may run out.
    fn watch_disk(
        &self,
        running: &mut Running,
        options: &Options,
        stored: &Stored,
        stopping: &Stopping,
    ) -> watch::Receiver<Option<Full>> {
        let (path, reserve) = (options.data_dir.clone(), options.reserve);
        let (full_sender, full) = watch::channel(shortage(&path, reserve));
        running.spawn("limits", watch_resources(path, reserve, full_sender, stopping.clone()));
        let (raft, log, snapshots) = (self.raft.clone(), stored.log.clone(), stored.snapshots.clone());
        let compacting = compact(raft, log, snapshots, options.compaction, stopping.clone());
        running.spawn("compaction", compacting);
        full
    }

    /// What finds out that this node was removed.
    fn standing(
        &self,
        control: Arc<RaftControl<M>>,
        leadership: watch::Receiver<Leadership>,
        dir: Arc<DataDir>,
    ) -> Standing {
        let (heard, dialer, fatal) = (self.heard.clone(), self.dialer.clone(), self.fatal.clone());
        Standing { control, leadership, heard, dialer, dir, fatal, member_at: None }
    }

    fn proposer(
        &self,
        queue: Arc<Queue<M::Outcome>>,
        leadership: watch::Receiver<Leadership>,
        clock: Clock,
        stop: Stopping,
    ) -> Proposer<M> {
        let (raft, waiters) = (self.raft.clone(), self.waiters.clone());
        Proposer::new(Parts { raft, queue, waiters, leadership, clock, stop })
    }

    fn handle(
        &self,
        queue: Arc<Queue<M::Outcome>>,
        (leadership, members, full): Watches,
        (control, census): (Arc<RaftControl<M>>, Census),
        dir: Arc<DataDir>,
    ) -> Handle<M::Outcome> {
        let identity = Box::new(move || {
            let identity = dir.identity();
            (identity.cluster, identity.incarnation)
        });
        let (applied, heard, fatal) = (self.applied.clone(), self.heard.clone(), self.fatal.clone());
        let shared =
            Shared { queue, leadership, members, census, applied, heard, full, control, identity, fatal };
        Handle { shared: Arc::new(shared) }
    }
}

async fn open(options: &Options, disk: Option<Disk>, fatal: Fatal) -> Result<Stored, StartError> {
    let options = options.clone();
    on_blocking_thread(move || {
        let dir = DataDir::open(&options.data_dir, options.node_id, options.backend)?;
        if let Some(members) = &options.bootstrap {
            dir.begin_bootstrap(
                &members.iter().map(|(id, info)| (id.0, info.clone())).collect::<BTreeMap<_, _>>(),
            )?;
        }
        let snapshots = SnapshotStore::open(&dir.snapshot_folder())?;
        let folder = dir.log_folder();
        let backend = options.backend.open(&folder)?;
        let backend = match disk {
            Some(disk) => disk(backend),
            None => backend,
        };
        let log = Log::open(&folder, backend, fatal)?;
        require_continuity(&dir, &log, &snapshots)?;
        refuse_damage(&dir, &snapshots)?;
        refuse_removed(&dir)?;
        Ok(Stored { dir: Arc::new(dir), log, snapshots })
    })
    .await?
}

/// A node that was removed has nothing to say any more.
fn refuse_removed(dir: &DataDir) -> Result<(), StartError> {
    match dir.removal()? {
        None => Ok(()),
        Some(Removal { decided }) => Err(StartError::Removed { path: dir.path().to_path_buf(), decided }),
    }
}

/// What was purged must be covered by a snapshot; otherwise the state would silently begin with a gap.
fn require_continuity(dir: &DataDir, log: &Log, snapshots: &SnapshotStore) -> Result<(), DiskError> {
    let covered = snapshots.newest().and_then(|newest| newest.meta().last_log_id);
    match log.purged() {
        Some(purged) if covered.is_none_or(|covered| covered.index < purged.index) => {
            let what = format!("the log begins after {purged} and no valid snapshot reaches that far");
            Err(DiskError::corrupt(dir.path(), what))
        }
        _ => Ok(()),
    }
}

async fn listen(options: &Options, bound: Option<TcpListener>) -> Result<TcpListener, StartError> {
    let address = options.raft_listen;
    match bound {
        Some(listener) => Ok(listener),
        None => TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source }),
    }
}

fn config(options: &Options) -> Result<Config, StartError> {
    let ms = |duration: std::time::Duration| duration.as_millis() as u64;
    let (timing, compaction) = (options.timing, options.compaction);
    let config = Config {
        cluster_name: "mesarch".into(),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: ms(timing.election_max),
        enable_pre_vote: Some(true),
        // A leader that lost its quorum falls silent for a while, so that those who still see each other can elect.
        quorum_loss_probe_interval: Some(2 * ms(timing.election_max)),
        // A leader sends entries out while its own disk still writes them. If it dies then, and led on in its old term
        // after a restart, it would lack entries that the others have, or that are committed, and number new ones alike.
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(compaction.snapshot_entries),
        replication_lag_threshold: compaction.snapshot_entries.saturating_mul(2),
        max_in_snapshot_log_to_keep: compaction.keep_entries,
        purge_batch_size: 1_000.min(compaction.keep_entries.max(1)),
        max_payload_entries: 4_096,
        install_snapshot_timeout: 60_000,
        backoff: "50ms".into(),
        ..Config::default()
    };
    config.validate().map_err(StartError::Settings)
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StartError::Raft(error.to_string()))
}
