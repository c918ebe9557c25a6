//! Accepted connections that end with the node.
//!
//! The server's own shutdown waits for connections to finish, and an idle one (a crash detector's) never does. When
//! this node ends, the others should see every connection break, as if the process were gone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::stop::{Stopping, stopped};

/// How long the last answers have to leave. Raft has ended by then.
const DRAIN: Duration = Duration::from_millis(20);

/// A connection of another master.
pub(super) struct Connection {
    stream: TcpStream,
    ended: BoxFuture<'static, ()>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, mut stop: Stopping) -> Self {
        let ended = Box::pin(async move {
            stopped(&mut stop).await;
            tokio::time::sleep(DRAIN).await;
        });
        Self { stream, ended }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Polled even when there is something to read: it must be registered to wake a connection that is idle.
        if self.ended.as_mut().poll(context).is_ready() {
            self.ended = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_breaks_when_the_node_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut idle = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let mut accepted = Connection::new(listener.accept().await.unwrap().0, stopping);
        let reading = tokio::spawn(async move { accepted.read(&mut [0; 8]).await });
        stop.send_replace(true);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(idle.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
