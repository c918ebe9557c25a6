//! What has to hold of any scenario's text, for the tests and for `cargo xtask fuzz`.
#![allow(unreachable_pub, reason = "a test crate and a program share it")]

use mesarch_allocator::scenario;

/// What the texts are made of, so that chance comes across what is nearly right.
pub const PIECES: [&str; 30] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "0.5",
    "\"name\"",
    "\"steps\"",
    "\"add_agent\"",
    "\"id\"",
    "\"resources\"",
    "\"cpus:1\"",
    "\"settle\"",
    "\"advance_ms\"",
    "\"expect\"",
    "\"expect_error\"",
    "\"step\"",
    "\"roles\"",
    "\\u0000",
    "\n",
    "ü",
    "18446744073709551615",
    "\"options\"",
];

/// Reads, and plays what is a scenario unless it asks for very many agents.
pub fn read_and_play(text: &str) {
    match scenario::read(text) {
        Ok(scenario) if !text.contains("\"count\"") => {
            let verdict =
                scenario::play(&scenario, &mut |report| assert!(report.to_string().starts_with('{')));
            assert_eq!(verdict.passed(), verdict.to_string().starts_with("PASS "));
            serde_json::to_string(&verdict).expect("JSON");
        }
        Ok(_) => {}
        Err(error) => assert!(error.line >= 1 && error.line <= text.lines().count().max(1) + 1, "{error}"),
    }
}
