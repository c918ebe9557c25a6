//! One ACCEPT on a small cluster.

use mesarch_types::{FrameworkId, Millis, Reason, TaskId, TaskState};

use crate::{
    Applied, Change, Command, Effect, Holding, Outcome, Released,
    command::{AcceptOffers, Launch},
    outcome::{LaunchRefusal, LaunchResult},
    testing::{World, refuse, resources, role, task, task_with_executor},
};

fn results(applied: &Applied) -> &[LaunchResult] {
    match &applied.outcome {
        Outcome::Accepted(results) => results,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_accepted_offer_becomes_a_staging_task_and_a_refused_rest() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let offer = world.offer(&framework, &agent, "cpus:4;mem:1024");
    let spec = task("t", "cpus:1;mem:128");
    let applied = world.apply(Command::AcceptOffers(AcceptOffers {
        framework: framework.clone(),
        offers: vec![offer.clone()],
        launches: vec![Launch::Task(spec.clone())],
        refuse: refuse(5),
    }));
    let launch = world.at().launch(0);
    let holding = Holding {
        framework: framework.clone(),
        role: role(),
        agent: agent.clone(),
        resources: resources("cpus:3;mem:896"),
    };
    let expect = Applied {
        outcome: Outcome::Accepted(vec![LaunchResult::Launched(launch)]),
        changes: vec![
            Change::OfferRemoved { offer, framework: framework.clone() },
            Change::TaskAdded(framework.clone(), spec.id.clone()),
            Change::Released { holding, how: Released::Refused { until: Millis(world.now + 5000) } },
        ],
        effects: vec![Effect::RunTask {
            agent: agent.clone(),
            framework: framework.clone(),
            task: spec.id,
            launch,
        }],
    };
    assert_eq!(applied, expect);
    assert_eq!(world.free(&agent), "cpus:7;mem:8064");
    assert!(world.told(&framework).is_empty());
}

#[test]
fn an_executor_is_charged_once_and_its_description_must_stay() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let offer = world.offer(&framework, &agent, "cpus:8;mem:1024");
    let mut differing = task_with_executor("c", "e");
    differing.executor.as_mut().expect("has one").info = b"other".as_slice().into();
    let tasks = [task_with_executor("a", "e"), task_with_executor("b", "e"), differing];
    let applied = world.accept(&framework, &[offer], &tasks);
    let expect = [
        LaunchResult::Launched(world.at().launch(0)),
        LaunchResult::Launched(world.at().launch(1)),
        LaunchResult::Refused(LaunchRefusal::ExecutorDiffers),
    ];
    assert_eq!(results(&applied), expect);
    assert_eq!(world.free(&agent), "cpus:5;mem:7872");
    assert_eq!(world.told(&framework), [("c".into(), TaskState::Error)]);
}

#[test]
fn each_task_is_judged_on_its_own() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    world.launch(&framework, &agent, &task("live", "cpus:1"));
    let offer = world.offer(&framework, &agent, "cpus:2;mem:512");
    let invalid = Launch::Invalid { task: TaskId::from("bad"), message: "no command".into() };
    let launches = ["live", "big", "fits"]
        .map(|id| Launch::Task(task(id, if id == "big" { "cpus:3" } else { "cpus:2" })));
    let applied = world.apply(Command::AcceptOffers(AcceptOffers {
        framework: framework.clone(),
        offers: vec![offer],
        launches: [vec![invalid], launches.to_vec()].concat(),
        refuse: refuse(0),
    }));
    let expect = [
        LaunchResult::Refused(LaunchRefusal::Invalid),
        LaunchResult::Refused(LaunchRefusal::Invalid),
        LaunchResult::Refused(LaunchRefusal::Resources),
        LaunchResult::Launched(world.at().launch(3)),
    ];
    assert_eq!(results(&applied), expect);
    let news = world.news(&framework);
    assert!(
        news.iter().all(|news| news.reason == Some(Reason::TaskInvalid) && news.state == TaskState::Error)
    );
    let messages: Vec<&str> = news.iter().map(|news| &*news.message).collect();
    assert_eq!(&messages[..2], ["no command", "Task has duplicate ID: live"]);
    assert!(messages[2].contains("cpus:3") && messages[2].contains("cpus:2"), "{}", messages[2]);
}

#[test]
fn accept_of_gone_offers_loses_the_tasks_in_the_words_that_the_framework_knows() {
    for (partition_aware, expect) in [(true, TaskState::Dropped), (false, TaskState::Lost)] {
        let mut world = World::new();
        let agent = world.agent(1);
        let framework = world.framework_with(|c| {
            if !partition_aware {
                c.spec.capabilities = Default::default();
            }
        });
        let (gone, valid) =
            (world.offer(&framework, &agent, "cpus:1"), world.offer(&framework, &agent, "cpus:2"));
        world.apply(Command::RescindOffers(crate::command::RescindOffers { offers: vec![gone.clone()] }));
        let applied = world.accept(&framework, &[valid.clone(), gone], &[task("t", "cpus:1")]);
        assert_eq!(results(&applied), [LaunchResult::Refused(LaunchRefusal::InvalidOffers)]);
        assert_eq!(world.told(&framework), [("t".into(), expect)]);
        assert_eq!(world.news(&framework)[0].reason, Some(Reason::InvalidOffers));
        assert!(world.state.offer(&valid).is_none(), "the valid ones are discarded");
        assert_eq!(world.free(&agent), crate::testing::TOTAL);
    }
}

#[test]
fn the_same_accept_twice_never_loses_the_task() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let offer = world.offer(&framework, &agent, "cpus:2;mem:512");
    let tasks = [task("t", "cpus:1")];
    world.accept(&framework, std::slice::from_ref(&offer), &tasks);
    world.record(&framework, "t", TaskState::Running, 1);
    let applied = world.accept(&framework, &[offer], &tasks);
    assert_eq!(results(&applied), [LaunchResult::AlreadyLive(TaskId::from("t"))]);
    assert_eq!(world.told(&framework), [("t".into(), TaskState::Running)]);
    assert_eq!(world.news(&framework)[0].reason, Some(Reason::Reconciliation));
    assert!(world.state.task(&framework, &TaskId::from("t")).is_some());
}

#[test]
fn a_task_on_an_unreachable_agent_keeps_its_id() {
    let mut world = World::new();
    let (away, agent, framework) = (world.agent(1), world.agent(2), world.framework());
    world.launch(&framework, &away, &task("t", "cpus:1"));
    world.give_up(&away);
    let offer = world.offer(&framework, &agent, "cpus:2");
    let applied = world.accept(&framework, &[offer], &[task("t", "cpus:1")]);
    assert_eq!(results(&applied), [LaunchResult::Refused(LaunchRefusal::Invalid)]);
    let applied = world.accept(&framework, &[], &[task("t", "cpus:1")]);
    assert_eq!(results(&applied), [LaunchResult::AlreadyLive(TaskId::from("t"))]);
    assert_eq!(world.told(&framework).last(), Some(&("t".into(), TaskState::Unreachable)));
}

#[test]
fn offers_of_two_agents_are_refused_together() {
    let mut world = World::new();
    let (one, two, framework) = (world.agent(1), world.agent(2), world.framework());
    let offers = [world.offer(&framework, &one, "cpus:1"), world.offer(&framework, &two, "cpus:1")];
    let doubled = [offers[0].clone(), offers[0].clone()];
    let mut other = world.clone();
    for (world, offers) in [(&mut world, &offers), (&mut other, &doubled)] {
        let applied = world.accept(&framework, offers, &[task("t", "cpus:1")]);
        assert_eq!(results(&applied), [LaunchResult::Refused(LaunchRefusal::InvalidOffers)]);
        assert!(world.state.offer(&offers[0]).is_none() && world.state.offer(&offers[1]).is_none());
    }
}

#[test]
fn an_expected_agent_gets_its_launch_when_it_attaches() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    world.begin_term();
    world.apply(Command::Subscribe(crate::command::Subscribe {
        framework: Some(framework.clone()),
        ..crate::testing::subscribe()
    }));
    let offer = world.offer(&framework, &agent, "cpus:2");
    let applied = world.accept(&framework, &[offer], &[task("t", "cpus:1")]);
    assert_eq!(applied.effects, []);
    let launch = world.at().launch(0);
    let run = Effect::RunTask {
        agent: agent.clone(),
        framework: framework.clone(),
        task: TaskId::from("t"),
        launch,
    };
    assert_eq!(world.attach(&agent, None).effects, [run]);
}

#[test]
fn a_framework_that_is_unknown_or_removed_accepts_nothing() {
    let mut world = World::new();
    let framework = world.framework();
    world.apply(Command::Teardown(crate::command::Teardown { framework: framework.clone() }));
    for (framework, expect) in [
        (framework, crate::outcome::Refusal::FrameworkRemoved),
        (FrameworkId::from("x"), crate::outcome::Refusal::UnknownFramework),
    ] {
        assert_eq!(world.accept(&framework, &[], &[]).outcome, Outcome::Refused(expect));
    }
}
