//! Operations on resources of which their frameworks want to hear.

use bytes::Bytes;
use mesarch_types::{
    AgentId, FrameworkId, OperationId, OperationState, ResourceVersion, UpdateUuid, resource::Resources,
};

use super::OperationKey;

/// Most operations of one framework whose ends it has not acknowledged. One beyond is refused.
pub const OPERATIONS_MAX: usize = 1000;

/// An operation that has changed what an agent's resources are. It ends once the agent has stored that, and is kept until
/// its framework has acknowledged its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Whose.
    pub framework: FrameworkId,
    /// As its framework names it.
    pub id: OperationId,
    /// Whose resources.
    pub agent: AgentId,
    /// Drawn by the master: names it, and the status that tells its end.
    pub uuid: UpdateUuid,
    /// Canonical `mesos.v1.Offer.Operation`.
    pub info: Bytes,
    /// What it made; without marks.
    pub made: Resources,
    /// The first of the agent's versions that holds it.
    pub version: ResourceVersion,
    /// Whether the agent has stored it.
    pub finished: bool,
}

impl Operation {
    /// What it is stored under.
    pub fn key(&self) -> OperationKey {
        (self.framework.clone(), self.id.clone())
    }

    /// PENDING until its agent has stored it, then FINISHED.
    pub fn state(&self) -> OperationState {
        if self.finished { OperationState::Finished } else { OperationState::Pending }
    }
}
