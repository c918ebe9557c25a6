//! What every handler of this master shares.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mesarch_allocator::Registry;
use mesarch_consensus::Handle;
use mesarch_edge::Bodies;
use mesarch_telemetry::Exporter;
use mesarch_types::WallMillis;
use tokio::sync::{Semaphore, watch};

use crate::{
    Options,
    http::Desk,
    large::LargeCalls,
    leader::Session,
    links::Links,
    machine::{Answer, Outlets, Published},
    master_info::MasterFacts,
    streams::Streams,
    subscribers::Subscribers,
    view::{LeaderView, settled},
};

/// Shortest time for which a request waits for a leader before it is refused: some clients try again without a pause.
const HOLD_MIN: Duration = Duration::from_millis(200);
/// Longest such time; requests are spread in between.
const HOLD_MAX: Duration = Duration::from_millis(500);
/// Most requests that wait for a leader at a time; others are refused at once.
const HELD_MAX: usize = 4096;

/// Most copies of the whole state that are written at a time beside those of the desk.
const READS_MAX: usize = 4;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) options: Options,
    pub(crate) facts: MasterFacts,
    pub(crate) outlets: Outlets,
    pub(crate) streams: Arc<Streams>,
    pub(crate) links: Arc<Links>,
    pub(crate) view: watch::Receiver<LeaderView>,
    pub(crate) consensus: ConsensusHandle,
    pub(crate) exporter: Option<Exporter>,
    /// The policies that operators may choose from.
    pub(crate) policies: Registry,
    /// When this process started. For display.
    pub(crate) started: WallMillis,
    pub(crate) uptime: Instant,
    pub(crate) held: Semaphore,
    /// Held by the deprecated changes of quota, which depend on whether there is one, from that question to the answer,
    /// as long as masters are there that cannot judge it when they apply the change.
    pub(crate) quota_turn: tokio::sync::Mutex<()>,
    /// Bounds the copies of the whole state that are written for gRPC and for followers of changes at a time.
    pub(crate) reads: Arc<Semaphore>,
    /// Reads what clients send.
    pub(crate) bodies: Bodies,
    /// Renders all other reads.
    pub(crate) desk: Desk,
    /// Bounds the large calls that are worked on at a time.
    pub(crate) large: LargeCalls,
    pub(crate) holds: AtomicU64,
    /// Operators who follow the state.
    pub(crate) subscribers: Subscribers,
}

/// The handle, with a name to print.
#[derive(Clone)]
pub(crate) struct ConsensusHandle(pub(crate) Handle<Answer>);

impl std::fmt::Debug for ConsensusHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

/// Who serves a request that only the leader serves.
#[derive(Clone, Debug)]
pub(crate) enum Leadership {
    /// This master.
    Here(Arc<Session>),
    /// The master with this client address, host:port.
    Elsewhere(Arc<str>),
    /// Nobody, at the moment.
    Nobody,
}

impl App {
    /// Places for requests that are held.
    pub(crate) fn held_places() -> Semaphore {
        Semaphore::new(HELD_MAX)
    }

    /// Places for reads.
    pub(crate) fn read_places() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(READS_MAX))
    }

    /// The newest state.
    pub(crate) fn newest(&self) -> Arc<Published> {
        self.outlets.newest()
    }

    /// What this master says of itself now.
    pub(crate) fn facts(&self) -> MasterFacts {
        self.facts.within(self.newest().state.cluster())
    }

    /// Who leads. While nobody does, the request is held for a moment, and goes on as soon as somebody leads.
    pub(crate) async fn leadership(&self) -> Leadership {
        let mut view = self.view.borrow().clone();
        if let (LeaderView::Electing { .. }, Ok(_place)) = (&view, self.held.try_acquire()) {
            view = Box::pin(settled(&self.view, self.patience())).await;
        }
        match view {
            LeaderView::Leading(session) => Leadership::Here(session),
            LeaderView::Following { leader, .. } => Leadership::Elsewhere(leader),
            LeaderView::Electing { .. } => Leadership::Nobody,
        }
    }

    /// Spreads held requests evenly, without drawing random numbers.
    fn patience(&self) -> Duration {
        const STEP_MS: u64 = 37;
        let span = (HOLD_MAX - HOLD_MIN).as_millis() as u64;
        let turn = self.holds.fetch_add(1, Ordering::Relaxed);
        HOLD_MIN + Duration::from_millis(turn.wrapping_mul(STEP_MS) % span)
    }
}
