//! A framework reserves resources, makes a volume and launches on it in one ACCEPT. What it made outlives the leader, the
//! agent's process and the task, until the framework gives it back.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use mesarch_client::build::{TaskBuilder, framework, is_terminal};
use mesarch_client::scheduler::{Event, Options, Scheduler};
use mesarch_client::v1::Volume;
use mesarch_client::v1::{
    AgentId, Offer, OperationId, OperationState, Resource, TaskInfo, TaskState, offer,
    resource::{self, ReservationInfo, disk_info, reservation_info},
    value,
    volume::Mode,
};
use mesarch_testkit::{Cluster, DEADLINE, Settings, wait_for};
use tokio::time::timeout;

const MEGABYTES: f64 = 64.0;
const ROLE: &str = "owners";

fn reserved(name: &str, amount: f64) -> Resource {
    let reservation = ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic as i32),
        role: Some(ROLE.to_owned()),
        principal: Some("owner".to_owned()),
        ..ReservationInfo::default()
    };
    Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value: amount }),
        reservations: vec![reservation],
        ..Resource::default()
    }
}

fn volume() -> Resource {
    let persistence = disk_info::Persistence { id: "kept".to_owned(), principal: Some("owner".to_owned()) };
    let volume = Volume { container_path: "data".to_owned(), mode: Mode::Rw as i32, ..Volume::default() };
    let disk = resource::DiskInfo {
        persistence: Some(persistence),
        volume: Some(volume),
        ..resource::DiskInfo::default()
    };
    Resource { disk: Some(disk), ..reserved("disk", MEGABYTES) }
}

fn operation(kind: offer::operation::Type, id: &str) -> offer::Operation {
    let id = Some(OperationId { value: id.to_owned() });
    offer::Operation { r#type: Some(kind as i32), id, ..offer::Operation::default() }
}

fn reserve(resources: Vec<Resource>) -> offer::Operation {
    let reserve = offer::operation::Reserve { resources, ..offer::operation::Reserve::default() };
    offer::Operation { reserve: Some(reserve), ..operation(offer::operation::Type::Reserve, "reserve") }
}

fn create(volumes: Vec<Resource>) -> offer::Operation {
    let create = offer::operation::Create { volumes };
    offer::Operation { create: Some(create), ..operation(offer::operation::Type::Create, "create") }
}

fn destroy(volumes: Vec<Resource>) -> offer::Operation {
    let destroy = offer::operation::Destroy { volumes };
    offer::Operation { destroy: Some(destroy), ..operation(offer::operation::Type::Destroy, "destroy") }
}

fn unreserve(resources: Vec<Resource>) -> offer::Operation {
    let unreserve = offer::operation::Unreserve { resources };
    offer::Operation {
        unreserve: Some(unreserve),
        ..operation(offer::operation::Type::Unreserve, "unreserve")
    }
}

fn launch(task: TaskInfo) -> offer::Operation {
    let launch = offer::operation::Launch { task_infos: vec![task] };
    let kind = Some(offer::operation::Type::Launch as i32);
    offer::Operation { r#type: kind, launch: Some(launch), ..offer::Operation::default() }
}

/// The framework and what it has been told.
struct Owner {
    scheduler: Scheduler,
    /// Not yet looked at: what a task held is offered as soon as its end is known, which may be before that is told.
    offers: VecDeque<Offer>,
    /// Ids of all that ever came.
    seen: BTreeSet<String>,
}

impl Owner {
    async fn next(&mut self) -> Result<Event> {
        let event = timeout(DEADLINE, self.scheduler.next()).await.context("no event in time")??;
        match &event {
            Event::UpdateOperation(status) => self.scheduler.calls().acknowledge_operation(status).await?,
            // A new leader sends those again that are outstanding, which may be one that was taken meanwhile.
            Event::Offers(offers) => {
                for offer in offers {
                    if self.seen.insert(offer.id.value.clone()) {
                        self.offers.push_back(offer.clone());
                    }
                }
            }
            Event::Rescind(gone) => self.offers.retain(|offer| offer.id != *gone),
            _ => {}
        }
        Ok(event)
    }

    /// The next offer of which this is true; others are declined for a moment.
    async fn offer(&mut self, wanted: impl Fn(&Offer) -> bool) -> Result<Offer> {
        loop {
            while let Some(offer) = self.offers.pop_front() {
                if wanted(&offer) {
                    return Ok(offer);
                }
                let pause = Some(std::time::Duration::from_millis(100));
                self.scheduler.calls().decline([offer.id], pause).await?;
            }
            self.next().await?;
        }
    }

    /// Until each of these operations has ended well.
    async fn finished(&mut self, mut operations: Vec<&str>) -> Result<()> {
        while !operations.is_empty() {
            let Event::UpdateOperation(status) = self.next().await? else { continue };
            ensure!(status.state() == OperationState::OperationFinished, "{status:?}");
            let id = status.operation_id.map(|id| id.value).unwrap_or_default();
            operations.retain(|operation| *operation != id);
        }
        Ok(())
    }

    async fn ended(&mut self, task: &str) -> Result<()> {
        loop {
            match self.next().await? {
                Event::Update(status) if status.task_id.value != task => {}
                Event::Update(status) if status.state() == TaskState::TaskFinished => return Ok(()),
                Event::Update(status) if is_terminal(status.state()) => bail!("{status:?}"),
                _ => {}
            }
        }
    }
}

fn task(id: &str, command: &str, agent: &AgentId) -> TaskInfo {
    let resources = vec![reserved("cpus", 0.5), reserved("mem", 32.0), volume()];
    TaskBuilder::command(id, command).resources(resources).on(agent)
}

fn has_volume(offer: &Offer) -> bool {
    offer.resources.iter().any(|one| one.disk.as_ref().is_some_and(|disk| disk.persistence.is_some()))
}

fn files_named(dir: &Path, name: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let found = paths.flat_map(|path| match path.symlink_metadata() {
        Ok(found) if found.is_dir() => files_named(&path, name),
        _ if path.ends_with(name) => vec![path],
        _ => Vec::new(),
    });
    found.collect()
}

async fn keep_a_volume() -> Result<()> {
    let flags = vec!["--resources=cpus:4;mem:2048;disk:1000".to_owned()];
    let mut cluster = Cluster::start(3, 1, Settings { agent_flags: flags, ..Settings::default() }).await?;
    let mut info = framework("owner");
    info.principal = Some("owner".to_owned());
    info.roles = vec![ROLE.to_owned()];
    let scheduler = Scheduler::connect(Options::new(cluster.addresses(), info)).await?;
    let mut owner = Owner { scheduler, offers: VecDeque::new(), seen: BTreeSet::new() };

    let offer = owner.offer(|_| true).await?;
    let all = || vec![reserved("cpus", 0.5), reserved("mem", 32.0)];
    let disk = reserved("disk", MEGABYTES);
    let whole = all().into_iter().chain([disk.clone()]).collect();
    let writes = task("writes", "echo kept > data/marker-of-this-test", &offer.agent_id);
    let operations = [reserve(whole), create(vec![volume()]), launch(writes)];
    let agent = offer.agent_id.clone();
    owner.scheduler.calls().accept([offer.id], operations, None).await?;
    owner.ended("writes").await?;

    let dead = cluster.kill_leader().await?;
    cluster.agents[0].kill()?;
    cluster.agents[0].start()?;
    cluster.masters[dead].start()?;
    cluster.wait_until_joined(dead).await?;
    let offer = owner.offer(has_volume).await?;
    ensure!(offer.agent_id == agent, "another agent: {offer:?}");
    let reads = task("reads", "grep -q kept data/marker-of-this-test", &offer.agent_id);
    owner.scheduler.calls().accept([offer.id], [launch(reads)], None).await?;
    owner.ended("reads").await?;

    let offer = owner.offer(has_volume).await?;
    ensure!(!files_named(cluster.dir(), "marker-of-this-test").is_empty(), "the volume is not on disk");
    let whole = all().into_iter().chain([disk]).collect();
    let operations = [destroy(vec![volume()]), unreserve(whole)];
    owner.scheduler.calls().accept([offer.id], operations, None).await?;
    owner.finished(vec!["destroy", "unreserve"]).await?;
    wait_for("the volume's content to go", async || {
        files_named(cluster.dir(), "marker-of-this-test").is_empty().then_some(())
    })
    .await?;
    owner.offer(|offer| offer.resources.iter().all(|one| one.reservations.is_empty())).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_and_what_it_holds_outlive_the_leader_and_the_agent_until_they_are_given_back() {
    keep_a_volume().await.unwrap();
}
