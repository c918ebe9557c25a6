//! Commands about frameworks and their offers.

use std::sync::Arc;

use mesarch_proto::log;
use mesarch_types::{
    AgentId, Epoch, FrameworkId, Millis, Resources, Role, StreamId, TaskId, capability::FrameworkCapabilities,
};

use super::{
    DecodeError, Logged, field, from_logs, ids,
    resource::{from_resources, to_resources},
    sharing::{from_rules, to_alternatives, to_constraints},
    texts, to_logs,
};
use crate::command::{
    AcceptOffers, DeclineOffers, Disconnect, ExpireFailover, FrameworkRoles, FrameworkSpec, IssueOffers,
    Judged, Launch, OfferItem, Refuse, Subscribe, TaskSpec, Teardown, UpdateFramework,
};

impl Logged for FrameworkSpec {
    type Message = log::FrameworkSpec;

    fn to_log(&self) -> log::FrameworkSpec {
        log::FrameworkSpec {
            info: self.info.clone(),
            name: self.name.to_string(),
            user: self.user.to_string(),
            principal: self.principal.as_deref().map(str::to_owned),
            roles: texts(&self.roles),
            capabilities: self.capabilities.numbers().collect(),
            checkpoint: self.checkpoint,
            failover_timeout_ms: self.failover_timeout.0,
            constraints: to_constraints(&self.rules.constraints),
            min_allocatable: to_alternatives(&self.rules.min_allocatable),
        }
    }

    fn from_log(message: log::FrameworkSpec) -> Result<Self, DecodeError> {
        Ok(Self {
            info: message.info,
            name: message.name.into(),
            user: message.user.into(),
            principal: message.principal.map(Arc::from),
            roles: ids(message.roles),
            capabilities: FrameworkCapabilities::from_numbers(message.capabilities),
            checkpoint: message.checkpoint,
            failover_timeout: Millis(message.failover_timeout_ms),
            rules: from_rules(message.constraints, message.min_allocatable)?,
        })
    }
}

impl Logged for Subscribe {
    type Message = log::Subscribe;

    fn to_log(&self) -> log::Subscribe {
        log::Subscribe {
            framework: self.framework.as_ref().map(FrameworkId::to_string),
            spec: Some(self.spec.to_log()),
            suppressed: texts(&self.suppressed),
            stream: self.stream.to_string(),
            resume: self.resume.as_ref().map(StreamId::to_string),
        }
    }

    fn from_log(message: log::Subscribe) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: message.framework.map(FrameworkId::from),
            spec: field(message.spec, "spec")?,
            suppressed: ids(message.suppressed),
            stream: StreamId::from(message.stream),
            resume: message.resume.map(StreamId::from),
        })
    }
}

impl Logged for UpdateFramework {
    type Message = log::UpdateFramework;

    fn to_log(&self) -> log::UpdateFramework {
        log::UpdateFramework {
            framework: self.framework.to_string(),
            spec: Some(self.spec.to_log()),
            suppressed: texts(&self.suppressed),
        }
    }

    fn from_log(message: log::UpdateFramework) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: message.framework.into(),
            spec: field(message.spec, "spec")?,
            suppressed: ids(message.suppressed),
        })
    }
}

impl Logged for Disconnect {
    type Message = log::Disconnect;

    fn to_log(&self) -> log::Disconnect {
        log::Disconnect { framework: self.framework.to_string(), stream: self.stream.0 }
    }

    fn from_log(message: log::Disconnect) -> Result<Self, DecodeError> {
        Ok(Self { framework: message.framework.into(), stream: Epoch(message.stream) })
    }
}

impl Logged for FrameworkRoles {
    type Message = log::FrameworkRoles;

    fn to_log(&self) -> log::FrameworkRoles {
        log::FrameworkRoles { framework: self.framework.to_string(), roles: texts(&self.roles) }
    }

    fn from_log(message: log::FrameworkRoles) -> Result<Self, DecodeError> {
        Ok(Self { framework: message.framework.into(), roles: ids(message.roles) })
    }
}

impl Logged for Teardown {
    type Message = log::Teardown;

    fn to_log(&self) -> log::Teardown {
        log::Teardown { framework: self.framework.to_string() }
    }

    fn from_log(message: log::Teardown) -> Result<Self, DecodeError> {
        Ok(Self { framework: message.framework.into() })
    }
}

impl Logged for ExpireFailover {
    type Message = log::ExpireFailover;

    fn to_log(&self) -> log::ExpireFailover {
        log::ExpireFailover { framework: self.framework.to_string(), disconnected: self.disconnected.0 }
    }

    fn from_log(message: log::ExpireFailover) -> Result<Self, DecodeError> {
        Ok(Self { framework: message.framework.into(), disconnected: Epoch(message.disconnected) })
    }
}

impl Logged for IssueOffers {
    type Message = log::IssueOffers;

    fn to_log(&self) -> log::IssueOffers {
        log::IssueOffers { policy: self.policy.0, items: to_logs(&self.items) }
    }

    fn from_log(message: log::IssueOffers) -> Result<Self, DecodeError> {
        let mut shared = Shared::default();
        let items = message.items.into_iter().map(|item| shared.item(item)).collect::<Result<_, _>>()?;
        Ok(Self { policy: Epoch(message.policy), items })
    }
}

/// What the last items of a piece said. Most offers of a piece are of machines that are alike: they hold one list together
/// instead of one each.
#[derive(Default)]
struct Shared {
    last: Vec<log::Resource>,
    resources: Resources,
}

impl Shared {
    fn item(&mut self, mut message: log::OfferItem) -> Result<OfferItem, DecodeError> {
        if message.resources != self.last {
            self.last = message.resources.clone();
            self.resources = from_resources(std::mem::take(&mut message.resources))?;
        }
        message.resources.clear();
        let item = OfferItem::from_log(message)?;
        Ok(OfferItem { resources: self.resources.clone(), ..item })
    }
}

impl Logged for OfferItem {
    type Message = log::OfferItem;

    fn to_log(&self) -> log::OfferItem {
        log::OfferItem {
            framework: self.framework.to_string(),
            role: self.role.to_string(),
            agent: self.agent.to_string(),
            resources: to_resources(&self.resources),
            framework_version: self.framework_version.0,
            agent_version: self.agent_version.0,
        }
    }

    fn from_log(message: log::OfferItem) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            role: Role::from(message.role),
            agent: AgentId::from(message.agent),
            resources: from_resources(message.resources)?,
            framework_version: Epoch(message.framework_version),
            agent_version: Epoch(message.agent_version),
        })
    }
}

impl Logged for AcceptOffers {
    type Message = log::AcceptOffers;

    fn to_log(&self) -> log::AcceptOffers {
        log::AcceptOffers {
            framework: self.framework.to_string(),
            offers: texts(&self.offers),
            launches: to_logs(&self.launches),
            operations: to_logs(&self.operations),
            refuse_ms: self.refuse.duration.0,
        }
    }

    fn from_log(message: log::AcceptOffers) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            offers: ids(message.offers),
            launches: from_logs(message.launches)?,
            operations: from_logs(message.operations)?,
            refuse: Refuse { duration: Millis(message.refuse_ms) },
        })
    }
}

impl Logged for Launch {
    type Message = log::Launch;

    fn to_log(&self) -> log::Launch {
        use log::launch;
        let kind = match &self.task {
            Judged::Valid(spec) => launch::Kind::Task(spec.to_log()),
            Judged::Invalid { task, message } => launch::Kind::Invalid(launch::Invalid {
                task: task.to_string(),
                message: message.to_string(),
            }),
        };
        log::Launch {
            kind: Some(kind),
            agent: self.agent.as_ref().map(AgentId::to_string),
            group: self.group,
        }
    }

    fn from_log(message: log::Launch) -> Result<Self, DecodeError> {
        use log::launch;
        let task = match message.kind.ok_or(DecodeError::Field("launch"))? {
            launch::Kind::Task(spec) => Judged::Valid(TaskSpec::from_log(spec)?),
            launch::Kind::Invalid(invalid) => {
                Judged::Invalid { task: TaskId::from(invalid.task), message: invalid.message.into() }
            }
        };
        Ok(Self { agent: message.agent.map(AgentId::from), group: message.group, task })
    }
}

impl Logged for DeclineOffers {
    type Message = log::DeclineOffers;

    fn to_log(&self) -> log::DeclineOffers {
        log::DeclineOffers {
            framework: self.framework.to_string(),
            offers: texts(&self.offers),
            refuse_ms: self.refuse.duration.0,
        }
    }

    fn from_log(message: log::DeclineOffers) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            offers: ids(message.offers),
            refuse: Refuse { duration: Millis(message.refuse_ms) },
        })
    }
}
