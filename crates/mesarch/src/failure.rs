//! How the binary fails: one line on standard error and a status that scripts can rely on.

use std::process::ExitCode;

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
    let parts: Vec<String> = error.chain().map(|cause| cause.to_string().replace('\n', " ")).collect();
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_on_the_same_line() {
        let error = anyhow::anyhow!("no such\nfile").context("cannot start");
        assert_eq!(line(&error), "cannot start: no such file");
    }
}
