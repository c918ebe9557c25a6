//! One valid task, changed in one respect per line.

use mesarch_proto::mesos::v1;

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

fn task() -> v1::TaskInfo {
    v1::TaskInfo {
        name: "t".into(),
        task_id: v1::TaskId { value: "t1".into() },
        agent_id: v1::AgentId { value: "a1".into() },
        resources: vec![scalar("cpus", 1.0), ports(1, 5)],
        command: Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..Default::default()
    }
}

fn context() -> Context {
    Context { agent: Some(("a1".into(), true)), ..Context::of("f1", "eng") }
}

fn check(change: impl FnOnce(&mut v1::TaskInfo), expect: Result<(), &str>) {
    let mut info = task();
    change(&mut info);
    let launch = judge(info.clone(), &context());
    let named = Some(info.agent_id.value.as_str()).filter(|id| !id.is_empty());
    assert_eq!(launch.agent.as_ref().map(|agent| agent.as_str()), named, "right or wrong");
    match (launch.task, expect) {
        (Judged::Valid(_), Ok(())) => {}
        (Judged::Invalid { message, .. }, Err(text)) => {
            assert!(message.contains(text), "{message:?}, not {text:?}")
        }
        (judged, expect) => panic!("{judged:?} instead of {expect:?}"),
    }
}

fn check_executor(change: impl FnOnce(&mut v1::ExecutorInfo), expect: Result<(), &str>) {
    let mut executor = v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: "e1".into() },
        command: Some(Default::default()),
        resources: vec![scalar("cpus", 0.1)],
        ..Default::default()
    };
    change(&mut executor);
    check(|task| (task.command, task.executor) = (None, Some(executor)), expect);
}

fn variable(kind: i32, value: Option<&str>, secret: Option<v1::Secret>) -> v1::CommandInfo {
    let variable = v1::environment::Variable {
        name: "V".into(),
        r#type: Some(kind),
        value: value.map(Into::into),
        secret,
    };
    let environment = v1::Environment { variables: vec![variable] };
    v1::CommandInfo { environment: Some(environment), ..Default::default() }
}

#[test]
fn a_task_itself() {
    check(|_| {}, Ok(()));
    check(|t| t.task_id.value = String::new(), Err("Task ID"));
    check(|t| t.task_id.value = "a/b".into(), Err("Task ID"));
    check(|t| t.task_id.value = "..".into(), Err("Task ID"));
    check(|t| t.agent_id.value = "a2".into(), Err("while agent a1 is expected"));
    check(|t| t.data = Some(vec![0; TASK_BYTES_MAX].into()), Err("larger than 1048576 bytes"));
    let grace = |nanoseconds| v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds }) };
    check(|t| t.kill_policy = Some(grace(-1)), Err("kill_policy"));
    check(|t| t.kill_policy = Some(grace(0)), Ok(()));
    check(|t| t.max_completion_time = Some(v1::DurationInfo { nanoseconds: -1 }), Err("max_completion_time"));
    check(|t| t.command = None, Err("at least one (but not both)"));
    check(|t| t.executor = Some(Default::default()), Err("at least one (but not both)"));
}

#[test]
fn resources_of_a_task() {
    check(|t| t.resources.clear(), Err("Task uses no resources"));
    check(|t| t.resources = vec![scalar("cpus", 0.0)], Err("Task uses no resources"));
    check(|t| t.resources = vec![scalar("cpus", -1.0)], Err("invalid resources"));
    let mark = |role: &str| Some(v1::resource::AllocationInfo { role: Some(role.into()) });
    check(|t| t.resources[0].allocation_info = mark("eng"), Ok(()));
    check(|t| t.resources[0].allocation_info = mark("ops"), Err("allocated to role 'ops'"));
    let revocable = || v1::Resource { revocable: Some(Default::default()), ..scalar("cpus", 1.0) };
    check(|t| t.resources.push(revocable()), Err("both revocable and non-revocable 'cpus'"));
    let disk = || v1::Resource { disk: Some(Default::default()), ..scalar("disk", 1.0) };
    check(|t| t.resources.push(disk()), Err("set but empty"));
}

#[test]
fn limits_of_a_task() {
    let limit = |name: &str, value: f64| [(name.to_owned(), v1::value::Scalar { value })].into();
    check(|t| t.limits = limit("cpus", 2.0), Ok(()));
    check(|t| t.limits = limit("cpus", f64::INFINITY), Ok(()));
    check(|t| t.limits = limit("cpus", 0.5), Err("less than its request"));
    check(|t| t.limits = limit("cpus", f64::NAN), Err("less than its request"));
    check(|t| t.limits = limit("mem", 1.0), Err("does not request it"));
    check(|t| t.limits = limit("disk", 1.0), Err("not supported"));
    let old_agent = Context { agent: Some(("a1".into(), false)), ..context() };
    let limited = v1::TaskInfo { limits: limit("cpus", 2.0), ..task() };
    assert!(matches!(judge(limited, &old_agent).task, Judged::Invalid { .. }));
}

#[test]
fn checks_of_a_task() {
    let health = |change: fn(&mut v1::HealthCheck)| {
        let mut check = v1::HealthCheck::default();
        change(&mut check);
        Some(check)
    };
    check(|t| t.health_check = health(|_| {}), Err("must specify 'type'"));
    check(|t| t.health_check = health(|h| h.r#type = Some(0)), Err("'UNKNOWN'"));
    check(|t| t.health_check = health(|h| h.r#type = Some(1)), Err("COMMAND health check"));
    check(|t| t.health_check = health(|h| h.command = Some(Default::default())), Err("'command' value"));
    check(|t| t.health_check = health(|h| h.http = Some(Default::default())), Ok(()));
    let tcp = |h: &mut v1::HealthCheck| (h.r#type, h.tcp) = (Some(3), Some(Default::default()));
    check(|t| t.health_check = health(tcp), Ok(()));
    let path = |h: &mut v1::HealthCheck| {
        h.http = Some(v1::health_check::HttpCheckInfo { path: Some("x".into()), ..Default::default() });
    };
    check(|t| t.health_check = health(path), Err("must start with '/'"));
    let scheme = |h: &mut v1::HealthCheck| {
        h.http = Some(v1::health_check::HttpCheckInfo { scheme: Some("ftp".into()), ..Default::default() });
    };
    check(|t| t.health_check = health(scheme), Err("scheme"));
    let delay = |h: &mut v1::HealthCheck| (h.http, h.delay_seconds) = (Some(Default::default()), Some(-1.0));
    check(|t| t.health_check = health(delay), Err("delay_seconds"));
    check(|t| t.check = Some(Default::default()), Err("must specify 'type'"));
    let http = || v1::CheckInfo { r#type: Some(2), http: Some(Default::default()), ..Default::default() };
    check(|t| t.check = Some(http()), Ok(()));
    check(
        |t| t.check = Some(v1::CheckInfo { timeout_seconds: Some(f64::NAN), ..http() }),
        Err("timeout_seconds"),
    );
}

#[test]
fn commands_and_containers() {
    let secret = |kind, reference: bool, data: &'static [u8]| v1::Secret {
        r#type: Some(kind),
        reference: reference.then(Default::default),
        value: (!reference).then(|| v1::secret::Value { data: data.into() }),
    };
    check(|t| t.command = Some(variable(1, Some("x"), None)), Ok(()));
    check(|t| t.command = Some(variable(1, None, None)), Err("must have a value set"));
    check(
        |t| t.command = Some(variable(1, Some("x"), Some(secret(2, false, b"")))),
        Err("not have a secret"),
    );
    check(|t| t.command = Some(variable(2, None, None)), Err("must have a secret"));
    check(|t| t.command = Some(variable(2, None, Some(secret(1, true, b"")))), Ok(()));
    check(|t| t.command = Some(variable(2, None, Some(secret(2, true, b"")))), Err("'value' only"));
    check(|t| t.command = Some(variable(2, None, Some(secret(2, false, b"a\0b")))), Err("NUL"));
    check(|t| t.command = Some(variable(0, None, None)), Err("known type"));
    let container = |kind: i32, volume: Option<v1::Volume>| {
        Some(v1::ContainerInfo { r#type: kind, volumes: volume.into_iter().collect(), ..Default::default() })
    };
    check(|t| t.container = container(2, None), Ok(()));
    check(|t| t.container = container(1, None), Err("'docker' is not set"));
    check(|t| t.container = container(2, Some(Default::default())), Err("Exactly one"));
    let host = v1::Volume { host_path: Some("/x".into()), ..Default::default() };
    check(|t| t.container = container(2, Some(host)), Ok(()));
    let source = v1::volume::Source { r#type: Some(3), ..Default::default() };
    let secret = v1::Volume { source: Some(source), ..Default::default() };
    check(|t| t.container = container(2, Some(secret)), Err("'source.secret'"));
    let linux = v1::LinuxInfo { share_cgroups: Some(false), ..Default::default() };
    let apart = v1::ContainerInfo { r#type: 2, linux_info: Some(linux), ..Default::default() };
    check(|t| t.container = Some(apart), Err("share_cgroups"));
}

#[test]
fn executors() {
    check_executor(|_| {}, Ok(()));
    check_executor(|e| e.executor_id.value = "a/b".into(), Err("Executor ID"));
    check_executor(|e| e.r#type = Some(1), Err("must be CUSTOM"));
    check_executor(|e| e.r#type = Some(2), Ok(()));
    check_executor(|e| e.command = None, Err("must be set for CUSTOM"));
    check_executor(|e| e.shutdown_grace_period = Some(v1::DurationInfo { nanoseconds: -1 }), Err("grace"));
    check_executor(
        |e| e.framework_id = Some(v1::FrameworkId { value: "f2".into() }),
        Err("invalid FrameworkID"),
    );
    check_executor(|e| e.framework_id = Some(v1::FrameworkId { value: "f1".into() }), Ok(()));
    check_executor(|e| e.resources = vec![ports(5, 9)], Err("overlapping 'ports'"));
    check_executor(|e| e.resources = vec![ports(6, 9)], Ok(()));
    check_executor(|e| e.resources.clear(), Ok(()));
}
