//! What a task's end means for the exit status of `run`.

use mesarch_agent::command_executor::Ending;
use mesarch_client::v1::{TaskId, TaskState, TaskStatus};
use rustix::process::Signal;

use crate::failure::STATUS_RUN;

/// One line about a step of the task.
pub(super) fn describe(task: &TaskId, status: &TaskStatus, host: &str) -> String {
    let mut line = format!("task {} on {host}: {}", task.value, status.state().as_str_name());
    if let Some(message) = status.message.as_deref().filter(|message| !message.is_empty()) {
        line.push_str(&format!(" ({message})"));
    }
    line
}

/// The task's own status; 128+n for a signal; [`STATUS_RUN`] if it did not run to an end of its own.
pub(super) fn exit_status(status: &TaskStatus, interrupted: Option<Signal>) -> u8 {
    let message = status.message.as_deref().unwrap_or_default();
    match status.state() {
        TaskState::TaskFinished => 0,
        TaskState::TaskKilled => status_of_signal(interrupted.unwrap_or(Signal::TERM)),
        TaskState::TaskFailed => own_status(message).unwrap_or(STATUS_RUN),
        _ => STATUS_RUN,
    }
}

/// 128+n.
pub(super) fn status_of_signal(signal: Signal) -> u8 {
    u8::try_from(signal.as_raw()).map_or(u8::MAX, |number| number.saturating_add(128))
}

/// The status or signal in the message of the command executor, the only place where the API has room for it.
fn own_status(message: &str) -> Option<u8> {
    match message.parse().ok()? {
        Ending::Exited(status) => u8::try_from(status).ok(),
        Ending::Signalled(number) => u8::try_from(number).ok().map(|number| number.saturating_add(128)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_the_tasks_own_or_tells_why_not() {
        use TaskState::*;
        let table = [
            (TaskFinished, "", None, 0),
            (TaskFailed, "Command exited with status 3", None, 3),
            (TaskFailed, "Command terminated with signal Killed", None, 137),
            (TaskFailed, "Command terminated with signal 15", None, 143),
            (TaskFailed, "Command terminated with signal Segmentation fault", None, 139),
            (TaskFailed, "Failed to launch container", None, 125),
            (TaskKilled, "", Some(Signal::INT), 130),
            (TaskKilled, "", None, 143),
            (TaskLost, "", None, 125),
            (TaskError, "exited with status 4", None, 125),
        ];
        for (state, message, interrupted, expect) in table {
            let message = Some(message.to_owned());
            let status = TaskStatus { state: state as i32, message, ..TaskStatus::default() };
            assert_eq!(exit_status(&status, interrupted), expect, "{status:?}");
        }
    }
}
