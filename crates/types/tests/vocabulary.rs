//! Ids, times and task states.

use mesarch_types::{
    At, ClusterId, Fence, FrameworkId, LaunchId, Millis, Reason, Source, TaskState, UpdateUuid,
    id::valid_text_id,
};

#[test]
fn text_ids_must_be_usable_as_file_names() {
    for good in ["a", "a.b", "...", "ünï", &"x".repeat(255)] {
        assert!(valid_text_id(good), "{good:?}");
    }
    for bad in ["", ".", "..", "a/b", "a\\b", "a\nb", "a\x7f", &"x".repeat(256)] {
        assert!(!valid_text_id(bad), "{bad:?}");
    }
}

#[test]
fn text_ids_show_as_they_are() {
    let id = FrameworkId::from("f-1");
    assert_eq!((id.to_string().as_str(), id.as_str(), format!("{id:?}").as_str()), ("f-1", "f-1", "\"f-1\""));
}

#[test]
fn uuids_go_both_ways() {
    let text = "00112233-4455-6677-8899-aabbccddeeff";
    let uuid: UpdateUuid = text.parse().expect("well-formed");
    assert_eq!(uuid.to_string(), text);
    assert_eq!(UpdateUuid::try_from(&uuid.0[..]).ok(), Some(uuid));
    assert_eq!(text.to_uppercase().parse(), Ok(uuid));
    assert!(UpdateUuid::try_from(&uuid.0[1..]).is_err());
    for bad in [
        "",
        "00112233445566778899aabbccddeeff",
        "0011223-34455-6677-8899-aabbccddeeff",
        "0011223g-4455-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddee+f",
        "00112233-4455-6677-8899-aabbccddeeff-",
    ] {
        assert!(bad.parse::<UpdateUuid>().is_err(), "{bad:?}");
    }
}

#[test]
fn launches_of_one_entry_are_apart_and_grow() {
    let at = |index, position| At { index, position, ..At::default() };
    let launches = [at(7, 0).launch(0), at(7, 0).launch(999), at(7, 1).launch(0), at(8, 0).launch(0)];
    assert!(launches.is_sorted_by(|left, right| left < right), "{launches:?}");
    assert_eq!(LaunchId { index: 7, position: 1000 }.to_string(), "7.1000");
}

#[test]
fn a_fence_admits_equal_and_later_leaders_of_the_same_cluster() {
    let fence =
        |cluster: u8, incarnation, term| Fence { cluster: ClusterId([cluster; 16]), incarnation, term };
    let highest = fence(1, 2, 5);
    for (offered, expect) in [
        (fence(1, 2, 5), true),
        (fence(1, 2, 6), true),
        (fence(1, 3, 1), true),
        (fence(1, 2, 4), false),
        (fence(1, 1, 9), false),
        (fence(2, 9, 9), false),
    ] {
        assert_eq!(offered.admits_after(&highest), expect, "{offered:?}");
    }
}

#[test]
fn milliseconds_stop_at_their_limits() {
    assert_eq!(Millis::from_secs(u64::MAX), Millis::FOREVER);
    assert_eq!(Millis(1).saturating_add(Millis::FOREVER), Millis::FOREVER);
    assert_eq!(Millis(1).saturating_sub(Millis(2)), Millis::ZERO);
}

#[test]
fn numbers_of_states_sources_and_reasons_go_both_ways() {
    for state in TaskState::ALL {
        assert_eq!(TaskState::from_number(state as i32), Some(state));
    }
    for reason in Reason::ALL {
        assert_eq!(Reason::from_number(reason as i32), Some(reason));
    }
    for source in [Source::Master, Source::Agent, Source::Executor] {
        assert_eq!(Source::from_number(source as i32), Some(source));
    }
    assert_eq!(
        (TaskState::from_number(14), Reason::from_number(15), Reason::from_number(99)),
        (None, Some(Reason::TaskUnauthorized), None)
    );
}

#[test]
fn unreachable_is_not_terminal_and_becomes_lost_for_the_unaware() {
    let terminal: Vec<&str> =
        TaskState::ALL.into_iter().filter(|s| s.is_terminal()).map(TaskState::name).collect();
    let expect = "TASK_FINISHED TASK_FAILED TASK_KILLED TASK_LOST TASK_ERROR TASK_DROPPED TASK_GONE TASK_GONE_BY_OPERATOR";
    assert_eq!(terminal, expect.split(' ').collect::<Vec<_>>());
    assert_eq!(TaskState::Unreachable.for_partition_unaware(), TaskState::Lost);
    assert_eq!(TaskState::Running.for_partition_unaware(), TaskState::Running);
}
