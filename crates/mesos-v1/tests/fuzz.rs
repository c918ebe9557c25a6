//! Whatever a request holds, it is read or refused. At random for as long as you like with `cargo xtask fuzz`.

mod calls;

use std::{fs, path::Path};

use calls::{PIECES, read_all};
use proptest::{collection::vec, prelude::*, sample::select};

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
    let corpus = corpus();
    assert!(corpus.len() > 80);
    corpus.iter().for_each(|text| read_all(text));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>());
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in vec(select(PIECES.to_vec()), 0..40)) {
        read_all(&pieces.concat());
    }

    #[test]
    fn a_call_of_the_corpus_with_one_change_is_read_or_refused(
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
}
