//! What the agent says of itself, and what it finds out about its machine.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use mesarch_mesos_v1::convert::{ResourceForm, attributes_to_v1, resources_to_v1};
use mesarch_proto::mesos::v1::{
    self,
    domain_info::fault_domain::{RegionInfo, ZoneInfo},
};
use mesarch_types::{FaultDomain, Ranges, Resource, Resources, Scalar};
use prost::Message;

use crate::{InvalidOptions, Options, options::Advertised};

const MB: u64 = 1024 * 1024;
/// Left to the machine itself, in MB, on machines with at least twice (memory) or twice (disk) as much.
const MEM_KEPT_MB: u64 = 1024;
const DISK_KEPT_MB: u64 = 5 * 1024;
/// When the machine does not say: Mesos' fallbacks.
const MEM_UNKNOWN_MB: u64 = 1024;
const DISK_UNKNOWN_MB: u64 = 10 * 1024;
const PORTS: (u64, u64) = (31_000, 32_000);

/// `mesos.v1.AgentInfo` without id, and the address it names.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) info: v1::AgentInfo,
    /// Canonical bytes of `info`.
    pub(crate) bytes: Bytes,
    /// Where the API is found, by executors and by others.
    pub(crate) address: SocketAddr,
}

impl Identity {
    /// Of an agent that listens on `listening`. Blocking: an advertised name is looked up.
    pub(crate) fn new(options: &Options, listening: SocketAddr) -> Result<Self, InvalidOptions> {
        let (name, address) = found_at(options, listening)?;
        let resources = resources(options)?;
        let attributes = options.parse_attributes()?;
        let domain = options.parse_domain()?;
        let info = v1::AgentInfo {
            hostname: options.hostname.clone().unwrap_or(name),
            port: Some(i32::from(address.port())),
            resources: resources_to_v1(&resources, ResourceForm::New),
            attributes: attributes_to_v1(&attributes),
            domain: domain.as_ref().map(domain_to_v1),
            ..Default::default()
        };
        let bytes = info.encode_to_vec().into();
        Ok(Self { info, bytes, address })
    }

    /// The name that tools know: `slave(1)@ip:port`.
    pub(crate) fn pid(&self) -> String {
        format!("slave(1)@{}", self.address)
    }
}

/// The name and the address by which the API is found.
fn found_at(options: &Options, listening: SocketAddr) -> Result<(String, SocketAddr), InvalidOptions> {
    let Some(text) = &options.advertise else {
        return Ok((listening.ip().to_string(), listening));
    };
    let Advertised { host, port } = Advertised::parse(text)?;
    let refused = |why: String| InvalidOptions::Advertise { text: text.clone(), why };
    let looked_up = (host.as_str(), port.unwrap_or(listening.port())).to_socket_addrs();
    let mut found = looked_up.map_err(|error| refused(format!("cannot be looked up: {error}")))?;
    // Of several, one that can be reached over what is listened on.
    let fits = |address: &SocketAddr| address.is_ipv4() == listening.is_ipv4();
    let address =
        found.find(fits).ok_or_else(|| refused("has no address of the listening kind".to_owned()))?;
    Ok((host, address))
}

/// The operator's text; what it does not name is taken from the machine.
fn resources(options: &Options) -> Result<Resources, InvalidOptions> {
    let refused = |error: &dyn std::fmt::Display| InvalidOptions::Resources(error.to_string());
    let given = options.parse_resources()?;
    let named = |name: &str| given.iter().any(|resource| &*resource.name == name);
    let found = detect(&options.work_dir).into_iter().filter(|resource| !named(&resource.name));
    let found = Resources::new(found).map_err(|error| refused(&error))?;
    given.checked_add(&found).ok_or_else(|| InvalidOptions::Resources("too much to count".to_owned()))
}

fn domain_to_v1(domain: &FaultDomain) -> v1::DomainInfo {
    let region = RegionInfo { name: domain.region.to_string() };
    let zone = ZoneInfo { name: domain.zone.to_string() };
    v1::DomainInfo { fault_domain: Some(v1::domain_info::FaultDomain { region, zone }) }
}

fn detect(work_dir: &Path) -> Vec<Resource> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let memory = rustix::system::sysinfo();
    let memory = (memory.totalram as u64).saturating_mul(u64::from(memory.mem_unit)) / MB;
    let disk =
        rustix::fs::statvfs(work_dir).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize) / MB);
    let mut found = vec![
        scalar("cpus", cores),
        scalar("mem", left(memory, MEM_KEPT_MB, MEM_UNKNOWN_MB)),
        scalar("disk", left(disk, DISK_KEPT_MB, DISK_UNKNOWN_MB)),
    ];
    found.extend(Ranges::new([PORTS]).map(|ports| Resource::new(Arc::from("ports"), ports)));
    found
}

/// What may be given away of `total`: all but `kept`, or half on small machines.
fn left(total: u64, kept: u64, unknown: u64) -> u64 {
    match total {
        0 => unknown,
        total if total >= 2 * kept => total - kept,
        total => total / 2,
    }
}

fn scalar(name: &str, whole: u64) -> Resource {
    let thousandths = i64::try_from(whole.saturating_mul(1000)).unwrap_or(i64::MAX);
    Resource::new(Arc::from(name), Scalar(thousandths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_left_to_the_machine() {
        let check = |total, expect| assert_eq!(left(total, 1024, 777), expect);
        check(0, 777);
        check(1000, 500);
        check(2048, 1024);
        check(8192, 7168);
    }

    #[test]
    fn named_resources_win_and_the_others_are_found() {
        let options = Options {
            resources: Some("cpus(eng):4;gpus:2".to_owned()),
            work_dir: std::env::temp_dir(),
            ..Options::default()
        };
        let found = resources(&options).unwrap();
        let names: Vec<_> = found.iter().map(|resource| resource.name.to_string()).collect();
        assert_eq!(names.iter().filter(|name| *name == "cpus").count(), 1);
        for name in ["gpus", "mem", "disk", "ports"] {
            assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
        }
    }

    #[test]
    fn an_agent_is_found_where_it_says() {
        let listening = "0.0.0.0:5051".parse().unwrap();
        let identity = |advertise: &str| {
            let options = Options {
                advertise: Some(advertise.to_owned()),
                work_dir: std::env::temp_dir(),
                ..Options::default()
            };
            Identity::new(&options, listening)
        };
        let found = identity("127.0.0.1").unwrap();
        assert_eq!(found.pid(), "slave(1)@127.0.0.1:5051");
        assert_eq!((found.info.hostname.as_str(), found.info.port), ("127.0.0.1", Some(5051)));
        let found = identity("localhost:6000").unwrap();
        assert_eq!(found.address, "127.0.0.1:6000".parse().unwrap());
        assert_eq!((found.info.hostname.as_str(), found.info.port), ("localhost", Some(6000)));
        assert!(identity("no-such-host.invalid").unwrap_err().to_string().starts_with("advertise"));
    }

    #[test]
    fn the_masters_are_told_where_the_machine_stands() {
        let identity = |domain: Option<&str>| {
            let options = Options {
                domain: domain.map(str::to_owned),
                work_dir: std::env::temp_dir(),
                ..Options::default()
            };
            Identity::new(&options, options.listen).unwrap().info.domain
        };
        assert_eq!(identity(None), None);
        let domain = identity(Some("eu/hall-2")).unwrap().fault_domain.unwrap();
        assert_eq!((domain.region.name.as_str(), domain.zone.name.as_str()), ("eu", "hall-2"));
    }

    #[test]
    fn bad_text_names_the_option() {
        let options = Options { resources: Some("cpus:".to_owned()), ..Options::default() };
        assert!(resources(&options).unwrap_err().to_string().starts_with("resources: "));
    }
}
