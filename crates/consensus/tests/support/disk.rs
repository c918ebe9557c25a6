//! A log's disk that is slow or fails when the test says so.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesarch_storage::backend::{Loaded, MetaKey, Record};
use mesarch_storage::{DiskError, LogBackend};

/// What a disk does to a sync.
#[derive(Clone, Copy, Default)]
pub(crate) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It takes so much longer.
    Slow(Duration),
    /// It fails, and nothing of it is durable.
    Broken(io::ErrorKind),
}

/// A backend before which a fault stands.
pub(crate) struct Faulty {
    pub(crate) log: Box<dyn LogBackend>,
    pub(crate) fault: Arc<Mutex<Fault>>,
}

impl LogBackend for Faulty {
    fn load(&mut self) -> Result<Loaded, DiskError> {
        self.log.load()
    }
    fn append(&mut self, records: &[Record]) -> Result<(), DiskError> {
        self.log.append(records)
    }
    fn truncate(&mut self, from: u64) -> Result<(), DiskError> {
        self.log.truncate(from)
    }
    fn purge(&mut self, upto: u64) -> Result<(), DiskError> {
        self.log.purge(upto)
    }
    fn put_meta(&mut self, key: MetaKey, value: &[u8]) -> Result<(), DiskError> {
        self.log.put_meta(key, value)
    }
    fn sync(&mut self) -> Result<(), DiskError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Fault::None => {}
            Fault::Slow(longer) => std::thread::sleep(longer),
            Fault::Broken(kind) => return Err(DiskError::io(Path::new("/log"), "sync", kind.into())),
        }
        self.log.sync()
    }
    fn housekeep(&mut self) -> Result<bool, DiskError> {
        self.log.housekeep()
    }
}
