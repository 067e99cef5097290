//! A network between clients and the server that can be cut.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::TestServer;

/// How often the listener checks whether to stop.
const LOOK: Duration = Duration::from_millis(5);

/// Passes bytes between clients and a server until it is cut.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    network: Arc<Network>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Network {
    streams: Mutex<Vec<TcpStream>>,
    is_down: AtomicBool,
    is_over: AtomicBool,
}

impl Proxy {
    /// A proxy in front of a server, on its own port.
    #[must_use]
    pub fn before(server: &TestServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener that can be left");
        let address = listener.local_addr().expect("the proxy's address");
        let network = Arc::new(Network::default());
        let (server, shared) = (server.address(), Arc::clone(&network));
        let acceptor = thread::spawn(move || accept(&listener, server, &shared));
        Self { address, network, acceptor: Some(acceptor) }
    }

    /// The URL to dial instead of the server's.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts all connections without a close frame; bytes in transit are lost. New connections are let through. Returns
    /// how many were cut.
    pub fn cut(&self) -> usize {
        self.network.cut()
    }

    /// Cuts all connections and lets nothing through until it [comes up](Self::comes_up).
    pub fn goes_down(&self) {
        self.network.is_down.store(true, Ordering::SeqCst);
        self.network.cut();
    }

    /// Lets new connections through again.
    pub fn comes_up(&self) {
        self.network.is_down.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.is_over.store(true, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            // A panic there has failed the scenario already.
            let _ = acceptor.join();
        }
        self.network.cut();
    }
}

impl Network {
    fn cut(&self) -> usize {
        let streams = std::mem::take(&mut *self.streams.lock().unwrap_or_else(PoisonError::into_inner));
        // A connection that has ended by itself is cut already.
        streams.iter().filter(|stream| stream.shutdown(Shutdown::Both).is_ok()).count() / 2
    }

    /// Adds a connection. One that was made while the network went down is cut with it.
    fn keep(&self, pair: [TcpStream; 2]) {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).extend(pair);
        if self.is_down.load(Ordering::SeqCst) {
            self.cut();
        }
    }
}

fn accept(listener: &TcpListener, server: SocketAddr, network: &Network) {
    while !network.is_over.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok(_) if network.is_down.load(Ordering::SeqCst) => {}
            Ok((client, _)) => connect(client, server, network),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK),
            Err(error) => panic!("the proxy cannot accept: {error}"),
        }
    }
}

/// Joins a client to the server. Without a server, the client is dropped as the server itself would do.
fn connect(client: TcpStream, address: SocketAddr, network: &Network) {
    let Ok(server) = TcpStream::connect(address) else { return };
    client.set_nonblocking(false).expect("a socket option");
    let clone = |stream: &TcpStream| {
        stream.set_nodelay(true).expect("a socket option");
        stream.try_clone().expect("a second handle to a socket")
    };
    network.keep([clone(&client), clone(&server)]);
    let (to_server, to_client) = (clone(&server), clone(&client));
    thread::spawn(move || pass_on(client, to_server));
    thread::spawn(move || pass_on(server, to_client));
}

/// Passes bytes on until one side is gone, then ends the other.
fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
