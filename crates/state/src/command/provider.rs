//! What agents tell of their resource providers, and of the operations on what these bring.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_types::{AgentId, OperationState, ProviderId, UpdateUuid, resource::Resources};

use super::Link;

/// See [`Command::UpdateProviders`](super::Command::UpdateProviders).
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateProviders {
    /// Whose.
    pub agent: AgentId,
    /// On which link it said so; on another one it counts for nothing any more.
    pub link: Link,
    /// Counted by the agent on that link: an older word does not undo a newer one.
    pub sequence: u64,
    /// All that it has; one that is not here is gone.
    pub providers: Vec<ProviderWord>,
}

/// One resource provider, as its agent tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderWord {
    /// Which.
    pub id: ProviderId,
    /// Canonical `mesos.v1.ResourceProviderInfo`.
    pub info: Bytes,
    /// Whether it is there, and has said what it has.
    pub connected: bool,
    /// What it said last; none if it has said nothing since its agent started.
    pub state: Option<ProviderState>,
}

/// What a resource provider says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderState {
    /// Another one whenever its resources change by anything but operations.
    pub version: UpdateUuid,
    /// All that it has.
    pub total: Resources,
    /// The operations that it knows, and whether each has ended: what those did is in the total.
    pub operations: Vec<(UpdateUuid, bool)>,
}

/// See [`Command::RecordOperations`](super::Command::RecordOperations).
#[derive(Clone, Debug, PartialEq)]
pub struct RecordOperations {
    /// Whose.
    pub agent: AgentId,
    /// In its order.
    pub updates: Vec<OperationUpdate>,
}

/// What a resource provider, or its agent in its stead, says of one operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationUpdate {
    /// Of whose resources.
    pub provider: ProviderId,
    /// Which operation.
    pub operation: UpdateUuid,
    /// How it stands.
    pub state: OperationState,
    /// Names this status in its acknowledgement; none if nobody waits for one.
    pub status: Option<UpdateUuid>,
    /// For people.
    pub message: Arc<str>,
    /// What it made, if it is finished and that was open; without marks.
    pub converted: Resources,
}
