//! How many calls of executors were taken, and how many refused.

/// Calls of executors since the agent was started, as Mesos counts them. Updates that were taken are in the history.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) messages: u64,
    pub(crate) messages_refused: u64,
    pub(crate) updates_refused: u64,
}

impl Calls {
    /// One more, of an executor.
    pub(crate) fn count(&mut self, is_message: bool, is_taken: bool) {
        match (is_message, is_taken) {
            (true, true) => self.messages += 1,
            (true, false) => self.messages_refused += 1,
            (false, true) => {}
            (false, false) => self.updates_refused += 1,
        }
    }
}
