//! What an agent tells an executor through its environment.

use std::path::PathBuf;
use std::time::Duration;

use crate::v1::{ExecutorId, FrameworkId};

/// An executor waits this long for its agent if the environment does not say.
const RECOVERY_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// The longest pause between two tries to subscribe, if the environment does not say.
const BACKOFF_DEFAULT: Duration = Duration::from_secs(2);
/// The time to end after SHUTDOWN, if the environment does not say.
const GRACE_DEFAULT: Duration = Duration::from_secs(5);

/// Why the environment is not that of an executor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A variable is missing: not started by an agent.
    #[error("{0} is not set: an executor is started by an agent, not by hand")]
    Missing(&'static str),
    /// A variable holds nonsense.
    #[error("{name} is {text:?}, which is not a duration such as 5secs")]
    Duration {
        /// The variable.
        name: &'static str,
        /// Its content.
        text: String,
    },
}

/// The environment of an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The agent's `host:port`.
    pub agent: String,
    /// Whose tasks this executor runs.
    pub framework: FrameworkId,
    /// Its own id.
    pub executor: ExecutorId,
    /// Its sandbox, as it sees it.
    pub sandbox: Option<PathBuf>,
    /// Whether it survives a restart of the agent.
    pub checkpoint: bool,
    /// How long to wait for the agent to come back.
    pub recovery_max: Duration,
    /// The longest pause between two tries to subscribe.
    pub backoff_max: Duration,
    /// The time to end after SHUTDOWN; then the agent kills.
    pub shutdown_grace: Duration,
}

impl Environment {
    /// Reads this process's environment.
    pub fn from_process() -> Result<Self, EnvironmentError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads the variables that `get` gives.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let required = |name: &'static str| {
            get(name).filter(|value| !value.is_empty()).ok_or(EnvironmentError::Missing(name))
        };
        let duration = |name: &'static str, default: Duration| match get(name) {
            None => Ok(default),
            Some(text) => parse_duration(&text).ok_or(EnvironmentError::Duration { name, text }),
        };
        Ok(Self {
            agent: required("MESOS_AGENT_ENDPOINT")?,
            framework: FrameworkId { value: required("MESOS_FRAMEWORK_ID")? },
            executor: ExecutorId { value: required("MESOS_EXECUTOR_ID")? },
            sandbox: get("MESOS_SANDBOX").or_else(|| get("MESOS_DIRECTORY")).map(PathBuf::from),
            checkpoint: get("MESOS_CHECKPOINT").is_some_and(|value| value == "1"),
            recovery_max: duration("MESOS_RECOVERY_TIMEOUT", RECOVERY_DEFAULT)?,
            backoff_max: duration("MESOS_SUBSCRIPTION_BACKOFF_MAX", BACKOFF_DEFAULT)?,
            shutdown_grace: duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", GRACE_DEFAULT)?,
        })
    }
}

/// A duration as Mesos writes it: a decimal number and one of `ns us ms secs mins hrs days weeks`.
fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "secs" => 1.0,
        "mins" => 60.0,
        "hrs" => 3600.0,
        "days" => 86_400.0,
        "weeks" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
        Environment::from_variables(|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const IDS: [(&str, &str); 3] =
        [("MESOS_AGENT_ENDPOINT", "a:5051"), ("MESOS_FRAMEWORK_ID", "f"), ("MESOS_EXECUTOR_ID", "e")];

    #[test]
    fn only_the_ids_and_the_agent_are_needed() {
        let environment = read(&IDS).unwrap();
        assert_eq!(environment.agent, "a:5051");
        assert!(!environment.checkpoint);
        assert_eq!(environment.recovery_max, RECOVERY_DEFAULT);
        assert_eq!(read(&IDS[..2]), Err(EnvironmentError::Missing("MESOS_EXECUTOR_ID")));
    }

    #[test]
    fn durations_are_in_the_form_of_mesos() {
        let table = [
            ("5secs", Some(5_000)),
            ("15mins", Some(900_000)),
            ("1.5secs", Some(1_500)),
            ("2weeks", Some(1_209_600_000)),
            ("250ms", Some(250)),
            ("5", None),
            ("secs", None),
            ("-1secs", None),
            ("5parsecs", None),
        ];
        for (text, millis) in table {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        }
        let checkpointing =
            [&IDS[..], &[("MESOS_CHECKPOINT", "1"), ("MESOS_RECOVERY_TIMEOUT", "1mins")]].concat();
        let environment = read(&checkpointing).unwrap();
        assert!(environment.checkpoint);
        assert_eq!(environment.recovery_max, Duration::from_secs(60));
    }
}
