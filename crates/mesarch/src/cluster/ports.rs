//! Which ports a local cluster uses.
//!
//! Members' addresses are part of the replicated membership, so they must be known before the first process starts and
//! be the same after a restart; a port drawn by the kernel at bind time would not do.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::failure::usage;

/// Ports to search when none was given: below the range from which the kernel gives ports to outgoing connections, so
/// that a restarted process finds its port still free.
const SEARCH: Range<u16> = 15_000..32_000;
/// From one master's client port to the next one's, when a first port was given.
const MASTER_STEP: u16 = 10;
/// From a master's client port to its Raft port.
const RAFT_OFFSET: u16 = 2;
/// From the first port to the first agent's.
const AGENT_OFFSET: u16 = 1000;

/// Addresses of one master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MasterPorts {
    pub(crate) client: SocketAddr,
    pub(crate) raft: SocketAddr,
}

/// Addresses of a cluster, all on loopback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) masters: Vec<MasterPorts>,
    pub(crate) agents: Vec<SocketAddr>,
}

impl Ports {
    /// In the form of `--initial-masters`.
    pub(crate) fn initial_masters(&self) -> String {
        let members = self.masters.iter().enumerate().map(|(index, master)| {
            format!("{}={}:{}/{}", index + 1, master.raft.ip(), master.raft.port(), master.client.port())
        });
        members.collect::<Vec<_>>().join(",")
    }

    /// A further agent's address: a port that is free now and not meant for a process that has yet to bind it.
    pub(crate) fn one_more_agent(&mut self) -> Result<SocketAddr> {
        let masters = self.masters.iter().flat_map(|master| [master.client, master.raft]);
        let meant: Vec<SocketAddr> = masters.chain(self.agents.iter().copied()).collect();
        let address = hold_free(1, &meant)?.first().context("one was found")?.local_addr()?;
        self.agents.push(address);
        Ok(address)
    }
}

/// With a first port P: master i at P+10i and P+10i+2, agent j at P+1000+j. Without: ports that are free now.
pub(crate) fn choose(masters: u16, agents: u16, base: Option<u16>) -> Result<Ports> {
    match base {
        Some(base) => from_base(masters, agents, base),
        None => free(masters, agents),
    }
}

fn from_base(masters: u16, agents: u16, base: u16) -> Result<Ports> {
    let highest = u32::from(base) + u32::from(AGENT_OFFSET) + u32::from(agents);
    if base == 0 || highest > u32::from(u16::MAX) {
        let highest = u16::MAX - AGENT_OFFSET - agents;
        return Err(usage(format!("--base-port {base}: must lie between 1 and {highest}")));
    }
    if u32::from(masters) * u32::from(MASTER_STEP) > u32::from(AGENT_OFFSET) {
        bail!("at most {} masters fit below the agents' ports", AGENT_OFFSET / MASTER_STEP);
    }
    let master = |index| MasterPorts {
        client: loopback(base + MASTER_STEP * index),
        raft: loopback(base + MASTER_STEP * index + RAFT_OFFSET),
    };
    Ok(Ports {
        masters: (0..masters).map(master).collect(),
        agents: (0..agents).map(|index| loopback(base + AGENT_OFFSET + index)).collect(),
    })
}

fn free(masters: u16, agents: u16) -> Result<Ports> {
    let held = hold_free(usize::from(masters) * 2 + usize::from(agents), &[])?;
    let mut addresses =
        held.iter().map(TcpListener::local_addr).collect::<std::io::Result<Vec<_>>>()?.into_iter();
    let mut next = || addresses.next().context("as many were counted");
    let mut ports = Ports { masters: Vec::new(), agents: Vec::new() };
    for _ in 0..masters {
        ports.masters.push(MasterPorts { client: next()?, raft: next()? });
    }
    for _ in 0..agents {
        ports.agents.push(next()?);
    }
    Ok(ports)
}

/// Binds so many free ports, other than those in `but`: held until all are found, so that none is found twice.
fn hold_free(wanted: usize, but: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut held = Vec::with_capacity(wanted);
    let span = u32::from(SEARCH.end - SEARCH.start);
    let start = std::process::id().wrapping_mul(7919) % span;
    for step in 0..span {
        if held.len() == wanted {
            return Ok(held);
        }
        let offset = u16::try_from((start + step) % span).context("the span fits in a port number")?;
        let address = loopback(SEARCH.start + offset);
        if !but.contains(&address) {
            held.extend(TcpListener::bind(address));
        }
    }
    bail!("fewer than {wanted} free ports between {} and {}", SEARCH.start, SEARCH.end);
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_port_gives_the_documented_ports() {
        let ports = choose(3, 2, Some(6000)).unwrap();
        assert_eq!(ports.masters[2], MasterPorts { client: loopback(6020), raft: loopback(6022) });
        assert_eq!(ports.agents, [loopback(7000), loopback(7001)]);
        assert_eq!(
            ports.initial_masters(),
            "1=127.0.0.1:6002/6000,2=127.0.0.1:6012/6010,3=127.0.0.1:6022/6020"
        );
        for wrong in [0, 65_000] {
            assert!(choose(3, 2, Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_further_agent_gets_no_port_that_is_meant_for_another_process() {
        let mut ports = choose(3, 1, None).unwrap();
        let meant: Vec<_> = ports.masters.iter().flat_map(|master| [master.client, master.raft]).collect();
        for _ in 0..5 {
            let before = ports.agents.clone();
            let address = ports.one_more_agent().unwrap();
            assert!(!meant.contains(&address) && !before.contains(&address), "{address}");
        }
    }

    #[test]
    fn free_ports_are_all_different() {
        let ports = choose(5, 7, None).unwrap();
        let masters = ports.masters.iter().flat_map(|master| [master.client, master.raft]);
        let mut all: Vec<_> = masters.chain(ports.agents.iter().copied()).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 17);
    }
}
