//! Which cluster a tool talks to.

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::ResolveError;

/// The environment variable with the masters' addresses.
pub const MASTERS_VARIABLE: &str = "MESARCH_MASTER";
/// Where a master serves clients when nobody said otherwise.
pub const ADDRESS_DEFAULT: &str = "127.0.0.1:5050";
/// The port of an address that names none.
pub const PORT_DEFAULT: u16 = 5050;
/// What a running `mesarch dev` cluster writes, each into a folder of its own below [`runtime_dir`].
pub const DEV_FILE: &str = "dev.json";
/// How long one master of a dev cluster may take to answer a connection, all on this machine.
const ALIVE_WITHIN: Duration = Duration::from_millis(200);

/// The masters' addresses (`host:port`): the flag, else [`MASTERS_VARIABLE`], else the newest live dev cluster on this
/// machine, else [`ADDRESS_DEFAULT`].
pub fn resolve(flag: Option<&str>) -> Result<Vec<String>, ResolveError> {
    if let Some(text) = flag {
        return parse(text, "--master");
    }
    if let Some(text) = std::env::var(MASTERS_VARIABLE).ok().filter(|text| !text.trim().is_empty()) {
        return parse(&text, MASTERS_VARIABLE);
    }
    let dev = newest_dev(&runtime_dir())?;
    Ok(dev.unwrap_or_else(|| vec![ADDRESS_DEFAULT.to_owned()]))
}

/// Splits `a,b:1,c` into addresses with ports. `origin` names the flag or variable in an error.
pub fn parse(text: &str, origin: &'static str) -> Result<Vec<String>, ResolveError> {
    text.split(',').map(|piece| parse_one(piece.trim(), origin)).collect()
}

fn parse_one(piece: &str, origin: &'static str) -> Result<String, ResolveError> {
    let wrong = || ResolveError::Address { text: piece.to_owned(), origin };
    let address = piece.strip_prefix("http://").unwrap_or(piece).trim_end_matches('/');
    let odd = |c: char| c.is_whitespace() || c == '/' || c == '@';
    if address.is_empty() || address.contains(odd) {
        return Err(wrong());
    }
    let bracketed = address.starts_with('[');
    let port = match address.rsplit_once(':') {
        Some((_, port)) if !bracketed || !port.contains(']') => Some(port),
        _ => None,
    };
    match port {
        None => Ok(format!("{address}:{PORT_DEFAULT}")),
        Some(port) if port.parse::<u16>().is_ok_and(|port| port != 0) && !address.starts_with(':') => {
            Ok(address.to_owned())
        }
        Some(_) => Err(wrong()),
    }
}

/// Where running dev clusters are listed: `$XDG_RUNTIME_DIR/mesarch`, else a folder of this user in the temp folder.
pub fn runtime_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => Path::new(&dir).join("mesarch"),
        None => std::env::temp_dir().join(format!("mesarch-{}", rustix::process::getuid().as_raw())),
    }
}

/// The masters of the newest dev cluster listed below `dir` that still answers.
fn newest_dev(dir: &Path) -> Result<Option<Vec<String>>, ResolveError> {
    let failed = |source| ResolveError::Folder { path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut clusters = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path().join(DEV_FILE);
        clusters.extend(read_dev(&path));
    }
    clusters.sort_by_key(|(written, _)| std::cmp::Reverse(*written));
    Ok(clusters.into_iter().map(|(_, masters)| masters).find(|masters| masters.iter().any(|m| answers(m))))
}

/// A listed cluster; `None` for a file that is not ours or was left half-written: somebody else's mess is no error.
fn read_dev(path: &Path) -> Option<(SystemTime, Vec<String>)> {
    let metadata = std::fs::metadata(path).ok()?;
    if metadata.uid() != rustix::process::getuid().as_raw() {
        return None;
    }
    let content: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let masters = content.get("masters")?.as_array()?.iter();
    let masters: Vec<String> = masters.filter_map(|master| Some(master.as_str()?.to_owned())).collect();
    Some((metadata.modified().ok()?, masters))
}

fn answers(address: &str) -> bool {
    let Ok(mut candidates) = address.to_socket_addrs() else {
        return false;
    };
    candidates.any(|candidate| TcpStream::connect_timeout(&candidate, ALIVE_WITHIN).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_default_port_and_nonsense_is_named() {
        let table = [
            ("a", Ok(vec!["a:5050"])),
            ("a:1,b:2, c", Ok(vec!["a:1", "b:2", "c:5050"])),
            ("http://a:1/", Ok(vec!["a:1"])),
            ("[::1]:7", Ok(vec!["[::1]:7"])),
            ("[::1]", Ok(vec!["[::1]:5050"])),
            ("", Err("\"\"")),
            ("a:1,,b:2", Err("\"\"")),
            ("a:x", Err("\"a:x\"")),
            ("a:0", Err("\"a:0\"")),
            (":5050", Err("\":5050\"")),
            ("zk://a:2181/mesos", Err("\"zk://a:2181/mesos\"")),
        ];
        for (text, expect) in table {
            match (parse(text, "--master"), expect) {
                (Ok(found), Ok(expect)) => assert_eq!(found, expect, "{text}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, expect) => panic!("{text}: {found:?}, expected {expect:?}"),
            }
        }
    }

    fn list(dir: &Path, name: &str, content: &str, age: Duration) {
        std::fs::create_dir_all(dir.join(name)).unwrap();
        let file = std::fs::File::create(dir.join(name).join(DEV_FILE)).unwrap();
        std::io::Write::write_all(&mut &file, content.as_bytes()).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn the_newest_dev_cluster_that_answers_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let alive = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (alive_at, dead_at) = (alive.local_addr().unwrap(), dead.local_addr().unwrap());
        drop(dead);
        assert_eq!(newest_dev(&dir.path().join("absent")).unwrap(), None);
        list(dir.path(), "broken", "{", Duration::ZERO);
        list(dir.path(), "dead", &format!(r#"{{"masters":["{dead_at}"]}}"#), Duration::from_secs(1));
        assert_eq!(newest_dev(dir.path()).unwrap(), None);
        list(dir.path(), "old", &format!(r#"{{"masters":["{alive_at}","old:1"]}}"#), Duration::from_secs(9));
        list(
            dir.path(),
            "new",
            &format!(r#"{{"masters":["{dead_at}","{alive_at}"]}}"#),
            Duration::from_secs(3),
        );
        let found = newest_dev(dir.path()).unwrap().unwrap();
        assert_eq!(found, [dead_at.to_string(), alive_at.to_string()]);
    }
}
