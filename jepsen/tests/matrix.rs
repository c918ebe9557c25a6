//! A short run of every workload and of every kind of fault. The long ones are for people: `ops/chaos.md`.

use std::{io::Write, path::Path, process::Command};

/// Workload, fault, and whether that needs a network that can be cut, or disks that can be broken.
const RUNS: [(&str, &str, bool); 14] = [
    ("launch", "kill-leader", false),
    ("register", "kill-all", false),
    ("stale-reads", "kill-follower", false),
    ("reconcile", "pause-leader", false),
    ("updates", "kill-agent-and-leader", false),
    ("register", "rolling", false),
    ("failover-framework", "kill-leader", false),
    ("register", "replace", false),
    ("register", "isolate-leader", true),
    ("stale-reads", "one-way", true),
    ("launch", "agents-only", true),
    ("register", "loss", true),
    ("register", "power-loss-all", true),
    ("stale-reads", "disk-fails", true),
];
/// How long the faults of one run go on, in seconds.
const SECONDS: &str = "8";
/// Statuses of a run without an anomaly: a good one, and one that proves nothing.
const CLEAN: i32 = 0;
const PROVES_NOTHING: i32 = 2;
/// Said where nothing can be cut, and where no disk can be broken.
const NOT_TO_BE_HAD: [&str; 2] = ["there is no private network", "there is no FUSE"];

/// Shown at once and always: what was not run has to be seen.
fn say(text: &str) {
    // Nobody reads it if this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[test]
fn every_workload_and_every_kind_of_fault_leaves_a_clean_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let failed: Vec<String> = RUNS
        .iter()
        .zip(1..)
        .filter_map(|((workload, nemesis, private), seed)| {
            run(folder.path(), workload, nemesis, *private, seed)
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What is wrong with the run, if anything.
fn run(folder: &Path, workload: &str, nemesis: &str, private: bool, seed: u32) -> Option<String> {
    let history = folder.join(format!("{workload}-{nemesis}.edn"));
    let output = Command::new(env!("CARGO_BIN_EXE_mesarch-jepsen"))
        .args(["--workload", workload, "--nemesis", nemesis, "--time", SECONDS])
        .args(["--seed", &seed.to_string(), "--history"])
        .arg(&history)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(CLEAN) => {
            say(&format!("{workload}, {nemesis}: {}", said.lines().nth(1).unwrap_or_default()));
            let page = std::fs::read_to_string(history.with_extension("html")).unwrap_or_default();
            let told = history.is_file() && page.contains("<svg");
            (!told).then(|| format!("{workload}, {nemesis}: no history, or no picture of it"))
        }
        Some(PROVES_NOTHING) if private && NOT_TO_BE_HAD.iter().any(|why| said.contains(why)) => {
            say(&format!("{workload}, {nemesis}: not run: {}", said.trim()));
            None
        }
        _ => Some(format!("{workload}, {nemesis}, seed {seed}: {}\n{said}", output.status)),
    }
}
