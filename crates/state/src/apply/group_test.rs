//! One group of an ACCEPT on a small cluster.

use mesarch_types::{AgentId, FrameworkId, Reason, TaskState};

use crate::{
    Applied, Command, Effect, Outcome,
    command::{AcceptOffers, AgentSpec, Judged, Launch, RegisterAgent, RequestKill, TaskSpec},
    open_work,
    outcome::{LaunchRefusal, LaunchResult},
    testing::{World, agent_spec, link, refuse, resources, role, task, task_with_executor},
};

struct Scene {
    world: World,
    agent: AgentId,
    framework: FrameworkId,
}

impl Scene {
    fn of_level(level: u32) -> Self {
        let mut world = World::of_level(level);
        let spec = AgentSpec { total: resources("cpus:8;mem:8192;ports:[1-9]"), ..agent_spec() };
        let register = RegisterAgent { nonce: [1; 16], spec, link: link(1) };
        let Outcome::AgentAttached { agent } = world.apply(Command::RegisterAgent(register)).outcome else {
            panic!("attached")
        };
        let framework = world.framework();
        Self { world, agent, framework }
    }

    fn new() -> Self {
        Self::of_level(crate::FEATURE_LEVEL_MAX)
    }

    /// One task alone, the group, and one more alone.
    fn accept(&mut self, group: &[Judged]) -> Applied {
        self.accept_of("cpus:6;mem:4096;ports:[1-9]", group)
    }

    fn accept_of(&mut self, offered: &str, group: &[Judged]) -> Applied {
        let offer = self.world.offer(&self.framework, &self.agent, offered);
        let alone =
            |id| Launch { agent: None, group: None, task: Judged::Valid(task(id, "cpus:0.5;mem:64")) };
        let members = group.iter().cloned();
        let members = members.map(|task| Launch { agent: None, group: Some(1), task });
        let launches = [alone("before")].into_iter().chain(members).chain([alone("after")]).collect();
        self.world.apply(Command::AcceptOffers(AcceptOffers {
            framework: self.framework.clone(),
            offers: vec![offer],
            launches,
            operations: Vec::new(),
            refuse: refuse(0),
        }))
    }

    fn run_group(&self) -> Vec<Effect> {
        let owed = open_work(&self.world.state);
        owed.into_iter().filter(|effect| matches!(effect, Effect::RunTaskGroup { .. })).collect()
    }
}

fn member(id: &str) -> TaskSpec {
    task_with_executor(id, "e")
}

fn valid(ids: &[&str]) -> Vec<Judged> {
    ids.iter().map(|id| Judged::Valid(member(id))).collect()
}

fn results(applied: &Applied) -> Vec<LaunchResult> {
    match &applied.outcome {
        Outcome::Accepted(results) => results.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_is_launched_and_sent_as_one() {
    let mut scene = Scene::new();
    let applied = scene.accept(&valid(&["a", "b", "c"]));
    let at = scene.world.at();
    let launched: Vec<_> = (0..5).map(|place| LaunchResult::Launched(at.launch(place))).collect();
    assert_eq!(results(&applied), launched);
    let sent: Vec<_> = applied.effects.iter().filter(|effect| effect.agent().is_some()).collect();
    let group = Effect::RunTaskGroup { agent: scene.agent.clone(), launch: at.launch(1) };
    assert_eq!((sent.len(), sent[1]), (3, &group));
    assert_eq!(
        scene.world.free(&scene.agent),
        "cpus:3;mem:7616;ports:[1-9]",
        "three tasks of 1, an executor, two of a half"
    );
    let known = scene.world.state.group(at.launch(1)).expect("on its way");
    assert_eq!((known.tasks.len(), known.unreported), (3, 3));
}

#[test]
fn it_is_owed_as_a_whole_until_its_agent_has_spoken_of_all_of_it() {
    let mut scene = Scene::new();
    scene.accept(&valid(&["a", "b"]));
    let launch = scene.world.at().launch(1);
    let whole = vec![Effect::RunTaskGroup { agent: scene.agent.clone(), launch }];
    let agent = scene.agent.clone();
    scene.world.begin_term();
    scene.world.attach(&agent, None);
    assert_eq!(scene.run_group(), whole, "by a new leader");
    let framework = scene.framework.clone();
    scene.world.record(&framework, "b", TaskState::Starting, 1);
    assert_eq!(scene.run_group(), whole);
    scene.world.record(&framework, "a", TaskState::Starting, 2);
    assert_eq!(scene.run_group(), []);
    assert_eq!(scene.world.state.group(launch), None);
}

#[test]
fn it_stays_owed_when_one_of_its_tasks_is_to_end() {
    let mut scene = Scene::new();
    scene.accept(&valid(&["a", "b"]));
    let (framework, task) = (scene.framework.clone(), "a".into());
    scene.world.apply(Command::RequestKill(RequestKill { framework, task, agent: None, policy: None }));
    let owed = open_work(&scene.world.state);
    let place = |wanted: fn(&Effect) -> bool| owed.iter().position(wanted).expect("owed");
    let group = place(|effect| matches!(effect, Effect::RunTaskGroup { .. }));
    assert!(group < place(|effect| matches!(effect, Effect::KillTask { .. })), "a kill finds its task");
}

#[test]
fn nothing_is_left_of_a_group_whose_agent_is_given_up() {
    let mut scene = Scene::new();
    scene.accept(&valid(&["a", "b"]));
    let launch = scene.world.at().launch(1);
    let agent = scene.agent.clone();
    scene.world.give_up(&agent);
    assert_eq!(scene.world.state.group(launch), None);
}

#[test]
fn all_tasks_of_a_group_or_none() {
    let bad = Judged::Invalid { task: "bad".into(), message: "no".into() };
    let other = Judged::Valid(TaskSpec { executor: None, ..member("other") });
    let big =
        Judged::Valid(TaskSpec { resources: resources("cpus:5").allocated_to(&role()), ..member("big") });
    let busy = |id| TaskSpec { resources: resources("ports:[1-2]").allocated_to(&role()), ..member(id) };
    let live = Judged::Valid(member("before"));
    let with_a = |judged: Judged| vec![Judged::Valid(member("a")), judged];
    let table = [
        (with_a(bad), LaunchRefusal::InvalidGroup),
        (with_a(other), LaunchRefusal::InvalidGroup),
        (with_a(big), LaunchRefusal::Resources),
        (with_a(Judged::Valid(member("a"))), LaunchRefusal::InvalidGroup),
        (vec![Judged::Valid(busy("p")), Judged::Valid(busy("q"))], LaunchRefusal::Resources),
        (with_a(live), LaunchRefusal::InvalidGroup),
    ];
    for (group, refusal) in table {
        let mut scene = Scene::new();
        let applied = scene.accept(&group);
        let results = results(&applied);
        assert!(
            matches!(results[0], LaunchResult::Launched(_))
                && matches!(results[3], LaunchResult::Launched(_))
        );
        let known = LaunchResult::AlreadyLive("before".into());
        for result in &results[1..3] {
            assert!(*result == LaunchResult::Refused(refusal) || *result == known, "{result:?}");
        }
        assert_eq!(scene.world.state.tasks().count(), 2, "none of {group:?}");
        assert_eq!(scene.world.state.executors().count(), 0);
        let news = scene.world.news(&scene.framework);
        let told = news.iter().filter(|news| news.task.as_str() != "before");
        assert!(told.clone().count() > 0);
        told.for_each(|news| {
            assert_eq!((news.state, news.reason), (TaskState::Error, Some(Reason::TaskGroupInvalid)));
        });
    }
}

#[test]
fn a_second_try_is_answered_with_what_is_known() {
    let mut scene = Scene::new();
    scene.accept(&valid(&["a", "b"]));
    let known = ["before", "a", "b", "after"].map(|id| LaunchResult::AlreadyLive(id.into()));
    let applied = scene.accept_of("cpus:1;mem:64", &valid(&["a", "b"]));
    assert_eq!(results(&applied), known);
}

#[test]
fn below_its_level_each_task_is_alone() {
    let mut scene = Scene::of_level(3);
    let applied = scene.accept(&valid(&["a", "b"]));
    let groups = applied.effects.iter().filter(|effect| matches!(effect, Effect::RunTaskGroup { .. }));
    assert_eq!((groups.count(), scene.world.state.tasks().count()), (0, 4));
}
