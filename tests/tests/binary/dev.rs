//! `mesarch dev`, and `run` and `get` against it.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use mesarch_client::operator::{self, Operator};
use mesarch_testkit::{slot, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStderr;

use super::command::{Ended, Running, WITHIN, files_below, finish, is_alive, mesarch, send};

/// A process may start another while we look.
const LEFTOVER_ROUNDS_MAX: usize = 10;

/// A `mesarch dev` that keeps everything in a folder of the test.
struct Dev {
    running: Option<Running>,
    ready: Value,
    place: Arc<TempDir>,
}

impl Dev {
    async fn start(arguments: &[&str]) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("mesarch-test-dev-").tempdir()?;
        Self::start_in(Arc::new(place), arguments).await
    }

    /// With everything it makes below `place`.
    async fn start_in(place: Arc<TempDir>, arguments: &[&str]) -> Result<Self> {
        let mut command = mesarch("", &[&["dev"], arguments].concat())?;
        command.env("TMPDIR", place.path()).env("XDG_RUNTIME_DIR", place.path()).stderr(Stdio::null());
        let mut running = Running::start(command)?;
        let ready = serde_json::from_str(&running.line().await?).context("the first line is JSON")?;
        Ok(Self { running: Some(running), ready, place })
    }

    /// With what it tells on standard error, line by line.
    async fn start_told(arguments: &[&str]) -> Result<(Self, Lines<BufReader<ChildStderr>>)> {
        let place = Arc::new(tempfile::Builder::new().prefix("mesarch-test-dev-").tempdir()?);
        let mut command = mesarch("", &[&["dev"], arguments].concat())?;
        command.env("TMPDIR", place.path()).env("XDG_RUNTIME_DIR", place.path()).stderr(Stdio::piped());
        let mut running = Running::start(command)?;
        let told = BufReader::new(running.errors().context("standard error is piped")?).lines();
        let ready = serde_json::from_str(&running.line().await?).context("the first line is JSON")?;
        Ok((Self { running: Some(running), ready, place }, told))
    }

    /// Runs the binary beside it; it finds the cluster by itself.
    async fn run(&self, arguments: &[&str]) -> Result<Ended> {
        finish(self.beside(arguments)?).await
    }

    fn beside(&self, arguments: &[&str]) -> Result<tokio::process::Command> {
        let mut command = mesarch("", arguments)?;
        command.env("TMPDIR", self.place.path()).env("XDG_RUNTIME_DIR", self.place.path());
        Ok(command)
    }

    fn list(&self, key: &str) -> Vec<String> {
        let items = self.ready[key].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn pids(&self) -> Vec<u32> {
        let pids = self.ready["pids"].as_object().into_iter().flatten();
        pids.filter_map(|(_, pid)| u32::try_from(pid.as_u64()?).ok()).collect()
    }

    /// Ctrl-C, after which nothing is left.
    async fn end(self) -> Result<()> {
        let place = self.place.clone();
        self.stop(Signal::INT).await?;
        let left = files_below(place.path());
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    }

    /// A signal that ends it well, after which nothing runs.
    async fn stop(mut self, signal: Signal) -> Result<()> {
        let running = self.running.take().context("it runs")?;
        ensure!(running.end(signal).await? == 0, "{signal:?} is a good end");
        let alive: Vec<u32> = self.pids().into_iter().filter(|pid| is_alive(*pid)).collect();
        ensure!(alive.is_empty(), "still run: {alive:?}");
        let tasks = processes_below(self.place.path());
        ensure!(tasks.is_empty(), "tasks still run: {tasks:?}");
        Ok(())
    }
}

impl Drop for Dev {
    /// After a failure: dev is killed, and so its tasks, which would outlive it, are too.
    fn drop(&mut self) {
        drop(self.running.take());
        for _ in 0..LEFTOVER_ROUNDS_MAX {
            let left = processes_below(self.place.path());
            if left.is_empty() {
                return;
            }
            // One that ended meanwhile is what we want.
            left.into_iter().for_each(|pid| drop(send(pid, Signal::KILL)));
        }
    }
}

/// Processes of the cluster in this folder: masters and agents by their command line, executors and tasks by their
/// sandbox.
pub(super) fn processes_below(folder: &Path) -> Vec<u32> {
    let folder = folder.display();
    let sandboxes = [format!("MESOS_SANDBOX={folder}"), format!("MESOS_DIRECTORY={folder}")];
    let read = |file: String| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned();
    let is_ours = |pid: &u32| {
        let (arguments, variables) =
            (read(format!("/proc/{pid}/cmdline")), read(format!("/proc/{pid}/environ")));
        arguments.contains(&format!("={folder}"))
            || sandboxes.iter().any(|sandbox| variables.contains(sandbox))
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| is_ours(pid) && is_alive(*pid)).collect()
}

async fn ready_line_and_end() -> Result<()> {
    let _slot = slot().await;
    let dev = Dev::start(&["--masters", "3", "--agents", "2"]).await?;
    let (masters, agents) = (dev.list("masters"), dev.list("agents"));
    ensure!(dev.ready["ready"] == true && masters.len() == 3 && agents.len() == 2, "{}", dev.ready);
    ensure!(masters.iter().any(|master| dev.ready["leader"] == master.as_str()), "{}", dev.ready);
    let dir = Path::new(dev.ready["dir"].as_str().context("no dir")?);
    ensure!(dir.starts_with(dev.place.path()) && dir.is_dir(), "{}", dev.ready);
    let pids = dev.ready["pids"].as_object().context("no pids")?;
    ensure!(
        masters.iter().chain(&agents).all(|address| pids.contains_key(address)) && pids.len() == 5,
        "{pids:?}"
    );
    ensure!(dev.pids().into_iter().all(is_alive), "{pids:?}");

    // Ready means: not one of them still has to hear who leads.
    for master in &masters {
        let named = operator::get(master, "/redirect").await?.redirect;
        ensure!(named.is_some_and(|named| dev.ready["leader"] == named), "{master} names another leader");
    }

    // A task that runs when Ctrl-C comes ends, too.
    let _task = started(dev.beside(&["run", "--", "sleep", "600"])?, "TASK_RUNNING").await?;
    ensure!(!processes_below(dev.place.path()).is_empty(), "the task runs somewhere");
    dev.end().await
}

/// Starts a `run` and waits until it tells something on standard error; the process, and where its errors go on.
async fn started(mut command: tokio::process::Command, told: &str) -> Result<tokio::process::Child> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("standard error is piped")?).lines();
    let wait = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains(told) {
                // Goes on reading, so that the command never writes into a closed pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(());
            }
        }
        anyhow::bail!("it ended without {told}")
    };
    tokio::time::timeout(WITHIN, wait).await.with_context(|| format!("no {told} in time"))??;
    Ok(child)
}

async fn run_exits_as_its_command() -> Result<()> {
    let _slot = slot().await;
    let dev = Dev::start(&["--masters", "1", "--agents", "1"]).await?;
    let ended = dev.run(&["run", "--", "sh", "-c", "echo hi; exit 3"]).await?;
    ensure!(ended.status == 3, "{ended:?}");
    ensure!(ended.out.is_empty() && ended.err.contains("TASK_FAILED"), "{ended:?}");
    let outputs = files_below(dev.place.path()).into_iter().filter(|file| file.ends_with("stdout"));
    // A sandbox may go while we look.
    let texts: Vec<String> = outputs.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    ensure!(texts.iter().any(|text| text.lines().any(|line| line == "hi")), "no sandbox holds hi: {texts:?}");

    let ended = dev.run(&["run", "--name", "slow", "--", "sh", "-c", "echo here; sleep 1"]).await?;
    ensure!(ended.status == 0, "{ended:?}");
    let told = ended.err.lines().find_map(|line| line.strip_prefix("mesarch: sandbox on ")?.split_once(": "));
    let (_, place) = told.with_context(|| format!("it tells where the sandbox is: {ended:?}"))?;
    let work_folder = Path::new(dev.ready["dir"].as_str().context("no dir")?).join("agent-1");
    let sandbox = Path::new(place);
    ensure!(sandbox.starts_with(&work_folder), "the sandbox is told as a path: {ended:?}");
    let output = std::fs::read_to_string(sandbox.join("stdout"));
    ensure!(output.is_ok_and(|text| text.contains("here")), "no output in {}", sandbox.display());

    let variables = ["run", "--env", "A=b c", "--", "sh", "-c", "test \"$A\" = 'b c'"];
    ensure!(dev.run(&variables).await?.status == 0, "the environment is set");
    let killed = dev.run(&["run", "--", "sh", "-c", "kill -9 $$"]).await?;
    ensure!(killed.status == 128 + 9, "{killed:?}");
    let missing = dev.run(&["run", "--", "/no/such/program"]).await?;
    ensure!(![0, 2].contains(&missing.status), "{missing:?}");

    let mut sleeper = started(dev.beside(&["run", "--", "sleep", "600"])?, "TASK_RUNNING").await?;
    let pid = sleeper.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    rustix::process::kill_process(pid.context("it has ended")?, Signal::INT)?;
    let status = tokio::time::timeout(WITHIN, sleeper.wait()).await.context("Ctrl-C ends it")??;
    ensure!(status.code() == Some(128 + 2), "Ctrl-C is signal 2: {status}");
    let operator = Operator::new(dev.list("masters"));
    wait_for("the task of an interrupted run to be killed", async || {
        let past = past(&operator.state().await.ok()?).ok()?;
        past.iter().any(|(_, _, state)| state == "TASK_KILLED").then_some(())
    })
    .await?;
    wait_for("its executor and its process to end", async || dev_tasks(&dev).is_empty().then_some(()))
        .await?;
    dev.end().await
}

/// Processes of a dev cluster that are neither masters nor agents.
fn dev_tasks(dev: &Dev) -> Vec<u32> {
    let nodes = dev.pids();
    processes_below(dev.place.path()).into_iter().filter(|pid| !nodes.contains(pid)).collect()
}

/// Whether dev's ports from this one on are free: three masters' and one agent's.
fn is_free_base(base: u16) -> bool {
    let ports = (0..3).flat_map(|master| [base + 10 * master, base + 10 * master + 2]);
    ports.chain([base + 1000]).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
}

async fn tells_of_a_kill_on_its_ports() -> Result<()> {
    let _slot = slot().await;
    let first = 20_000 + u16::try_from(std::process::id() % 8_000)?;
    let base = (first..31_000).find(|base| is_free_base(*base)).context("no free ports")?;
    let flags = ["--masters", "3", "--agents", "1", "--base-port", &base.to_string()];
    let (dev, mut told) = Dev::start_told(&flags).await?;
    let at = |offset: u16| format!("127.0.0.1:{}", base + offset);
    ensure!(dev.list("masters") == [at(0), at(10), at(20)], "{}", dev.ready);
    ensure!(dev.list("agents") == [at(1000)], "{}", dev.ready);
    let leader = dev.ready["leader"].as_str().context("a leader")?;
    let pid = dev.ready["pids"][leader].as_u64().context("its process")?;
    send(u32::try_from(pid)?, Signal::KILL)?;
    let news = async {
        let (mut ended, mut led) = (0, 0);
        while ended + led < 2 {
            let line = told.next_line().await?.context("it ended")?;
            ended += u32::from(line.contains(leader) && line.contains("was ended by signal 9"));
            led += u32::from(line.ends_with(" leads") && !line.contains(leader));
        }
        ensure!((ended, led) == (1, 1), "each is told once");
        Ok(())
    };
    tokio::time::timeout(WITHIN, news).await.context("a killed leader is not told of")??;
    dev.stop(Signal::INT).await
}

/// What a state says about frameworks that have left and their tasks.
fn past(state: &Value) -> Result<Vec<(String, String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let frameworks = state["completed_frameworks"].as_array().context("a list")?.iter();
    let tasks = frameworks.flat_map(|framework| {
        let tasks = framework["completed_tasks"].as_array().into_iter().flatten();
        tasks.map(|task| (text(&framework["id"]), text(&task["id"]), text(&task["state"])))
    });
    Ok(tasks.collect())
}

async fn second_life() -> Result<()> {
    let _slot = slot().await;
    let place = Arc::new(tempfile::Builder::new().prefix("mesarch-test-dev-").tempdir()?);
    let folder = place.path().join("kept").display().to_string();
    let first = Dev::start_in(place.clone(), &["--masters", "3", "--agents", "2", "--dir", &folder]).await?;
    ensure!(first.run(&["run", "--", "true"]).await?.status == 0, "a task runs");
    let mut sleeper =
        started(first.beside(&["run", "--name", "long", "--", "sleep", "600"])?, "TASK_RUNNING").await?;
    let state = Operator::new(first.list("masters")).state().await?;
    let (before, ready) = (past(&state)?, first.ready.clone());
    ensure!(before.len() == 1 && before[0].2 == "TASK_FINISHED", "{before:?}");

    let twice = mesarch("", &["dev", "--dir", &folder])?;
    let twice = finish(twice).await?;
    ensure!(twice.status == 2 && twice.err.contains("runs already"), "{twice:?}");
    first.stop(Signal::TERM).await?;
    for (flag, number, there) in [("--masters", "5", "3 masters"), ("--agents", "1", "2 agents")] {
        let ended = finish(mesarch("", &["dev", "--dir", &folder, flag, number])?).await?;
        let words = [&format!("{flag} {number}"), there, folder.as_str()];
        ensure!(ended.status == 2 && words.iter().all(|word| ended.err.contains(*word)), "{ended:?}");
    }

    let second = Dev::start_in(place.clone(), &["--dir", &folder]).await?;
    ensure!(
        ["masters", "agents", "dir"].iter().all(|key| second.ready[key] == ready[key]),
        "{ready} and then {}",
        second.ready
    );
    let state = Operator::new(second.list("masters")).state().await?;
    ensure!(past(&state)?.contains(&before[0]), "{before:?} and then {:?}", past(&state)?);
    let agents = state["slaves"].as_array().context("a list")?;
    ensure!(agents.len() == 2 && agents.iter().all(|agent| agent["active"] == true), "{agents:?}");
    // Whoever waited for the task of the first life hears of its end: its process went with that life.
    let status = tokio::time::timeout(WITHIN, sleeper.wait()).await.context("the task's end is told")??;
    ensure!(status.code() == Some(125), "{status}");
    ensure!(second.run(&["run", "--", "true"]).await?.status == 0, "a task runs in the second life");
    second.stop(Signal::INT).await
}

async fn nobody_is_left_alone() -> Result<()> {
    let _slot = slot().await;
    let mut dev = Dev::start(&["--masters", "3", "--agents", "1"]).await?;
    let _task = started(dev.beside(&["run", "--", "sleep", "600"])?, "TASK_RUNNING").await?;
    let place = dev.place.clone();
    ensure!(!processes_below(place.path()).is_empty(), "the task runs somewhere");
    dev.running.take().context("it runs")?.kill().await?;
    wait_for("masters, agents, executors and tasks to follow a killed dev", async || {
        processes_below(place.path()).is_empty().then_some(())
    })
    .await
}

async fn get_tells_the_truth() -> Result<()> {
    let _slot = slot().await;
    let dev = Dev::start(&["--masters", "3", "--agents", "2"]).await?;
    let _sleeper =
        started(dev.beside(&["run", "--name", "sleeper", "--", "sleep", "600"])?, "TASK_RUNNING").await?;
    let json = async |what: &str| {
        let ended = dev.run(&["get", what, "-o", "json"]).await?;
        ensure!(ended.status == 0 && ended.err.is_empty(), "{what}: {ended:?}");
        let rows: Vec<Value> = serde_json::from_str(&ended.out)?;
        Ok(rows)
    };
    let masters = json("masters").await?;
    let leaders: Vec<_> = masters.iter().filter(|master| master["role"] == "leader").collect();
    ensure!(
        masters.len() == 3 && leaders.len() == 1 && leaders[0]["address"] == dev.ready["leader"],
        "{masters:?}"
    );
    let agents = json("agents").await?;
    ensure!(agents.len() == 2 && agents.iter().all(|agent| agent["active"] == true), "{agents:?}");
    let frameworks = json("frameworks").await?;
    ensure!(frameworks.len() == 1 && frameworks[0]["active"] == true, "{frameworks:?}");
    let tasks = json("tasks").await?;
    ensure!(
        tasks.len() == 1 && tasks[0]["name"] == "sleeper" && tasks[0]["state"] == "TASK_RUNNING",
        "{tasks:?}"
    );
    let roles = json("roles").await?;
    ensure!(roles.iter().any(|role| role["name"] == "*"), "{roles:?}");
    wait_for("no offers while the only framework wants none", async || {
        json("offers").await.ok()?.is_empty().then_some(())
    })
    .await?;

    for (what, head, rows) in [
        ("masters", "ADDRESS", 3),
        ("agents", "ID", 2),
        ("frameworks", "ID", 1),
        ("tasks", "ID", 1),
        ("offers", "ID", 0),
        ("roles", "NAME", roles.len()),
    ] {
        let ended = dev.run(&["get", what]).await?;
        let lines: Vec<&str> = ended.out.lines().collect();
        ensure!(
            ended.status == 0 && lines.len() == rows + 1 && lines[0].starts_with(head),
            "{what}: {ended:?}"
        );
    }
    rows_are_those_of_the_state(&dev).await?;
    dev.end().await
}

/// The tables against `/state` and what the test itself has started: one task of 0.1 cores and 32 MB.
async fn rows_are_those_of_the_state(dev: &Dev) -> Result<()> {
    let state = Operator::new(dev.list("masters")).state().await?;
    let framework = &state["frameworks"][0];
    let task = &framework["tasks"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (framework_id, task_id, agent) = (text(&framework["id"]), text(&task["id"]), text(&task["slave_id"]));
    let rows = async |what: &str| -> Result<Vec<Vec<String>>> {
        let out = dev.run(&["get", what]).await?.out;
        Ok(out.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect())
    };
    let check = |found: Vec<Vec<String>>, expect: &[&[&str]]| {
        ensure!(found == expect, "{found:?} instead of {expect:?}");
        Ok(())
    };
    check(
        rows("tasks").await?,
        &[&[&task_id, "sleeper", "mesarch-run", "TASK_RUNNING", &agent, "0.1", "32"]],
    )?;
    check(rows("frameworks").await?, &[&[&framework_id, "mesarch-run", "*", "yes", "1", "0.1", "32"]])?;
    check(rows("roles").await?, &[&["*", "1", "1", "0.1", "32"]])?;
    let masters = dev.list("masters");
    let role = |master: &String| if dev.ready["leader"] == master.as_str() { "leader" } else { "follower" };
    let expect: Vec<Vec<String>> =
        masters.iter().map(|master| vec![master.clone(), role(master).to_owned()]).collect();
    ensure!(rows("masters").await? == expect, "{expect:?}");
    for row in rows("agents").await? {
        let total = |kind: &str| {
            let agents = state["slaves"].as_array().into_iter().flatten();
            let own = agents.clone().find(|other| other["id"] == row[0].as_str());
            own.and_then(|own| own["resources"][kind].as_f64()).unwrap_or_default().to_string()
        };
        let (cpus, mem, tasks) = if row[0] == agent { ("0.1", "32", "1") } else { ("0", "0", "0") };
        let expect = [
            "127.0.0.1",
            "yes",
            cpus,
            "of",
            &total("cpus"),
            mem,
            "of",
            &total("mem"),
            "0",
            "of",
            &total("disk"),
            tasks,
        ];
        ensure!(row[1..] == expect, "{row:?} instead of {expect:?}");
    }
    Ok(())
}

#[tokio::test]
async fn dev_says_when_it_is_ready_and_leaves_nothing() {
    ready_line_and_end().await.unwrap();
}

#[tokio::test]
async fn dev_takes_the_ports_that_it_is_given_and_tells_of_a_killed_leader() {
    tells_of_a_kill_on_its_ports().await.unwrap();
}

#[tokio::test]
async fn dev_in_the_folder_of_an_earlier_one_goes_on_with_its_cluster() {
    second_life().await.unwrap();
}

#[tokio::test]
async fn what_dev_started_ends_when_dev_is_killed() {
    nobody_is_left_alone().await.unwrap();
}

#[tokio::test]
async fn run_exits_as_its_command_does() {
    run_exits_as_its_command().await.unwrap();
}

#[tokio::test]
async fn get_shows_what_is_there() {
    get_tells_the_truth().await.unwrap();
}
