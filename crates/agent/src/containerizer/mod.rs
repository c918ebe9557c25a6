//! What runs executors. One kind today: plain processes.

pub(crate) mod posix;
pub(crate) mod process;
pub(crate) mod usage;
