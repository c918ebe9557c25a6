//! The folder of a cluster: whose it is, and what was decided when the cluster was made.
//!
//! Members' addresses are part of the replicated membership, and an agent comes back under its address: the record
//! holds them, so that a later start in the same folder goes on with the same cluster.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Plan;
use super::ports::{self, Ports};
use crate::failure::usage;

/// What was decided.
const RECORD: &str = "cluster.json";
/// The record while it is being written.
const RECORD_NEW: &str = "cluster.json.new";
/// Held while a process runs the cluster.
const LOCK: &str = "lock";
/// The form of the record.
const VERSION: u32 = 1;
/// Masters and agents of a new cluster, unless said otherwise.
const MASTERS_DEFAULT: u16 = 3;
const AGENTS_DEFAULT: u16 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    ports: Ports,
}

/// The folder, locked.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
    /// The lock lasts until the file is closed.
    _lock: File,
}

impl Home {
    /// Makes the folder of a new cluster, or opens the one of a cluster that `plan` does not contradict.
    pub(super) fn open(plan: &Plan) -> Result<(Self, Ports)> {
        let dir = plan.dir.as_path();
        if dir.is_file() {
            return Err(usage(format!("{} is a file; name a new or empty folder", dir.display())));
        }
        fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let record = read(dir)?;
        if record.is_none() {
            refuse_foreign(dir)?;
        }
        let lock = lock(dir)?;
        let ports = match record {
            Some(record) => agreed(plan, record.ports)?,
            None => {
                let (masters, agents) =
                    (plan.masters.unwrap_or(MASTERS_DEFAULT), plan.agents.unwrap_or(AGENTS_DEFAULT));
                let ports = ports::choose(masters, agents, plan.base_port)?;
                write(dir, &Record { version: VERSION, ports: ports.clone() })?;
                ports
            }
        };
        Ok((Self { dir: dir.to_path_buf(), _lock: lock }, ports))
    }
}

/// The ports of the cluster that is there, unless the flags ask for another one.
fn agreed(plan: &Plan, ports: Ports) -> Result<Ports> {
    let dir = plan.dir.display();
    for (flag, asked, there) in
        [("masters", plan.masters, ports.masters.len()), ("agents", plan.agents, ports.agents.len())]
    {
        if let Some(asked) = asked.filter(|asked| usize::from(*asked) != there) {
            return Err(usage(format!(
                "--{flag} {asked}: {dir} holds a cluster with {there} {flag}; leave the flag out to start that one again"
            )));
        }
    }
    let there = ports.masters.first().map(|master| master.client.port());
    if let (Some(asked), Some(there)) = (plan.base_port, there)
        && ports != ports::choose(count(ports.masters.len())?, count(ports.agents.len())?, Some(asked))?
    {
        return Err(usage(format!(
            "--base-port {asked}: the cluster in {dir} has other ports, from {there} on; leave the flag out to start it again"
        )));
    }
    Ok(ports)
}

fn count(length: usize) -> Result<u16> {
    u16::try_from(length).context("a cluster has fewer processes than ports")
}

/// A folder with anything else in it was not made for a cluster.
fn refuse_foreign(dir: &Path) -> Result<()> {
    let listed = || format!("cannot read the folder {}", dir.display());
    for entry in fs::read_dir(dir).with_context(listed)? {
        let name = entry.with_context(listed)?.file_name();
        // These two are left by a start that was cut short.
        if name != LOCK && name != RECORD_NEW {
            return Err(usage(format!(
                "{} holds other files ({}) and no cluster; name a new or empty folder",
                dir.display(),
                name.display()
            )));
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(usage(format!("the cluster in {} runs already", dir.display()))),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn read(dir: &Path) -> Result<Option<Record>> {
    let path = dir.join(RECORD);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let record: Record = serde_json::from_str(&text)
        .with_context(|| format!("{} is not the record of a cluster", path.display()))?;
    if record.version != VERSION || record.ports.masters.is_empty() {
        return Err(usage(format!("{} was written by another version of this program", path.display())));
    }
    Ok(Some(record))
}

/// Whole or not at all, and before any process of the cluster starts.
fn write(dir: &Path, record: &Record) -> Result<()> {
    let (fresh, path) = (dir.join(RECORD_NEW), dir.join(RECORD));
    let text = serde_json::to_string(record)?;
    let written = || -> io::Result<()> {
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(dir)?.sync_all()
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(dir: &Path, masters: Option<u16>, agents: Option<u16>, base_port: Option<u16>) -> Plan {
        Plan { masters, agents, dir: dir.to_path_buf(), base_port }
    }

    #[test]
    fn a_cluster_is_found_again_with_its_ports() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("new");
        let (home, ports) = Home::open(&plan(&dir, None, None, None)).unwrap();
        assert_eq!((ports.masters.len(), ports.agents.len()), (3, 1));
        let locked = Home::open(&plan(&dir, None, None, None)).unwrap_err().to_string();
        assert!(locked.contains("runs already") && locked.contains("new"), "{locked}");
        drop(home);
        for again in [plan(&dir, None, None, None), plan(&dir, Some(3), Some(1), None)] {
            assert_eq!(Home::open(&again).unwrap().1, ports);
        }
    }

    #[test]
    fn flags_that_contradict_the_folder_are_refused_with_both_numbers() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path();
        drop(Home::open(&plan(dir, Some(1), Some(2), Some(7000))).unwrap());
        let table: [(Plan, &[&str]); 3] = [
            (plan(dir, Some(3), None, None), &["--masters 3", "1 masters"]),
            (plan(dir, None, Some(5), None), &["--agents 5", "2 agents"]),
            (plan(dir, None, None, Some(8000)), &["--base-port 8000", "7000"]),
        ];
        for (plan, words) in table {
            let error = Home::open(&plan).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        Home::open(&plan(dir, None, None, Some(7000))).unwrap();
    }

    #[test]
    fn what_is_not_a_cluster_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("letter"), "dear diary").unwrap();
        let error = Home::open(&plan(place.path(), None, None, None)).unwrap_err().to_string();
        assert!(error.contains("letter") && error.contains("no cluster"), "{error}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        let file = place.path().join("letter");
        let error = Home::open(&plan(&file, None, None, None)).unwrap_err().to_string();
        assert!(error.ends_with("letter is a file; name a new or empty folder"), "{error}");
        fs::write(place.path().join(RECORD), "{}").unwrap();
        let error = Home::open(&plan(place.path(), None, None, None)).unwrap_err().to_string();
        assert!(error.contains(RECORD), "{error}");
    }
}
