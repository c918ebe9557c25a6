//! What is in a folder, and parts of a file.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
};

use mesarch_proto::mesos::v1::{FileInfo, TimeInfo};
use rustix::fs::{AtFlags, Dir, Stat, fstat, statat};
use serde::Serialize;

/// Most entries of a folder that are listed.
pub(super) const ENTRIES_MAX: usize = 10_000;
/// Most bytes of a file in one answer: Mesos' sixteen pages.
pub(super) const PART_BYTES_MAX: u64 = 64 * 1024;
/// The files that name users and groups are not read beyond this.
const NAMES_BYTES_MAX: usize = 1 << 20;

/// What something opened is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    /// With its length in bytes.
    File(u64),
    /// A device, a pipe or a socket.
    Other,
}

pub(super) fn kind(file: &File) -> io::Result<Kind> {
    let data = file.metadata()?;
    Ok(match data.file_type() {
        kind if kind.is_dir() => Kind::Folder,
        kind if kind.is_file() => Kind::File(data.len()),
        _ => Kind::Other,
    })
}

/// The entries of a folder by name; `path` is what the client calls it. None if there are too many. Blocking.
pub(super) fn list(folder: &File, path: &str) -> io::Result<Option<Vec<FileInfo>>> {
    let (users, groups) = (Names::read("/etc/passwd"), Names::read("/etc/group"));
    let mut entries = BTreeMap::new();
    for entry in Dir::read_from(folder.as_fd())? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entries.len() == ENTRIES_MAX {
            return Ok(None);
        }
        match statat(folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => drop(entries.insert(name.to_string_lossy().into_owned(), stat)),
            // Removed meanwhile.
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let path = path.trim_end_matches('/');
    let shown = |(name, stat): (String, Stat)| info(format!("{path}/{name}"), &stat, &users, &groups);
    Ok(Some(entries.into_iter().map(shown).collect()))
}

/// A part of a file, and how long the whole is now. Short only at its end, or where a bound cuts it. Blocking.
pub(super) fn part(file: &File, offset: u64, length: Option<u64>) -> io::Result<(u64, Vec<u8>)> {
    let size = fstat(file.as_fd())?.st_size.try_into().unwrap_or_default();
    let wanted = length.unwrap_or(u64::MAX).min(PART_BYTES_MAX).min(size_from(size, offset));
    let mut data = vec![0; usize::try_from(wanted).unwrap_or_default()];
    let mut read = 0;
    while read < data.len() {
        match file.read_at(&mut data[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    data.truncate(read);
    Ok((size, data))
}

fn size_from(size: u64, offset: u64) -> u64 {
    size.saturating_sub(offset)
}

/// Bytes as the text of an answer. A letter that is cut by the end of a part is left to the next part, which begins where
/// the text of this one ends; whatever else is no text is shown as such.
pub(super) fn text(mut data: Vec<u8>, more_follows: bool) -> String {
    if let Err(error) = std::str::from_utf8(&data)
        && more_follows
        && error.error_len().is_none()
        && error.valid_up_to() > 0
    {
        data.truncate(error.valid_up_to());
    }
    String::from_utf8(data).unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned())
}

fn info(path: String, stat: &Stat, users: &Names, groups: &Names) -> FileInfo {
    let nanoseconds = stat.st_mtime.saturating_mul(1_000_000_000);
    FileInfo {
        path,
        nlink: i32::try_from(stat.st_nlink).ok(),
        size: u64::try_from(stat.st_size).ok(),
        mtime: Some(TimeInfo { nanoseconds }),
        mode: Some(stat.st_mode),
        uid: Some(users.name(stat.st_uid)),
        gid: Some(groups.name(stat.st_gid)),
    }
}

/// An entry as tools read it.
#[derive(Serialize)]
pub(super) struct Entry {
    path: String,
    nlink: i32,
    size: u64,
    mtime: f64,
    mode: String,
    uid: String,
    gid: String,
}

impl From<FileInfo> for Entry {
    fn from(info: FileInfo) -> Self {
        let nanoseconds = info.mtime.unwrap_or_default().nanoseconds;
        Self {
            path: info.path,
            nlink: info.nlink.unwrap_or_default(),
            size: info.size.unwrap_or_default(),
            mtime: (nanoseconds / 1_000_000_000) as f64,
            mode: mode_text(info.mode.unwrap_or_default()),
            uid: info.uid.unwrap_or_default(),
            gid: info.gid.unwrap_or_default(),
        }
    }
}

/// As `ls -l` shows it.
fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o060_000 => 'b',
        0o020_000 => 'c',
        _ => '-',
    };
    let bit = |place: u32, letter: char| if mode >> place & 1 == 1 { letter } else { '-' };
    let letters = "rwxrwxrwx".chars().enumerate();
    std::iter::once(kind).chain(letters.map(|(place, letter)| bit(8 - place as u32, letter))).collect()
}

/// Names by number, as far as the machine's own files know them.
struct Names(BTreeMap<u32, String>);

impl Names {
    fn read(path: &str) -> Self {
        let text = std::fs::read(path).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text[..text.len().min(NAMES_BYTES_MAX)]))
    }

    fn parse(text: &str) -> Self {
        let name = |line: &str| {
            let mut fields = line.split(':');
            let (name, number) = (fields.next()?, fields.nth(1)?);
            Some((number.parse().ok()?, name.to_owned()))
        };
        // Of two names for one number the first counts, as everywhere.
        Self(text.lines().rev().filter_map(name).collect())
    }

    fn name(&self, number: u32) -> String {
        self.0.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_within_the_file_and_its_bound() {
        let mut whole = vec![b'x'; 100_000];
        whole[..5].copy_from_slice(b"hello");
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("f"), &whole).expect("a file");
        let file = File::open(dir.path().join("f")).expect("it is there");
        let check = |offset, length, bytes: usize| {
            let (size, data) = part(&file, offset, length).expect("it can be read");
            assert_eq!((size, data.len()), (100_000, bytes), "{offset} {length:?}");
            assert_eq!(data, whole.get(offset as usize..).unwrap_or_default()[..bytes]);
        };
        check(0, Some(5), 5);
        check(0, Some(0), 0);
        check(3, None, 65_536);
        check(99_990, None, 10);
        check(99_990, Some(u64::MAX), 10);
        check(100_000, None, 0);
        check(u64::MAX, None, 0);
    }

    #[test]
    fn a_letter_is_not_cut_in_two() {
        let euro = "a\u{20ac}".as_bytes();
        assert_eq!(text(euro.to_vec(), true), "a\u{20ac}");
        assert_eq!(text(euro[..3].to_vec(), true), "a");
        assert_eq!(text(euro[..3].to_vec(), false), "a\u{fffd}");
        assert_eq!(text(vec![b'a', 0xff, b'b'], true), "a\u{fffd}b");
    }

    #[test]
    fn modes_and_names_are_told_as_ls_does() {
        let table = [(0o100_644, "-rw-r--r--"), (0o040_755, "drwxr-xr-x"), (0o120_777, "lrwxrwxrwx")];
        for (mode, expect) in table {
            assert_eq!(mode_text(mode), expect);
        }
        let names = Names::parse("root:x:0:0::/:/bin/sh\nbroken\nother:x:0:\nme:x:1000:1000\n");
        assert_eq!([0, 1000, 7].map(|number| names.name(number)), ["root", "me", "7"]);
    }

    #[test]
    fn entries_come_by_name_and_links_are_told_as_links() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("b"), "12345").expect("a file");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("a")).expect("a link");
        let folder = File::open(dir.path()).expect("it is there");
        assert_eq!(kind(&folder).expect("it is there"), Kind::Folder);
        let entries = list(&folder, "/v/").expect("it can be read").expect("not too many");
        let shown: Vec<Entry> = entries.into_iter().map(Entry::from).collect();
        assert_eq!((&*shown[0].path, &*shown[0].mode), ("/v/a", "lrwxrwxrwx"));
        assert_eq!((&*shown[1].path, shown[1].size, shown[1].nlink), ("/v/b", 5, 1));
    }
}
