//! The files of a disk, and what of them is there after a loss of power. Pure.
//!
//! It behaves as ext4 and xfs do: names are journalled, so a sync of any file or folder makes every change of names before
//! it last; contents last only for the file that is synced. Whatever was not synced may be lost or not, each write
//! for itself and in no order.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
};

/// The number of a file or folder; never used again.
pub(crate) type Ino = u64;
/// The folder that holds all others.
pub(crate) const ROOT: Ino = 1;
/// Room on a disk that is not full, and a bound that no run comes near, in bytes.
pub(crate) const ROOM: u64 = 16 << 30;

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    Exists,
    IsAFolder,
    IsNotAFolder,
    NotEmpty,
    TooLarge,
    Full,
    ReadOnly,
    Failed,
}

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Sound,
    /// No room is left: what does not grow can be written.
    Full,
    /// It takes no changes.
    ReadOnly,
    /// It takes changes, and says that they cannot be synced.
    FailsToSync,
}

/// What is known of a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) ino: Ino,
    pub(crate) is_folder: bool,
    /// In bytes; 0 for a folder.
    pub(crate) len: u64,
    /// Permissions. They are not looked at.
    pub(crate) mode: u32,
}

type Names = BTreeMap<Ino, BTreeMap<OsString, Ino>>;

/// A change of a file's content that was not synced, and what it takes to undo it.
#[derive(Debug)]
enum Change {
    Written { at: usize, new: Vec<u8>, old: Vec<u8>, old_len: usize },
    Resized { to: usize, cut_off: Vec<u8>, old_len: usize },
}

impl Change {
    fn make(&self, content: &mut Vec<u8>) {
        match self {
            Self::Written { at, new, .. } => {
                let end = at + new.len();
                content.resize(content.len().max(end), 0);
                content[*at..end].copy_from_slice(new);
            }
            Self::Resized { to, .. } => content.resize(*to, 0),
        }
    }

    fn undo(&self, content: &mut Vec<u8>) {
        match self {
            Self::Written { at, old, old_len, .. } => {
                content[*at..at + old.len()].copy_from_slice(old);
                content.truncate(*old_len);
            }
            Self::Resized { cut_off, old_len, to } => {
                content.resize(*old_len, 0);
                let kept = (*to).min(*old_len);
                content[kept..].copy_from_slice(cut_off);
            }
        }
    }
}

#[derive(Debug, Default)]
struct File {
    /// What is read.
    content: Vec<u8>,
    /// In order.
    unsynced: Vec<Change>,
    /// How often it is open: it stays while it is, by whatever name or none.
    open: usize,
}

/// A disk.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) health: Health,
    /// How often it has shown that it is not sound: operations that were refused, and answers that there is no room.
    pub(crate) felt: u64,
    files: BTreeMap<Ino, File>,
    folders: Names,
    /// The names at the last sync, if they have changed since.
    synced: Option<Names>,
    modes: BTreeMap<Ino, u32>,
    next: Ino,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            health: Health::Sound,
            felt: 0,
            files: BTreeMap::new(),
            folders: BTreeMap::from([(ROOT, BTreeMap::new())]),
            synced: None,
            modes: BTreeMap::from([(ROOT, 0o755)]),
            next: ROOT + 1,
        }
    }

    pub(crate) fn attributes(&self, ino: Ino) -> Result<Attributes, Refusal> {
        let len = match self.files.get(&ino) {
            Some(file) => Some(file.content.len() as u64),
            None => self.folders.contains_key(&ino).then_some(0),
        };
        let is_folder = self.folders.contains_key(&ino);
        let mode = self.modes.get(&ino).copied().unwrap_or_default();
        len.map(|len| Attributes { ino, is_folder, len, mode }).ok_or(Refusal::NotFound)
    }

    pub(crate) fn lookup(&self, folder: Ino, name: &OsStr) -> Result<Attributes, Refusal> {
        let ino = self.names(folder)?.get(name).ok_or(Refusal::NotFound)?;
        self.attributes(*ino)
    }

    /// What lies in a folder, by name.
    pub(crate) fn list(&self, folder: Ino) -> Result<Vec<(OsString, Attributes)>, Refusal> {
        let names = self.names(folder)?.iter();
        names.map(|(name, ino)| Ok((name.clone(), self.attributes(*ino)?))).collect()
    }

    /// An empty file or folder.
    pub(crate) fn create(
        &mut self,
        folder: Ino,
        name: &OsStr,
        (is_folder, mode): (bool, u32),
    ) -> Result<Attributes, Refusal> {
        self.may_change(true)?;
        if self.names(folder)?.contains_key(name) {
            return Err(Refusal::Exists);
        }
        let ino = self.next;
        self.next += 1;
        self.names_mut(folder)?.insert(name.to_owned(), ino);
        match is_folder {
            true => drop(self.folders.insert(ino, BTreeMap::new())),
            false => drop(self.files.insert(ino, File::default())),
        }
        self.modes.insert(ino, mode);
        self.attributes(ino)
    }

    pub(crate) fn remove(&mut self, folder: Ino, name: &OsStr, is_folder: bool) -> Result<(), Refusal> {
        self.may_change(false)?;
        let found = self.lookup(folder, name)?;
        match (found.is_folder, is_folder) {
            (true, false) => return Err(Refusal::IsAFolder),
            (false, true) => return Err(Refusal::IsNotAFolder),
            (true, true) if !self.names(found.ino)?.is_empty() => return Err(Refusal::NotEmpty),
            _ => {}
        }
        self.names_mut(folder)?.remove(name);
        if is_folder {
            self.folders.remove(&found.ino);
        }
        Ok(())
    }

    /// Gives it another name; a file or an empty folder that had that name is gone.
    pub(crate) fn rename(
        &mut self,
        (folder, name): (Ino, &OsStr),
        (to_folder, to_name): (Ino, &OsStr),
    ) -> Result<(), Refusal> {
        self.may_change(false)?;
        let moved = self.lookup(folder, name)?;
        if (folder, name) == (to_folder, to_name) {
            return Ok(());
        }
        match self.lookup(to_folder, to_name) {
            Ok(there) if there.is_folder == moved.is_folder => {
                self.remove(to_folder, to_name, there.is_folder)?;
            }
            Ok(there) if there.is_folder => return Err(Refusal::IsAFolder),
            Ok(_) => return Err(Refusal::IsNotAFolder),
            Err(Refusal::NotFound) => {}
            Err(refusal) => return Err(refusal),
        }
        self.names_mut(folder)?.remove(name);
        self.names_mut(to_folder)?.insert(to_name.to_owned(), moved.ino);
        Ok(())
    }

    pub(crate) fn set_mode(&mut self, ino: Ino, mode: u32) -> Result<(), Refusal> {
        self.may_change(false)?;
        self.attributes(ino)?;
        self.modes.insert(ino, mode);
        Ok(())
    }

    pub(crate) fn open(&mut self, ino: Ino) -> Result<(), Refusal> {
        self.file_mut(ino)?.open += 1;
        Ok(())
    }

    pub(crate) fn close(&mut self, ino: Ino) {
        // A loss of power may have closed it before.
        if let Some(file) = self.files.get_mut(&ino) {
            file.open = file.open.saturating_sub(1);
        }
    }

    /// As much as there is of it.
    pub(crate) fn read(&self, ino: Ino, at: u64, len: usize) -> Result<&[u8], Refusal> {
        let content = &self.files.get(&ino).ok_or(Refusal::NotFound)?.content;
        let from = usize::try_from(at).map_or(content.len(), |at| at.min(content.len()));
        Ok(&content[from..content.len().min(from.saturating_add(len))])
    }

    pub(crate) fn write(&mut self, ino: Ino, at: u64, new: &[u8]) -> Result<(), Refusal> {
        let end = at.checked_add(new.len() as u64).filter(|end| *end <= ROOM).ok_or(Refusal::TooLarge)?;
        self.may_change(end > self.attributes(ino)?.len)?;
        let file = self.file_mut(ino)?;
        let (at, old_len) = (at as usize, file.content.len());
        let old = file.content[at.min(old_len)..(end as usize).min(old_len)].to_vec();
        file.change(Change::Written { at, new: new.to_vec(), old, old_len });
        Ok(())
    }

    pub(crate) fn resize(&mut self, ino: Ino, to: u64) -> Result<(), Refusal> {
        if to > ROOM {
            return Err(Refusal::TooLarge);
        }
        self.may_change(to > self.attributes(ino)?.len)?;
        let file = self.file_mut(ino)?;
        let (to, old_len) = (to as usize, file.content.len());
        let cut_off = file.content[to.min(old_len)..].to_vec();
        file.change(Change::Resized { to, cut_off, old_len });
        Ok(())
    }

    /// Makes all names, and the content of this file, outlast a loss of power.
    pub(crate) fn sync(&mut self, ino: Ino) -> Result<(), Refusal> {
        match self.health {
            Health::Sound | Health::Full => {}
            Health::ReadOnly => return Err(self.refuse(Refusal::ReadOnly)),
            Health::FailsToSync => return Err(self.refuse(Refusal::Failed)),
        }
        if let Some(file) = self.files.get_mut(&ino) {
            file.unsynced.clear();
        }
        self.synced = None;
        self.forget_nameless();
        Ok(())
    }

    /// Power is lost: of all that was not synced only that stays which `keeps` says; says how many changes are gone. Nobody
    /// may have a file open who would go on.
    pub(crate) fn lose_power(&mut self, mut keeps: impl FnMut() -> bool) -> usize {
        let mut lost = 0;
        if let Some(names) = self.synced.take() {
            if keeps() {
                self.synced = None;
            } else {
                self.folders = names;
                lost += 1;
            }
        }
        for file in self.files.values_mut() {
            file.open = 0;
            let unsynced = std::mem::take(&mut file.unsynced);
            unsynced.iter().rev().for_each(|change| change.undo(&mut file.content));
            for change in &unsynced {
                match keeps() {
                    true => change.make(&mut file.content),
                    false => lost += 1,
                }
            }
        }
        self.forget_nameless();
        lost
    }

    /// Free bytes.
    pub(crate) fn room(&mut self) -> u64 {
        if self.health != Health::Full {
            return ROOM;
        }
        self.felt += 1;
        0
    }

    fn names(&self, folder: Ino) -> Result<&BTreeMap<OsString, Ino>, Refusal> {
        let absent = if self.files.contains_key(&folder) { Refusal::IsNotAFolder } else { Refusal::NotFound };
        self.folders.get(&folder).ok_or(absent)
    }

    /// To be changed: the names at the last sync are kept.
    fn names_mut(&mut self, folder: Ino) -> Result<&mut BTreeMap<OsString, Ino>, Refusal> {
        if self.synced.is_none() {
            self.synced = Some(self.folders.clone());
        }
        self.folders.get_mut(&folder).ok_or(Refusal::NotFound)
    }

    fn file_mut(&mut self, ino: Ino) -> Result<&mut File, Refusal> {
        let absent = if self.folders.contains_key(&ino) { Refusal::IsAFolder } else { Refusal::NotFound };
        self.files.get_mut(&ino).ok_or(absent)
    }

    fn may_change(&mut self, grows: bool) -> Result<(), Refusal> {
        match self.health {
            Health::ReadOnly => Err(self.refuse(Refusal::ReadOnly)),
            Health::Full if grows => Err(self.refuse(Refusal::Full)),
            Health::Sound | Health::Full | Health::FailsToSync => Ok(()),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Refusal {
        self.felt += 1;
        refusal
    }

    /// Drops files that no name leads to, now or after a loss of power, and that nobody has open.
    fn forget_nameless(&mut self) {
        let all = self.folders.values().chain(self.synced.iter().flat_map(BTreeMap::values));
        let named: BTreeSet<Ino> = all.flat_map(BTreeMap::values).copied().collect();
        self.files.retain(|ino, file| file.open > 0 || named.contains(ino));
        self.modes.retain(|ino, _| *ino == ROOT || self.files.contains_key(ino) || named.contains(ino));
    }
}

impl File {
    fn change(&mut self, change: Change) {
        change.make(&mut self.content);
        self.unsynced.push(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODE: (bool, u32) = (false, 0o644);

    fn file(store: &mut Store, name: &str) -> Ino {
        store.create(ROOT, OsStr::new(name), MODE).unwrap().ino
    }

    fn content(store: &Store, name: &str) -> Option<Vec<u8>> {
        let found = store.lookup(ROOT, OsStr::new(name)).ok()?;
        Some(store.read(found.ino, 0, 100).unwrap().to_vec())
    }

    #[test]
    fn only_what_was_synced_outlasts_a_loss_of_power() {
        let mut store = Store::new();
        let (a, b) = (file(&mut store, "a"), file(&mut store, "b"));
        store.write(a, 0, b"first").unwrap();
        store.write(b, 0, b"other").unwrap();
        store.sync(a).unwrap();
        store.write(a, 3, b"second").unwrap();
        store.resize(a, 2).unwrap();
        store.write(a, 4, b"x").unwrap();
        assert_eq!(content(&store, "a").unwrap(), b"fi\0\0x");
        assert_eq!(store.lose_power(|| false), 4, "three changes of a, one of b");
        assert_eq!(content(&store, "a").unwrap(), b"first");
        assert_eq!(content(&store, "b").unwrap(), b"", "the name was there when a was synced");
        assert_eq!(store.lose_power(|| false), 0);
    }

    #[test]
    fn names_last_from_the_next_sync_on() {
        let mut store = Store::new();
        let a = file(&mut store, "a");
        store.write(a, 0, b"old").unwrap();
        store.sync(a).unwrap();
        let new = file(&mut store, "new");
        store.write(new, 0, b"new").unwrap();
        store.rename((ROOT, OsStr::new("new")), (ROOT, OsStr::new("a"))).unwrap();
        assert_eq!(content(&store, "a").unwrap(), b"new");
        assert_eq!(store.lose_power(|| false), 2, "the names and the write");
        assert_eq!(content(&store, "a").unwrap(), b"old");
        assert_eq!(content(&store, "new"), None);
        store.remove(ROOT, OsStr::new("a"), false).unwrap();
        store.sync(ROOT).unwrap();
        store.lose_power(|| false);
        assert_eq!(content(&store, "a"), None);
    }

    #[test]
    fn each_write_may_be_kept_for_itself() {
        let mut store = Store::new();
        let a = file(&mut store, "a");
        store.sync(ROOT).unwrap();
        store.write(a, 0, b"aa").unwrap();
        store.write(a, 2, b"bb").unwrap();
        store.write(a, 4, b"cc").unwrap();
        let mut keeps = [false, true, true].into_iter();
        assert_eq!(store.lose_power(|| keeps.next().unwrap()), 1);
        assert_eq!(content(&store, "a").unwrap(), b"\0\0bbcc");
    }

    #[test]
    fn a_file_without_a_name_stays_while_it_is_open() {
        let mut store = Store::new();
        let a = file(&mut store, "a");
        store.open(a).unwrap();
        store.write(a, 0, b"text").unwrap();
        store.remove(ROOT, OsStr::new("a"), false).unwrap();
        store.sync(ROOT).unwrap();
        assert_eq!(store.read(a, 1, 2).unwrap(), b"ex");
        store.close(a);
        store.sync(ROOT).unwrap();
        assert_eq!(store.read(a, 0, 1), Err(Refusal::NotFound));
    }

    #[test]
    fn a_sick_disk_refuses_and_counts() {
        let mut store = Store::new();
        let a = file(&mut store, "a");
        store.write(a, 0, b"text").unwrap();
        store.health = Health::Full;
        assert_eq!(store.write(a, 3, b"xy"), Err(Refusal::Full));
        assert_eq!(store.create(ROOT, OsStr::new("b"), MODE), Err(Refusal::Full));
        store.write(a, 2, b"xy").unwrap();
        store.sync(a).unwrap();
        store.health = Health::ReadOnly;
        assert_eq!(store.write(a, 0, b"x"), Err(Refusal::ReadOnly));
        assert_eq!(store.sync(a), Err(Refusal::ReadOnly));
        store.health = Health::FailsToSync;
        store.write(a, 0, b"z").unwrap();
        assert_eq!(store.sync(a), Err(Refusal::Failed));
        assert_eq!((store.room(), store.felt), (ROOM, 5));
        store.health = Health::Full;
        assert_eq!((store.room(), store.felt), (0, 6));
        store.lose_power(|| false);
        assert_eq!(content(&store, "a").unwrap(), b"texy");
    }

    #[test]
    fn folders_hold_what_lies_in_them() {
        let mut store = Store::new();
        let folder = store.create(ROOT, OsStr::new("f"), (true, 0o755)).unwrap().ino;
        store.create(folder, OsStr::new("a"), MODE).unwrap();
        assert_eq!(store.remove(ROOT, OsStr::new("f"), true), Err(Refusal::NotEmpty));
        assert_eq!(store.remove(ROOT, OsStr::new("f"), false), Err(Refusal::IsAFolder));
        assert_eq!(store.create(folder, OsStr::new("a"), MODE), Err(Refusal::Exists));
        assert_eq!(store.list(folder).unwrap().len(), 1);
        store.remove(folder, OsStr::new("a"), false).unwrap();
        store.remove(ROOT, OsStr::new("f"), true).unwrap();
        assert_eq!(store.list(folder), Err(Refusal::NotFound));
    }
}
