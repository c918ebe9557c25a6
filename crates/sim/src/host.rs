//! Agents' machines: the core, its disk, its processes and its connection.

use std::collections::{BTreeMap, BTreeSet};

use mesarch_agent_core::{Agent, Config, Input, Now, Output, Record, Run};
use mesarch_types::{Millis, Resource, Resources, WallMillis};

use crate::{
    event::{Act, ConnId, Event},
    process::Process,
    world::World,
};

/// One machine.
#[derive(Default)]
pub(crate) struct Host {
    /// None while the agent's process is down.
    pub(crate) core: Option<Agent>,
    pub(crate) disk: Vec<Record>,
    pub(crate) processes: BTreeMap<Run, Process>,
    pub(crate) conn: Option<ConnId>,
    /// Dies in its next step, after it stored what it had to and before it does anything else.
    pub(crate) dies_next: bool,
    /// No connection comes about before this moment.
    pub(crate) away_until: Millis,
    /// The volumes on its disk.
    pub(crate) volumes: BTreeSet<String>,
}

impl Host {
    fn align_volumes(&mut self, made: &Resources, gone: &Resources) {
        for name in gone.iter().filter_map(volume_name) {
            self.volumes.remove(&name);
        }
        self.volumes.extend(made.iter().filter_map(volume_name));
    }
}

/// The folder that a volume would be.
pub(crate) fn volume_name(resource: &Resource) -> Option<String> {
    let id = resource.disk.as_ref()?.persistence_id.as_ref()?;
    Some(format!("{}/{id}", resource.reserved_role()?))
}

impl World {
    fn agent_now(&self) -> Now {
        Now { mono: self.now, wall: WallMillis(self.now.0) }
    }

    pub(crate) fn start_agent(&mut self, agent: usize) {
        if self.hosts[agent].core.is_some() {
            return;
        }
        let now = self.agent_now();
        let disk = self.hosts[agent].disk.clone();
        let (core, outputs) = Agent::recover(Config::default(), now, disk);
        let runs: Vec<Run> = core.runs().map(|view| view.run).collect();
        self.hosts[agent].core = Some(core);
        self.perform_agent(agent, outputs);
        for run in runs {
            if self.hosts[agent].processes.contains_key(&run) {
                self.soon(10, 800, Event::Executor { agent, run, act: Act::Subscribe });
            } else {
                self.agent_step(agent, Input::ExecutorExited { run, status: -1 });
            }
        }
        self.soon(1, 50, Event::Connect { agent });
    }

    pub(crate) fn agent_dies(&mut self, agent: usize) {
        let host = &mut self.hosts[agent];
        let Some(core) = host.core.take() else { return };
        host.dies_next = false;
        if self.rng.chance(20) {
            host.disk = core.snapshot();
        }
        host.processes.values_mut().for_each(|process| process.subscribed = false);
        if let Some(conn) = host.conn.take() {
            self.cut(conn);
            self.soon(1, 2000, Event::LeaderEndGone { conn });
        }
        self.soon(100, 8000, Event::Start { agent });
    }

    pub(crate) fn cut(&mut self, conn: ConnId) {
        let Some(end) = self.master.conns.get_mut(&conn).filter(|end| !end.cut) else {
            return;
        };
        end.cut = true;
        let agent = end.agent;
        self.tear(conn, agent);
    }

    pub(crate) fn agent_step(&mut self, agent: usize, input: Input) {
        let now = self.agent_now();
        let Some(core) = &mut self.hosts[agent].core else {
            return;
        };
        let outputs = core.step(now, input);
        self.perform_agent(agent, outputs);
    }

    fn perform_agent(&mut self, agent: usize, outputs: Vec<Output>) {
        let (records, others): (Vec<_>, Vec<_>) =
            outputs.into_iter().partition(|output| matches!(output, Output::Persist(_)));
        for record in records {
            if let Output::Persist(record) = record {
                self.watch.stored(&record);
                self.hosts[agent].disk.push(record);
            }
        }
        if self.hosts[agent].dies_next && !others.is_empty() {
            return self.agent_dies(agent);
        }
        for output in others {
            self.perform_one(agent, output);
        }
    }

    fn perform_one(&mut self, agent: usize, output: Output) {
        match output {
            Output::Persist(_) => {}
            Output::Volumes { made, gone, .. } => self.hosts[agent].align_volumes(&made, &gone),
            Output::ToProvider(_) => {}
            Output::StartExecutor(start) => self.start_executor(agent, *start),
            Output::ToExecutor(run, event) => self.executor_told(agent, &run, event),
            Output::KillExecutor(run) => self.exit(agent, &run),
            Output::ToMaster(message) => {
                if let Some(conn) = self.hosts[agent].conn {
                    self.send_up(conn, message);
                }
            }
            Output::CloseLink { link, .. } => {
                if self.hosts[agent].conn == Some(link) {
                    self.cut(link);
                    self.soon(1, 1000, Event::LeaderEndGone { conn: link });
                    self.soon(1, 2, Event::AgentEndGone { agent, conn: link });
                }
            }
        }
    }

    // The connection.

    pub(crate) fn connect(&mut self, agent: usize) {
        let host = &self.hosts[agent];
        if host.core.is_none() || host.conn.is_some() {
            return;
        }
        if self.now < host.away_until {
            return self.at(host.away_until, Event::Connect { agent });
        }
        let Some(conn) = self.connect_agent(agent) else {
            return self.soon(20, 500, Event::Connect { agent });
        };
        self.hosts[agent].conn = Some(conn);
        self.agent_step(agent, Input::LinkOpened { link: conn });
    }

    pub(crate) fn agent_end_gone(&mut self, agent: usize, conn: ConnId) {
        if self.hosts[agent].conn == Some(conn) {
            self.hosts[agent].conn = None;
            self.cut(conn);
            self.agent_step(agent, Input::LinkClosed { link: conn });
            self.soon(1, 300, Event::Connect { agent });
        }
    }

    pub(crate) fn pinged(&mut self, conn: ConnId, number: u64) {
        let agent = self.master.conns.get(&conn).filter(|end| !end.cut).map(|end| end.agent);
        if agent.is_some_and(|agent| self.hosts[agent].conn == Some(conn)) {
            self.soon(1, 30, Event::Pong { conn, number });
        }
    }
}
