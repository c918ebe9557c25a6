//! What each command does: a file per command family, beside what several of them share.

mod accept;
mod adopt;
mod agent;
mod attach;
mod convert;
mod framework;
mod inventory;
mod lifecycle;
mod offer;
mod operation;
mod policy;
mod quota;
mod removal;
mod task;
mod term;
mod unreachable;
mod update;

#[cfg(test)]
mod accept_test;
#[cfg(test)]
mod agent_test;
#[cfg(test)]
mod attach_test;
#[cfg(test)]
mod convert_test;
#[cfg(test)]
mod framework_test;
#[cfg(test)]
mod offer_test;
#[cfg(test)]
mod operation_test;
#[cfg(test)]
mod quota_test;
#[cfg(test)]
mod term_test;
#[cfg(test)]
mod update_test;

pub(crate) use unreachable::forgetting_hash;
