//! Persistent volumes on disk: made, wiped, and linked into sandboxes.
//!
//! A volume is the folder `volumes/roles/<role>/<id>` (the role with blanks for slashes) under the work directory or under
//! the root of its disk; one that is a whole file system is that file system. It outlives tasks, executors, frameworks and
//! the agent's process, and goes with what it holds once the masters say so.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};

use mesarch_proto::mesos::v1::{self, resource::DiskInfo};
use mesarch_types::{DiskSource, Resource, Resources, valid_text_id};
use prost::Message;

/// Volumes that go are moved here first, and deleted while everything else goes on.
const GOING: &str = ".going";

/// A volume that could not be made or wiped: nothing may rest on it.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {action} a persistent volume failed")]
pub struct VolumeError {
    path: PathBuf,
    action: &'static str,
    #[source]
    source: io::Error,
}

/// Where a persistent volume is; none if the resource is no volume, or named as no folder can be.
pub(crate) fn path(work_dir: &Path, resource: &Resource) -> Option<PathBuf> {
    let disk = resource.disk.as_ref()?;
    let id = disk.persistence_id.as_deref()?;
    let role = resource.reserved_role()?.as_str().replace('/', " ");
    let root = root(work_dir, disk.source, &disk.info)?;
    match disk.source {
        DiskSource::Mount => Some(root),
        DiskSource::Root | DiskSource::Path if valid_text_id(id) && valid_text_id(&role) => {
            Some(root.join("volumes").join("roles").join(role).join(id))
        }
        DiskSource::Root | DiskSource::Path | DiskSource::Block | DiskSource::Raw => None,
    }
}

/// The root of a disk; one that is not absolute begins at the work directory.
fn root(work_dir: &Path, source: DiskSource, info: &[u8]) -> Option<PathBuf> {
    let told = || DiskInfo::decode(info).ok()?.source;
    let root = match source {
        DiskSource::Root => return Some(work_dir.to_owned()),
        DiskSource::Path => told()?.path?.root?,
        DiskSource::Mount => told()?.mount?.root?,
        DiskSource::Block | DiskSource::Raw => return None,
    };
    Some(work_dir.join(root))
}

/// Makes what is to be there and moves away what is to go; says what is to be deleted. Blocking, but not for long.
pub(crate) fn align(
    work_dir: &Path,
    made: &Resources,
    gone: &Resources,
) -> Result<Vec<PathBuf>, VolumeError> {
    let mut going = Vec::new();
    for volume in gone.iter() {
        let Some(path) = path(work_dir, volume) else { continue };
        let is_whole = volume.disk.as_ref().is_some_and(|disk| disk.source == DiskSource::Mount);
        let moved = if is_whole { empty(&path).map(|()| None) } else { move_away(&path) };
        going.extend(moved.map_err(|source| failed(&path, "wiping", source))?);
    }
    for volume in made.iter().filter(|resource| resource.is_persistent()) {
        match path(work_dir, volume) {
            Some(path) => fs::create_dir_all(&path).map_err(|source| failed(&path, "making", source))?,
            None => tracing::error!(%volume, "this volume has no place on this agent"),
        }
    }
    Ok(going)
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> VolumeError {
    VolumeError { path: path.to_owned(), action, source }
}

/// A rename is done at once and whole: no crash leaves half a volume in its place.
fn move_away(path: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(role), Some(id)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let place = role.join(GOING).join(id);
    match fs::remove_dir_all(&place) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Err(error) = path.symlink_metadata() {
        return if error.kind() == ErrorKind::NotFound { Ok(None) } else { Err(error) };
    }
    fs::create_dir_all(role.join(GOING))?;
    fs::rename(path, &place)?;
    Ok(Some(place))
}

/// Of a whole file system nothing but its content can go.
fn empty(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Why a task's volumes cannot be linked into its sandbox as it asks.
pub(crate) fn refusal(resources: &[v1::Resource]) -> Option<String> {
    let paths = resources.iter().filter_map(container_path);
    let bad = paths.into_iter().find(|path| !is_inside(Path::new(path)));
    bad.map(|path| {
        format!("not implemented: persistent volumes at '{path}', which is not inside the sandbox")
    })
}

fn container_path(resource: &v1::Resource) -> Option<&str> {
    let disk = resource.disk.as_ref()?;
    disk.persistence.as_ref()?;
    Some(disk.volume.as_ref()?.container_path.as_str())
}

fn is_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Links the volumes among the resources into a sandbox. Those that are there already stay. Blocking.
pub(crate) fn link(work_dir: &Path, sandbox: &Path, resources: &[v1::Resource]) -> io::Result<()> {
    for resource in resources {
        let Some(inside) = container_path(resource).map(Path::new).filter(|path| is_inside(path)) else {
            continue;
        };
        let read = mesarch_mesos_v1::convert::resources_from_v1(std::slice::from_ref(resource));
        let read = read.map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
        let Some(volume) = read.iter().next().and_then(|volume| path(work_dir, volume)) else { continue };
        // Relative work directories are as seen from the agent, not from a sandbox.
        let (volume, place) = (fs::canonicalize(volume)?, sandbox.join(inside));
        if fs::read_link(&place).is_ok_and(|target| target == volume) {
            continue;
        }
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        symlink(&volume, &place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mesarch_mesos_v1::json;
    use mesarch_types::{Disk, Role, parse_resources};

    use super::*;

    fn volume(id: &str, role: &str) -> Resource {
        let below = parse_resources(&format!("disk({role},op):9"), &Role::any()).unwrap();
        let disk = Disk { persistence_id: Some(id.into()), ..Disk::default() };
        Resource { disk: Some(Arc::new(disk)), ..below.iter().next().unwrap().clone() }
    }

    fn all(list: &[Resource]) -> Resources {
        Resources::new(list.iter().cloned()).unwrap()
    }

    #[test]
    fn volumes_are_where_tools_look_for_them() {
        let dir = Path::new("/work");
        let check = |resource: Resource, expect: Option<&str>| {
            assert_eq!(path(dir, &resource).as_deref(), expect.map(Path::new));
        };
        check(volume("v1", "eng/web"), Some("/work/volumes/roles/eng web/v1"));
        check(volume("..", "eng"), None);
        check(volume("a/b", "eng"), None);
        check(Resource { disk: None, ..volume("v1", "eng") }, None);
        let on = |kind: DiskSource, info: &str| {
            let info: DiskInfo = json::decode(info.as_bytes()).unwrap();
            let disk = Disk {
                info: info.encode_to_vec().into(),
                source: kind,
                persistence_id: Some("v1".into()),
                source_id: None,
            };
            Resource { disk: Some(Arc::new(disk)), ..volume("v1", "eng") }
        };
        let path = r#"{"source":{"type":"PATH","path":{"root":"/data"}}}"#;
        check(on(DiskSource::Path, path), Some("/data/volumes/roles/eng/v1"));
        let mount = r#"{"source":{"type":"MOUNT","mount":{"root":"disks/one"}}}"#;
        check(on(DiskSource::Mount, mount), Some("/work/disks/one"));
    }

    #[test]
    fn volumes_keep_what_they_hold_until_they_are_to_go() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, gone) = (volume("kept", "eng"), volume("gone", "eng"));
        let align = |made: &[Resource], gone: &[Resource]| align(dir.path(), &all(made), &all(gone)).unwrap();
        assert_eq!(align(&[kept.clone(), gone.clone()], &[]), Vec::<PathBuf>::new());
        let at = |volume: &Resource| path(dir.path(), volume).unwrap();
        fs::write(at(&kept).join("file"), "kept").unwrap();
        fs::write(at(&gone).join("file"), "gone").unwrap();
        for _ in 0..2 {
            align(std::slice::from_ref(&kept), std::slice::from_ref(&gone));
            assert!(at(&kept).join("file").exists() && !at(&gone).exists());
        }
        align(&[kept, gone.clone()], &[]);
        assert_eq!(fs::read_dir(at(&gone)).unwrap().count(), 0, "it begins anew");
    }

    #[test]
    fn volumes_are_linked_into_sandboxes_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        align(dir.path(), &all(&[volume("v1", "eng")]), &Resources::default()).unwrap();
        let sandbox = dir.path().join("sandbox");
        fs::create_dir(&sandbox).unwrap();
        let asked = |container_path: &str| -> Vec<v1::Resource> {
            let text = format!(
                r#"{{"name":"disk","type":"SCALAR","scalar":{{"value":9}},
                    "reservations":[{{"type":"DYNAMIC","role":"eng","principal":"op"}}],
                    "disk":{{"persistence":{{"id":"v1"}},
                            "volume":{{"container_path":"{container_path}","mode":"RW"}}}}}}"#
            );
            vec![json::decode(text.as_bytes()).unwrap()]
        };
        for inside in ["data", "data", "deep/er"] {
            assert_eq!(refusal(&asked(inside)), None);
            link(dir.path(), &sandbox, &asked(inside)).unwrap();
            fs::write(sandbox.join(inside).join("file"), inside).unwrap();
        }
        let volume = dir.path().join("volumes/roles/eng/v1/file");
        assert_eq!(fs::read_to_string(volume).unwrap(), "deep/er");
        for outside in ["/data", "../data", "data/../..", ""] {
            assert!(refusal(&asked(outside)).is_some(), "{outside}");
        }
        fs::write(sandbox.join("taken"), "").unwrap();
        assert!(link(dir.path(), &sandbox, &asked("taken")).is_err());
    }
}
