//! One ACCEPT on a small cluster.

use mesarch_types::{AgentId, FrameworkId, Millis, Reason, TaskId, TaskState};

use crate::{
    Applied, Change, Command, Effect, Holding, Outcome, Released,
    command::{AcceptOffers, Judged, Launch},
    outcome::{LaunchRefusal, LaunchResult},
    testing::{World, launch_on_nothing, refuse, resources, role, task, task_with_executor},
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
        launches: vec![launch_on_nothing(spec.clone())],
        operations: Vec::new(),
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
    let bad = Judged::Invalid { task: TaskId::from("bad"), message: "no command".into() };
    let invalid = Launch { agent: None, group: None, task: bad };
    let launches = ["live", "big", "fits"]
        .map(|id| launch_on_nothing(task(id, if id == "big" { "cpus:3" } else { "cpus:2" })));
    let applied = world.apply(Command::AcceptOffers(AcceptOffers {
        framework: framework.clone(),
        offers: vec![offer],
        launches: [vec![invalid], launches.to_vec()].concat(),
        operations: Vec::new(),
        refuse: refuse(0),
    }));
    let expect = [
        LaunchResult::Refused(LaunchRefusal::Invalid),
        LaunchResult::AlreadyLive(TaskId::from("live")),
        LaunchResult::Refused(LaunchRefusal::Resources),
        LaunchResult::Launched(world.at().launch(3)),
    ];
    assert_eq!(results(&applied), expect);
    let news = world.news(&framework);
    let told: Vec<_> = news.iter().map(|news| (news.task.as_str(), news.state, news.reason)).collect();
    let expect = [
        ("bad", TaskState::Error, Some(Reason::TaskInvalid)),
        ("live", TaskState::Staging, Some(Reason::Reconciliation)),
        ("big", TaskState::Error, Some(Reason::TaskInvalid)),
    ];
    assert_eq!(told, expect);
    assert_eq!(&*news[0].message, "no command");
    assert!(news[2].message.contains("cpus:3") && news[2].message.contains("cpus:2"), "{}", news[2].message);
}

/// A second launch of `live`, which holds one cpu of the eight, in each way that can be wrong or right.
fn second_launches() -> [(&'static str, Judged); 4] {
    let invalid = Judged::Invalid { task: TaskId::from("live"), message: "no command".into() };
    [
        ("the same", Judged::Valid(task("live", "cpus:1"))),
        ("another", Judged::Valid(task_with_executor("live", "e"))),
        ("too big", Judged::Valid(task("live", "cpus:7"))),
        ("invalid", invalid),
    ]
}

#[test]
fn no_accept_on_good_offers_declares_a_live_task_ended() {
    for (name, judged) in second_launches() {
        for known in [TaskState::Staging, TaskState::Running, TaskState::Unreachable] {
            let mut world = World::new();
            let (agent, framework) = (world.agent(1), world.framework());
            let launch = world.launch(&framework, &agent, &task("live", "cpus:1"));
            if known != TaskState::Staging {
                world.record(&framework, "live", TaskState::Running, 1);
            }
            let other = world.agent(2);
            if known == TaskState::Unreachable {
                world.give_up(&agent);
            }
            let before = world.told(&framework).len();
            let offer = world.offer(&framework, &other, "cpus:2;mem:512");
            let applied = world.apply(Command::AcceptOffers(AcceptOffers {
                framework: framework.clone(),
                offers: vec![offer.clone()],
                launches: vec![Launch { agent: Some(other.clone()), group: None, task: judged.clone() }],
                operations: Vec::new(),
                refuse: refuse(5),
            }));
            assert_eq!(results(&applied), [LaunchResult::AlreadyLive(TaskId::from("live"))], "{name}");
            let news = world.news(&framework).split_off(before);
            let [news] = &news[..] else { panic!("{news:?}") };
            assert_eq!((news.state, news.reason), (known, Some(Reason::Reconciliation)), "{name}");
            assert_eq!(news.agent, Some(agent.clone()), "where it is, not where it was to go");
            assert!(news.message.contains("in use") && news.message.contains("nothing was launched"));
            assert!(news.unreachable.is_some() == (known == TaskState::Unreachable));
            let live = world.state.task(&framework, &TaskId::from("live")).map(|task| task.launch);
            assert_eq!(live, Some(launch).filter(|_| known != TaskState::Unreachable), "{name}");
            let holding = Holding {
                framework: framework.clone(),
                role: role(),
                agent: other.clone(),
                resources: resources("cpus:2;mem:512"),
            };
            let until = Millis(world.now + 5000);
            let rest = Change::Released { holding, how: Released::Refused { until } };
            assert_eq!(applied.changes, [Change::OfferRemoved { offer, framework }, rest], "{name}");
            assert_eq!(world.free(&other), crate::testing::TOTAL);
        }
    }
}

#[test]
fn an_id_that_comes_twice_in_one_accept_is_launched_once() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let offer = world.offer(&framework, &agent, "cpus:4");
    let applied = world.accept(&framework, &[offer], &[task("t", "cpus:1"), task("t", "cpus:1")]);
    let launch = LaunchResult::Launched(world.at().launch(0));
    assert_eq!(results(&applied), [launch, LaunchResult::AlreadyLive(TaskId::from("t"))]);
    assert_eq!(world.told(&framework), [("t".into(), TaskState::Staging)]);
    assert_eq!(world.free(&agent), "cpus:7;mem:8192");
}

#[test]
fn an_id_of_a_task_that_ended_is_free_again() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let first = world.launch(&framework, &agent, &task("t", "cpus:1"));
    world.record(&framework, "t", TaskState::Finished, 1);
    let offer = world.offer(&framework, &agent, "cpus:1");
    let applied = world.accept(&framework, &[offer], &[task("t", "cpus:1")]);
    let known = LaunchResult::AlreadyLive(TaskId::from("t"));
    assert_eq!(results(&applied), [known], "its end is not acknowledged: it is told again");
    assert_eq!(world.told(&framework), [("t".into(), TaskState::Finished)]);
    world.acknowledge(&framework, &agent, "t", 1);
    assert!(world.launch(&framework, &agent, &task("t", "cpus:1")) > first);
}

#[test]
fn an_update_that_refuses_a_task_names_the_agent_that_the_task_names() {
    let mut world = World::new();
    let (agent, framework) = (world.agent(1), world.framework());
    let bad = Judged::Invalid { task: TaskId::from("bad"), message: "no command".into() };
    let big = Judged::Valid(task("big", "cpus:3"));
    for (offers, named, expect) in [
        ("gone", Some("elsewhere"), Some("elsewhere")),
        ("gone", None, None),
        ("none", Some("elsewhere"), Some("elsewhere")),
        ("good", Some("elsewhere"), Some("elsewhere")),
        ("good", None, Some(agent.as_str())),
    ] {
        let offers = match offers {
            "gone" => vec!["gone".into()],
            "none" => vec![],
            _ => vec![world.offer(&framework, &agent, "cpus:1")],
        };
        let launches = [&bad, &big].map(|task| Launch {
            agent: named.map(AgentId::from),
            group: None,
            task: task.clone(),
        });
        let command = AcceptOffers {
            framework: framework.clone(),
            offers,
            launches: launches.to_vec(),
            operations: Vec::new(),
            refuse: refuse(0),
        };
        let before = world.told(&framework).len();
        world.apply(Command::AcceptOffers(command));
        let agents = world.news(&framework).split_off(before).into_iter().map(|news| news.agent);
        assert_eq!(agents.collect::<Vec<_>>(), vec![expect.map(AgentId::from); 2]);
    }
}

/// Replicas of an older version apply the same entries: on their level nothing has changed.
#[test]
fn on_the_first_level_a_live_task_is_answered_as_a_duplicate_and_no_agent_is_named() {
    let mut world = World::new();
    world.state.meta.level = 1;
    let (agent, framework) = (world.agent(1), world.framework());
    world.launch(&framework, &agent, &task("live", "cpus:1"));
    let offer = world.offer(&framework, &agent, "cpus:2");
    let live =
        Launch { agent: Some("elsewhere".into()), group: None, task: Judged::Valid(task("live", "cpus:1")) };
    let new =
        Launch { agent: Some("elsewhere".into()), group: None, task: Judged::Valid(task("new", "cpus:1")) };
    for (offers, launch) in [(vec![offer], live), (vec!["gone".into()], new)] {
        let launches = vec![launch];
        let command = AcceptOffers {
            framework: framework.clone(),
            offers,
            launches,
            operations: Vec::new(),
            refuse: refuse(0),
        };
        world.apply(Command::AcceptOffers(command));
    }
    let news = world.news(&framework);
    let told: Vec<_> = news.iter().map(|news| (news.state, news.agent.clone(), &*news.message)).collect();
    let [duplicate, dropped] = &told[..] else { panic!("{told:?}") };
    assert_eq!(*duplicate, (TaskState::Error, Some(agent), "Task has duplicate ID: live"));
    assert_eq!((dropped.0, &dropped.1), (TaskState::Dropped, &None));
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
    assert_eq!(results(&applied), [LaunchResult::AlreadyLive(TaskId::from("t"))]);
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
