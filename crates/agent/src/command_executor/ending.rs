//! How a command ended, in the words that schedulers know: a status update has no other room for it.

use std::{fmt, os::unix::process::ExitStatusExt, process::ExitStatus, str::FromStr};

/// Signals by their usual names, with their numbers on Linux.
const SIGNALS: [(i32, &str); 12] = [
    (1, "Hangup"),
    (2, "Interrupt"),
    (3, "Quit"),
    (4, "Illegal instruction"),
    (6, "Aborted"),
    (7, "Bus error"),
    (8, "Floating point exception"),
    (9, "Killed"),
    (11, "Segmentation fault"),
    (13, "Broken pipe"),
    (14, "Alarm clock"),
    (15, "Terminated"),
];
const EXITED: &str = "Command exited with status ";
const SIGNALLED: &str = "Command terminated with signal ";

/// The end of a command. Its text is the message of the task's last status update, and is read back by [`FromStr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// The text does not say how a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not say how a command ended")]
pub struct NotAnEnding;

impl Ending {
    /// Of a process; none if it has not ended.
    pub fn of(status: ExitStatus) -> Option<Self> {
        status.code().map(Self::Exited).or_else(|| status.signal().map(Self::Signalled))
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "{EXITED}{status}"),
            Self::Signalled(number) => match SIGNALS.iter().find(|(known, _)| known == number) {
                Some((_, name)) => write!(f, "{SIGNALLED}{name}"),
                None => write!(f, "{SIGNALLED}{number}"),
            },
        }
    }
}

impl FromStr for Ending {
    type Err = NotAnEnding;

    fn from_str(text: &str) -> Result<Self, NotAnEnding> {
        if let Some(status) = text.strip_prefix(EXITED) {
            return status.parse().map(Self::Exited).map_err(|_| NotAnEnding);
        }
        let signal = text.strip_prefix(SIGNALLED).ok_or(NotAnEnding)?;
        let named = SIGNALS.iter().find(|(_, name)| *name == signal).map(|(number, _)| *number);
        named.or_else(|| signal.parse().ok()).map(Self::Signalled).ok_or(NotAnEnding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_read_as_it_was_written() {
        let table = [
            (0, "Command exited with status 0"),
            (3 << 8, "Command exited with status 3"),
            (9, "Command terminated with signal Killed"),
            (11, "Command terminated with signal Segmentation fault"),
            (15, "Command terminated with signal Terminated"),
            (34, "Command terminated with signal 34"),
        ];
        for (raw, text) in table {
            let ending = Ending::of(ExitStatus::from_raw(raw)).unwrap();
            assert_eq!(ending.to_string(), text);
            assert_eq!(text.parse(), Ok(ending));
        }
        for (number, name) in SIGNALS {
            assert_eq!(format!("{SIGNALLED}{name}").parse(), Ok(Ending::Signalled(number)));
        }
        for other in
            ["", "Executor terminated", "Command exited with status x", "Command terminated with signal "]
        {
            assert_eq!(other.parse::<Ending>(), Err(NotAnEnding), "{other:?}");
        }
    }
}
