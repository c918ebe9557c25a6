//! Masters come and go while frameworks and agents go on, by the commands of the runbook.

use anyhow::{Context, Result, ensure};
use mesarch_testkit::{Cluster, Settings, wait_for};
use serde_json::Value;

use super::command::{Ended, run};
use crate::support::steady::Steady;

const RUNBOOK: &str = include_str!("../../../ops/RUNBOOK.md");

/// The commands of one section of the runbook, comments cut off.
pub(super) fn commands(section: &str) -> Result<Vec<String>> {
    let text = RUNBOOK.split(&format!("## {section}\n")).nth(1).context("the runbook has this section")?;
    let text = text.split("\n## ").next().unwrap_or_default();
    let commands = text.lines().filter_map(|line| line.trim().strip_prefix("mesarch "));
    Ok(commands.map(|command| command.split(" #").next().unwrap_or_default().trim().to_owned()).collect())
}

/// Runs a command of the runbook with real names in place of its words.
pub(super) async fn follow(masters: &str, command: &str, names: &[(&str, &str)]) -> Result<Ended> {
    let replace = |word: &str| {
        let names = names.iter().filter(|(name, _)| word.contains(name));
        names.fold(word.to_owned(), |word, (name, value)| word.replace(name, value))
    };
    let words: Vec<String> = command.split_whitespace().map(replace).collect();
    run(masters, &words.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn good(masters: &str, arguments: &[&str]) -> Result<String> {
    let ended = run(masters, arguments).await?;
    ensure!(ended.status == 0, "{arguments:?}: {ended:?}");
    Ok(ended.out)
}

async fn refused(masters: &str, arguments: &[&str], word: &str) -> Result<()> {
    let ended = run(masters, arguments).await?;
    ensure!(ended.status == 1 && ended.err.contains(word), "{arguments:?}, {word:?}: {ended:?}");
    Ok(())
}

/// Node ids of those that vote, and whether all members are healthy.
async fn voters(masters: &str) -> Result<(Vec<u64>, bool)> {
    let list: Value = serde_json::from_str(&good(masters, &["members", "list", "-o", "json"]).await?)?;
    let members = list["members"].as_array().context("members")?;
    let votes = members.iter().filter(|member| member["role"] != "learner");
    let voters = votes.filter_map(|member| member["node"].as_u64()).collect();
    Ok((voters, members.iter().all(|member| member["healthy"] == true)))
}

async fn grow_and_shrink() -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let first = cluster.addresses().join(",");
    let steady = Steady::start(cluster.addresses(), "steady", 0.0, cluster.dir()).await?;
    refused(&first, &["members", "add", "9=127.0.0.1:9/8"], "rule \"answers\"").await?;
    refused(&first, &["members", "promote", "9"], "rule \"member\"").await?;
    let fourth = cluster.add_master(&[])?;
    good(&first, &["members", "add", &cluster.member(fourth)]).await?;
    good(&first, &["members", "promote", "4"]).await?;
    ensure!(voters(&first).await? == (vec![1, 2, 3, 4], true), "four vote");

    let leader = cluster.wait_for_leader().await?;
    let number = (leader + 1).to_string();
    good(&first, &["members", "remove", &number]).await?;
    let ended = wait_for("the removed master to stop", async || cluster.masters[leader].ended()).await?;
    ensure!(ended.code() == Some(1), "it ends with {ended}");
    ensure!(cluster.masters[leader].log().contains("removed this master from the cluster"), "it says why");
    cluster.masters[leader].kill()?;
    cluster.masters[leader].start()?;
    let again = wait_for("its end at the next start", async || cluster.masters[leader].ended()).await?;
    ensure!(again.code() == Some(1), "it does not come back: {again}");
    cluster.masters[leader].kill()?;

    let dead = cluster.kill_leader().await?;
    cluster.wait_until_ready().await?;
    steady.check_runs().await?;
    steady.check_known(&cluster.operator().state().await?)?;
    replace(&mut cluster, dead, &first).await?;
    steady.check_runs().await?;
    steady.check_known(&cluster.operator().state().await?)?;
    Ok(())
}

/// A master whose machine and disk are lost, and another one in its place.
async fn replace(cluster: &mut Cluster, dead: usize, first: &str) -> Result<()> {
    std::fs::remove_dir_all(cluster.data_dir(dead))?;
    let new = cluster.add_master(&[])?;
    let (old, number, member) = ((dead + 1).to_string(), (new + 1).to_string(), cluster.member(new));
    let names = [("NEW=HOST:5052/5050", member.as_str()), ("NEW", number.as_str()), ("OLD", old.as_str())];
    for command in commands("When a master's machine is lost")? {
        let ended = follow(first, &command, &names).await?;
        ensure!(ended.status == 0, "{command}: {ended:?}");
    }
    let (voting, healthy) = voters(first).await?;
    ensure!(voting.len() == 3 && voting.contains(&5) && healthy, "{voting:?}");
    // The lost one, under its old number and with an empty disk, is not taken again.
    cluster.masters[dead].start()?;
    refused(first, &["members", "add", &cluster.member(dead)], "needs a new node id").await?;
    cluster.masters[dead].kill()?;
    // The agent and the framework were told of the new master by the others, not by their flags.
    good(first, &["members", "transfer", "--to", &number]).await?;
    cluster.wait_until_ready().await?;
    ensure!(cluster.leader().await == Some(new), "the new master leads");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_are_added_removed_and_replaced_and_tasks_know_nothing_of_it() {
    grow_and_shrink().await.unwrap();
}
