//! Whatever the text, the readers answer with a value or a refusal. More cases with `PROPTEST_CASES=100000`.

use mesarch_types::{
    Conversion, Priority, Quantities, Quota, Role, Scalar, TextPattern, Weight, parse_attributes,
    parse_resources,
};
use proptest::{collection::vec, prelude::*, sample::select};

const CORPUS: &str = include_str!("corpus/texts.txt");
/// What the texts are made of, so that chance comes across what is nearly right.
const PIECES: [&str; 40] = [
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

fn read_all(text: &str) {
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

#[test]
fn the_corpus_is_read_or_refused() {
    CORPUS.lines().for_each(read_all);
    read_all(CORPUS);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in vec(select(PIECES.to_vec()), 0..40)) {
        read_all(&pieces.concat());
    }

    #[test]
    fn a_line_of_the_corpus_with_one_change_is_read_or_refused(
        line in select(CORPUS.lines().collect::<Vec<_>>()),
        place in any::<prop::sample::Index>(),
        piece in select(PIECES.to_vec()),
        cut in 0..4usize,
    ) {
        let mut characters: Vec<char> = line.chars().collect();
        let at = place.index(characters.len() + 1);
        characters.splice(at..(at + cut).min(characters.len()), piece.chars());
        read_all(&characters.into_iter().collect::<String>());
    }

    #[test]
    fn any_numbers_make_a_grant_or_a_refusal(double in any::<f64>(), whole in any::<i64>()) {
        if let Ok(weight) = Weight::from_f64(double) {
            prop_assert!(weight.thousandths() > 0);
        }
        prop_assert_eq!(Priority::new(whole).is_ok(), whole.abs_diff(0) <= 1_000_000);
        if let Ok(quota) = Quota::from_doubles(Role::from("eng"), [("cpus", double)], [("cpus", double)]) {
            prop_assert!(quota.guarantees().get("cpus") >= Scalar::ZERO);
        }
    }
}
