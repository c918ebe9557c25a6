//! What several tests need.

pub(crate) mod admin;
pub(crate) mod allocation;
pub(crate) mod curl;
pub(crate) mod fleet;
pub(crate) mod odd_machine;
pub(crate) mod steady;
