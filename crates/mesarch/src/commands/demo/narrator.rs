//! How the demo speaks: numbered steps, what happened, and what was checked.

use std::{fmt::Display, io::Write, time::Duration};

use anyhow::bail;

/// Prints the story on standard output.
pub(super) struct Narrator {
    step: u32,
}

impl Narrator {
    pub(super) fn new() -> Self {
        Self { step: 0 }
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, what: impl Display) {
        self.step += 1;
        print(format_args!("\n{}. {what}", self.step));
    }

    /// Tells what happened.
    pub(super) fn say(&self, what: impl Display) {
        print(format_args!("   {what}"));
    }

    /// Tells how long something took.
    pub(super) fn took(&self, what: impl Display, took: Duration) {
        print(format_args!("   {:>9.1} ms  {what}", took.as_secs_f64() * 1e3));
    }

    /// Checks a statement of the story, and says that it holds; an error if it does not.
    pub(super) fn check(&self, statement: impl Display, holds: bool) -> anyhow::Result<()> {
        if !holds {
            bail!("this does not hold: {statement}");
        }
        print(format_args!("   ✓ {statement}"));
        Ok(())
    }
}

/// A closed pipe is no reason to stop: the exit status still tells the result.
fn print(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::Narrator;

    #[test]
    fn a_statement_that_does_not_hold_ends_the_story() {
        let narrator = Narrator::new();
        assert!(narrator.check("two is two", 2 == 2).is_ok());
        assert!(narrator.check("two is three", 2 == 3).unwrap_err().to_string().contains("two is three"));
    }
}
