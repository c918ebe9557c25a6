//! The agent as its caller sees it: made from options, run until shut down.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use mesarch_agent_core::{self as core, Config, Record};
use mesarch_mesos_v1::convert::resources_from_v1;
use mesarch_types::{Millis, Resources};
use tokio::sync::{mpsc, watch};

use crate::{
    InvalidOptions, Options,
    calls::Calls,
    checkpoint::{Checkpoint, CheckpointError},
    containerizer::posix::Posix,
    environment::Common,
    history::History,
    http,
    info::Identity,
    launch::Rules,
    link::{Follower, OtherCluster},
    providers::{self, Providers, Publishing},
    requests::REQUESTS_MAX,
    runner::{Clock, Decided, Facts, Runner, RunnerEnd},
    status::Renderer,
    streams::Streams,
    tasks::Tasks,
    volumes::VolumeError,
    wire::Speaker,
};

/// Renders `/metrics`.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// An agent that has its work directory and its address, and does not run yet.
pub struct Agent {
    options: Options,
    program: PathBuf,
    listener: TcpListener,
    identity: Identity,
    checkpoint: Checkpoint,
    records: Vec<Record>,
    metrics: Option<RenderMetrics>,
}

/// Why an agent cannot start. The texts name the option or the path.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An option is wrong.
    #[error(transparent)]
    Options(#[from] InvalidOptions),
    /// The work directory cannot be used.
    #[error(transparent)]
    WorkDir(#[from] CheckpointError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// As asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Reservations and volumes rest on more than the agent brings now.
    #[error(
        "resources: {brought} no longer have {taken}, which are reserved or made into volumes; bring them back, or undo \
         the reservations first"
    )]
    Shrunk {
        /// By flag and machine.
        brought: Resources,
        /// What the masters made other resources of.
        taken: Resources,
    },
    /// The path of this very program is unknown, and no other was given.
    #[error("the path of this program cannot be found; name one that has the executor subcommands")]
    Program(#[source] io::Error),
}

/// Why a running agent ended. Executors of checkpointing frameworks go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The checkpoint cannot be written: nothing more may be promised.
    #[error("the checkpoint failed")]
    Checkpoint(#[source] CheckpointError),
    /// A persistent volume cannot be made or wiped: what the masters count on would not be so.
    #[error("a persistent volume failed")]
    Volumes(#[source] VolumeError),
    /// Whoever leads at these addresses leads another cluster than the one that the work directory belongs to.
    #[error(
        "{work_dir} belongs to an agent of another cluster than the one at {masters}; name the masters of its own \
         cluster, or an empty work directory to join this one as a new agent"
    )]
    OtherCluster {
        /// Whose agent this is.
        work_dir: PathBuf,
        /// Who was asked.
        masters: String,
    },
    /// The masters do not take this agent any more, and nothing of it runs.
    #[error("the masters ended this agent: {0}")]
    ShutDown(Arc<str>),
    /// The HTTP server failed.
    #[error("the HTTP server failed")]
    Http(#[source] io::Error),
    /// A task of the agent panicked.
    #[error("a part of the agent ended unexpectedly")]
    Broken,
}

impl Agent {
    /// Validates the options, locks and reads the work directory, and binds the address.
    ///
    /// # Errors
    /// When any of these fails; nothing is left behind then.
    pub fn new(options: Options) -> Result<Self, StartError> {
        options.validate()?;
        let program = match &options.executor_program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(StartError::Program)?,
        };
        let (checkpoint, records) = Checkpoint::open(&options.work_dir)?;
        let failed = |source| StartError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let identity = Identity::new(&options, listener.local_addr().map_err(failed)?)?;
        check_total(&identity, &records)?;
        Ok(Self { options, program, listener, identity, checkpoint, records, metrics: None })
    }

    /// Serves `/metrics` with what this renders.
    pub fn with_metrics(mut self, render: RenderMetrics) -> Self {
        self.metrics = Some(render);
        self
    }

    /// Where the API is found: what was advertised, or where it listens, with the kernel's choice if port 0 was asked
    /// for.
    pub fn address(&self) -> SocketAddr {
        self.identity.address
    }

    /// Runs until `shutdown` is done, which leaves executors running, or until something ends it.
    ///
    /// # Errors
    /// See [`RunError`]; a failed checkpoint and another cluster's masters are final.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(RunError::Http)?;
        let tasks = Tasks::default();
        let clock = Clock::start();
        let (work_dir, flags) = (self.options.work_dir.clone(), self.options.flags());
        let facts = Arc::new(Facts::new(work_dir.clone(), flags, clock.now().wall));
        let site = {
            let bodies = self.options.port.body_limits();
            http::Site::new(sender.clone(), self.metrics, facts.clone(), tasks.clone(), bodies)
        };
        let rules = rules(&self.options, &self.program);
        let follower = Follower::new(&self.options.masters, sender.clone(), rules, &tasks);
        let common = common(&self.options, &self.identity);
        let masters = self.options.masters.join(",");
        tracing::info!(address = %self.identity.address, work_dir = %work_dir.display(), %masters, "this agent serves");
        let stray = RunError::OtherCluster { work_dir: work_dir.clone(), masters };
        let posix = Posix::new(work_dir, self.program, common, sender.clone(), tasks.clone());
        let history = History::of(&self.records);
        let (core, outputs) = core::Agent::recover(config(&self.options), clock.now(), self.records);
        let renderer = Renderer { agent: core.id().cloned(), ip: self.identity.address.ip() };
        let speaker = Speaker { identity: self.identity, nonce: self.checkpoint.nonce(), renderer };
        let providers = Providers::new(core.durable(), sender.clone(), tasks.clone());
        tasks.spawn("clock of resource providers", providers::clock(sender.clone()));
        let runner = Runner {
            core,
            providers,
            publishing: Publishing::default(),
            calls: Calls::default(),
            gone: Vec::new(),
            incarnation: None,
            requests_again: sender.clone(),
            tasks: tasks.clone(),
            checkpoint: Some(self.checkpoint),
            clock,
            requests,
            streams: Streams::new(sender, tasks.clone()),
            posix,
            speaker,
            history,
            facts,
            link: None,
            decided: outputs.into_iter().map(Decided::early).collect(),
            detached: Some(Instant::now()),
        };
        let (stop, stopping) = watch::channel(false);
        let serving = http::serve(listener, site, self.options.port.clone(), stopping);
        tokio::pin!(serving);
        let ended = tokio::select! {
            ended = runner.run() => match ended {
                Ok(never) => match never {},
                Err(end) => Err(end.into()),
            },
            OtherCluster = follower.run() => Err(stray),
            () = serving.as_mut() => Err(RunError::Broken),
            () = shutdown => Ok(()),
        };
        // With the runner the streams of executors have ended. What is being answered may finish, for a moment.
        if !matches!(ended, Err(RunError::Broken)) {
            stop.send_replace(true);
            serving.await;
        }
        tasks.end().await;
        ended
    }
}

impl From<RunnerEnd> for RunError {
    fn from(end: RunnerEnd) -> Self {
        match end {
            RunnerEnd::Checkpoint(error) => Self::Checkpoint(error),
            RunnerEnd::ShutDown(reason) => Self::ShutDown(reason),
            RunnerEnd::Volumes(error) => Self::Volumes(error),
            RunnerEnd::Broken => Self::Broken,
        }
    }
}

/// An agent that brings less than was made into something else would lose it without a word.
fn check_total(identity: &Identity, records: &[Record]) -> Result<(), StartError> {
    let stored = records.iter().rev().find_map(|record| match record {
        Record::Resources(facts) => Some(facts),
        _ => None,
    });
    let Some(stored) = stored else { return Ok(()) };
    let brought = resources_from_v1(&identity.info.resources).unwrap_or_default();
    match brought.contains(&stored.taken) {
        true => Ok(()),
        false => Err(StartError::Shrunk { brought, taken: stored.taken.clone() }),
    }
}

fn config(options: &Options) -> Config {
    Config {
        registration_timeout: Millis(options.executor_registration_timeout_ms),
        reregistration_timeout: Millis(options.executor_reregistration_timeout_ms),
        repeat_first: Millis(options.update_repeat_ms),
        ..Config::default()
    }
}

fn rules(options: &Options, program: &Path) -> Rules {
    let shutdown_grace = Millis(options.executor_shutdown_grace_ms);
    Rules { shutdown_grace, program: program.display().to_string() }
}

fn common(options: &Options, identity: &Identity) -> Common {
    Common {
        address: identity.address,
        pid: identity.pid(),
        recovery_timeout: Millis(options.recovery_timeout_ms),
        backoff_max: Millis(options.executor_reregistration_timeout_ms),
    }
}
