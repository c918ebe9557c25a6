//! Machines that will be down, and who was asked to leave them.

use std::{fmt, sync::Arc};

use imbl::OrdMap;
use mesarch_types::{AgentId, Epoch, FrameworkId, OfferId, Unavailability, WallMillis};

use crate::command::Window;

/// A machine as operators name it: by host name, address, or both. The host name is in lower case.
///
/// Masters know agents by the host name that they announce, so the host name decides which agents are on the machine;
/// without one, the agents that announce its address in the name's place are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId {
    /// In lower case; empty if only the address is named.
    pub hostname: Arc<str>,
    /// Empty if only the host name is named.
    pub ip: Arc<str>,
}

impl fmt::Display for MachineId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.hostname, &*self.ip) {
            (hostname, "") => out.write_str(hostname),
            ("", ip) => out.write_str(ip),
            (hostname, ip) => write!(out, "{hostname} ({ip})"),
        }
    }
}

/// A machine that is in the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Whether it is down already.
    pub mode: MachineMode,
    /// When it will be, or should have been, down.
    pub unavailability: Unavailability,
}

/// Where a scheduled machine is in its maintenance. A machine that is up is in no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineMode {
    /// Those who use it are asked to leave.
    Draining,
    /// Its agents were removed, and none may come.
    Down,
}

/// A request to leave an agent, before its framework. It takes nothing away and promises nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InverseOffer {
    /// Which.
    pub id: OfferId,
    /// When.
    pub issued: Epoch,
}

/// What a framework answered to its last inverse offer for an agent. For display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InverseAnswer {
    /// Whether it will leave.
    pub accepted: bool,
    /// When it said so.
    pub at: WallMillis,
}

/// A framework and an agent that it is asked to leave.
pub(crate) type Asked = (FrameworkId, AgentId);

/// All about planned outages.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Maintenance {
    /// As the operator gave it, without the machines whose maintenance is over.
    pub(crate) windows: Vec<Window>,
    /// The machines of the windows. Stored: which of them are down does not follow from the windows.
    pub(crate) machines: OrdMap<MachineId, Machine>,
    /// Outstanding inverse offers, one for a framework and agent at most. Stored, as offers are: the next leader sends
    /// the same again, and an answer to one from before counts.
    pub(crate) asked: OrdMap<Asked, InverseOffer>,
    /// The last answers. For how long a framework does not want to be asked again is the leader's to know: a new one may
    /// ask once too often.
    pub(crate) answers: OrdMap<Asked, InverseAnswer>,
}

impl Maintenance {
    /// The machine of agents with this host name, if it is in the schedule; of several the first.
    pub(crate) fn machine_of(&self, hostname: &str) -> Option<&Machine> {
        self.machines_of(hostname).next()
    }

    /// All machines that agents with this host name may be on: the masters do not know their addresses.
    pub(crate) fn machines_of(&self, hostname: &str) -> impl Iterator<Item = &Machine> {
        let hostname: Arc<str> = hostname.to_lowercase().into();
        let nowhere: Arc<str> = Arc::from("");
        let first = MachineId { hostname: hostname.clone(), ip: nowhere.clone() };
        let by_address = MachineId { hostname: nowhere, ip: hostname.clone() };
        let named = self.machines.range(first..).take_while(move |(id, _)| id.hostname == hostname);
        named.map(|(_, machine)| machine).chain(self.machines.get(&by_address))
    }
}
