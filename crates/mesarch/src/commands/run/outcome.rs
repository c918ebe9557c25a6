//! What a task's end means for the exit status of `run`.

use mesarch_client::v1::{TaskId, TaskState, TaskStatus};
use rustix::process::Signal;

use crate::failure::STATUS_RUN;

/// Signals by the names that the command executor uses (those of `strsignal`), with their numbers on Linux.
const SIGNALS: [(&str, u8); 12] = [
    ("Hangup", 1),
    ("Interrupt", 2),
    ("Quit", 3),
    ("Illegal instruction", 4),
    ("Aborted", 6),
    ("Bus error", 7),
    ("Floating point exception", 8),
    ("Killed", 9),
    ("Segmentation fault", 11),
    ("Broken pipe", 13),
    ("Alarm clock", 14),
    ("Terminated", 15),
];

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
    if let Some((_, rest)) = message.split_once("exited with status ") {
        return number(rest);
    }
    let (_, rest) = message.split_once("terminated with signal ")?;
    let named = SIGNALS.iter().find(|(name, _)| rest.starts_with(name)).map(|(_, number)| *number);
    named.or_else(|| number(rest)).map(|signal| signal.saturating_add(128))
}

fn number(text: &str) -> Option<u8> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
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
