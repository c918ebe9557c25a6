//! Maintenance as operators ask for it, judged by form, and as they are told of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use mesarch_proto::mesos::v1::{
    self,
    allocator::{InverseOfferStatus, inverse_offer_status},
    maintenance::{ClusterStatus, Schedule, Window as WindowTold, cluster_status::DrainingMachine},
};
use mesarch_state::{
    Command, State,
    command::{Machines, SetSchedule, Window},
    model::{InverseAnswer, MachineId, MachineMode},
};
use mesarch_types::{FrameworkId, Unavailability};

use super::{
    Invalid,
    request::{ENTRIES_MAX, invalid},
};
use crate::{events, offers, status};

/// The command that makes this the schedule. An empty one clears it.
pub(crate) fn schedule(schedule: &Schedule) -> Result<Command, Invalid> {
    let count: usize = schedule.windows.iter().map(|window| window.machine_ids.len()).sum();
    if count > ENTRIES_MAX {
        return Err(invalid(format!("machine_ids: {count} are more than the bound of {ENTRIES_MAX}")));
    }
    let mut named = BTreeSet::new();
    let windows = schedule.windows.iter().map(|told| window(told, &mut named));
    let windows = windows.collect::<Result<_, Invalid>>()?;
    Ok(Command::SetSchedule(SetSchedule { windows }))
}

fn window(told: &WindowTold, named: &mut BTreeSet<MachineId>) -> Result<Window, Invalid> {
    if told.machine_ids.is_empty() {
        return Err(invalid("machine_ids: each window names at least one machine"));
    }
    let duration_ns = told.unavailability.duration.as_ref().map(|duration| duration.nanoseconds);
    if duration_ns.is_some_and(|duration| duration < 0) {
        return Err(invalid("unavailability.duration: must not be negative"));
    }
    let unavailability = Unavailability { start_ns: told.unavailability.start.nanoseconds, duration_ns };
    let machines =
        told.machine_ids.iter().map(|told| machine(told, named)).collect::<Result<_, Invalid>>()?;
    Ok(Window { machines, unavailability })
}

/// Machines of which each comes once.
pub(crate) fn machines(told: &[v1::MachineId]) -> Result<Machines, Invalid> {
    super::request::check_count("machines", told.len(), ENTRIES_MAX)?;
    let mut named = BTreeSet::new();
    let machines = told.iter().map(|told| machine(told, &mut named)).collect::<Result<_, Invalid>>()?;
    Ok(Machines { machines })
}

fn machine(told: &v1::MachineId, named: &mut BTreeSet<MachineId>) -> Result<MachineId, Invalid> {
    let (hostname, ip) = (told.hostname().to_lowercase(), told.ip());
    if hostname.is_empty() && ip.is_empty() {
        return Err(invalid("machine: needs a hostname or an ip"));
    }
    if !ip.is_empty() && ip.parse::<Ipv4Addr>().is_err() {
        return Err(invalid(format!("machine: {ip:?} is not an IPv4 address")));
    }
    let machine = MachineId { hostname: hostname.into(), ip: ip.into() };
    match named.insert(machine.clone()) {
        true => Ok(machine),
        false => Err(invalid(format!("machine: {machine} is named twice"))),
    }
}

/// The schedule as it stands.
pub(crate) fn present_schedule(state: &State) -> Schedule {
    let windows = state.schedule().iter().map(|window| WindowTold {
        machine_ids: window.machines.iter().map(machine_to_v1).collect(),
        unavailability: offers::unavailability_to_v1(window.unavailability),
    });
    Schedule { windows: windows.collect() }
}

/// Which machines drain and are down, in the schedule's order, with what frameworks answered.
pub(crate) fn cluster_status(state: &State) -> ClusterStatus {
    let modes: BTreeMap<_, _> = state.machines().map(|(id, machine)| (id, machine.mode)).collect();
    let scheduled = state.schedule().iter().flat_map(|window| &window.machines);
    let (down, draining): (Vec<_>, Vec<_>) =
        scheduled.partition(|id| modes.get(id) == Some(&MachineMode::Down));
    let answers = answers_by_host(state);
    let of_machine = |id: &MachineId| answers.get(host_of(id)).cloned().unwrap_or_default();
    let draining =
        draining.into_iter().map(|id| DrainingMachine { id: machine_to_v1(id), statuses: of_machine(id) });
    ClusterStatus {
        draining_machines: draining.collect(),
        down_machines: down.into_iter().map(machine_to_v1).collect(),
    }
}

/// What was answered, by the host name in lower case that the agent announces.
fn answers_by_host(state: &State) -> BTreeMap<String, Vec<InverseOfferStatus>> {
    let mut answers: BTreeMap<String, Vec<InverseOfferStatus>> = BTreeMap::new();
    for (framework, agent, answer) in state.inverse_answers() {
        if let Some(agent) = state.agent(agent) {
            let host = agent.spec.hostname.to_lowercase();
            answers.entry(host).or_default().push(answer_to_v1(framework, answer));
        }
    }
    answers
}

/// What agents of the machine announce as their host name.
fn host_of(machine: &MachineId) -> &str {
    if machine.hostname.is_empty() { &machine.ip } else { &machine.hostname }
}

fn answer_to_v1(framework: &FrameworkId, answer: &InverseAnswer) -> InverseOfferStatus {
    use inverse_offer_status::Status;
    let status = if answer.accepted { Status::Accept } else { Status::Decline };
    InverseOfferStatus {
        status: status as i32,
        framework_id: events::framework_id(framework),
        timestamp: status::time(answer.at),
    }
}

fn machine_to_v1(id: &MachineId) -> v1::MachineId {
    let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    v1::MachineId { hostname: told(&id.hostname), ip: told(&id.ip) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(hostname: &str, ip: &str) -> v1::MachineId {
        let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        v1::MachineId { hostname: told(hostname), ip: told(ip) }
    }

    fn told(machine_ids: Vec<v1::MachineId>, duration: Option<i64>) -> WindowTold {
        let duration = duration.map(|nanoseconds| v1::DurationInfo { nanoseconds });
        let unavailability = v1::Unavailability { start: v1::TimeInfo { nanoseconds: 1 }, duration };
        WindowTold { machine_ids, unavailability }
    }

    #[test]
    fn a_schedule_is_judged_by_its_form() {
        let check = |windows: Vec<WindowTold>, expect: Result<(), &str>| {
            let judged = schedule(&Schedule { windows }).map(drop).map_err(|error| error.to_string());
            match expect {
                Ok(()) => assert_eq!(judged, Ok(())),
                Err(part) => assert!(judged.unwrap_err().contains(part), "{part}"),
            }
        };
        check(vec![], Ok(()));
        check(vec![told(vec![id("h", "10.0.0.1"), id("h2", "")], Some(0))], Ok(()));
        check(vec![told(vec![id("", "10.0.0.1")], None)], Ok(()));
        check(vec![told(vec![], None)], Err("at least one machine"));
        check(vec![told(vec![id("h", "")], Some(-1))], Err("must not be negative"));
        check(vec![told(vec![id("", "")], None)], Err("a hostname or an ip"));
        check(vec![told(vec![id("h", "::1")], None)], Err("not an IPv4 address"));
        check(vec![told(vec![id("h", ""), id("H", "")], None)], Err("named twice"));
        let twice = vec![told(vec![id("h", "")], None), told(vec![id("h", "")], None)];
        check(twice, Err("named twice"));
    }

    #[test]
    fn machines_are_named_once_and_at_least_one() {
        assert!(machines(&[]).unwrap_err().to_string().contains("must not be empty"));
        assert!(machines(&[id("h", ""), id("H", "")]).unwrap_err().to_string().contains("twice"));
        assert_eq!(machines(&[id("H", "10.0.0.1")]).unwrap().machines[0].to_string(), "h (10.0.0.1)");
    }
}
