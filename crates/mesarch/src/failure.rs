//! How the binary fails: one line on standard error and a status that scripts can rely on.

use std::process::ExitCode;

use mesarch_client::{Ended, OperatorError};

/// It failed.
const STATUS_FAILED: u8 = 1;
/// Wrong usage or bad input.
pub(crate) const STATUS_USAGE: u8 = 2;
/// `run`: Mesarch failed or the usage was wrong; every other status is the task's own.
pub(crate) const STATUS_RUN: u8 = 125;

/// The caller's mistake rather than the cluster's: status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A shorthand for [`Usage`] as an error.
pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}

/// What to do when nobody leads at the addresses that were asked.
pub(crate) const WHERE_IS_IT: &str =
    "is it running? name its masters with --master or $MESARCH_MASTER, or start one here with `mesarch dev`";

/// Shows the error with its causes and gives the exit status.
#[expect(clippy::print_stderr, reason = "this is where errors are shown")]
pub(crate) fn report(error: &anyhow::Error, is_run: bool) -> ExitCode {
    eprintln!("mesarch: {}", line(error));
    ExitCode::from(match error.downcast_ref::<Usage>() {
        _ if is_run => STATUS_RUN,
        Some(_) => STATUS_USAGE,
        None => STATUS_FAILED,
    })
}

fn line(error: &anyhow::Error) -> String {
    let parts = error.chain().map(|cause| cause.to_string().replace('\n', " "));
    let advice = finds_nobody(error).then(|| WHERE_IS_IT.to_owned());
    parts.chain(advice).collect::<Vec<_>>().join(": ")
}

/// Whether there was no leader at all to ask.
fn finds_nobody(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let reading = cause.downcast_ref::<OperatorError>();
        let subscribing = cause.downcast_ref::<Ended>();
        matches!(reading, Some(OperatorError::NoLeader { .. }))
            || matches!(subscribing, Some(Ended::NoLeader { .. }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_on_the_same_line() {
        let error = anyhow::anyhow!("no such\nfile").context("cannot start");
        assert_eq!(line(&error), "cannot start: no such file");
    }

    #[test]
    fn who_found_no_leader_is_told_how_to_name_one() {
        let (masters, last) = ("a:1".to_owned(), "refused".to_owned());
        let reading = OperatorError::NoLeader { masters: masters.clone(), last: last.clone() };
        let subscribing = Ended::NoLeader { masters, last };
        for error in [anyhow::Error::from(reading), anyhow::Error::from(subscribing)] {
            let line = line(&error.context("cannot run"));
            assert!(line.contains("a:1: refused") && line.ends_with(WHERE_IS_IT), "{line}");
        }
    }
}
