//! The command line before clap sees it, and its errors in our form.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::failure::{STATUS_RUN, STATUS_USAGE};

/// What `mesarch --help` ends with.
pub(crate) const EXAMPLES: &str = "\
Examples:
  mesarch dev                                  three masters and an agent on this machine, until Ctrl-C
  mesarch run --cpus 0.5 --mem 64 -- make -j2  run a command on the cluster; exits as the command does
  mesarch get tasks                            what runs where
  mesarch get agents -o json                   the same for programs
  mesarch quota set eng --limit cpus:16        what a role gets at most
  mesarch allocator explain --framework ID     why a framework is offered nothing

Tools find the cluster by --master a,b,c, else $MESARCH_MASTER, else a running `mesarch dev`, else 127.0.0.1:5050.";

/// Flags may be written with underscores, as Mesos does (`--work_dir`); after `--` nothing is touched.
pub(crate) fn normalized(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut ours = true;
    let normalize = |argument: OsString| {
        ours &= argument != "--";
        match argument.to_str().filter(|_| ours).and_then(dashed) {
            Some(dashed) => dashed.into(),
            None => argument,
        }
    };
    arguments.into_iter().map(normalize).collect()
}

fn dashed(argument: &str) -> Option<String> {
    let flag = argument.strip_prefix("--")?;
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    };
    let name = name.replace('_', "-");
    Some(match value {
        Some(value) => format!("--{name}={value}"),
        None => format!("--{name}"),
    })
}

/// Help and version go to standard output with status 0; anything else is one line on standard error.
#[expect(clippy::print_stderr, reason = "this is where errors are shown")]
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed standard output is nobody's problem here.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(STATUS_USAGE)
        }
        _ => {
            eprintln!("mesarch: {}", one_line(&error.to_string()));
            ExitCode::from(if is_run(std::env::args()) { STATUS_RUN } else { STATUS_USAGE })
        }
    }
}

/// clap's error without its prefix and usage, and where to read more.
fn one_line(text: &str) -> String {
    let body = text.split("\n\nUsage:").next().unwrap_or(text);
    let body = body.split("\n\nFor more").next().unwrap_or(body);
    let words: Vec<&str> = body.trim_start_matches("error: ").split_whitespace().collect();
    format!("{} (see --help)", words.join(" "))
}

/// Whether the subcommand is `run`; `--log` and its value may come before it.
fn is_run(arguments: impl Iterator<Item = String>) -> bool {
    let mut words = arguments.skip(1);
    let mut first = words.next();
    while let Some(flag) = first.as_deref().filter(|word| word.starts_with("--log")) {
        // The value is a word of its own unless it comes with the flag.
        let value = if flag == "--log" { 1 } else { 0 };
        first = words.nth(value);
    }
    first.is_some_and(|command| command == "run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_may_have_underscores_but_values_and_commands_keep_theirs() {
        let table: &[(&[&str], &[&str])] = &[
            (&["agent", "--work_dir=/a_b"], &["agent", "--work-dir=/a_b"]),
            (&["agent", "--work_dir", "a_b"], &["agent", "--work-dir", "a_b"]),
            (&["run", "--", "x", "--a_b"], &["run", "--", "x", "--a_b"]),
            (&["get", "-o", "json"], &["get", "-o", "json"]),
        ];
        for (given, expect) in table {
            let found = normalized(given.iter().map(OsString::from));
            assert_eq!(found, *expect);
        }
    }

    #[test]
    fn run_is_found_behind_the_log_flag() {
        let table: [(&[&str], bool); 6] = [
            (&["mesarch", "run", "--x"], true),
            (&["mesarch", "--log", "debug", "run"], true),
            (&["mesarch", "--log=debug", "run"], true),
            (&["mesarch", "--log", "run"], false),
            (&["mesarch", "get", "run"], false),
            (&["mesarch"], false),
        ];
        for (words, expect) in table {
            assert_eq!(is_run(words.iter().map(|word| (*word).to_owned())), expect, "{words:?}");
        }
    }

    #[test]
    fn usage_errors_fit_in_one_line() {
        let text =
            "error: unexpected argument '--x' found\n\n  tip: a tip\n\nUsage: mesarch run\n\nFor more …";
        assert_eq!(one_line(text), "unexpected argument '--x' found tip: a tip (see --help)");
    }
}
