//! What is on disk after a good and a bad end.

use bytes::Bytes;
use mesarch_agent_core::{Body, ExecutorSpec, FrameworkSpec, Run, TaskKey, TaskRecord, Update};
use mesarch_types::{ClusterId, Fence, LaunchId, Millis, Reason, TaskState, UpdateUuid, WallMillis};

use super::*;

fn key() -> TaskKey {
    TaskKey { framework: "F".into(), task: "t".into(), launch: LaunchId { index: 7, position: 3 } }
}

fn update(body: Body) -> Record {
    let wall = WallMillis(123);
    Record::Update(key(), Update { uuid: UpdateUuid([5; 16]), state: TaskState::Failed, wall, body })
}

/// One record of every kind, every field set.
fn all() -> Vec<Record> {
    let run = Run { framework: "F".into(), executor: "e".into(), container: "c".into() };
    let executor = ExecutorSpec {
        id: "e".into(),
        info: Bytes::from_static(b"executor"),
        command: true,
        shutdown_grace: Millis(5_000),
    };
    let framework = FrameworkSpec {
        id: "F".into(),
        info: Bytes::from_static(b"framework"),
        checkpoint: true,
        partition_aware: true,
    };
    let task = TaskRecord {
        key: key(),
        info: Bytes::from_static(b"task"),
        executor: executor.clone(),
        container: Some("c".into()),
        state: TaskState::Running,
        acknowledged: Some(UpdateUuid([4; 16])),
        recent: vec![UpdateUuid([3; 16]), UpdateUuid([4; 16])],
        group: Some(LaunchId { index: 6, position: 1 }),
    };
    vec![
        Record::Identity("S1".into()),
        Record::Fence(Fence { cluster: ClusterId([9; 16]), incarnation: 2, term: 3 }),
        Record::Framework(framework),
        Record::Executor(run.clone(), executor),
        Record::Task(TaskRecord { container: None, acknowledged: None, ..task.clone() }),
        Record::Task(task),
        Record::Bound(key(), "c".into()),
        update(Body::Executor(Bytes::from_static(b"status"))),
        update(Body::Agent { reason: Some(Reason::ExecutorTerminated), message: "it ended".into() }),
        Record::Acknowledged(key(), UpdateUuid([5; 16])),
        Record::ExecutorEnded(run),
        Record::FrameworkEnding("F".into()),
        Record::FrameworkEnded("F".into()),
        Record::Finished(key(), UpdateUuid([5; 16])),
        Record::Watermark(LaunchId { index: 6, position: 0 }),
    ]
}

fn reopen(dir: &Path) -> Vec<Record> {
    Checkpoint::open(dir).expect("opens").1
}

#[test]
fn every_record_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoint, records) = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(records, []);
    checkpoint.append(&all()[..3]).unwrap();
    checkpoint.append(&all()[3..]).unwrap();
    let nonce = checkpoint.nonce();
    drop(checkpoint);
    let (checkpoint, records) = Checkpoint::open(dir.path()).unwrap();
    assert_eq!((records, checkpoint.nonce()), (all(), nonce));
}

#[test]
fn a_compacted_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoint, _) = Checkpoint::open(dir.path()).unwrap();
    let nonce = checkpoint.nonce();
    checkpoint.append(&all()).unwrap();
    checkpoint.compact(&all()[..2]).unwrap();
    checkpoint.append(&all()[2..3]).unwrap();
    drop(checkpoint);
    assert_eq!(reopen(dir.path()), &all()[..3]);
    assert_eq!(Checkpoint::open(dir.path()).unwrap().0.nonce(), nonce);
}

/// Wherever a crash cuts the last batch, the batches before it are whole and the log can be written again.
#[test]
fn a_torn_tail_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoint, _) = Checkpoint::open(dir.path()).unwrap();
    checkpoint.append(&all()[..1]).unwrap();
    let path = checkpoint.path.clone();
    let good = fs::read(&path).unwrap().len();
    checkpoint.append(&all()[1..]).unwrap();
    drop(checkpoint);
    let whole = fs::read(&path).unwrap();
    for cut in good..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(reopen(dir.path()), &all()[..1], "cut at {cut}");
        assert_eq!(fs::metadata(&path).unwrap().len(), good as u64);
    }
    let mut zeros = whole[..good].to_vec();
    zeros.extend([0; 4096]);
    fs::write(&path, &zeros).unwrap();
    let (mut checkpoint, records) = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(records, &all()[..1]);
    checkpoint.append(&all()[1..]).unwrap();
    drop(checkpoint);
    assert_eq!(reopen(dir.path()), all());
}

#[test]
fn damage_before_the_end_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoint, _) = Checkpoint::open(dir.path()).unwrap();
    checkpoint.append(&all()).unwrap();
    checkpoint.append(&all()).unwrap();
    let path = checkpoint.path.clone();
    drop(checkpoint);
    let mut content = fs::read(&path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&path, content).unwrap();
    let error = Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("agent.log") && error.contains("corrupt at byte"), "{error}");
}

/// A length that says too much must not make the rest of the log look like a write that was never finished.
#[test]
fn a_damaged_length_is_refused_wherever_it_points() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoint, _) = Checkpoint::open(dir.path()).unwrap();
    let path = checkpoint.path.clone();
    let second = fs::read(&path).unwrap().len();
    checkpoint.append(&all()).unwrap();
    checkpoint.append(&all()).unwrap();
    drop(checkpoint);
    let whole = fs::read(&path).unwrap();
    for bit in 0..32 {
        for frame in [HEADER.len(), second] {
            let mut content = whole.clone();
            content[frame + bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &content).unwrap();
            let refused = matches!(Checkpoint::open(dir.path()), Err(CheckpointError::Corrupt { .. }));
            assert!(refused, "bit {bit} of the length at {frame}");
        }
    }
}

#[test]
fn a_log_of_the_first_format_is_read_and_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (checkpoint, _) = Checkpoint::open(dir.path()).unwrap();
    let (path, nonce) = (checkpoint.path.clone(), checkpoint.nonce());
    drop(checkpoint);
    let mut old = b"MESAGENT\x01\0\0\0".to_vec();
    for batch in [codec::batch(Some(nonce), &[]), codec::batch(None, &all())] {
        old.extend((batch.len() as u32).to_le_bytes());
        old.extend(crc32c::crc32c(&batch).to_le_bytes());
        old.extend(batch);
    }
    // A crash had left a part of one more.
    old.extend([9, 0, 0, 0, 1, 2, 3, 4, 5]);
    fs::write(&path, old).unwrap();
    assert_eq!(reopen(dir.path()), all());
    assert!(fs::read(&path).unwrap().starts_with(&HEADER));
    let (checkpoint, records) = Checkpoint::open(dir.path()).unwrap();
    assert_eq!((records, checkpoint.nonce()), (all(), nonce));
}

#[test]
fn foreign_newer_and_used_folders_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (checkpoint, _) = Checkpoint::open(dir.path()).unwrap();
    assert!(matches!(Checkpoint::open(dir.path()), Err(CheckpointError::InUse(_))));
    let path = checkpoint.path.clone();
    drop(checkpoint);
    fs::write(&path, b"something else entirely").unwrap();
    assert!(matches!(Checkpoint::open(dir.path()), Err(CheckpointError::Foreign(_))));
    fs::write(&path, b"MESAGENT\x63\0\0\0").unwrap();
    assert!(matches!(Checkpoint::open(dir.path()), Err(CheckpointError::Version { found: 99, .. })));
    let mesos = tempfile::tempdir().unwrap();
    fs::create_dir_all(mesos.path().join("meta/slaves/latest")).unwrap();
    assert!(matches!(Checkpoint::open(mesos.path()), Err(CheckpointError::Foreign(_))));
}

#[test]
fn what_is_not_an_agents_is_told_by_its_name_and_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let refusal = |path: &Path| Checkpoint::open(path).expect_err("refused").to_string();
    fs::write(place.path().join("letter"), "dear diary").unwrap();
    let occupied = refusal(place.path());
    assert!(occupied.contains("(letter)") && occupied.ends_with("choose an empty folder"), "{occupied}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing is added");
    for file in ["letter", "letter/below"] {
        let text = refusal(&place.path().join(file));
        assert!(text.contains(file) && text.ends_with("a file is in its place; choose a folder"), "{text}");
    }
}

#[test]
fn a_folder_is_taken_that_a_file_system_or_a_first_start_left() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("lost+found")).unwrap();
    fs::create_dir(place.path().join("meta")).unwrap();
    fs::write(place.path().join("meta/agent.new"), "half a log").unwrap();
    assert_eq!(reopen(place.path()), []);
}

#[test]
fn a_disk_that_takes_no_changes_is_told_as_such() {
    let error = |kind: io::ErrorKind| failed(Path::new("/d"), "opening", kind.into()).to_string();
    assert!(error(io::ErrorKind::ReadOnlyFilesystem).starts_with("/d: the file system is read-only"));
    assert_eq!(error(io::ErrorKind::PermissionDenied), "/d: opening failed");
}
