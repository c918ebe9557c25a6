//! The smallest parts of JSON, appended to a buffer: exactly what `serde_json` writes, with a short way for what is usual.

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use super::AsciiFormatter;

/// A text in quotes, all of it ASCII: other characters as `\uXXXX`.
#[inline]
pub fn ascii(out: &mut Vec<u8>, text: &str) {
    quoted(out, text, AsciiFormatter);
}

/// A text in quotes, in UTF-8.
#[inline]
pub fn utf8(out: &mut Vec<u8>, text: &str) {
    quoted(out, text, CompactFormatter);
}

#[inline]
fn quoted(out: &mut Vec<u8>, text: &str, formatter: impl Formatter) {
    if is_plain(text.as_bytes()) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        value(out, text, formatter);
    }
}

/// Whether nothing in it is written otherwise than as it is. No early end: so it is done many bytes at a time.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    let special = |byte: u8| !(0x20..0x80).contains(&byte) || byte == b'"' || byte == b'\\';
    !text.iter().fold(false, |found, &byte| found | special(byte))
}

/// A finite double, with a fraction; `null` for others, which JSON does not have.
#[inline]
pub fn double(out: &mut Vec<u8>, number: f64) {
    value(out, &number, CompactFormatter);
}

/// An integer.
#[inline]
pub fn integer<N: Serialize + Into<i128> + Copy>(out: &mut Vec<u8>, number: N) {
    value(out, &number, CompactFormatter);
}

/// An amount in thousandths, as the double that it stands for is written.
#[inline]
pub fn thousandths(out: &mut Vec<u8>, amount: i64) {
    /// Up to here each amount has a double of its own, whose shortest text is the amount's.
    const EXACT_MAX: i64 = 1_000_000_000_000_000;
    if !(0..=EXACT_MAX).contains(&amount) {
        return double(out, amount as f64 / 1000.0);
    }
    integer(out, amount / 1000);
    let rest = amount % 1000;
    let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
    let shown = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(0);
    out.push(b'.');
    out.extend_from_slice(&digits[..=shown]);
}

fn value(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized), formatter: impl Formatter) {
    let mut serializer = serde_json::Serializer::with_formatter(out, formatter);
    value.serialize(&mut serializer).expect("a Vec takes everything, and a text or a number is JSON");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn texts_are_quoted_and_escaped() {
        for (text, expect) in
            [("", r#""""#), ("a b~\u{7f}", "\"a b~\u{7f}\""), ("a\"b\\c/\n\u{1}", r#""a\"b\\c/\n\u0001""#)]
        {
            assert_eq!(written(|out| ascii(out, text)), expect);
            assert_eq!(written(|out| utf8(out, text)), expect);
        }
        assert_eq!(written(|out| ascii(out, "ä😀")), r#""\u00e4\ud83d\ude00""#);
        assert_eq!(written(|out| utf8(out, "ä😀\n")), "\"ä😀\\n\"");
    }

    #[test]
    fn thousandths_are_the_doubles_that_they_stand_for() {
        for (amount, expect) in
            [(0, "0.0"), (1, "0.001"), (10, "0.01"), (100, "0.1"), (1500, "1.5"), (-250, "-0.25")]
        {
            assert_eq!(written(|out| thousandths(out, amount)), expect);
        }
    }

    proptest! {
        #[test]
        fn texts_and_numbers_are_those_of_serde_json(text in any::<String>(), amount in any::<i64>(), shift in 0..60) {
            let amount = amount >> shift;
            prop_assert_eq!(written(|out| utf8(out, &text)), serde_json::to_string(&text).expect("JSON"));
            let expect = serde_json::to_string(&(amount as f64 / 1000.0)).expect("JSON");
            prop_assert_eq!(written(|out| thousandths(out, amount)), expect);
        }
    }
}
