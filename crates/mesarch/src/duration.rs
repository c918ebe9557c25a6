//! Durations on the command line: `10mins` and `5secs` as Mesos writes them, `500ms`, `1s`, `2h` as people do.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A flag's duration. Whole milliseconds; at most a hundred years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// The longest that is accepted, in ms.
const LONGEST_MS: f64 = 100.0 * 365.0 * 86_400_000.0;

impl Span {
    pub(crate) const fn from_ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// In milliseconds.
    pub(crate) fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a number and a unit, such as 500ms, 5secs or 10mins".to_owned();
        let text = text.trim();
        let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(split);
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let ms = number * unit_ms(unit).ok_or_else(wrong)?;
        if !(0.0..=LONGEST_MS).contains(&ms) {
            return Err("it must lie between 0 and a hundred years".to_owned());
        }
        Ok(Self(Duration::from_micros((ms * 1000.0).round() as u64)))
    }
}

fn unit_ms(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-6,
        "us" => 1e-3,
        "ms" => 1.0,
        "s" | "sec" | "secs" => 1e3,
        "m" | "min" | "mins" => 60e3,
        "h" | "hr" | "hrs" => 3_600e3,
        "d" | "day" | "days" => 86_400e3,
        "w" | "week" | "weeks" => 604_800e3,
        _ => return None,
    })
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_ms() {
            0 => f.write_str("0secs"),
            ms if ms.is_multiple_of(60_000) => write!(f, "{}mins", ms / 60_000),
            ms if ms.is_multiple_of(1_000) => write!(f, "{}secs", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_are_read() {
        let table = [
            ("10mins", Some(600_000)),
            ("5secs", Some(5_000)),
            ("1s", Some(1_000)),
            ("500ms", Some(500)),
            ("1.5secs", Some(1_500)),
            ("2 h", Some(7_200_000)),
            ("1weeks", Some(604_800_000)),
            ("0secs", Some(0)),
            ("5", None),
            ("secs", None),
            ("-1s", None),
            ("1e300days", None),
            ("1fortnight", None),
        ];
        for (text, expect) in table {
            assert_eq!(text.parse::<Span>().ok().map(Span::as_ms), expect, "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for ms in [0, 1, 999, 1_000, 90_000, 600_000] {
            assert_eq!(Span::from_ms(ms).to_string().parse(), Ok(Span::from_ms(ms)));
        }
    }
}
