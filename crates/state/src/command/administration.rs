//! Commands of operators about agents and about the machines that they run on.

use mesarch_types::{AgentId, Epoch, FrameworkId, OfferId, Unavailability};

use super::Refuse;
use crate::model::MachineId;

/// See [`Command::DrainAgent`](super::Command::DrainAgent). An earlier drain of the agent is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainAgent {
    /// Whom.
    pub agent: AgentId,
    /// The longest time, in nanoseconds, between the kind and the hard end of a task; none: as each task says.
    pub max_grace_ns: Option<u64>,
    /// Whether the agent is marked gone as soon as nothing is left on it.
    pub mark_gone: bool,
}

/// See [`Command::DeactivateAgent`](super::Command::DeactivateAgent).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeactivateAgent {
    /// Whom.
    pub agent: AgentId,
}

/// See [`Command::ReactivateAgent`](super::Command::ReactivateAgent).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactivateAgent {
    /// Whom.
    pub agent: AgentId,
}

/// See [`Command::MarkAgentGone`](super::Command::MarkAgentGone). One that is gone already stays so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkAgentGone {
    /// Whom.
    pub agent: AgentId,
}

/// See [`Command::SetSchedule`](super::Command::SetSchedule). What was scheduled before and is not named is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSchedule {
    /// In the operator's order; each machine comes once.
    pub windows: Vec<Window>,
}

/// Machines that will be down together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// At least one, in the operator's order.
    pub machines: Vec<MachineId>,
    /// When.
    pub unavailability: Unavailability,
}

/// See [`Command::StartMaintenance`](super::Command::StartMaintenance) and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machines {
    /// Each once. All of them are taken, or none.
    pub machines: Vec<MachineId>,
}

/// See [`Command::IssueInverseOffers`](super::Command::IssueInverseOffers). At most 256 items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueInverseOffers {
    /// Each is judged on its own.
    pub items: Vec<InverseOfferItem>,
}

/// One planned inverse offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InverseOfferItem {
    /// Who is asked.
    pub framework: FrameworkId,
    /// To leave which agent.
    pub agent: AgentId,
    /// [`Agent::version`](crate::model::Agent) it was planned on.
    pub agent_version: Epoch,
}

/// See [`Command::AnswerInverseOffers`](super::Command::AnswerInverseOffers). Offers that are unknown are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerInverseOffers {
    /// Who.
    pub framework: FrameworkId,
    /// Which.
    pub offers: Vec<OfferId>,
    /// Whether the framework will leave.
    pub accepted: bool,
    /// For how long it does not want to be asked again.
    pub refuse: Refuse,
}
