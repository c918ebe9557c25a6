//! Whatever the text, the scenario reader answers with a scenario or says line and field; and a scenario can be played.
#![expect(clippy::disallowed_methods, reason = "tests read their files")]

mod reading;
mod world;

use std::{fs, path::Path};

use mesarch_allocator::scenario::{self, ReadError, TEXT_BYTES_MAX};
use proptest::{collection::vec, prelude::*, sample::select};
use reading::{PIECES, read_and_play};

fn texts() -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("tests/corpus"), here.join("../../tests/scenarios")];
    let paths = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("there").map(|entry| entry.expect("readable").path()));
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read_to_string(path).expect("readable")).collect()
}

#[test]
fn the_corpus_is_read_or_refused() {
    texts().iter().for_each(|text| read_and_play(text));
}

#[test]
fn errors_name_line_and_field() {
    let table = [
        ("", "line 1: EOF while parsing a value"),
        ("{\"name\": \"x\"}", "line 1: the field \"steps\" is missing"),
        ("{\"name\": \"x\", \"steps\": [], \"colour\": 1}", "line 1: colour: there is no such field"),
        (
            "{\"name\": \"x\",\n\"steps\": [\n{\"sttle\": {}}]}",
            "line 3: steps[0].sttle: there is no such step",
        ),
        ("{\"name\": \"x\", \"steps\": [{}]}", "line 1: steps[0]: a step is an object with one key"),
        (
            "{\"name\": \"x\", \"steps\": [\n{\"add_agent\": {\"id\": \"n\",\n\n\"resources\": \"cpus\"}}]}",
            "line 4: steps[0].add_agent.resources: \"cpus\" is not of the form name:value",
        ),
        (
            "{\"name\": \"x\", \"steps\": [{\"set_weight\": {\"role\": \"a b\", \"weight\": 1}}]}",
            "line 1: steps[0].set_weight.role: role \"a b\" holds a blank or a delete character",
        ),
        (
            "{\"name\": \"x\", \"steps\": [{\"expect_error\": {\"step\": {\"decline\": {\"agent\": \"n\"}}}}]}",
            "line 1: steps[0].expect_error.step.decline: the field \"framework\" is missing",
        ),
        (
            "{\"name\": \"x\", \"allocation_interval_ms\": 0, \"steps\": []}",
            "line 1: allocation_interval_ms: must be above zero",
        ),
    ];
    for (text, expect) in table {
        assert_eq!(scenario::read(text).expect_err(expect).to_string(), expect);
    }
    let long = " ".repeat(TEXT_BYTES_MAX + 1);
    assert!(scenario::read(&long).is_err_and(|error: ReadError| error.message.contains("bytes")));
}

#[test]
fn output_is_a_line_for_each_step_that_made_offers() {
    let text = r#"{"name": "lines", "steps": [
        {"add_framework": {"id": "f", "roles": ["a"]}},
        {"add_agent": {"id": "n1", "resources": "cpus:1;mem:64", "unavailable_from_ms": 9}},
        {"advance_ms": 1000},
        {"answer_inverse": {"framework": "f", "agent": "n1", "answer": "accept"}},
        {"advance_ms": 1000},
        {"expect": []}]}"#;
    let asked = r#"{"framework":"f","agent":"n1"}"#;
    let mut lines = Vec::new();
    let verdict = scenario::play(&scenario::read(text).expect("a scenario"), &mut |report| {
        lines.push(report.to_string())
    });
    let offer = r#"{"framework":"f","role":"a","agent":"n1","resources":"cpus:1;mem:64"}"#;
    assert_eq!(
        lines,
        [
            format!(r#"{{"step":2,"at_ms":0,"offers":[{offer}],"inverse_offers":[{asked}]}}"#),
            format!(r#"{{"step":5,"at_ms":2000,"offers":[],"inverse_offers":[{asked}]}}"#),
        ]
    );
    assert_eq!(verdict.to_string(), "FAIL lines: step 6: expected [], got [f in a on n1: cpus:1;mem:64]");
    assert_eq!(
        serde_json::to_string(&verdict).expect("JSON"),
        r#"{"name":"lines","verdict":"FAIL","failure":{"step":6,"expected":"[]","got":"[f in a on n1: cpus:1;mem:64]"}}"#
    );
}

#[test]
fn an_unknown_policy_fails_before_the_first_step() {
    let scenario = scenario::read(r#"{"name": "x", "policy": "fifo", "steps": []}"#).expect("a scenario");
    let verdict = scenario::play(&scenario, &mut |_| {});
    assert!(
        verdict
            .to_string()
            .starts_with("FAIL x: step 0: expected a policy that there is, got policy: there is no \"fifo\"")
    );
}

proptest! {
    #![proptest_config(world::cases(256))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        read_and_play(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in vec(select(PIECES.to_vec()), 0..60)) {
        read_and_play(&pieces.concat());
    }

    #[test]
    fn a_scenario_with_a_few_changes_is_read_or_refused(
        text in select(texts()),
        changes in vec((any::<prop::sample::Index>(), select(PIECES.to_vec()), 0..12usize), 1..4),
    ) {
        let mut characters: Vec<char> = text.chars().collect();
        for (place, piece, cut) in changes {
            let at = place.index(characters.len() + 1);
            characters.splice(at..(at + cut).min(characters.len()), piece.chars());
        }
        read_and_play(&characters.into_iter().collect::<String>());
    }

    /// Numbers are where a text that is still a scenario says something else.
    #[test]
    fn a_scenario_with_another_number_can_be_played(
        text in select(texts()),
        place in any::<prop::sample::Index>(),
        number in select(vec!["0", "-1", "1", "0.0001", "7", "999999999999", "18446744073709551615", "1e18", "1e999"]),
    ) {
        let digits: Vec<usize> = text.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at).collect();
        if !digits.is_empty() {
            let at = *place.get(&digits);
            read_and_play(&format!("{}{number}{}", &text[..at], &text[at + 1..]));
        }
    }
}
