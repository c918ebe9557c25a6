//! What must hold in every history. Pure: a finished history and the marks that tasks left go in, anomalies come out.

use std::collections::{BTreeMap, BTreeSet};

use mesarch_client::{build::is_terminal, v1::TaskState};

use crate::history::{Entry, Event, Kind, Marks, Told};

/// Amounts are thousandths, shown as floats.
const HALF_A_THOUSANDTH: f64 = 0.0005;

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anomaly {
    /// Which promise is broken.
    pub(crate) promise: Promise,
    /// About which task or agent.
    pub(crate) about: String,
    /// What was seen.
    pub(crate) seen: String,
}

/// What every history must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// What was accepted is known from then on.
    AcceptedIsKnown,
    /// What was refused never becomes visible.
    RefusedIsNot,
    /// No task runs twice, and a finished one ran to its end.
    RunsOnce,
    /// After a terminal update nothing else is told.
    TerminalIsFinal,
    /// Every accepted task ends with a report. Here none fails or is dropped but one that did not start because its agent was
    /// killed, or was away from a new leader for too long.
    EveryTaskEnds,
    /// One update at a time, each acknowledged; none comes back after the next one came.
    UpdatesInOrder,
    /// No agent gives away more than it has.
    NothingTwice,
    /// A register is read and written as if one operation came after the other, each between its begin and its end.
    Linearizable,
    /// A stale answer shows what the log says up to its index: no more and no less, and at one master never less than before.
    StaleAsItSays,
    /// The masters' disks hold one log, with one leader in each term, and it makes one state of it at each place.
    OneLog,
    /// What a master keeps in memory and on its disk is bounded, and no process outlives what it was started for.
    Bounded,
    /// After every fault the cluster is whole again, and until then nothing but the fault's victim ends.
    ComesBack,
}

/// Everything that is wrong with a history, in no particular order.
pub(crate) fn check(entries: &[Entry], marks: &Marks) -> Vec<Anomaly> {
    let mut stories: BTreeMap<&str, Story<'_>> = BTreeMap::new();
    let mut anomalies = Vec::new();
    let acknowledged = acknowledged(entries);
    let mut agents_away = false;
    for entry in entries {
        match &entry.event {
            Event::Accept { tasks } => {
                for task in tasks {
                    let story = stories.entry(task).or_default();
                    story.framework = entry.process;
                    story.accept(entry.kind);
                    story.may_stay_unsent |= agents_away;
                }
            }
            Event::Reconcile { tasks } if entry.kind == Kind::Invoke => {
                tasks.iter().for_each(|task| stories.entry(task).or_default().asked = true);
            }
            Event::FrameworkEnds => {
                let its = stories.values_mut().filter(|story| story.framework == entry.process);
                its.for_each(Story::framework_ends);
            }
            Event::Told(told) => stories.entry(&told.task).or_default().tell(told),
            Event::AgentEnds { .. } => {
                agents_away = true;
                stories.values_mut().for_each(Story::may_not_start);
            }
            Event::AgentsAway => {
                agents_away = true;
                stories.values_mut().for_each(Story::may_stay_unsent);
            }
            Event::AgentsBack => agents_away = false,
            Event::Account { agent, resource, total, given } if *given > total + HALF_A_THOUSANDTH => {
                let seen = format!("{given} of {total} {resource} are used and offered");
                anomalies.push(Anomaly { promise: Promise::NothingTwice, about: agent.clone(), seen });
            }
            Event::Account { .. }
            | Event::Unreadable { .. }
            | Event::Acknowledge { .. }
            | Event::Reconcile { .. }
            | Event::Fault { .. }
            | Event::Ends { .. }
            | Event::Serves { .. }
            | Event::Register { .. }
            | Event::StaleRead { .. } => {}
        }
    }
    for (task, mut story) in stories {
        story.end(task, marks, &acknowledged);
        let found = story.found.into_iter();
        anomalies.extend(found.map(|(promise, seen)| Anomaly { promise, about: task.to_owned(), seen }));
    }
    anomalies
}

/// uuids whose acknowledgement was taken at least once, or was under way when its scheduler ended: if it was not taken,
/// the update comes again.
fn acknowledged(entries: &[Entry]) -> BTreeSet<&str> {
    let (mut taken, mut open) = (BTreeSet::new(), BTreeMap::new());
    for Entry { process, kind, event, .. } in entries {
        match (kind, event) {
            (Kind::Ok, Event::Acknowledge { uuid, .. }) => drop(taken.insert(uuid.as_str())),
            (Kind::Invoke, _) => drop(open.remove(process)),
            (Kind::Unknown, Event::Acknowledge { uuid, .. }) => drop(open.insert(process, uuid.as_str())),
            (_, Event::FrameworkEnds) => taken.extend(open.remove(process)),
            _ => {}
        }
    }
    taken
}

/// One task, as far as the history has been read.
#[derive(Default)]
struct Story<'a> {
    /// An ACCEPT was answered with 202, and not refused since.
    accepted: bool,
    /// ACCEPTs that were begun.
    tries: usize,
    /// Whose it is.
    framework: u32,
    /// An ACCEPT is open, or its outcome is unknown.
    open: bool,
    /// It was asked for since its last ACCEPT was answered.
    asked: bool,
    /// Its ACCEPT was refused, and none was begun since.
    refused: bool,
    /// The uuids of its updates, in order of arrival, neighbours that are equal merged.
    uuids: Vec<&'a str>,
    last: Option<TaskState>,
    terminal: Option<TaskState>,
    /// An agent was killed after its ACCEPT and before it was seen to run.
    may_not_start: bool,
    /// An agent was out of reach between its ACCEPT and the first that was told of it.
    may_stay_unsent: bool,
    /// The masters said that it never left them.
    unsent: bool,
    /// Its agent said that its executor never got it.
    lost_on_the_way: bool,
    found: Vec<(Promise, String)>,
}

impl<'a> Story<'a> {
    fn accept(&mut self, kind: Kind) {
        match kind {
            Kind::Invoke => {
                self.refused = false;
                self.tries += 1;
            }
            Kind::Ok => (self.accepted, self.asked) = (true, false),
            Kind::Unknown => self.open = true,
            Kind::Fail | Kind::Info => {}
        }
    }

    /// A task that nothing was heard of may have been refused on the stream that is gone.
    fn framework_ends(&mut self) {
        if self.accepted && self.last.is_none() {
            (self.accepted, self.open) = (false, true);
        }
    }

    /// An agent that is killed between storing a launch and starting it cannot know whether it did, and starts none twice:
    /// the task has failed. One that is killed before the task has reached a running executor drops it.
    fn may_not_start(&mut self) {
        self.may_not_start |= self.last.is_none();
        self.may_stay_unsent();
    }

    /// A new leader takes launches for agents that it expects, and drops them if one does not come back in time.
    fn may_stay_unsent(&mut self) {
        self.may_stay_unsent |= self.last.is_none();
    }

    fn tell(&mut self, told: &'a Told) {
        self.unsent |= told.is_unsent();
        self.lost_on_the_way |= told.is_lost_on_the_way();
        if let Some(uuid) = told.uuid.as_deref() {
            self.step(told.state, uuid);
        } else if told.is_refusal() {
            self.refuse(told.state);
        } else if told.is_answer() {
            self.answer(told.state);
        } else if told.state == TaskState::TaskError || is_lost(told.state) {
            self.find(Promise::AcceptedIsKnown, format!("declared {}", told.state.as_str_name()));
        }
    }

    /// An update from the agent.
    fn step(&mut self, state: TaskState, uuid: &'a str) {
        if self.uuids.last() == Some(&uuid) {
            return;
        }
        if self.uuids.contains(&uuid) {
            self.find(Promise::UpdatesInOrder, format!("update {uuid} came again after a later one"));
            return;
        }
        self.uuids.push(uuid);
        if self.refused {
            self.find(Promise::RefusedIsNot, format!("{} after its ACCEPT was refused", state.as_str_name()));
        }
        if !self.accepted && !self.open {
            self.find(
                Promise::RefusedIsNot,
                format!("{}, but no ACCEPT can have done it", state.as_str_name()),
            );
        }
        if let Some(terminal) = self.terminal {
            let seen = format!("{} after {}", state.as_str_name(), terminal.as_str_name());
            self.find(Promise::TerminalIsFinal, seen);
        }
        self.last = Some(state);
        if is_terminal(state) {
            self.terminal = Some(state);
        }
    }

    /// Its offers were gone: nothing was launched, which is only true if nothing is there.
    fn refuse(&mut self, state: TaskState) {
        if self.last.is_some() {
            let seen = format!("{} for want of offers, but it had been launched", state.as_str_name());
            self.find(Promise::AcceptedIsKnown, seen);
            return;
        }
        self.accepted = false;
        self.refused = true;
    }

    fn answer(&mut self, state: TaskState) {
        let name = state.as_str_name();
        match self.terminal {
            // What ended and was acknowledged may be forgotten.
            Some(terminal) if state != terminal && !is_lost(state) => {
                self.find(Promise::TerminalIsFinal, format!("{name} after {}", terminal.as_str_name()));
            }
            // Without a question since, it is the answer to an older one, from before the task was there.
            None if self.accepted && self.asked && is_lost(state) => {
                self.find(Promise::AcceptedIsKnown, format!("reconciliation says {name}"));
            }
            // Of two tries one has worked: now that is certain.
            None if self.tries > 1 && !is_lost(state) => self.accepted = true,
            Some(_) | None => {}
        }
    }

    /// What only shows when nothing more can come.
    fn end(&mut self, task: &str, marks: &Marks, acknowledged: &BTreeSet<&str>) {
        let count = |of: &BTreeMap<String, usize>| of.get(task).copied().unwrap_or_default();
        let (starts, ends) = (count(&marks.starts), count(&marks.ends));
        if starts > 1 {
            self.find(Promise::RunsOnce, format!("started {starts} times"));
        }
        if self.terminal == Some(TaskState::TaskFinished) && (starts, ends) != (1, 1) {
            self.find(Promise::RunsOnce, format!("finished with {starts} starts and {ends} ends"));
        }
        if starts > 0 && !self.accepted && !self.open {
            self.find(Promise::RefusedIsNot, "ran, but no ACCEPT can have done it".to_owned());
        }
        let may_have_failed = self.terminal == Some(TaskState::TaskFailed) || self.lost_on_the_way;
        let not_started = self.may_not_start && starts == 0 && may_have_failed;
        let unsent = self.may_stay_unsent && starts == 0 && self.unsent;
        if self.accepted && self.terminal != Some(TaskState::TaskFinished) && !not_started && !unsent {
            let last = self.last.map_or("nothing", |state| state.as_str_name());
            self.find(Promise::EveryTaskEnds, format!("the last that was told is {last}"));
        }
        let forgotten: Vec<&str> =
            self.uuids.iter().filter(|uuid| !acknowledged.contains(**uuid)).copied().collect();
        if !forgotten.is_empty() {
            self.find(Promise::UpdatesInOrder, format!("never acknowledged: {forgotten:?}"));
        }
    }

    fn find(&mut self, promise: Promise, seen: String) {
        self.found.push((promise, seen));
    }
}

/// States that say: the cluster does not have it (any more).
fn is_lost(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::TaskUnknown
            | TaskState::TaskLost
            | TaskState::TaskDropped
            | TaskState::TaskGone
            | TaskState::TaskGoneByOperator
            | TaskState::TaskUnreachable
    )
}
