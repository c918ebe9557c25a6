//! Follows Raft's leadership: between terms it says who leads, within a term it lets [`Term`](super::term::Term) work.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mesarch_consensus::{Handle, Leadership};
use mesarch_leader_core::Config;
use mesarch_state::{Command, command::BeginTerm};
use tokio::sync::{mpsc, watch};

use super::{PlaceError, Session, level, term::Term};
use crate::{
    clock::Clock,
    effects::Performer,
    links::Links,
    machine::{Answer, AppliedEntry, FEED_ENTRIES_MAX, Feed, Outlets},
    metrics,
    stop::{Stop, stopped},
    streams::Streams,
    view::LeaderView,
};

/// Pause before a BeginTerm that found no place is proposed again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Pause after a BeginTerm that the log refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// What the leader task works with.
pub(crate) struct Deps {
    pub(crate) consensus: Handle<Answer>,
    pub(crate) outlets: Outlets,
    pub(crate) clock: Arc<Clock>,
    pub(crate) config: Config,
    /// The policy that a new cluster starts with.
    pub(crate) initial_policy: Arc<str>,
    /// The level that a new cluster starts with, and the highest that an older one may go on to.
    pub(crate) feature_level: u32,
    pub(crate) streams: Arc<Streams>,
    pub(crate) links: Arc<Links>,
    pub(crate) performer: Performer,
}

/// Runs until `stop` is set or consensus ends; keeps `view` up to date.
pub(crate) async fn run(deps: Deps, view: watch::Sender<LeaderView>, mut stop: Stop) {
    let mut leadership = deps.consensus.leadership();
    loop {
        let now = leadership.borrow_and_update().clone();
        if now.is_self {
            lead(&deps, &view, now.term, &mut leadership, &mut stop).await;
            end(&deps, &view, now.term);
            if !*stop.borrow() && current(&leadership, now.term) {
                // The term could not be begun, and nothing has changed: try again.
                tokio::time::sleep(RETRY_PAUSE).await;
                leadership.mark_changed();
            }
        } else {
            view.send_if_modified(|known| replace(known, following(&now)));
        }
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() { return },
            () = stopped(&mut stop) => return,
        }
    }
}

fn current(leadership: &watch::Receiver<Leadership>, term: u64) -> bool {
    let now = leadership.borrow();
    now.is_self && now.term == term
}

fn following(now: &Leadership) -> LeaderView {
    match &now.leader {
        Some((_, node)) if !now.is_self => {
            LeaderView::Following { term: now.term, leader: Arc::from(node.client.as_str()) }
        }
        _ => LeaderView::Electing { term: now.term },
    }
}

/// Sets the view; whether that is news to anybody.
fn replace(known: &mut LeaderView, new: LeaderView) -> bool {
    let same = match (&*known, &new) {
        (LeaderView::Electing { term: a }, LeaderView::Electing { term: b }) => a == b,
        (LeaderView::Following { term: a, leader: x }, LeaderView::Following { term: b, leader: y }) => {
            a == b && x == y
        }
        _ => false,
    };
    *known = new;
    !same
}

/// Begins the term and leads until it ends.
async fn lead(
    deps: &Deps,
    view: &watch::Sender<LeaderView>,
    term: u64,
    leadership: &mut watch::Receiver<Leadership>,
    stop: &mut Stop,
) {
    let elected = Instant::now();
    view.send_if_modified(|known| replace(known, LeaderView::Electing { term }));
    let (session, inbox) = Session::new(term, deps.consensus.clone(), deps.config.allocation_interval);
    let mut entries = open_feed(deps, term);
    let over = term_over(leadership, term);
    tokio::pin!(over);
    let begun = tokio::select! {
        begun = begin(deps, &session, &mut entries) => begun,
        () = &mut over => None,
        () = stopped(stop) => None,
    };
    let Some(first) = begun else { return };
    tracing::info!(term, index = first.index, took = ?elected.elapsed(), "this master leads");
    metrics::term_begun(elected.elapsed());
    metrics::leading(true);
    let mut work = Term::begin(deps, session.clone(), inbox, &first);
    view.send_replace(LeaderView::Leading(session.clone()));
    tokio::select! {
        () = work.run(&mut entries) => {}
        () = level::rise(deps, &session) => {}
        () = &mut over => tracing::info!(term, "this master does not lead any more"),
        () = stopped(stop) => {}
    }
    // Handlers stop calling themselves leader before the streams end, so that clients are sent on at once.
    view.send_replace(LeaderView::Electing { term });
    work.end().await;
}

fn open_feed(deps: &Deps, term: u64) -> mpsc::Receiver<AppliedEntry> {
    let (entries, feed) = mpsc::channel(FEED_ENTRIES_MAX);
    deps.outlets.feed.store(Some(Arc::new(Feed { term, entries })));
    feed
}

/// Everything that belongs to the term goes; its streams and links close.
fn end(deps: &Deps, view: &watch::Sender<LeaderView>, term: u64) {
    deps.outlets.feed.store(None);
    let now = deps.consensus.leadership().borrow().clone();
    let next = if now.term == term && now.is_self { LeaderView::Electing { term } } else { following(&now) };
    view.send_replace(next);
    metrics::leading(false);
    deps.streams.close_all();
    deps.links.close_all("this master does not lead any more");
}

async fn term_over(leadership: &mut watch::Receiver<Leadership>, term: u64) {
    // An error means that consensus has ended, and the term with it.
    let _ = leadership.wait_for(|now| !(now.is_self && now.term == term)).await;
}

/// Proposes BeginTerm and waits for the entry that applied it; none if this term cannot be begun.
async fn begin(
    deps: &Deps,
    session: &Arc<Session>,
    entries: &mut mpsc::Receiver<AppliedEntry>,
) -> Option<AppliedEntry> {
    let state = &deps.outlets.newest().state;
    deps.clock.begin_term(state.now(), state.wall());
    let (cluster, incarnation) = deps.consensus.identity();
    let Some(cluster) = cluster else {
        tracing::error!("this node leads but its data directory names no cluster");
        return None;
    };
    let policy = Some(deps.initial_policy.clone());
    let command = Command::BeginTerm(BeginTerm { cluster, incarnation, level: deps.feature_level, policy });
    let placed = loop {
        match session.place(&command).await {
            Ok(placed) => break placed,
            Err(PlaceError::NotLeader) => return None,
            Err(PlaceError::Busy | PlaceError::TooLarge { .. }) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    };
    let answer = placed.resolved().await.ok()?;
    if answer.outcome != mesarch_state::Outcome::TermBegun {
        tracing::error!(outcome = ?answer.outcome, "the term cannot begin: this node may be on another cluster's data");
        tokio::time::sleep(REFUSED_PAUSE).await;
        return None;
    }
    while let Some(entry) = entries.recv().await {
        if entry.index == answer.index {
            deps.clock.catch_up(entry.published.state.now());
            return Some(entry);
        }
    }
    None
}
