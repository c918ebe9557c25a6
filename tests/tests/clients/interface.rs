//! mesos.interface 1.7.2: the messages that Apache generated judge every byte of our protobuf that they know.

use std::path::Path;

use anyhow::Result;
use mesarch_testkit::{Cluster, Settings};
use tokio::process::Command;

use super::script::{Script, folder, installed};

async fn judged_by_apaches_messages() -> Result<()> {
    let place = installed("interface", "1.7.2").await?;
    let cluster = Cluster::start(3, 1, Settings::default()).await?;
    let follower = (cluster.wait_for_leader().await? + 1) % 3;
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/proto/tests/data");
    let mut command = Command::new(place.join("bin/python"));
    command
        .env("PYTHONPATH", &place)
        .arg(folder("interface").join("oracle.py"))
        .arg(cluster.masters[follower].address.to_string())
        .arg(cluster.agents[0].address.to_string())
        .arg(tables);
    let phases = ["JUDGE", "SCHEMA", "SUBSCRIBED", "RAN", "CHANGED", "READS master", "READS agent"];
    Script::start(&mut command)?.finish(&phases).await
}

#[tokio::test]
async fn apaches_generated_messages_parse_what_we_send_and_are_understood() {
    judged_by_apaches_messages().await.unwrap();
}
