//! `mesarch master`: flags become [`mesarch_master::Options`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args as _;
use mesarch_master::{Domain, Master, MasterAddress, Options, Registry};
use mesarch_types::FaultDomain;

use crate::commands::{asked_to_stop, exit_with_parent, service_logs, service_runtime};
use crate::duration::Span;
use crate::failure::usage;
use crate::port::Port;

const EXAMPLES: &str = "\
Examples:
  A cluster of one master, for trying things out:
    mesarch master --data-dir /var/lib/mesarch --bootstrap
  The first of three; the other two start without --bootstrap and --initial-masters, with their own --node-id:
    mesarch master --node-id 1 --data-dir /var/lib/mesarch --listen 10.0.0.1:5050 --raft-listen 10.0.0.1:5052 \\
      --allow-remote --bootstrap \\
      --initial-masters '1=10.0.0.1:5052/5050,2=10.0.0.2:5052/5050,3=10.0.0.3:5052/5050'
  After the first start, --bootstrap and --initial-masters are dropped: the data directory knows.
  A further one, or one in place of a lost one: with a number that was never used, an empty folder and no --bootstrap;
  it waits until `mesarch members add` makes it a member.";

/// Runs one master: it serves agents, frameworks and operators while it leads, and sends them to the leader otherwise
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// This master's number, unique in the cluster and bound to its data directory; never reuse one with another disk
    #[arg(long, default_value_t = 1, value_name = "N")]
    node_id: u64,
    /// Where agents, frameworks and operators are served
    #[arg(long, default_value = "127.0.0.1:5050", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Where the other masters are served
    #[arg(long, default_value = "127.0.0.1:5052", value_name = "IP:PORT")]
    raft_listen: SocketAddr,
    /// Host name or address under which other machines reach this one
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// The log, the snapshots and this master's identity
    #[arg(long, alias = "work-dir", default_value = "mesarch-master", value_name = "FOLDER")]
    data_dir: PathBuf,
    /// The cluster's name, shown to people
    #[arg(long, default_value = "", value_name = "NAME")]
    cluster: String,
    /// The first members, read with --bootstrap only: number=host:raftport/clientport, separated by commas
    #[arg(long, default_value = "", value_name = "LIST")]
    initial_masters: String,
    /// Makes a new cluster. Exactly once in a cluster's life, on one of the initial masters
    #[arg(long)]
    bootstrap: bool,
    #[command(flatten)]
    timing: Timing,
    /// Most agents that become unreachable per second
    #[arg(long, default_value_t = Options::default().agent_removals_per_second_max, value_name = "N")]
    agent_removals_per_second_max: u32,
    /// Most offers per second
    #[arg(long, default_value_t = Options::default().offers_per_second_max, value_name = "N")]
    offers_per_second_max: u32,
    #[command(flatten)]
    sharing: Sharing,
    #[command(flatten)]
    advanced: Advanced,
    #[command(flatten)]
    port: Port,
    /// Wait for the election timeout even when the leader's machine says that its process is gone
    #[arg(long)]
    no_crash_detector: bool,
    /// Listen on addresses that other machines reach, without authentication: whoever reaches them rules the cluster
    #[arg(long)]
    allow_remote: bool,
    #[arg(long, hide = true, value_name = "PID")]
    exit_with_parent: Option<i32>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Times, such as 500ms, 5secs or 10mins")]
struct Timing {
    /// How often a leader shows that it lives
    #[arg(long, default_value_t = Span::from_ms(Options::default().heartbeat_ms), value_name = "TIME")]
    heartbeat: Span,
    /// Shortest silence of the leader before another master stands for election
    #[arg(long, default_value_t = Span::from_ms(Options::default().election_min_ms), value_name = "TIME")]
    election_min: Span,
    /// Longest such silence
    #[arg(long, default_value_t = Span::from_ms(Options::default().election_max_ms), value_name = "TIME")]
    election_max: Span,
    /// After a change of leader no framework expires before this
    #[arg(long, default_value_t = Span::from_ms(Options::default().framework_reregister_timeout_ms), value_name = "TIME")]
    framework_reregister_timeout: Span,
    /// How long an agent may be away before it is unreachable
    #[arg(long, default_value_t = Span::from_ms(Options::default().agent_reregister_timeout_ms), value_name = "TIME")]
    agent_reregister_timeout: Span,
    /// How long an agent has to answer a ping
    #[arg(long, default_value_t = Span::from_ms(Options::default().agent_ping_timeout_ms), value_name = "TIME")]
    agent_ping_timeout: Span,
    /// So many unanswered pings in a row make an agent unreachable
    #[arg(long, default_value_t = Options::default().max_agent_ping_timeouts, value_name = "N")]
    max_agent_ping_timeouts: u32,
    /// How long declined resources wait before they are offered again
    #[arg(long, default_value_t = Span::from_ms(Options::default().allocation_interval_ms), value_name = "TIME")]
    allocation_interval: Span,
    /// Take offers back that are not answered within this time
    #[arg(long, value_name = "TIME")]
    offer_timeout: Option<Span>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Sharing")]
struct Sharing {
    /// The policy that a new cluster starts with: drf, priority or random; `mesarch policy set` changes it later
    #[arg(long, default_value_t = Options::default().allocator, value_name = "NAME")]
    allocator: String,
    /// An offer holds at least one of these, unless its framework says otherwise; empty: anything
    #[arg(long, default_value_t = Options::default().min_allocatable_resources, value_name = "AMOUNTS|…")]
    min_allocatable_resources: String,
    /// Kinds of resources that do not count in shares, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    fair_sharing_excluded_resource_names: Vec<String>,
    /// Whether agents with gpus are offered only to frameworks with the capability GPU_RESOURCES
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    filter_gpu_resources: bool,
    /// Where this master stands; agents of another region are for frameworks that are aware of regions
    #[arg(long, value_name = "REGION/ZONE")]
    domain: Option<String>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Advanced")]
struct Advanced {
    /// Take a snapshot after so many log entries, 10 to 1000000; a fifth of them is kept for masters that lag a little
    #[arg(long, default_value_t = Options::default().snapshot_entries, value_name = "N")]
    snapshot_entries: u64,
    /// Compare the masters' states once in so much time, 100ms to 1days; the same for all of them
    #[arg(long, default_value_t = Span::from_ms(Options::default().state_digest_interval_ms), value_name = "TIME")]
    state_digest_interval: Span,
    /// Let the cluster rise to no higher feature level than this, so that an older version can be gone back to
    #[arg(long, default_value_t = Options::default().feature_level_max, value_name = "N")]
    feature_level_max: u32,
}

/// Until it is asked to stop; then it hands over its leadership.
pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> anyhow::Result<ExitCode> {
    service_logs(log)?;
    exit_with_parent(arguments.exit_with_parent)?;
    let options = options(arguments)?;
    options.validate().map_err(|error| usage(named_as_flags(&error.to_string())))?;
    service_runtime()?.block_on(serve(options))
}

async fn serve(options: Options) -> anyhow::Result<ExitCode> {
    let exporter = mesarch_telemetry::install()?;
    mesarch_telemetry::names::record_start("master", env!("CARGO_PKG_VERSION"));
    let upkeep = exporter.run_upkeep();
    let mut master = Master::start(options, exporter).await.context("cannot start the master")?;
    tokio::select! {
        ended = master.wait() => ended.context("the master ended")?,
        signal = asked_to_stop() => {
            tracing::info!(signal = ?signal?, "asked to stop");
            master.shutdown().await;
        }
    }
    upkeep.abort();
    Ok(ExitCode::SUCCESS)
}

fn options(arguments: Arguments) -> anyhow::Result<Options> {
    let (timing, sharing, advanced) = (arguments.timing, arguments.sharing, arguments.advanced);
    Registry::builtin().make(&sharing.allocator).map_err(|error| usage(format!("--allocator: {error}")))?;
    Ok(Options {
        node_id: arguments.node_id,
        listen: arguments.listen,
        raft_listen: arguments.raft_listen,
        advertise: arguments.advertise,
        data_dir: arguments.data_dir,
        cluster: arguments.cluster,
        initial_masters: parse_masters(&arguments.initial_masters, "--initial-masters")?,
        bootstrap: arguments.bootstrap,
        heartbeat_ms: timing.heartbeat.as_ms(),
        election_min_ms: timing.election_min.as_ms(),
        election_max_ms: timing.election_max.as_ms(),
        crash_detector: !arguments.no_crash_detector,
        snapshot_entries: advanced.snapshot_entries,
        state_digest_interval_ms: advanced.state_digest_interval.as_ms(),
        feature_level_max: advanced.feature_level_max,
        framework_reregister_timeout_ms: timing.framework_reregister_timeout.as_ms(),
        agent_reregister_timeout_ms: timing.agent_reregister_timeout.as_ms(),
        agent_ping_timeout_ms: timing.agent_ping_timeout.as_ms(),
        max_agent_ping_timeouts: timing.max_agent_ping_timeouts,
        agent_removals_per_second_max: arguments.agent_removals_per_second_max,
        allocation_interval_ms: timing.allocation_interval.as_ms(),
        offers_per_second_max: arguments.offers_per_second_max,
        offer_timeout_ms: timing.offer_timeout.map(Span::as_ms),
        allocator: sharing.allocator,
        min_allocatable_resources: sharing.min_allocatable_resources,
        fair_sharing_excluded_resource_names: sharing
            .fair_sharing_excluded_resource_names
            .into_iter()
            .collect(),
        filter_gpu_resources: sharing.filter_gpu_resources,
        domain: sharing.domain.as_deref().map(parse_domain).transpose()?,
        port: arguments.port.or(&Options::default().port),
        allow_remote: arguments.allow_remote,
    })
}

/// The library names its settings; people know them by their flags.
fn named_as_flags(text: &str) -> String {
    let command = Arguments::augment_args(clap::Command::new("master"));
    let flags: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = |word: &str| {
        let dashed = word.trim_end_matches("_ms").replace('_', "-");
        if flags.contains(&dashed.as_str()) { format!("--{dashed}") } else { word.to_owned() }
    };
    let words = text.split_inclusive(|c| !is_name(c)).map(|piece| {
        let word = piece.trim_end_matches(|c| !is_name(c));
        name(word) + &piece[word.len()..]
    });
    words.collect()
}

fn parse_domain(text: &str) -> anyhow::Result<Domain> {
    let domain: FaultDomain = text.parse().map_err(|error| usage(format!("--domain: {error}")))?;
    Ok(Domain { region: domain.region.to_string(), zone: domain.zone.to_string() })
}

/// `1=host:raftport/clientport,…`; empty text is no masters. `flag` names it in an error.
pub(super) fn parse_masters(text: &str, flag: &str) -> anyhow::Result<BTreeMap<u64, MasterAddress>> {
    let mut masters = BTreeMap::new();
    for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
        let wrong = || usage(format!("{flag}: {piece:?} is not number=host:raftport/clientport"));
        let (node, rest) = piece.split_once('=').ok_or_else(wrong)?;
        let (raft, client_port) = rest.rsplit_once('/').ok_or_else(wrong)?;
        let (host, raft_port) = raft.rsplit_once(':').ok_or_else(wrong)?;
        let node: u64 = node.trim().parse().map_err(|_| wrong())?;
        let ports_are_good =
            [raft_port, client_port].iter().all(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if host.is_empty() || !ports_are_good {
            return Err(wrong());
        }
        let address = MasterAddress { raft: raft.to_owned(), client: format!("{host}:{client_port}") };
        if masters.insert(node, address).is_some() {
            return Err(usage(format!("{flag}: number {node} is given twice")));
        }
    }
    Ok(masters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_refuses_is_told_by_its_flag() {
        let told = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            named_as_flags(&options.validate().unwrap_err().to_string())
        };
        assert_eq!(told(|it| it.node_id = 0), "--node-id must be above zero");
        assert_eq!(told(|it| it.port.idle_timeout_ms = 0), "--idle-timeout must be from 1000 to 86400000");
        let elections = told(|it| it.heartbeat_ms = 0);
        assert!(
            elections.starts_with("--heartbeat, --election-min and --election-max must be"),
            "{elections}"
        );
        let remote = told(|it| it.raft_listen = ([10, 0, 0, 1], 1).into());
        assert!(remote.starts_with("--raft-listen is 10.0.0.1, which other machines reach"), "{remote}");
        assert!(remote.ends_with("set --allow-remote to accept that"), "{remote}");
    }

    #[test]
    fn a_domain_is_a_region_and_a_zone() {
        let domain = parse_domain("eu/hall-2").unwrap();
        assert_eq!((domain.region.as_str(), domain.zone.as_str()), ("eu", "hall-2"));
        let error = parse_domain("eu").unwrap_err().to_string();
        assert_eq!(error, "--domain: \"eu\" is not REGION/ZONE");
    }

    #[test]
    fn initial_masters_are_read_or_refused_by_name() {
        let masters = parse_masters("1=10.0.0.1:5052/5050, 2=m2:7/8,", "--initial-masters").unwrap();
        assert_eq!(
            masters[&1],
            MasterAddress { raft: "10.0.0.1:5052".into(), client: "10.0.0.1:5050".into() }
        );
        assert_eq!(masters[&2], MasterAddress { raft: "m2:7".into(), client: "m2:8".into() });
        assert!(parse_masters("", "--initial-masters").unwrap().is_empty());
        for wrong in ["1", "x=h:1/2", "1=h:1", "1=h/2", "1=:1/2", "1=h:x/2", "1=h:1/0"] {
            let error = parse_masters(wrong, "--initial-masters").unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
        assert!(
            parse_masters("1=h:1/2,1=h:3/4", "--initial-masters").unwrap_err().to_string().contains("twice")
        );
    }
}
