//! Log lines: `RUST_LOG`-style filter, standard error, text.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The environment variable that holds the filter when no flag gives one.
pub const FILTER_VARIABLE: &str = "RUST_LOG";

/// What is logged when nobody said otherwise: ours from `info`, noisy dependencies less: openraft warns of every try to reach a peer that is down.
pub const FILTER_DEFAULT: &str = "info,openraft=error,h2=warn,hyper=warn,tonic=warn,tower=warn,sled=warn";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter text is not in the form `level` or `target=level,…`.
    #[error("the log filter {text:?} is not understood (examples: info, debug, mesarch_master=debug,info)")]
    Filter {
        /// What was given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// [`init`] was called before in this process, or something else took its place.
    #[error("logging is already set up in this process")]
    AlreadySet,
}

/// Sends events to standard error. `filter` wins over [`FILTER_VARIABLE`], which wins over [`FILTER_DEFAULT`].
///
/// Colours are used only on a terminal.
pub fn init(filter: Option<&str>) -> Result<(), LogError> {
    let from_environment = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let text = filter.map(str::to_owned).or(from_environment).unwrap_or_else(|| FILTER_DEFAULT.to_owned());
    let filter = parse(&text)?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|_| LogError::AlreadySet)
}

fn parse(text: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(text).map_err(|source| LogError::Filter { text: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_or_targets_with_levels() {
        for good in ["info", "debug", "mesarch_master=debug,info", FILTER_DEFAULT] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["mesarch=loud", "=,="] {
            let error = parse(bad).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
