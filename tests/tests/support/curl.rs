//! A framework made of `curl` processes: the plainest client there is.

use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use mesarch_mesos_v1::recordio;
use mesarch_testkit::DEADLINE;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Where scheduler calls go.
const PATH: &str = "/api/v1/scheduler";

/// A running `curl` that holds a subscription.
pub(crate) struct Subscription {
    _process: Child,
    output: BufReader<ChildStdout>,
    decoder: recordio::Decoder,
    pub(crate) stream_id: String,
}

/// Starts `curl` with this request body on its standard input.
async fn start(url: &str, arguments: &[&str], body: &Value) -> Result<Child> {
    let mut process = Command::new("curl")
        .args(["--silent", "--show-error", "--no-buffer", "--location", "--data-binary", "@-"])
        .args(["--header", "Content-Type: application/json"])
        .args(arguments)
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start curl; it is needed for this test")?;
    let mut input = process.stdin.take().context("standard input is piped")?;
    input.write_all(body.to_string().as_bytes()).await?;
    drop(input);
    Ok(process)
}

impl Subscription {
    /// SUBSCRIBE at any master: curl follows the redirect to the leader.
    pub(crate) async fn open(master: &str, framework_info: &Value) -> Result<Self> {
        let mut call =
            serde_json::json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": framework_info}});
        if let Some(id) = framework_info.get("id") {
            call["framework_id"] = id.clone();
        }
        let url = format!("http://{master}{PATH}");
        let arguments = ["--dump-header", "-", "--header", "Accept: application/json"];
        let mut process = start(&url, &arguments, &call).await?;
        let mut output = BufReader::new(process.stdout.take().context("standard output is piped")?);
        let stream_id =
            timeout(DEADLINE, read_stream_id(&mut output)).await.context("no answer to SUBSCRIBE")??;
        let decoder = recordio::Decoder::new(recordio::RECORD_BYTES_MAX);
        Ok(Self { _process: process, output, decoder, stream_id })
    }

    /// The next event; an error when the stream has ended.
    pub(crate) async fn next(&mut self) -> Result<Value> {
        let read = async {
            loop {
                if let Some(record) = self.decoder.next_record()? {
                    return Ok(serde_json::from_slice(&record)?);
                }
                let mut chunk = Vec::with_capacity(64 * 1024);
                if self.output.read_buf(&mut chunk).await? == 0 {
                    bail!("the stream has ended");
                }
                self.decoder.push(&chunk);
            }
        };
        timeout(DEADLINE, read).await.context("no event in time")?
    }

    /// The next event of this type; others are passed over.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Result<Value> {
        loop {
            let event = self.next().await?;
            if event["type"] == kind {
                return Ok(event);
            }
            ensure!(event["type"] != "ERROR", "the master said {event} instead of {kind}");
        }
    }
}

/// Reads heads until the one with status 200, which names the stream.
async fn read_stream_id(output: &mut BufReader<ChildStdout>) -> Result<String> {
    loop {
        let head = read_head(output).await?;
        let status = head.split_whitespace().nth(1).unwrap_or_default();
        match status {
            // A redirect's body is thrown away by curl, and so is "100 Continue".
            "100" | "307" => continue,
            "200" => {}
            _ => bail!("SUBSCRIBE was answered with: {head}"),
        }
        let header = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("Mesos-Stream-Id").then(|| value.trim().to_owned())
        });
        return header.context("the answer names no stream");
    }
}

async fn read_head(output: &mut BufReader<ChildStdout>) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(output.read_u8().await.context("curl ended before an answer came")?);
    }
    Ok(String::from_utf8(head)?)
}

/// Sends one call; the status and body of its answer.
pub(crate) async fn call(master: &str, stream_id: &str, call: &Value) -> Result<(u16, String)> {
    let url = format!("http://{master}{PATH}");
    let stream = format!("Mesos-Stream-Id: {stream_id}");
    let arguments = ["--header", stream.as_str(), "--write-out", "\n%{http_code}"];
    let process = start(&url, &arguments, call).await?;
    let output = timeout(DEADLINE, process.wait_with_output()).await.context("curl hangs")??;
    ensure!(output.status.success(), "curl failed: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let (body, status) = text.rsplit_once('\n').context("curl tells the status")?;
    Ok((status.parse()?, body.to_owned()))
}
