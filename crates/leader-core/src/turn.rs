//! What every part of the leader is given in one step.

use mesarch_state::{
    Command, State,
    command::{DetachAgent, Link},
};
use mesarch_types::{AgentId, Millis};

use crate::{
    config::Config,
    counters::Counters,
    desk::{Desk, Purpose},
    message::{CloseReason, ToAgent},
    timers::Timers,
};

/// One step: the newest state, the time, and where to put what follows.
pub(crate) struct Turn<'a> {
    /// The newest published state; at least as new as the input.
    pub(crate) state: &'a State,
    /// Cluster time; never goes back.
    pub(crate) now: Millis,
    pub(crate) config: &'a Config,
    pub(crate) desk: &'a mut Desk,
    pub(crate) timers: &'a mut Timers,
    pub(crate) counters: &'a mut Counters,
}

impl Turn<'_> {
    /// The moment `after` from now.
    pub(crate) fn after(&self, after: Millis) -> Millis {
        self.now.saturating_add(after)
    }

    /// The moment `after` from the beginning of the term.
    pub(crate) fn after_term_began(&self, after: Millis) -> Millis {
        self.state.term_began().saturating_add(after)
    }

    /// Proposes a command that must get into the log.
    pub(crate) fn surely(&mut self, command: Command) {
        self.desk.propose(Purpose::Surely, command);
    }

    /// Ends a link. An agent that is not to come back as it is is told so before.
    pub(crate) fn dismiss(&mut self, link: Link, reason: CloseReason) {
        if matches!(reason, CloseReason::Gone | CloseReason::MachineDown) {
            self.desk.send(link, ToAgent::Shutdown { reason });
        }
        self.desk.close(link, reason);
    }

    /// Proposes the end of an agent's attachment.
    pub(crate) fn detach(&mut self, agent: &AgentId, link: Link) {
        self.counters.detached += 1;
        self.surely(Command::DetachAgent(DetachAgent { agent: agent.clone(), link }));
    }
}
