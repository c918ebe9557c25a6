//! How far sled was synced, kept beside sled.
//!
//! sled takes the first damaged place of its own log for the torn end of it, wherever that is, and forgets all that follows: a log
//! that is shorter than what was acknowledged, without a vote that was given. So every sync has a number, which is in sled, and
//! once that sync has ended, in a file of its own. A sled that has not reached the number in the file has lost something.
//!
//! The file is not synced: it costs nothing, outlives the process, and may lag by some seconds after the host's crash, when it
//! asks for less than was acknowledged and never for more.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::DiskError;
use crate::disk::{OnDisk, seal, unseal};

const MAGIC: [u8; 8] = *b"MSRHWTNS";
const VERSION: u32 = 1;
const NAME: &str = "witness";

/// The file, and the number of the newest sync.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    path: PathBuf,
    newest: u64,
}

impl Witness {
    /// Opens the file in sled's directory, and compares it with the number that sled has. Corrupt if sled has lost something.
    pub(super) fn open(folder: &Path, in_sled: u64) -> Result<Self, DiskError> {
        let path = folder.join(NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.on(&path, "open")?;
        let told = read(&file, &path)?;
        if told > in_sled {
            let what =
                format!("it ends after sync {in_sled}, and {told} were acknowledged: the rest is damaged");
            return Err(DiskError::corrupt(folder, what));
        }
        Ok(Self { file, path, newest: in_sled })
    }

    /// The number of the sync that comes next.
    pub(super) fn next(&self) -> u64 {
        self.newest + 1
    }

    /// The next sync has ended.
    pub(super) fn advance(&mut self) -> Result<(), DiskError> {
        self.newest += 1;
        let sealed = seal(MAGIC, VERSION, &self.newest.to_le_bytes());
        self.file.write_all_at(&sealed, 0).on(&self.path, "write")
    }
}

/// 0 if nothing was written, or nothing of it reached the disk before the host crashed.
fn read(file: &File, path: &Path) -> Result<u64, DiskError> {
    let mut sealed = [0; 24];
    let count = file.read_at(&mut sealed, 0).on(path, "read")?;
    if sealed[..count].iter().all(|byte| *byte == 0) {
        return Ok(0);
    }
    let (_, body) = unseal(path, MAGIC, VERSION, &sealed[..count])?;
    let number = body.try_into().map_err(|_| DiskError::corrupt(path, "it holds no number"))?;
    Ok(u64::from_le_bytes(number))
}
