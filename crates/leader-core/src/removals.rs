//! Giving agents up: who is due, at which rate, and when it is safer to wait.

use std::collections::{BTreeMap, BTreeSet};

use mesarch_state::{
    Command,
    command::{Link, MarkUnreachable},
    model::{Agent, Attachment},
};
use mesarch_types::{AgentId, Epoch, Millis};

use crate::{config::Config, rate::Rate, timers::Timer, turn::Turn};

/// With at most so many agents away nobody suspects a fault of the masters' own, whatever share they are.
pub const REMOVAL_GUARD_FLOOR: usize = 10;
/// Most agents that one command gives up.
const PER_COMMAND_MAX: usize = 100;
/// So many pings in a row without an answer make an agent count as away for the guard.
const SILENT_PINGS: u64 = 2;
/// How often a guarded removal is looked at again.
const LOOK_AGAIN: Millis = Millis(1000);

/// Agents that are away, and those among them that are due.
#[derive(Debug)]
pub(crate) struct Removals {
    /// Detached agents, with the epoch of the detachment that a timer watches.
    detached: BTreeMap<AgentId, Epoch>,
    /// Attached agents that do not answer pings.
    silent: BTreeSet<AgentId>,
    /// To be given up, with the link that failed.
    due: BTreeMap<AgentId, Link>,
    rate: Rate,
    /// Whether a timer is set for the next look at `due`.
    armed: bool,
}

impl Removals {
    pub(crate) fn new(config: &Config, now: Millis) -> Self {
        let rate = Rate::new(config.agent_removals_per_second_max, now);
        Self { detached: BTreeMap::new(), silent: BTreeSet::new(), due: BTreeMap::new(), rate, armed: false }
    }

    /// Follows an agent's attachment.
    pub(crate) fn agent_changed(&mut self, turn: &mut Turn<'_>, agent: &Agent) {
        match agent.attachment {
            Attachment::Detached { since, at } => {
                // It is away once, not twice.
                self.silent.remove(&agent.id);
                if self.detached.insert(agent.id.clone(), since) != Some(since) {
                    let from = at.max(turn.state.term_began());
                    let until = from.saturating_add(turn.config.agent_reregister_timeout);
                    turn.timers.at(until, Timer::Reregister(agent.id.clone(), since));
                }
            }
            Attachment::Attached { .. } | Attachment::Expected => self.forget(&agent.id),
        }
    }

    /// Nothing is to be done about this agent any more.
    pub(crate) fn forget(&mut self, agent: &AgentId) {
        self.detached.remove(agent);
        self.alive(agent);
    }

    /// An agent answered a ping.
    pub(crate) fn alive(&mut self, agent: &AgentId) {
        self.silent.remove(agent);
        if !self.detached.contains_key(agent) {
            self.due.remove(agent);
        }
    }

    /// An attached agent left `missed` pings in a row without an answer.
    pub(crate) fn silent(&mut self, turn: &Turn<'_>, agent: &AgentId, link: Link, missed: u64) {
        if missed >= SILENT_PINGS {
            self.silent.insert(agent.clone());
        }
        if missed >= u64::from(turn.config.max_ping_timeouts) {
            self.due.insert(agent.clone(), link);
        }
    }

    /// An agent should be back by now.
    pub(crate) fn reregister_due(&mut self, turn: &Turn<'_>, id: &AgentId, since: Epoch) {
        let Some(agent) = turn.state.agent(id) else { return };
        if matches!(agent.attachment, Attachment::Detached { since: now_since, .. } if now_since == since) {
            self.due.insert(id.clone(), agent.link);
        }
    }

    /// The timer went off; [`Self::run`] looks again.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }

    /// Gives up as many as the guard and the rate allow.
    pub(crate) fn run(&mut self, turn: &mut Turn<'_>) {
        if self.due.is_empty() {
            turn.counters.removals_held = 0;
            return;
        }
        let next = if self.is_guarded(turn) { turn.after(LOOK_AGAIN) } else { self.give_up(turn) };
        turn.counters.removals_held = self.due.len() as u64;
        if !self.due.is_empty() && !self.armed {
            self.armed = true;
            turn.timers.at(next, Timer::Removals);
        }
    }

    fn is_guarded(&self, turn: &Turn<'_>) -> bool {
        let away = self.detached.len() + self.silent.len();
        let percent = turn.config.removal_guard_percent as usize;
        percent < 100 && away > REMOVAL_GUARD_FLOOR && away * 100 > percent * turn.state.counts().agents
    }

    /// Returns when the rate allows the next one.
    fn give_up(&mut self, turn: &mut Turn<'_>) -> Millis {
        let mut agents = Vec::new();
        let allowed = self.rate.available(turn.now);
        while agents.len() < allowed {
            let Some((agent, link)) = self.due.pop_first() else {
                break;
            };
            if turn.state.agent(&agent).is_some_and(|known| known.link == link) {
                agents.push((agent, link));
            }
        }
        self.rate.spend(agents.len());
        turn.counters.removed += agents.len() as u64;
        for piece in agents.chunks(PER_COMMAND_MAX) {
            turn.surely(Command::MarkUnreachable(MarkUnreachable { agents: piece.to_vec() }));
        }
        self.rate.ready_at().max(turn.after(Millis(1)))
    }
}
