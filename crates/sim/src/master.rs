//! The masters: one replicated log, the state that it leads to, and whoever leads.
//!
//! A leader that dies takes what it knew with it. Of what it had proposed, a random first part is in the log; nobody is
//! told. Entries reach the leader's mind late at times, so that the published state is ahead of them.

use std::collections::{BTreeMap, VecDeque};

use mesarch_agent_core::ToMaster;
use mesarch_leader_core::{Config, Input, Leader, Loss, Output, Ticket, ToAgent};
use mesarch_state::{
    Applied, Command, Effect, FEATURE_LEVEL_MAX, Outcome, State,
    command::{BeginTerm, Link},
    model::OutboxItem,
    outcome::Refusal,
    snapshot,
};
use mesarch_types::{At, ClusterId, Epoch, Fence, FrameworkId, Millis, WallMillis};

use crate::{
    convert,
    event::{ConnId, Event, News, Proposer},
    invariants::{Violation, launched},
    world::World,
};

const CLUSTER: ClusterId = ClusterId([0xc1; 16]);

/// All masters together.
#[derive(Default)]
pub(crate) struct Master {
    pub(crate) state: State,
    pub(crate) log: Vec<(At, Command)>,
    /// Index of the last entry.
    index: u64,
    pub(crate) term: u64,
    pub(crate) leader: Option<Leader>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    /// Connections through which nothing new comes, as long as something may be left in them.
    pub(crate) torn: BTreeMap<ConnId, Torn>,
    pub(crate) streams: BTreeMap<FrameworkId, Stream>,
    /// Applied, and not yet told to the leader's mind.
    held: VecDeque<Input>,
    last_commit: Millis,
}

/// What is left in a connection that was cut: all of it, or what comes first, may still arrive, in order and late.
pub(crate) struct Torn {
    agent: usize,
    late_by: Millis,
    /// What comes from here on is lost.
    ended: bool,
}

/// A connection of an agent, as long as the leader's end is open.
pub(crate) struct Conn {
    pub(crate) agent: usize,
    /// Nothing comes through any more.
    pub(crate) cut: bool,
    up_at: Millis,
    down_at: Millis,
}

/// A scheduler's stream, as long as the leader's end is open.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) scheduler: usize,
    pub(crate) epoch: Epoch,
    /// Nothing comes through any more.
    pub(crate) cut: bool,
    at: Millis,
}

impl Master {
    /// Whether the leader's mind has been told of all that is applied.
    pub(crate) fn is_told(&self) -> bool {
        self.held.is_empty()
    }
}

impl World {
    fn link(&self, conn: ConnId) -> Link {
        Link { term: self.master.term, serial: conn }
    }

    // The log.

    /// A proposal gets its place behind those before it.
    pub(crate) fn propose(&mut self, proposer: Proposer, command: Command) {
        let delay = self.rng.between(1, 15);
        let at = self.master.last_commit.max(Millis(self.now.0 + delay));
        self.master.last_commit = at;
        let term = self.master.term;
        self.at(at, Event::Commit { term, proposer, command });
    }

    pub(crate) fn committed(&mut self, term: u64, proposer: Proposer, command: Command) {
        if term != self.master.term || self.master.leader.is_none() {
            return;
        }
        if let Proposer::Mind(ticket) = proposer
            && !self.calm
            && self.rng.chance(2)
        {
            // It had its place, and lost it: what was placed later came first.
            return self.mind(Input::Lost { ticket, why: Loss::NoPlace });
        }
        let (proposers, commands): (Vec<_>, Vec<_>) = self.entry(term, proposer, command).into_iter().unzip();
        let (outcomes, applied) = self.apply(commands);
        let index = self.master.index;
        let mut answers = Vec::new();
        for (proposer, outcome) in proposers.into_iter().zip(outcomes) {
            match proposer {
                Proposer::Subscriber(scheduler) => self.subscribed(scheduler, &outcome),
                Proposer::Mind(ticket) => answers.push(Input::Answered { ticket, outcome, index }),
                Proposer::Caller => {}
            }
        }
        self.master.held.push_back(applied);
        self.master.held.extend(answers);
        match self.rng.chance(75) {
            true => self.drain(term),
            false => self.soon(1, 25, Event::Drain { term }),
        }
    }

    pub(crate) fn drain(&mut self, term: u64) {
        while term == self.master.term {
            let Some(input) = self.master.held.pop_front() else {
                return;
            };
            self.mind(input);
        }
    }

    /// What is packed into one entry: a proposal and, at times, those that are next.
    fn entry(&mut self, term: u64, proposer: Proposer, command: Command) -> Vec<(Proposer, Command)> {
        let mut packed = vec![(proposer, command)];
        while self.rng.chance(30) {
            let next = self.queue.first_key_value().filter(|(_, event)| is_proposal(event, term));
            let Some((key, _)) = next else { break };
            let key = *key;
            if let Some(Event::Commit { proposer, command, .. }) = self.queue.remove(&key) {
                packed.push((proposer, command));
            }
        }
        packed
    }

    fn apply(&mut self, commands: Vec<Command>) -> (Vec<Outcome>, Input) {
        self.master.index += 1;
        let index = self.master.index;
        let (mut outcomes, mut changes, mut effects) = (Vec::new(), Vec::new(), Vec::new());
        for (position, command) in (0..).zip(commands) {
            let (term, wall) = (self.master.term, WallMillis(self.now.0));
            let applied = self.apply_one(At { index, position, term, now: self.now, wall }, command);
            outcomes.push(applied.outcome);
            changes.extend(applied.changes);
            effects.extend(applied.effects);
        }
        (outcomes, Input::Applied { index, changes, effects })
    }

    fn apply_one(&mut self, at: At, command: Command) -> Applied {
        self.master.log.push((at, command.clone()));
        let applied = self.master.state.apply(at, command.clone());
        self.watch.applied(&self.master.state, &command, &applied);
        for (framework, task) in launched(&command, &applied.outcome) {
            let owner =
                |scheduler: &&mut crate::scheduler::Scheduler| scheduler.id.as_ref() == Some(framework);
            self.schedulers.iter_mut().filter(owner).for_each(|scheduler| scheduler.begin(framework, task));
        }
        applied
    }

    /// The next leader's process began from a snapshot.
    fn restore(&mut self) {
        let mut bytes = Vec::new();
        let restored = snapshot::encode(&self.master.state, &mut bytes).map_err(|error| error.to_string());
        let restored = restored
            .and_then(|()| snapshot::decode(&mut bytes.as_slice()).map_err(|error| error.to_string()));
        match restored {
            Ok(state) => self.master.state = state,
            Err(error) => self.watch.note(Err(Violation::new("snapshots can be restored", error))),
        }
    }

    // Leadership.

    pub(crate) fn elect(&mut self) {
        if self.master.leader.is_some() {
            return;
        }
        if self.rng.chance(30) {
            self.restore();
        }
        self.master.term += 1;
        let begin = BeginTerm { cluster: CLUSTER, incarnation: 1, level: FEATURE_LEVEL_MAX, policy: None };
        self.apply(vec![Command::BeginTerm(begin)]);
        let index = self.master.index;
        let (leader, outputs) = Leader::begin(self.config(), &self.master.state, index, self.now);
        self.master.leader = Some(leader);
        self.carry_out(outputs);
    }

    /// Odd seeds are impatient with agents, so that many are given up and come back.
    fn config(&self) -> Config {
        let impatient = !self.options.seed.is_multiple_of(2);
        let agent_reregister_timeout = if impatient { Millis(8_000) } else { Millis::from_secs(600) };
        Config { agent_reregister_timeout, removal_guard_percent: 100, ..Config::default() }
    }

    pub(crate) fn leader_dies(&mut self) {
        let Some(leader) = self.master.leader.take() else {
            return;
        };
        self.add_counters(leader.counters());
        let proposed = self.take_proposals();
        let kept = self.rng.index(proposed.len() + 1);
        for command in proposed.into_iter().take(kept) {
            self.apply(vec![command]);
        }
        self.master.held.clear();
        for (conn, end) in std::mem::take(&mut self.master.conns) {
            self.tear(conn, end.agent);
            self.soon(1, 500, Event::AgentEndGone { agent: end.agent, conn });
        }
        for (_, stream) in std::mem::take(&mut self.master.streams) {
            self.end_stream(&stream);
        }
        self.soon(10, 3000, Event::Election);
    }

    fn take_proposals(&mut self) -> Vec<Command> {
        let term = self.master.term;
        let is_ours = |event: &Event| matches!(event, Event::Commit { term: of, .. } if *of == term);
        let keys: Vec<_> =
            self.queue.iter().filter(|(_, event)| is_ours(event)).map(|(key, _)| *key).collect();
        let events = keys.into_iter().filter_map(|key| self.queue.remove(&key));
        let command = |event| match event {
            Event::Commit { command, .. } => Some(command),
            _ => None,
        };
        events.filter_map(command).collect()
    }

    // The leader's mind.

    pub(crate) fn mind(&mut self, input: Input) {
        let Some(leader) = &mut self.master.leader else {
            return;
        };
        let outputs = leader.step(&self.master.state, self.now, input);
        self.carry_out(outputs);
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Propose { ticket, command } => self.proposed(ticket, command),
                Output::Send { link, message } => self.send(link, message),
                Output::CloseLink { link, .. } => self.close(link.serial),
                Output::Perform(effect) => self.perform(effect),
            }
        }
    }

    fn proposed(&mut self, ticket: Ticket, command: Command) {
        if !self.calm && self.rng.chance(3) {
            let term = self.master.term;
            return self.soon(1, 5, Event::NoPlace { term, ticket });
        }
        self.propose(Proposer::Mind(ticket), command);
    }

    fn send(&mut self, link: Link, message: ToAgent) {
        let delay = self.rng.between(1, 30);
        let Some(conn) = self.master.conns.get_mut(&link.serial).filter(|conn| !conn.cut) else {
            return;
        };
        conn.down_at = conn.down_at.max(Millis(self.now.0 + delay));
        let at = conn.down_at;
        let conn = link.serial;
        if let ToAgent::Ping { number } = message {
            return self.at(at, Event::Ping { conn, number });
        }
        let Some(fence) = self.master.state.fence() else {
            return;
        };
        if let Some(message) = convert::message(&self.master.state, message) {
            self.at(at, Event::Down { conn, fence, message: Box::new(message) });
        }
    }

    fn close(&mut self, conn: ConnId) {
        if let Some(end) = self.master.conns.remove(&conn) {
            self.tear(conn, end.agent);
            self.soon(1, 50, Event::AgentEndGone { agent: end.agent, conn });
        }
    }

    /// What is sent from now on arrives only after `stalled`.
    pub(crate) fn stall(&mut self, conn: ConnId, stalled: Millis) {
        let until = self.now.saturating_add(stalled);
        if let Some(end) = self.master.conns.get_mut(&conn) {
            end.up_at = end.up_at.max(until);
            end.down_at = end.down_at.max(until);
        }
    }

    /// Nothing new goes into a connection. What is in it is lost, or arrives when there may be a newer one: it was in
    /// the buffers of a slow reader. Only so can a message come late or twice, for within a connection there is order.
    pub(crate) fn tear(&mut self, conn: ConnId, agent: usize) {
        if !self.calm && !self.master.torn.contains_key(&conn) && self.rng.chance(80) {
            let late_by = Millis(self.rng.between(1, 20_000));
            self.master.torn.insert(conn, Torn { agent, late_by, ended: false });
        }
    }

    /// When the next thing that is left in a torn connection comes out of it; the last ones may never do.
    fn late(&mut self, conn: ConnId) -> Option<Millis> {
        let ends = self.rng.chance(10);
        let torn = self.master.torn.get_mut(&conn)?;
        torn.ended |= ends;
        (!torn.ended).then(|| self.now.saturating_add(torn.late_by))
    }

    pub(crate) fn came_down_late(
        &mut self,
        conn: ConnId,
        fence: Fence,
        message: mesarch_agent_core::MasterMessage,
    ) {
        if let Some(agent) = self.master.torn.get(&conn).map(|torn| torn.agent) {
            self.late += 1;
            self.agent_step(agent, mesarch_agent_core::Input::Master { link: conn, fence, message });
        }
    }

    /// A leader reads what is left in a connection until it has noticed that there will be no more.
    pub(crate) fn arrived_late(&mut self, conn: ConnId, message: ToMaster) {
        if self.master.conns.contains_key(&conn) && self.master.torn.contains_key(&conn) {
            self.late += 1;
            self.take_up(conn, message);
        }
    }

    // Agents.

    /// A connection to the leader, if there is one.
    pub(crate) fn connect_agent(&mut self, agent: usize) -> Option<ConnId> {
        self.master.leader.as_ref()?;
        let conn = self.fresh();
        let (up_at, down_at) = (self.now, self.now);
        self.master.conns.insert(conn, Conn { agent, cut: false, up_at, down_at });
        Some(conn)
    }

    pub(crate) fn send_up(&mut self, conn: ConnId, message: ToMaster) {
        let delay = self.rng.between(1, 30);
        let Some(end) = self.master.conns.get_mut(&conn).filter(|end| !end.cut) else {
            return;
        };
        end.up_at = end.up_at.max(Millis(self.now.0 + delay));
        let at = end.up_at;
        self.at(at, Event::Up { conn, message });
    }

    pub(crate) fn is_through(&self, conn: ConnId) -> bool {
        self.master.conns.get(&conn).is_some_and(|end| !end.cut)
    }

    pub(crate) fn arrived(&mut self, conn: ConnId, message: ToMaster) {
        if self.is_through(conn) {
            return self.take_up(conn, message);
        }
        if let Some(at) = self.late(conn) {
            self.at(at, Event::LateUp { conn, message });
        }
    }

    /// A message comes out of the leader's end of a connection.
    fn take_up(&mut self, conn: ConnId, message: ToMaster) {
        let Some(agent) = self.master.conns.get(&conn).map(|end| end.agent) else {
            return;
        };
        let link = self.link(conn);
        let input = match message {
            ToMaster::Hello(hello) => Input::LinkOpened { link, hello: convert::hello(agent, *hello) },
            ToMaster::Inventory(inventory) => {
                Input::LinkInventory { link, inventory: convert::inventory(inventory) }
            }
            other => match convert::report(other) {
                Some(message) => Input::FromAgent { link, message },
                None => return,
            },
        };
        self.mind(input);
    }

    /// A message for an agent is at the end of its connection.
    pub(crate) fn came_down(
        &mut self,
        conn: ConnId,
        fence: Fence,
        message: mesarch_agent_core::MasterMessage,
    ) {
        let through = self.master.conns.get(&conn).filter(|end| !end.cut).map(|end| end.agent);
        match through {
            Some(agent) if self.hosts[agent].conn == Some(conn) => {
                self.agent_step(agent, mesarch_agent_core::Input::Master { link: conn, fence, message });
            }
            Some(_) => {}
            None => {
                if let Some(at) = self.late(conn) {
                    self.at(at, Event::LateDown { conn, fence, message: Box::new(message) });
                }
            }
        }
    }

    pub(crate) fn ponged(&mut self, conn: ConnId, number: u64) {
        if self.is_through(conn) {
            let link = self.link(conn);
            self.mind(Input::Pong { link, number });
        }
    }

    pub(crate) fn leader_end_gone(&mut self, conn: ConnId) {
        if self.master.conns.remove(&conn).is_some() {
            let link = self.link(conn);
            self.mind(Input::LinkClosed { link });
        }
    }

    // Schedulers.

    /// The stream is in place before the mind hears of the subscription: effects for it come with that entry.
    fn subscribed(&mut self, scheduler: usize, outcome: &Outcome) {
        match outcome {
            Outcome::Subscribed { framework, stream, resumed } => {
                let (epoch, at) = (*stream, self.now);
                let stream = Stream { scheduler, epoch, cut: false, at };
                if let Some(old) = self.master.streams.insert(framework.clone(), stream) {
                    self.end_stream(&old);
                }
                let known = self.master.state.framework(framework).and_then(|known| known.stream());
                let Some((stream, _)) = known else { return };
                let (framework, stream, resumed) = (framework.clone(), stream.clone(), *resumed);
                self.tell(
                    &framework.clone(),
                    News::Subscribed { framework: framework.clone(), stream, resumed },
                );
                self.master.held.push_back(Input::StreamOpened { framework, epoch });
            }
            Outcome::Refused(Refusal::FrameworkRemoved) => {
                let epoch = Epoch::default();
                self.soon(1, 20, Event::Tell { scheduler, epoch, news: News::Removed });
            }
            _ => {}
        }
    }

    fn tell(&mut self, framework: &FrameworkId, news: News) -> Option<Millis> {
        let delay = self.rng.between(1, 30);
        let stream = self.master.streams.get_mut(framework).filter(|stream| !stream.cut)?;
        stream.at = stream.at.max(Millis(self.now.0 + delay));
        let (at, scheduler, epoch) = (stream.at, stream.scheduler, stream.epoch);
        self.at(at, Event::Tell { scheduler, epoch, news });
        Some(at)
    }

    /// The scheduler notices the end of its stream, after all that was on its way.
    pub(crate) fn end_stream(&mut self, stream: &Stream) {
        let delay = self.rng.between(1, 500);
        let at = stream.at.max(Millis(self.now.0 + delay));
        let (scheduler, epoch) = (stream.scheduler, stream.epoch);
        self.at(at, Event::Tell { scheduler, epoch, news: News::Closed });
    }

    fn perform(&mut self, effect: Effect) {
        let state = &self.master.state;
        match effect {
            Effect::SendOffer { framework, offer } if state.offer(&offer).is_some() => {
                self.tell(&framework, News::Offer(offer));
            }
            Effect::SendUpdate { framework, task, uuid } => {
                let Some(known) = state.task(&framework, &task) else {
                    return;
                };
                let Some(pending) = known.pending().filter(|pending| pending.uuid == Some(uuid)) else {
                    return;
                };
                let (state, agent) = (pending.state, known.agent.clone());
                self.tell(&framework, News::Update { task, uuid, state, agent });
            }
            Effect::SendOperation { framework, operation, uuid } => {
                let known = state.operation(&framework, &operation);
                if known.is_some_and(|known| known.finished && known.uuid == uuid) {
                    self.tell(&framework, News::Operation { operation, uuid });
                }
            }
            Effect::SendOutbox { framework, position } => {
                let known =
                    state.framework(&framework).and_then(|known| known.outbox.get(&position).cloned());
                let news = match known.as_deref() {
                    Some(OutboxItem::Update(news)) => {
                        News::Status { task: news.task.clone(), state: news.state }
                    }
                    Some(OutboxItem::Rescind(offer)) => News::Rescind(offer.clone()),
                    // They ask nothing of a scheduler.
                    Some(
                        OutboxItem::Failure { .. } | OutboxItem::RescindInverse(_) | OutboxItem::Operation(_),
                    ) => News::Failure,
                    None => return,
                };
                let epoch = self.master.streams.get(&framework).map(|stream| stream.epoch);
                if let (Some(at), Some(epoch)) = (self.tell(&framework, news), epoch) {
                    self.at(Millis(at.0 + 1), Event::Written { framework, epoch, position });
                }
            }
            Effect::CloseStream { framework, epoch, .. } => {
                let is_it = self.master.streams.get(&framework).is_some_and(|stream| stream.epoch == epoch);
                if is_it && let Some(stream) = self.master.streams.remove(&framework) {
                    self.end_stream(&stream);
                }
            }
            _ => {}
        }
    }

    /// Counts as written only if it arrived: what a broken stream swallowed is for reconciliation, which is not played.
    pub(crate) fn written(&mut self, input: Input) {
        let Input::Delivered { framework, epoch, .. } = &input else {
            return;
        };
        let stream = self.master.streams.get(framework);
        if stream.is_some_and(|stream| stream.epoch == *epoch && !stream.cut) {
            self.mind(input);
        }
    }

    pub(crate) fn stream_gone(&mut self, framework: FrameworkId, epoch: Epoch) {
        if self.master.streams.get(&framework).is_some_and(|stream| stream.epoch == epoch) {
            self.master.streams.remove(&framework);
            self.mind(Input::StreamClosed { framework, epoch });
        }
    }
}

fn is_proposal(event: &Event, term: u64) -> bool {
    matches!(event, Event::Commit { term: of, .. } if *of == term)
}
