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
    /// A change of the state, by the leader.
    Change(Change),
    /// What any master says of itself.
    Local(Local),
    /// Known in Mesos, not there yet; asked of the leader.
    Unimplemented(&'static str),
    /// The same, of any master.
    UnimplementedHere(&'static str),
}

/// The reads of the v0 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Read {
    State,
    Summary,
    Frameworks,
    Slaves,
    Tasks,
    Roles,
    Quota,
    Weights,
    MaintenanceSchedule,
    MaintenanceStatus,
    Registry,
}

/// The changes of the v0 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Quota,
    Weights,
    Reserve,
    Unreserve,
    CreateVolumes,
    DestroyVolumes,
    Teardown,
    MaintenanceSchedule,
    MachineDown,
    MachineUp,
}

/// What needs no leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Local {
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
    /// The settings of this master.
    Flags,
    /// Who belongs to the cluster, and how they do: from the leader, unless what any master knows is asked for.
    Members,
    /// The endpoints.
    Help,
    /// How much this master logs.
    Logging,
    /// The machine.
    System,
    /// Files that are attached: none.
    Files,
    /// Names of files that are attached.
    FileNames,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) endpoint: Endpoint,
    /// The path with its process: what a redirect names.
    pub(super) long_path: String,
}

/// Paths with their process, what they reach, and what they are for. Those of other processes than the master have no
/// alias.
const TABLE: &[(&str, Endpoint, &str)] = &[
    ("/master/api/v1/scheduler", Endpoint::Scheduler, "the v1 scheduler API"),
    ("/master/api/v1", Endpoint::Operator, "the v1 operator API"),
    ("/master/state", Endpoint::Read(Read::State), "the whole state"),
    ("/master/state-summary", Endpoint::Read(Read::Summary), "agents and frameworks with counts of tasks"),
    ("/master/frameworks", Endpoint::Read(Read::Frameworks), "frameworks; framework_id"),
    ("/master/slaves", Endpoint::Read(Read::Slaves), "agents; slave_id"),
    ("/master/tasks", Endpoint::Read(Read::Tasks), "tasks; framework_id, task_id, limit, offset, order"),
    ("/master/roles", Endpoint::Read(Read::Roles), "roles with weight, quota and resources"),
    ("/master/quota", Endpoint::Read(Read::Quota), "quota: GET, POST, and DELETE of /master/quota/ROLE"),
    ("/master/weights", Endpoint::Read(Read::Weights), "weights: GET and PUT"),
    ("/master/reserve", Endpoint::Change(Change::Reserve), "POST slaveId, resources"),
    ("/master/unreserve", Endpoint::Change(Change::Unreserve), "POST slaveId, resources"),
    ("/master/create-volumes", Endpoint::Change(Change::CreateVolumes), "POST slaveId, volumes"),
    ("/master/destroy-volumes", Endpoint::Change(Change::DestroyVolumes), "POST slaveId, volumes"),
    ("/master/teardown", Endpoint::Change(Change::Teardown), "POST frameworkId"),
    (
        "/master/maintenance/schedule",
        Endpoint::Read(Read::MaintenanceSchedule),
        "planned maintenance: GET and POST",
    ),
    ("/master/maintenance/status", Endpoint::Read(Read::MaintenanceStatus), "machines in maintenance"),
    ("/master/machine/down", Endpoint::Change(Change::MachineDown), "POST machines that go down"),
    ("/master/machine/up", Endpoint::Change(Change::MachineUp), "POST machines that are up again"),
    ("/master/redirect", Endpoint::Local(Local::Redirect), "sends to the leader"),
    ("/master/health", Endpoint::Local(Local::Health), "200 while this master answers"),
    (
        "/master/v1/members",
        Endpoint::Local(Local::Members),
        "members with role and health; consistency=stale",
    ),
    ("/master/flags", Endpoint::Local(Local::Flags), "settings of this master"),
    ("/registrar(1)/registry", Endpoint::Read(Read::Registry), "what outlives a leader, in short"),
    (
        "/allocator/offer_constraints_debug",
        Endpoint::Unimplemented("/allocator/offer_constraints_debug"),
        NOT_THERE,
    ),
    ("/version", Endpoint::Local(Local::Version), "version of the API and of this master"),
    ("/metrics/snapshot", Endpoint::Local(Local::MetricsSnapshot), "metrics as JSON; timeout"),
    ("/metrics", Endpoint::Local(Local::Metrics), "metrics for Prometheus"),
    ("/files/browse", Endpoint::Local(Local::Files), "files; path"),
    ("/files/read", Endpoint::Local(Local::Files), "a part of a file; path, offset, length"),
    ("/files/download", Endpoint::Local(Local::Files), "a whole file; path"),
    ("/files/debug", Endpoint::Local(Local::FileNames), "names of files"),
    ("/logging/toggle", Endpoint::Local(Local::Logging), "how much is logged; level with duration"),
    ("/system/stats.json", Endpoint::Local(Local::System), "load, processors and memory of the machine"),
    ("/help", Endpoint::Local(Local::Help), "this list; format=json"),
    ("/profiler/start", Endpoint::UnimplementedHere("/profiler"), NOT_THERE),
    ("/profiler/stop", Endpoint::UnimplementedHere("/profiler"), NOT_THERE),
    ("/memory-profiler", Endpoint::UnimplementedHere("/memory-profiler"), NOT_THERE),
    ("/__processes__", Endpoint::UnimplementedHere("/__processes__"), NOT_THERE),
];

/// Said of endpoints of Mesos' that answer 501.
const NOT_THERE: &str = "not implemented";

/// Processes that paths may name.
const PROCESSES: [&str; 12] = [
    "master",
    "version",
    "metrics",
    "files",
    "logging",
    "system",
    "help",
    "registrar(1)",
    "allocator",
    "profiler",
    "memory-profiler",
    "__processes__",
];

/// All endpoints, and what they are for.
pub(super) fn endpoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().map(|(path, _, text)| (*path, *text))
}

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
    (endpoint != Endpoint::Local(Local::Redirect) || exact).then_some(Route { endpoint, long_path })
}

fn longest_prefix(path: &str) -> Option<Endpoint> {
    let mut rest = path;
    loop {
        if let Some((_, endpoint, _)) = TABLE.iter().find(|(known, ..)| *known == rest) {
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
            ("/redirect", Some(Endpoint::Local(Local::Redirect))),
            ("/master/redirect", Some(Endpoint::Local(Local::Redirect))),
            ("/redirect/", Some(Endpoint::Local(Local::Redirect))),
            ("/redirect/x", None),
            ("/v1/members", Some(Endpoint::Local(Local::Members))),
            ("/v1", None),
            ("/health", Some(Endpoint::Local(Local::Health))),
            ("/version", Some(Endpoint::Local(Local::Version))),
            ("/metrics", Some(Endpoint::Local(Local::Metrics))),
            ("/metrics/", Some(Endpoint::Local(Local::Metrics))),
            ("/metrics/snapshot", Some(Endpoint::Local(Local::MetricsSnapshot))),
            ("/state-summary", Some(Endpoint::Read(Read::Summary))),
            ("/quota/eng", Some(Endpoint::Read(Read::Quota))),
            ("/help/master/state", Some(Endpoint::Local(Local::Help))),
            ("/registrar(1)/registry", Some(Endpoint::Read(Read::Registry))),
            ("/master/registrar", None),
            ("/system/stats", None),
            ("/master/version", None),
            ("/logging/toggle", Some(Endpoint::Local(Local::Logging))),
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
