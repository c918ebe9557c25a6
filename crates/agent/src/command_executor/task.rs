//! The task's process.

use std::{collections::BTreeMap, ffi::OsString, io, path::Path, process::ExitStatus};

use mesarch_proto::mesos::v1::CommandInfo;
use rustix::process::Signal;
use tokio::process::{Child, Command};

use super::ending::Ending;
use crate::{
    containerizer::process::{Scope, signal_tree},
    environment::{PATH, value},
};

/// Variables of the executor that its task may see; everything else of `MESOS_` and `LIBPROCESS_` is the executor's.
const SHARED: [&str; 3] = ["MESOS_SANDBOX", "MESOS_ALLOCATION_ROLE", "MESOS_CONTAINER_IP"];

/// Starts the command; its output goes where the executor's goes.
pub(super) fn start(own: &CommandInfo, sandbox: &Path) -> io::Result<Child> {
    command(own, sandbox).spawn()
}

/// A command that will run in its sandbox, in a process group of its own.
pub(crate) fn command(command: &CommandInfo, sandbox: &Path) -> Command {
    let text = command.value.clone().unwrap_or_default();
    let mut process = if command.shell() {
        let mut process = Command::new("/bin/sh");
        process.arg0("sh").arg("-c").arg(text);
        process
    } else {
        let mut process = Command::new(&text);
        process.arg0(command.arguments.first().unwrap_or(&text)).args(command.arguments.iter().skip(1));
        process
    };
    let own = |name: &str| match name {
        "MESOS_SANDBOX" => Some(sandbox.into()),
        _ => std::env::var_os(name),
    };
    process.env_clear().envs(variables(command, own)).current_dir(sandbox).process_group(0);
    process
}

fn variables(command: &CommandInfo, own: impl Fn(&str) -> Option<OsString>) -> BTreeMap<String, OsString> {
    let mut all = BTreeMap::from([("PATH".to_owned(), OsString::from(PATH))]);
    all.extend(SHARED.iter().filter_map(|name| Some(((*name).to_owned(), own(name)?))));
    let described = command.environment.iter().flat_map(|environment| &environment.variables);
    all.extend(described.map(|variable| (variable.name.clone(), value(variable).into())));
    all
}

/// Sends a signal to everything that the task started, but not to the executor. Blocking.
pub(super) fn signal(task: i32, signal: Signal) {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // Outside of a session of its own (in a test) the executor must not take its neighbours for the task's.
    let session = rustix::process::getsid(None).map_or(task, |session| session.as_raw_nonzero().get());
    let session = if session == own { session } else { task };
    signal_tree(task, Scope::Session(session), own, signal);
}

/// How the command ended, as schedulers know the words.
pub(crate) fn describe(status: ExitStatus) -> String {
    Ending::of(status)
        .map_or_else(|| "Command ended in an unknown way".to_owned(), |ending| ending.to_string())
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::{Environment, environment::Variable};

    use super::*;

    #[test]
    fn a_task_does_not_see_its_executor_s_variables() {
        let own = |name: &str| (name != "MESOS_CONTAINER_IP").then(|| OsString::from("own"));
        let variable = Variable { name: "X".into(), value: Some("y".into()), ..Default::default() };
        let environment = Some(Environment { variables: vec![variable] });
        let all = variables(&CommandInfo { environment, ..Default::default() }, own);
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["MESOS_ALLOCATION_ROLE", "MESOS_SANDBOX", "PATH", "X"]);
    }
}
