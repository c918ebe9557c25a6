//! Durations as Mesos writes them: `500ms`, `1.5secs`, `2weeks`.

use std::time::Duration;

/// Units, and how many nanoseconds each has.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("ms", 1e6),
    ("secs", 1e9),
    ("mins", 60e9),
    ("hrs", 3600e9),
    ("days", 86_400e9),
    ("weeks", 604_800e9),
];

/// None if it is not one, is negative, or is beyond what nanoseconds in 63 bits can say.
pub fn parse(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let total = number.parse::<f64>().ok()? * nanoseconds;
    (total <= i64::MAX as f64).then(|| Duration::from_nanos(total as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let table = [
            ("0ns", Some(Duration::ZERO)),
            ("500ms", Some(Duration::from_millis(500))),
            ("1.5secs", Some(Duration::from_millis(1500))),
            ("5mins", Some(Duration::from_secs(300))),
            ("2weeks", Some(Duration::from_secs(1_209_600))),
            ("x", None),
            ("", None),
            ("5", None),
            ("5sec", None),
            ("-1secs", None),
            ("1.2.3secs", None),
            ("99999999weeks", None),
        ];
        for (text, expect) in table {
            assert_eq!(parse(text), expect, "{text}");
        }
    }
}
