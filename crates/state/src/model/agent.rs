//! Agents, present and away.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::{OrdMap, OrdSet};
use mesarch_proto::mesos::v1::DomainInfo;
use mesarch_types::{
    AgentCapability, AgentId, Conversion, ConversionError, Epoch, ExecutorId, FrameworkId, LaunchId, Millis,
    OfferId, ProviderId, Resource, ResourceVersion, TaskId, UpdateUuid, WallMillis,
    digest::SetHash,
    resource::Resources,
    view::{AgentView, Unavailability},
};
use prost::Message;

use super::{Heard, Ledger, OperationKey, Provider, Task, TaskKey};
use crate::command::{AgentSpec, Link};

/// An agent that is registered and not given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Drawn by the agent before it first asked for an id; none if it was adopted with the id that it had.
    pub nonce: Option<[u8; 16]>,
    /// What it says of itself.
    pub spec: Arc<AgentSpec>,
    /// Place in the log of the last change that matters to a plan: spec or activation.
    pub version: Epoch,
    /// What operators made of its resources; none: nothing. It applies as long as the agent brings what it rests on.
    pub converted: Option<Arc<Converted>>,
    /// The place in the log that made them so, at which level 3 began to count; the default: never.
    pub converted_at: ResourceVersion,
    /// The newest of these that the agent said it has stored.
    pub stored: ResourceVersion,
    /// Volumes that were destroyed and may still be there with what they held: until the agent has stored all, none of the
    /// same name is created.
    pub leaving: Resources,
    /// Who else brings resources here. From level 4 on.
    pub providers: BTreeMap<ProviderId, Arc<Provider>>,
    /// The agent's last word on them that was taken.
    pub heard: Heard,
    /// Its last link. Ends that name an older one are refused.
    pub link: Link,
    /// Whether it is there.
    pub attachment: Attachment,
    /// The cluster incarnation in which it last attached; what it runs is unknown if that is an older one.
    pub incarnation: u64,
    /// When it got its id. For display.
    pub registered: WallMillis,
    /// When it last came back. For display.
    pub reregistered: Option<WallMillis>,
    /// Sum over its tasks that have an acknowledged update, forgotten ones included; compared with the agent's own.
    pub set_hash: SetHash,
    /// Tasks that it has reported but of which no update is acknowledged: it must list each of them on attaching.
    pub unsettled: u32,
    /// What of its resources is offered and used, and by whom.
    pub ledger: Ledger,
    /// Outstanding offers of its resources.
    pub offers: BTreeSet<OfferId>,
    /// Its tasks in the table, terminal ones that wait for an acknowledgement included.
    pub tasks: OrdSet<TaskKey>,
    /// Operations on its resources that it has not said it stored.
    pub operations: BTreeSet<OperationKey>,
    /// Executors that run on it, or will as soon as their first task arrives.
    pub executors: BTreeSet<(FrameworkId, ExecutorId)>,
    /// Ended tasks whose last acknowledgement the agent has not confirmed: it is told until it does.
    pub forgetting: OrdMap<ForgettingKey, UpdateUuid>,
    /// Removed frameworks of which something may still run there: it is told until it says otherwise.
    pub pending_shutdowns: OrdSet<FrameworkId>,
    /// Something ended here when its link did that may run on there: its digest, judged before that end, says nothing.
    pub owes_inventory: bool,
    /// What operators decided about it. Stored: it must hold at the next leader, and when the agent comes back.
    pub administration: Administration,
    /// When its machine will be down, by the maintenance schedule; follows from that.
    pub unavailability: Option<Unavailability>,
}

/// What operators decided about one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Administration {
    /// It is not offered until it is reactivated; what runs on it runs on.
    pub deactivated: bool,
    /// All that runs on it is to end, or has ended. Such an agent is deactivated, too.
    pub drain: Option<Drain>,
}

/// An operator's wish that nothing runs on an agent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The longest time, in nanoseconds, between the kind and the hard end of a task; none: as each task says.
    pub max_grace_ns: Option<u64>,
    /// Whether the agent is marked gone as soon as nothing is left on it.
    pub mark_gone: bool,
    /// How far it is.
    pub state: DrainState,
    /// When it was asked for. For display.
    pub since: WallMillis,
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainState {
    /// There are tasks of the agent in the table: some may run, or their ends are not acknowledged.
    Draining,
    /// There are none.
    Drained,
}

impl Administration {
    /// Whether everything that runs on the agent is to end.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some_and(|drain| drain.state == DrainState::Draining)
    }
}

/// An agent that an operator declared gone: its id is never taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoneAgent {
    /// Place in the log at which it was declared so.
    pub epoch: Epoch,
    /// When. For display.
    pub wall: WallMillis,
}

/// An `AgentInfo` of which nothing but the domain is read: views are made by the thousand when a term begins.
#[derive(Clone, PartialEq, Message)]
struct OnlyDomain {
    #[prost(message, optional, tag = "10")]
    domain: Option<DomainInfo>,
}

/// Region and zone, if the agent names them.
fn fault_domain(info: &[u8]) -> Option<(Arc<str>, Arc<str>)> {
    let domain = OnlyDomain::decode(info).ok()?.domain?.fault_domain?;
    Some((domain.region.name.into(), domain.zone.name.into()))
}

/// What operators' reservations and volumes take from what an agent brings, and what they put in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// Of what the agent brings.
    pub taken: Resources,
    /// In its place.
    pub made: Resources,
}

impl Converted {
    /// What was made, if `base` became `total`; none if nothing was.
    pub(crate) fn between(base: &Resources, total: &Resources) -> Option<Arc<Self>> {
        let (taken, made) = (base.saturating_sub(total), total.saturating_sub(base));
        (!taken.is_empty() || !made.is_empty()).then(|| Arc::new(Self { taken, made }))
    }

    /// The total over `base`; none if that does not have what is taken.
    fn of(&self, base: &Resources) -> Option<Resources> {
        base.checked_sub(&self.taken)?.checked_add(&self.made)
    }
}

/// One life of one task.
pub type ForgettingKey = (FrameworkId, TaskId, LaunchId);

/// Whether an agent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// It has a link to the present leader.
    Attached {
        /// When that began.
        since: Epoch,
    },
    /// It was attached when the term began, and has not been heard of in this term. It may be offered.
    Expected,
    /// Its link is gone.
    Detached {
        /// When that began.
        since: Epoch,
        /// The same in cluster time.
        at: Millis,
    },
}

impl Agent {
    /// All that it has: what it brings, with what operators made of it, and what its resource providers have.
    pub fn total(&self) -> Resources {
        self.total_with(|_| true)
    }

    /// The same without what may not be offered because its resource provider is away.
    pub fn offerable(&self) -> Resources {
        self.total_with(Provider::is_offered)
    }

    fn total_with(&self, counts: impl Fn(&Provider) -> bool) -> Resources {
        let counting = self.providers.values().filter(|provider| counts(provider));
        counting.fold(self.own_total(), |sum, provider| sum.saturating_add(&provider.total))
    }

    /// What the agent itself brings, with what operators made of it.
    pub(crate) fn own_total(&self) -> Resources {
        let converted = self.converted.as_ref().and_then(|converted| converted.of(&self.spec.total));
        converted.unwrap_or_else(|| self.spec.total.clone())
    }

    /// The resource provider that brings this; none if the agent does.
    pub(crate) fn provider_of(&self, resource: &Resource) -> Option<&ProviderId> {
        let provider = resource.provider.as_deref()?;
        self.providers.get_key_value(provider).map(|(id, _)| id)
    }

    /// Whether messages reach it now.
    pub fn is_attached(&self) -> bool {
        matches!(self.attachment, Attachment::Attached { .. })
    }

    /// Whether it is there: attached or expected.
    pub fn is_present(&self) -> bool {
        !matches!(self.attachment, Attachment::Detached { .. })
    }

    /// Whether its resources may be offered: it is there, and no operator wants it left alone.
    pub fn is_active(&self) -> bool {
        self.is_present() && !self.administration.deactivated
    }

    /// What is neither used nor offered; nothing while its users hold more than it has.
    pub fn available(&self) -> &Resources {
        self.ledger.available()
    }

    /// Whether no task, and no operation that has not ended, is on it.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.operations.is_empty()
    }

    /// Whether it still brings what something else was made of, with `spec` in place of its own.
    pub(crate) fn can_bring(&self, spec: &AgentSpec) -> bool {
        self.converted.as_ref().is_none_or(|converted| converted.of(&spec.total).is_some())
    }

    /// Whether it stores what it is told of its resources, makes volumes, and says so.
    pub fn stores_resources(&self) -> bool {
        self.spec.capabilities.has(AgentCapability::AgentOperationFeedback)
    }

    /// A volume does not begin with what a destroyed one of its name held.
    pub(crate) fn check_left(&self, conversion: &Conversion) -> Result<(), ConversionError> {
        let Conversion::Create(volumes) = conversion else { return Ok(()) };
        let name = |volume: &Resource| {
            let id = volume.disk.as_ref().and_then(|disk| disk.persistence_id.clone())?;
            Some((volume.reserved_role().cloned(), id))
        };
        let leaving: Vec<_> = self.leaving.iter().filter_map(name).collect();
        match volumes.iter().filter_map(name).find(|new| leaving.contains(new)) {
            Some((_, id)) => Err(ConversionError::VolumeExists { id }),
            None => Ok(()),
        }
    }

    /// Whether it is still to be told what its resources were made into.
    pub fn is_owed_resources(&self) -> bool {
        self.stores_resources() && self.stored != self.converted_at
    }

    /// The agent as the allocator sees it.
    pub fn view(&self) -> AgentView {
        let (region, zone) = fault_domain(&self.spec.info).unzip();
        AgentView {
            id: self.id.clone(),
            hostname: self.spec.hostname.clone(),
            attributes: self.spec.attributes.clone(),
            total: self.offerable(),
            capabilities: self.spec.capabilities,
            active: self.is_active(),
            region,
            zone,
            unavailability: self.unavailability,
            version: self.version.0,
        }
    }
}

/// An agent that was away for too long, kept so that it and its tasks can return.
#[derive(Clone, Debug, PartialEq)]
pub struct UnreachableAgent {
    /// As it was, without offers, tasks, executors and holdings.
    pub agent: Arc<Agent>,
    /// Place in the log at which it was given up.
    pub epoch: Epoch,
    /// When it was given up, in cluster time.
    pub since: Millis,
    /// The same for display, and for `unreachable_time`.
    pub wall: WallMillis,
    /// Its tasks at that time, as TASK_UNREACHABLE (told as TASK_LOST to some).
    pub tasks: OrdMap<TaskKey, Arc<Task>>,
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::{
        AgentInfo,
        domain_info::{
            FaultDomain,
            fault_domain::{RegionInfo, ZoneInfo},
        },
    };

    use super::*;

    #[test]
    fn region_and_zone_are_read_out_of_the_whole_info() {
        let (region, zone) = (RegionInfo { name: "eu".into() }, ZoneInfo { name: "eu-1".into() });
        let domain = DomainInfo { fault_domain: Some(FaultDomain { region, zone }) };
        let info =
            AgentInfo { hostname: "h".into(), domain: Some(domain), port: Some(1), ..Default::default() };
        assert_eq!(fault_domain(&info.encode_to_vec()), Some(("eu".into(), "eu-1".into())));
        assert_eq!(fault_domain(&AgentInfo { domain: None, ..info }.encode_to_vec()), None);
        assert_eq!(fault_domain(b"broken"), None);
    }
}
