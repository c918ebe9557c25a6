//! One term: inputs into the leader's mind, its outputs out of it, nothing decided here.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use mesarch_consensus::Unresolved;
use mesarch_leader_core::{Input, Leader, Loss, Output, PlanInFlight, Ticket};
use mesarch_state::Command;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Deps, PlaceError, Placed, Session, ToLeader};
use crate::{
    clock::Clock,
    effects::{WORK_MAX, Work},
    machine::{Answer, AppliedEntry, Outlets},
    metrics,
};

/// While so many outputs wait to be carried out, no new inputs from outside are taken; while so many effects do, no
/// applied entries either, and the log waits: the effects task waits for nobody, so it gets on.
const BACKLOG_MAX: usize = 4096;
/// Most inputs that are taken one after the other without asking the clock and the other sources in between.
const BURST_MAX: usize = 16;
/// The leader's mind is asked at least this often whether something is due.
const IDLE_WAKE: Duration = Duration::from_secs(60);
/// The allocator's figures are published about this often.
const FIGURES_EVERY: Duration = Duration::from_secs(1);

/// The leader's mind, and where its outputs wait.
pub(super) struct Term {
    leader: Leader,
    session: Arc<Session>,
    clock: Arc<Clock>,
    outlets: Outlets,
    inbox: mpsc::Receiver<ToLeader>,
    proposals: VecDeque<(Ticket, Command)>,
    /// The proposal that is waiting for its place; one at a time keeps them in order.
    placing: Option<BoxFuture<'static, (Ticket, Result<Placed, PlaceError>)>>,
    /// Proposals that have their place and are not decided.
    open: FuturesUnordered<BoxFuture<'static, (Ticket, Result<Answer, Unresolved>)>>,
    works: VecDeque<Work>,
    outbound: mpsc::Sender<Work>,
    effects: JoinHandle<()>,
    /// The plan in flight, and when the step that made it began.
    plan: Option<(PlanInFlight, Instant)>,
    /// When the allocator's figures were published last.
    figures: Instant,
}

/// One turn of the loop.
enum Event {
    Applied(AppliedEntry),
    Answered(Ticket, Result<Answer, Unresolved>),
    Placed(Ticket, Result<Placed, PlaceError>),
    Told(ToLeader),
    Room,
}

impl Term {
    /// Lists the open work from exactly the state that `first` (BeginTerm) led to.
    pub(super) fn begin(
        deps: &Deps,
        session: Arc<Session>,
        inbox: mpsc::Receiver<ToLeader>,
        first: &AppliedEntry,
    ) -> Self {
        let (now, begun) = (deps.clock.now(), Instant::now());
        let (leader, outputs) = Leader::begin(deps.config.clone(), &first.published.state, first.index, now);
        if let Some(policy) = leader.unknown_policy() {
            tracing::error!(
                policy,
                "this master does not know the cluster's policy and goes by the default one"
            );
        }
        let (outbound, works) = mpsc::channel(WORK_MAX);
        let effects = tokio::spawn(deps.performer.clone().run(session.clone(), works));
        let mut term = Self {
            leader,
            session,
            clock: deps.clock.clone(),
            outlets: deps.outlets.clone(),
            inbox,
            proposals: VecDeque::new(),
            placing: None,
            open: FuturesUnordered::new(),
            works: VecDeque::new(),
            outbound,
            effects,
            plan: None,
            figures: Instant::now(),
        };
        term.watch_plan(begun);
        term.sort(outputs, Some(first.index));
        term
    }

    /// Works until the feed ends. May be dropped while it waits.
    pub(super) async fn run(&mut self, entries: &mut mpsc::Receiver<AppliedEntry>) {
        loop {
            self.take_burst(entries);
            let wake = self.wake();
            let has_room = self.has_room();
            let event = tokio::select! {
                entry = entries.recv(), if self.works.len() < BACKLOG_MAX => match entry {
                    Some(entry) => Event::Applied(entry),
                    None => return,
                },
                Some((ticket, answer)) = self.open.next() => Event::Answered(ticket, answer),
                (ticket, placed) = ready(&mut self.placing) => Event::Placed(ticket, placed),
                Some(message) = self.inbox.recv(), if has_room => Event::Told(message),
                Ok(_) = self.outbound.reserve(), if !self.works.is_empty() => Event::Room,
                () = tokio::time::sleep_until(wake.into()) => Event::Told(ToLeader::Input(Input::Wake)),
            };
            self.handle(event);
        }
    }

    /// Takes what is there already. Under load nearly everything is, and waiting for all sources at once, with a timer,
    /// costs more than most inputs do.
    fn take_burst(&mut self, entries: &mut mpsc::Receiver<AppliedEntry>) {
        for _ in 0..BURST_MAX {
            self.place_next();
            let Some(event) = self.event_at_hand(entries) else { return };
            self.handle(event);
        }
        self.place_next();
    }

    fn event_at_hand(&mut self, entries: &mut mpsc::Receiver<AppliedEntry>) -> Option<Event> {
        let placed = self.placing.as_mut().and_then(FutureExt::now_or_never);
        if let Some((ticket, placed)) = placed {
            return Some(Event::Placed(ticket, placed));
        }
        // Not left to the wait: there may be as many of them as of inputs.
        if let Some((ticket, answer)) = self.open.next().now_or_never().flatten() {
            return Some(Event::Answered(ticket, answer));
        }
        if self.works.len() < BACKLOG_MAX
            && let Ok(entry) = entries.try_recv()
        {
            return Some(Event::Applied(entry));
        }
        if !self.has_room() {
            return None;
        }
        self.inbox.try_recv().ok().map(Event::Told)
    }

    fn has_room(&self) -> bool {
        self.works.len() + self.proposals.len() < BACKLOG_MAX
    }

    /// Ends what the term began: nothing more goes out, and streams that were on their way in are closed.
    pub(super) async fn end(self) {
        let Self { mut inbox, outbound, effects, works, .. } = self;
        drop(outbound);
        if let Err(error) = effects.await {
            tracing::error!(%error, "the effects task failed");
        }
        inbox.close();
        let waiting = std::iter::from_fn(|| inbox.try_recv().ok()).filter_map(|message| match message {
            ToLeader::Open { stream, .. } => Some(stream),
            ToLeader::Input(_) | ToLeader::Explain { .. } => None,
        });
        let queued = works.into_iter().filter_map(|work| match work {
            Work::Open { stream, .. } => Some(stream),
            Work::Perform { .. } | Work::Send { .. } | Work::CloseLink { .. } => None,
        });
        waiting.chain(queued).for_each(|stream| stream.close(None));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Applied(entry) => {
                let AppliedEntry { index, changes, effects, .. } = entry;
                self.step(Input::Applied { index, changes, effects }, Some(index));
            }
            Event::Answered(ticket, Ok(Answer { index, outcome })) => {
                self.step(Input::Answered { ticket, outcome, index }, None);
            }
            // Its place was taken back (a later entry was placed first, or Raft refused it for too long), and the term
            // may go on.
            Event::Answered(ticket, Err(Unresolved::NotCommitted)) => {
                tracing::debug!(?ticket, "the leader's own proposal lost its place");
                self.step(Input::Lost { ticket, why: Loss::NoPlace }, None);
            }
            // Nobody here will know: this node stops, or a snapshot took the place of what it had applied.
            Event::Answered(ticket, Err(error @ Unresolved::Unknown)) => {
                tracing::debug!(?ticket, %error, "a proposal is unresolved")
            }
            Event::Placed(ticket, placed) => self.placed(ticket, placed),
            Event::Told(ToLeader::Input(input)) => {
                if input == Input::Wake {
                    self.publish_figures();
                }
                self.step(input, None);
            }
            Event::Told(ToLeader::Explain { framework, agent, answer }) => {
                let why = self.leader.explain(&framework, agent.as_ref(), self.clock.now());
                // Whoever asked may have left.
                drop(answer.send(why));
            }
            Event::Told(ToLeader::Open { stream, subscribed }) => self.open_stream(stream, subscribed),
            Event::Room => self.send_works(),
        }
    }

    fn publish_figures(&mut self) {
        if self.figures.elapsed() >= FIGURES_EVERY {
            self.figures = Instant::now();
            metrics::starving(self.leader.allocator_stats().starving);
        }
    }

    fn placed(&mut self, ticket: Ticket, placed: Result<Placed, PlaceError>) {
        self.placing = None;
        match placed {
            Ok(placed) => {
                self.open.push(async move { (ticket, placed.resolved().await) }.boxed());
            }
            Err(error @ PlaceError::TooLarge { .. }) => {
                tracing::error!(?ticket, %error, "the leader's own proposal fits into no log entry");
                crate::metrics::too_large();
                self.step(Input::Lost { ticket, why: Loss::TooLarge }, None);
            }
            Err(error) => {
                tracing::debug!(?ticket, %error, "the leader's own proposal found no place");
                self.step(Input::Lost { ticket, why: Loss::NoPlace }, None);
            }
        }
    }

    fn open_stream(&mut self, stream: Arc<crate::streams::Stream>, subscribed: Box<crate::events::Event>) {
        let (framework, epoch) = (stream.framework.clone(), stream.epoch);
        self.works.push_back(Work::Open { stream, subscribed });
        self.step(Input::StreamOpened { framework, epoch }, None);
    }

    fn step(&mut self, input: Input, index: Option<u64>) {
        let (newest, begun) = (self.outlets.newest(), Instant::now());
        let outputs = self.leader.step(&newest.state, self.clock.now(), input);
        self.watch_plan(begun);
        self.sort(outputs, index);
    }

    /// After a step that began at `begun`: tells how long the plan took that landed in it, and keeps the one it made.
    fn watch_plan(&mut self, begun: Instant) {
        let now = self.leader.plan_in_flight();
        if self.plan.map(|(plan, _)| plan) == now {
            return;
        }
        if let Some((plan, since)) = self.plan.take() {
            metrics::plan_landed(plan.offers, since.elapsed());
        }
        self.plan = now.map(|plan| (plan, begun));
    }

    /// Puts outputs where they wait to be carried out. `index`: the entry that they follow from.
    fn sort(&mut self, outputs: Vec<Output>, index: Option<u64>) {
        let mut effects = Vec::new();
        for output in outputs {
            match output {
                Output::Propose { ticket, command } => self.proposals.push_back((ticket, command)),
                Output::Perform(effect) => effects.push(effect),
                Output::Send { link, message } => self.works.push_back(Work::Send { link, message }),
                Output::CloseLink { link, reason } => self.works.push_back(Work::CloseLink { link, reason }),
            }
        }
        if !effects.is_empty() {
            self.works.push_back(Work::Perform { index, effects });
        }
        self.send_works();
    }

    fn send_works(&mut self) {
        while let Some(work) = self.works.pop_front() {
            match self.outbound.try_send(work) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(work) | mpsc::error::TrySendError::Closed(work)) => {
                    self.works.push_front(work);
                    return;
                }
            }
        }
    }

    fn place_next(&mut self) {
        if self.placing.is_some() {
            return;
        }
        let Some((ticket, command)) = self.proposals.pop_front() else {
            return;
        };
        let session = self.session.clone();
        self.placing = Some(async move { (ticket, session.place(&command).await) }.boxed());
    }

    fn wake(&self) -> Instant {
        let latest = Instant::now() + IDLE_WAKE;
        self.leader.next_wake().map_or(latest, |at| self.clock.instant_of(at).min(latest))
    }
}

async fn ready<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
