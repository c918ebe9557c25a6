//! The scenario files of the project, each played from its first step to its last.
#![expect(clippy::disallowed_methods, reason = "tests read their files")]

use std::{fs, path::PathBuf};

use mesarch_allocator::scenario;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios")
}

#[test]
fn every_scenario_file_passes() {
    let mut failures = Vec::new();
    let mut played = 0;
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let scenario = scenario::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let verdict = scenario::play(&scenario, &mut |_| {});
        played += 1;
        if !verdict.passed() {
            failures.push(format!("{}: {verdict}", path.display()));
        }
    }
    assert!(played >= 31, "only {played} files were found");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
