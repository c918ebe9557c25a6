//! That a node was removed from its cluster: the `removed` file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DiskError;
use crate::codec::{from_bytes, to_bytes};
use crate::disk::{seal, unseal};

const MAGIC: [u8; 8] = *b"MSRHGONE";
const VERSION: u32 = 1;

/// By what a node was removed. It is never started again: its id is not one of the cluster any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Index of the log entry that did it.
    pub decided: u64,
}

impl Removal {
    pub(crate) fn encode(self) -> Vec<u8> {
        seal(MAGIC, VERSION, &to_bytes(&self))
    }

    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, DiskError> {
        let (_, body) = unseal(path, MAGIC, VERSION, bytes)?;
        from_bytes(body, "removal").map_err(|error| DiskError::corrupt(path, error.to_string()))
    }
}
