//! What the commands that change the cluster share: they find the leader, ask it once, and say what it says.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use comfy_table::{Cell, CellAlignment, Table, presets};
use mesarch_client::masters;
use mesarch_client::operator::Operator;
use mesarch_proto::admin::{Quantity, admin_client::AdminClient};
use mesarch_types::{Quantities, Scalar};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::failure::usage;

/// How long to look for a leader while none is known.
const LEADER_WITHIN: Duration = Duration::from_secs(10);
/// How long a master may take to take a connection.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);
/// How long the leader may take to answer; a change is answered once it is committed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(75);
/// So often a master that does not lead any more may send us on.
const REDIRECTS_MAX: usize = 5;
/// Where a master that does not lead names the one that does.
const LEADER_METADATA: &str = "mesarch-leader";

/// The leader understood the request, and what is there now stands in its way.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

/// Which cluster.
#[derive(clap::Args)]
pub(super) struct Target {
    /// The masters' addresses, separated by commas
    #[arg(long, value_name = "ADDRESSES", global = true)]
    master: Option<String>,
}

/// How to show a result.
#[derive(Clone, Copy, Default, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Asks the leader. A change is sent once: whoever does not lead any more has done nothing and names the one that does;
/// after anything else the outcome is told, never tried again.
pub(super) async fn ask<T>(
    target: &Target,
    call: impl AsyncFn(AdminClient<Channel>) -> Result<Response<T>, Status>,
) -> Result<T> {
    let masters = masters::resolve(target.master.as_deref()).map_err(|error| usage(error.to_string()))?;
    let mut leader = Operator::new(masters).patient(LEADER_WITHIN).leader().await?;
    for _ in 0..REDIRECTS_MAX {
        let client = AdminClient::new(connect(&leader).await?);
        let answer = tokio::time::timeout(ANSWERED_WITHIN, call(client)).await;
        let status = match answer {
            Ok(Ok(reply)) => return Ok(reply.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => bail!("the leader {leader} did not answer in time; the change may have been made"),
        };
        match status.metadata().get(LEADER_METADATA).and_then(|value| value.to_str().ok()) {
            Some(other) => leader = other.to_owned(),
            None => return Err(failure(&leader, &status)),
        }
    }
    bail!("the masters do not agree on who leads; nothing was done")
}

/// Asks the masters in turn; the first answer.
pub(super) async fn ask_anyone<T>(
    target: &Target,
    call: impl AsyncFn(AdminClient<Channel>) -> Result<Response<T>, Status>,
) -> Result<T> {
    let masters = masters::resolve(target.master.as_deref()).map_err(|error| usage(error.to_string()))?;
    let mut last = anyhow!("no master was named");
    for master in masters {
        let asked = async {
            let client = AdminClient::new(connect(&master).await?);
            call(client).await.map_err(|status| failure(&master, &status))
        };
        match tokio::time::timeout(ANSWERED_WITHIN, asked).await {
            Ok(Ok(reply)) => return Ok(reply.into_inner()),
            Ok(Err(error)) => last = error,
            Err(_) => last = anyhow!("the master {master} did not answer in time"),
        }
    }
    Err(last)
}

fn failure(leader: &str, status: &Status) -> anyhow::Error {
    match status.code() {
        Code::InvalidArgument => usage(status.message()),
        Code::FailedPrecondition | Code::ResourceExhausted | Code::OutOfRange => {
            Refused(status.message().to_owned()).into()
        }
        Code::Unimplemented => {
            anyhow!("the leader {leader} does not know this request; is it older than this tool?")
        }
        _ => anyhow!("the leader {leader}: {}", status.message()),
    }
}

async fn connect(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .with_context(|| format!("{address} is no address"))?
        .connect_timeout(CONNECTED_WITHIN);
    endpoint.connect().await.with_context(|| format!("cannot connect to the leader {address}"))
}

/// Amounts as people write them, `cpus:4;mem:1024`; `field` names them in an error.
pub(super) fn amounts(field: &str, text: Option<&str>) -> Result<Vec<Quantity>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let quantities =
        Quantities::from_str(text).map_err(|error| usage(format!("{field}: {text:?}: {error}")))?;
    let amounts = quantities.iter();
    Ok(amounts.map(|(name, amount)| Quantity { name: name.to_string(), thousandths: amount.0 }).collect())
}

/// The same the other way; nothing is a dash.
pub(super) fn show(amounts: &[Quantity]) -> String {
    match amounts {
        [] => "-".to_owned(),
        _ => {
            let pieces = amounts.iter();
            let pieces = pieces.map(|one| format!("{}:{}", one.name, Scalar(one.thousandths)));
            pieces.collect::<Vec<_>>().join(";")
        }
    }
}

/// The same for programs.
pub(super) fn json(amounts: &[Quantity]) -> serde_json::Value {
    let amounts = amounts.iter();
    amounts.map(|one| (one.name.clone(), serde_json::json!(Scalar(one.thousandths).to_f64()))).collect()
}

/// `NAME=VALUE`; `what` says what the text is in an error.
pub(super) fn assignment<T: FromStr>(text: &str, what: &str) -> Result<(String, T)>
where
    T::Err: std::fmt::Display,
{
    let (name, value) =
        text.rsplit_once('=').ok_or_else(|| usage(format!("{what}: {text:?} is not NAME=VALUE")))?;
    if name.is_empty() {
        return Err(usage(format!("{what}: {text:?} names nothing before the =")));
    }
    let value = value.parse().map_err(|error| usage(format!("{what}: {text:?}: {error}")))?;
    Ok((name.to_owned(), value))
}

/// Columns without lines, titles first; those of `numbers` are set to the right.
pub(super) fn table(titles: &[&str], numbers: &[usize], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(titles);
    for row in rows {
        table.add_row(row.iter().enumerate().map(|(column, text)| {
            let right = numbers.contains(&column);
            Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
        }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// What happened to offers, for people.
pub(super) fn rescinded(offers: u32) -> String {
    match offers {
        0 => String::new(),
        1 => " (1 offer was taken back)".to_owned(),
        more => format!(" ({more} offers were taken back)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_shown_alike() {
        let read = amounts("--limit", Some("mem:1024;cpus:0.5")).unwrap();
        assert_eq!(show(&read), "cpus:0.5;mem:1024");
        assert_eq!(json(&read), serde_json::json!({ "cpus": 0.5, "mem": 1024.0 }));
        assert_eq!(show(&amounts("--limit", None).unwrap()), "-");
        let error = amounts("--limit", Some("cpus=1")).unwrap_err().to_string();
        assert!(error.contains("--limit: \"cpus=1\""), "{error}");
    }

    #[test]
    fn assignments_name_what_is_wrong() {
        assert_eq!(assignment::<f64>("eng/web=2.5", "weight").unwrap(), ("eng/web".to_owned(), 2.5));
        for wrong in ["eng", "eng=x", "eng=", "=1"] {
            let error = assignment::<f64>(wrong, "weight").unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("weight"), "{error}");
        }
    }

    #[test]
    fn tables_have_no_trailing_blanks() {
        let rows = [vec!["eng".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["ROLE", "WEIGHT"], &[1], &rows), "ROLE  WEIGHT\neng        2\n");
    }
}
