//! A recorded log leads to the recorded states: a change of what a command does is noticed, and needs a new feature
//! level. `cargo run --release -p mesarch-state --example golden_log` writes the files of the present level.

use bytes::{Buf, Bytes};
use mesarch_state::{Command, State};
use mesarch_types::{At, Millis, WallMillis};

/// Per released level, from the first: the log, and one digest per hundred commands, and the last.
const LEVELS: [(&[u8], &str); 5] = [
    (include_bytes!("golden/level-1.log"), include_str!("golden/level-1.digests")),
    (include_bytes!("golden/level-2.log"), include_str!("golden/level-2.digests")),
    (include_bytes!("golden/level-3.log"), include_str!("golden/level-3.digests")),
    (include_bytes!("golden/level-4.log"), include_str!("golden/level-4.digests")),
    (include_bytes!("golden/level-5.log"), include_str!("golden/level-5.digests")),
];

fn next_entry(log: &mut Bytes) -> (At, Command) {
    let (index, term) = (log.get_u64_le(), log.get_u64_le());
    let (now, wall) = (Millis(log.get_u64_le()), WallMillis(log.get_u64_le()));
    let position = log.get_u32_le();
    let length = log.get_u32_le() as usize;
    let command = Command::decode(&log.split_to(length)).expect("a command of a known level");
    (At { index, position, term, now, wall }, command)
}

#[test]
fn the_log_of_every_level_leads_to_the_same_states() {
    for (level, (log, expect)) in (1..).zip(LEVELS) {
        let mut log = Bytes::from_static(log);
        let mut state = State::new();
        let mut digests = Vec::new();
        for number in 1.. {
            if log.is_empty() {
                break;
            }
            let (at, command) = next_entry(&mut log);
            state.apply(at, command);
            if number % 100 == 0 || log.is_empty() {
                digests.push(format!("{number} {:032x}", state.digest()));
            }
        }
        assert_eq!(state.level(), level);
        assert_eq!(digests, expect.lines().collect::<Vec<_>>(), "level {level}");
    }
}
