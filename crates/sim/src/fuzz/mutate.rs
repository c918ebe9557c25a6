//! A text of the corpus, changed in a few places.

use crate::rng::Rng;

/// Most characters of a text.
const CHARACTERS_MAX: usize = 64 * 1024;
/// Numbers at the edges of what readers take.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "0.0004",
    "0.0005",
    "1e999",
    "NaN",
    "9223372036854775.807",
    "9223372036854775.808",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
];

/// A text that follows from the corpus and from where `rng` stands.
pub(crate) fn mutated(corpus: &[String], pieces: &[&str], rng: &mut Rng) -> String {
    let pick = |rng: &mut Rng| corpus.get(rng.index(corpus.len())).map(String::as_str).unwrap_or_default();
    let mut text: Vec<char> = if rng.chance(5) { Vec::new() } else { pick(rng).chars().collect() };
    for _ in 0..rng.between(1, 7) {
        change(&mut text, pick(rng), pieces, rng);
        text.truncate(CHARACTERS_MAX);
    }
    text.into_iter().collect()
}

fn change(text: &mut Vec<char>, other: &str, pieces: &[&str], rng: &mut Rng) {
    let (at, length) = span(text.len(), rng);
    let end = at + length;
    match rng.between(0, 8) {
        0 | 1 => drop(text.splice(at..at, pieces[rng.index(pieces.len())].chars())),
        2 => drop(text.splice(at..end, pieces[rng.index(pieces.len())].chars())),
        3 => drop(text.drain(at..end)),
        4 => {
            let copy = text[at..end].to_vec();
            let to = rng.index(text.len() + 1);
            drop(text.splice(to..to, copy));
        }
        5 => replace_number(text, NUMBERS[rng.index(NUMBERS.len())], rng),
        6 => {
            let other: Vec<char> = other.chars().collect();
            let (from, length) = span(other.len(), rng);
            drop(text.splice(at..end, other[from..from + length].iter().copied()));
        }
        _ => {
            let any = char::from_u32(rng.between(0, 0x300) as u32).unwrap_or(' ');
            drop(text.splice(at..at, [any]));
        }
    }
}

/// A place in a list of `count` and a length from there, mostly a short one.
fn span(count: usize, rng: &mut Rng) -> (usize, usize) {
    let at = rng.index(count + 1);
    let most = if rng.chance(10) { count - at } else { (count - at).min(12) };
    (at, rng.index(most + 1))
}

/// Puts another number in the place of one.
fn replace_number(text: &mut Vec<char>, number: &str, rng: &mut Rng) {
    let digits: Vec<usize> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
    if digits.is_empty() {
        return;
    }
    let at = digits[rng.index(digits.len())];
    let is_of_number = |at: &usize| text[*at].is_ascii_digit() || text[*at] == '.';
    let begin = (0..at).rev().take_while(is_of_number).last().unwrap_or(at);
    let end = (at..text.len()).take_while(is_of_number).last().unwrap_or(at) + 1;
    drop(text.splice(begin..end, number.chars()));
}
