//! Known bugs that can be switched on, so that the chaos suite can show that it catches them.
//!
//! **What for.** A checker that finds nothing proves nothing until it has found something. Each [`Fault`] breaks one promise
//! of the design, at the place where that is kept, by one `if`.
//!
//! **Contract.** Without the feature `on`, which no build has by default, [`on`] is a constant `false`: nothing
//! of this is in the binary, and it has no flag for it. With it nothing is broken either until [`switch_on`] is called.
//!
//! **Must never do.** Change what a binary without the feature does, or depend on anything.

#[cfg(feature = "on")]
use std::sync::atomic::{AtomicU32, Ordering};

/// A promise that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The log answers for entries that are still in its process' memory, up to 64 of them.
    AckBeforeSync,
    /// What is written to the log is left to the kernel, which loses it with its power.
    SyncSkipped,
    /// A master votes without a record of it.
    VoteUnsaved,
    /// A leader answers plain reads however long no quorum has heard of it.
    LeaseIgnored,
    /// A leader answers linearizable reads without asking a quorum whether it leads.
    BarrierIgnored,
    /// A framework's call is answered once it waits to be proposed.
    AnswerBeforeCommit,
    /// Whether a role has a quota is looked at before the log, and not when the change is applied.
    QuotaAtTheEdge,
    /// An agent may forget an update before that is recorded.
    UpdateAcknowledgedEarly,
    /// What an agent is owed is not listed when it comes back, as after a failover.
    OpenWorkForgotten,
    /// A launch is told again while its task runs, as it may be, and the agent runs it again.
    DuplicateLaunch,
    /// An agent starts launches that are not on its disk.
    LaunchUnstored,
    /// What is offered counts as free.
    OverOffer,
    /// A replica puts something of its own into the state: its clock.
    ReplicaDiffers,
    /// A stale answer is said to show all of the log, though not all of that is applied.
    IndexUnapplied,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::AckBeforeSync,
        Self::SyncSkipped,
        Self::VoteUnsaved,
        Self::LeaseIgnored,
        Self::BarrierIgnored,
        Self::AnswerBeforeCommit,
        Self::QuotaAtTheEdge,
        Self::UpdateAcknowledgedEarly,
        Self::OpenWorkForgotten,
        Self::DuplicateLaunch,
        Self::LaunchUnstored,
        Self::OverOffer,
        Self::ReplicaDiffers,
        Self::IndexUnapplied,
    ];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "ack-before-sync",
            Self::SyncSkipped => "sync-skipped",
            Self::VoteUnsaved => "vote-unsaved",
            Self::LeaseIgnored => "lease-ignored",
            Self::BarrierIgnored => "barrier-ignored",
            Self::AnswerBeforeCommit => "answer-before-commit",
            Self::QuotaAtTheEdge => "quota-at-the-edge",
            Self::UpdateAcknowledgedEarly => "update-acknowledged-early",
            Self::OpenWorkForgotten => "open-work-forgotten",
            Self::DuplicateLaunch => "duplicate-launch",
            Self::LaunchUnstored => "launch-unstored",
            Self::OverOffer => "over-offer",
            Self::ReplicaDiffers => "replica-differs",
            Self::IndexUnapplied => "index-unapplied",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// One bit for each that is switched on.
#[cfg(feature = "on")]
static SWITCHED: AtomicU32 = AtomicU32::new(0);

/// Breaks that promise in this process from now on.
#[cfg(feature = "on")]
pub fn switch_on(fault: Fault) {
    SWITCHED.fetch_or(1 << fault as u8, Ordering::Relaxed);
}

/// Whether that promise is broken in this process.
#[cfg(feature = "on")]
pub fn on(fault: Fault) -> bool {
    SWITCHED.load(Ordering::Relaxed) & (1 << fault as u8) != 0
}

/// Whether that promise is broken in this process: never.
#[cfg(not(feature = "on"))]
#[inline(always)]
pub const fn on(_: Fault) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_own_name() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
        assert_eq!(Fault::named(""), None);
    }

    #[test]
    fn nothing_is_broken_before_it_is_switched_on() {
        assert!(Fault::ALL.into_iter().all(|fault| !on(fault)));
    }
}
