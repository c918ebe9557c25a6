//! A log of one: proposals of the leader and of others are applied in order to the real state.

use std::collections::VecDeque;

use mesarch_leader_core::{Config, Hello, Input, Leader, Loss, Output, Ticket, ToAgent};
use mesarch_state::{
    Command, FEATURE_LEVEL_MAX, Outcome, State, check,
    command::{AgentSpec, BeginTerm, FrameworkSpec, Link, Subscribe},
};
use mesarch_types::{
    AgentCapabilities, AgentId, At, ClusterId, Epoch, FrameworkCapabilities, FrameworkCapability,
    FrameworkId, Millis, Resources, Role, StreamId, WallMillis, parse_resources,
};

/// The wall clock at time zero.
const HOUR_MS: u64 = 3_600_000;

/// The cluster that every test is about.
pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);

/// The replicated state, its leader if there is one, and what the leader has asked for.
pub(crate) struct Cluster {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) leader: Option<Leader>,
    pub(crate) now: Millis,
    /// What the wall clock of whoever leads showed, or would have shown, at time zero.
    pub(crate) wall: WallMillis,
    pub(crate) term: u64,
    pub(crate) index: u64,
    /// Proposals that are not applied yet.
    pub(crate) queue: VecDeque<(Ticket, Command)>,
    /// So many of the next proposals find no place.
    pub(crate) lose: usize,
    /// Why they find none.
    pub(crate) loss: Loss,
    /// Outputs other than proposals, in order, until somebody takes them.
    pub(crate) outputs: VecDeque<Output>,
    /// Every proposal ever made, for tests that look at them.
    pub(crate) proposed: Vec<Command>,
    serial: u64,
}

impl Cluster {
    /// An empty cluster whose first leader has begun.
    pub(crate) fn new(config: Config) -> Self {
        let mut cluster = Self {
            config: config.validated().expect("a good configuration"),
            state: State::new(),
            leader: None,
            now: Millis(0),
            wall: WallMillis(HOUR_MS),
            term: 0,
            index: 0,
            queue: VecDeque::new(),
            lose: 0,
            loss: Loss::NoPlace,
            outputs: VecDeque::new(),
            proposed: Vec::new(),
            serial: 0,
        };
        cluster.fail_over();
        cluster
    }

    /// The leader dies with all that it has not put into the log, and another one begins.
    pub(crate) fn fail_over(&mut self) {
        self.leader = None;
        self.queue.clear();
        self.outputs.clear();
        self.term += 1;
        self.apply(Command::BeginTerm(BeginTerm {
            cluster: CLUSTER,
            incarnation: 1,
            level: FEATURE_LEVEL_MAX,
            policy: None,
        }));
        let (leader, outputs) = Leader::begin(self.config.clone(), &self.state, self.index, self.now);
        self.leader = Some(leader);
        self.sort(outputs);
        self.settle();
    }

    /// A link that no one has used before.
    pub(crate) fn link(&mut self) -> Link {
        self.serial += 1;
        Link { term: self.term, serial: self.serial }
    }

    /// One input, and the proposals that follow from it applied.
    pub(crate) fn input(&mut self, input: Input) {
        self.step(input);
        self.settle();
    }

    /// One input; its proposals stay in the queue.
    pub(crate) fn step(&mut self, input: Input) {
        let Some(leader) = &mut self.leader else { return };
        let outputs = leader.step(&self.state, self.now, input);
        self.sort(outputs);
    }

    fn sort(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Propose { ticket, command } => {
                    self.proposed.push(command.clone());
                    self.queue.push_back((ticket, command));
                }
                other => self.outputs.push_back(other),
            }
        }
    }

    /// Applies the next proposal of the leader.
    pub(crate) fn apply_next(&mut self) -> bool {
        let Some((ticket, command)) = self.queue.pop_front() else {
            return false;
        };
        if self.lose > 0 {
            self.lose -= 1;
            self.step(Input::Lost { ticket, why: self.loss });
            return true;
        }
        let outcome = self.apply(command);
        let index = self.index;
        self.step(Input::Answered { ticket, outcome, index });
        true
    }

    /// Applies until the leader has no proposals left.
    pub(crate) fn settle(&mut self) {
        while self.apply_next() {}
    }

    /// Somebody else's command, applied at once.
    pub(crate) fn command(&mut self, command: Command) -> Outcome {
        let outcome = self.apply(command);
        self.settle();
        outcome
    }

    /// Somebody else's command, applied at once, before the leader's own that wait.
    pub(crate) fn command_unsettled(&mut self, command: Command) -> Outcome {
        self.apply(command)
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let at = At {
            index: self.index,
            position: 0,
            term: self.term,
            now: self.now,
            wall: WallMillis(self.wall.0 + self.now.0),
        };
        let described = format!("{command:?}");
        let applied = self.state.apply(at, command);
        if let Err(violation) = check(&self.state) {
            panic!("{violation:?} after {described}");
        }
        let (index, changes, effects) = (self.index, applied.changes, applied.effects);
        self.step(Input::Applied { index, changes, effects });
        applied.outcome
    }

    /// Lets time pass, waking the leader whenever it wants.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.now.saturating_add(Millis(millis));
        while let Some(wake) = self.leader.as_ref().and_then(Leader::next_wake).filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.input(Input::Wake);
        }
        self.now = end;
        self.input(Input::Wake);
    }

    /// What came out since the last look.
    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        self.outputs.drain(..).collect()
    }

    /// A new agent registers on a fresh link; its pings and the like stay in the outputs.
    pub(crate) fn register(&mut self, nonce: u8) -> (AgentId, Link) {
        let link = self.link();
        let spec = agent_spec(&format!("h{nonce}"), "cpus:4;mem:4096");
        self.input(Input::LinkOpened { link, hello: Hello::Register { nonce: [nonce; 16], spec } });
        let attached = self.outputs.iter().find_map(|output| match output {
            Output::Send { link: to, message: ToAgent::Attached { agent, .. } } if *to == link => {
                Some(agent.clone())
            }
            _ => None,
        });
        (attached.expect("a new agent is attached at once"), link)
    }

    /// A framework subscribes, with a stream in place.
    pub(crate) fn subscribe(&mut self, c: Subscribe) -> (FrameworkId, Epoch) {
        let Outcome::Subscribed { framework, stream, .. } = self.command(Command::Subscribe(c)) else {
            panic!("a good subscription is accepted");
        };
        self.input(Input::StreamOpened { framework: framework.clone(), epoch: stream });
        (framework, stream)
    }
}

/// Resources from their text.
pub(crate) fn resources(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("good resources")
}

/// An agent as it describes itself.
pub(crate) fn agent_spec(hostname: &str, total: &str) -> AgentSpec {
    AgentSpec {
        info: hostname.to_owned().into(),
        hostname: hostname.into(),
        port: 5051,
        total: resources(total),
        attributes: [].into(),
        capabilities: AgentCapabilities::all(),
        version: "1".into(),
    }
}

/// A first subscription of a framework with one role, which checkpoints and may be away for `failover_secs`.
pub(crate) fn subscription(name: &str, failover_secs: u64) -> Subscribe {
    let capabilities = [FrameworkCapability::MultiRole, FrameworkCapability::PartitionAware];
    Subscribe {
        framework: None,
        spec: FrameworkSpec {
            info: name.to_owned().into(),
            name: name.into(),
            user: "u".into(),
            principal: None,
            roles: [Role::from(name)].into(),
            capabilities: capabilities.into_iter().collect::<FrameworkCapabilities>(),
            checkpoint: true,
            failover_timeout: Millis::from_secs(failover_secs),
            rules: Default::default(),
        },
        suppressed: [].into(),
        stream: StreamId::from(format!("stream-of-{name}")),
        resume: None,
    }
}
