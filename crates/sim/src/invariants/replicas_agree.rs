//! Another master that applies the same log comes to the same state, byte for byte.

use mesarch_state::{Command, State};
use mesarch_types::At;

use super::Violation;

pub(crate) fn check(state: &State, log: &[(At, Command)]) -> Result<(), Violation> {
    let mut replica = State::new();
    for (at, command) in log {
        replica.apply(*at, command.clone());
    }
    match replica.digest() == state.digest() {
        true => Ok(()),
        false => Err(Violation::new("replicas agree", "a replay of the log leads to another state")),
    }
}
