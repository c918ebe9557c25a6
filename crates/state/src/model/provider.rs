//! Resource providers: who, beside its agent, brings resources, and what they are asked to do with these.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_types::{OperationState, ProviderId, UpdateUuid, resource::Resources};

use crate::command::Link;

/// Most resource providers of one agent.
pub const PROVIDERS_MAX: usize = 32;

/// One resource provider of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// Its id. Its resources carry it.
    pub id: ProviderId,
    /// Canonical `mesos.v1.ResourceProviderInfo`, for display.
    pub info: Bytes,
    /// What it has: as it said in its last word that was taken, with what operations have made of that since.
    pub total: Resources,
    /// Of that word, by the provider; none before the first. Operations go out under it.
    pub version: Option<UpdateUuid>,
    /// Whether its agent hears of it. What it has is offered only then; what is in use of it stays so.
    pub connected: bool,
    /// An operation failed in a way that leaves open what the provider has: nothing of it is offered until its next word.
    pub doubtful: bool,
}

impl Provider {
    /// Whether what it has may be offered.
    pub fn is_offered(&self) -> bool {
        self.connected && !self.doubtful
    }
}

/// Which word of an agent on its providers was the last one taken: an older one that comes late says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    /// On which link.
    pub link: Link,
    /// Counted by the agent on that link.
    pub sequence: u64,
}

/// What an operation on a provider's resources needs beside what every operation has.
#[derive(Clone, Debug, PartialEq)]
pub struct OnProvider {
    /// Whose resources.
    pub provider: ProviderId,
    /// The provider's word that the total rests on which this operation changes. Once another word is taken that holds what
    /// the operation did, its end changes nothing any more.
    pub version: UpdateUuid,
    /// Grows with the operations on the providers of the agent: they are carried out in the order of their acceptance.
    pub serial: u64,
    /// What it took; without marks.
    pub taken: Resources,
    /// What it made is not known before its end (CREATE_DISK, DESTROY_DISK).
    pub is_open: bool,
    /// Whether its framework is there and wants to hear of it; otherwise it is forgotten with its end.
    pub told: bool,
    /// How it ended, once it has.
    pub end: Option<OperationState>,
    /// Why, for people.
    pub message: Arc<str>,
}
