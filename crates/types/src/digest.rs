//! The set hash by which an agent and the masters compare what they know of each other's tasks in one number.
//!
//! Form 1: the wrapping sum of [`task_hash`] over the tasks. A sum does not depend on order and changes in O(1) when
//! a task is added, removed or acknowledged. The byte form is part of the protocol: it changes only together with
//! [`DIGEST_FORM`].

use crate::{FrameworkId, LaunchId, TaskId, UpdateUuid};

/// Version of the hash function and of the bytes that it is given.
pub const DIGEST_FORM: u32 = 1;

/// The sum of the hashes of a set of tasks; the empty set is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetHash(pub u128);

impl SetHash {
    /// Adds one task's hash.
    pub fn insert(&mut self, task: u128) {
        self.0 = self.0.wrapping_add(task);
    }

    /// Takes one task's hash out again; the caller knows that it is in.
    pub fn remove(&mut self, task: u128) {
        self.0 = self.0.wrapping_sub(task);
    }
}

/// The hash of one task's life so far: who it is, which launch, and the last update that its framework acknowledged.
pub fn task_hash(
    framework: &FrameworkId,
    task: &TaskId,
    launch: LaunchId,
    acknowledged: Option<UpdateUuid>,
) -> u128 {
    let mut bytes = Vec::with_capacity(128);
    for text in [framework.as_str(), task.as_str()] {
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&launch.index.to_le_bytes());
    bytes.extend_from_slice(&launch.position.to_le_bytes());
    bytes.push(u8::from(acknowledged.is_some()));
    bytes.extend_from_slice(&acknowledged.unwrap_or(UpdateUuid([0; 16])).0);
    xxhash_rust::xxh3::xxh3_128(&bytes)
}
