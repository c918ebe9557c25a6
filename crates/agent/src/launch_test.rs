//! Who runs a task, and what is refused.

use mesarch_proto::mesos::v1::{
    Environment, ExecutorId, HealthCheck, LinuxInfo, TaskId, command_info::Uri, environment::Variable,
    framework_info::Capability,
};

use super::*;

fn task() -> TaskInfo {
    TaskInfo {
        name: "n".into(),
        task_id: TaskId { value: "t".into() },
        command: Some(CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..Default::default()
    }
}

fn prepared(task: &TaskInfo, framework: &FrameworkInfo) -> RunTask {
    let key = link::TaskKey {
        framework: "F".into(),
        task: "t".into(),
        launch: Some(link::LaunchId { index: 1, position: 0 }),
    };
    let rules = Rules { shutdown_grace: Millis(5_000), program: "/bin/mesarch".to_owned() };
    let launch = link::RunTask {
        key: Some(key),
        info: task.encode_to_vec().into(),
        framework_info: framework.encode_to_vec().into(),
    };
    rules.prepare(launch).expect("in order")
}

#[test]
fn a_command_gets_the_built_in_executor_with_time_to_kill_it() {
    let launch = prepared(&task(), &FrameworkInfo::default());
    assert!(launch.executor.command && launch.refused.is_none());
    assert_eq!(launch.executor.id.as_str(), "t");
    assert_eq!(launch.executor.shutdown_grace, Millis(5_000));
    let policy = KillPolicy { grace_period: Some(DurationInfo { nanoseconds: 10_000_000_000 }) };
    let launch = prepared(&TaskInfo { kill_policy: Some(policy), ..task() }, &FrameworkInfo::default());
    assert_eq!(launch.executor.shutdown_grace, Millis(12_000));
}

fn own_executor() -> ExecutorInfo {
    ExecutorInfo {
        executor_id: ExecutorId { value: "e".into() },
        command: Some(CommandInfo { value: Some("./run".into()), ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn an_own_executor_is_taken_as_it_is() {
    let executor = own_executor();
    let own = TaskInfo { command: None, executor: Some(executor.clone()), ..task() };
    let launch = prepared(&own, &FrameworkInfo::default());
    assert!(!launch.executor.command);
    assert_eq!(launch.executor.info, executor.encode_to_vec());
}

#[test]
fn capabilities_and_checkpointing_are_read() {
    let partition_aware = framework_info::capability::Type::PartitionAware as i32;
    let framework = FrameworkInfo {
        checkpoint: Some(true),
        capabilities: vec![Capability { r#type: Some(partition_aware) }],
        ..Default::default()
    };
    let launch = prepared(&task(), &framework);
    assert!(launch.framework.checkpoint && launch.framework.partition_aware);
    let launch = prepared(&task(), &FrameworkInfo::default());
    assert!(!launch.framework.checkpoint && !launch.framework.partition_aware);
}

#[test]
fn what_is_not_there_is_refused_in_words() {
    let check = |task: TaskInfo, word: &str| {
        let text = refusal(&task).expect("refused");
        assert!(text.contains(word), "{text}");
    };
    let docker = ContainerInfo { r#type: container_info::Type::Docker as i32, ..Default::default() };
    check(TaskInfo { container: Some(docker), ..task() }, "images");
    let mesos = ContainerInfo { r#type: container_info::Type::Mesos as i32, ..Default::default() };
    assert_eq!(refusal(&TaskInfo { container: Some(mesos.clone()), ..task() }), None);
    let linux = |linux_info| ContainerInfo { linux_info: Some(linux_info), ..mesos.clone() };
    let private = linux_info::IpcMode::Private as i32;
    for (container, word) in [
        (
            linux(LinuxInfo { capability_info: Some(Default::default()), ..Default::default() }),
            "capabilities",
        ),
        (
            linux(LinuxInfo { bounding_capabilities: Some(Default::default()), ..Default::default() }),
            "capabilities",
        ),
        (
            linux(LinuxInfo { effective_capabilities: Some(Default::default()), ..Default::default() }),
            "capabilities",
        ),
        (linux(LinuxInfo { seccomp: Some(Default::default()), ..Default::default() }), "seccomp"),
        (linux(LinuxInfo { ipc_mode: Some(private), ..Default::default() }), "IPC"),
        (linux(LinuxInfo { shm_size: Some(1), ..Default::default() }), "shared memory"),
        (ContainerInfo { rlimit_info: Some(Default::default()), ..mesos.clone() }, "rlimit_info"),
        (ContainerInfo { tty_info: Some(Default::default()), ..mesos.clone() }, "tty_info"),
        (ContainerInfo { hostname: Some("h".into()), ..mesos.clone() }, "hostnames"),
        (ContainerInfo { volumes: vec![Default::default()], ..mesos.clone() }, "volumes"),
        (ContainerInfo { network_infos: vec![Default::default()], ..mesos.clone() }, "networks"),
    ] {
        check(TaskInfo { container: Some(container.clone()), ..task() }, word);
        let executor = ExecutorInfo { container: Some(container), ..own_executor() };
        check(TaskInfo { command: None, executor: Some(executor), ..task() }, word);
    }
    let secret = Variable { name: "S".into(), secret: Some(Default::default()), ..Default::default() };
    let kind = Some(environment::variable::Type::Secret as i32);
    for variable in [secret, Variable { name: "S".into(), r#type: kind, ..Default::default() }] {
        let environment = Some(Environment { variables: vec![variable] });
        let command = Some(CommandInfo { environment, ..task().command.unwrap_or_default() });
        check(TaskInfo { command: command.clone(), ..task() }, "SECRET");
        let executor = ExecutorInfo { command, ..own_executor() };
        check(TaskInfo { command: None, executor: Some(executor), ..task() }, "SECRET");
    }
    check(TaskInfo { health_check: Some(HealthCheck::default()), ..task() }, "health checks");
    check(TaskInfo { command: None, ..task() }, "command");
    let uris = vec![Uri { value: "http://example.org/x".into(), ..Default::default() }];
    let command = CommandInfo { value: Some("true".into()), uris, ..Default::default() };
    check(TaskInfo { command: Some(command), ..task() }, "http://example.org/x");
}
