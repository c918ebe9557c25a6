//! Links: attaching, being replaced, going away.

use mesarch_leader_core::{
    Attach, CloseReason, Config, FromAgent, Hello, How, Input, Loss, Output, TaskKey, ToAgent,
};
use mesarch_state::{
    Command, Effect,
    command::{
        AcceptOffers, AcknowledgeUpdates, Acknowledgement, Inventory, Judged, Launch, Link, Refuse,
        RequestKill, StatusUpdate, TaskSpec,
    },
    model::Attachment,
};
use mesarch_types::{
    AgentId, ClusterId, Fence, FrameworkId, LaunchId, Millis, Source, TaskId, TaskState, UpdateUuid,
    digest::{DIGEST_FORM, SetHash, task_hash},
};

use crate::cluster::{CLUSTER, Cluster, agent_spec, resources, subscription};

/// A cluster with one agent that runs one task, whose first update is acknowledged.
struct Scene {
    cluster: Cluster,
    agent: AgentId,
    link: Link,
    framework: FrameworkId,
    task: TaskId,
    launch: LaunchId,
    acknowledged: UpdateUuid,
}

impl Scene {
    fn new() -> Self {
        let mut cluster = Cluster::new(Config::default());
        let (agent, link) = cluster.register(1);
        let (framework, _) = cluster.subscribe(subscription("eng", 600));
        let task = TaskId::from("t1");
        launch(&mut cluster, &framework, &task);
        let launch = cluster.state.task(&framework, &task).expect("launched").launch;
        let acknowledged = UpdateUuid([1; 16]);
        let mut scene = Self { cluster, agent, link, framework, task, launch, acknowledged };
        scene.update(TaskState::Running, acknowledged);
        scene.acknowledge(acknowledged);
        scene.cluster.take_outputs();
        scene
    }

    fn update(&mut self, state: TaskState, uuid: UpdateUuid) {
        let update = StatusUpdate {
            framework: self.framework.clone(),
            task: self.task.clone(),
            launch: self.launch,
            status: uuid.0.to_vec().into(),
            state,
            latest: state,
            uuid,
            source: Source::Executor,
            reason: None,
        };
        let (link, message) = (self.link, FromAgent::Updates(vec![update]));
        self.cluster.input(Input::FromAgent { link, message });
    }

    fn acknowledge(&mut self, uuid: UpdateUuid) {
        let (framework, agent, task) = (self.framework.clone(), self.agent.clone(), self.task.clone());
        let items = vec![Acknowledgement { framework, agent, task, uuid }];
        self.cluster.command(Command::AcknowledgeUpdates(AcknowledgeUpdates { items }));
    }

    fn key(&self) -> TaskKey {
        TaskKey { framework: self.framework.clone(), task: self.task.clone(), launch: self.launch }
    }

    /// What the agent says if it knows all that the masters know.
    fn hello(&self) -> Attach {
        let mut digest = SetHash::default();
        digest.insert(task_hash(&self.framework, &self.task, self.launch, Some(self.acknowledged)));
        Attach {
            agent: self.agent.clone(),
            spec: agent_spec("h1", "cpus:4;mem:4096"),
            digest_form: DIGEST_FORM,
            digest,
            listed: Vec::new(),
            inventory_wanted: false,
            highest: Some(Fence { cluster: CLUSTER, incarnation: 1, term: 1 }),
            stored: Default::default(),
        }
    }

    /// Attaches with `hello` on a new link and returns what is said on that link.
    fn attach(&mut self, hello: Attach) -> Vec<ToAgent> {
        self.cluster.take_outputs();
        self.link = self.cluster.link();
        let link = self.link;
        self.cluster.input(Input::LinkOpened { link, hello: Hello::Attach(hello) });
        self.said()
    }

    fn said(&mut self) -> Vec<ToAgent> {
        let said = |output| match output {
            Output::Send { link, message } if link == self.link => Some(message),
            _ => None,
        };
        self.cluster.outputs.drain(..).filter_map(said).collect()
    }

    fn attached(&self, how: How) -> ToAgent {
        ToAgent::Attached { agent: self.agent.clone(), how }
    }
}

fn launch(cluster: &mut Cluster, framework: &FrameworkId, task: &TaskId) {
    cluster.pass(2000);
    let offer =
        cluster.state.framework(framework).expect("known").offers.iter().next().expect("offered").clone();
    let spec = TaskSpec {
        id: task.clone(),
        info: "info".to_owned().into(),
        resources: resources("cpus:1"),
        executor: None,
    };
    cluster.command(Command::AcceptOffers(AcceptOffers {
        framework: framework.clone(),
        offers: vec![offer],
        launches: vec![Launch { agent: None, group: None, task: Judged::Valid(spec) }],
        operations: Vec::new(),
        refuse: Refuse { duration: Millis::from_secs(3600) },
    }));
}

#[test]
fn a_new_agent_gets_its_id_and_the_same_nonce_the_same_id() {
    let mut cluster = Cluster::new(Config::default());
    let (first, link) = cluster.register(1);
    let (again, newer) = cluster.register(1);
    let (other, _) = cluster.register(2);
    assert_eq!(first, again);
    assert_ne!(first, other);
    let replaced = Output::CloseLink { link, reason: CloseReason::Replaced };
    assert!(cluster.outputs.contains(&replaced));
    assert_eq!(cluster.state.agent(&first).expect("known").link, newer);
}

#[test]
fn a_returning_agent_is_recognised_by_its_digest() {
    type Edit = fn(&Scene, &mut Attach);
    let table: &[(&str, Edit, How)] = &[
        ("it knows what the masters know", |_, _| {}, How::Digest),
        (
            "it changed its attributes",
            |_, hello| hello.spec = agent_spec("h1", "cpus:5;mem:4096"),
            How::Digest,
        ),
        (
            "it lists the task",
            |scene, hello| (hello.digest, hello.listed) = (SetHash(0), vec![scene.key()]),
            How::Digest,
        ),
        ("it lost the task", |_, hello| hello.digest = SetHash(0), How::Differed),
        ("it lists what it also sums", |scene, hello| hello.listed = vec![scene.key()], How::Differed),
        (
            "it lists another life of the task",
            |scene, hello| {
                hello.digest = SetHash(0);
                hello.listed = vec![TaskKey { launch: LaunchId { index: 1, position: 0 }, ..scene.key() }];
            },
            How::Differed,
        ),
        ("it has too much to list", |_, hello| hello.inventory_wanted = true, How::Wanted),
        ("it sums in another way", |_, hello| hello.digest_form = DIGEST_FORM + 1, How::Wanted),
        ("it is a stranger", |_, hello| hello.agent = AgentId::from("stranger"), How::Unknown),
    ];
    for (what, edit, how) in table {
        for failover in [false, true] {
            let mut scene = Scene::new();
            if failover {
                scene.cluster.fail_over();
            }
            let mut hello = scene.hello();
            edit(&scene, &mut hello);
            let said = scene.attach(hello.clone());
            if *how == How::Digest {
                assert_eq!(said.first(), Some(&scene.attached(How::Digest)), "{what}");
                assert_eq!(
                    *scene.cluster.state.agent(&scene.agent).expect("known").spec,
                    hello.spec,
                    "{what}"
                );
                continue;
            }
            assert_eq!(said, [ToAgent::InventoryRequest], "{what}");
            let link = scene.link;
            scene.cluster.input(Input::LinkInventory { link, inventory: Inventory::default() });
            let attached = ToAgent::Attached { agent: hello.agent, how: *how };
            assert_eq!(scene.said().first(), Some(&attached), "{what}");
        }
    }
}

#[test]
fn what_is_owed_comes_with_the_attachment() {
    let mut scene = Scene::new();
    scene.cluster.input(Input::LinkClosed { link: scene.link });
    let (framework, task) = (scene.framework.clone(), scene.task.clone());
    let kill = RequestKill { framework: framework.clone(), task: task.clone(), agent: None, policy: None };
    scene.cluster.command(Command::RequestKill(kill));
    scene.cluster.fail_over();
    let second = TaskId::from("t2");
    let more = TaskSpec {
        id: second.clone(),
        info: "info".to_owned().into(),
        resources: resources("cpus:1"),
        executor: None,
    };
    // The framework resumed, and launches on the expected agent: nobody can be told yet.
    scene.cluster.subscribe(mesarch_state::command::Subscribe {
        framework: Some(framework.clone()),
        ..subscription("eng", 600)
    });
    scene.cluster.pass(2000);
    let offer = scene.cluster.state.offers().next().expect("offered").id.clone();
    scene.cluster.command(Command::AcceptOffers(AcceptOffers {
        framework: framework.clone(),
        offers: vec![offer],
        launches: vec![Launch { agent: None, group: None, task: Judged::Valid(more) }],
        operations: Vec::new(),
        refuse: Refuse { duration: Millis(0) },
    }));
    let launch = scene.launch;
    let hello = scene.hello();
    let said = scene.attach(hello);
    assert_eq!(said[0], scene.attached(How::Digest));
    assert!(said.contains(&ToAgent::KillTask { framework: framework.clone(), task, launch }), "{said:?}");
    let launch = scene.cluster.state.task(&framework, &second).expect("launched").launch;
    assert!(said.contains(&ToAgent::RunTask { framework, task: second, launch }), "{said:?}");
}

#[test]
fn a_fence_that_this_leader_must_not_contradict_closes_the_link() {
    let fence = |cluster, incarnation, term| Fence { cluster, incarnation, term };
    for (highest, reason) in [
        (fence(ClusterId([8; 16]), 1, 1), CloseReason::ForeignCluster),
        (fence(CLUSTER, 1, 2), CloseReason::StaleLeader),
        (fence(CLUSTER, 2, 0), CloseReason::StaleLeader),
    ] {
        let mut scene = Scene::new();
        let mut hello = scene.hello();
        hello.highest = Some(highest);
        let link = scene.cluster.link();
        scene.cluster.input(Input::LinkOpened { link, hello: Hello::Attach(hello) });
        assert_eq!(scene.cluster.take_outputs(), [Output::CloseLink { link, reason }]);
    }
}

#[test]
fn repeated_updates_are_answered_from_the_state() {
    let mut scene = Scene::new();
    let proposed = scene.cluster.proposed.len();
    scene.update(TaskState::Running, scene.acknowledged);
    let (framework, task, launch, uuid) =
        (scene.framework.clone(), scene.task.clone(), scene.launch, scene.acknowledged);
    assert_eq!(scene.said(), [ToAgent::Acknowledged { framework, task, launch, uuid }]);
    let news = UpdateUuid([2; 16]);
    scene.update(TaskState::Finished, news);
    scene.cluster.take_outputs();
    scene.update(TaskState::Finished, news);
    let (framework, task) = (scene.framework.clone(), scene.task.clone());
    let forwarded = Output::Perform(Effect::SendUpdate { framework, task, uuid: news });
    assert_eq!(
        scene.cluster.take_outputs(),
        [forwarded],
        "an unacknowledged one goes to the framework again"
    );
    let updates = |command: &&Command| matches!(command, Command::RecordUpdates(_));
    assert_eq!(scene.cluster.proposed[proposed..].iter().filter(updates).count(), 1);
}

#[test]
fn what_an_agent_forgot_is_in_the_log_once_however_often_it_says_so() {
    let mut scene = Scene::new();
    let forgot = |scene: &Scene| {
        let acknowledged =
            vec![(scene.framework.clone(), scene.task.clone(), scene.launch, scene.acknowledged)];
        FromAgent::Forgot { acknowledged, frameworks: Vec::new() }
    };
    let recorded = |scene: &Scene| {
        let forgot = |command: &&Command| matches!(command, Command::AgentForgot(_));
        scene.cluster.proposed.iter().filter(forgot).count()
    };
    for (again, expect) in [("at once", 1), ("to the same leader", 1)] {
        let (link, message) = (scene.link, forgot(&scene));
        scene.cluster.input(Input::FromAgent { link, message });
        scene.cluster.pass(60);
        assert_eq!(recorded(&scene), expect, "{again}");
    }
    scene.cluster.fail_over();
    let hello = scene.hello();
    let said = scene.attach(hello);
    assert_eq!(said, [scene.attached(How::Digest)], "nothing is owed any more");
    let link = scene.cluster.state.agent(&scene.agent).expect("known").link;
    let (before, message) = (recorded(&scene), forgot(&scene));
    scene.cluster.input(Input::FromAgent { link, message });
    scene.cluster.pass(60);
    assert_eq!(recorded(&scene), before, "to the next leader");
}

#[test]
fn an_acknowledged_end_may_be_forgotten_or_not_when_the_agent_attaches() {
    for forgotten in [false, true] {
        let mut scene = Scene::new();
        let end = UpdateUuid([2; 16]);
        scene.update(TaskState::Finished, end);
        scene.acknowledge(end);
        scene.cluster.fail_over();
        let mut hello = scene.hello();
        hello.digest = SetHash(0);
        if !forgotten {
            hello.listed = vec![scene.key()];
        }
        let said = scene.attach(hello);
        assert_eq!(said[0], scene.attached(How::Digest));
        let (framework, task, launch) = (scene.framework.clone(), scene.task.clone(), scene.launch);
        assert!(said.contains(&ToAgent::Acknowledged { framework, task, launch, uuid: end }), "{said:?}");
    }
}

#[test]
fn a_lost_link_detaches_after_a_second_unless_the_agent_is_back() {
    for back in [false, true] {
        let mut scene = Scene::new();
        scene.cluster.input(Input::LinkClosed { link: scene.link });
        scene.cluster.pass(900);
        if back {
            let hello = scene.hello();
            scene.attach(hello);
        }
        scene.cluster.pass(200);
        let agent = scene.cluster.state.agent(&scene.agent).expect("known");
        assert_eq!(matches!(agent.attachment, Attachment::Detached { .. }), !back);
    }
}

#[test]
fn a_link_that_breaks_before_its_attachment_is_applied_does_not_stay_attached() {
    let mut scene = Scene::new();
    let (hello, link) = (scene.hello(), scene.cluster.link());
    scene.cluster.step(Input::LinkOpened { link, hello: Hello::Attach(hello) });
    scene.cluster.step(Input::LinkClosed { link });
    scene.cluster.settle();
    assert!(scene.cluster.state.agent(&scene.agent).expect("known").is_attached());
    scene.cluster.pass(2500);
    assert!(!scene.cluster.state.agent(&scene.agent).expect("known").is_attached());
}

#[test]
fn expected_agents_are_detached_when_patience_ends() {
    let mut scene = Scene::new();
    let (other, _) = scene.cluster.register(2);
    scene.cluster.fail_over();
    let hello = scene.hello();
    scene.attach(hello);
    scene.cluster.pass(4900);
    let is_active = |scene: &Scene, agent| scene.cluster.state.agent(agent).expect("known").is_active();
    assert!(is_active(&scene, &other), "it may be offered until then");
    scene.cluster.pass(200);
    assert!(!is_active(&scene, &other));
    assert!(is_active(&scene, &scene.agent));
}

#[test]
fn a_refused_attachment_without_inventory_asks_for_one() {
    let mut scene = Scene::new();
    let hello = scene.hello();
    // Judged while the agent is known, applied when it is unreachable.
    let link = scene.cluster.link();
    let unreachable = Command::MarkUnreachable(mesarch_state::command::MarkUnreachable {
        agents: vec![(scene.agent.clone(), scene.link)],
    });
    scene.cluster.step(Input::LinkOpened { link, hello: Hello::Attach(hello) });
    let attach = std::mem::take(&mut scene.cluster.queue);
    scene.cluster.command(unreachable);
    scene.cluster.queue = attach;
    scene.cluster.take_outputs();
    scene.cluster.settle();
    assert_eq!(scene.cluster.take_outputs(), [Output::Send { link, message: ToAgent::InventoryRequest }]);
}

#[test]
fn an_inventory_that_does_not_come_ends_the_link() {
    let mut scene = Scene::new();
    let hello = Attach { inventory_wanted: true, ..scene.hello() };
    scene.attach(hello);
    scene.cluster.pass(Config::default().inventory_timeout.0);
    let link = scene.link;
    let closed = Output::CloseLink { link, reason: CloseReason::NoInventory };
    assert!(scene.cluster.outputs.contains(&closed));
}

#[test]
fn a_proposal_that_finds_no_place_is_made_again() {
    let mut scene = Scene::new();
    scene.cluster.lose = 2;
    let hello = scene.hello();
    assert_eq!(scene.attach(hello), []);
    scene.cluster.pass(1000);
    assert_eq!(scene.said().first(), Some(&scene.attached(How::Digest)));
}

#[test]
fn messages_of_links_that_are_not_attached_are_ignored() {
    let mut scene = Scene::new();
    let proposed = scene.cluster.proposed.len();
    let old = scene.link;
    let hello = scene.hello();
    scene.attach(hello);
    scene.link = old;
    scene.update(TaskState::Finished, UpdateUuid([9; 16]));
    let recorded =
        scene.cluster.proposed[proposed..].iter().any(|command| matches!(command, Command::RecordUpdates(_)));
    assert!(!recorded);
    assert_eq!(scene.cluster.leader.as_ref().expect("leading").counters().ignored, 1);
}

#[test]
fn an_attachment_that_fits_no_entry_closes_the_link_and_the_agent_is_detached() {
    let mut scene = Scene::new();
    scene.cluster.input(Input::LinkClosed { link: scene.link });
    for _ in 0..5 {
        let mut hello = scene.hello();
        hello.inventory_wanted = true;
        assert_eq!(scene.attach(hello), [ToAgent::InventoryRequest]);
        scene.cluster.loss = Loss::TooLarge;
        scene.cluster.lose = 1;
        let link = scene.link;
        scene.cluster.input(Input::LinkInventory { link, inventory: Inventory::default() });
        let closed = Output::CloseLink { link, reason: CloseReason::TooLarge };
        assert!(scene.cluster.take_outputs().contains(&closed));
        scene.cluster.pass(400);
    }
    assert!(!scene.cluster.state.agent(&scene.agent).expect("known").is_active());
    let counters = scene.cluster.leader.as_ref().expect("leading").counters();
    assert_eq!((counters.too_large, counters.detached), (5, 1));
}

#[test]
fn the_end_of_an_executor_is_noted_once_it_is_judged() {
    let mut scene = Scene::new();
    let (framework, link, newest) = (scene.framework.clone(), scene.link, scene.launch);
    let executor = mesarch_types::ExecutorId::from("e");
    let message = FromAgent::ExecutorExited {
        framework: framework.clone(),
        executor: executor.clone(),
        newest,
        status: 0,
    };
    scene.cluster.lose = 1;
    scene.cluster.input(Input::FromAgent { link, message });
    assert_eq!(scene.said(), []);
    scene.cluster.pass(1000);
    assert_eq!(scene.said(), [ToAgent::ExecutorExitNoted { framework, executor, newest }]);
}
