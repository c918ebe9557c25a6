//! Commands of operators about agents and machines.

use mesarch_proto::log;
use mesarch_types::{AgentId, Epoch, FrameworkId, Millis, Unavailability};

use super::{DecodeError, Logged, from_logs, ids, texts, to_logs};
use crate::{
    command::{
        AnswerInverseOffers, DeactivateAgent, DrainAgent, InverseOfferItem, IssueInverseOffers, Machines,
        MarkAgentGone, ReactivateAgent, Refuse, SetSchedule, Window,
    },
    model::MachineId,
};

impl Logged for DrainAgent {
    type Message = log::DrainAgent;

    fn to_log(&self) -> log::DrainAgent {
        log::DrainAgent {
            agent: self.agent.to_string(),
            max_grace_ns: self.max_grace_ns,
            mark_gone: self.mark_gone,
        }
    }

    fn from_log(message: log::DrainAgent) -> Result<Self, DecodeError> {
        Ok(Self {
            agent: AgentId::from(message.agent),
            max_grace_ns: message.max_grace_ns,
            mark_gone: message.mark_gone,
        })
    }
}

/// Commands that say nothing but whom they are about.
macro_rules! about_an_agent {
    ($($name:ident)+) => {
        $(impl Logged for $name {
            type Message = log::AboutAgent;

            fn to_log(&self) -> log::AboutAgent {
                log::AboutAgent { agent: self.agent.to_string() }
            }

            fn from_log(message: log::AboutAgent) -> Result<Self, DecodeError> {
                Ok(Self { agent: AgentId::from(message.agent) })
            }
        })+
    };
}
about_an_agent! { DeactivateAgent ReactivateAgent MarkAgentGone }

impl Logged for MachineId {
    type Message = log::Machine;

    fn to_log(&self) -> log::Machine {
        log::Machine { hostname: self.hostname.to_string(), ip: self.ip.to_string() }
    }

    fn from_log(message: log::Machine) -> Result<Self, DecodeError> {
        Ok(Self { hostname: message.hostname.into(), ip: message.ip.into() })
    }
}

impl Logged for Window {
    type Message = log::Window;

    fn to_log(&self) -> log::Window {
        log::Window {
            machines: to_logs(&self.machines),
            start_ns: self.unavailability.start_ns,
            duration_ns: self.unavailability.duration_ns,
        }
    }

    fn from_log(message: log::Window) -> Result<Self, DecodeError> {
        let unavailability = Unavailability { start_ns: message.start_ns, duration_ns: message.duration_ns };
        Ok(Self { machines: from_logs(message.machines)?, unavailability })
    }
}

impl Logged for SetSchedule {
    type Message = log::SetSchedule;

    fn to_log(&self) -> log::SetSchedule {
        log::SetSchedule { windows: to_logs(&self.windows) }
    }

    fn from_log(message: log::SetSchedule) -> Result<Self, DecodeError> {
        Ok(Self { windows: from_logs(message.windows)? })
    }
}

impl Logged for Machines {
    type Message = log::Machines;

    fn to_log(&self) -> log::Machines {
        log::Machines { machines: to_logs(&self.machines) }
    }

    fn from_log(message: log::Machines) -> Result<Self, DecodeError> {
        Ok(Self { machines: from_logs(message.machines)? })
    }
}

impl Logged for InverseOfferItem {
    type Message = log::InverseOfferItem;

    fn to_log(&self) -> log::InverseOfferItem {
        log::InverseOfferItem {
            framework: self.framework.to_string(),
            agent: self.agent.to_string(),
            agent_version: self.agent_version.0,
        }
    }

    fn from_log(message: log::InverseOfferItem) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            agent: AgentId::from(message.agent),
            agent_version: Epoch(message.agent_version),
        })
    }
}

impl Logged for IssueInverseOffers {
    type Message = log::IssueInverseOffers;

    fn to_log(&self) -> log::IssueInverseOffers {
        log::IssueInverseOffers { items: to_logs(&self.items) }
    }

    fn from_log(message: log::IssueInverseOffers) -> Result<Self, DecodeError> {
        Ok(Self { items: from_logs(message.items)? })
    }
}

impl Logged for AnswerInverseOffers {
    type Message = log::AnswerInverseOffers;

    fn to_log(&self) -> log::AnswerInverseOffers {
        log::AnswerInverseOffers {
            framework: self.framework.to_string(),
            offers: texts(&self.offers),
            accepted: self.accepted,
            refuse_ms: self.refuse.duration.0,
        }
    }

    fn from_log(message: log::AnswerInverseOffers) -> Result<Self, DecodeError> {
        Ok(Self {
            framework: FrameworkId::from(message.framework),
            offers: ids(message.offers),
            accepted: message.accepted,
            refuse: Refuse { duration: Millis(message.refuse_ms) },
        })
    }
}
