//! The leader against the real state machine: one log, in one thread, in virtual time.

mod administration;
mod attach;
mod cluster;
mod frameworks;
mod planning;
mod players;
mod properties;
mod removal;
mod sharing;
