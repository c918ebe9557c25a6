//! The binary as people and scripts meet it: exit statuses, what it prints, what it leaves behind.

mod command;
mod data_dir;
mod demo;
mod dev;
mod members;
mod no_faults;
mod restore;
mod review;
mod runbook;

use anyhow::{Result, ensure};

use command::run;

/// Exit status for wrong usage.
const STATUS_USAGE: i32 = 2;
/// Exit status of `run` when Mesarch failed, or was used wrongly.
const STATUS_RUN: i32 = 125;

async fn errors() -> Result<()> {
    let nobody = "127.0.0.1:9";
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("letter"), "dear diary")?;
    let foreign = folder.path().display().to_string();
    let table: [(&[&str], i32); 23] = [
        (&["frobnicate"], STATUS_USAGE),
        (&["get", "nothing"], STATUS_USAGE),
        (&["get", "tasks", "--master", "a:b:c"], STATUS_USAGE),
        (&["master", "--listen", "here"], STATUS_USAGE),
        (&["master", "--initial-masters", "one"], STATUS_USAGE),
        (&["master", "--node-id", "0"], STATUS_USAGE),
        (&["agent", "--resources", "cpus"], STATUS_USAGE),
        (&["agent", "--default-role", "a//b"], STATUS_USAGE),
        (&["agent", "--domain", "eu"], STATUS_USAGE),
        (&["dev", "--base-port", "65530"], STATUS_USAGE),
        (&["reserve", "--agent", "x", "cpus:1"], STATUS_USAGE),
        (&["dev", "--masters", "0"], STATUS_USAGE),
        (&["dev", "--dir", &foreign], STATUS_USAGE),
        (&["dev", "--frobnicate"], STATUS_USAGE),
        (&["get", "tasks", "--frobnicate"], STATUS_USAGE),
        (&["get", "tasks", "-o", "yaml"], STATUS_USAGE),
        (&["get", "masters", "--master", nobody], 1),
        (&["run", "--frobnicate", "--", "true"], STATUS_RUN),
        (&["get", "tasks", "--master", nobody], 1),
        (&["run"], STATUS_RUN),
        (&["run", "--cpus", "-1", "--", "true"], STATUS_RUN),
        (&["run", "--role", "a//b", "--", "true"], STATUS_RUN),
        (&["run", "--cpus", "0", "--", "true"], STATUS_RUN),
    ];
    for (arguments, status) in table {
        let ended = run("", arguments).await?;
        ensure!(ended.status == status, "{arguments:?} exits with {status}: {ended:?}");
        ensure!(ended.out.is_empty(), "errors are not results: {arguments:?} {ended:?}");
        let lines: Vec<&str> = ended.err.lines().collect();
        ensure!(
            lines.len() == 1 && lines[0].starts_with("mesarch: "),
            "one line says why: {arguments:?} {ended:?}"
        );
    }
    let left: Vec<_> = std::fs::read_dir(folder.path())?.collect();
    ensure!(left.len() == 1, "what is not a cluster is left alone: {left:?}");
    let nowhere = run("", &["get", "tasks", "--master", nobody]).await?;
    ensure!(nowhere.err.contains(nobody), "it says who was asked: {nowhere:?}");
    ensure!(nowhere.err.contains("--master"), "and how to ask somebody else: {nowhere:?}");
    let late = run("", &["run", "--master", nobody, "--launch-timeout", "200ms", "--", "true"]).await?;
    ensure!(
        late.status == STATUS_RUN && late.err.contains(nobody),
        "a deadline holds from the start: {late:?}"
    );
    for command in ["master", "agent", "dev", "demo", "run", "get"] {
        let help = run("", &[command, "--help"]).await?;
        let example = format!("  mesarch {command}");
        ensure!(
            help.status == 0
                && help.err.is_empty()
                && help.out.contains("Examples:")
                && help.out.contains(&example),
            "help teaches by examples: {help:?}"
        );
    }
    let help = run("", &["--help"]).await?;
    ensure!(help.status == 0 && help.err.is_empty() && help.out.contains("mesarch dev"), "{help:?}");
    Ok(())
}

#[tokio::test]
async fn errors_are_one_line_and_a_status_that_scripts_can_rely_on() {
    errors().await.unwrap();
}
