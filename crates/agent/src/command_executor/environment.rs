//! What the agent tells the command executor through its environment.

use std::{env, path::PathBuf};

use mesarch_types::Millis;

use crate::environment::parse_duration;

/// How long the agent may be away if it does not say.
const RECOVERY_TIMEOUT: Millis = Millis::from_secs(900);
const BACKOFF_MAX: Millis = Millis::from_secs(1);

/// The variables that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Environment {
    /// `host:port` of the agent.
    pub(super) agent: String,
    pub(super) framework: String,
    pub(super) executor: String,
    pub(super) sandbox: PathBuf,
    /// Whether to outlive the agent, and for how long; none: end with it.
    pub(super) recovery: Option<Millis>,
    /// Longest pause between two tries to subscribe.
    pub(super) backoff_max: Millis,
}

/// A variable is missing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variable {0} is not set; this subcommand is started by an agent")]
pub(super) struct Missing(&'static str);

impl Environment {
    /// From this process.
    pub(super) fn read() -> Result<Self, Missing> {
        Self::from(|name| env::var(name).ok())
    }

    fn from(get: impl Fn(&str) -> Option<String>) -> Result<Self, Missing> {
        let need = |name: &'static str| get(name).ok_or(Missing(name));
        let duration = |name: &str| get(name).as_deref().and_then(parse_duration);
        let checkpoint = get("MESOS_CHECKPOINT").is_some_and(|value| value == "1");
        Ok(Self {
            agent: need("MESOS_AGENT_ENDPOINT")?,
            framework: need("MESOS_FRAMEWORK_ID")?,
            executor: need("MESOS_EXECUTOR_ID")?,
            sandbox: need("MESOS_SANDBOX")?.into(),
            recovery: checkpoint.then(|| duration("MESOS_RECOVERY_TIMEOUT").unwrap_or(RECOVERY_TIMEOUT)),
            backoff_max: duration("MESOS_SUBSCRIPTION_BACKOFF_MAX").unwrap_or(BACKOFF_MAX).min(BACKOFF_MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(name: &str) -> Option<String> {
        let value = match name {
            "MESOS_AGENT_ENDPOINT" => "127.0.0.1:5051",
            "MESOS_FRAMEWORK_ID" => "F",
            "MESOS_EXECUTOR_ID" => "e",
            "MESOS_SANDBOX" => "/box",
            "MESOS_RECOVERY_TIMEOUT" => "15mins",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn recovery_only_with_checkpointing() {
        assert_eq!(Environment::from(get).unwrap().recovery, None);
        let checkpoint = |name: &str| {
            if name == "MESOS_CHECKPOINT" { Some("1".into()) } else { get(name) }
        };
        assert_eq!(Environment::from(checkpoint).unwrap().recovery, Some(Millis(900_000)));
    }

    #[test]
    fn a_missing_variable_is_named() {
        let without = |name: &str| get(name).filter(|_| name != "MESOS_EXECUTOR_ID");
        assert_eq!(Environment::from(without), Err(Missing("MESOS_EXECUTOR_ID")));
    }
}
