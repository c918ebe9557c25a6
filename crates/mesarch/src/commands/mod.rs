//! One file per subcommand, and what they share.

pub(crate) mod agent;
pub(crate) mod allocator;
mod begin_anew;
pub(crate) mod debug;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod executor;
pub(crate) mod get;
pub(crate) mod master;
pub(crate) mod members;
mod operate;
pub(crate) mod policy;
pub(crate) mod priority;
pub(crate) mod quota;
pub(crate) mod recover;
pub(crate) mod reserve;
pub(crate) mod run;
pub(crate) mod snapshot;
pub(crate) mod weights;
pub(crate) mod whitelist;

use std::io::Write;

use anyhow::Context;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::usage;

/// Logging from this level on, when neither flag nor environment says otherwise, for commands that talk to people.
const QUIET: &str = "warn";

/// The runtime of a service.
fn service_runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the worker threads")
}

/// The runtime of a short command.
fn command_runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the event loop")
}

/// Logging of a service.
fn service_logs(filter: Option<&str>) -> anyhow::Result<()> {
    mesarch_telemetry::logs::init(filter).map_err(|error| usage(error.to_string()))
}

/// Logging of a command for people: quiet unless asked.
fn command_logs(filter: Option<&str>) -> anyhow::Result<()> {
    let asked = filter.is_some() || std::env::var_os(mesarch_telemetry::logs::FILTER_VARIABLE).is_some();
    service_logs(if asked { filter } else { Some(QUIET) })
}

/// Ends with SIGTERM or SIGINT; returns which.
async fn asked_to_stop() -> anyhow::Result<Signal> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(tokio::select! {
        _ = terminate.recv() => Signal::TERM,
        _ = interrupt.recv() => Signal::INT,
    })
}

/// Makes this process end (SIGTERM) when `parent`, which must have started it, ends.
fn exit_with_parent(parent: Option<i32>) -> anyhow::Result<()> {
    let Some(parent) = parent else {
        return Ok(());
    };
    set_parent_process_death_signal(Some(Signal::TERM)).context("cannot follow the parent's end")?;
    // It may have ended before the line above.
    if is_parent(parent) { Ok(()) } else { Err(usage(format!("process {parent} did not start this one"))) }
}

/// Whether this process is a child of `parent`; no longer once that has ended.
fn is_parent(parent: i32) -> bool {
    getppid().map(Pid::as_raw_nonzero).map(std::num::NonZeroI32::get) == Some(parent)
}

/// Writes a result to standard output. A reader that has left is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Tells a person something, on standard error.
#[expect(clippy::print_stderr, reason = "this is where people are told")]
fn tell(text: &str) {
    eprintln!("mesarch: {text}");
}
