//! What each command does: a file per command family, beside what several of them share.

mod accept;
mod adopt;
mod agent;
mod attach;
mod framework;
mod inventory;
mod lifecycle;
mod offer;
mod policy;
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
mod framework_test;
#[cfg(test)]
mod offer_test;
#[cfg(test)]
mod term_test;
#[cfg(test)]
mod update_test;

pub(crate) use policy::WEIGHT_DEFAULT;
pub(crate) use unreachable::forgetting_hash;
