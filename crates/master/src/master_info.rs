//! What this master says of itself to clients.

use std::net::Ipv4Addr;

use mesarch_proto::mesos::v1;
use mesarch_types::{ClusterId, NodeId};

/// The level of the Mesos API that we implement: clients parse three integers and switch features on by them.
pub(crate) const API_VERSION: &str = "1.11.0";

/// One master as its clients see it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct MasterFacts {
    node: NodeId,
    cluster: Option<ClusterId>,
    /// host:port for clients.
    address: String,
    host: String,
    port: u16,
}

impl MasterFacts {
    /// `address` is host:port.
    pub(crate) fn new(node: NodeId, address: &str) -> Self {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { node, cluster: None, address: address.to_owned(), host, port: port.parse().unwrap_or(0) }
    }

    /// The same in a cluster; none before its first term.
    pub(crate) fn within(&self, cluster: Option<ClusterId>) -> Self {
        Self { cluster, ..self.clone() }
    }

    /// This master's id: the cluster and its number there.
    pub(crate) fn id(&self) -> String {
        match self.cluster {
            Some(cluster) => format!("{cluster}-M{}", self.node),
            None => format!("M{}", self.node),
        }
    }

    /// As in Mesos: `master@host:port`.
    pub(crate) fn pid(&self) -> String {
        format!("master@{}", self.address)
    }

    /// Name or address under which clients reach it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// host:port for clients.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Port for clients.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The message that SUBSCRIBED carries.
    pub(crate) fn info(&self) -> v1::MasterInfo {
        use v1::master_info::{Capability, capability::Type};
        let ip = self.host.parse::<Ipv4Addr>().ok();
        v1::MasterInfo {
            id: self.id(),
            // In network byte order, as Mesos has it.
            ip: ip.map_or(0, |ip| u32::from_le_bytes(ip.octets())),
            port: u32::from(self.port),
            pid: Some(self.pid()),
            hostname: Some(self.host.clone()),
            version: Some(API_VERSION.to_owned()),
            address: Some(v1::Address {
                hostname: Some(self.host.clone()),
                ip: ip.map(|ip| ip.to_string()),
                port: i32::from(self.port),
            }),
            domain: None,
            capabilities: [Type::AgentUpdate, Type::AgentDraining]
                .map(|capability| Capability { r#type: Some(capability as i32) })
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_holds_the_advertised_address() {
        let info = MasterFacts::new(NodeId(1), "127.0.0.1:5050").info();
        assert_eq!((info.ip, info.port), (16_777_343, 5050));
        assert_eq!(info.pid.as_deref(), Some("master@127.0.0.1:5050"));
        let named = MasterFacts::new(NodeId(1), "m1.example:5050").info();
        assert_eq!((named.ip, named.hostname.as_deref()), (0, Some("m1.example")));
        let v6 = MasterFacts::new(NodeId(1), "[::1]:5050");
        assert_eq!((v6.host(), v6.port()), ("::1", 5050));
    }

    #[test]
    fn the_id_holds_the_cluster() {
        let facts = MasterFacts::new(NodeId(2), "h:1").within(Some(ClusterId([1; 16])));
        assert_eq!(facts.id(), "01010101-0101-0101-0101-010101010101-M2");
    }
}
