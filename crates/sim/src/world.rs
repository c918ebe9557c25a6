//! The loop: what is next happens next.

use std::collections::{BTreeMap, VecDeque};

use mesarch_leader_core::{Counters, Input, Loss};
use mesarch_state::{Command, command::DeclineOffers, command::Refuse};
use mesarch_types::Millis;

use crate::{
    comparison,
    event::Event,
    host::Host,
    invariants::{Violation, Watch, check_executors, check_liveness, check_replicas, check_resources},
    master::Master,
    rng::Rng,
    scheduler::Scheduler,
};

/// So many events at one moment mean that somebody spins.
const EVENTS_PER_MOMENT_MAX: u32 = 100_000;
/// Every so many events the planner's index is compared with the state.
const INDEX_CHECK_EVERY: u64 = 256;
/// Lines of the trace kept for a report.
const LINES_KEPT: usize = 60;

/// What to play.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How long things go wrong, in milliseconds of virtual time.
    pub chaos_ms: u64,
    /// How long they then go right.
    pub heal_ms: u64,
    /// Machines; at most 200.
    pub agents: usize,
    /// Schedulers.
    pub schedulers: usize,
    /// Whether operators drain, deactivate and reactivate agents meanwhile.
    pub operators: bool,
    /// Whether to keep every line of the trace.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            chaos_ms: 60_000,
            heal_ms: 240_000,
            agents: 4,
            schedulers: 3,
            operators: false,
            trace: false,
        }
    }
}

/// How agents that came back were recognised, over all leaders that died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// By digest alone.
    pub digest: u64,
    /// By inventory: the digests differed.
    pub differed: u64,
    /// By inventory: the agent asked for it.
    pub wanted: u64,
    /// By inventory: the agent had been given up.
    pub unknown: u64,
}

impl Returns {
    /// Adds another run's.
    pub fn add(&mut self, more: Self) {
        self.digest += more.digest;
        self.differed += more.differed;
        self.wanted += more.wanted;
        self.unknown += more.unknown;
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Report {
    /// Events that happened.
    pub events: u64,
    /// Entries of the log.
    pub entries: usize,
    /// Leaders.
    pub terms: u64,
    /// Tasks that were accepted.
    pub tasks: usize,
    /// Messages that came out of a torn link, when there may have been a newer one.
    pub late: u64,
    /// Launches under an id that an ended task had.
    pub reused: u64,
    /// Ends of operations that schedulers were told, repeated ones included.
    pub operations_ended: u64,
    /// Sum of every line of the trace: equal for equal runs.
    pub trace_hash: u64,
    /// How agents that came back were recognised.
    pub returns: Returns,
    /// The last lines of the trace, or all.
    pub lines: Vec<String>,
    /// What was wrong first, if anything was.
    pub violation: Option<Violation>,
}

/// Everything.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) now: Millis,
    pub(crate) rng: Rng,
    pub(crate) queue: BTreeMap<(Millis, u64), Event>,
    pub(crate) master: Master,
    pub(crate) hosts: Vec<Host>,
    pub(crate) schedulers: Vec<Scheduler>,
    pub(crate) watch: Watch,
    /// Nothing goes wrong any more.
    pub(crate) calm: bool,
    pub(crate) returns: Returns,
    pub(crate) late: u64,
    pub(crate) reused: u64,
    pub(crate) operations_ended: u64,
    serial: u64,
    events: u64,
    moment: u32,
    trace_hash: u64,
    lines: VecDeque<String>,
}

/// Plays one seed to its end or its first violation.
pub fn run(options: Options) -> Report {
    let mut world = World::new(options);
    world.open();
    world.play(Millis(options.chaos_ms));
    world.heal();
    world.play(Millis(options.chaos_ms + options.heal_ms / 2));
    for scheduler in &mut world.schedulers {
        // From here on offers are only counted, so that what runs comes to its end.
        scheduler.wants = 0;
        scheduler.offers_seen = 0;
    }
    world.play(Millis(options.chaos_ms + options.heal_ms));
    world.finish()
}

impl World {
    fn new(options: Options) -> Self {
        Self {
            options,
            now: Millis::ZERO,
            rng: Rng::new(options.seed),
            queue: BTreeMap::new(),
            master: Master::default(),
            hosts: (0..options.agents).map(|_| Host::default()).collect(),
            schedulers: (0..options.schedulers).map(|_| Scheduler::wanting(4)).collect(),
            watch: Watch::default(),
            calm: false,
            returns: Returns::default(),
            late: 0,
            reused: 0,
            operations_ended: 0,
            serial: 0,
            events: 0,
            moment: 0,
            trace_hash: 0xcbf2_9ce4_8422_2325,
            lines: VecDeque::new(),
        }
    }

    fn open(&mut self) {
        self.soon(1, 10, Event::Election);
        for agent in 0..self.hosts.len() {
            self.soon(10, 500, Event::Start { agent });
        }
        for scheduler in 0..self.schedulers.len() {
            self.soon(10, 500, Event::Subscribe { scheduler });
        }
        self.soon(100, 3000, Event::Fault);
        if self.options.operators {
            self.soon(500, 4000, Event::Operate);
        }
    }

    /// A number never given before.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(crate) fn at(&mut self, at: Millis, event: Event) {
        let serial = self.fresh();
        self.queue.insert((at, serial), event);
    }

    /// In `low` to below `high` milliseconds.
    pub(crate) fn soon(&mut self, low: u64, high: u64, event: Event) {
        let delay = self.rng.between(low, high);
        self.at(Millis(self.now.0 + delay), event);
    }

    fn play(&mut self, end: Millis) {
        while self.watch.violation.is_none() {
            let leader = self.master.leader.as_ref().and_then(|leader| leader.next_wake());
            let agents = self
                .hosts
                .iter()
                .enumerate()
                .filter_map(|(agent, host)| host.core.as_ref()?.next_wake().map(|wake| (wake, agent)));
            let agent = agents.min();
            let event = self.queue.first_key_value().map(|((at, _), _)| *at);
            let wakes = [event, leader, agent.map(|(wake, _)| wake)];
            let Some(next) = wakes.into_iter().flatten().min().map(|next| next.max(self.now)) else {
                return;
            };
            if next > end {
                break;
            }
            self.count(next);
            self.now = next;
            if event.is_some_and(|at| at <= next) {
                self.next_event();
            } else if leader.is_some_and(|wake| wake <= next) {
                self.mind(Input::Wake);
            } else if let Some((_, agent)) = agent {
                self.agent_step(agent, mesarch_agent_core::Input::Timer);
            }
        }
        self.now = self.now.max(end);
    }

    fn count(&mut self, next: Millis) {
        self.events += 1;
        self.moment = if next > self.now { 0 } else { self.moment + 1 };
        if self.moment > EVENTS_PER_MOMENT_MAX {
            self.watch.note(Err(Violation::new("nobody spins", format!("at {} ms", next.0))));
        }
        if self.events.is_multiple_of(INDEX_CHECK_EVERY) {
            self.check_index();
        }
    }

    fn next_event(&mut self) {
        let Some((_, event)) = self.queue.pop_first() else {
            return;
        };
        self.note_line(&event);
        match event {
            Event::Commit { term, proposer, command } => self.committed(term, proposer, command),
            Event::NoPlace { term, ticket } => {
                if term == self.master.term {
                    self.mind(Input::Lost { ticket, why: Loss::NoPlace });
                }
            }
            Event::Drain { term } => self.drain(term),
            Event::Election => {
                self.elect();
                self.watch.term_began(&self.master.state);
            }
            Event::Up { conn, message } => self.arrived(conn, message),
            Event::Down { conn, fence, message } => self.came_down(conn, fence, *message),
            Event::Broken { agent, conn } => self.broken(agent, conn),
            Event::LateUp { conn, message } => self.arrived_late(conn, message),
            Event::LateDown { conn, fence, message } => self.came_down_late(conn, fence, *message),
            Event::Ping { conn, number } => self.pinged(conn, number),
            Event::Pong { conn, number } => self.ponged(conn, number),
            Event::LeaderEndGone { conn } => self.leader_end_gone(conn),
            Event::AgentEndGone { agent, conn } => self.agent_end_gone(agent, conn),
            Event::Connect { agent } => self.connect(agent),
            Event::Start { agent } => self.start_agent(agent),
            Event::Executor { agent, run, act } => self.executor_acts(agent, &run, act),
            Event::Subscribe { scheduler } => self.subscribe(scheduler),
            Event::Call { scheduler, call } => self.called(scheduler, call),
            Event::Tell { scheduler, epoch, news } => self.told(scheduler, epoch, news),
            Event::Written { framework, epoch, position } => {
                self.written(Input::Delivered { framework, epoch, up_to: position });
            }
            Event::StreamGone { framework, epoch } => self.stream_gone(framework, epoch),
            Event::Fault => self.fault(),
            Event::Operate => self.operate(),
        }
    }

    fn note_line(&mut self, event: &Event) {
        let line = format!("{} {event:?}", self.now.0);
        for byte in line.bytes() {
            self.trace_hash = (self.trace_hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines.push_back(line);
        if !self.options.trace && self.lines.len() > LINES_KEPT {
            self.lines.pop_front();
        }
    }

    fn check_index(&mut self) {
        let Some(leader) = self.master.leader.as_ref().filter(|_| self.master.is_told()) else {
            return;
        };
        let agrees = leader.check_index(&self.master.state);
        let describe = |error| Violation::new("the planner's index is the state's", format!("{error}"));
        self.watch.note(agrees.map_err(describe));
    }

    /// What a leader did is counted when it dies.
    pub(crate) fn add_counters(&mut self, counters: &Counters) {
        self.returns.add(Returns {
            digest: counters.attached_digest,
            differed: counters.attached_differed,
            wanted: counters.attached_wanted,
            unknown: counters.attached_unknown,
        });
    }

    /// Faults end. A last leader dies, so that everybody comes back and tells all again.
    fn heal(&mut self) {
        self.calm = true;
        self.leader_dies();
        for host in &mut self.hosts {
            host.dies_next = false;
            host.away_until = Millis::ZERO;
        }
        self.soon(3500, 3501, Event::Election);
        for number in 0..self.schedulers.len() {
            let refuse = Refuse { duration: Millis::ZERO };
            let offers: Vec<_> = self.schedulers[number].held_offers();
            if let Some(framework) = self.schedulers[number].id.clone() {
                let decline = DeclineOffers { framework, offers, refuse };
                self.insist(number, Command::DeclineOffers(decline));
            }
            self.revive(number);
        }
    }

    /// What the replicas of this log would say of each other: when all are sound, and when one is not.
    fn compare(&self) -> Result<(), Violation> {
        let plays =
            [false, true].map(|damaged| comparison::play(&self.master.log, self.options.seed, damaged));
        plays.into_iter().collect()
    }

    fn finish(mut self) -> Report {
        if self.watch.violation.is_none() {
            let replicas = check_replicas(&self.master.state, &self.master.log).and_then(|()| self.compare());
            let live = check_liveness(&self)
                .and_then(|()| check_executors(&self))
                .and_then(|()| check_resources(&self));
            let known = self.watch.accepted.check(&self.master.state);
            self.check_index();
            self.watch.note(replicas.and(known).and(live));
        }
        Report {
            events: self.events,
            entries: self.master.log.len(),
            terms: self.master.term,
            tasks: self.watch.accepted.count(),
            late: self.late,
            reused: self.reused,
            operations_ended: self.operations_ended,
            trace_hash: self.trace_hash,
            returns: self.returns,
            lines: self.lines.into(),
            violation: self.watch.violation,
        }
    }
}
