//! The table of reconciliation, on a state that real commands led to.

use mesarch_proto::mesos::v1::TaskStatus;
use mesarch_state::{
    Command, Outcome, State,
    command::{AgentSpec, BeginTerm, FrameworkSpec, Link, MarkUnreachable, RegisterAgent, Subscribe},
};
use mesarch_types::{
    AgentCapabilities, AgentId, At, ClusterId, FrameworkCapabilities, FrameworkCapability, FrameworkId,
    Millis, Role, TaskId, TaskState, WallMillis,
};

use super::reconcile::{Asked, Reconciliation};

/// All answers from one state.
fn answers(state: &State, framework: &FrameworkId, asked: &[Asked], wall: WallMillis) -> Vec<TaskStatus> {
    let mut reconciliation = Reconciliation::new(state, framework, asked.to_vec());
    std::iter::from_fn(|| reconciliation.next_piece(state, framework, wall)).flatten().collect()
}

struct World {
    state: State,
    index: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self { state: State::new(), index: 0 };
        world.begin(1);
        world
    }

    fn begin(&mut self, incarnation: u64) {
        let begin = BeginTerm { cluster: ClusterId([7; 16]), incarnation, level: 1, policy: None };
        assert_eq!(self.apply(Command::BeginTerm(begin)), Outcome::TermBegun);
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let at =
            At { index: self.index, term: 1, now: Millis(self.index), wall: WallMillis(1000), position: 0 };
        self.state.apply(at, command).outcome
    }

    fn framework(&mut self, capabilities: FrameworkCapabilities) -> FrameworkId {
        let spec = FrameworkSpec {
            info: Default::default(),
            name: "f".into(),
            user: "u".into(),
            principal: None,
            roles: [Role::any()].into(),
            capabilities,
            checkpoint: true,
            failover_timeout: Millis::ZERO,
            rules: Default::default(),
        };
        let subscribe =
            Subscribe { framework: None, spec, suppressed: [].into(), stream: "s".into(), resume: None };
        match self.apply(Command::Subscribe(subscribe)) {
            Outcome::Subscribed { framework, .. } => framework,
            other => panic!("{other:?}"),
        }
    }

    fn agent(&mut self, serial: u64) -> AgentId {
        let spec = AgentSpec {
            info: Default::default(),
            hostname: "h".into(),
            port: 1,
            total: Default::default(),
            attributes: [].into(),
            capabilities: AgentCapabilities::all(),
            version: "1".into(),
        };
        let link = Link { term: 1, serial };
        match self.apply(Command::RegisterAgent(RegisterAgent { nonce: [serial as u8; 16], spec, link })) {
            Outcome::AgentAttached { agent } => agent,
            other => panic!("{other:?}"),
        }
    }

    fn check(&self, framework: &FrameworkId, agent: Option<&AgentId>, expect: Option<TaskState>) {
        let asked = [(TaskId::from("t"), agent.cloned())];
        let got = answers(&self.state, framework, &asked, WallMillis(5));
        assert_eq!(
            got.first().map(|status| status.state),
            expect.map(|state| state as i32),
            "agent {agent:?}"
        );
        assert!(got.iter().all(|status| status.uuid.is_none()));
    }
}

#[test]
fn unknown_tasks_are_answered_by_what_is_known_of_their_agent() {
    let mut world = World::new();
    let aware = world.framework(FrameworkCapabilities::NONE.with(FrameworkCapability::PartitionAware));
    let unaware = world.framework(FrameworkCapabilities::NONE);
    let (here, away) = (world.agent(1), world.agent(2));
    let mark = MarkUnreachable { agents: vec![(away.clone(), Link { term: 1, serial: 2 })] };
    world.apply(Command::MarkUnreachable(mark));
    let nobody = AgentId::from("nobody");
    let table = [
        (Some(&here), TaskState::Gone),
        (Some(&away), TaskState::Unreachable),
        (Some(&nobody), TaskState::Unknown),
        (None, TaskState::Unknown),
    ];
    for (agent, expect) in table {
        world.check(&aware, agent, Some(expect));
        world.check(&unaware, agent, Some(TaskState::Lost));
    }
    let status = answers(&world.state, &aware, &[("t".into(), Some(away))], WallMillis(5)).remove(0);
    assert_eq!(status.unreachable_time.map(|time| time.nanoseconds), Some(1_000_000_000));
}

#[test]
fn what_an_agent_runs_is_unknown_after_a_restore_until_it_attaches() {
    let mut world = World::new();
    let framework = world.framework(FrameworkCapabilities::NONE);
    let agent = world.agent(1);
    world.begin(2);
    world.check(&framework, Some(&agent), None);
    world.check(&framework, None, None);
    world.check(&framework, Some(&AgentId::from("nobody")), Some(TaskState::Lost));
}

#[test]
fn nobody_has_no_tasks() {
    let world = World::new();
    assert_eq!(answers(&world.state, &"nobody".into(), &[], WallMillis(5)), []);
}
