//! Starting and stopping a master.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use mesarch_allocator::Registry;
use mesarch_consensus::{Backend, Compaction, Consensus, Handle, NodeInfo, Stamp, Timing};
use mesarch_edge::Bodies;
use mesarch_leader_core::Config;
use mesarch_telemetry::Exporter;
use mesarch_types::{Millis, NodeId};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    Options, OptionsError,
    app::{App, ConsensusHandle},
    clock::{Clock, wall_now},
    effects::Performer,
    grpc,
    http::{self, Desk},
    large::LargeCalls,
    leader::{self, Deps as LeaderDeps},
    links::Links,
    machine::{Answer, Replica},
    master_info::MasterFacts,
    raft_threads::RaftThreads,
    streams::Streams,
    subscribers::Subscribers,
    view::LeaderView,
};

/// What a master may be given beside its options.
///
/// A policy of one's own is registered in one's own binary, under a name that operators then choose:
///
/// ```
/// use mesarch_master::{Contender, Deps, Policies, Policy, Rank, Registry};
///
/// /// First come, first served, by name.
/// #[derive(Debug)]
/// struct Alphabet;
///
/// impl Policy for Alphabet {
///     fn rank(&self, _: &Contender<'_>) -> Rank {
///         Rank::default()
///     }
/// }
///
/// let mut policies = Registry::builtin();
/// policies.register("alphabet", || Policies::both(Alphabet))?;
/// let deps = Deps { policies, ..Deps::default() };
/// # drop(deps);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Deps {
    /// Renders `/metrics`; without it there is none.
    pub exporter: Option<Exporter>,
    /// A client listener that is bound already, instead of one on [`Options::listen`].
    pub client_listener: Option<TcpListener>,
    /// A Raft listener that is bound already, instead of one on [`Options::raft_listen`].
    pub raft_listener: Option<TcpListener>,
    /// The policies that operators may choose from. All masters of a cluster should know the same.
    pub policies: Registry,
}

impl From<Exporter> for Deps {
    fn from(exporter: Exporter) -> Self {
        Self { exporter: Some(exporter), ..Self::default() }
    }
}

/// Why a master cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot work.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A port cannot be used.
    #[error("cannot listen on {address} ({setting})")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The threads of Raft, or those that render, cannot be started.
    #[error("cannot start the threads of Raft, or those that render")]
    Threads(#[source] io::Error),
    /// The data directory, the log or Raft.
    #[error(transparent)]
    Consensus(#[from] mesarch_consensus::StartError),
}

/// Why a running master ended by itself. The process is to exit non-zero.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Corruption, or a disk that failed.
    #[error("this master cannot go on: {0}")]
    Failed(Arc<str>),
    /// A task that runs as long as the master ended.
    #[error("the {0} task ended")]
    Task(&'static str),
}

/// The entry point.
#[derive(Debug)]
pub struct Master;

/// A master that serves. End it with [`Running::shutdown`].
#[must_use = "a master is to be shut down"]
pub struct Running {
    client: SocketAddr,
    raft: SocketAddr,
    consensus: mesarch_consensus::Running,
    stop: watch::Sender<bool>,
    stop_serving: watch::Sender<bool>,
    leader: JoinHandle<()>,
    server: JoinHandle<()>,
    /// What the other tasks of Raft run on; the last to go.
    raft_threads: RaftThreads,
}

impl Master {
    /// Starts a master. Returns once it serves; a leader may not be known yet.
    pub async fn start(options: Options, deps: impl Into<Deps>) -> Result<Running, StartError> {
        options.validate()?;
        let deps = deps.into();
        deps.policies.make(&options.allocator).map_err(OptionsError::Allocator)?;
        let client = listen("listen", options.listen, deps.client_listener).await?;
        let raft = listen("raft_listen", options.raft_listen, deps.raft_listener).await?;
        let (client_address, raft_address) =
            (bound(&client, options.listen), bound(&raft, options.raft_listen));
        let advertise =
            NodeInfo { raft: options.advertised(raft_address), client: options.advertised(client_address) };
        let facts = MasterFacts::new(NodeId(options.node_id), &advertise.client);
        let clock = Arc::new(Clock::new());
        let (replica, outlets) = Replica::new(Millis(options.state_digest_interval_ms));
        let raft_threads = RaftThreads::new().map_err(StartError::Threads)?;
        let raft_options = consensus_options(&options, advertise);
        let started = start_consensus(raft_options, replica, raft, stamps(clock.clone()));
        let (handle, consensus) =
            raft_threads.run(started).await.map_err(StartError::Threads)?.map_err(StartError::Consensus)?;
        let (streams, links) = (Arc::new(Streams::default()), Arc::new(Links::default()));
        let performer = Performer {
            outlets: outlets.clone(),
            streams: streams.clone(),
            links: links.clone(),
            silence_max: options.agent_silence_max(),
        };
        let (stop, stopping) = watch::channel(false);
        let (stop_serving, serving) = watch::channel(false);
        let (set_view, view) = watch::channel(LeaderView::Electing { term: 0 });
        let leader = LeaderDeps {
            consensus: handle.clone(),
            outlets: outlets.clone(),
            clock,
            config: Config { policies: deps.policies.clone(), ..options.leader_config()? },
            initial_policy: options.allocator.as_str().into(),
            feature_level: options.feature_level_max,
            streams: streams.clone(),
            links: links.clone(),
            performer,
        };
        let bodies = Bodies::new(options.port.body_limits());
        let app = Arc::new(App {
            options,
            facts,
            outlets,
            streams,
            links,
            view,
            consensus: ConsensusHandle(handle),
            exporter: deps.exporter,
            policies: deps.policies,
            started: wall_now(),
            uptime: Instant::now(),
            held: App::held_places(),
            quota_turn: tokio::sync::Mutex::default(),
            reads: App::read_places(),
            bodies,
            desk: Desk::new().map_err(StartError::Threads)?,
            large: LargeCalls::new(),
            holds: AtomicU64::new(0),
            subscribers: Subscribers::default(),
        });
        let services = grpc::routes(&app);
        tracing::info!(client = %client_address, raft = %raft_address, "this master serves");
        Ok(Running {
            client: client_address,
            raft: raft_address,
            consensus,
            leader: tokio::spawn(leader::run(leader, set_view, stopping)),
            server: tokio::spawn(http::serve(client, app, services, serving)),
            stop,
            stop_serving,
            raft_threads,
        })
    }
}

/// To be run on the threads of Raft.
async fn start_consensus(
    options: mesarch_consensus::Options,
    replica: Replica,
    listener: TcpListener,
    clock: mesarch_consensus::Clock,
) -> Result<(Handle<Answer>, mesarch_consensus::Running), mesarch_consensus::StartError> {
    let address = options.raft_listen;
    // Taken off the runtime that bound it: here its connections are noticed however busy the others are.
    let moved = listener.into_std().and_then(TcpListener::from_std);
    let listener = moved.map_err(|source| mesarch_consensus::StartError::Listen { address, source })?;
    let deps = mesarch_consensus::Deps { listener: Some(listener), ..mesarch_consensus::Deps::new(clock) };
    Consensus::start(options, replica, deps).await
}

async fn listen(
    setting: &'static str,
    address: SocketAddr,
    given: Option<TcpListener>,
) -> Result<TcpListener, StartError> {
    match given {
        Some(listener) => Ok(listener),
        None => {
            TcpListener::bind(address).await.map_err(|source| StartError::Listen { setting, address, source })
        }
    }
}

fn bound(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// The clock that consensus stamps entries with.
fn stamps(clock: Arc<Clock>) -> mesarch_consensus::Clock {
    Arc::new(move || Stamp { cluster_ms: clock.now().0, wall_ms: wall_now().0 })
}

fn consensus_options(options: &Options, advertise: NodeInfo) -> mesarch_consensus::Options {
    let node = NodeId(options.node_id);
    let ms = std::time::Duration::from_millis;
    mesarch_consensus::Options {
        bootstrap: options.bootstrap.then(|| initial_members(options, node, &advertise)),
        backend: Backend::Sled,
        timing: Timing {
            heartbeat: ms(options.heartbeat_ms),
            election_min: ms(options.election_min_ms),
            election_max: ms(options.election_max_ms),
        },
        crash_detector: options.crash_detector,
        compaction: Compaction::every(options.snapshot_entries),
        feature_level: options.feature_level_max,
        ..mesarch_consensus::Options::new(options.data_dir.clone(), node, options.raft_listen, advertise)
    }
}

/// All members of a new cluster; this master alone if none are named.
fn initial_members(options: &Options, node: NodeId, advertise: &NodeInfo) -> BTreeMap<NodeId, NodeInfo> {
    let named = options.initial_masters.iter();
    let mut members: BTreeMap<NodeId, NodeInfo> = named
        .map(|(node, it)| (NodeId(*node), NodeInfo { raft: it.raft.clone(), client: it.client.clone() }))
        .collect();
    members.entry(node).or_insert_with(|| advertise.clone());
    members
}

impl Running {
    /// Where clients are served.
    pub fn client_addr(&self) -> SocketAddr {
        self.client
    }

    /// Where the other masters are served.
    pub fn raft_addr(&self) -> SocketAddr {
        self.raft
    }

    /// Waits until the master cannot go on. Cancelling it is harmless.
    pub async fn wait(&mut self) -> Result<(), StopError> {
        tokio::select! {
            why = self.consensus.failed() => Err(StopError::Failed(why)),
            _ = &mut self.leader => Err(StopError::Task("leader")),
            _ = &mut self.server => Err(StopError::Task("server")),
        }
    }

    /// Ends the master in order: hands its leadership over, so that its clients are sent on at once, ends Raft, closes
    /// streams and links, and lets open connections finish for a moment.
    pub async fn shutdown(self) {
        let Self { consensus, stop, stop_serving, leader, server, raft_threads, .. } = self;
        if let Err(error) = consensus.stop().await {
            tracing::error!(%error, "consensus did not end cleanly");
        }
        stop.send_replace(true);
        join("leader", leader).await;
        stop_serving.send_replace(true);
        join("server", server).await;
        drop(raft_threads);
    }

    /// Ends the master as if its process died: nothing is handed over. For tests.
    pub async fn kill(self) {
        let Self { consensus, leader, server, raft_threads, .. } = self;
        // Nobody is to learn from the broken connections, and have it committed, that streams and links have ended.
        leader.abort();
        join("leader", leader).await;
        server.abort();
        if let Err(error) = consensus.halt().await {
            tracing::warn!(%error, "consensus did not end cleanly");
        }
        drop(raft_threads);
    }
}

async fn join(name: &'static str, task: JoinHandle<()>) {
    match task.await {
        Ok(()) => {}
        Err(error) if error.is_cancelled() => {}
        Err(error) => tracing::error!(task = name, %error, "a task failed"),
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({})", self.client)
    }
}
