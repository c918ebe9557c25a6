//! Measures what a digest of a large state costs: `digest_cost [AGENTS] [TASKS_PER_AGENT]`, by default 50,000 and 10.
//! Masters take one a minute, off the thread that applies the log.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "this tool measures; the crate does not"
)]

use std::{collections::BTreeSet, env, sync::Arc, time::Instant};

use bytes::Bytes;
use mesarch_state::{Command, FEATURE_LEVEL_MAX, Outcome, State, command::*};
use mesarch_types::{
    AgentId, At, ClusterId, FrameworkId, Millis, OfferId, Role, TaskId, WallMillis,
    capability::{AgentCapabilities, FrameworkCapabilities},
    resource::{Resources, parse_resources},
};

/// About what real descriptions have.
const INFO_BYTES: usize = 250;

struct Builder {
    state: State,
    at: At,
}

fn resources(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("well-formed")
}

impl Builder {
    fn apply(&mut self, command: Command) -> Outcome {
        self.at.index += 1;
        self.state.apply(self.at, command).outcome
    }

    fn agent(&mut self, number: usize, tasks: usize) -> AgentId {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        let spec = AgentSpec {
            info: vec![1; INFO_BYTES].into(),
            hostname: format!("host-{number}").as_str().into(),
            port: 5051,
            total: resources(&format!("cpus:{tasks};mem:{}", 64 * tasks)),
            attributes: Arc::from([]),
            capabilities: AgentCapabilities::all(),
            version: "1".into(),
        };
        let link = Link { term: 1, serial: number as u64 };
        match self.apply(Command::RegisterAgent(RegisterAgent { nonce, spec, link })) {
            Outcome::AgentAttached { agent } => agent,
            other => panic!("{other:?}"),
        }
    }

    fn framework(&mut self) -> FrameworkId {
        let spec = FrameworkSpec {
            info: Bytes::new(),
            name: "name".into(),
            user: "user".into(),
            principal: None,
            roles: [Role::from("eng")].into(),
            capabilities: FrameworkCapabilities::NONE,
            checkpoint: true,
            failover_timeout: Millis::ZERO,
            rules: Arc::default(),
        };
        let subscribe = Subscribe {
            framework: None,
            spec,
            suppressed: BTreeSet::new(),
            stream: "s".into(),
            resume: None,
        };
        match self.apply(Command::Subscribe(subscribe)) {
            Outcome::Subscribed { framework, .. } => framework,
            other => panic!("{other:?}"),
        }
    }

    fn offer(&mut self, framework: &FrameworkId, agent: &AgentId) -> OfferId {
        let known = self.state.agent(agent).expect("registered");
        let item = OfferItem {
            framework: framework.clone(),
            role: Role::from("eng"),
            agent: agent.clone(),
            resources: known.spec.total.clone(),
            framework_version: self.state.framework(framework).expect("subscribed").version,
            agent_version: known.version,
        };
        let policy = self.state.policy_version();
        match self.apply(Command::IssueOffers(IssueOffers { policy, items: vec![item] })) {
            Outcome::Issued(results) => results[0].clone().expect("issued"),
            other => panic!("{other:?}"),
        }
    }

    fn launch(&mut self, framework: &FrameworkId, agent: &AgentId, number: usize, tasks: usize) {
        let offer = self.offer(framework, agent);
        let launches = (0..tasks).map(|task| {
            let spec = TaskSpec {
                id: TaskId::from(format!("task-{number}-{task}")),
                info: vec![2; INFO_BYTES].into(),
                resources: resources("cpus:1;mem:64").allocated_to(&Role::from("eng")),
                executor: None,
            };
            Launch { agent: None, group: None, task: Judged::Valid(spec) }
        });
        let accept = AcceptOffers {
            framework: framework.clone(),
            offers: vec![offer],
            launches: launches.collect(),
            operations: Vec::new(),
            refuse: Refuse { duration: Millis::ZERO },
        };
        self.apply(Command::AcceptOffers(accept));
    }
}

fn main() {
    let mut numbers = env::args().skip(1).filter_map(|number| number.parse().ok());
    let (agents, tasks) = (numbers.next().unwrap_or(50_000), numbers.next().unwrap_or(10));
    let at = At { index: 0, position: 0, term: 1, now: Millis(1), wall: WallMillis(1) };
    let mut builder = Builder { state: State::new(), at };
    let cluster = ClusterId([1; 16]);
    let begin = BeginTerm { cluster, incarnation: 1, level: FEATURE_LEVEL_MAX, policy: None };
    builder.apply(Command::BeginTerm(begin));
    let framework = builder.framework();
    for number in 0..agents {
        let agent = builder.agent(number, tasks);
        builder.launch(&framework, &agent, number, tasks);
    }
    let counts = builder.state.counts();
    let (mut copies, mut digests) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let began = Instant::now();
        let copy = builder.state.clone();
        copies.push(began.elapsed());
        let began = Instant::now();
        let digest = copy.digest();
        digests.push(began.elapsed());
        assert_eq!(digest, builder.state.digest());
    }
    copies.sort();
    digests.sort();
    println!(
        "{} agents, {} tasks: copy {:?}, digest {:?} (medians of 5)",
        counts.agents, counts.tasks, copies[2], digests[2]
    );
}
