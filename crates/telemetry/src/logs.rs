//! Log lines: `RUST_LOG`-style filter, standard error, text. How much is told can be raised for a while.

use std::{
    io::IsTerminal,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

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
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter_reloading();
    let handle = builder.reload_handle();
    builder.try_init().map_err(|_| LogError::AlreadySet)?;
    let reload = Box::new(move |filter| handle.reload(filter).is_ok());
    let verbosity = Verbosity { configured: text, reload, now: Mutex::new(Raised::default()) };
    // Nobody else gets here: there is one log.
    let _ = VERBOSITY.set(verbosity);
    Ok(())
}

/// The log of this process, once [`init`] has set it up.
static VERBOSITY: OnceLock<Verbosity> = OnceLock::new();

/// The longest time for which more may be told: a day.
pub const RAISED_MAX: Duration = Duration::from_secs(24 * 60 * 60);

struct Verbosity {
    /// The filter at level 0.
    configured: String,
    /// Whether the new filter is in force.
    reload: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
    now: Mutex<Raised>,
}

#[derive(Default)]
struct Raised {
    level: u32,
    /// Counts changes: only the newest one's end brings the level back.
    change: u64,
    /// Waits for that end.
    end: Option<tokio::task::AbortHandle>,
}

/// Why the log does not tell more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerbosityError {
    /// [`init`] was not called in this process.
    #[error("this process writes no log of its own")]
    NoLog,
    /// Beyond [`RAISED_MAX`].
    #[error("the duration must be at most {} seconds", RAISED_MAX.as_secs())]
    TooLong,
}

/// How much is told now: 0 as configured, 1 our own from `debug`, 2 and more our own from `trace`.
pub fn verbosity() -> u32 {
    VERBOSITY.get().map_or(0, |log| log.now.lock().unwrap_or_else(PoisonError::into_inner).level)
}

/// Tells as much as [`verbosity`] says of `level` for `duration`, then as configured again. Call within a tokio runtime.
pub fn set_verbosity(level: u32, duration: Duration) -> Result<(), VerbosityError> {
    let log = VERBOSITY.get().ok_or(VerbosityError::NoLog)?;
    if duration > RAISED_MAX {
        return Err(VerbosityError::TooLong);
    }
    let change = log.set(level);
    let end = tokio::spawn(async move {
        tokio::time::sleep(duration).await;
        log.fall_back(change);
    });
    log.ends_with(change, end.abort_handle());
    Ok(())
}

impl Verbosity {
    /// Which change this is.
    fn set(&self, level: u32) -> u64 {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = now.end.take() {
            end.abort();
        }
        *now = Raised { level, change: now.change + 1, end: None };
        self.apply(level);
        now.change
    }

    /// Whoever waits for the end of a change gives up when a newer one comes, or came meanwhile.
    fn ends_with(&self, change: u64, end: tokio::task::AbortHandle) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        match now.change == change {
            true => now.end = Some(end),
            false => end.abort(),
        }
    }

    fn fall_back(&self, change: u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.change == change {
            now.level = 0;
            self.apply(0);
        }
    }

    fn apply(&self, level: u32) {
        // The configured text was parsed before, and so were the additions.
        if let Ok(filter) = parse(&at_level(&self.configured, level)) {
            (self.reload)(filter);
        }
    }
}

/// The filter's text at a level.
fn at_level(configured: &str, level: u32) -> String {
    match level {
        0 => configured.to_owned(),
        1 => format!("{configured},mesarch=debug"),
        _ => format!("{configured},mesarch=trace"),
    }
}

fn parse(text: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(text).map_err(|source| LogError::Filter { text: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_told_until_the_newest_change_ends() {
        let filters = std::sync::Arc::new(Mutex::new(Vec::new()));
        let seen = filters.clone();
        let reload = move |filter: EnvFilter| {
            seen.lock().unwrap().push(filter.to_string());
            true
        };
        let log = Verbosity {
            configured: "info".to_owned(),
            reload: Box::new(reload),
            now: Mutex::new(Raised::default()),
        };
        let first = log.set(1);
        let second = log.set(3);
        log.fall_back(first);
        assert_eq!(log.now.lock().unwrap().level, 3, "an older change's end is no end");
        log.fall_back(second);
        assert_eq!(log.now.lock().unwrap().level, 0);
        let filters = filters.lock().unwrap();
        assert_eq!(*filters, ["mesarch=debug,info", "mesarch=trace,info", "info"]);
    }

    #[test]
    fn without_a_log_nothing_can_be_raised() {
        assert_eq!(verbosity(), 0);
        assert_eq!(set_verbosity(1, Duration::ZERO), Err(VerbosityError::NoLog));
    }

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
