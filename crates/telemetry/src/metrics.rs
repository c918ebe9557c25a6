//! The process-wide metrics recorder, rendered in the text form that Prometheus reads.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;

use crate::names;

/// Upper bounds of histograms whose name ends in `_seconds`: 50 µs to 30 s.
pub const SECONDS_BUCKETS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];
/// Upper bounds of histograms whose name ends in `_bytes`: 256 B to 16 MiB.
pub const BYTES_BUCKETS: [f64; 9] =
    [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];
/// Upper bounds of all other histograms, which count things.
pub const COUNT_BUCKETS: [f64; 12] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// How often old histogram samples are folded away. Rendering does it too, so this bounds memory without a scraper.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Why metrics could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("metrics could not be set up: {0}")]
pub struct InstallError(#[from] BuildError);

/// Renders all metrics of this process. Cheap to clone.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// All metrics, in Prometheus' text form. Takes time proportional to their number; does no I/O.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds old samples away every [`UPKEEP_INTERVAL`], until aborted. Call within a tokio runtime.
    pub fn run_upkeep(&self) -> JoinHandle<()> {
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
            loop {
                ticks.tick().await;
                handle.run_upkeep();
            }
        })
    }
}

/// Makes the recorder of this process and describes every metric in [`names`]. Fails if one is installed.
pub fn install() -> Result<Exporter, InstallError> {
    let handle = builder()?.install_recorder()?;
    names::describe();
    Ok(Exporter { handle })
}

/// An exporter of its own, attached to nothing: for tests and tools that serve `/metrics` without a global recorder.
pub fn detached() -> Result<Exporter, InstallError> {
    let handle = builder()?.build_recorder().handle();
    Ok(Exporter { handle })
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS)?
        .set_buckets(&COUNT_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_the_buckets_of_their_unit() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("probe_seconds").record(0.003);
            metrics::histogram!("probe_bytes").record(300.0);
            metrics::histogram!("probe_entries").record(3.0);
        });
        let text = handle.render();
        assert!(text.contains(r#"probe_seconds_bucket{le="0.005"} 1"#), "{text}");
        assert!(text.contains(r#"probe_bytes_bucket{le="1024"} 1"#), "{text}");
        assert!(text.contains(r#"probe_entries_bucket{le="4"} 1"#), "{text}");
    }

    #[test]
    fn buckets_rise() {
        for buckets in [&SECONDS_BUCKETS[..], &BYTES_BUCKETS, &COUNT_BUCKETS] {
            assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
