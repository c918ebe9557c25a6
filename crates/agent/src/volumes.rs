//! Persistent volumes on disk: made, wiped, and linked into sandboxes.
//!
//! A volume is the folder `volumes/roles/<role>/<id>` (the role with blanks for slashes) under the work directory or under
//! the root of its disk; one that is a whole file system is that file system. It outlives tasks, executors, frameworks and
//! the agent's process, and goes with what it holds once the masters say so.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};

use mesarch_proto::mesos::v1::{self, resource::DiskInfo};
use mesarch_types::{DiskSource, Resource, ResourceVersion, Resources, valid_text_id};
use prost::Message;

/// Volumes that go are moved below this first, beside `roles`, and deleted while everything else goes on.
const GOING: &str = ".going";
/// Says which version of the agent's resources the volumes were brought in line with last.
const ALIGNED: &str = ".aligned";

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
///
/// What goes with a version goes once: when the agent starts anew with the same version, its place may hold what tasks
/// wrote to a newer volume (on a disk of its own, that is the same folder).
pub(crate) fn align(
    work_dir: &Path,
    version: ResourceVersion,
    made: &Resources,
    gone: &Resources,
) -> Result<Vec<PathBuf>, VolumeError> {
    let mut left = Vec::new();
    let folder = work_dir.join("volumes");
    let aligned = format!("{} {}\n", version.incarnation, version.epoch.0);
    let is_done = fs::read(folder.join(ALIGNED)).is_ok_and(|done| done == aligned.as_bytes());
    for volume in gone.iter() {
        let Some(path) = path(work_dir, volume) else { continue };
        if is_done {
            // The agent may have died before it was deleted.
            left.extend(going(&path).filter(|place| place.exists()));
            continue;
        }
        let is_whole = volume.disk.as_ref().is_some_and(|disk| disk.source == DiskSource::Mount);
        let moved = if is_whole { empty(&path).map(|()| None) } else { move_away(&path) };
        left.extend(moved.map_err(|source| failed(&path, "wiping", source))?);
    }
    for volume in made.iter().filter(|resource| resource.is_persistent()) {
        match path(work_dir, volume) {
            Some(path) => fs::create_dir_all(&path).map_err(|source| failed(&path, "making", source))?,
            None => tracing::error!(%volume, "this volume has no place on this agent"),
        }
    }
    if !is_done {
        note(&folder, &aligned).map_err(|source| failed(&folder, "noting what became of", source))?;
    }
    Ok(left)
}

/// Durable before anything rests on it.
fn note(folder: &Path, aligned: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let fresh = folder.join(".aligned.new");
    let mut file = fs::File::create(&fresh)?;
    file.write_all(aligned.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, folder.join(ALIGNED))?;
    fs::File::open(folder)?.sync_all()
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> VolumeError {
    VolumeError { path: path.to_owned(), action, source }
}

/// A rename is done at once and whole: no crash leaves half a volume in its place.
fn move_away(path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(place) = going(path) else { return Ok(None) };
    match fs::remove_dir_all(&place) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Err(error) = path.symlink_metadata() {
        return if error.kind() == ErrorKind::NotFound { Ok(None) } else { Err(error) };
    }
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::rename(path, &place)?;
    Ok(Some(place))
}

/// Where a volume at `…/volumes/roles/<role>/<id>` waits for its deletion: no volume can be named so.
fn going(path: &Path) -> Option<PathBuf> {
    let (id, role) = (path.file_name()?, path.parent()?);
    let volumes = role.parent()?.parent()?;
    Some(volumes.join(GOING).join(role.file_name()?).join(id))
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
        let Some(volume) = read.iter().next().and_then(|volume| path(work_dir, volume)) else {
            return Err(io::Error::new(ErrorKind::Unsupported, "the volume has no place on this agent"));
        };
        // Relative work directories are as seen from the agent, not from a sandbox.
        let (volume, place) = (fs::canonicalize(volume)?, sandbox.join(inside));
        match fs::read_link(&place) {
            Ok(target) if target == volume => continue,
            // Of a task that the executor ran before, with another volume there.
            Ok(_) => fs::remove_file(&place)?,
            Err(_) => {}
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
    use mesarch_types::{Disk, Epoch, Role, parse_resources};

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
        let dir = Path::new("/agent");
        let check = |resource: Resource, expect: Option<&str>| {
            assert_eq!(path(dir, &resource).as_deref(), expect.map(Path::new));
        };
        check(volume("v1", "eng/web"), Some("/agent/volumes/roles/eng web/v1"));
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
        check(on(DiskSource::Mount, mount), Some("/agent/disks/one"));
    }

    #[test]
    fn volumes_keep_what_they_hold_until_they_are_to_go() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, gone) = (volume("kept", "eng"), volume("gone", "eng"));
        let version = std::cell::Cell::new(ResourceVersion::default());
        let align = |made: &[Resource], gone: &[Resource]| {
            let epoch = Epoch(version.get().epoch.0 + 1);
            version.set(ResourceVersion { incarnation: 1, epoch });
            align(dir.path(), version.get(), &all(made), &all(gone)).unwrap()
        };
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
    fn a_volume_on_a_disk_of_its_own_is_not_wiped_again_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let mount = r#"{"source":{"type":"MOUNT","mount":{"root":"disk"}}}"#;
        let info: DiskInfo = json::decode(mount.as_bytes()).unwrap();
        let on_disk = |id: &str| {
            let disk = Disk {
                info: info.encode_to_vec().into(),
                source: DiskSource::Mount,
                persistence_id: Some(id.into()),
                source_id: None,
            };
            all(&[Resource { disk: Some(Arc::new(disk)), ..volume(id, "eng") }])
        };
        let file = dir.path().join("disk/file");
        let version = |epoch| ResourceVersion { incarnation: 1, epoch: Epoch(epoch) };
        align(dir.path(), version(1), &on_disk("v1"), &Resources::default()).unwrap();
        fs::write(&file, "v1").unwrap();
        align(dir.path(), version(2), &on_disk("v2"), &on_disk("v1")).unwrap();
        assert!(!file.exists());
        fs::write(&file, "v2").unwrap();
        align(dir.path(), version(2), &on_disk("v2"), &on_disk("v1")).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), "v2");
    }

    #[test]
    fn a_volume_may_have_any_name_that_an_id_may_have() {
        let dir = tempfile::tempdir().unwrap();
        let (odd, other) = (volume(GOING, "eng"), volume("v1", "eng"));
        let version = |epoch| ResourceVersion { incarnation: 1, epoch: Epoch(epoch) };
        let both = all(&[odd.clone(), other.clone()]);
        align(dir.path(), version(1), &both, &Resources::default()).unwrap();
        let file = path(dir.path(), &odd).unwrap().join("file");
        fs::write(&file, "kept").unwrap();
        align(dir.path(), version(2), &all(std::slice::from_ref(&odd)), &all(&[other])).unwrap();
        assert!(file.exists());
        let wiped =
            align(dir.path(), version(3), &Resources::default(), &all(std::slice::from_ref(&odd))).unwrap();
        assert!(!file.exists() && wiped.iter().all(|place| place.exists()));
        let left = align(dir.path(), version(3), &Resources::default(), &all(&[odd])).unwrap();
        assert_eq!(left, wiped, "the next start deletes what a dead agent did not");
    }

    #[test]
    fn volumes_are_linked_into_sandboxes_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let (v1, v2) = (volume("v1", "eng"), volume("v2", "eng"));
        align(dir.path(), ResourceVersion::default(), &all(&[v1, v2]), &Resources::default()).unwrap();
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
        let mut newer = asked("data");
        newer[0].disk.as_mut().unwrap().persistence.as_mut().unwrap().id = "v2".into();
        link(dir.path(), &sandbox, &newer).unwrap();
        assert!(!sandbox.join("data/file").exists(), "the newer task's volume is there");
        fs::write(sandbox.join("taken"), "").unwrap();
        assert!(link(dir.path(), &sandbox, &asked("taken")).is_err());
    }
}
