//! Reads one figure from a master's Prometheus page.

use anyhow::Context;
use mesarch_client::operator;

/// The sum over all labels of a metric at the master `host:port`.
pub(crate) async fn read(master: &str, name: &str) -> anyhow::Result<f64> {
    let page = operator::get(master, "/metrics").await?;
    sum(&String::from_utf8_lossy(&page.body), name).with_context(|| format!("{master} has no metric {name}"))
}

fn sum(page: &str, name: &str) -> Option<f64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with('{') || rest.starts_with(' '))
            .then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    values.fold(None, |total, value| Some(total.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_over_its_namesakes() {
        let page = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\n";
        assert_eq!(sum(page, "a"), Some(5.0));
        assert_eq!(sum(page, "ab"), Some(7.0));
        assert_eq!(sum(page, "b"), None);
    }
}
