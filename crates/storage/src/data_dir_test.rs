use super::*;

const NODE: NodeId = NodeId(1);

fn open(path: &Path) -> Result<DataDir, DataDirError> {
    DataDir::open(path, NODE, Backend::Sled)
}

fn members() -> BTreeMap<u64, NodeInfo> {
    BTreeMap::from([(1, NodeInfo { raft: "a:1".into(), client: "a:2".into() })])
}

#[test]
fn it_belongs_to_one_node_one_backend_and_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(DataDirError::Locked { .. })));
    let disk = first.identity().disk;
    drop(first);
    let other = DataDir::open(dir.path(), NodeId(2), Backend::Sled).unwrap_err();
    assert!(matches!(other, DataDirError::OtherNode { found: NODE, wanted: NodeId(2), .. }));
    assert!(other.to_string().starts_with(&dir.path().display().to_string()));
    let other = DataDir::open(dir.path(), NODE, Backend::Segments).unwrap_err();
    assert!(matches!(other, DataDirError::OtherBackend { .. }));
    assert_eq!(open(dir.path()).unwrap().identity().disk, disk);
}

#[test]
fn a_foreign_directory_stays_untouched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), b"").unwrap();
    assert!(matches!(open(dir.path()), Err(DataDirError::Foreign { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_creation_that_a_crash_cut_short_is_finished_and_a_lost_log_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("log")).unwrap();
    fs::write(dir.path().join("lock"), b"").unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_dir(dir.path().join("log")).unwrap();
    assert!(matches!(open(dir.path()), Err(DataDirError::Disk(DiskError::Corrupt { .. }))));
    let other = tempfile::tempdir().unwrap();
    fs::create_dir_all(other.path().join("log/theirs")).unwrap();
    assert!(matches!(open(other.path()), Err(DataDirError::Foreign { .. })));
}

#[test]
fn a_damaged_identity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let path = dir.path().join("identity");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(open(dir.path()), Err(DataDirError::Disk(DiskError::Corrupt { .. }))));
}

#[test]
fn a_begun_bootstrap_is_resumed_with_the_same_cluster_and_a_finished_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path()).unwrap().begin_bootstrap(&members()).unwrap();
    let reopened = open(dir.path()).unwrap();
    assert_eq!(reopened.identity().bootstrap, Some(members()));
    assert_eq!(reopened.begin_bootstrap(&members()).unwrap(), cluster);
    let others = BTreeMap::from([(2, NodeInfo::default())]);
    assert!(matches!(reopened.begin_bootstrap(&others), Err(DataDirError::OtherBootstrap { .. })));
    reopened.finish_bootstrap().unwrap();
    let again = reopened.begin_bootstrap(&members());
    assert!(matches!(again, Err(DataDirError::AlreadyBootstrapped { .. })));
}

#[test]
fn a_blank_node_joins_the_first_cluster_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (ClusterId([1; 16]), ClusterId([2; 16]));
    assert_eq!(open(dir.path()).unwrap().adopt(ours, 3).unwrap(), (ours, 3));
    let reopened = open(dir.path()).unwrap();
    assert_eq!(reopened.adopt(theirs, 9).unwrap(), (ours, 3));
    assert!(matches!(reopened.begin_bootstrap(&members()), Err(DataDirError::AlreadyBootstrapped { .. })));
}

#[test]
fn trap_10_a_peer_is_known_by_its_first_disk_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (DiskId::draw(), DiskId::draw());
    assert_eq!(open(dir.path()).unwrap().know_peer(NodeId(2), first).unwrap(), first);
    assert_eq!(open(dir.path()).unwrap().know_peer(NodeId(2), second).unwrap(), first);
}
