//! Names that the agent makes, derived instead of drawn.
//!
//! A launch happens on one agent only, so a hash over the launch is as unique as a random number. And it is better:
//! an update that is made, lost in a crash before it was stored, and made again keeps its uuid.

use mesarch_types::{ContainerId, LaunchId, TaskId, TaskState, UpdateUuid, digest::task_hash};

use crate::{ExecutorKey, TaskKey};

const UPDATE_DOMAIN: &[u8; 12] = b"agent-update";
const CONTAINER_DOMAIN: &[u8; 12] = b"agent-runner";

/// The uuid of the update by which the agent itself reports `state` of a task (it does so once per life and state).
pub(crate) fn update_uuid(key: &TaskKey, state: TaskState) -> UpdateUuid {
    let salt = salt(UPDATE_DOMAIN, state as i32);
    uuid(task_hash(&key.framework, &key.task, key.launch, Some(salt)))
}

/// The container of the run that the launch `first` starts.
pub(crate) fn container(executor: &ExecutorKey, first: LaunchId) -> ContainerId {
    let name = TaskId::from(executor.executor.as_str());
    let hash = task_hash(&executor.framework, &name, first, Some(salt(CONTAINER_DOMAIN, 0)));
    ContainerId::from(uuid(hash).to_string())
}

fn salt(domain: &[u8; 12], number: i32) -> UpdateUuid {
    let mut bytes = [0; 16];
    bytes[..12].copy_from_slice(domain);
    bytes[12..].copy_from_slice(&number.to_le_bytes());
    UpdateUuid(bytes)
}

/// Marks the bytes as a uuid of version 8 (custom), variant 1.
fn uuid(hash: u128) -> UpdateUuid {
    let mut bytes = hash.to_be_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    UpdateUuid(bytes)
}
