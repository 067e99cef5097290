//! Memory per idle connection, its growth after a large message, and the rest after a storm.

use std::{io, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    task::unconstrained,
    time::{Instant, sleep},
};

use crate::{
    client::{Socket, confirmation, text_frame},
    process::Process,
    spread::row,
};

const FEW: usize = 2_000;
const MANY: usize = 10_000;
const AT_ONCE: usize = 64;
/// How many connections do something before all others answer their pings.
const AT_A_STRETCH: usize = 500;
const MOMENT: Duration = Duration::from_millis(50);
/// Longer than the allocator keeps unused memory.
const SETTLE: Duration = Duration::from_secs(15);
const AFTER_THE_STORM: Duration = Duration::from_secs(30);
/// With its envelope, just within the 64 KiB of a message.
const LARGE_PAYLOAD: usize = 65_300;

/// The result of one run, in bytes, except the share.
struct Measured {
    per_connection: f64,
    growth: f64,
    share_left: f64,
}

/// Prints the rows.
pub(crate) async fn measure(runs: usize) {
    let (mut floors, mut servers) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        eprintln!("memory, run {run} of {runs}");
        floors.push(measure_program(&Process::floor(), false).await.expect("the floor"));
        servers.push(measure_program(&Process::server(), true).await.expect("the server"));
    }
    let ratios =
        servers.iter().zip(&floors).map(|(server, floor)| server.per_connection / floor.per_connection);
    row("idle connection, floor, bytes", 0, floors.iter().map(|floor| floor.per_connection));
    row("idle connection, server, bytes", 0, servers.iter().map(|server| server.per_connection));
    row("idle connection, ratio", 2, ratios);
    row("growth after 64 KiB each way, server, bytes", 0, servers.iter().map(|server| server.growth));
    row("left 30 s after a storm, floor, % of peak", 0, floors.iter().map(|floor| floor.share_left * 100.0));
    row(
        "left 30 s after a storm, server, % of peak",
        0,
        servers.iter().map(|server| server.share_left * 100.0),
    );
}

async fn measure_program(process: &Process, is_server: bool) -> io::Result<Measured> {
    let mut sockets = Vec::with_capacity(MANY);
    connect_up_to(FEW, process, &mut sockets).await?;
    let few = settled(process, &mut sockets).await?;
    connect_up_to(MANY, process, &mut sockets).await?;
    let many = settled(process, &mut sockets).await?;
    let mut peak = many.max(process.resident_bytes());
    let mut growth = 0.0;
    if is_server {
        exchange_large_messages(&mut sockets).await?;
        peak = peak.max(process.resident_bytes());
        growth = (settled(process, &mut sockets).await? - many) / MANY as f64;
    }
    for connection in sockets {
        connection.socket.leave().await?;
    }
    sleep(AFTER_THE_STORM).await;
    let share_left = process.resident_bytes() / peak;
    Ok(Measured { per_connection: (many - few) / (MANY - FEW) as f64, growth, share_left })
}

/// A connection and its device on the server.
struct Connection {
    socket: Socket,
    device: String,
}

async fn connect_up_to(count: usize, process: &Process, connections: &mut Vec<Connection>) -> io::Result<()> {
    while connections.len() < count {
        let next = connections.len()..connections.len() + AT_A_STRETCH;
        connections.extend(connect(process, next).await?);
        attend(connections, MOMENT).await?;
    }
    Ok(())
}

/// On the server, two connections belong to one user.
async fn connect(process: &Process, numbers: std::ops::Range<usize>) -> io::Result<Vec<Connection>> {
    let pairs = numbers.step_by(2).map(|number| async move {
        let token = process.access_token();
        let first = connect_one(process, number, token.as_deref()).await?;
        Ok::<_, io::Error>([first, connect_one(process, number + 1, token.as_deref()).await?])
    });
    let pairs: Vec<_> = stream::iter(pairs).buffered(AT_ONCE).try_collect().await?;
    Ok(pairs.into_iter().flatten().collect())
}

async fn connect_one(process: &Process, number: usize, token: Option<&str>) -> io::Result<Connection> {
    if token.is_none() {
        let socket = Socket::open(process.address, number, "/", None).await?;
        return Ok(Connection { socket, device: String::new() });
    }
    let mut socket = Socket::open(process.address, number, "/signal", token).await?;
    let connected = socket.next_json().await?;
    let device = connected["device_id"].as_str().ok_or_else(|| io::Error::other(connected.to_string()))?;
    Ok(Connection { device: device.to_owned(), socket })
}

/// The resident memory after a quiet time.
async fn settled(process: &Process, connections: &mut [Connection]) -> io::Result<f64> {
    attend(connections, SETTLE).await?;
    Ok(process.resident_bytes())
}

/// Answers pings for a while.
async fn attend(connections: &mut [Connection], duration: Duration) -> io::Result<()> {
    let until = Instant::now() + duration;
    let idle = connections.iter_mut().map(|connection| connection.socket.idle(until));
    // One task reads all of them, so that none is delayed because others have read much.
    unconstrained(stream::iter(idle).buffer_unordered(MANY).try_collect()).await
}

async fn exchange_large_messages(connections: &mut [Connection]) -> io::Result<()> {
    for first in (0..connections.len()).step_by(AT_A_STRETCH) {
        exchange_among(&mut connections[first..first + AT_A_STRETCH]).await?;
        attend(connections, MOMENT).await?;
    }
    Ok(())
}

async fn exchange_among(connections: &mut [Connection]) -> io::Result<()> {
    let exchanges = connections.chunks_exact_mut(2).map(|pair| async {
        let [one, other] = pair else { return Ok(()) };
        send_large(one, other).await?;
        send_large(other, one).await?;
        // An ack and a message for each.
        one.socket.send(&confirmation(2)).await?;
        other.socket.send(&confirmation(2)).await
    });
    stream::iter(exchanges).buffer_unordered(AT_ONCE / 4).try_collect().await
}

async fn send_large(from: &mut Connection, to: &mut Connection) -> io::Result<()> {
    let (device, payload) = (&to.device, "x".repeat(LARGE_PAYLOAD));
    let message =
        format!(r#"{{"type":"signal","id":"large","target_device_id":"{device}","payload":"{payload}"}}"#);
    from.socket.send(&text_frame(&message)).await?;
    let ack = from.socket.next_json().await?;
    let received = to.socket.next().await?.len();
    if ack["status"] == "delivered" && received > LARGE_PAYLOAD {
        Ok(())
    } else {
        Err(io::Error::other(ack.to_string()))
    }
}
