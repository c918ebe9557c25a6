//! Agents and machines that operators take out of service, as the leader carries it out.

use mesarch_leader_core::{CloseReason, Config, Output, ToAgent};
use mesarch_state::{
    Command, Effect,
    command::{DrainAgent, Machines, MarkAgentGone, SetSchedule, Window},
    model::{DrainState, MachineId},
};
use mesarch_types::{Millis, TaskState, Unavailability};

use crate::{
    cluster::Cluster,
    players::{Agent, Framework, Players},
};

/// An agent with one task of a framework that refuses what it is offered afterwards for `refuse_secs`.
fn scene(refuse_secs: u64) -> (Cluster, Players) {
    let mut cluster = Cluster::new(Config::default());
    let framework = Framework::new("a", 1, Millis::from_secs(refuse_secs));
    let mut players = Players { agents: vec![Agent::new(1)], frameworks: vec![framework] };
    players.connect_all(&mut cluster);
    players.pass(&mut cluster, 2000);
    assert_eq!(cluster.state.tasks().count(), 1);
    (cluster, players)
}

fn agent(players: &Players) -> mesarch_types::AgentId {
    players.agents[0].id.clone().expect("registered")
}

fn drain_state(cluster: &Cluster, players: &Players) -> DrainState {
    let agent = cluster.state.agent(&agent(players)).expect("known");
    agent.administration.drain.expect("drained").state
}

#[test]
fn a_drain_asked_at_one_leader_ends_at_the_next() {
    let (mut cluster, mut players) = scene(5);
    let drain = DrainAgent { agent: agent(&players), max_grace_ns: None, mark_gone: false };
    cluster.command(Command::DrainAgent(drain));
    // The leader dies before anything of it reached the agent.
    players.fail_over(&mut cluster);
    assert_eq!(drain_state(&cluster, &players), DrainState::Draining);
    players.connect_all(&mut cluster);
    players.pass(&mut cluster, 2000);
    assert_eq!(drain_state(&cluster, &players), DrainState::Drained);
    assert_eq!(cluster.state.tasks().count(), 0);
    let framework = players.frameworks[0].id.clone().expect("subscribed");
    let ended = &cluster.state.framework(&framework).expect("known").completed[0];
    assert_eq!(ended.state, TaskState::Killed);
    players.frameworks[0].offers_seen = 0;
    players.pass(&mut cluster, 20_000);
    assert_eq!(players.frameworks[0].offers_seen, 0, "a drained agent is not offered");
}

#[test]
fn a_gone_agent_is_told_to_end_now_or_when_it_comes_back() {
    for connected in [true, false] {
        let (mut cluster, mut players) = scene(5);
        let (id, link) = (agent(&players), players.agents[0].link.expect("connected"));
        if !connected {
            players.agents[0].disconnect(&mut cluster);
        }
        cluster.take_outputs();
        cluster.command(Command::MarkAgentGone(MarkAgentGone { agent: id.clone() }));
        let mut link = link;
        if !connected {
            players.agents[0].connect(&mut cluster);
            link = players.agents[0].link.expect("connected");
        }
        let for_agent = |output: &Output| match output {
            Output::Send { link: to, message } => *to == link && !matches!(message, ToAgent::Ping { .. }),
            Output::CloseLink { link: to, .. } => *to == link,
            _ => false,
        };
        let told: Vec<_> = cluster.take_outputs().into_iter().filter(for_agent).collect();
        let reason = CloseReason::Gone;
        let message = ToAgent::Shutdown { reason };
        assert_eq!(told, [Output::Send { link, message }, Output::CloseLink { link, reason }]);
        assert!(cluster.state.agent(&id).is_none());
    }
}

fn schedule(start_ns: i64) -> Command {
    let machines = vec![MachineId { hostname: "h1".into(), ip: "".into() }];
    let unavailability = Unavailability { start_ns, duration_ns: None };
    Command::SetSchedule(SetSchedule { windows: vec![Window { machines, unavailability }] })
}

#[test]
fn who_runs_something_on_a_scheduled_machine_is_asked_to_leave_and_asked_again_after_its_refusal() {
    let (mut cluster, mut players) = scene(5);
    cluster.command(schedule(1));
    let asked = |cluster: &Cluster| {
        let issued = cluster.proposed.iter();
        issued.filter(|command| matches!(command, Command::IssueInverseOffers(_))).count()
    };
    players.pass(&mut cluster, 1000);
    assert_eq!((asked(&cluster), cluster.state.inverse_answers().count()), (1, 1));
    players.pass(&mut cluster, 3000);
    assert_eq!(asked(&cluster), 1, "it does not want to be asked so soon");
    players.pass(&mut cluster, 4000);
    assert_eq!(asked(&cluster), 2);
    cluster.command(Command::SetSchedule(SetSchedule { windows: Vec::new() }));
    players.pass(&mut cluster, 10_000);
    assert_eq!(asked(&cluster), 2, "nobody has to leave");
}

#[test]
fn an_inverse_offer_that_was_not_answered_is_sent_again_by_the_next_leader() {
    let (mut cluster, mut players) = scene(5);
    cluster.command(schedule(1));
    cluster.pass(1000);
    assert_eq!(cluster.state.inverse_offers().count(), 1);
    players.fail_over(&mut cluster);
    let framework = players.frameworks[0].id.clone().expect("subscribed");
    let resumed = crate::cluster::subscription("a", 100_000);
    let stream = cluster.state.framework(&framework).expect("known").stream().map(|(id, _)| id.clone());
    cluster.subscribe(mesarch_state::command::Subscribe {
        framework: Some(framework.clone()),
        resume: stream,
        stream: "another".into(),
        ..resumed
    });
    let sent = Output::Perform(Effect::SendInverseOffer { framework, agent: agent(&players) });
    assert!(cluster.outputs.contains(&sent));
    cluster.pass(10_000);
    let issued = cluster.proposed.iter().filter(|one| matches!(one, Command::IssueInverseOffers(_)));
    assert_eq!(issued.count(), 1, "it is outstanding");
}

#[test]
fn an_agent_of_a_machine_that_is_down_is_sent_away_until_the_machine_is_up() {
    let (mut cluster, mut players) = scene(5);
    let id = agent(&players);
    cluster.command(schedule(1));
    let machines = || Machines { machines: vec![MachineId { hostname: "h1".into(), ip: "".into() }] };
    cluster.command(Command::StartMaintenance(machines()));
    let reason = CloseReason::MachineDown;
    let told = |cluster: &Cluster| {
        let shutdown = |output: &Output| matches!(output, Output::Send { message: ToAgent::Shutdown { reason: told }, .. } if *told == reason);
        cluster.outputs.iter().any(shutdown)
    };
    players.deliver(&mut cluster);
    players.agents[0].connect(&mut cluster);
    assert!(told(&cluster));
    players.deliver(&mut cluster);
    assert!(cluster.state.agent(&id).is_none());
    cluster.command(Command::StopMaintenance(machines()));
    players.connect_all(&mut cluster);
    assert!(cluster.state.agent(&id).is_some_and(|agent| agent.is_attached()), "with the id that it had");
}
