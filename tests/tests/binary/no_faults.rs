//! What is given to users holds none of the known bugs that the chaos suite can switch on.

use anyhow::{Result, ensure};
use mesarch_faults::Fault;
use mesarch_testkit::cluster::binary;

use super::{STATUS_USAGE, command::run};

async fn refuse_every_fault() -> Result<()> {
    let program = std::fs::read(binary()?)?;
    for fault in Fault::ALL.map(Fault::name) {
        let there = program.windows(fault.len()).any(|bytes| bytes == fault.as_bytes());
        ensure!(!there, "{fault} is in the binary");
    }
    for words in [["master", "--fault=lease-ignored"], ["agent", "--fault=launch-unstored"]] {
        let ended = run("", &words).await?;
        ensure!(ended.status == STATUS_USAGE && ended.err.contains("--fault"), "{words:?}: {ended:?}");
    }
    Ok(())
}

#[tokio::test]
async fn no_known_bug_can_be_switched_on() {
    refuse_every_fault().await.unwrap();
}
