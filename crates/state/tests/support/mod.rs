//! Turns small random choices into commands that mostly make sense in the present state.

mod agents;
mod frameworks;
mod offers;
mod operators;
mod providers;
mod tasks;

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use mesarch_proto::mesos::v1::FrameworkInfo;
use mesarch_state::{
    Applied, Command, FEATURE_LEVEL_MAX, LEVEL_ADMIN, LEVEL_PROVIDERS, State,
    command::*,
    model::{self, MachineId, MachineMode, Task},
};
use mesarch_types::{
    AgentId, At, ClusterId, Constraint, Constraints, Conversion, Disk, DiskSource, Epoch, FrameworkId,
    LaunchId, Millis, OfferId, OperationId, OperationState, Predicate, Priority, ProviderId, Quantities,
    Quota, Reservation, Reservations, Resource, ResourceVersion, Role, Scalar, Selector, Source, StreamId,
    TaskId, TaskState, TextPattern, Unavailability, UpdateUuid, WallMillis, Weight,
    capability::{AgentCapabilities, FrameworkCapabilities, FrameworkCapability},
    resource::{Resources, parse_resources},
};
use prost::Message;

/// What decides one command: its kind, and three picks.
pub(crate) type Choice = [u8; 4];

/// A cluster that is driven by choices.
#[derive(Clone)]
pub(crate) struct Driver {
    pub(crate) state: State,
    pub(crate) at: At,
    serial: u64,
}

const ROLES: [&str; 3] = ["eng", "eng/web", "ops"];
const STATES: [TaskState; 8] = [
    TaskState::Starting,
    TaskState::Running,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Failed,
    TaskState::Killed,
    TaskState::Dropped,
];

pub(crate) fn resources(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("well-formed")
}

fn pick<T>(list: impl IntoIterator<Item = T>, choice: u8) -> Option<T> {
    let mut list: Vec<T> = list.into_iter().collect();
    let count = list.len();
    (count > 0).then(|| list.swap_remove(usize::from(choice) % count))
}

/// Dynamically reserved, too.
fn reserved(resource: Resource, role: &Role) -> Resource {
    let like = resources(&format!("disk({role},op):1"));
    let innermost = like.iter().flat_map(|one| one.reservations.iter()).cloned();
    let reservations = resource.reservations.iter().cloned().chain(innermost).collect();
    Resource { reservations, ..resource }
}

impl Driver {
    pub(crate) fn new() -> Self {
        Self::of_level(FEATURE_LEVEL_MAX)
    }

    /// A cluster that begins on a level; if it is not the newest, the level rises on the way.
    pub(crate) fn of_level(level: u32) -> Self {
        let at = At { index: 0, position: 0, term: 0, now: Millis(1), wall: WallMillis(1) };
        let mut driver = Self { state: State::new(), at, serial: 0 };
        if let Command::BeginTerm(begin) = driver.begin_term() {
            driver.apply(Command::BeginTerm(BeginTerm { level, ..begin }));
        }
        driver
    }

    /// Applies a command, some of them in the same entry as the one before.
    pub(crate) fn apply(&mut self, command: Command) -> Applied {
        self.state.apply(self.at, command)
    }

    /// The next command; where it has nothing to work on it is one about something unknown.
    pub(crate) fn next(&mut self, [kind, a, b, c]: Choice) -> Command {
        let same_entry = kind >= 128 && self.at.position < 7;
        self.at.position = if same_entry { self.at.position + 1 } else { 0 };
        self.at.index += u64::from(!same_entry);
        self.at.now = self.at.now.saturating_add(Millis(u64::from(c) * 10));
        self.at.wall = WallMillis(self.at.now.0 + 1_000_000);
        let few_agents = self.state.agents().count() < 4;
        if self.state.level() >= LEVEL_ADMIN && kind % 16 == 15 {
            return self.administer(a, b, c);
        }
        if self.state.level() >= LEVEL_PROVIDERS && kind % 16 == 14 {
            return self.provide(a, b, c);
        }
        match kind % 50 {
            0 if a < 64 => self.begin_term(),
            0 if self.state.level() < FEATURE_LEVEL_MAX => {
                Command::SetLevel(SetLevel { level: self.state.level() + 1 })
            }
            0..=3 if few_agents || b < 16 => self.register(a, b),
            0..=3 => self.attach(a, b, c),
            4 if b < 96 => Command::DetachAgent(self.detach(a, b)),
            5 if b < 64 => self.mark_unreachable(a, b),
            6 | 7 => self.subscribe_new(a, b),
            8 => self.subscribe_again(a, b, c),
            9 if b < 96 => self.disconnect(a, b),
            10 => self.roles(a, b, c),
            11 if b < 24 => Command::Teardown(Teardown { framework: self.framework(a) }),
            11 if b < 96 => self.expire(a),
            12 if b < 64 => self.update_framework(a, b, c),
            12 => self.decline(a, b, c),
            13 if b < 96 => Command::RescindOffers(RescindOffers { offers: self.offer_ids(None, a, b) }),
            14 => self.forgot(a, b),
            15 => self.delivered(a, b),
            16 => self.kill(a, b),
            17 => self.executor(a, b),
            18..=21 => self.attach(a, b, c),
            22..=28 => self.issue(a, b, c),
            29..=35 => self.accept(a, b, c),
            36..=39 => self.acknowledge(a, b),
            46 => self.stored(a, b),
            47 => self.acknowledge_operation(a, b),
            48 => self.share(a, b, c),
            49 => self.convert(a, b, c),
            _ => self.record(a, b, c),
        }
    }
}
