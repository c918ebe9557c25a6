//! One resource provider: its stream, its last word, and the operations that it has.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mesarch_agent_core::ProviderOperation;
use mesarch_mesos_v1::ContentType;
use mesarch_proto::{
    link,
    mesos::v1::{self, OperationStatus, ResourceProviderInfo, resource_provider::call::UpdateState},
};
use mesarch_types::{ProviderId, UpdateUuid};
use prost::Message;
use tokio::sync::mpsc;

use super::{to_uuid, uuid_of};
use crate::wire::uuid_to;

/// Most operations of one provider that are not over; more are not handed on until some are.
pub(super) const OPERATIONS_MAX: usize = 4096;
/// What an operation takes of the bytes that providers may say.
pub(super) const OPERATION_BYTES: usize = 32;

#[derive(Debug)]
pub(super) struct Provider {
    pub(super) info: ResourceProviderInfo,
    pub(super) stream: Option<Stream>,
    /// What it said last, on whatever stream since the agent started.
    pub(super) word: Option<Word>,
    /// It has said on this stream what it has and knows.
    pub(super) is_ready: bool,
    pub(super) operations: BTreeMap<UpdateUuid, Known>,
    /// Came while it was not ready.
    pub(super) waiting: Vec<ProviderOperation>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) number: u64,
    /// As the provider names it.
    pub(super) id: String,
    pub(super) content_type: ContentType,
    pub(super) frames: mpsc::Sender<Bytes>,
}

#[derive(Debug)]
pub(super) struct Word {
    pub(super) version: UpdateUuid,
    pub(super) resources: Vec<v1::Resource>,
    /// Whether what it did is in the resources.
    pub(super) operations: BTreeMap<UpdateUuid, bool>,
}

/// An operation that its provider has, or was sent on its present stream.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// As it was handed on; none if that was before the agent's start.
    pub(super) order: Option<ProviderOperation>,
    /// How it ended; with a uuid of this agent if its provider gave none.
    pub(super) end: Option<OperationStatus>,
    /// The provider does not wait for an acknowledgement.
    pub(super) is_silent: bool,
}

impl Known {
    /// Masters acknowledge what has a uuid: so every end gets one, and is told until it is acknowledged.
    pub(super) fn end_with(&mut self, mut status: OperationStatus) {
        self.is_silent = status.uuid.is_none();
        status.uuid.get_or_insert_with(|| to_uuid(UpdateUuid(uuid::Uuid::new_v4().into_bytes())));
        self.end = Some(status);
    }

    pub(super) fn ended_with(&self, status: UpdateUuid) -> bool {
        let end = self.end.as_ref().and_then(|end| end.uuid.as_ref());
        end.is_some_and(|uuid| uuid_of(uuid) == Some(status))
    }
}

impl Provider {
    pub(super) fn new(info: ResourceProviderInfo) -> Self {
        Self {
            info,
            stream: None,
            word: None,
            is_ready: false,
            operations: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    pub(super) fn lose_stream(&mut self) {
        (self.stream, self.is_ready) = (None, false);
    }

    /// Counts what waits, so that all of it can be handed on.
    pub(super) fn is_full(&self) -> bool {
        self.operations.len() + self.waiting.len() >= OPERATIONS_MAX
    }

    pub(super) fn bytes(&self) -> usize {
        let word = self.word.as_ref();
        word.map_or(0, |word| {
            let resources = word.resources.iter().map(Message::encoded_len).sum::<usize>();
            resources + word.operations.len() * OPERATION_BYTES
        })
    }

    /// Takes over what the provider says. Gives back what is to be handed on now: what has waited, and what was sent on an
    /// earlier stream and did not get there.
    pub(super) fn hear(&mut self, update: UpdateState) -> Vec<ProviderOperation> {
        let is_first = !std::mem::replace(&mut self.is_ready, true);
        let mut again = Vec::new();
        let listed: Vec<_> = update
            .operations
            .into_iter()
            .filter_map(|one| Some((uuid_of(&one.uuid)?, one.latest_status)))
            .collect();
        let named: BTreeSet<UpdateUuid> = listed.iter().map(|(uuid, _)| *uuid).collect();
        if is_first {
            let is_there = |uuid: &UpdateUuid, known: &Known| known.end.is_some() || named.contains(uuid);
            let missing = self.operations.iter().filter(|(uuid, known)| !is_there(uuid, known));
            again.extend(missing.filter_map(|(_, known)| known.order.clone()));
            self.operations.retain(|uuid, known| is_there(uuid, known));
        }
        // What was sent on this stream and is not listed is on its way, and the provider will say what becomes of it.
        let mut operations: BTreeMap<UpdateUuid, bool> =
            self.operations.iter().map(|(uuid, known)| (*uuid, known.end.is_some())).collect();
        for (uuid, latest) in listed {
            operations.insert(uuid, is_terminal(&latest));
            let known = self.operations.entry(uuid).or_default();
            match is_terminal(&latest) {
                true => known.end_with(latest),
                false => known.end = None,
            }
        }
        self.word = Some(Word {
            version: uuid_of(&update.resource_version_uuid).unwrap_or(UpdateUuid([0; 16])),
            resources: update.resources,
            operations,
        });
        again.append(&mut self.waiting);
        again
    }

    pub(super) fn to_link(&self, id: &ProviderId) -> link::Provider {
        let known = |(uuid, ended): (&UpdateUuid, &bool)| link::KnownOperation {
            operation: uuid_to(*uuid),
            ended: *ended,
        };
        link::Provider {
            id: id.to_string(),
            info: self.info.encode_to_vec().into(),
            connected: self.is_ready,
            state: self.word.as_ref().map(|word| link::ProviderState {
                version: uuid_to(word.version),
                resources: word.resources.iter().map(|one| one.encode_to_vec().into()).collect(),
                operations: word.operations.iter().map(known).collect(),
            }),
        }
    }
}

pub(super) fn is_terminal(status: &OperationStatus) -> bool {
    mesarch_types::OperationState::from_number(status.state).is_some_and(|state| state.is_terminal())
}
