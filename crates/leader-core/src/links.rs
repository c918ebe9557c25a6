//! Agents' links: who is behind each, whether it is attached, and whether it still answers.
//!
//! The state decides which link of an agent counts; here is only what the state cannot know. A link is *attached* once
//! the state names it as its agent's, and from then on carries messages both ways.

use std::collections::BTreeMap;

use mesarch_state::{
    Command, Outcome, State,
    command::{AgentSpec, AttachAgent, Inventory, Link, RegisterAgent},
    model::{Agent, Attachment},
    outcome::Refusal,
};
use mesarch_types::{AgentId, Millis, ResourceVersion};

use crate::{
    attach::{Verdict, judge},
    desk::Purpose,
    message::{Attach, CloseReason, Hello, How, ToAgent},
    removals::Removals,
    timers::Timer,
    turn::Turn,
};

/// An agent whose link broke again and again is looked at again no sooner than this.
const LOOK_AGAIN: Millis = Millis(100);

/// One open link.
#[derive(Debug)]
struct Session {
    /// Unknown while a new agent waits for its id.
    agent: Option<AgentId>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The agent was asked for its inventory.
    Awaiting { spec: AgentSpec, stored: ResourceVersion, how: How },
    /// Its registration or attachment is proposed.
    Asking { how: How, spec: AgentSpec, stored: ResourceVersion },
    /// Messages flow.
    Attached {
        /// Number of the last ping.
        sent: u64,
        /// Highest number that was sent when an answer came.
        answered: u64,
    },
}

/// All open links, at most one per agent.
#[derive(Debug, Default)]
pub(crate) struct Links {
    sessions: BTreeMap<Link, Session>,
    by_agent: BTreeMap<AgentId, Link>,
    /// Since when agents of the table are without an attached link; those expected since the term began are not here.
    away: BTreeMap<AgentId, Millis>,
}

impl Links {
    /// Whether the link is open.
    pub(crate) fn is_open(&self, link: Link) -> bool {
        self.sessions.contains_key(&link)
    }

    /// The agent behind an attached link.
    pub(crate) fn agent_of(&self, link: Link) -> Option<&AgentId> {
        let session = self.sessions.get(&link)?;
        session.agent.as_ref().filter(|_| session.is_attached())
    }

    /// The attached link of an agent.
    pub(crate) fn attached(&self, agent: &AgentId) -> Option<Link> {
        let link = *self.by_agent.get(agent)?;
        self.sessions.get(&link).is_some_and(Session::is_attached).then_some(link)
    }

    /// An agent says who it is.
    pub(crate) fn opened(&mut self, turn: &mut Turn<'_>, link: Link, hello: Hello) {
        match hello {
            Hello::Register { nonce, spec } => {
                let stored = ResourceVersion::default();
                let phase = Phase::Asking { how: How::Registered, spec: spec.clone(), stored };
                self.sessions.insert(link, Session { agent: None, phase });
                let command = RegisterAgent { nonce, spec, link };
                turn.desk.propose(Purpose::Attach(link), Command::RegisterAgent(command));
            }
            Hello::Attach(hello) => self.returned(turn, link, hello),
        }
    }

    fn returned(&mut self, turn: &mut Turn<'_>, link: Link, hello: Attach) {
        let verdict = match judge(turn.state, &hello) {
            Ok(verdict) => verdict,
            Err(reason) => return turn.dismiss(link, reason),
        };
        match self.by_agent.get(&hello.agent).copied() {
            Some(newer) if newer > link => return turn.desk.close(link, CloseReason::Replaced),
            Some(older) => self.close(turn, older, CloseReason::Replaced),
            None => {}
        }
        match verdict {
            Verdict::Agreed { spec } => {
                let Attach { agent, stored, spec: full, .. } = hello;
                self.ask(link, agent.clone(), Phase::Asking { how: How::Digest, spec: full, stored });
                let command = AttachAgent { agent, link, spec, inventory: None, stored };
                turn.desk.propose(Purpose::Attach(link), Command::AttachAgent(command));
            }
            Verdict::InventoryNeeded(how) => {
                let phase = Phase::Awaiting { spec: hello.spec, stored: hello.stored, how };
                self.ask_inventory(turn, link, hello.agent, phase);
            }
        }
    }

    fn ask(&mut self, link: Link, agent: AgentId, phase: Phase) {
        self.by_agent.insert(agent.clone(), link);
        self.sessions.insert(link, Session { agent: Some(agent), phase });
    }

    fn ask_inventory(&mut self, turn: &mut Turn<'_>, link: Link, agent: AgentId, phase: Phase) {
        self.ask(link, agent, phase);
        turn.desk.send(link, ToAgent::InventoryRequest);
        turn.timers.at(turn.after(turn.config.inventory_timeout), Timer::Inventory(link));
    }

    /// The inventory that was asked for; one that was not is ignored.
    pub(crate) fn inventory(&mut self, turn: &mut Turn<'_>, link: Link, inventory: Inventory) {
        let Some(session) = self.sessions.get(&link) else {
            return;
        };
        let (Some(agent), Phase::Awaiting { spec, stored, how }) = (&session.agent, &session.phase) else {
            return;
        };
        let (agent, spec, stored, how) = (agent.clone(), spec.clone(), *stored, *how);
        self.ask(link, agent.clone(), Phase::Asking { how, spec: spec.clone(), stored });
        let (spec, inventory) = (Some(spec), Some(inventory));
        let command = AttachAgent { agent, link, spec, inventory, stored };
        turn.desk.propose(Purpose::Attach(link), Command::AttachAgent(command));
    }

    /// The inventory should be here by now.
    pub(crate) fn inventory_due(&mut self, turn: &mut Turn<'_>, link: Link) {
        let waits = |session: &Session| matches!(session.phase, Phase::Awaiting { .. });
        if self.sessions.get(&link).is_some_and(waits) {
            self.close(turn, link, CloseReason::NoInventory);
        }
    }

    /// What `apply` said to a registration or attachment. Success is seen in the state, so only refusals count.
    pub(crate) fn answered(&mut self, turn: &mut Turn<'_>, link: Link, outcome: &Outcome) {
        match outcome {
            // Gone by what came right behind, or by the end of its drain: the link is none that anybody would close.
            Outcome::AgentAttached { agent } if turn.state.agent(agent).is_none() => {
                self.close(turn, link, reason_of_removal(turn.state, agent));
            }
            Outcome::AgentAttached { agent } => self.agent_changed(turn, agent),
            Outcome::Refused(refusal) => self.refused(turn, link, *refusal),
            _ => {}
        }
    }

    fn refused(&mut self, turn: &mut Turn<'_>, link: Link, refusal: Refusal) {
        let Some(session) = self.sessions.get(&link) else {
            return;
        };
        let Phase::Asking { how, spec, stored } = &session.phase else {
            return;
        };
        let may_tell_more = matches!(refusal, Refusal::InventoryNeeded | Refusal::UnknownAgent);
        match (&session.agent, how) {
            (Some(agent), How::Digest) if may_tell_more => {
                let agent = agent.clone();
                let phase = Phase::Awaiting { spec: spec.clone(), stored: *stored, how: How::Unknown };
                self.ask_inventory(turn, link, agent, phase);
            }
            _ => self.close(turn, link, reason_of(refusal)),
        }
    }

    /// An agent's attachment may have changed: whatever link the state names is the one that counts.
    pub(crate) fn agent_changed(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let state = turn.state;
        let Some(agent) = state.agent(id) else { return };
        if agent.is_attached() {
            self.attach(turn, agent);
        } else if let Some(link) = self.attached(id) {
            self.close(turn, link, CloseReason::Detached);
        }
    }

    fn attach(&mut self, turn: &mut Turn<'_>, agent: &Agent) {
        let Some(session) = self.sessions.get_mut(&agent.link) else {
            // The link broke before its attachment was applied.
            return self.watch_away(turn, agent.id.clone());
        };
        let Phase::Asking { how, .. } = session.phase else {
            return;
        };
        session.phase = Phase::Attached { sent: 0, answered: 0 };
        session.agent = Some(agent.id.clone());
        self.away.remove(&agent.id);
        let former = self.by_agent.insert(agent.id.clone(), agent.link);
        if let Some(former) = former.filter(|former| *former != agent.link) {
            self.end(former);
            turn.desk.close(former, CloseReason::Replaced);
        }
        turn.counters.attached(how);
        turn.desk.send(agent.link, ToAgent::Attached { agent: agent.id.clone(), how });
        let first = turn.after(spread(agent.link, turn.config.ping_interval));
        turn.timers.at(first, Timer::Ping(agent.link));
    }

    /// The agent was given up: it must attach again, with its inventory.
    pub(crate) fn agent_removed(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        if turn.state.agent(id).is_some() {
            return self.agent_changed(turn, id);
        }
        self.away.remove(id);
        if let Some(link) = self.attached(id) {
            self.close(turn, link, reason_of_removal(turn.state, id));
        }
    }

    /// The other side is gone.
    pub(crate) fn closed(&mut self, turn: &mut Turn<'_>, link: Link) {
        if let Some(agent) = self.end(link) {
            self.watch_away(turn, agent);
        }
    }

    /// What was to be proposed for this link fits into no entry: the agent is told so, and it counts as away.
    pub(crate) fn too_large(&mut self, turn: &mut Turn<'_>, link: Link) {
        if self.is_open(link) {
            self.close(turn, link, CloseReason::TooLarge);
        }
    }

    /// The agent is without a link from now, or has been for a while.
    fn watch_away(&mut self, turn: &mut Turn<'_>, agent: AgentId) {
        if turn.state.agent(&agent).is_none() {
            return;
        }
        let since = *self.away.entry(agent.clone()).or_insert(turn.now);
        let look = since.saturating_add(turn.config.detach_after).max(turn.after(LOOK_AGAIN));
        turn.timers.at(look, Timer::AgentAway(agent));
    }

    fn close(&mut self, turn: &mut Turn<'_>, link: Link, reason: CloseReason) {
        self.closed(turn, link);
        turn.dismiss(link, reason);
    }

    fn end(&mut self, link: Link) -> Option<AgentId> {
        let agent = self.sessions.remove(&link)?.agent?;
        if self.by_agent.get(&agent) == Some(&link) {
            self.by_agent.remove(&agent);
        }
        Some(agent)
    }

    /// The agent's link has been gone for a while: detaches it, unless a link is back. One that is on its way back has
    /// the time that an inventory may take; then the former attachment ends, and the new one may still begin.
    pub(crate) fn away(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let Some(agent) = turn.state.agent(id) else {
            self.away.remove(id);
            return;
        };
        if self.attached(id) == Some(agent.link) {
            return;
        }
        let since = self.away.get(id).copied().unwrap_or_else(|| turn.state.term_began());
        let returns_until = since.saturating_add(turn.config.inventory_timeout);
        if self.by_agent.contains_key(id) && turn.now < returns_until {
            return turn.timers.at(turn.after(turn.config.detach_after), Timer::AgentAway(id.clone()));
        }
        let patience_ends = turn.after_term_began(turn.config.agents_expected);
        match agent.attachment {
            Attachment::Attached { .. } => turn.detach(id, agent.link),
            Attachment::Expected if turn.now >= patience_ends => turn.detach(id, agent.link),
            Attachment::Expected => {}
            Attachment::Detached { .. } => drop(self.away.remove(id)),
        }
    }

    /// The patience with agents of the term before is over.
    pub(crate) fn expected_due(&mut self, turn: &mut Turn<'_>) {
        let state = turn.state;
        for agent in state.agents().filter(|agent| agent.attachment == Attachment::Expected) {
            self.away(turn, &agent.id);
        }
    }

    /// Time for a ping; counts those that nobody answered.
    pub(crate) fn ping_due(&mut self, turn: &mut Turn<'_>, removals: &mut Removals, link: Link) {
        let Some(session) = self.sessions.get_mut(&link) else {
            return;
        };
        let (Some(agent), Phase::Attached { sent, answered }) = (&session.agent, &mut session.phase) else {
            return;
        };
        removals.silent(turn, agent, link, *sent - *answered);
        *sent += 1;
        turn.desk.send(link, ToAgent::Ping { number: *sent });
        turn.timers.at(turn.after(turn.config.ping_interval), Timer::Ping(link));
    }

    /// An agent answered; any answer shows that it lives.
    pub(crate) fn pong(&mut self, removals: &mut Removals, link: Link, number: u64) {
        let Some(session) = self.sessions.get_mut(&link) else {
            return;
        };
        let (Some(agent), Phase::Attached { sent, answered }) = (&session.agent, &mut session.phase) else {
            return;
        };
        if number > *answered && number <= *sent {
            *answered = *sent;
            removals.alive(agent);
        }
    }
}

impl Session {
    fn is_attached(&self) -> bool {
        matches!(self.phase, Phase::Attached { .. })
    }
}

fn reason_of(refusal: Refusal) -> CloseReason {
    match refusal {
        Refusal::AgentGone => CloseReason::Gone,
        Refusal::MachineDown => CloseReason::MachineDown,
        refusal => CloseReason::Refused(refusal),
    }
}

/// Why an agent is not in the table any more. One whose machine is down is told so when it comes again: what is true of
/// it by now is not known here.
fn reason_of_removal(state: &State, id: &AgentId) -> CloseReason {
    match state.gone_agent(id) {
        Some(_) => CloseReason::Gone,
        None => CloseReason::Unreachable,
    }
}

/// Spreads the first pings of many links evenly over one interval (multiplication by an odd constant near 2^64/φ).
fn spread(link: Link, interval: Millis) -> Millis {
    let mixed = link.serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Millis(1 + mixed % interval.0.max(1))
}
