//! HTTP as bytes, for tests that care about every one of them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long any answer may take.
const WITHIN: Duration = Duration::from_secs(30);

/// One connection, on which the test writes what it wants.
#[derive(Debug)]
pub struct RawHttp {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Names in lower case, values as they came.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

impl RawHttp {
    /// Connects to `host:port`.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream =
            timeout(WITHIN, TcpStream::connect(address)).await.context("no connection in time")??;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.context("cannot write")
    }

    /// Sends a whole request; `headers` are complete lines without line ends.
    pub async fn request(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Result<Head> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n", body.len());
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let request = [head.as_bytes(), body].concat();
        self.write(&request).await?;
        self.read_head().await
    }

    /// The head of the next answer.
    pub async fn read_head(&mut self) -> Result<Head> {
        let text = String::from_utf8(self.read_until(b"\r\n\r\n").await?).context("the head is not text")?;
        let mut lines = text.split("\r\n");
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Ok(Head { status: status.context("there is no status line")?, headers: headers.collect() })
    }

    /// A body of known length.
    pub async fn read_body(&mut self, head: &Head) -> Result<Vec<u8>> {
        let length = head.header("content-length").context("the answer has no length")?.parse()?;
        self.read_exactly(length).await
    }

    /// The next chunk of a chunked body; `None` at its end. One record of an event stream is one chunk.
    pub async fn read_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let line =
            String::from_utf8(self.read_until(b"\r\n").await?).context("the chunk's length is not text")?;
        let length = usize::from_str_radix(line.trim(), 16).context("the chunk's length is not a number")?;
        let mut chunk = self.read_exactly(length + 2).await?;
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }

    /// Whether the other side has closed, with nothing more to read.
    pub async fn is_closed(&mut self) -> Result<bool> {
        if !self.buffer.is_empty() {
            return Ok(false);
        }
        Ok(timeout(WITHIN, self.stream.read_buf(&mut self.buffer)).await.context("still open")?? == 0)
    }

    /// Up to the mark, which is taken away.
    async fn read_until(&mut self, mark: &[u8]) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                let found = self.buffer[..end].to_vec();
                self.buffer.drain(..end + mark.len());
                return Ok(found);
            }
            self.fill().await?;
        }
    }

    async fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn fill(&mut self) -> Result<()> {
        let read =
            timeout(WITHIN, self.stream.read_buf(&mut self.buffer)).await.context("no answer in time")??;
        if read == 0 {
            bail!("the connection was closed");
        }
        Ok(())
    }
}
