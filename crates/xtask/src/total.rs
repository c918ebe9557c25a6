//! Adds up what the test runs say about themselves.

/// How many tests ran, over all test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Total {
    /// Takes in one line of output; only the closing line of a test binary counts.
    pub(crate) fn count(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        let counts = rest.split_once(". ").map_or("", |(_, counts)| counts);
        for part in counts.split(';') {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// The last line of a run. A step that failed without a failed test (a lint, a build) counts as one failure.
    pub(crate) fn closing_line(&self, failed_steps: usize) -> String {
        let failed = if self.failed == 0 { failed_steps as u64 } else { self.failed };
        let mut line = format!("{} passed, {failed} failed", self.passed);
        if self.skipped > 0 {
            line.push_str(&format!(", {} skipped", self.skipped));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_closing_lines_of_test_binaries_count() {
        let mut total = Total::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "a task printed: 7 passed; 7 failed",
        ] {
            total.count(line);
        }
        assert_eq!(total, Total { passed: 6, failed: 1, skipped: 1 });
        assert_eq!(total.closing_line(1), "6 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn a_step_that_failed_without_a_failed_test_is_a_failure() {
        let mut total = Total::default();
        total.count(
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        assert_eq!(total.closing_line(1), "2 passed, 1 failed");
        assert_eq!(total.closing_line(0), "2 passed, 0 failed");
    }
}
