//! Where connections come from: a TCP port, and in the simulation a simulated one.

use std::{future::Future, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// What a connection is made of.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for S {}

/// Takes connections.
pub(crate) trait Accept: Send + Sync + 'static {
    /// What they are made of.
    type Stream: ByteStream;

    /// Takes the next one, and says from where it comes.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let (stream, peer) = Self::accept(self).await?;
            // Messages are small and wait for nothing.
            if stream.set_nodelay(true).is_ok() {
                return Ok((stream, peer));
            }
        }
    }
}
