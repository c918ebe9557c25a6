//! A framework that prefers agents that hold its input, and waits only so long for one: delay scheduling.
//!
//! ```sh
//! mesarch dev --agents 3        # tells the agents' addresses; in another terminal:
//! cargo run --release -p mesarch-client --example delay_scheduling -- --input 127.0.0.1:PORT --wait 5s --tasks 4
//! ```
//!
//! Reading from the own disk beats reading over the network, and agents come free all the time. So a framework that turns an
//! offer down now is soon offered a better one, and the rest of the cluster loses nothing: others are offered what it
//! declined. The rule has three parts:
//!
//! 1. An offer of an agent with input is taken, and the patience is whole again.
//! 2. Any other is declined with a *short* filter: the agent comes back soon, for by then it may be good enough. The first
//!    such decline starts the clock.
//! 3. Once the clock has run for `--wait`, any agent will do, until one with input comes again. So work never starves.
//!
//! Nothing has to wake the framework when the wait is over: the filters are so short that the next offer is near.
//! What this buys on a large cluster shows `mesarch-bench delay-scheduling`.
#![expect(clippy::print_stdout, reason = "its result")]

use std::{
    error::Error,
    time::{Duration, Instant},
};

use clap::Parser;
use mesarch_client::{
    build::{TaskBuilder, carve, framework, is_terminal},
    masters,
    scheduler::{Calls, Event, Options, Scheduler},
    v1::{Offer, TaskInfo, TaskState, TaskStatus},
};

/// How long an agent without input is not offered again.
const REFUSE_SHORT: Duration = Duration::from_secs(1);
const CPUS: f64 = 0.1;
const MEM_MB: f64 = 32.0;

#[derive(Parser)]
struct Args {
    /// Masters, `host:port,…`; found as every tool finds them if not given.
    #[arg(long)]
    master: Option<String>,
    /// Who holds the input: host names, `host:port` of agents, or attributes as `name:text`.
    #[arg(long, required = true, value_delimiter = ',')]
    input: Vec<String>,
    /// How long to wait for one of them, in seconds: `5s`, `0.5s`, `0s` for not at all.
    #[arg(long, default_value = "5s", value_parser = seconds)]
    wait: Duration,
    /// How many tasks to run.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tasks: u32,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| "not like `5s`".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

/// The tasks that are left, and the patience.
struct Job {
    args: Args,
    launched: u32,
    finished: u32,
    local: u32,
    /// When the first agent was turned down, if none with input came since.
    waiting_since: Option<Instant>,
}

impl Job {
    fn has_input(&self, offer: &Offer) -> bool {
        let address = offer.url.as_ref().map(|url| &url.address);
        let socket = address.map(|at| {
            let host = at.ip.as_ref().or(at.hostname.as_ref()).unwrap_or(&offer.hostname);
            format!("{host}:{}", at.port)
        });
        let attributes = offer.attributes.iter().filter_map(|attribute| {
            attribute.text.as_ref().map(|text| format!("{}:{}", attribute.name, text.value))
        });
        let names: Vec<String> = attributes.chain(socket).chain([offer.hostname.clone()]).collect();
        self.args.input.iter().any(|input| names.contains(input))
    }

    /// Takes an offer with as many tasks as it holds, or declines it.
    async fn answer(&mut self, calls: &Calls, offer: Offer) -> Result<(), Box<dyn Error>> {
        let is_local = self.has_input(&offer);
        if is_local || self.launched == self.args.tasks {
            self.waiting_since = None;
        } else if self.waiting_since.get_or_insert_with(Instant::now).elapsed() < self.args.wait {
            println!("declined {}: no input there", offer.agent_id.value);
            return Ok(calls.decline([offer.id], Some(REFUSE_SHORT)).await?);
        }
        let tasks = self.tasks_for(&offer);
        if tasks.is_empty() {
            return Ok(calls.decline([offer.id], None).await?);
        }
        let (count, place) = (tasks.len() as u32, if is_local { "with" } else { "without" });
        println!("{count} tasks on {}, {place} input", offer.agent_id.value);
        calls.launch([offer.id], tasks).await?;
        self.launched += count;
        self.local += if is_local { count } else { 0 };
        Ok(())
    }

    fn tasks_for(&self, offer: &Offer) -> Vec<TaskInfo> {
        let fits =
            |count: &u32| carve(&offer.resources, CPUS * f64::from(*count), MEM_MB * f64::from(*count));
        let count = (1..=self.args.tasks - self.launched).take_while(|count| fits(count).is_some()).count();
        let task = |number: usize| {
            let id = format!("read-{}", self.launched as usize + number);
            let resources = carve(&offer.resources, CPUS, MEM_MB)?;
            Some(TaskBuilder::command(&id, "true").resources(resources).on(&offer.agent_id))
        };
        (0..count).filter_map(task).collect()
    }

    fn update(&mut self, status: &TaskStatus) -> Result<(), Box<dyn Error>> {
        match status.state() {
            TaskState::TaskFinished => self.finished += 1,
            state if is_terminal(state) => {
                return Err(format!("{}: {}", status.task_id.value, state.as_str_name()).into());
            }
            _ => {}
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let options = Options::new(masters::resolve(args.master.as_deref())?, framework("delay scheduling"));
    let mut scheduler = Scheduler::connect(options).await?;
    let calls = scheduler.calls();
    let mut job = Job { args, launched: 0, finished: 0, local: 0, waiting_since: None };
    while job.finished < job.args.tasks {
        match scheduler.next().await? {
            Event::Offers(offers) => {
                for offer in offers {
                    job.answer(&calls, offer).await?;
                }
            }
            Event::Update(status) => job.update(&status)?,
            _ => {}
        }
    }
    println!("{} of {} tasks read from their own agent", job.local, job.finished);
    Ok(calls.teardown().await?)
}
