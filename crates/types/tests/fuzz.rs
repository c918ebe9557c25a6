//! Whatever the text, the readers answer with a value or a refusal. More cases with `PROPTEST_CASES=100000`, and at random
//! for as long as you like with `cargo xtask fuzz`.
#![expect(clippy::disallowed_methods, reason = "tests read their files")]

mod texts;

use std::{fs, path::Path};

use mesarch_types::{Priority, Quota, Role, Scalar, Weight};
use proptest::{collection::vec, prelude::*, sample::select};
use texts::{PIECES, read_all};

/// Every file of the corpus as a whole, and every line.
fn corpus() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = fs::read_dir(folder).expect("there").map(|entry| entry.expect("readable").path());
    let mut paths: Vec<_> = entries.collect();
    paths.sort();
    let files: Vec<String> =
        paths.into_iter().map(|path| fs::read_to_string(path).expect("readable")).collect();
    let lines = files.iter().flat_map(|text| text.lines()).map(str::to_owned);
    lines.chain(files.iter().cloned()).collect()
}

#[test]
fn the_corpus_is_read_or_refused() {
    corpus().iter().for_each(|text| read_all(text));
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
        line in select(corpus()),
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
