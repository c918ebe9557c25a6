//! A [`Store`] as a file system of the kernel.
//!
//! Nothing of it is held by the kernel: names and sizes are asked for each time, and contents go past its cache, so that what
//! a process has written is here, and lost here, at once. `sync_file_range` therefore syncs nothing, and there is no shared
//! `mmap`.

use std::{
    ffi::OsStr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use super::store::{Attributes, ROOM, Refusal, Store};

/// The kernel asks again each time.
const NEVER_CACHED: Duration = Duration::ZERO;
/// In bytes.
const BLOCK: u32 = 4096;
/// The longest name, in bytes.
const NAME_MAX: u32 = 255;

/// A mounted [`Store`]. Dropped, it is unmounted.
#[derive(Debug)]
pub(super) struct Mount {
    store: Arc<Mutex<Store>>,
    _session: BackgroundSession,
}

impl Mount {
    /// # Errors
    /// There is no FUSE, or this process may not mount.
    pub(super) fn new(at: &Path) -> std::io::Result<Self> {
        let store = Arc::new(Mutex::new(Store::new()));
        let files = Files { store: store.clone(), since: SystemTime::now() };
        let session = fuser::spawn_mount(files, at, &Config::default())?;
        Ok(Self { store, _session: session })
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Files {
    store: Arc<Mutex<Store>>,
    /// Given as the time of everything.
    since: SystemTime,
}

impl From<Refusal> for Errno {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::ENOENT,
            Refusal::Exists => Self::EEXIST,
            Refusal::IsAFolder => Self::EISDIR,
            Refusal::IsNotAFolder => Self::ENOTDIR,
            Refusal::NotEmpty => Self::ENOTEMPTY,
            Refusal::TooLarge => Self::EFBIG,
            Refusal::Full => Self::ENOSPC,
            Refusal::ReadOnly => Self::EROFS,
            Refusal::Failed => Self::EIO,
        }
    }
}

fn kind(of: Attributes) -> FileType {
    if of.is_folder { FileType::Directory } else { FileType::RegularFile }
}

impl Files {
    fn attributes(&self, of: Attributes) -> FileAttr {
        let time = self.since;
        FileAttr {
            ino: INodeNo(of.ino),
            size: of.len,
            blocks: of.len.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: kind(of),
            perm: (of.mode & 0o7777) as u16,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        }
    }

    fn entry(&self, found: Result<Attributes, Refusal>, reply: ReplyEntry) {
        match found {
            Ok(found) => reply.entry(&NEVER_CACHED, &self.attributes(found), Generation(0)),
            Err(refusal) => reply.error(refusal.into()),
        }
    }
}

fn empty(done: Result<(), Refusal>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(refusal.into()),
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(lock(&self.store).lookup(parent.0, name), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match lock(&self.store).attributes(ino.0) {
            Ok(found) => reply.attr(&NEVER_CACHED, &self.attributes(found)),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut store = lock(&self.store);
        let resized = size.map_or(Ok(()), |size| store.resize(ino.0, size));
        let done = resized.and_then(|()| mode.map_or(Ok(()), |mode| store.set_mode(ino.0, mode)));
        match done.and_then(|()| store.attributes(ino.0)) {
            Ok(found) => reply.attr(&NEVER_CACHED, &self.attributes(found)),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        self.entry(lock(&self.store).create(parent.0, name, (true, mode)), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(lock(&self.store).remove(parent.0, name, false), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(lock(&self.store).remove(parent.0, name, true), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.is_empty() {
            empty(lock(&self.store).rename((parent.0, name), (to_parent.0, to_name)), reply);
        } else {
            reply.error(Errno::EINVAL);
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match lock(&self.store).open(ino.0) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut store = lock(&self.store);
        let created = store.create(parent.0, name, (false, mode));
        match created.and_then(|created| store.open(created.ino).map(|()| created)) {
            Ok(created) => {
                let attributes = self.attributes(created);
                let (handle, flags) = (FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
                reply.created(&NEVER_CACHED, &attributes, Generation(0), handle, flags);
            }
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match lock(&self.store).read(ino.0, offset, size as usize) {
            Ok(data) => reply.data(data),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match lock(&self.store).write(ino.0, offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    /// At each `close`; it syncs nothing.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.store).close(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(lock(&self.store).sync(ino.0), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(lock(&self.store).sync(ino.0), reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = match lock(&self.store).list(ino.0) {
            Ok(listed) => listed,
            Err(refusal) => return reply.error(refusal.into()),
        };
        // Nobody here asks what lies above.
        let own = [".", ".."].map(|name| (name.into(), ino.0, FileType::Directory));
        let all = own.into_iter().chain(listed.into_iter().map(|(name, it)| (name, it.ino, kind(it))));
        for (place, (name, ino, kind)) in (1..).zip(all).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(INodeNo(ino), place, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = ROOM / u64::from(BLOCK);
        let free = lock(&self.store).room() / u64::from(BLOCK);
        reply.statfs(blocks, free, free, blocks, free, BLOCK, NAME_MAX, BLOCK);
    }
}
