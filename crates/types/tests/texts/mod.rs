//! What has to hold of any text, for the tests and for `cargo xtask fuzz`.
#![allow(unreachable_pub, reason = "a test crate and a program share it")]

use mesarch_types::{Conversion, Quantities, Quota, Role, TextPattern, parse_attributes, parse_resources};

/// What the texts are made of, so that chance comes across what is nearly right.
pub const PIECES: [&str; 40] = [
    "cpus",
    "mem",
    "ports",
    "disk",
    ":",
    ";",
    "\n",
    "(",
    ")",
    ",",
    "{REV}",
    "[",
    "]",
    "{",
    "}",
    "-",
    ".",
    "+",
    "0",
    "1",
    "4.5",
    "0.0004",
    "9223372036854775.807",
    "18446744073709551615",
    "/",
    "*",
    "a",
    "a/b",
    "..",
    " ",
    "\t",
    "ü",
    "\\",
    "\\Q",
    "\\E",
    "|",
    "?",
    "(?:",
    "[:alpha:]",
    "{2,99}",
];

/// Reads `text` as everything that texts are read as; panics if a reader does not keep its word.
pub fn read_all(text: &str) {
    if let Ok(resources) = parse_resources(text, &Role::any()) {
        let shown = resources.to_string();
        let again = parse_resources(&shown, &Role::any());
        assert_eq!(again.as_ref(), Ok(&resources), "{text:?} is shown as {shown:?}");
        for operation in [Conversion::Reserve(resources.clone()), Conversion::Unreserve(resources.clone())] {
            // A refusal or a result; amounts stay.
            if let Ok(changed) = resources.apply(&operation) {
                assert_eq!(changed.quantities(), resources.quantities());
            }
        }
    }
    let _ = parse_resources(text, &Role::from("eng"));
    let _ = parse_attributes(text);
    let _ = Role::parse(text);
    if let Ok(pattern) = TextPattern::new(text) {
        let _ = pattern.matches(text);
    }
    if let Ok(amounts) = text.parse::<Quantities>() {
        let _ = Quota::new(Role::from("eng"), amounts.clone(), Quantities::default());
        let _ = Quota::new(Role::from("eng"), Quantities::default(), amounts);
    }
}
