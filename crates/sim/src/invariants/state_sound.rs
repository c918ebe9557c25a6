//! The state's own invariants after every command: resources are conserved, indexes agree, bounds hold.

use mesarch_state::{Command, State, check as check_state};

use super::Violation;

pub(crate) fn check(state: &State, command: &Command) -> Result<(), Violation> {
    let describe =
        |violation| Violation::new("the state is sound", format!("{violation:?} after {command:?}"));
    check_state(state).map_err(describe)
}
