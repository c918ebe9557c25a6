//! Patterns in RE2's syntax, bounded in size so that no framework can make matching dear.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    sync::Arc,
};

use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Most bytes of a pattern's text.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// Most steps of a compiled pattern, counted like RE2's program size: a byte or byte range each, a branch each.
pub const PATTERN_STEPS_MAX: usize = 100;

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the text and the amounts that the message names")]
pub enum PatternError {
    /// Longer than [`PATTERN_BYTES_MAX`].
    #[error("regex: {bytes} bytes are more than the bound of {PATTERN_BYTES_MAX}")]
    TooLong { bytes: usize },
    /// Not in the syntax.
    #[error("regex: {pattern:?} is not valid: {reason}")]
    Syntax { pattern: String, reason: String },
    /// More than [`PATTERN_STEPS_MAX`] steps.
    #[error("regex: {pattern:?} compiles to {steps} steps, more than the bound of {PATTERN_STEPS_MAX}")]
    TooComplex { pattern: String, steps: usize },
}

/// A compiled pattern that has to match the whole of a text. Equal, ordered and hashed by its text.
///
/// The syntax is RE2's: `\d`, `\w`, `\s` are about ASCII, `\Q…\E` quotes, a bracket inside a class is itself. The few
/// things in which the engine goes beyond it (verbose mode, set operations in classes) are refused or taken literally.
#[derive(Clone, Debug)]
pub struct TextPattern {
    text: Arc<str>,
    whole: Regex,
}

impl TextPattern {
    /// Compiles a pattern of at most [`PATTERN_BYTES_MAX`] bytes and [`PATTERN_STEPS_MAX`] steps.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        let syntax = |reason: String| PatternError::Syntax { pattern: text.to_owned(), reason };
        let ours = translate(text);
        let parsed = regex_syntax::ParserBuilder::new().nest_limit(50).build().parse(&ours);
        let steps = steps(&parsed.map_err(|error| syntax(last_line(&error.to_string())))?);
        if steps > PATTERN_STEPS_MAX {
            return Err(PatternError::TooComplex { pattern: text.to_owned(), steps });
        }
        let whole = Regex::new(&format!(r"\A(?:{ours})\z"));
        let whole = whole.map_err(|error| syntax(last_line(&error.to_string())))?;
        Ok(Self { text: text.into(), whole })
    }

    /// The text that it was compiled from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches all of `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }
}

/// The engine draws the pattern with a caret below it; only what it says last is for our one-line errors.
fn last_line(report: &str) -> String {
    let line = report.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(report);
    line.trim().trim_start_matches("error: ").to_owned()
}

/// From RE2's syntax to the engine's, where they differ.
fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut in_class = false;
    while let Some(next) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix(r"\Q") {
            let (literal, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            out.push_str(&regex_syntax::escape(literal));
            rest = after;
            continue;
        }
        if next == '\\' {
            let escaped: String = rest.chars().take(2).collect();
            out.push_str(ascii_class(&escaped).unwrap_or(&escaped));
            rest = &rest[escaped.len()..];
            continue;
        }
        rest = &rest[next.len_utf8()..];
        match (in_class, next) {
            (false, '[') => {
                in_class = true;
                out.push('[');
                rest = open_class(rest, &mut out);
            }
            (true, ']') => {
                in_class = false;
                out.push(']');
            }
            (true, '[') if rest.starts_with(':') => match rest.find(":]") {
                Some(end) => {
                    out.push('[');
                    out.push_str(&rest[..end + 2]);
                    rest = &rest[end + 2..];
                }
                None => out.push_str(r"\["),
            },
            (true, '[' | '&' | '~') => out.extend(['\\', next]),
            _ => out.push(next),
        }
    }
    out
}

/// What follows the opening bracket may be a negation, and a closing bracket that is itself.
fn open_class<'a>(mut rest: &'a str, out: &mut String) -> &'a str {
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    if let Some(after) = rest.strip_prefix(']') {
        out.push_str(r"\]");
        rest = after;
    }
    rest
}

/// RE2's classes are about ASCII.
fn ascii_class(escaped: &str) -> Option<&'static str> {
    Some(match escaped {
        r"\d" => "[0-9]",
        r"\D" => "[^0-9]",
        r"\w" => "[0-9A-Za-z_]",
        r"\W" => "[^0-9A-Za-z_]",
        r"\s" => r"[\t\n\f\r ]",
        r"\S" => r"[^\t\n\f\r ]",
        r"\b" => r"(?-u:\b)",
        r"\C" => r"(?s:.)",
        _ => return None,
    })
}

/// The size of the compiled program, about as RE2 counts it; stops counting far beyond the bound.
fn steps(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len().max(1),
        HirKind::Class(Class::Unicode(class)) => {
            let sequences =
                class.iter().map(|range| regex_syntax::utf8::Utf8Sequences::new(range.start(), range.end()));
            sequences.flatten().map(|sequence| sequence.len()).sum::<usize>().max(1)
        }
        HirKind::Capture(capture) => steps(&capture.sub).saturating_add(2),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1) as usize;
            steps(&repetition.sub).saturating_add(1).saturating_mul(times)
        }
        HirKind::Concat(parts) => parts.iter().fold(0, |sum: usize, part| sum.saturating_add(steps(part))),
        HirKind::Alternation(parts) => {
            parts.iter().fold(parts.len() - 1, |sum: usize, part| sum.saturating_add(steps(part)))
        }
    }
}

impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TextPattern {}

impl PartialOrd for TextPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TextPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for TextPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_must_match() {
        let table = [
            ("[s]+d", "ssd", true),
            ("[s]+d", "ssds", false),
            ("a|ab", "ab", true),
            ("", "", true),
            ("", "x", false),
            (r"\d+", "123", true),
            (r"\d+", "\u{661}", false),
            (r"[\w.]+", "a_1.b", true),
            (r"\Qa+b\E*", "a+bb", true),
            ("[[x]+", "[x[", true),
            ("[]a]+", "]a", true),
            ("[[:alpha:]]+", "ab", true),
            ("[a&&b]", "&", true),
            ("(?i)SSD", "ssd", true),
            ("rack-.*", "rack-ü", true),
        ];
        for (pattern, text, expect) in table {
            let compiled = TextPattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(compiled.matches(text), expect, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_or_too_large_is_refused() {
        let long = "a".repeat(PATTERN_BYTES_MAX + 1);
        for bad in ["(", "[a", "a**b(", r"\p{Nonsense}", "(?x)a #", "a)(b", r"(?=a)", r"(a)\1"] {
            assert!(matches!(TextPattern::new(bad), Err(PatternError::Syntax { .. })), "{bad}");
        }
        for bad in ["a{101}", "(a{10}){11}", r"\pL", "(((a{100}){100}){100}){100}"] {
            assert!(matches!(TextPattern::new(bad), Err(PatternError::TooComplex { .. })), "{bad}");
        }
        assert_eq!(TextPattern::new(&long), Err(PatternError::TooLong { bytes: 1025 }));
        let error = TextPattern::new("(").expect_err("bad").to_string();
        assert_eq!(error, "regex: \"(\" is not valid: unclosed group");
    }

    #[test]
    fn equality_is_that_of_the_texts() {
        let pattern = |text| TextPattern::new(text).expect("good");
        assert_eq!(pattern("a+"), pattern("a+"));
        assert_ne!(pattern("a+"), pattern("aa*"));
    }
}
