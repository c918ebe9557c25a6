//! A resource provider brings a raw disk to an agent. A framework has a file system made of it, creates a volume there,
//! launches on it, and gives everything back under another leader. What the provider has begun outlives its agent.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use mesarch_client::build::{TaskBuilder, carve, framework, is_terminal};
use mesarch_client::scheduler::{Event, Options, Scheduler};
use mesarch_client::v1::{
    Offer, OperationId, OperationState, Resource, TaskState, Volume,
    offer::{self, operation::Type},
    resource::{ReservationInfo, disk_info, disk_info::source::Type as Source, reservation_info},
    volume::Mode,
};
use mesarch_testkit::{Cluster, DEADLINE, RawHttp, Settings, wait_for};
use serde_json::{Value, json};
use tokio::time::timeout;

const PATH: &str = "/api/v1/resource_provider";
const ROLE: &str = "owners";

/// What the provider did, in order.
type Done = Arc<Mutex<Vec<String>>>;

/// A provider of one disk, of plain HTTP.
struct Provider {
    agent: String,
    id: String,
    stream: String,
    events: RawHttp,
    /// The disk, as it is now.
    disk: Value,
    /// Where its file system is, once it has one.
    root: PathBuf,
    done: Done,
}

impl Provider {
    async fn subscribe(agent: &str, root: &Path, done: Done) -> Result<Self> {
        let mut own = Self::open(agent, root, done, None).await?;
        own.disk = own.raw();
        own.tell(json!([])).await?;
        Ok(own)
    }

    /// The same provider, of which this is what it has under way, at an agent that was started again.
    async fn again(&self, apply: &Value) -> Result<Self> {
        let reopened = wait_for("the agent to take its provider again", async || {
            Self::open(&self.agent, &self.root, self.done.clone(), Some(&self.id)).await.ok()
        });
        let mut own = reopened.await?;
        ensure!(own.id == self.id, "it was given another id");
        own.disk = self.disk.clone();
        let operation = json!({"uuid": apply["operation_uuid"], "info": apply["info"],
            "framework_id": apply["framework_id"], "latest_status": {"state": "OPERATION_PENDING"}});
        own.tell(json!([operation])).await?;
        Ok(own)
    }

    async fn tell(&self, operations: Value) -> Result<()> {
        let state =
            json!({"resources": [self.disk], "operations": operations, "resource_version_uuid": uuid(1)});
        self.call("UPDATE_STATE", "update_state", state).await
    }

    async fn open(agent: &str, root: &Path, done: Done, id: Option<&str>) -> Result<Self> {
        let mut info = json!({"type": "org.mesarch.test", "name": "disks"});
        if let Some(id) = id {
            info["id"] = json!({"value": id});
        }
        let call = json!({"type": "SUBSCRIBE", "subscribe": {"resource_provider_info": info}});
        let mut events = RawHttp::connect(agent).await?;
        let headers = ["Content-Type: application/json", "Accept: application/json"];
        let head = events.request("POST", PATH, &headers, call.to_string().as_bytes()).await?;
        ensure!(head.status == 200, "SUBSCRIBE was answered with {}", head.status);
        let stream = head.header("mesos-stream-id").context("the answer names no stream")?.to_owned();
        let (agent, root) = (agent.to_owned(), root.to_owned());
        let mut own = Self { agent, id: String::new(), stream, events, disk: Value::Null, root, done };
        let subscribed = own.next().await?.context("the stream has ended")?;
        let id = &subscribed["subscribed"]["provider_id"]["value"];
        own.id = id.as_str().context("the provider has an id")?.to_owned();
        Ok(own)
    }

    fn raw(&self) -> Value {
        json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 100.0},
            "provider_id": {"value": self.id},
            "disk": {"source": {"type": "RAW", "id": "disk-1", "profile": "fast"}}})
    }

    async fn next(&mut self) -> Result<Option<Value>> {
        let Some(chunk) = self.events.read_chunk().await? else { return Ok(None) };
        let start = chunk.iter().position(|byte| *byte == b'\n').context("a record has a length")?;
        Ok(Some(serde_json::from_slice(&chunk[start + 1..])?))
    }

    async fn call(&self, kind: &str, field: &str, inner: Value) -> Result<()> {
        let mut call = json!({"type": kind, "resource_provider_id": {"value": self.id}});
        call[field] = inner;
        let stream = format!("Mesos-Stream-Id: {}", self.stream);
        let headers = ["Content-Type: application/json", stream.as_str()];
        let mut http = RawHttp::connect(&self.agent).await?;
        let head = http.request("POST", PATH, &headers, call.to_string().as_bytes()).await?;
        ensure!(head.status == 202, "{kind} was answered with {}", head.status);
        Ok(())
    }

    /// Until its agent is gone.
    async fn serve(mut self) {
        while let Ok(event) = self.events_or_silence().await {
            if let Err(error) = self.take(&event).await {
                self.note(format!("{error:#}"));
            }
        }
    }

    /// An answer may take long here: nothing happens while nobody wants anything.
    async fn events_or_silence(&mut self) -> Result<Value> {
        loop {
            match self.next().await {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => bail!("the stream has ended"),
                Err(error) if error.to_string().contains("in time") => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn take(&mut self, event: &Value) -> Result<()> {
        match event["type"].as_str() {
            Some("APPLY_OPERATION") => {
                let apply = &event["apply_operation"];
                self.change(&apply["info"])?;
                self.note(apply["info"]["type"].to_string());
                let status = json!({"state": "OPERATION_FINISHED", "converted_resources": [self.disk.clone()],
                    "uuid": uuid(7)});
                let update = json!({"framework_id": apply["framework_id"], "status": status,
                    "operation_uuid": apply["operation_uuid"]});
                self.call("UPDATE_OPERATION_STATUS", "update_operation_status", update).await
            }
            Some("PUBLISH_RESOURCES") => {
                self.note("published".to_owned());
                let update = json!({"uuid": event["publish_resources"]["uuid"], "status": "OK"});
                self.call("UPDATE_PUBLISH_RESOURCES_STATUS", "update_publish_resources_status", update).await
            }
            Some("ACKNOWLEDGE_OPERATION_STATUS") => {
                self.note("acknowledged".to_owned());
                Ok(())
            }
            // What is under way here ends at once, and is told then.
            Some("RECONCILE_OPERATIONS") => Ok(()),
            other => bail!("an unexpected event: {other:?}"),
        }
    }

    fn change(&mut self, info: &Value) -> Result<()> {
        self.disk = match info["type"].as_str() {
            Some("CREATE_DISK") => {
                let mut disk = info["create_disk"]["source"].clone();
                disk["disk"]["source"] = json!({"type": "MOUNT", "id": "disk-1", "profile": "fast",
                    "mount": {"root": self.root}});
                disk
            }
            Some("DESTROY_DISK") => self.raw(),
            Some("RESERVE") => info["reserve"]["resources"][0].clone(),
            Some("CREATE") => info["create"]["volumes"][0].clone(),
            Some("DESTROY") => {
                let mut disk = info["destroy"]["volumes"][0].clone();
                let below = disk["disk"].as_object_mut().context("a volume is on a disk")?;
                below.retain(|key, _| key == "source");
                disk
            }
            Some("UNRESERVE") => {
                let mut disk = info["unreserve"]["resources"][0].clone();
                disk.as_object_mut().context("a resource")?.remove("reservations");
                disk
            }
            other => bail!("an unexpected operation: {other:?}"),
        };
        ensure!(self.disk.get("allocation_info").is_none(), "a provider is not told who has its resources");
        Ok(())
    }

    fn note(&self, what: String) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(what.trim_matches('"').to_owned());
    }
}

/// Sixteen times this byte, as JSON has it.
fn uuid(byte: u8) -> Value {
    let text = if byte == 1 { "AQEBAQEBAQEBAQEBAQEBAQ==" } else { "BwcHBwcHBwcHBwcHBwcHBw==" };
    json!({"value": text})
}

fn operation(kind: Type) -> offer::Operation {
    let id = Some(OperationId { value: kind.as_str_name().to_owned() });
    offer::Operation { r#type: Some(kind as i32), id, ..offer::Operation::default() }
}

fn create_disk(source: Resource) -> offer::Operation {
    let create_disk =
        offer::operation::CreateDisk { source, target_type: Source::Mount as i32, target_profile: None };
    offer::Operation { create_disk: Some(create_disk), ..operation(Type::CreateDisk) }
}

fn destroy_disk(source: Resource) -> offer::Operation {
    let destroy_disk = offer::operation::DestroyDisk { source };
    offer::Operation { destroy_disk: Some(destroy_disk), ..operation(Type::DestroyDisk) }
}

fn reserve(resource: &Resource) -> offer::Operation {
    let resources = vec![resource.clone()];
    let reserve = offer::operation::Reserve { resources, ..offer::operation::Reserve::default() };
    offer::Operation { reserve: Some(reserve), ..operation(Type::Reserve) }
}

fn unreserve(resource: &Resource) -> offer::Operation {
    let unreserve = offer::operation::Unreserve { resources: vec![resource.clone()] };
    offer::Operation { unreserve: Some(unreserve), ..operation(Type::Unreserve) }
}

fn create(volume: &Resource) -> offer::Operation {
    let create = offer::operation::Create { volumes: vec![volume.clone()] };
    offer::Operation { create: Some(create), ..operation(Type::Create) }
}

fn destroy(volume: &Resource) -> offer::Operation {
    let destroy = offer::operation::Destroy { volumes: vec![volume.clone()] };
    offer::Operation { destroy: Some(destroy), ..operation(Type::Destroy) }
}

/// The provider's disk in an offer, if it has this form.
fn disk_of(offer: &Offer, source: Source, is_volume: bool) -> Option<Resource> {
    let wanted = |resource: &&Resource| {
        let Some(disk) = &resource.disk else { return false };
        let is_source = disk.source.as_ref().is_some_and(|it| it.r#type == source as i32);
        resource.provider_id.is_some() && is_source && disk.persistence.is_some() == is_volume
    };
    let found = offer.resources.iter().find(wanted)?;
    Some(Resource { allocation_info: None, ..found.clone() })
}

fn reserved(disk: &Resource) -> Resource {
    let reservation = ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic as i32),
        role: Some(ROLE.to_owned()),
        principal: Some("owner".to_owned()),
        ..ReservationInfo::default()
    };
    Resource { reservations: vec![reservation], ..disk.clone() }
}

fn volume(disk: &Resource) -> Resource {
    let persistence = disk_info::Persistence { id: "kept".to_owned(), principal: Some("owner".to_owned()) };
    let volume = Volume { container_path: "data".to_owned(), mode: Mode::Rw as i32, ..Volume::default() };
    let mut disk = disk.clone();
    if let Some(info) = &mut disk.disk {
        (info.persistence, info.volume) = (Some(persistence), Some(volume));
    }
    disk
}

/// The framework and what it has been told.
struct Owner {
    scheduler: Scheduler,
    offers: VecDeque<Offer>,
    seen: BTreeSet<String>,
    /// Operations that have ended well.
    finished: BTreeSet<String>,
    /// Tasks that have ended well.
    ended: BTreeSet<String>,
}

impl Owner {
    async fn connect(cluster: &Cluster) -> Result<Self> {
        let mut info = framework("owner");
        info.principal = Some("owner".to_owned());
        info.roles = vec![ROLE.to_owned()];
        let scheduler = Scheduler::connect(Options::new(cluster.addresses(), info)).await?;
        let (finished, ended) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { scheduler, offers: VecDeque::new(), seen: BTreeSet::new(), finished, ended })
    }

    async fn next(&mut self) -> Result<()> {
        let event = timeout(DEADLINE, self.scheduler.next()).await.context("no event in time")??;
        match event {
            Event::UpdateOperation(status) => {
                ensure!(status.state() == OperationState::OperationFinished, "{status:?}");
                self.scheduler.calls().acknowledge_operation(&status).await?;
                self.finished.extend(status.operation_id.map(|id| id.value));
            }
            Event::Offers(offers) => {
                let new = offers.into_iter().filter(|offer| self.seen.insert(offer.id.value.clone()));
                self.offers.extend(new);
            }
            Event::Rescind(gone) => self.offers.retain(|offer| offer.id != gone),
            Event::Update(status) if status.state() == TaskState::TaskFinished => {
                self.ended.insert(status.task_id.value);
            }
            Event::Update(status) if is_terminal(status.state()) => bail!("{status:?}"),
            _ => {}
        }
        Ok(())
    }

    /// The next offer of the disk in this form.
    async fn disk(&mut self, source: Source, is_volume: bool) -> Result<(Offer, Resource)> {
        loop {
            while let Some(offer) = self.offers.pop_front() {
                if let Some(disk) = disk_of(&offer, source, is_volume) {
                    return Ok((offer, disk));
                }
                let pause = Some(std::time::Duration::from_millis(100));
                self.scheduler.calls().decline([offer.id], pause).await?;
            }
            self.next().await?;
        }
    }

    /// Until an offer comes without any disk of the provider's.
    async fn without_disk(&mut self) -> Result<()> {
        loop {
            while let Some(offer) = self.offers.pop_front() {
                if offer.resources.iter().all(|resource| resource.provider_id.is_none()) {
                    return Ok(());
                }
                let pause = Some(std::time::Duration::from_millis(100));
                self.scheduler.calls().decline([offer.id], pause).await?;
            }
            self.next().await?;
        }
    }

    async fn until_finished(&mut self, operations: &[Type]) -> Result<()> {
        while !operations.iter().all(|kind| self.finished.contains(kind.as_str_name())) {
            self.next().await?;
        }
        Ok(())
    }
}

async fn use_a_disk() -> Result<()> {
    let flags = vec!["--resources=cpus:4;mem:2048;disk:1000".to_owned()];
    let mut cluster = Cluster::start(3, 1, Settings { agent_flags: flags, ..Settings::default() }).await?;
    let root = cluster.dir().join("provided");
    std::fs::create_dir_all(&root)?;
    let done = Done::default();
    let agent = cluster.agents[0].address.to_string();
    let provider = Provider::subscribe(&agent, &root, done.clone()).await?;
    let serving = tokio::spawn(provider.serve());
    let mut owner = Owner::connect(&cluster).await?;

    let (offer, raw) = owner.disk(Source::Raw, false).await?;
    owner.scheduler.calls().accept([offer.id], [create_disk(raw)], None).await?;
    owner.until_finished(&[Type::CreateDisk]).await?;

    let (offer, mount) = owner.disk(Source::Mount, false).await?;
    let kept = reserved(&mount);
    let whole = volume(&kept);
    let mut resources = carve(&offer.resources, 0.5, 32.0).context("the agent is large enough")?;
    resources.push(whole.clone());
    let task = TaskBuilder::command("writes", "echo kept > data/marker").resources(resources);
    let task = task.on(&offer.agent_id);
    let launch = offer::operation::Launch { task_infos: vec![task] };
    let launch = offer::Operation {
        r#type: Some(Type::Launch as i32),
        launch: Some(launch),
        ..offer::Operation::default()
    };
    let operations = [reserve(&kept), create(&whole), launch];
    owner.scheduler.calls().accept([offer.id], operations, None).await?;
    owner.until_finished(&[Type::Reserve, Type::Create]).await?;
    while !owner.ended.contains("writes") {
        owner.next().await?;
    }
    ensure!(std::fs::read_to_string(root.join("marker"))?.trim() == "kept", "the task wrote elsewhere");

    let dead = cluster.kill_leader().await?;
    cluster.masters[dead].start()?;
    cluster.wait_until_joined(dead).await?;
    let (offer, found) = owner.disk(Source::Mount, true).await?;
    let plain = Resource { reservations: Vec::new(), ..mount.clone() };
    let operations = [destroy(&found), unreserve(&kept), destroy_disk(plain)];
    owner.scheduler.calls().accept([offer.id], operations, None).await?;
    owner.until_finished(&[Type::Destroy, Type::Unreserve, Type::DestroyDisk]).await?;
    owner.disk(Source::Raw, false).await?;

    let expect = ["CREATE_DISK", "RESERVE", "CREATE", "published", "DESTROY", "UNRESERVE", "DESTROY_DISK"];
    wait_for("every end to be acknowledged", async || {
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        (done.iter().filter(|one| *one == "acknowledged").count() >= 6).then_some(())
    })
    .await?;
    let did = done.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let did: Vec<&str> = did.iter().map(String::as_str).filter(|one| *one != "acknowledged").collect();
    ensure!(did == expect, "{did:?}");
    serving.abort();
    owner.without_disk().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_providers_disk_is_made_used_and_given_back_under_two_leaders() {
    use_a_disk().await.unwrap();
}

/// The provider has begun when its agent dies, and tells the next one what became of it.
async fn outlive_an_agent() -> Result<()> {
    let flags = vec!["--resources=cpus:4;mem:2048;disk:1000".to_owned()];
    let mut cluster = Cluster::start(3, 1, Settings { agent_flags: flags, ..Settings::default() }).await?;
    let root = cluster.dir().join("provided");
    std::fs::create_dir_all(&root)?;
    let (agent, done) = (cluster.agents[0].address.to_string(), Done::default());
    let mut provider = Provider::subscribe(&agent, &root, done.clone()).await?;
    let mut owner = Owner::connect(&cluster).await?;
    let (offer, raw) = owner.disk(Source::Raw, false).await?;
    owner.scheduler.calls().accept([offer.id], [create_disk(raw)], None).await?;
    let event = provider.events_or_silence().await?;
    ensure!(event["type"] == "APPLY_OPERATION", "{event}");

    cluster.agents[0].kill()?;
    cluster.agents[0].start()?;
    let mut provider = provider.again(&event["apply_operation"]).await?;
    provider.take(&event).await?;
    loop {
        let next = provider.events_or_silence().await?;
        ensure!(next["type"] != "APPLY_OPERATION", "it is to do the same again");
        provider.take(&next).await?;
        if next["type"] == "ACKNOWLEDGE_OPERATION_STATUS" {
            break;
        }
    }
    owner.until_finished(&[Type::CreateDisk]).await?;
    owner.disk(Source::Mount, false).await?;
    let did = done.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(did == ["CREATE_DISK", "acknowledged"], "{did:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_outlives_the_agent_through_which_its_provider_began_it() {
    outlive_an_agent().await.unwrap();
}
