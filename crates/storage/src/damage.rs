//! What a node keeps when it found that its state is not that of the others: the `damage` file.
//!
//! The damage may be in memory only; then a start that begins before it and replays the log heals the node. It may also
//! be in a snapshot that was written since; then every start would come back with it. [`Damage::may_be_in`] tells the
//! two apart, so the file has to be on disk before the process ends.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DiskError;
use crate::codec::{from_bytes, to_bytes};
use crate::disk::{seal, unseal};

const MAGIC: [u8; 8] = *b"MSRHDMGE";
const VERSION: u32 = 1;

/// Between which log entries a node's state became another one than the majority's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Index of the newest entry after which it was seen to be the same; none was, since the process began.
    pub agreed: Option<u64>,
    /// Index of the entry after which it was seen to differ.
    pub differs: u64,
    /// Whether the same was found before, and no agreement came between: to start once more heals nothing.
    pub again: bool,
}

impl Damage {
    /// Whether a snapshot of the state after entry `covered` can hold the damage; 0 if there is none.
    pub fn may_be_in(&self, covered: u64) -> bool {
        covered > 0 && self.agreed.is_none_or(|agreed| covered > agreed)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        seal(MAGIC, VERSION, &to_bytes(self))
    }

    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, DiskError> {
        let (_, body) = unseal(path, MAGIC, VERSION, bytes)?;
        from_bytes(body, "damage").map_err(|error| DiskError::corrupt(path, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_sound_up_to_the_last_entry_on_which_the_masters_agreed() {
        let damage = |agreed| Damage { agreed, differs: 90, again: false };
        for (agreed, covered, expect) in [
            (Some(50), 49, false),
            (Some(50), 50, false),
            (Some(50), 51, true),
            (Some(50), 99, true),
            (None, 1, true),
            (None, 0, false),
        ] {
            assert_eq!(damage(agreed).may_be_in(covered), expect, "{agreed:?} {covered}");
        }
    }
}
