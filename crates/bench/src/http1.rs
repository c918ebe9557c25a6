//! The least that a client of HTTP/1.1 can be: it runs on the cores of what it measures, so it costs as little as it can.
//!
//! Requests are bytes that were made before; of an answer it looks at the status and at where it ends.

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The longest head of an answer, and so what is read at least.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What is read at once of a long answer.
const PIECE_BYTES: usize = 256 * 1024;

/// One connection, kept from request to request.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Of the buffer, filled.
    filled: usize,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of the body, as it was transferred: compressed, if it was.
    pub(crate) bytes: usize,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
}

impl Connection {
    /// To `host:port`.
    pub(crate) async fn open(address: &str) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("no connection to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; PIECE_BYTES], filled: 0 })
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// If the connection ends early, or says what this client does not know.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        let head_end = self.head().await?;
        let (status, length) = read_head(&self.buffer[..head_end])?;
        self.drop_first(head_end);
        let bytes = match length {
            Length::Known(bytes) => self.skip(bytes).await.map(|()| bytes)?,
            Length::Chunked => self.chunks().await?,
        };
        Ok(Answer { status, bytes })
    }

    /// Reads until the head is there; where it ends.
    async fn head(&mut self) -> anyhow::Result<usize> {
        loop {
            if let Some(end) = find(&self.buffer[..self.filled], b"\r\n\r\n") {
                return Ok(end + 4);
            }
            if self.filled > HEAD_BYTES_MAX {
                bail!("the head of an answer does not end");
            }
            self.more().await?;
        }
    }

    /// Reads something.
    async fn more(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if read == 0 {
            bail!("the connection ended in the middle of an answer");
        }
        self.filled += read;
        Ok(())
    }

    fn drop_first(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    /// Reads so many bytes, and forgets them.
    async fn skip(&mut self, mut bytes: usize) -> anyhow::Result<()> {
        while bytes > self.filled {
            bytes -= self.filled;
            self.filled = 0;
            self.more().await?;
        }
        self.drop_first(bytes);
        Ok(())
    }

    /// Reads chunks up to the empty one; how long they are together.
    async fn chunks(&mut self) -> anyhow::Result<usize> {
        let mut sum = 0;
        loop {
            let end = loop {
                match find(&self.buffer[..self.filled], b"\r\n") {
                    Some(end) => break end,
                    None => self.more().await?,
                }
            };
            let digits = std::str::from_utf8(&self.buffer[..end])?;
            let bytes = usize::from_str_radix(digits.trim(), 16).context("a chunk without its length")?;
            self.drop_first(end + 2);
            self.skip(bytes + 2).await?;
            if bytes == 0 {
                return Ok(sum);
            }
            sum += bytes;
        }
    }
}

/// The status, and how long the body is.
fn read_head(head: &[u8]) -> anyhow::Result<(u16, Length)> {
    let head = std::str::from_utf8(head)?;
    let status =
        head.get(9..12).and_then(|digits| digits.parse().ok()).context("an answer without status")?;
    let mut length = Length::Known(0);
    for line in head.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = Length::Known(value.trim().parse().context("a content-length that is no number")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            length = Length::Chunked;
        }
    }
    Ok((status, length))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A GET, with further header lines, each with its line end.
pub(crate) fn get(host: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").into_bytes()
}

/// A POST of a call; `headers` as for [`get`].
pub(crate) fn post(host: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn answers_end_where_they_say_in_either_form() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let known = "HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nabc";
            let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n";
            let empty = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
            // In one piece: what is left over of a read belongs to the next answer.
            stream.write_all([known, chunked, empty].concat().as_bytes()).await.unwrap();
            let mut asked = Vec::new();
            stream.read_to_end(&mut asked).await.unwrap();
            asked
        });
        let mut connection = Connection::open(&address).await.unwrap();
        let request = get(&address, "/", "");
        for expect in [(202, 3), (200, 13), (503, 0)] {
            let answer = connection.ask(&request).await.unwrap();
            assert_eq!((answer.status, answer.bytes), expect);
        }
        drop(connection);
        assert_eq!(server.await.unwrap(), request.repeat(3));
    }
}
