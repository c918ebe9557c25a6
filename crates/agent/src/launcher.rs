//! The first steps of an executor's process: a session of its own, and a note of who it is.
//!
//! Between the agent and an executor stands this program itself: it may call `setsid` safely, which a forked child of a
//! program with threads may not. The note (process id, start time, boot id) lets an agent that starts later find the
//! process again without mistaking another one for it.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

use crate::{containerizer::process::ProcessId, environment::RUN_FILE};

/// Exit status when the executor cannot be started (as shells do).
const NOT_STARTED: u8 = 127;

/// Becomes the program that the arguments name: its `argv[0]`, its path, its further arguments.
///
/// Called by the hidden subcommand `executor-launcher` with what follows it on the command line. Returns only if that
/// fails; the reason is on standard error, which is a file in the sandbox.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let (Some(name), Some(program)) = (arguments.next(), arguments.next()) else {
        return complain("executor-launcher", &"usage: executor-launcher ARGV0 PROGRAM [ARGUMENT...]");
    };
    if let Err(error) = enter_session() {
        return complain("executor-launcher", &error);
    }
    let mut command = Command::new(&program);
    let error = command.arg0(name).args(arguments).env_remove(RUN_FILE).exec();
    complain(&program.to_string_lossy(), &error)
}

/// Puts this process into its own session and notes who it is, if the agent asked for that.
pub(crate) fn enter_session() -> io::Result<()> {
    let Some(note) = env::var_os(RUN_FILE) else {
        return Ok(());
    };
    // Fails only for the leader of a group, and then the process has no terminal to lose but also no session.
    rustix::process::setsid()?;
    write_note(Path::new(&note), &ProcessId::own()?)
}

/// Whole or not at all: the agent must not read half a number.
fn write_note(path: &Path, process: &ProcessId) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, process.to_string())?;
    fs::rename(&fresh, path)
}

fn complain(who: &str, error: &dyn std::fmt::Display) -> ExitCode {
    use io::Write as _;
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "{who}: {error}");
    ExitCode::from(NOT_STARTED)
}
