//! Small durable files, and the one error type for everything that goes wrong on disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Something on disk failed; every variant names the path.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The device is full.
    #[error("{}: no space left on the device", path.display())]
    Full {
        /// What was being written.
        path: PathBuf,
    },
    /// The process may not touch it.
    #[error("{}: permission denied", path.display())]
    Denied {
        /// What was being opened.
        path: PathBuf,
    },
    /// The file system takes no changes.
    #[error("{}: the file system is read-only; remount it for writing, or name another folder", path.display())]
    ReadOnly {
        /// What was being written.
        path: PathBuf,
    },
    /// What is there is not what was written, or was written by something else.
    #[error("{}: corrupt: {what}", path.display())]
    Corrupt {
        /// The damaged file or directory.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// It was written by a newer version.
    #[error("{}: format version {found}, this program knows versions up to {known}", path.display())]
    Version {
        /// The file or directory.
        path: PathBuf,
        /// The version that it says.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// Any other input or output error.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl DiskError {
    /// Wraps `source`, met when trying to `action` the file at `path`.
    pub fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            _ => Self::Io { path, action, source },
        }
    }

    /// The same about the original, if it is about a file of its copy.
    pub(crate) fn moved(mut self, copy: &Path, original: &Path) -> Self {
        let (Self::Full { path }
        | Self::Denied { path }
        | Self::ReadOnly { path }
        | Self::Corrupt { path, .. }
        | Self::Version { path, .. }
        | Self::Io { path, .. }) = &mut self;
        if let Ok(below) = path.strip_prefix(copy) {
            *path = original.join(below);
        }
        self
    }

    /// Says that the content of `path` is not valid.
    pub fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_path_buf(), what: what.into() }
    }
}

/// Attaches a path and an action to an [`io::Result`].
pub(crate) trait OnDisk<T> {
    fn on(self, path: &Path, action: &'static str) -> Result<T, DiskError>;
}

impl<T> OnDisk<T> for io::Result<T> {
    fn on(self, path: &Path, action: &'static str) -> Result<T, DiskError> {
        self.map_err(|source| DiskError::io(path, action, source))
    }
}

/// Makes the entries of a directory (created, renamed, removed files) durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|dir| dir.sync_all()).on(path, "sync the directory")
}

/// Creates a directory and its parents, durably.
pub(crate) fn create_dir(path: &Path) -> Result<(), DiskError> {
    fs::create_dir_all(path).on(path, "create the directory")?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Replaces `path` by `bytes`, all or nothing: write beside it, sync, rename, sync the directory.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside).on(&beside, "create")?;
    file.write_all(bytes).on(&beside, "write")?;
    file.sync_all().on(&beside, "sync")?;
    fs::rename(&beside, path).on(path, "rename into place")?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Length of what [`seal`] adds: magic (8), version (4), checksum (4).
const SEAL_BYTES: usize = 16;

/// Puts a magic number, a format version and a checksum of all of it before `body`.
pub(crate) fn seal(magic: [u8; 8], version: u32, body: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(SEAL_BYTES + body.len());
    sealed.extend_from_slice(&magic);
    sealed.extend_from_slice(&version.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&sealed), body);
    sealed.extend_from_slice(&crc.to_le_bytes());
    sealed.extend_from_slice(body);
    sealed
}

/// Checks what [`seal`] added and gives the version and the body.
pub(crate) fn unseal<'a>(
    path: &Path,
    magic: [u8; 8],
    known: u32,
    sealed: &'a [u8],
) -> Result<(u32, &'a [u8]), DiskError> {
    let (head, body) =
        sealed.split_at_checked(SEAL_BYTES).ok_or_else(|| DiskError::corrupt(path, "too short"))?;
    if head[..8] != magic {
        return Err(DiskError::corrupt(path, "it does not begin with the magic number of this kind of file"));
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..12]), body);
    if head[12..16] != crc.to_le_bytes() {
        return Err(DiskError::corrupt(path, "the checksum does not match"));
    }
    let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if version == 0 || version > known {
        return Err(DiskError::Version { path: path.to_path_buf(), found: version, known });
    }
    Ok((version, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"MSRHTEST";

    #[test]
    fn a_sealed_body_comes_back_and_any_flipped_bit_is_noticed() {
        let path = Path::new("x");
        let sealed = seal(MAGIC, 1, b"body");
        assert_eq!(unseal(path, MAGIC, 1, &sealed).unwrap(), (1, &b"body"[..]));
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(path, MAGIC, 1, &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_named_as_such() {
        let sealed = seal(MAGIC, 7, b"");
        let error = unseal(Path::new("x"), MAGIC, 1, &sealed).unwrap_err();
        assert!(matches!(error, DiskError::Version { found: 7, known: 1, .. }), "{error}");
    }

    #[test]
    fn errors_name_the_path_and_the_full_disk_is_its_own_case() {
        let full = DiskError::io(Path::new("/d/f"), "write", io::ErrorKind::StorageFull.into());
        assert!(matches!(full, DiskError::Full { .. }));
        assert!(full.to_string().starts_with("/d/f: "));
    }
}
