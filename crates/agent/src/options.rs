//! What an operator can set. Validated once, when the agent is made.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use mesarch_edge::{InvalidPort, PortOptions};
use mesarch_types::{Attribute, FaultDomain, Resources, Role, parse_attributes, parse_resources};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How long a connection may be without a whole request, in ms: shorter than what clients take for a dead server.
const UNUSED_MAX_MS: u64 = 30_000;

/// Longest time that executors may take to come back after a restart (Mesos' bound).
pub const REREGISTRATION_TIMEOUT_MS_MAX: u64 = 15_000;

/// Options of an agent. Durations are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Client addresses (`host:port`) of the masters, all of them or any of them that stay reachable.
    pub masters: Vec<String>,
    /// Where the agent's own HTTP API listens; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Needed to listen on anything but loopback, because the API has no authentication.
    pub allow_remote: bool,
    /// Where executors, tools and masters find that API, `host` or `host:port`; the listening address if unset. Needed
    /// to listen on all addresses of the machine, which is not a place where anything can be found.
    pub advertise: Option<String>,
    /// The name by which others reach this machine; what is advertised if unset.
    pub hostname: Option<String>,
    /// Checkpoints and sandboxes; locked while an agent uses it.
    pub work_dir: PathBuf,
    /// `name(role):value;…`; what it does not name (cpus, mem, disk, ports) is taken from the machine.
    pub resources: Option<String>,
    /// `name:value;…`
    pub attributes: Option<String>,
    /// Role of resources that name none.
    pub default_role: String,
    /// Where this machine stands, `region/zone`; without, it counts as being where the leader is.
    pub domain: Option<String>,
    /// The program that has the subcommands `command-executor`, `default-executor` and `executor-launcher`; this program if unset.
    pub executor_program: Option<PathBuf>,
    /// From the start of an executor to its SUBSCRIBE, or it is killed.
    pub executor_registration_timeout_ms: u64,
    /// From the agent's restart to an executor's SUBSCRIBE, or it is killed; at most 15 s.
    pub executor_reregistration_timeout_ms: u64,
    /// From SHUTDOWN to SIGKILL, unless the executor's description says otherwise.
    pub executor_shutdown_grace_ms: u64,
    /// How long executors wait for an agent that is gone.
    pub recovery_timeout_ms: u64,
    /// First interval after which an unacknowledged update is sent again.
    pub update_repeat_ms: u64,
    /// Bounds of the port.
    pub port: PortOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            masters: vec!["127.0.0.1:5050".to_owned()],
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5051)),
            allow_remote: false,
            advertise: None,
            hostname: None,
            work_dir: PathBuf::from("/var/lib/mesarch/agent"),
            resources: None,
            attributes: None,
            default_role: "*".to_owned(),
            domain: None,
            executor_program: None,
            executor_registration_timeout_ms: 60_000,
            executor_reregistration_timeout_ms: 2_000,
            executor_shutdown_grace_ms: 5_000,
            recovery_timeout_ms: 900_000,
            update_repeat_ms: 10_000,
            port: PortOptions {
                first_request_timeout_ms: UNUSED_MAX_MS,
                idle_timeout_ms: UNUSED_MAX_MS,
                ..PortOptions::default()
            },
        }
    }
}

/// Why options are refused. Each names the option.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    /// Nobody to follow.
    #[error("masters: at least one host:port is needed")]
    NoMasters,
    /// Not an address.
    #[error("masters: {0:?} is not host:port")]
    BadMaster(String),
    /// Would let anybody on the network run commands here.
    #[error(
        "listen: {0} is reachable from outside and the API has no authentication; say --allow-remote if that is wanted"
    )]
    Remote(SocketAddr),
    /// Nobody would find the agent.
    #[error(
        "listen: {0} means every address of this machine; say with --advertise under which one it is found"
    )]
    Unspecified(SocketAddr),
    /// Not a place.
    #[error("advertise: {text:?} {why}")]
    Advertise {
        /// As given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Relative paths would change with the current folder.
    #[error("work-dir: {0} is not an absolute path")]
    RelativeWorkDir(PathBuf),
    /// Outside of what makes sense.
    #[error("{option}: {value} ms is not between {min} and {max}")]
    Duration {
        /// Which.
        option: &'static str,
        /// Given.
        value: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// A bound of the port that makes no sense.
    #[error("port: {0}")]
    Port(#[from] InvalidPort),
    /// Not in the form of resources.
    #[error("resources: {0}")]
    Resources(String),
    /// Not in the form of attributes.
    #[error("attributes: {0}")]
    Attributes(String),
    /// Not the path of a role.
    #[error("default-role: {0}")]
    DefaultRole(String),
    /// Not a region and a zone.
    #[error("domain: {0}")]
    Domain(String),
}

impl Options {
    /// Judges everything that can be judged without touching the machine.
    pub fn validate(&self) -> Result<(), InvalidOptions> {
        if self.masters.is_empty() {
            return Err(InvalidOptions::NoMasters);
        }
        if let Some(bad) = self.masters.iter().find(|master| !is_address(master)) {
            return Err(InvalidOptions::BadMaster(bad.clone()));
        }
        if !self.listen.ip().is_loopback() && !self.allow_remote {
            return Err(InvalidOptions::Remote(self.listen));
        }
        if self.listen.ip().is_unspecified() && self.advertise.is_none() {
            return Err(InvalidOptions::Unspecified(self.listen));
        }
        self.advertise.as_deref().map(Advertised::parse).transpose()?;
        if !self.work_dir.is_absolute() {
            return Err(InvalidOptions::RelativeWorkDir(self.work_dir.clone()));
        }
        self.parse_resources()?;
        self.parse_attributes()?;
        self.parse_domain()?;
        self.port.validate()?;
        self.durations().into_iter().try_for_each(|(option, value, min, max)| {
            let fits = (min..=max).contains(&value);
            fits.then_some(()).ok_or(InvalidOptions::Duration { option, value, min, max })
        })
    }

    /// What the operator says that this machine offers.
    pub(crate) fn parse_resources(&self) -> Result<Resources, InvalidOptions> {
        let role = Role::parse(&self.default_role)
            .map_err(|error| InvalidOptions::DefaultRole(error.to_string()))?;
        let text = self.resources.as_deref().unwrap_or_default();
        parse_resources(text, &role).map_err(|error| InvalidOptions::Resources(with_cause(&error)))
    }

    /// What the operator says of this machine.
    pub(crate) fn parse_attributes(&self) -> Result<Vec<Attribute>, InvalidOptions> {
        let text = self.attributes.as_deref().unwrap_or_default();
        parse_attributes(text).map_err(|error| InvalidOptions::Attributes(with_cause(&error)))
    }

    /// Where the operator says that this machine stands.
    pub(crate) fn parse_domain(&self) -> Result<Option<FaultDomain>, InvalidOptions> {
        let parsed = self.domain.as_deref().map(str::parse).transpose();
        parsed.map_err(|error| InvalidOptions::Domain(with_cause(&error)))
    }

    /// The settings by the names of Mesos' flags, as tools read them.
    pub(crate) fn flags(&self) -> Map<String, Value> {
        let text = |text: &str| Some(text.to_owned());
        let named = [
            ("master", Some(self.masters.join(","))),
            ("ip", Some(self.listen.ip().to_string())),
            ("advertise", self.advertise.clone()),
            ("hostname", self.hostname.clone()),
            ("work_dir", text(&self.work_dir.to_string_lossy())),
            ("resources", self.resources.clone()),
            ("attributes", self.attributes.clone()),
            ("default_role", text(&self.default_role)),
            ("domain", self.domain.clone()),
        ];
        let times = [
            ("executor_registration_timeout", self.executor_registration_timeout_ms),
            ("executor_reregistration_timeout", self.executor_reregistration_timeout_ms),
            ("executor_shutdown_grace_period", self.executor_shutdown_grace_ms),
            ("recovery_timeout", self.recovery_timeout_ms),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        named.chain(times.map(|(name, ms)| (name.to_owned(), format!("{ms}ms").into()))).collect()
    }

    fn durations(&self) -> [(&'static str, u64, u64, u64); 5] {
        const DAY: u64 = 86_400_000;
        [
            ("executor-registration-timeout", self.executor_registration_timeout_ms, 100, DAY),
            (
                "executor-reregistration-timeout",
                self.executor_reregistration_timeout_ms,
                100,
                REREGISTRATION_TIMEOUT_MS_MAX,
            ),
            ("executor-shutdown-grace-period", self.executor_shutdown_grace_ms, 0, DAY),
            ("recovery-timeout", self.recovery_timeout_ms, 1_000, 30 * DAY),
            ("update-repeat", self.update_repeat_ms, 10, 600_000),
        ]
    }
}

/// Where an agent is found, as an operator says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// A name or an address.
    pub(crate) host: String,
    /// The listening one if none.
    pub(crate) port: Option<u16>,
}

impl Advertised {
    /// Reads `host`, `host:port`, `[v6]:port` or a bare address.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidOptions> {
        let wrong = |why: &str| InvalidOptions::Advertise { text: text.to_owned(), why: why.to_owned() };
        let found = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
            (Ok(ip), _) => Self { host: ip.to_string(), port: None },
            (_, Ok(address)) => Self { host: address.ip().to_string(), port: Some(address.port()) },
            _ => match text.split_once(':') {
                Some((host, port)) => {
                    let port = port.parse().map_err(|_| wrong("is not host or host:port"))?;
                    Self { host: host.to_owned(), port: Some(port) }
                }
                None => Self { host: text.to_owned(), port: None },
            },
        };
        if found.host.is_empty() || found.port == Some(0) {
            return Err(wrong("is not host or host:port"));
        }
        if found.host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()) {
            return Err(wrong("means every address of this machine"));
        }
        Ok(found)
    }
}

/// An error that is shown without its chain, with what led to it.
fn with_cause(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Options)) -> Option<String> {
        let mut options = Options::default();
        change(&mut options);
        options.validate().err().map(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_good() {
        assert_eq!(refusal(|_| {}), None);
    }

    #[test]
    fn what_is_refused_names_the_option() {
        let check = |change: fn(&mut Options), option: &str| {
            let text = refusal(change).expect("refused");
            assert!(text.starts_with(option), "{text}");
        };
        check(|it| it.masters.clear(), "masters");
        check(|it| it.masters.push("host".into()), "masters");
        check(|it| it.masters.push("host:0".into()), "masters");
        check(|it| it.listen = "0.0.0.0:5051".parse().unwrap(), "listen");
        check(|it| it.work_dir = "relative".into(), "work-dir");
        check(|it| it.resources = Some("cpus".into()), "resources: ");
        check(|it| it.resources = Some("cpus:-1".into()), "resources: ");
        check(|it| it.attributes = Some("rack".into()), "attributes: ");
        check(|it| it.default_role = "*/a".into(), "default-role: ");
        check(|it| it.domain = Some("eu".into()), "domain: \"eu\" is not REGION/ZONE");
        check(|it| it.executor_reregistration_timeout_ms = 15_001, "executor-reregistration-timeout");
    }

    #[test]
    fn all_addresses_are_fine_when_that_is_wanted_and_one_is_named() {
        let remote =
            |it: &mut Options| (it.listen, it.allow_remote) = ("0.0.0.0:5051".parse().unwrap(), true);
        assert!(refusal(remote).is_some_and(|text| text.contains("advertise")));
        let named = |it: &mut Options| {
            remote(it);
            it.advertise = Some("node-7".to_owned());
        };
        assert_eq!(refusal(named), None);
    }

    #[test]
    fn an_advertised_place_has_a_host_and_may_have_a_port() {
        let table = [
            ("node", Some(("node", None))),
            ("node:5051", Some(("node", Some(5051)))),
            ("10.0.0.7", Some(("10.0.0.7", None))),
            ("10.0.0.7:80", Some(("10.0.0.7", Some(80)))),
            ("::1", Some(("::1", None))),
            ("[::1]:80", Some(("::1", Some(80)))),
            ("", None),
            (":80", None),
            ("node:", None),
            ("node:0", None),
            ("node:x", None),
            ("0.0.0.0", None),
            ("[::]:80", None),
        ];
        for (text, expect) in table {
            let found = Advertised::parse(text).ok();
            let found = found.as_ref().map(|found| (found.host.as_str(), found.port));
            assert_eq!(found, expect, "{text:?}");
        }
    }
}
