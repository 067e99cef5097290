//! The source of connections: a TCP port, or a simulated one.

use std::{future::Future, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// A byte stream.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for S {}

/// Accepts connections.
pub(crate) trait Accept: Send + Sync + 'static {
    /// The stream of a connection.
    type Stream: ByteStream;

    /// Accepts the next connection and returns its peer's address.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let (stream, peer) = Self::accept(self).await?;
            // Messages are small and must not wait.
            if stream.set_nodelay(true).is_ok() {
                return Ok((stream, peer));
            }
        }
    }
}
