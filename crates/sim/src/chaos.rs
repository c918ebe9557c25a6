//! What goes wrong.

use mesarch_types::Millis;

use crate::{
    event::{ConnId, Event, Proposer},
    world::World,
};
use mesarch_state::{
    Command,
    command::{DeactivateAgent, DrainAgent, FrameworkRoles, ReactivateAgent, RequestKill, Teardown},
};

impl World {
    /// One fault, and a time for the next.
    pub(crate) fn fault(&mut self) {
        if self.calm {
            return;
        }
        self.soon(20, 1500, Event::Fault);
        let (agent, scheduler) = (self.rng.index(self.hosts.len()), self.rng.index(self.schedulers.len()));
        match self.rng.between(0, 100) {
            0..8 => self.leader_dies(),
            8..28 => self.break_link(agent),
            28..30 => self.isolate(agent),
            30..40 => self.agent_dies(agent),
            40..48 => self.hosts[agent].dies_next = true,
            48..60 => self.break_stream(scheduler),
            60..70 => self.kill_something(scheduler),
            70..76 => self.executor_dies(agent),
            76..80 => self.say(scheduler, Command::Suppress),
            80..86 => self.say(scheduler, Command::Revive),
            86..98 => self.schedulers[scheduler].wants += 3,
            _ => self.tear_down(scheduler),
        }
    }

    /// An operator takes an agent out of service or back; once all is calm, only back.
    pub(crate) fn operate(&mut self) {
        self.soon(500, 4000, Event::Operate);
        let agents = self.master.state.agents();
        let idle = agents.filter(|agent| self.calm && agent.administration.deactivated);
        let idle: Vec<_> = idle.map(|agent| agent.id.clone()).collect();
        for agent in idle {
            self.order(Command::ReactivateAgent(ReactivateAgent { agent }));
        }
        let nth = self.rng.index(self.hosts.len());
        let Some(agent) = self.master.state.agents().nth(nth).map(|agent| agent.id.clone()) else {
            return;
        };
        if !self.calm {
            let command = match self.rng.between(0, 100) {
                0..40 => Command::DrainAgent(DrainAgent { agent, max_grace_ns: None, mark_gone: false }),
                40..60 => Command::DeactivateAgent(DeactivateAgent { agent }),
                _ => Command::ReactivateAgent(ReactivateAgent { agent }),
            };
            self.order(command);
        }
    }

    fn order(&mut self, command: Command) {
        if self.master.leader.is_some() {
            self.propose(Proposer::Caller, command);
        }
    }

    /// At once, or after it stalled for a while: then much is under way in it.
    fn break_link(&mut self, agent: usize) {
        let Some(conn) = self.hosts[agent].conn else {
            return;
        };
        if self.rng.chance(20) {
            return self.broken(agent, conn);
        }
        let stalled = self.rng.between(500, 5_000);
        self.stall(conn, Millis(stalled));
        self.soon(100, stalled, Event::Broken { agent, conn });
    }

    /// Each end notices soon, late or, on one side, only by silence.
    pub(crate) fn broken(&mut self, agent: usize, conn: ConnId) {
        self.cut(conn);
        let (agent_late, leader_late) = (self.rng.chance(20), self.rng.chance(20));
        let high = |late| if late { 20_000 } else { 800 };
        self.soon(1, high(agent_late), Event::AgentEndGone { agent, conn });
        self.soon(1, high(leader_late) * 5, Event::LeaderEndGone { conn });
    }

    /// The machine cannot be reached for a while.
    fn isolate(&mut self, agent: usize) {
        let away = self.rng.between(5_000, 40_000);
        self.hosts[agent].away_until = Millis(self.now.0 + away);
        self.break_link(agent);
    }

    fn break_stream(&mut self, scheduler: usize) {
        let Some(framework) = self.schedulers[scheduler].id.clone() else {
            return;
        };
        let Some(stream) = self.master.streams.get_mut(&framework) else {
            return;
        };
        stream.cut = true;
        let (stream, epoch) = (stream.clone(), stream.epoch);
        self.end_stream(&stream);
        self.soon(1, 5000, Event::StreamGone { framework, epoch });
    }

    fn kill_something(&mut self, scheduler: usize) {
        let Some(framework) = self.schedulers[scheduler].id.clone() else {
            return;
        };
        let tasks: Vec<_> = self.master.state.tasks_of(&framework).map(|task| task.spec.id.clone()).collect();
        let nth = self.rng.index(tasks.len());
        if let Some(task) = tasks.into_iter().nth(nth) {
            let kill = RequestKill { framework, task, agent: None, policy: None };
            self.call(scheduler, Command::RequestKill(kill));
        }
    }

    fn executor_dies(&mut self, agent: usize) {
        let runs: Vec<_> = self.hosts[agent].processes.keys().cloned().collect();
        let nth = self.rng.index(runs.len());
        if let Some(run) = runs.into_iter().nth(nth) {
            self.exit(agent, &run);
        }
    }

    pub(crate) fn say(&mut self, scheduler: usize, command: impl Fn(FrameworkRoles) -> Command) {
        if let Some(framework) = self.schedulers[scheduler].id.clone() {
            self.call(scheduler, command(FrameworkRoles { framework, roles: [].into() }));
        }
    }

    fn tear_down(&mut self, scheduler: usize) {
        if let Some(framework) = self.schedulers[scheduler].id.clone() {
            self.call(scheduler, Command::Teardown(Teardown { framework }));
        }
    }
}
