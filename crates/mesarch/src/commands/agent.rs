//! `mesarch agent`: flags become [`mesarch_agent::Options`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use mesarch_agent::{Agent, Options};
use mesarch_client::{leftovers, masters};
use tokio::sync::oneshot;

use crate::commands::{asked_to_stop, exit_with_parent, is_parent, service_logs, service_runtime};
use crate::duration::Span;
use crate::failure::usage;
use crate::port::Port;

const EXAMPLES: &str = "\
Examples:
  mesarch agent --master m1,m2,m3 --work-dir /var/lib/mesarch/agent --listen 10.0.0.7:5051 --allow-remote
  mesarch agent --master m1,m2,m3 --listen 0.0.0.0:5051 --advertise node7.example.org --allow-remote
  mesarch agent --resources 'cpus:4;mem:8192;ports:[31000-32000]' --attributes 'rack:b2;ssd:1'

Tasks outlive a restart of the agent: start it again with the same --work-dir.";

/// Runs one agent: it offers this machine's resources and runs tasks
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The masters' addresses, separated by commas; a missing port means 5050
    #[arg(long, value_name = "ADDRESSES")]
    master: Option<String>,
    /// Where executors and tools are served
    #[arg(long, default_value = "127.0.0.1:5051", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Where executors and others find this agent, if that is not where it listens; needed to listen on 0.0.0.0
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise: Option<String>,
    /// The name by which others reach this machine [default: what is advertised]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Checkpoints and sandboxes
    #[arg(long, default_value_os_t = Options::default().work_dir, value_name = "FOLDER")]
    work_dir: PathBuf,
    /// What is offered, `name(role):value;…`; what it does not name is taken from the machine
    #[arg(long, value_name = "TEXT")]
    resources: Option<String>,
    /// What frameworks may know about this machine, `name:value;…`
    #[arg(long, value_name = "TEXT")]
    attributes: Option<String>,
    /// The role of resources that name none
    #[arg(long, default_value_t = Options::default().default_role, value_name = "ROLE")]
    default_role: String,
    /// Where this machine stands; only frameworks that are aware of regions are offered it from another region than the
    /// leader's [default: where the leader is]
    #[arg(long, value_name = "REGION/ZONE")]
    domain: Option<String>,
    #[command(flatten)]
    timing: Timing,
    #[command(flatten)]
    port: Port,
    /// Listen on addresses that other machines reach, without authentication: whoever reaches them rules this machine
    #[arg(long)]
    allow_remote: bool,
    #[arg(long, hide = true, value_name = "PID")]
    exit_with_parent: Option<i32>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Times, such as 500ms, 5secs or 10mins")]
struct Timing {
    /// From an executor's start to its subscription
    #[arg(long, default_value_t = Span::from_ms(Options::default().executor_registration_timeout_ms), value_name = "TIME")]
    executor_registration_timeout: Span,
    /// From the agent's restart to an executor's return, at most 15secs
    #[arg(long, default_value_t = Span::from_ms(Options::default().executor_reregistration_timeout_ms), value_name = "TIME")]
    executor_reregistration_timeout: Span,
    /// From the order to end to SIGKILL
    #[arg(long, default_value_t = Span::from_ms(Options::default().executor_shutdown_grace_ms), value_name = "TIME")]
    executor_shutdown_grace_period: Span,
    /// How long executors wait for an agent that is gone
    #[arg(long, default_value_t = Span::from_ms(Options::default().recovery_timeout_ms), value_name = "TIME")]
    recovery_timeout: Span,
    /// First interval after which an unacknowledged update is sent again
    #[arg(long, default_value_t = Span::from_ms(Options::default().update_repeat_ms), value_name = "TIME")]
    update_repeat: Span,
}

/// Until it is asked to stop; tasks go on.
pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    service_logs(log)?;
    let parent = arguments.exit_with_parent;
    exit_with_parent(parent)?;
    let options = options(arguments)?;
    options.validate().map_err(|error| usage(format!("--{error}")))?;
    let work_dir = options.work_dir.clone();
    let ended = service_runtime()?.block_on(serve(options));
    if parent.is_some_and(|parent| !is_parent(parent)) {
        // Whoever ran this cluster was killed, and nobody will start this agent again: its tasks end with it.
        leftovers::end_all(&work_dir);
    }
    ended
}

async fn serve(options: Options) -> Result<ExitCode> {
    let exporter = mesarch_telemetry::install()?;
    mesarch_telemetry::names::record_start("agent", env!("CARGO_PKG_VERSION"));
    let upkeep = exporter.run_upkeep();
    let agent = Agent::new(options).context("cannot start the agent")?;
    let agent = agent.with_metrics(Arc::new(move || exporter.render()));
    let (stop, stopped) = oneshot::channel::<()>();
    let signals = tokio::spawn(async move {
        let signal = asked_to_stop().await;
        tracing::info!(?signal, "asked to stop; tasks go on");
        drop(stop);
    });
    let ended = agent.run(async { drop(stopped.await) }).await;
    signals.abort();
    upkeep.abort();
    ended.context("the agent ended")?;
    Ok(ExitCode::SUCCESS)
}

fn options(arguments: Arguments) -> Result<Options> {
    let masters = masters::resolve(arguments.master.as_deref()).map_err(|error| usage(error.to_string()))?;
    let work_dir =
        std::path::absolute(&arguments.work_dir).map_err(|error| usage(format!("--work-dir: {error}")))?;
    let timing = arguments.timing;
    Ok(Options {
        masters,
        listen: arguments.listen,
        allow_remote: arguments.allow_remote,
        advertise: arguments.advertise,
        hostname: arguments.hostname,
        work_dir,
        resources: arguments.resources,
        attributes: arguments.attributes,
        default_role: arguments.default_role,
        domain: arguments.domain,
        executor_program: None,
        executor_registration_timeout_ms: timing.executor_registration_timeout.as_ms(),
        executor_reregistration_timeout_ms: timing.executor_reregistration_timeout.as_ms(),
        executor_shutdown_grace_ms: timing.executor_shutdown_grace_period.as_ms(),
        recovery_timeout_ms: timing.recovery_timeout.as_ms(),
        update_repeat_ms: timing.update_repeat.as_ms(),
        port: arguments.port.or(&Options::default().port),
    })
}
