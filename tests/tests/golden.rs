//! What a real Mesos answered, asked of this cluster: `golden/conform.py` plays its scenario against three masters and
//! an agent. `golden/skipped.tsv` names every case that does not pass, why, and how it fails: a case that passes must not
//! be in it, and one that fails in another way than it says is found.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mesarch_testkit::{Cluster, RawHttp, Settings, wait_for};
use tokio::process::Command;
use tokio::time::timeout;

/// How long one run of the player may take; a whole one takes about a minute, most of it in waits for heartbeats.
const RUN_WITHIN: Duration = Duration::from_secs(300);
/// Cases that are asked of a master without a quorum.
const WITHOUT_LEADER: [&str; 2] = ["nozk-", "rec-"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// How a case ended, with the player's words.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs the player and reads its verdicts.
async fn play(arguments: &[&str]) -> Result<BTreeMap<String, Verdict>> {
    let player = Command::new("python3")
        .arg(folder().join("conform.py"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start python3; it is needed for this test")?;
    let output = timeout(RUN_WITHIN, player.wait_with_output()).await.context("the player hangs")??;
    let text = String::from_utf8(output.stdout)?;
    let verdicts = verdicts(&text);
    ensure!(!verdicts.is_empty(), "the player judged nothing: {text}");
    Ok(verdicts)
}

fn verdicts(text: &str) -> BTreeMap<String, Verdict> {
    let judged = text.lines().filter_map(|line| {
        let (word, rest) = line.split_once(' ')?;
        let (case, note) = rest.split_once(' ').unwrap_or((rest, ""));
        let verdict = match word {
            "PASS" => Verdict::Passed,
            "FAIL" => Verdict::Failed(note.to_owned()),
            "SKIP" => Verdict::Skipped(note.to_owned()),
            _ => return None,
        };
        Some((case.trim_end_matches(':').to_owned(), verdict))
    });
    judged.collect()
}

/// A case that does not pass.
#[derive(Debug)]
struct Listed<'a> {
    reason: &'a str,
    /// The player's words; empty if it cannot play the case here.
    difference: &'a str,
}

/// Those of the list, by case.
fn skipped(text: &str) -> Result<BTreeMap<&str, Listed<'_>>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut skipped = BTreeMap::new();
    for line in lines {
        let (case, reason) = line.split_once('\t').with_context(|| format!("no reason: {line}"))?;
        let (reason, difference) = reason.split_once('\t').unwrap_or((reason, ""));
        ensure!(!reason.trim().is_empty(), "no reason: {line}");
        ensure!(skipped.insert(case, Listed { reason, difference }).is_none(), "twice: {line}");
    }
    Ok(skipped)
}

/// Where the verdicts and the list of what is skipped do not agree.
fn disagreements(verdicts: &BTreeMap<String, Verdict>, skipped: &BTreeMap<&str, Listed<'_>>) -> Vec<String> {
    let wrong = verdicts.iter().filter_map(|(case, verdict)| match (verdict, skipped.get(case.as_str())) {
        (Verdict::Passed, Some(_)) => Some(format!("{case} passes: take it off the list")),
        (Verdict::Failed(note), None) => Some(format!("{case} fails: {note}")),
        (Verdict::Failed(note), Some(listed)) if note != listed.difference => {
            Some(format!("{case} fails in another way than the list says: {note}"))
        }
        (Verdict::Skipped(note), None) => Some(format!("{case} was not played: {note}")),
        _ => None,
    });
    let unknown = skipped.keys().filter(|case| !verdicts.contains_key(**case));
    wrong.chain(unknown.map(|case| format!("there is no case {case}"))).collect()
}

/// Says what is skipped in every run: past the capture of what tests print.
fn tell(judged: &BTreeMap<String, Verdict>, skipped: &BTreeMap<&str, Listed<'_>>) -> Result<()> {
    let lines = skipped.iter().map(|(case, listed)| format!("golden: skipped {case}: {}\n", listed.reason));
    let passed = judged.values().filter(|verdict| **verdict == Verdict::Passed).count();
    let text = lines.collect::<String>() + &format!("golden: {passed} of {} cases pass\n", judged.len());
    Ok(std::io::stderr().write_all(text.as_bytes())?)
}

async fn conformance() -> Result<()> {
    let resources = "--resources=cpus:4;mem:4096;disk:10000;ports:[31000-32000]";
    let settings = Settings { agent_flags: vec![resources.to_owned()], ..Settings::default() };
    let mut cluster = Cluster::start(3, 1, settings).await?;
    let leader = cluster.wait_for_leader().await?;
    let address = |cluster: &Cluster, master: usize| cluster.masters[master].address.to_string();
    let (master, follower) = (address(&cluster, leader), address(&cluster, (leader + 1) % 3));
    let agent = cluster.agents[0].address.to_string();
    let mut judged = play(&[&master, &agent, "--follower", &follower]).await?;

    // The last master has no quorum: it knows no leader, and recovers nothing.
    for gone in [leader, (leader + 1) % 3] {
        cluster.masters[gone].kill()?;
    }
    let cases = cluster.dir().join("cases");
    let of_last = judged.keys().filter(|case| WITHOUT_LEADER.iter().any(|start| case.starts_with(start)));
    std::fs::write(&cases, of_last.map(|case| format!("{case}\n")).collect::<String>())?;
    let last = address(&cluster, (leader + 2) % 3);
    wait_for("the last master to know no leader", async || {
        let head = RawHttp::connect(&last).await.ok()?.request("GET", "/redirect", &[], b"").await.ok()?;
        (head.status == 503).then_some(())
    })
    .await?;
    let cases = cases.display().to_string();
    judged.extend(
        play(&[&last, &agent, "--recovering", &last, "--no-leader", &last, "--cases", &cases]).await?,
    );

    let list = std::fs::read_to_string(folder().join("skipped.tsv"))?;
    let skipped = skipped(&list)?;
    tell(&judged, &skipped)?;
    let disagreements = disagreements(&judged, &skipped);
    ensure!(disagreements.is_empty(), "{}", disagreements.join("\n"));
    Ok(())
}

#[tokio::test]
async fn a_real_mesos_answered_the_same_in_every_case_that_is_not_listed_with_its_reason() {
    conformance().await.unwrap();
}

#[test]
fn a_list_that_is_not_true_is_found() {
    let judged =
        verdicts("# played\nPASS a\nFAIL b: status 501 (+1 more)\nSKIP c (no --auth given)\nWARN a: x\n");
    let check = |list: &str, expect: &[&str]| {
        let found = disagreements(&judged, &skipped(list).unwrap());
        assert_eq!(found, expect, "{list}");
    };
    let b = "b\tlater\tstatus 501 (+1 more)\n";
    check(&format!("# why\n{b}c\tlater\n"), &[]);
    check(b, &["c was not played: (no --auth given)"]);
    check("c\tlater\n", &["b fails: status 501 (+1 more)"]);
    check(
        "b\tlater\tstatus 501\nc\tlater\n",
        &["b fails in another way than the list says: status 501 (+1 more)"],
    );
    check(&format!("a\tx\n{b}c\tx\nd\tx\n"), &["a passes: take it off the list", "there is no case d"]);
    assert!(skipped("a\n").is_err() && skipped("a\t \n").is_err() && skipped("a\tx\na\ty\n").is_err());
}
