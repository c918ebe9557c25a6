//! A recorded log leads to the recorded states: a change of what a command does is noticed, and needs a new feature
//! level. `cargo run --release -p mesarch-state --example golden_log` writes the files of the present level.

use bytes::{Buf, Bytes};
use mesarch_state::{Command, State};
use mesarch_types::{At, Millis, WallMillis};

const LOG: &[u8] = include_bytes!("golden/level-1.log");
/// One digest per hundred commands, and the last.
const DIGESTS: &str = include_str!("golden/level-1.digests");

fn next_entry(log: &mut Bytes) -> (At, Command) {
    let (index, term) = (log.get_u64_le(), log.get_u64_le());
    let (now, wall) = (Millis(log.get_u64_le()), WallMillis(log.get_u64_le()));
    let position = log.get_u32_le();
    let length = log.get_u32_le() as usize;
    let command = Command::decode(&log.split_to(length)).expect("a command of level 1");
    (At { index, position, term, now, wall }, command)
}

#[test]
fn the_log_of_level_1_leads_to_the_same_states() {
    let mut log = Bytes::from_static(LOG);
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
    assert_eq!(digests, DIGESTS.lines().collect::<Vec<_>>());
}
