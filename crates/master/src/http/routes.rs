//! Which path reaches what.
//!
//! As in Mesos the first segment names a process, and a path that names none belongs to the master: `/state` is
//! `/master/state`. Of unknown nested paths the longest known prefix counts. Nothing climbs up.

/// What a path reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// The v1 scheduler API.
    Scheduler,
    /// The v1 operator API.
    Operator,
    /// A read of the state, by the leader.
    Read(Read),
    /// Where the leader is.
    Redirect,
    /// Whether this master answers.
    Health,
    /// Which version this master is.
    Version,
    /// Metrics as JSON, as Mesos has them.
    MetricsSnapshot,
    /// Metrics for Prometheus.
    Metrics,
    /// Known in Mesos, not there yet.
    Unimplemented(&'static str),
}

/// The reads of the v0 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    State,
    Frameworks,
    Slaves,
    Tasks,
    Roles,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) endpoint: Endpoint,
    /// The path with its process: what a redirect names.
    pub(super) long_path: String,
}

/// Paths with their process. Those of other processes than the master have no alias.
const TABLE: &[(&str, Endpoint)] = &[
    ("/master/api/v1/scheduler", Endpoint::Scheduler),
    ("/master/api/v1", Endpoint::Operator),
    ("/master/state", Endpoint::Read(Read::State)),
    ("/master/frameworks", Endpoint::Read(Read::Frameworks)),
    ("/master/slaves", Endpoint::Read(Read::Slaves)),
    ("/master/tasks", Endpoint::Read(Read::Tasks)),
    ("/master/roles", Endpoint::Read(Read::Roles)),
    ("/master/redirect", Endpoint::Redirect),
    ("/master/health", Endpoint::Health),
    ("/master/state-summary", Endpoint::Unimplemented("/state-summary")),
    ("/master/flags", Endpoint::Unimplemented("/flags")),
    ("/master/quota", Endpoint::Unimplemented("/quota")),
    ("/master/weights", Endpoint::Unimplemented("/weights")),
    ("/master/reserve", Endpoint::Unimplemented("/reserve")),
    ("/master/unreserve", Endpoint::Unimplemented("/unreserve")),
    ("/master/create-volumes", Endpoint::Unimplemented("/create-volumes")),
    ("/master/destroy-volumes", Endpoint::Unimplemented("/destroy-volumes")),
    ("/master/teardown", Endpoint::Unimplemented("/teardown")),
    ("/master/maintenance/schedule", Endpoint::Unimplemented("/maintenance/schedule")),
    ("/master/maintenance/status", Endpoint::Unimplemented("/maintenance/status")),
    ("/master/machine/down", Endpoint::Unimplemented("/machine/down")),
    ("/master/machine/up", Endpoint::Unimplemented("/machine/up")),
    ("/version", Endpoint::Version),
    ("/metrics/snapshot", Endpoint::MetricsSnapshot),
    ("/metrics", Endpoint::Metrics),
];

/// Processes that paths may name.
const PROCESSES: [&str; 3] = ["master", "version", "metrics"];

/// Finds the endpoint of a path.
pub(super) fn resolve(path: &str) -> Option<Route> {
    if path.contains("/..") {
        return None;
    }
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let long_path = match PROCESSES.contains(&first) {
        true => path.to_owned(),
        false => format!("/master{path}"),
    };
    let endpoint = longest_prefix(long_path.trim_end_matches('/'))?;
    // Asking where the leader is must not loop: nothing is below that question.
    let exact = long_path.trim_end_matches('/') == "/master/redirect";
    (endpoint != Endpoint::Redirect || exact).then_some(Route { endpoint, long_path })
}

fn longest_prefix(path: &str) -> Option<Endpoint> {
    let mut rest = path;
    loop {
        if let Some((_, endpoint)) = TABLE.iter().find(|(known, _)| *known == rest) {
            return Some(*endpoint);
        }
        rest = rest.rsplit_once('/')?.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_reach_their_endpoints() {
        let table = [
            ("/api/v1/scheduler", Some(Endpoint::Scheduler)),
            ("/master/api/v1/scheduler", Some(Endpoint::Scheduler)),
            ("/api/v1/scheduler/", Some(Endpoint::Scheduler)),
            ("/api/v1/scheduler/x", Some(Endpoint::Scheduler)),
            ("/api/v1", Some(Endpoint::Operator)),
            ("/api/v1/operator", Some(Endpoint::Operator)),
            ("/api/v1/state", Some(Endpoint::Operator)),
            ("/state", Some(Endpoint::Read(Read::State))),
            ("/master/state", Some(Endpoint::Read(Read::State))),
            ("/master/frameworks/", Some(Endpoint::Read(Read::Frameworks))),
            ("/tasks/", Some(Endpoint::Read(Read::Tasks))),
            ("/slaves/some-id", Some(Endpoint::Read(Read::Slaves))),
            ("/state.json", None),
            ("/master/state.json", None),
            ("/redirect", Some(Endpoint::Redirect)),
            ("/master/redirect", Some(Endpoint::Redirect)),
            ("/redirect/", Some(Endpoint::Redirect)),
            ("/redirect/x", None),
            ("/health", Some(Endpoint::Health)),
            ("/version", Some(Endpoint::Version)),
            ("/metrics", Some(Endpoint::Metrics)),
            ("/metrics/", Some(Endpoint::Metrics)),
            ("/metrics/snapshot", Some(Endpoint::MetricsSnapshot)),
            ("/state/../health", None),
            ("/..", None),
            ("/", None),
            ("", None),
            ("/nothing", None),
            ("/slave(1)/state", None),
        ];
        for (path, expect) in table {
            assert_eq!(resolve(path).map(|route| route.endpoint), expect, "{path}");
        }
    }

    #[test]
    fn the_long_form_is_kept_for_redirects() {
        for (path, expect) in [
            ("/api/v1/scheduler", "/master/api/v1/scheduler"),
            ("/master/state", "/master/state"),
            ("/slaves/x", "/master/slaves/x"),
        ] {
            assert_eq!(resolve(path).expect("known").long_path, expect);
        }
    }
}
