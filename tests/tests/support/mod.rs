//! What several tests need.

pub(crate) mod admin;
pub(crate) mod allocation;
pub(crate) mod curl;
pub(crate) mod fleet;
pub(crate) mod steady;
