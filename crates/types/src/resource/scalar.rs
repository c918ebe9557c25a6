//! Fixed-point amounts.

use std::{fmt, str::FromStr};

/// Thousandths in one unit.
const THOUSANDTHS: i64 = 1000;
/// Decimals that are kept; more are rounded, half away from zero.
const DECIMALS: usize = 3;

/// An amount in thousandths: `Scalar(1500)` is 1.5 cpus. Mesos rounds every scalar to three decimals too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scalar(pub i64);

/// The text is not a decimal number that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScalarTextError {
    /// Something other than digits, at most one point and a leading sign.
    #[error("not a decimal number")]
    Syntax,
    /// Beyond ±9.2e15.
    #[error("number out of range")]
    Range,
}

impl Scalar {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount, about 9.2e15.
    pub const MAX: Self = Self(i64::MAX);

    /// So many thousandths.
    pub const fn from_thousandths(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// So many whole units, at most [`Scalar::MAX`].
    pub const fn from_units(units: i64) -> Self {
        Self(units.saturating_mul(THOUSANDTHS))
    }

    /// The amount in thousandths.
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// Whether nothing is there.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `self + other`, or `None` on overflow.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// `self - other`, which may be negative, or `None` on overflow.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// `self + other`, kept within the range of the type.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self - other`, at least zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        let rest = self.0.saturating_sub(other.0);
        Self(if rest < 0 { 0 } else { rest })
    }

    /// The wire's double, rounded to three decimals half away from zero; `None` if it is not finite or does not fit.
    #[expect(
        clippy::float_arithmetic,
        reason = "the one place where a double from the wire becomes an integer"
    )]
    pub fn from_f64(value: f64) -> Option<Self> {
        let thousandths = (value * 1000.0).round();
        // 2^63 is exact as a double; every double below it converts without loss of range.
        let fits = thousandths.is_finite() && thousandths.abs() < 9_223_372_036_854_775_808.0;
        fits.then_some(Self(thousandths as i64))
    }

    /// The double for the wire: the one nearest to the decimal text.
    #[expect(
        clippy::float_arithmetic,
        reason = "the one place where an integer becomes a double for the wire"
    )]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (units, thousandths) = (magnitude / 1000, magnitude % 1000);
        let sign = if self.0 < 0 { "-" } else { "" };
        if thousandths == 0 {
            return write!(f, "{sign}{units}");
        }
        let decimals = format!("{thousandths:03}");
        write!(f, "{sign}{units}.{}", decimals.trim_end_matches('0'))
    }
}

impl FromStr for Scalar {
    type Err = ScalarTextError;

    /// Reads a plain decimal exactly (no detour over a double), rounding what is beyond three decimals.
    fn from_str(text: &str) -> Result<Self, ScalarTextError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
            return Err(ScalarTextError::Syntax);
        }
        let magnitude = thousandths_of(whole, fraction).ok_or(ScalarTextError::Range)?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }
}

fn thousandths_of(whole: &str, fraction: &str) -> Option<i64> {
    let units: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digit = |place: usize| fraction.as_bytes().get(place).map_or(0, |byte| i64::from(byte - b'0'));
    let kept = (0..DECIMALS).fold(0, |sum, place| sum * 10 + digit(place));
    let rounded_up = i64::from(digit(DECIMALS) >= 5);
    units.checked_mul(THOUSANDTHS)?.checked_add(kept + rounded_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_exactly_and_rounded_half_away_from_zero() {
        let table: &[(&str, Result<i64, ScalarTextError>)] = &[
            ("8", Ok(8000)),
            ("0.5", Ok(500)),
            (".5", Ok(500)),
            ("5.", Ok(5000)),
            ("+1.25", Ok(1250)),
            ("-1.0005", Ok(-1001)),
            ("0.0004", Ok(0)),
            ("0.0005", Ok(1)),
            ("0.1234", Ok(123)),
            ("1.9999", Ok(2000)),
            ("9223372036854775.807", Ok(i64::MAX)),
            ("9223372036854775.808", Err(ScalarTextError::Range)),
            ("9999999999999999999999", Err(ScalarTextError::Range)),
            ("", Err(ScalarTextError::Syntax)),
            (".", Err(ScalarTextError::Syntax)),
            ("-", Err(ScalarTextError::Syntax)),
            ("1e3", Err(ScalarTextError::Syntax)),
            ("1.2.3", Err(ScalarTextError::Syntax)),
            ("--1", Err(ScalarTextError::Syntax)),
            ("inf", Err(ScalarTextError::Syntax)),
        ];
        for (text, expect) in table {
            assert_eq!(text.parse::<Scalar>(), expect.map(Scalar), "{text:?}");
        }
    }

    #[test]
    fn display_is_the_shortest_decimal() {
        for (thousandths, expect) in
            [(0, "0"), (1500, "1.5"), (-1500, "-1.5"), (1, "0.001"), (-10, "-0.01"), (4000, "4")]
        {
            assert_eq!(Scalar(thousandths).to_string(), expect);
        }
        assert_eq!(Scalar(i64::MIN).to_string(), "-9223372036854775.808");
    }

    #[test]
    fn doubles_round_to_thousandths() {
        let table = [
            (0.1 + 0.2, Some(300)),
            (0.0004, Some(0)),
            (0.0005, Some(1)),
            (-2.5, Some(-2500)),
            (f64::NAN, None),
            (f64::INFINITY, None),
            (1e16, None),
        ];
        for (value, expect) in table {
            assert_eq!(Scalar::from_f64(value), expect.map(Scalar), "{value}");
        }
        assert_eq!(Scalar(1234).to_f64(), 1.234);
    }

    #[test]
    fn subtraction_stops_at_zero_only_where_it_says_so() {
        assert_eq!(Scalar(1).saturating_sub(Scalar(2)), Scalar::ZERO);
        assert_eq!(Scalar(1).checked_sub(Scalar(2)), Some(Scalar(-1)));
        assert_eq!(Scalar::MAX.checked_add(Scalar(1)), None);
        assert_eq!(Scalar::MAX.saturating_add(Scalar(1)), Scalar::MAX);
    }
}
