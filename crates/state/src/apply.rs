//! What each command does: a file per command family, beside what several of them share.

mod accept;
mod administration;
mod adopt;
mod agent;
mod attach;
mod convert;
mod framework;
mod group;
mod inventory;
mod inverse;
mod lifecycle;
mod maintenance;
mod offer;
mod operation;
mod policy;
mod provider;
mod quota;
mod removal;
mod task;
mod term;
mod unreachable;
mod update;

#[cfg(test)]
mod accept_test;
#[cfg(test)]
mod administration_test;
#[cfg(test)]
mod agent_test;
#[cfg(test)]
mod attach_test;
#[cfg(test)]
mod convert_test;
#[cfg(test)]
mod framework_test;
#[cfg(test)]
mod group_test;
#[cfg(test)]
mod maintenance_test;
#[cfg(test)]
mod offer_test;
#[cfg(test)]
mod operation_test;
#[cfg(test)]
mod provider_test;
#[cfg(test)]
mod quota_test;
#[cfg(test)]
mod term_test;
#[cfg(test)]
mod update_test;

pub(crate) use administration::GONE_AGENTS_MAX;
pub(crate) use unreachable::forgetting_hash;
