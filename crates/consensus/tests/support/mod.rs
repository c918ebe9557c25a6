//! A cluster in one process: real Raft, real disks, real sockets on loopback, and cables that can be cut or are slow.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod disk;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use disk::{Fault, Faulty};
use mesarch_consensus::{
    Backend, Clock, Compaction, Consensus, Corrupt, Deps, EntryContext, Handle, LogPosition, Machine, NodeId,
    NodeInfo, Options, Running, Stamp, StartError, Timing, Unresolved,
};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Longest wait for anything; a test that needs longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// After so many numbers the states are compared.
pub(crate) const CHECKPOINT_EVERY: usize = 10;

/// Every number that was applied, in order.
pub(crate) type History = Arc<Mutex<Vec<u64>>>;

/// A machine that remembers numbers; the outcome of a command is its position.
pub(crate) struct Register(pub(crate) History);

impl Machine for Register {
    type Outcome = usize;
    type Frozen = Vec<u64>;

    async fn apply(&mut self, _: EntryContext, commands: Vec<Bytes>) -> Result<Vec<usize>, Corrupt> {
        let mut history = self.0.lock().unwrap();
        let mut append = |command: Bytes| {
            let number = command[..8].try_into().map_err(|_| Corrupt::new("not a number"))?;
            history.push(u64::from_le_bytes(number));
            Ok(history.len() - 1)
        };
        commands.into_iter().map(&mut append).collect()
    }

    fn freeze(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }

    fn is_checkpoint(&self) -> bool {
        self.0.lock().unwrap().len().is_multiple_of(CHECKPOINT_EVERY)
    }

    fn digest(frozen: Vec<u64>) -> u128 {
        // FNV-1a, by number.
        let hash =
            |sum: u128, number: u64| (sum ^ u128::from(number)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
        frozen.into_iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, hash)
    }

    fn encode(frozen: Vec<u64>, out: &mut dyn Write) -> io::Result<()> {
        frozen.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()))
    }

    fn restore(&mut self, input: &mut dyn Read, _: LogPosition) -> Result<(), Corrupt> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).map_err(|error| Corrupt::new(error.to_string()))?;
        let (numbers, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(Corrupt::new("half a number"));
        }
        *self.0.lock().unwrap() = numbers.iter().map(|number| u64::from_le_bytes(*number)).collect();
        Ok(())
    }
}

pub(crate) fn clock() -> Clock {
    Arc::new(|| Stamp { cluster_ms: 1, wall_ms: 2 })
}

/// A running node.
pub(crate) struct Node {
    pub(crate) handle: Handle<usize>,
    pub(crate) running: Running,
    pub(crate) history: History,
}

/// A cable from one node to another: a proxy that can be cut.
struct Cable {
    address: String,
    whole: watch::Sender<bool>,
    carrier: JoinHandle<()>,
}

/// What a slow cable passes on at a time.
const PIECE_BYTES: usize = 16 << 10;

/// Of so many pieces a cable that loses some loses one,
const LOST_ONE_IN: u64 = 100;
/// which TCP, and all that comes behind it, waits for so long: Linux' shortest retransmission timeout.
const RETRANSMITTED_AFTER: Duration = Duration::from_millis(200);

/// What a cable carries.
#[derive(Clone, Copy)]
struct Speed {
    bytes_per_second: u64,
    loses: bool,
}

/// One direction of a cable: all its connections share what it carries, piece by piece.
struct Lane {
    bytes_per_second: u64,
    /// When it is free again, and how many pieces it has carried.
    free: Mutex<(Instant, u64)>,
    loses: bool,
}

impl Lane {
    fn new(Speed { bytes_per_second, loses }: Speed) -> Arc<Self> {
        Arc::new(Self { bytes_per_second, free: Mutex::new((Instant::now(), 0)), loses })
    }

    async fn carry(&self, bytes: usize) {
        let arrives = {
            let (free, carried) = &mut *self.free.lock().unwrap();
            *free = (*free).max(Instant::now())
                + Duration::from_micros(bytes as u64 * 1_000_000 / self.bytes_per_second);
            *carried += 1;
            if self.loses && carried.is_multiple_of(LOST_ONE_IN) {
                *free += RETRANSMITTED_AFTER;
            }
            *free
        };
        tokio::time::sleep_until(arrives).await;
    }

    async fn pump(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = from.read(&mut piece).await?;
            if count == 0 {
                return to.shutdown().await;
            }
            self.carry(count).await;
            to.write_all(&piece[..count]).await?;
        }
    }
}

impl Cable {
    async fn lay(to: String, speed: Option<Speed>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let whole = watch::Sender::new(true);
        let lanes = speed.map(|speed| (Lane::new(speed), Lane::new(speed)));
        let carrier = tokio::spawn(carry(listener, to, whole.clone(), lanes));
        Self { address, whole, carrier }
    }

    /// Ends it, as a proxy that has died: connections break, and new ones are refused.
    async fn refuse(&self) {
        self.carrier.abort();
        self.set(false).await;
    }

    /// Cuts it or makes it whole. One that was cut carries nothing any more: each of its connections watches until it ends.
    async fn set(&self, whole: bool) {
        self.whole.send_replace(whole);
        if !whole {
            self.whole.closed().await;
        }
    }
}

type Lanes = Option<(Arc<Lane>, Arc<Lane>)>;

async fn carry(listener: TcpListener, to: String, whole: watch::Sender<bool>, lanes: Lanes) {
    while let Ok((mut near, _)) = listener.accept().await {
        let (mut whole, to, lanes) = (whole.subscribe(), to.clone(), lanes.clone());
        tokio::spawn(async move {
            if !*whole.borrow() {
                return;
            }
            let Ok(mut far) = TcpStream::connect(&to).await else {
                return;
            };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            tokio::select! {
                () = join(&mut near, &mut far, lanes) => {}
                _ = whole.wait_for(|whole| !whole) => {}
            }
        });
    }
}

/// Carries both ways until one side ends.
async fn join(near: &mut TcpStream, far: &mut TcpStream, lanes: Lanes) {
    let Some((there, back)) = lanes else {
        let _ = tokio::io::copy_bidirectional(near, far).await;
        return;
    };
    let ((near_read, near_write), (far_read, far_write)) = (near.split(), far.split());
    let _ = tokio::try_join!(there.pump(near_read, far_write), back.pump(far_read, near_write));
}

/// Some nodes and what lies between them.
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) infos: BTreeMap<NodeId, NodeInfo>,
    pub(crate) tune: fn(&mut Options),
    /// What the logs' disks do to each node.
    pub(crate) faults: BTreeMap<u64, Arc<Mutex<Fault>>>,
    dirs: BTreeMap<u64, TempDir>,
    bound: BTreeMap<u64, TcpListener>,
    /// From, to.
    cables: Option<BTreeMap<(u64, u64), Cable>>,
}

impl Cluster {
    /// Addresses for nodes 1 to `count`; none is started.
    pub(crate) async fn plan(count: u64, tune: fn(&mut Options)) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            infos: BTreeMap::new(),
            tune,
            faults: BTreeMap::new(),
            dirs: BTreeMap::new(),
            bound: BTreeMap::new(),
            cables: None,
        };
        for id in 1..=count {
            cluster.add(id).await;
        }
        cluster
    }

    /// Nodes 1 to `count`, started and bootstrapped by node 1.
    pub(crate) async fn start(count: u64, tune: fn(&mut Options)) -> Self {
        let mut cluster = Self::plan(count, tune).await;
        cluster.boot().await;
        cluster
    }

    /// Like [`Cluster::start`], with cables that can be cut.
    pub(crate) async fn start_wired(count: u64, tune: fn(&mut Options)) -> Self {
        Self::start_over(count, tune, None).await
    }

    /// Like [`Cluster::start_wired`], with cables that carry so many bytes a second each way.
    pub(crate) async fn start_slow(count: u64, tune: fn(&mut Options), bytes_per_second: u64) -> Self {
        Self::start_over(count, tune, Some(Speed { bytes_per_second, loses: false })).await
    }

    /// Like [`Cluster::start_wired`], with cables of which every hundredth piece is lost at first.
    pub(crate) async fn start_lossy(count: u64, tune: fn(&mut Options)) -> Self {
        Self::start_over(count, tune, Some(Speed { bytes_per_second: 1 << 30, loses: true })).await
    }

    async fn start_over(count: u64, tune: fn(&mut Options), speed: Option<Speed>) -> Self {
        let mut cluster = Self::plan(count, tune).await;
        let mut cables = BTreeMap::new();
        for from in 1..=count {
            for (to, info) in &cluster.infos {
                cables.insert((from, to.0), Cable::lay(info.raft.clone(), speed).await);
            }
        }
        cluster.cables = Some(cables);
        cluster.boot().await;
        cluster
    }

    /// Starts and bootstraps all that were planned.
    pub(crate) async fn boot(&mut self) {
        let members = self.infos.clone();
        for id in self.infos.keys().rev().map(|id| id.0).collect::<Vec<_>>() {
            let bootstrap = (id == 1).then(|| members.clone());
            self.start_node(id, bootstrap).await.unwrap();
        }
    }

    /// Plans one more node.
    pub(crate) async fn add(&mut self, id: u64) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let raft = listener.local_addr().unwrap().to_string();
        let info = NodeInfo { raft, client: format!("127.0.0.1:{id}") };
        self.infos.insert(NodeId(id), info);
        self.bound.insert(id, listener);
        self.dirs.insert(id, tempfile::tempdir().unwrap());
        self.faults.insert(id, Arc::default());
    }

    pub(crate) fn options(&self, id: u64) -> Options {
        let info = self.infos[&NodeId(id)].clone();
        let address = info.raft.parse().unwrap();
        let mut options = Options::new(self.dirs[&id].path().into(), NodeId(id), address, info);
        options.backend = Backend::Segments;
        (self.tune)(&mut options);
        options
    }

    pub(crate) async fn start_node(
        &mut self,
        id: u64,
        bootstrap: Option<BTreeMap<NodeId, NodeInfo>>,
    ) -> Result<(), StartError> {
        let mut options = self.options(id);
        options.bootstrap = bootstrap;
        let history = History::default();
        let fault = self.faults[&id].clone();
        let deps = Deps {
            listener: self.bound.remove(&id),
            route: self.route(id),
            disk: Some(Box::new(move |log| Box::new(Faulty { log, fault }))),
            ..Deps::new(clock())
        };
        let (handle, running) = Consensus::start(options, Register(history.clone()), deps).await?;
        self.nodes.insert(id, Node { handle, running, history });
        Ok(())
    }

    fn route(&self, from: u64) -> Option<mesarch_consensus::Route> {
        let cables = self.cables.as_ref()?;
        let ends =
            self.infos.iter().map(|(to, info)| (info.raft.clone(), cables[&(from, to.0)].address.clone()));
        let ends: BTreeMap<String, String> = ends.collect();
        Some(Arc::new(move |info: &NodeInfo| ends[&info.raft].clone()))
    }

    /// Cuts or mends all cables of a node.
    pub(crate) async fn connect(&self, id: u64, whole: bool) {
        for ((from, to), cable) in self.cables.as_ref().expect("the cluster is wired") {
            if *from == id || *to == id {
                cable.set(whole).await;
            }
        }
    }

    /// Lets every proxy before a node die.
    pub(crate) async fn refuse(&self, id: u64) {
        for ((_, to), cable) in self.cables.as_ref().expect("the cluster is wired") {
            if *to == id {
                cable.refuse().await;
            }
        }
    }

    /// Ends a node that cannot go on, as its process would; why it cannot.
    pub(crate) async fn failed(&mut self, id: u64) -> Arc<str> {
        let node = self.nodes.remove(&id).unwrap();
        let why = timeout(PATIENCE, node.running.failed()).await.expect("it says so in time");
        // Its disk is broken: it cannot be closed in order.
        drop(node.running.halt().await);
        why
    }

    pub(crate) async fn halt(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        assert_eq!(node.handle.fatal().reason(), None, "node {id}");
        node.running.halt().await.unwrap();
    }

    pub(crate) async fn halt_all(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.halt(id).await;
        }
    }

    pub(crate) fn handle(&self, id: u64) -> &Handle<usize> {
        &self.nodes[&id].handle
    }

    /// Waits for a node that leads, other than `not`; its id and term.
    pub(crate) async fn leader_but(&self, not: Option<u64>) -> (u64, u64) {
        let found = until(|| {
            let mut nodes = self.nodes.iter().filter(|(id, _)| Some(**id) != not);
            nodes.find_map(|(id, node)| {
                let leadership = node.handle.leadership().borrow().clone();
                leadership.is_self.then_some((*id, leadership.term))
            })
        });
        found.await
    }

    pub(crate) async fn leader(&self) -> (u64, u64) {
        self.leader_but(None).await
    }

    /// Commits a number, at whoever leads.
    pub(crate) async fn commit(&self, number: u64) -> usize {
        self.commit_but(None, number).await
    }

    /// Commits a number, at whoever leads other than `not`.
    pub(crate) async fn commit_but(&self, not: Option<u64>, number: u64) -> usize {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let (leader, term) = self.leader_but(not).await;
            let Ok(ticket) = self.handle(leader).propose(term, command(number)).await else {
                sleep(Duration::from_millis(5)).await;
                continue;
            };
            match timeout(PATIENCE, ticket).await.expect("a command is resolved in time") {
                Ok(position) => return position,
                Err(Unresolved::NotCommitted) => {}
                Err(Unresolved::Unknown) => panic!("the outcome is unknown although the node runs"),
            }
        }
        panic!("{number} was not committed in time");
    }

    /// Waits until a node has applied exactly `expected`.
    pub(crate) async fn settled(&self, id: u64, expected: &[u64]) {
        let history = &self.nodes[&id].history;
        let same = timeout(PATIENCE, until(|| (*history.lock().unwrap() == expected).then_some(()))).await;
        assert!(same.is_ok(), "node {id}: {:?} is not {expected:?}", tail(&history.lock().unwrap()));
    }

    pub(crate) async fn all_settled(&self, expected: &[u64]) {
        for id in self.nodes.keys() {
            self.settled(*id, expected).await;
        }
    }
}

fn tail(numbers: &[u64]) -> (usize, &[u64]) {
    (numbers.len(), &numbers[numbers.len().saturating_sub(5)..])
}

pub(crate) fn command(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

/// A command of `bytes` bytes that holds a number.
pub(crate) fn long_command(number: u64, bytes: usize) -> Bytes {
    let mut command = number.to_le_bytes().to_vec();
    command.resize(bytes, number as u8);
    command.into()
}

/// Waits until `look` finds something.
pub(crate) async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen in time");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Nothing special.
pub(crate) fn plain(_: &mut Options) {}

/// Timers so long that only the crash detector explains a quick election.
pub(crate) fn slow_timers(options: &mut Options) {
    let ms = Duration::from_millis;
    options.timing = Timing { heartbeat: ms(500), election_min: ms(8_000), election_max: ms(16_000) };
}

/// Snapshots after a few entries, and nothing kept behind them.
pub(crate) fn small_log(options: &mut Options) {
    options.compaction = Compaction { snapshot_entries: 20, keep_entries: 1, ..Compaction::default() };
}

pub(crate) fn sled(options: &mut Options) {
    options.backend = Backend::Sled;
}
