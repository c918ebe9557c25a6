//! Operations on resources, and what agents store of them.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_types::{
    AgentId, Conversion, FrameworkId, OperationId, ResourceVersion, UpdateUuid, resource::Resources,
};

/// One operation of an ACCEPT other than a launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// It comes before the launch at this position, or behind the last one.
    pub before: u32,
    /// Given if the framework wants to hear what becomes of it.
    pub id: Option<OperationId>,
    /// Drawn by the master: names the operation, and the status that tells its end.
    pub uuid: UpdateUuid,
    /// Canonical `mesos.v1.Offer.Operation`, for display.
    pub info: Bytes,
    /// What it does, or what is wrong with its description.
    pub judged: Result<Conversion, Arc<str>>,
}

/// See [`Command::ResourcesStored`](super::Command::ResourcesStored).
#[derive(Clone, Debug, PartialEq)]
pub struct ResourcesStored {
    /// Who.
    pub agent: AgentId,
    /// As it was told.
    pub version: ResourceVersion,
}

/// See [`Command::AcknowledgeOperation`](super::Command::AcknowledgeOperation).
#[derive(Clone, Debug, PartialEq)]
pub struct AcknowledgeOperation {
    /// Who.
    pub framework: FrameworkId,
    /// Which operation.
    pub operation: OperationId,
    /// Of the status that told its end.
    pub uuid: UpdateUuid,
}

/// What an agent has stored of what its resources were made into.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredResources {
    /// As it was told.
    pub version: ResourceVersion,
    /// Of what the agent brings.
    pub taken: Resources,
    /// In its place.
    pub made: Resources,
}
