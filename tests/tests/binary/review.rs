//! Looking back at an incident: what stopped masters have on disk, and the state as it was.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use mesarch_testkit::{Cluster, Settings};
use serde_json::Value;

use super::command::{Ended, run};

const RUNBOOK: &str = include_str!("../../../ops/RUNBOOK.md");
const SECTION: &str = "## Look back at an incident";

async fn good(arguments: &[&str]) -> Result<String> {
    let ended = run("", arguments).await?;
    ensure!(ended.status == 0, "{arguments:?}: {ended:?}");
    Ok(ended.out)
}

/// The log of a data directory as objects, one per command.
async fn log_of(dir: &str) -> Result<Vec<Value>> {
    let lines = good(&["debug", "log", "--data-dir", dir, "-o", "json"]).await?;
    lines.lines().map(|line| serde_json::from_str(line).context("a line is an object")).collect()
}

fn index(entry: &Value) -> Result<u64> {
    entry["index"].as_u64().context("an entry has an index")
}

/// The ACCEPT that launched a task: its entry, its framework, the task's id.
fn launch(log: &[Value]) -> Result<(u64, String, String)> {
    let task = |entry: &&Value| entry["fields"]["launches"][0]["task"]["id"].is_string();
    let entry = log.iter().find(task).context("the log holds the launch")?;
    ensure!(entry["command"] == "AcceptOffers", "{entry}");
    let fields = &entry["fields"];
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
    let spec = &fields["launches"][0]["task"];
    ensure!(spec["info"]["task_id"]["value"] == spec["id"], "the description is readable, too: {spec}");
    Ok((index(entry)?, text(&fields["framework"])?, text(&spec["id"])?))
}

async fn tasks_at(dir: &str, index: u64) -> Result<String> {
    good(&["debug", "replay", "--data-dir", dir, "--to", &index.to_string(), "tasks"]).await
}

/// Every command of the runbook's section, with real names in place of its words.
async fn follow_the_runbook(dirs: &[String], at: u64, framework: &str) -> Result<()> {
    let section = RUNBOOK.split(SECTION).nth(1).context("the runbook has this section")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let commands: Vec<&str> =
        section.lines().map(str::trim).filter_map(|line| line.strip_prefix("mesarch ")).collect();
    ensure!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let command = command.split(" #").next().unwrap_or_default();
        let index = at.to_string();
        let words = command.split_whitespace().map(|word| match word {
            "DIR" => dirs[0].as_str(),
            "INDEX" => &index,
            "FRAMEWORK" => framework,
            word => word,
        });
        good(&words.collect::<Vec<_>>()).await?;
    }
    Ok(())
}

async fn refused(dir: &str, arguments: &[&str], status: i32, words: &[&str]) -> Result<()> {
    let ended: Ended = run("", &[&["debug"], arguments, &["--data-dir", dir]].concat()).await?;
    ensure!(
        ended.status == status && words.iter().all(|word| ended.err.contains(word)),
        "{words:?}: {ended:?}"
    );
    Ok(())
}

async fn review() -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let dirs: Vec<String> =
        (1..=3).map(|node| cluster.dir().join(format!("master-{node}")).display().to_string()).collect();
    let ran = run(&cluster.addresses().join(","), &["run", "--", "true"]).await?;
    ensure!(ran.status == 0, "{ran:?}");
    refused(&dirs[0], &["log"], 1, &["stop that master", &dirs[0]]).await?;
    for master in &mut cluster.masters {
        master.terminate().await?;
    }

    let log = log_of(&dirs[0]).await?;
    let (at, framework, task) = launch(&log)?;
    let lines =
        good(&["debug", "log", "--data-dir", &dirs[0], "--from", &at.to_string(), "--to", &at.to_string()])
            .await?;
    ensure!(lines.contains("AcceptOffers") && lines.contains(&framework) && lines.contains(&task), "{lines}");
    let (before, after) = (tasks_at(&dirs[0], at - 1).await?, tasks_at(&dirs[0], at).await?);
    ensure!(!before.contains(&task), "before its launch: {before}");
    ensure!(after.contains(&task) && after.contains("TASK_STAGING"), "after its launch: {after}");

    for to in [at - 1, at, at + 1] {
        let mut digests = Vec::new();
        for dir in &dirs {
            digests.push(
                good(&["debug", "replay", "--data-dir", dir, "--to", &to.to_string(), "digest"]).await?,
            );
        }
        ensure!(digests.iter().all(|digest| *digest == digests[0]), "at {to}: {digests:?}");
    }
    let (from, to) = ((at - 1).to_string(), (at + 1).to_string());
    let range = ["--data-dir", &dirs[0], "--from", &from, "--to", &to];
    let of_each = good(&[&["debug", "replay", "digest"][..], &range].concat()).await?;
    let last = good(&["debug", "replay", "--data-dir", &dirs[0], "--to", &to, "digest"]).await?;
    ensure!(of_each.lines().count() == 3 && of_each.ends_with(&last), "after each of three: {of_each}{last}");
    let sound = good(&[&["debug", "replay", "invariants"][..], &range].concat()).await?;
    ensure!(sound.matches("all hold").count() == 3, "{sound}");
    follow_the_runbook(&dirs, at, &framework).await?;

    let beyond = (index(log.last().context("entries")?)? + 100).to_string();
    refused(&dirs[0], &["replay", "digest", "--to", &beyond], 1, &["--to", "the log ends at"]).await?;
    refused(&dirs[0], &["replay", "digest", "--agent", "S"], 2, &["explain"]).await?;
    refused(&dirs[0], &["replay", "explain"], 2, &["--framework"]).await?;
    refused(&dirs[0], &["replay", "tasks", "--from", "1"], 2, &["--from"]).await?;
    refused(&dirs[0], &["replay", "digest", "--from", "9", "--to", "8"], 2, &["--from 9"]).await?;
    refused(&dirs[0], &["replay", "digest", "--from", &beyond], 1, &["--from", "the last entry"]).await?;
    refused(&dirs[0], &["log", "--from", "9", "--to", "8"], 2, &["--from 9"]).await?;
    let above = Path::new(&dirs[0]).parent().context("a folder")?.display().to_string();
    refused(&above, &["log"], 2, &["identity", "master-1"]).await?;
    // Nothing was changed: the same cluster goes on.
    cluster.masters.iter_mut().try_for_each(mesarch_testkit::Node::start)?;
    cluster.wait_until_ready().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_masters_tell_what_was_decided_and_the_state_before_and_after() {
    review().await.unwrap();
}
