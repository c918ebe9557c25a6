//! `mesarch allocator simulate` as programs see it: what it prints, and its exit statuses.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesarch"));
    command.args(["allocator", "simulate"]).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn scenarios() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let mut files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| path.ends_with(".json"))
        .collect();
    files.sort();
    files
}

#[test]
fn all_scenarios_pass() {
    let files = scenarios();
    assert!(files.len() >= 30, "{files:?}");
    let output = simulate(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let failed: Vec<&str> = out.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert_eq!((output.status.code(), failed, err.as_str()), (Some(0), Vec::new(), ""));
    assert_eq!(out.lines().filter(|line| line.starts_with("PASS ")).count(), files.len());
}

#[test]
fn offers_are_told_as_they_are_made_and_verdicts_as_objects_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.json");
    let steps = r#"{"add_framework": {"id": "f", "roles": ["r"]}}, {"add_agent": {"id": "a", "resources": "cpus:1;mem:64"}}"#;
    let scenario = |expect: &str| {
        let text = format!(r#"{{"name": "one offer", "steps": [{steps}, {{"expect": {expect}}}]}}"#);
        fs::write(&file, text).unwrap();
    };
    let path = file.to_str().unwrap();
    scenario(r#"[{"framework": "f", "role": "r", "agent": "a", "resources": "cpus:1;mem:64"}]"#);
    let output = simulate(&[path]);
    let offer = r#"{"step":2,"at_ms":0,"offers":[{"framework":"f","role":"r","agent":"a","resources":"cpus:1;mem:64"}],"inverse_offers":[]}"#;
    assert_eq!(text(&output.stdout), format!("{offer}\nPASS one offer\n"));
    let output = simulate(&["--json", path]);
    let verdict: Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    assert_eq!(verdict["name"], "one offer");

    scenario("[]");
    let output = simulate(&[path]);
    assert_eq!(output.status.code(), Some(1));
    let out = text(&output.stdout);
    assert!(out.lines().last().unwrap().starts_with("FAIL one offer: step 3: expected "), "{out}");
}

#[test]
fn a_file_that_is_no_scenario_is_named_with_line_and_field_and_nothing_is_played() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.json");
    fs::write(
        &file,
        "{\"name\": \"x\",\n \"steps\": [\n  {\"add_agent\": {\"id\": \"a\", \"resources\": 7}}]}",
    )
    .unwrap();
    let good = scenarios().remove(0);
    let output = simulate(&[&good, file.to_str().unwrap()]);
    let err = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""));
    assert!(err.contains("bad.json: line 3: steps[0].add_agent.resources"), "{err}");
    let output = simulate(&["/does/not/exist.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(simulate(&[]).status.code(), Some(2));
}
