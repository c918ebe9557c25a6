//! What idle frameworks that decline everything cost the leader: `decline_load [frameworks] [agents] [refuse_ms]`.
//!
//! Prints, per second of cluster time, the CPU time of the leader's mind and of `apply`, and the log's rate.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it measures and prints"
)]

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use mesarch_leader_core::{Config, Hello, Input, Leader, Output, Ticket, ToAgent};
use mesarch_state::{
    Command, Effect, FEATURE_LEVEL_MAX, Outcome, State,
    command::{AgentSpec, BeginTerm, DeclineOffers, FrameworkSpec, Link, Refuse, Subscribe},
};
use mesarch_types::{
    AgentCapabilities, At, ClusterId, FrameworkCapabilities, FrameworkId, Millis, OfferId, Role, StreamId,
    WallMillis, parse_resources,
};

const SECONDS: u64 = 20;

struct Load {
    state: State,
    leader: Option<Leader>,
    index: u64,
    now: Millis,
    proposals: VecDeque<(Ticket, Command)>,
    declines: BTreeMap<FrameworkId, Vec<OfferId>>,
    pings: Vec<(Link, u64)>,
    mind: Duration,
    applying: Duration,
    offers: usize,
}

impl Load {
    fn step(&mut self, input: Input) {
        let Some(leader) = &mut self.leader else { return };
        let begun = Instant::now();
        let outputs = leader.step(&self.state, self.now, input);
        self.mind += begun.elapsed();
        for output in outputs {
            match output {
                Output::Propose { ticket, command } => self.proposals.push_back((ticket, command)),
                Output::Perform(Effect::SendOffer { framework, offer }) => {
                    self.offers += 1;
                    self.declines.entry(framework).or_default().push(offer);
                }
                Output::Send { link, message: ToAgent::Ping { number } } => self.pings.push((link, number)),
                Output::Perform(_) | Output::Send { .. } | Output::CloseLink { .. } => {}
            }
        }
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let at = At { index: self.index, position: 0, term: 1, now: self.now, wall: WallMillis(0) };
        let begun = Instant::now();
        let applied = self.state.apply(at, command);
        self.applying += begun.elapsed();
        self.step(Input::Applied { index: self.index, changes: applied.changes, effects: applied.effects });
        applied.outcome
    }

    fn settle(&mut self) {
        while let Some((ticket, command)) = self.proposals.pop_front() {
            let outcome = self.apply(command);
            self.step(Input::Answered { ticket, outcome, index: self.index });
        }
    }

    /// One second: the leader wakes when it wants, and every offer is declined a moment after it was made.
    fn second(&mut self, refuse: Millis) {
        let end = Millis(self.now.0 + 1000);
        while self.now < end {
            self.now = Millis(self.now.0 + 10);
            if self.leader.as_ref().and_then(Leader::next_wake).is_some_and(|wake| wake <= self.now) {
                self.step(Input::Wake);
                self.settle();
            }
            for (link, number) in std::mem::take(&mut self.pings) {
                self.step(Input::Pong { link, number });
            }
            for (framework, offers) in std::mem::take(&mut self.declines) {
                let refuse = Refuse { duration: refuse };
                self.apply(Command::DeclineOffers(DeclineOffers { framework, offers, refuse }));
                self.settle();
            }
        }
    }
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let number = |position: usize, default| numbers.get(position).copied().unwrap_or(default);
    let (frameworks, agents, refuse) = (number(0, 1000), number(1, 1000), Millis(number(2, 5000)));
    let mut load = begin();
    (0..agents).for_each(|nth| register(&mut load, nth));
    (0..frameworks).for_each(|nth| subscribe(&mut load, nth));
    (0..SECONDS).for_each(|_| load.second(refuse));
    let (mind, applying, index, offers) = (load.mind, load.applying, load.index, load.offers);
    (0..SECONDS).for_each(|_| load.second(refuse));
    let per_second = |duration: Duration| duration.as_secs_f64() * 1000.0 / SECONDS as f64;
    println!(
        "{frameworks} frameworks, {agents} agents, refuse {} ms; per second: mind {:.1} ms, apply {:.1} ms, {} entries, {} offers",
        refuse.0,
        per_second(load.mind - mind),
        per_second(load.applying - applying),
        (load.index - index) / SECONDS,
        (load.offers - offers) as u64 / SECONDS,
    );
}

fn begin() -> Load {
    let mut load = Load {
        state: State::new(),
        leader: None,
        index: 0,
        now: Millis(0),
        proposals: VecDeque::new(),
        declines: BTreeMap::new(),
        pings: Vec::new(),
        mind: Duration::ZERO,
        applying: Duration::ZERO,
        offers: 0,
    };
    load.apply(Command::BeginTerm(BeginTerm {
        cluster: ClusterId([1; 16]),
        incarnation: 1,
        level: FEATURE_LEVEL_MAX,
        policy: None,
    }));
    load.leader = Some(Leader::begin(Config::default(), &load.state, load.index, load.now).0);
    load
}

fn register(load: &mut Load, nth: u64) {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&nth.to_le_bytes());
    let spec = AgentSpec {
        info: Vec::new().into(),
        hostname: format!("host-{nth}").into(),
        port: 5051,
        total: parse_resources("cpus:8;mem:16384;disk:100000;ports:[31000-32000]", &Role::any())
            .expect("good"),
        attributes: [].into(),
        capabilities: AgentCapabilities::all(),
        version: "1".into(),
    };
    load.step(Input::LinkOpened {
        link: Link { term: 1, serial: nth + 1 },
        hello: Hello::Register { nonce, spec },
    });
    load.settle();
}

fn subscribe(load: &mut Load, nth: u64) {
    let spec = FrameworkSpec {
        info: Vec::new().into(),
        name: format!("f{nth}").into(),
        user: "u".into(),
        principal: None,
        roles: [Role::from(format!("role-{}", nth % 50))].into(),
        capabilities: FrameworkCapabilities::all(),
        checkpoint: true,
        failover_timeout: Millis::from_secs(60),
        rules: Default::default(),
    };
    let stream = StreamId::from(format!("s{nth}"));
    let command = Subscribe { framework: None, spec, suppressed: [].into(), stream, resume: None };
    if let Outcome::Subscribed { framework, stream, .. } = load.apply(Command::Subscribe(command)) {
        load.step(Input::StreamOpened { framework, epoch: stream });
    }
    load.settle();
}
