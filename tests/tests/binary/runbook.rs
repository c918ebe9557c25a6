//! A cluster is started by the words of the runbook and of the shipped units, and every command of the runbook is run by a test.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use mesarch_testkit::{Node, RawHttp, cluster::binary, slot, wait_for};

use super::command::{Ended, run};

const RUNBOOK: &str = include_str!("../../../ops/RUNBOOK.md");
const MASTER: &str = include_str!("../../../ops/systemd/mesarch-master.service");
const AGENT: &str = include_str!("../../../ops/systemd/mesarch-agent.service");

/// Sections whose commands other tests run, all of them.
const FOLLOWED: [&str; 5] = [
    "When a master's machine is lost",
    "Look back at an incident",
    "Back up",
    "Restore a backup",
    "When a majority of the masters is lost for good",
];

/// What is run here. Names of masters stand behind the first two in the first section only.
const HERE: [&str; 2] = ["get masters", "get agents"];

/// Named without being run as they stand: they need the words that the sections above give them.
const NAMED: [&str; 1] = ["members add"];

/// Commands of the binary in a text: lines of their own, and whole ones between backquotes.
fn commands(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("mesarch "));
    let quoted = text.split('`').skip(1).step_by(2).filter_map(|words| words.strip_prefix("mesarch "));
    lines.chain(quoted.filter(|words| !words.contains('\n'))).collect()
}

/// The words between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Result<&'a str> {
    let rest = text.split_once(before).with_context(|| format!("{before:?} is there"))?.1;
    Ok(rest.split(after).next().unwrap_or_default())
}

/// Addresses that nobody else uses, in place of those of the runbook: all of 127.0.0.0/8 is this host.
fn network() -> String {
    let own = std::process::id();
    format!("127.{}.{}.", 1 + own % 250, own / 250 % 250)
}

/// A unit's command line with the flags of its environment file, and everything below a folder.
fn words(unit: &str, flags: &str, folder: &Path) -> Result<Vec<String>> {
    let line = between(unit, "ExecStart=/usr/local/bin/mesarch ", "\n")?;
    let (command, _) = line.split_once(" $MESARCH_").context("the flags come last")?;
    let command = command.replace("/var/lib", &folder.display().to_string());
    let flags = flags.replace("10.0.0.", &network());
    Ok(command.split_whitespace().chain(flags.split_whitespace()).map(str::to_owned).collect())
}

fn node(name: &str, host: usize, port: u16, words: Vec<String>, folder: &Path) -> Result<Node> {
    let address: SocketAddr = format!("{}{host}:{port}", network()).parse()?;
    let log = folder.with_extension("log");
    Ok(Node::new(name.to_owned(), address, binary()?, words, log))
}

/// What a command prints once it is good and `holds`.
async fn told(command: &str, masters: &str, holds: impl Fn(&str) -> bool) -> Result<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    wait_for(command, async || {
        let Ended { status, out, .. } = run(masters, &words).await.ok()?;
        (status == 0 && holds(&out)).then_some(out)
    })
    .await
}

async fn serves(node: &Node, path: &str) -> Result<()> {
    let mut connection = RawHttp::connect(&node.address.to_string()).await?;
    let answer = connection.request("GET", path, &[], b"").await?;
    ensure!(answer.status == 200, "{}{path}: {}", node.name, answer.status);
    Ok(())
}

async fn start_by_the_words() -> Result<()> {
    let _slot = slot().await;
    let place = tempfile::tempdir()?;
    let section = between(RUNBOOK, "## Start a cluster\n", "\n## ")?;
    let flags = between(section, "`MESARCH_MASTER_FLAGS=", "`")?;
    let first = section.lines().map(str::trim).find(|line| line.starts_with("--bootstrap "));
    let first = first.context("the flags of the first start")?;
    let mut masters = Vec::new();
    for number in 1..=3 {
        let folder = place.path().join(format!("machine-{number}"));
        let own = flags.replace("=N", &format!("={number}")).replace("IP", &format!("10.0.0.{number}"));
        let all = if number == 1 { format!("{own} {first}") } else { own };
        let mut master = node("master", number, 5050, words(MASTER, &all, &folder)?, &folder)?;
        master.start()?;
        masters.push(master);
    }
    let ask =
        section.split('`').find_map(|words| words.strip_prefix("mesarch get masters ")).context("asks")?;
    let ask = format!("get masters {}", ask.replace("10.0.0.", &network()));
    let three = |out: &str| (1..=3).all(|host| out.contains(&format!("{}{host}:", network())));
    told(&ask, "", |out| three(out) && out.matches("follower").count() == 2).await?;

    // Left in, the two flags are refused; taken out, it is there again.
    ensure!(masters[0].terminate().await?.success(), "SIGTERM is a good end");
    masters[0].start()?;
    let ended = wait_for("its refusal", async || masters[0].ended()).await?;
    ensure!(ended.code() == Some(1) && masters[0].log().contains("without bootstrapping"), "{ended}");
    masters[0].kill()?;
    masters[0].forget_flag("--bootstrap");
    masters[0].forget_flag("--initial-masters");
    masters[0].start()?;
    told(&ask, "", |out| three(out) && out.matches("follower").count() == 2).await?;

    let folder = place.path().join("machine-7");
    let flags = between(AGENT, "MESARCH_AGENT_FLAGS=", "\n")?;
    let mut agent = node("agent", 7, 5051, words(AGENT, flags, &folder)?, &folder)?;
    agent.start()?;
    let named: Vec<String> = (1..=3).map(|host| format!("{}{host}", network())).collect();
    told("get agents", &named.join(","), |out| out.contains(&format!("{}7", network()))).await?;
    for node in masters.iter().chain([&agent]) {
        serves(node, "/health").await?;
        serves(node, "/metrics").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_starts_by_the_words_of_the_runbook_and_the_shipped_units() {
    start_by_the_words().await.unwrap();
}

#[test]
fn every_command_of_the_runbook_is_run_by_a_test() {
    let mut seen = 0;
    for section in RUNBOOK.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        for command in commands(section) {
            let known = HERE.iter().chain(&NAMED).any(|known| command.starts_with(known));
            assert!(known || FOLLOWED.contains(&title), "{title}: {command:?} is run by no test");
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen} commands");
}
