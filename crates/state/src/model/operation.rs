//! Operations on resources: those of which their frameworks want to hear, and those that wait for a resource provider.

use std::{fmt::Write, sync::Arc};

use bytes::Bytes;
use mesarch_types::{
    AgentId, FrameworkId, OperationId, OperationState, ResourceVersion, UpdateUuid, resource::Resources,
};

use super::{OnProvider, OperationKey};

/// Most operations of one framework whose ends it has not acknowledged. One beyond is refused.
pub const OPERATIONS_MAX: usize = 1000;

/// An operation that has changed what an agent's resources are. It ends once the agent has stored that, or its resource
/// provider says so, and is kept until its framework has acknowledged its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Whose.
    pub framework: FrameworkId,
    /// As its framework names it; one that it did not name has an id that no framework can give ([`unnamed`]).
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
    /// Whether it has ended: the agent has stored it, or its resource provider told.
    pub finished: bool,
    /// What more there is to say if it is on what a resource provider brings.
    pub on_provider: Option<Arc<OnProvider>>,
}

/// The id under which an operation is kept that its framework did not name.
pub(crate) fn unnamed(uuid: UpdateUuid) -> OperationId {
    let hex = uuid.0.iter().fold(String::from("/"), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    OperationId::from(hex)
}

impl Operation {
    /// What it is stored under.
    pub fn key(&self) -> OperationKey {
        (self.framework.clone(), self.id.clone())
    }

    /// PENDING until its agent has stored it, or its provider said how it ended.
    pub fn state(&self) -> OperationState {
        let end = self.on_provider.as_ref().and_then(|on| on.end);
        if self.finished { end.unwrap_or(OperationState::Finished) } else { OperationState::Pending }
    }

    /// Whether its framework wants to hear of it.
    pub fn is_told(&self) -> bool {
        self.on_provider.as_ref().is_none_or(|on| on.told)
    }
}
