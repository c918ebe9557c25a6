//! Clients that take all they can get: others, and the log, keep what they need.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;
use tokio::net::TcpStream;

use crate::{
    client::{Scheduler, framework_info, get, try_request},
    cluster::{Cluster, soon, wait_for},
};

/// Set for the process that plays the master: the limit is the whole process's.
const ROLE: &str = "MESARCH_TEST_FEW_DESCRIPTORS";
const TEST: &str = "limits_test::with_few_descriptors_idle_connections_are_refused_and_the_log_goes_on";
/// Few, and enough for a master beside its reserve.
const DESCRIPTORS: u64 = 200;
/// More than there are descriptors.
const CONNECTIONS: usize = 300;
/// Comes before the master's address.
const ANNOUNCEMENT: &str = "serves at ";

#[test]
fn with_few_descriptors_idle_connections_are_refused_and_the_log_goes_on() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match std::env::var_os(ROLE) {
        Some(_) => runtime.block_on(serve_with_few_descriptors()),
        None => runtime.block_on(idle_connections_are_refused(Master::start())),
    }
}

/// Until standard input ends.
async fn serve_with_few_descriptors() {
    let limit = Rlimit { current: Some(DESCRIPTORS / 2), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).expect("a lower limit");
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    eprintln!("\n{ANNOUNCEMENT}{address}");
    let wait = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(wait).await.expect("no panic").expect("an end");
}

/// This test in another process.
struct Master {
    child: Child,
    address: SocketAddr,
}

impl Master {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", TEST, "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix(ANNOUNCEMENT).map(str::to_owned));
        std::thread::spawn(move || lines.for_each(drop));
        Self { address: address.expect("an address").parse().expect("an address"), child }
    }

    /// Descriptors that it has open.
    fn open(&self) -> u64 {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).expect("it runs").count() as u64
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

async fn healthy(address: SocketAddr) -> bool {
    let reply =
        tokio::time::timeout(Duration::from_secs(1), try_request(address, "GET", "/health", &[], b""));
    matches!(reply.await, Ok(Ok(reply)) if reply.status == 200)
}

async fn idle_connections_are_refused(master: Master) {
    let address = master.address;
    let scheduler = Scheduler::subscribe(address, framework_info("first"), &[]).await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        idle.push(soon("a connection", TcpStream::connect(address)).await.expect("a connection"));
    }
    wait_for("a refusal", || async { (!healthy(address).await).then_some(()) }).await;
    assert!(master.open() < DESCRIPTORS - 64, "{} are open, and the log refuses proposals", master.open());
    idle.clear();
    wait_for("room again", || async { healthy(address).await.then_some(()) }).await;
    // The first scheduler's stream was there all the time.
    scheduler.accepted("REVIVE", json!(null)).await;
    assert_eq!(get(address, "/state").await.status, 200);
}
