//! The environment of an executor. The agent's own is not inherited.

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, path::Path};

use mesarch_agent_core::StartExecutor;
use mesarch_proto::mesos::v1::{ExecutorInfo, Resource, environment};
use mesarch_types::{AgentId, Millis};

/// Where executors look for programs.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Tells a starting process where to write who it is; never reaches the executor itself.
pub(crate) const RUN_FILE: &str = "MESARCH_RUN_FILE";

/// What does not differ between executors of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) address: SocketAddr,
    pub(crate) pid: String,
    pub(crate) recovery_timeout: Millis,
    pub(crate) backoff_max: Millis,
}

/// All variables of one run; those of the executor's own command win.
pub(crate) fn variables(
    common: &Common,
    agent: &AgentId,
    start: &StartExecutor,
    info: &ExecutorInfo,
    sandbox: &Path,
) -> BTreeMap<String, OsString> {
    let mut all = BTreeMap::new();
    let mut set = |name: &str, value: String| all.insert(name.to_owned(), OsString::from(value));
    set("PATH", PATH.to_owned());
    set("LIBPROCESS_PORT", "0".to_owned());
    set("MESOS_FRAMEWORK_ID", start.run.framework.to_string());
    set("MESOS_EXECUTOR_ID", start.run.executor.to_string());
    set("MESOS_SLAVE_ID", agent.to_string());
    set("MESOS_SLAVE_PID", common.pid.clone());
    set("MESOS_AGENT_ENDPOINT", common.address.to_string());
    set("MESOS_HTTP_COMMAND_EXECUTOR", if start.executor.command { "1" } else { "0" }.to_owned());
    set("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration(start.executor.shutdown_grace));
    // Set only when it is so: one client in use takes any value, even "0", for yes.
    if start.checkpoint {
        set("MESOS_CHECKPOINT", "1".to_owned());
        set("MESOS_RECOVERY_TIMEOUT", duration(common.recovery_timeout));
        set("MESOS_SUBSCRIPTION_BACKOFF_MAX", duration(common.backoff_max));
    }
    if let Some(role) = allocation_role(&info.resources) {
        set("MESOS_ALLOCATION_ROLE", role);
    }
    all.insert("MESOS_DIRECTORY".to_owned(), sandbox.into());
    all.insert("MESOS_SANDBOX".to_owned(), sandbox.into());
    let own = info.command.as_ref().and_then(|command| command.environment.as_ref());
    for variable in own.into_iter().flat_map(|environment| &environment.variables) {
        all.insert(variable.name.clone(), value(variable).into());
    }
    all
}

/// The value of a variable. A task with one of type SECRET is refused before.
pub(crate) fn value(variable: &environment::Variable) -> String {
    variable.value.clone().unwrap_or_default()
}

fn allocation_role(resources: &[Resource]) -> Option<String> {
    resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.clone())
}

/// A duration as Mesos writes it: the largest unit that needs no fraction.
fn duration(duration: Millis) -> String {
    let ms = duration.0;
    match ms {
        ms if ms > 0 && ms.is_multiple_of(60_000) => format!("{}mins", ms / 60_000),
        ms if ms.is_multiple_of(1_000) => format!("{}secs", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use mesarch_agent_core::{ExecutorSpec, Run};
    use mesarch_proto::mesos::v1::{CommandInfo, Environment};

    use super::*;

    fn variables_of(checkpoint: bool, own: &[(&str, &str)]) -> BTreeMap<String, OsString> {
        let common = Common {
            address: "127.0.0.1:5051".parse().unwrap(),
            pid: "slave(1)@127.0.0.1:5051".to_owned(),
            recovery_timeout: Millis(900_000),
            backoff_max: Millis(2_000),
        };
        let run = Run { framework: "F".into(), executor: "e".into(), container: "c".into() };
        let executor = ExecutorSpec {
            id: "e".into(),
            info: Default::default(),
            command: false,
            shutdown_grace: Millis(5_000),
        };
        let start = StartExecutor { run, executor, framework_info: Default::default(), checkpoint };
        let variable = |(name, value): &(&str, &str)| environment::Variable {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            ..Default::default()
        };
        let environment = Environment { variables: own.iter().map(variable).collect() };
        let command = CommandInfo { environment: Some(environment), ..Default::default() };
        let info = ExecutorInfo { command: Some(command), ..Default::default() };
        variables(&common, &"S1".into(), &start, &info, Path::new("/box"))
    }

    #[test]
    fn what_executors_rely_on_is_there() {
        let all = variables_of(false, &[]);
        let check =
            |name: &str, value: &str| assert_eq!(all.get(name), Some(&OsString::from(value)), "{name}");
        check("MESOS_AGENT_ENDPOINT", "127.0.0.1:5051");
        check("MESOS_FRAMEWORK_ID", "F");
        check("MESOS_EXECUTOR_ID", "e");
        check("MESOS_DIRECTORY", "/box");
        check("MESOS_SANDBOX", "/box");
        check("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs");
        assert!(!all.contains_key("MESOS_CHECKPOINT"));
    }

    #[test]
    fn checkpointing_is_said_only_when_it_is_so() {
        let all = variables_of(true, &[]);
        assert_eq!(all["MESOS_CHECKPOINT"], "1");
        assert_eq!(all["MESOS_RECOVERY_TIMEOUT"], "15mins");
        assert_eq!(all["MESOS_SUBSCRIPTION_BACKOFF_MAX"], "2secs");
    }

    #[test]
    fn the_command_s_own_variables_win() {
        let all = variables_of(false, &[("PATH", "/opt"), ("X", "y")]);
        assert_eq!((&all["PATH"], &all["X"]), (&OsString::from("/opt"), &OsString::from("y")));
    }

    #[test]
    fn durations_need_no_fraction() {
        for (ms, text) in [
            (0, "0secs"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (2_000, "2secs"),
            (60_000, "1mins"),
            (900_000, "15mins"),
            (3_600_000, "60mins"),
        ] {
            assert_eq!(duration(Millis(ms)), text);
        }
    }
}
