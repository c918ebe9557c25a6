//! A master and its data directory: whose it is, and what is refused.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use mesarch_testkit::{Cluster, Settings, wait_for};

use super::command::{finish, mesarch, run};

/// Owns nothing.
const NOBODY: u32 = 65_534;

/// A port that was free a moment ago; the master that gets it is to fail before it listens.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts a master that must refuse its data directory, and say which one that is.
async fn refused(node: u64, path: &str, why: &str) -> Result<()> {
    let ports = [free_port()?, free_port()?];
    let member = format!("--initial-masters={node}=127.0.0.1:{}/{}", ports[0], ports[1]);
    let listen =
        [format!("--raft-listen=127.0.0.1:{}", ports[0]), format!("--listen=127.0.0.1:{}", ports[1])];
    let (node, dir) = (format!("--node-id={node}"), format!("--data-dir={path}"));
    let ended = run("", &["master", &node, &dir, &listen[0], &listen[1], &member, "--bootstrap"]).await?;
    ensure!(ended.status == 1, "{path} is refused: {ended:?}");
    let last = ended.err.lines().last().unwrap_or_default();
    ensure!(
        last.starts_with("mesarch: ") && last.contains(path) && last.contains(why),
        "{why:?} expected: {ended:?}"
    );
    Ok(())
}

async fn strangers() -> Result<()> {
    let place = tempfile::tempdir()?;
    let path = |name: &str| place.path().join(name).display().to_string();
    std::fs::create_dir(path("foreign"))?;
    std::fs::write(path("foreign/letter"), "dear diary")?;
    refused(1, &path("foreign"), "").await?;
    ensure!(std::fs::read_to_string(path("foreign/letter"))? == "dear diary", "what is there stays");
    ensure!(std::fs::read_dir(path("foreign"))?.count() == 1, "nothing is added");
    std::fs::write(path("file"), "")?;
    refused(1, &path("file"), "").await?;
    refused(1, &path("file/below"), "").await
}

/// A file system of its own, as long as it lives. Root may mount one; others cannot try this.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn with(options: &str) -> Result<Option<Self>> {
        let place = tempfile::tempdir()?;
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "mesarch-test"]).arg(place.path());
        let mounted = mount.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success());
        Ok(mounted.then_some(Self(place)))
    }

    /// Too small for anything.
    fn full() -> Result<Option<Self>> {
        let mounted = Self::with("size=64k")?;
        if let Some(full) = &mounted {
            // To the last byte: the write that does not fit is the point.
            let _ = std::fs::write(full.0.path().join("ballast"), vec![0; 64 << 10]);
        }
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A busy mount would stay behind, in the temporary folder.
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[expect(clippy::print_stderr, reason = "a check that cannot run here says so")]
async fn no_room() -> Result<()> {
    let Some(full) = Mounted::full()? else {
        eprintln!("NOT CHECKED: a full disk; only root may mount a small file system");
        return Ok(());
    };
    refused(1, &full.0.path().join("master").display().to_string(), "no space left").await
}

#[expect(clippy::print_stderr, reason = "a check that cannot run here says so")]
async fn no_changes() -> Result<()> {
    let Some(mounted) = Mounted::with("ro")? else {
        eprintln!("NOT CHECKED: a read-only disk; only root may mount one");
        return Ok(());
    };
    let dir = mounted.0.path().join("of-anybody").display().to_string();
    refused(1, &dir, "read-only").await?;
    let agent = ["agent", "--listen", "127.0.0.1:0", "--master", "127.0.0.1:9", "--work-dir", &dir];
    let ended = run("", &agent).await?;
    let last = ended.err.lines().last().unwrap_or_default();
    ensure!(ended.status == 1 && last.contains(&dir) && last.contains("read-only"), "{ended:?}");
    Ok(())
}

async fn not_allowed() -> Result<()> {
    let place = tempfile::tempdir()?;
    let mut command = mesarch("", &[])?;
    let dir = place.path().join("secret");
    std::fs::create_dir(&dir)?;
    let path = dir.display().to_string();
    // Root may read everything: somebody else tries, in a folder that only its owner may enter.
    if rustix::process::getuid().is_root() {
        std::fs::set_permissions(place.path(), Permissions::from_mode(0o755))?;
        std::fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        command.uid(NOBODY).gid(NOBODY);
    } else {
        std::fs::set_permissions(&dir, Permissions::from_mode(0o000))?;
    }
    command.arg("master").arg(format!("--data-dir={path}"));
    for flag in ["--listen", "--raft-listen"] {
        command.arg(format!("{flag}=127.0.0.1:{}", free_port()?));
    }
    let ended = finish(command).await?;
    let last = ended.err.lines().last().unwrap_or_default();
    ensure!(ended.status == 1 && last.contains(&path) && last.contains("permission denied"), "{ended:?}");
    Ok(())
}

async fn its_own() -> Result<()> {
    let mut cluster = Cluster::start(1, 0, Settings::default()).await?;
    let path = cluster.dir().join("master-1").display().to_string();
    refused(1, &path, "another process").await?;
    let status = cluster.masters[0].terminate().await?;
    ensure!(status.success(), "SIGTERM is a good end, not {status}");
    refused(2, &path, "node 1").await?;
    refused(1, &path, "without bootstrapping").await?;
    // None of that did any harm.
    cluster.masters[0].start()?;
    wait_for("the master to lead again", async || cluster.operator().state().await.ok()).await?;

    cluster.masters[0].kill()?;
    let identity = cluster.dir().join("master-1/identity");
    let good = std::fs::read(&identity)?;
    std::fs::write(&identity, &good[..good.len() / 2])?;
    refused(1, &path, "").await
}

#[tokio::test]
async fn a_foreign_data_directory_is_refused_by_name_and_left_alone() {
    strangers().await.unwrap();
}

#[tokio::test]
async fn a_disk_without_room_is_told_by_its_path() {
    no_room().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_takes_no_changes_is_told_by_its_path() {
    no_changes().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_may_not_be_entered_is_told_by_its_path() {
    not_allowed().await.unwrap();
}

#[tokio::test]
async fn a_data_directory_serves_one_node_one_process_and_one_bootstrap() {
    its_own().await.unwrap();
}
