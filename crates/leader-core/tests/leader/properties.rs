//! Whatever happens, once it stops happening everything that was promised is done.

use mesarch_leader_core::Config;
use mesarch_state::{
    Command, Effect,
    command::{
        ConvertResources, DeactivateAgent, DrainAgent, FrameworkRoles, Machines, MarkAgentGone,
        ReactivateAgent, RequestKill, SetPolicy, SetPriorities, SetQuota, SetSchedule, SetWhitelist,
        Teardown, Window,
    },
    model::{MachineId, MachineMode},
    open_work,
};
use mesarch_types::{Conversion, Millis, Priority, Quota, Role, TaskState, Unavailability};
use proptest::prelude::*;

use crate::{
    cluster::{Cluster, resources},
    players::{Agent, Framework, Players},
};

/// Something that goes wrong, or just happens.
#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    LeaderDies,
    Lose(usize),
    LinkBreaks(usize),
    AgentConnects(usize),
    StreamBreaks(usize),
    FrameworkConnects(usize),
    TaskGoesOn(usize, usize, TaskState),
    Kill(usize),
    Suppress(usize),
    Revive(usize),
    Wants(usize, usize),
    Teardown(usize),
    Share(u8, u8),
    Administer(u8, u8),
}

fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    let states = prop_oneof![Just(TaskState::Running), Just(TaskState::Finished), Just(TaskState::Failed)];
    prop_oneof![
        6 => (1..3000_u64).prop_map(Pass),
        1 => (10_000..700_000_u64).prop_map(Pass),
        1 => Just(LeaderDies),
        2 => (1..4_usize).prop_map(Lose),
        2 => (0..4_usize).prop_map(LinkBreaks),
        4 => (0..4_usize).prop_map(AgentConnects),
        2 => (0..3_usize).prop_map(StreamBreaks),
        4 => (0..3_usize).prop_map(FrameworkConnects),
        5 => (0..4_usize, 0..8_usize, states).prop_map(|(agent, nth, state)| TaskGoesOn(agent, nth, state)),
        1 => (0..8_usize).prop_map(Kill),
        1 => (0..3_usize).prop_map(Suppress),
        1 => (0..3_usize).prop_map(Revive),
        2 => (0..3_usize, 0..4_usize).prop_map(|(framework, tasks)| Wants(framework, tasks)),
        1 => (0..3_usize).prop_map(Teardown),
        2 => (0..8_u8, any::<u8>()).prop_map(|(what, choice)| Share(what, choice)),
        3 => (0..8_u8, any::<u8>()).prop_map(|(what, choice)| Administer(what, choice)),
    ]
}

struct World {
    cluster: Cluster,
    players: Players,
}

impl World {
    fn new() -> Self {
        let refuse = [Millis::ZERO, Millis::from_secs(5), Millis::from_secs(20)];
        let frameworks = ["a", "b", "b/c"].iter().zip(refuse);
        let players = Players {
            agents: (1..=4).map(Agent::new).collect(),
            frameworks: frameworks.map(|(name, refuse)| Framework::new(name, 2, refuse)).collect(),
        };
        let mut world = Self { cluster: Cluster::new(Config::default()), players };
        world.players.connect_all(&mut world.cluster);
        world
    }

    fn happen(&mut self, event: Event) {
        let Self { cluster, players } = self;
        match event {
            Event::Pass(millis) => cluster.pass(millis),
            Event::LeaderDies => players.fail_over(cluster),
            Event::Lose(count) => cluster.lose += count,
            Event::LinkBreaks(nth) => players.agents[nth].disconnect(cluster),
            Event::AgentConnects(nth) => players.agents[nth].connect(cluster),
            Event::StreamBreaks(nth) => players.frameworks[nth].disconnect(cluster),
            Event::FrameworkConnects(nth) => players.frameworks[nth].connect(cluster),
            Event::TaskGoesOn(agent, nth, state) => players.agents[agent].advance(cluster, nth, state),
            Event::Wants(nth, tasks) => players.frameworks[nth].wants = tasks,
            Event::Kill(nth) => kill(cluster, nth),
            Event::Suppress(nth) => self.roles(nth, Command::Suppress),
            Event::Revive(nth) => self.roles(nth, Command::Revive),
            Event::Teardown(nth) => self.tear_down(nth),
            Event::Share(what, choice) => self.share(what, choice),
            Event::Administer(what, choice) => self.administer(what, choice),
        }
        self.players.deliver(&mut self.cluster);
    }

    fn roles(&mut self, nth: usize, command: impl Fn(FrameworkRoles) -> Command) {
        if let Some(framework) = self.players.frameworks[nth].id.clone() {
            self.cluster.command(command(FrameworkRoles { framework, roles: [].into() }));
        }
    }

    fn tear_down(&mut self, nth: usize) {
        if let Some(framework) = self.players.frameworks[nth].id.clone() {
            self.cluster.command(Command::Teardown(Teardown { framework }));
            self.forget_removed();
        }
    }

    /// An operator changes his mind.
    fn share(&mut self, what: u8, choice: u8) {
        let role = Role::from(["a", "b"][usize::from(choice % 2)]);
        let amounts =
            |choice: u8| ["", "cpus:1", "cpus:6;mem:2048", "mem:1024"][usize::from(choice % 4)].parse();
        let priority = Priority::new(i64::from(choice % 3)).expect("in range");
        let framework = self.players.frameworks[usize::from(choice % 3)].id.clone();
        let agent = self.cluster.state.agents().nth(usize::from(choice % 4)).map(|agent| agent.id.clone());
        self.cluster.command(match what {
            0 | 1 => {
                let (guarantees, limits) = (amounts(choice >> 2), amounts(choice >> 4));
                let (guarantees, limits) = (guarantees.expect("good"), limits.expect("good"));
                let Ok(quota) = Quota::new(role, guarantees, limits) else { return };
                Command::SetQuota(SetQuota { quotas: vec![quota], force: what == 0, there: None })
            }
            2 => {
                let frameworks = framework.map(|framework| (framework, priority)).into_iter().collect();
                Command::SetPriorities(SetPriorities { roles: vec![(role, priority)], frameworks })
            }
            3 => {
                let name = ["drf", "priority", "random", "unheard-of"][usize::from(choice % 4)];
                Command::SetPolicy(SetPolicy { name: name.into() })
            }
            4 => {
                let hosts = (choice < 64).then(|| ["h1".into(), "h2".into()].into());
                Command::SetWhitelist(SetWhitelist { hosts })
            }
            _ => {
                let Some(agent) = agent else { return };
                let resources = resources(["cpus(a,op):1", "mem(b/c,op):512"][usize::from(choice % 2)]);
                let conversion = match what {
                    5 => Conversion::Unreserve(resources),
                    _ => Conversion::Reserve(resources),
                };
                Command::ConvertResources(ConvertResources { agent, conversion })
            }
        });
    }

    /// An operator takes agents and machines out of service, or back.
    fn administer(&mut self, what: u8, choice: u8) {
        let agent = self.cluster.state.agents().nth(usize::from(choice % 4));
        let Some(agent) = agent.map(|agent| agent.id.clone()) else {
            return;
        };
        let machines = vec![machine(choice % 4)];
        self.cluster.command(match what {
            0 => {
                let mark_gone = choice.is_multiple_of(3);
                Command::DrainAgent(DrainAgent { agent, max_grace_ns: None, mark_gone })
            }
            1 => Command::DeactivateAgent(DeactivateAgent { agent }),
            2 => Command::ReactivateAgent(ReactivateAgent { agent }),
            3 => Command::MarkAgentGone(MarkAgentGone { agent }),
            4 | 5 => {
                let unavailability = Unavailability { start_ns: choice.into(), duration_ns: None };
                let windows = vec![Window { machines, unavailability }];
                Command::SetSchedule(SetSchedule { windows })
            }
            6 => Command::StartMaintenance(Machines { machines }),
            _ => Command::StopMaintenance(Machines { machines }),
        });
    }

    /// Every agent is in service again, but for those that are being drained.
    fn restore_service(&mut self) {
        let state = self.cluster.state.clone();
        let down = state.machines().filter(|(_, machine)| machine.mode == MachineMode::Down);
        let machines: Vec<_> = down.map(|(id, _)| id.clone()).collect();
        self.cluster.command(Command::StopMaintenance(Machines { machines }));
        self.cluster.command(Command::SetSchedule(SetSchedule { windows: Vec::new() }));
        for agent in state.agents().filter(|agent| agent.administration.deactivated) {
            let agent = agent.id.clone();
            self.cluster.command(Command::ReactivateAgent(ReactivateAgent { agent }));
        }
    }

    /// A framework that was removed starts anew under another id.
    fn forget_removed(&mut self) {
        for framework in &mut self.players.frameworks {
            if framework.id.as_ref().is_some_and(|id| self.cluster.state.removed_framework(id).is_some()) {
                framework.id = None;
                framework.stream = None;
            }
        }
    }

    /// Faults end; everybody comes back and does his part.
    fn heal(&mut self) {
        let none = |role: &str| Quota::new(role.into(), Default::default(), Default::default());
        let quotas = ["a", "b"].map(|role| none(role).expect("says nothing")).to_vec();
        self.cluster.command(Command::SetQuota(SetQuota { quotas, force: true, there: None }));
        self.cluster.command(Command::SetWhitelist(SetWhitelist { hosts: None }));
        self.cluster.command(Command::SetPolicy(SetPolicy { name: "drf".into() }));
        self.cluster.lose = 0;
        for nth in 0..self.players.frameworks.len() {
            self.roles(nth, Command::Revive);
            self.players.frameworks[nth].offers_seen = 0;
        }
        for _ in 0..6 {
            self.forget_removed();
            self.restore_service();
            self.players.connect_all(&mut self.cluster);
            for agent in &mut self.players.agents {
                agent.send_updates(&mut self.cluster);
            }
            self.players.pass(&mut self.cluster, 10_000);
        }
    }

    fn check_promises(&self) {
        let state = &self.cluster.state;
        let open = open_work(state).into_iter().filter(|effect| !matches!(effect, Effect::SendOffer { .. }));
        assert_eq!(open.collect::<Vec<_>>(), [], "promised and not done");
        assert!(state.agents().all(|agent| agent.is_attached()), "somebody did not come back");
        assert!(state.tasks().all(|task| task.reported), "a task was never sent");
    }

    fn check_demand(&self) {
        for framework in &self.players.frameworks {
            assert!(
                framework.offers_seen > 0 || !self.has_room(),
                "a framework with demand was never offered anything"
            );
        }
    }

    fn has_room(&self) -> bool {
        self.cluster.state.agents().any(|agent| !agent.available().is_empty() || !agent.offers.is_empty())
    }

    fn check_index(&self) {
        self.cluster
            .leader
            .as_ref()
            .expect("leading")
            .check_index(&self.cluster.state)
            .expect("the index is the state's");
    }
}

/// The machine of one of the agents.
fn machine(nth: u8) -> MachineId {
    MachineId { hostname: format!("h{}", nth + 1).into(), ip: "".into() }
}

fn kill(cluster: &mut Cluster, nth: usize) {
    let Some(task) = cluster.state.tasks().nth(nth) else {
        return;
    };
    let (framework, task) = (task.framework.clone(), task.spec.id.clone());
    cluster.command(Command::RequestKill(RequestKill { framework, task, agent: None, policy: None }));
}

/// So many cases, unless `PROPTEST_CASES` says otherwise.
#[expect(clippy::disallowed_methods, reason = "tests may look at their environment")]
fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(200), max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_promise_is_kept_after_the_faults_end(events in prop::collection::vec(event(), 0..60)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            world.check_index();
        }
        world.heal();
        world.check_index();
        world.check_promises();
        world.check_demand();
    }
}
