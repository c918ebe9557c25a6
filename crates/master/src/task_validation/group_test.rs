//! One valid group, changed in one respect per line.

use mesarch_proto::mesos::v1::{self, executor_info, offer};

use super::*;

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource { name: name.into(), scalar: Some(v1::value::Scalar { value }), ..Default::default() }
}

fn ports(begin: u64, end: u64) -> v1::Resource {
    let range = vec![v1::value::Range { begin, end }];
    v1::Resource {
        name: "ports".into(),
        r#type: v1::value::Type::Ranges as i32,
        ranges: Some(v1::value::Ranges { range }),
        ..Default::default()
    }
}

fn task(id: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: "t".into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: v1::AgentId { value: "a1".into() },
        resources: vec![scalar("cpus", 1.0)],
        command: Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..Default::default()
    }
}

type Group = offer::operation::LaunchGroup;

fn group() -> Group {
    let executor = v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: "e1".into() },
        r#type: Some(executor_info::Type::Default as i32),
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 1.0)],
        ..Default::default()
    };
    Group { executor, task_group: v1::TaskGroupInfo { tasks: vec![task("t1"), task("t2")] } }
}

fn context() -> Context {
    Context { agent: Some(("a1".into(), true)), ..Context::of("f1", "eng") }
}

fn judged(operation: offer::Operation, context: &Context) -> Result<(), String> {
    let launches = group::judge(operation, 7, context);
    assert!(launches.iter().all(|launch| launch.group == Some(7)));
    let wrong: Vec<&str> = launches
        .iter()
        .filter_map(|launch| match &launch.task {
            Judged::Invalid { message, .. } => Some(&**message),
            Judged::Valid(spec) => {
                assert!(spec.executor.is_some(), "the group's executor is filled in");
                None
            }
        })
        .collect();
    assert!(wrong.is_empty() || wrong.len() == launches.len(), "all or none: {wrong:?}");
    assert!(wrong.iter().all(|message| *message == wrong[0]), "{wrong:?}");
    wrong.first().map_or(Ok(()), |message| Err((*message).to_owned()))
}

fn check_with(context: &Context, change: impl FnOnce(&mut Group), expect: Result<(), &str>) {
    let mut group = group();
    change(&mut group);
    let found = judged(offer::Operation { launch_group: Some(group), ..Default::default() }, context);
    match (found, expect) {
        (Ok(()), Ok(())) => {}
        (Err(message), Err(text)) if message.contains(text) => {}
        (found, expect) => panic!("{found:?} instead of {expect:?}"),
    }
}

fn check(change: impl FnOnce(&mut Group), expect: Result<(), &str>) {
    check_with(&context(), change, expect);
}

fn first(group: &mut Group) -> &mut v1::TaskInfo {
    &mut group.task_group.tasks[0]
}

fn container(kind: i32, share: Option<bool>) -> Option<v1::ContainerInfo> {
    let linux_info = share.map(|share| v1::LinuxInfo { share_cgroups: Some(share), ..Default::default() });
    Some(v1::ContainerInfo { r#type: kind, linux_info, ..Default::default() })
}

#[test]
fn each_task_of_a_group() {
    check(|_| {}, Ok(()));
    check(|g| first(g).task_id.value = "a/b".into(), Err("Task 'a/b' is invalid: Task ID"));
    check(|g| first(g).agent_id.value = "a2".into(), Err("Task 't1' is invalid: Task uses invalid agent"));
    check(|g| first(g).resources.clear(), Err("Task 't1' is invalid: Task uses no resources"));
    check(|g| first(g).command = None, Ok(()));
    check(|g| first(g).executor = Some(g.executor.clone()), Ok(()));
    check(|g| first(g).executor = Some(Default::default()), Err("differs from the group's"));
    check(|g| first(g).container = container(2, None), Ok(()));
    let docker = |g: &mut Group| {
        first(g).container = container(1, None);
        first(g).container.as_mut().expect("set").docker = Some(Default::default());
    };
    check(docker, Err("Docker ContainerInfo"));
    let http = || {
        let http = Some(v1::health_check::HttpCheckInfo::default());
        Some(v1::HealthCheck { http, ..Default::default() })
    };
    check(|g| first(g).health_check = http(), Ok(()));
    let own_network = |g: &mut Group| {
        first(g).health_check = http();
        let network_infos = vec![v1::NetworkInfo::default()];
        first(g).container = Some(v1::ContainerInfo { r#type: 2, network_infos, ..Default::default() });
    };
    check(own_network, Err("HTTP and TCP health checks"));
    check(|g| first(g).data = Some(vec![0; 1024 * 1024 + 1].into()), Err("Task is larger than"));
    let data = |g: &mut Group| {
        g.task_group.tasks = ["a", "b", "c"].map(task).to_vec();
        g.task_group.tasks.iter_mut().for_each(|task| task.data = Some(vec![0; 800_000].into()));
    };
    check(data, Err("Task group is larger than"));
}

#[test]
fn limits_and_cgroups_of_a_group() {
    let limit = || [("cpus".to_owned(), v1::value::Scalar { value: 2.0 })].into();
    check(|g| first(g).limits = limit(), Err("need 'share_cgroups' to be false"));
    let apart = |g: &mut Group| {
        g.task_group.tasks.iter_mut().for_each(|task| task.container = container(2, Some(false)));
    };
    let limited = |g: &mut Group| {
        apart(g);
        first(g).limits = limit();
    };
    check(limited, Ok(()));
    check(apart, Ok(()));
    check(|g| first(g).container = container(2, Some(false)), Err("must have the same 'share_cgroups'"));
    let with = |shares| Context { shares_cgroups: [("e1".into(), shares)].into(), ..context() };
    check_with(&with(true), apart, Err("must have the same 'share_cgroups'"));
    check_with(&with(false), apart, Ok(()));
    check_with(&with(false), |_| {}, Err("must have the same 'share_cgroups'"));
    check(|g| g.executor.container = container(2, Some(true)), Err("must not be true"));
}

#[test]
fn the_executor_of_a_group() {
    check(|g| g.executor.r#type = None, Err("'ExecutorInfo.type' must be set"));
    check(|g| g.executor.r#type = Some(0), Err("Unknown executor type"));
    check(|g| g.executor.r#type = Some(2), Err("'ExecutorInfo.command' must be set for CUSTOM"));
    let custom =
        |g: &mut Group| (g.executor.r#type, g.executor.command) = (Some(2), Some(Default::default()));
    check(custom, Ok(()));
    check(|g| g.executor.command = Some(Default::default()), Err("must not be set for DEFAULT"));
    check(|g| g.executor.container = container(2, None), Ok(()));
    check(|g| g.executor.container = container(1, None), Err("must be of type MESOS"));
    let docker = |g: &mut Group| {
        custom(g);
        g.executor.container = container(1, None);
        g.executor.container.as_mut().expect("set").docker = Some(Default::default());
    };
    check(docker, Err("Docker ContainerInfo"));
    let image = |g: &mut Group| {
        g.executor.container = container(2, None);
        let mesos = v1::container_info::MesosInfo { image: Some(Default::default()) };
        g.executor.container.as_mut().expect("set").mesos = Some(mesos);
    };
    check(image, Err("without an image"));
    check(|g| g.executor.executor_id.value = "..".into(), Err("Executor ID"));
    check(|g| g.executor.framework_id = Some(v1::FrameworkId { value: "x".into() }), Err("FrameworkID"));
    check(|g| g.executor.resources[0] = scalar("cpus", 0.001), Err("of 'cpus'"));
    check(|g| g.executor.resources[1] = scalar("mem", 31.0), Err("of 'mem'"));
    check(|g| drop(g.executor.resources.pop()), Err("of 'disk'"));
}

#[test]
fn a_group_together() {
    check(|g| g.task_group.tasks.iter_mut().for_each(|t| t.resources.push(ports(1, 5))), Err("overlapping"));
    let with_executor = |g: &mut Group| {
        g.executor.resources.push(ports(1, 5));
        first(g).resources.push(ports(5, 9));
    };
    check(with_executor, Err("overlapping 'ports'"));
    let apart = |g: &mut Group| {
        first(g).resources.push(ports(1, 5));
        g.task_group.tasks[1].resources.push(ports(6, 9));
    };
    check(apart, Ok(()));
    let revocable = v1::Resource { revocable: Some(Default::default()), ..scalar("cpus", 1.0) };
    check(|g| first(g).resources = vec![revocable], Err("both revocable and non-revocable"));
    let old = Context { agent: Some(("a1".into(), false)), ..context() };
    check_with(&old, |_| {}, Err("takes no task groups"));
    let id = Some(v1::OperationId { value: "x".into() });
    let operation = offer::Operation { launch_group: Some(group()), id, ..Default::default() };
    let found = judged(operation, &context()).expect_err("feedback");
    assert!(found.contains("not allowed on LAUNCH_GROUP"), "{found}");
}
