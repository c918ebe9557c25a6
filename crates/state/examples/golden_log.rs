//! Writes the golden log of the present feature level and its digests into `tests/golden`.
//!
//! Run it when a new level is made, never to make a failing test pass: the log of a level that has been released does
//! not change.

#![expect(clippy::disallowed_methods, reason = "this tool writes files; the crate does not")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{fs, io, path::Path};

use mesarch_state::{Command, FEATURE_LEVEL_MAX, State};
use mesarch_types::At;
use support::Driver;

const COMMANDS: usize = 1000;

fn main() -> io::Result<()> {
    let mut driver = Driver::new();
    let mut state = State::new();
    let (mut log, mut digests) = (Vec::new(), String::new());
    let cluster = driver.state.cluster().expect("begun");
    let begin =
        mesarch_state::command::BeginTerm { cluster, incarnation: 1, level: FEATURE_LEVEL_MAX, policy: None };
    let mut entries = vec![(driver.at, Command::BeginTerm(begin))];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    while entries.len() < COMMANDS {
        let command = driver.next(draw(&mut seed));
        entries.push((driver.at, command.clone()));
        driver.apply(command);
    }
    for (number, (at, command)) in (1..).zip(&entries) {
        push(&mut log, *at, command);
        state.apply(*at, command.clone());
        if number % 100 == 0 || number == entries.len() {
            digests += &format!("{number} {:032x}\n", state.digest());
        }
    }
    assert_eq!(state.digest(), driver.state.digest());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("level-{FEATURE_LEVEL_MAX}.log")), log)?;
    fs::write(folder.join(format!("level-{FEATURE_LEVEL_MAX}.digests")), digests)
}

/// The next of a fixed sequence of choices (splitmix64).
fn draw(seed: &mut u64) -> [u8; 4] {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *seed;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let bytes = (bits ^ (bits >> 31)).to_le_bytes();
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

fn push(log: &mut Vec<u8>, at: At, command: &Command) {
    let command = command.encode();
    for number in [at.index, at.term, at.now.0, at.wall.0] {
        log.extend_from_slice(&number.to_le_bytes());
    }
    log.extend_from_slice(&at.position.to_le_bytes());
    log.extend_from_slice(&(command.len() as u32).to_le_bytes());
    log.extend_from_slice(&command);
}
