//! Reading what apply itself must know from canonical messages: a framework that only an agent remembers, and the
//! fields of a framework that cannot change.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use mesarch_proto::mesos::v1::FrameworkInfo;
use mesarch_types::{
    FrameworkId, Millis, Role,
    capability::{FrameworkCapabilities, FrameworkCapability},
    resource::Scalar,
};
use prost::Message;

use crate::{
    change::Change,
    command::FrameworkSpec,
    model::{Connection, TaskKey},
    step::Step,
};

impl Step<'_> {
    /// Makes sure that the owner of something that runs is known; one that is not counts as disconnected from now.
    pub(crate) fn ensure_framework(&mut self, id: &FrameworkId, remembered: &[(FrameworkId, Bytes)]) {
        if self.state.frameworks.contains_key(id) {
            return;
        }
        let info = remembered.iter().find(|(known, _)| known == id).map(|(_, info)| info.clone());
        let connection = Connection::Disconnected { epoch: self.epoch(), at: self.at.now };
        self.add_framework(id.clone(), spec_of(info.unwrap_or_default()), BTreeSet::new(), connection);
        self.change(Change::Framework(id.clone()));
    }

    /// The role that a task or executor uses: the mark on its resources, else its framework's first.
    pub(crate) fn role_of(&self, key: &FrameworkId, resources: &mesarch_types::resource::Resources) -> Role {
        let marked = resources.iter().find_map(|resource| resource.allocated_to.clone());
        let first = || self.state.frameworks.get(key).and_then(|known| known.spec.roles.first().cloned());
        marked.or_else(first).unwrap_or_else(Role::any)
    }

    /// Whether the framework's tasks survive a broken link of their agent.
    pub(crate) fn is_checkpointing(&self, key: &TaskKey) -> bool {
        self.state.frameworks.get(&key.0).is_some_and(|framework| framework.spec.checkpoint)
    }
}

/// What a `FrameworkInfo` says; what it does not say, or a broken one, is as a framework without wishes.
fn spec_of(info: Bytes) -> FrameworkSpec {
    let message = FrameworkInfo::decode(info.clone()).unwrap_or_default();
    let numbers = message.capabilities.iter().filter_map(|one| one.r#type);
    let capabilities = FrameworkCapabilities::from_numbers(numbers);
    let roles: BTreeSet<Role> = match capabilities.has(FrameworkCapability::MultiRole) {
        true => message.roles.iter().map(|role| Role::from(role.as_str())).collect(),
        false => [Role::from(message.role.as_deref().unwrap_or("*"))].into(),
    };
    FrameworkSpec {
        info,
        name: Arc::from(message.name.as_str()),
        user: Arc::from(message.user.as_str()),
        principal: message.principal.as_deref().map(Arc::from),
        roles,
        capabilities,
        checkpoint: message.checkpoint.unwrap_or_default(),
        failover_timeout: millis(message.failover_timeout.unwrap_or_default()),
        rules: Arc::default(),
    }
}

/// Seconds of the wire as milliseconds; thousandths happen to be what a scalar keeps.
fn millis(seconds: f64) -> Millis {
    let thousandths = Scalar::from_f64(seconds).map_or(0, Scalar::thousandths);
    Millis(u64::try_from(thousandths).unwrap_or_default())
}

/// A new spec with the fields that a re-subscription cannot change set back, in the message as well.
pub(crate) fn with_fixed_fields(mut new: FrameworkSpec, old: &FrameworkSpec) -> FrameworkSpec {
    if new.user == old.user && new.checkpoint == old.checkpoint {
        return new;
    }
    if let Ok(mut message) = FrameworkInfo::decode(new.info.clone()) {
        message.user = old.user.to_string();
        message.checkpoint = Some(old.checkpoint);
        new.info = message.encode_to_vec().into();
    }
    new.user = old.user.clone();
    new.checkpoint = old.checkpoint;
    new
}
