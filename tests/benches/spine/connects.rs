//! Connects per second and core: from the accepted connection to `connected`, and the close by the client.

use std::{io, time::Duration};

use aldis_tests::Identity;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::sleep;

use crate::{
    client::{Socket, text_frame},
    process::Process,
    spread::row,
};

const CONNECTS: usize = 20_000;
const WARM_UP: usize = 1_000;
const AT_ONCE: usize = 32;
/// Users who take turns to connect.
const USERS: usize = 500;
const SETTLE: Duration = Duration::from_secs(1);

/// Prints the rows.
pub(crate) async fn measure(runs: usize) {
    let (mut bare, mut by_token, mut by_key) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=runs {
        eprintln!("connects, run {run} of {runs}");
        let (floor, server) = (Process::floor(), Process::server());
        let tokens: Vec<_> = (0..USERS).filter_map(|_| server.access_token()).collect();
        let keys: Vec<_> = (0..USERS).map(|_| Identity::new()).collect();
        bare.push(per_second(&floor, async |number| open_bare(&floor, number).await).await);
        by_token
            .push(per_second(&server, async |number| open_by_token(&server, number, &tokens).await).await);
        by_key.push(per_second(&server, async |number| open_by_key(&server, number, &keys).await).await);
    }
    row("upgrades per second and core, floor", 0, bare);
    row("token connects per second and core, server", 0, by_token);
    row("key connects per second and core, server", 0, by_key);
}

/// Connects per second of processor time.
async fn per_second(process: &Process, open: impl AsyncFn(usize) -> io::Result<Socket>) -> f64 {
    repeat(0..WARM_UP, &open).await.expect("connections");
    sleep(SETTLE).await;
    let before = process.processor_time();
    repeat(WARM_UP..WARM_UP + CONNECTS, &open).await.expect("connections");
    sleep(SETTLE).await;
    CONNECTS as f64 / (process.processor_time() - before).as_secs_f64()
}

async fn repeat(
    numbers: std::ops::Range<usize>,
    open: &impl AsyncFn(usize) -> io::Result<Socket>,
) -> io::Result<()> {
    let opening = stream::iter(numbers).map(async |number| open(number).await?.leave().await);
    opening.buffer_unordered(AT_ONCE).try_collect().await
}

async fn open_bare(floor: &Process, number: usize) -> io::Result<Socket> {
    Socket::open(floor.address, number, "/", None).await
}

async fn open_by_token(server: &Process, number: usize, tokens: &[String]) -> io::Result<Socket> {
    let token = &tokens[number % tokens.len()];
    let mut socket = Socket::open(server.address, number, "/signal", Some(token)).await?;
    expect(&mut socket, "connected").await?;
    Ok(socket)
}

async fn open_by_key(server: &Process, number: usize, keys: &[Identity]) -> io::Result<Socket> {
    let mut socket = Socket::open(server.address, number, "/v1/connect", None).await?;
    let challenge = expect(&mut socket, "auth_challenge").await?;
    let answer = keys[number % keys.len()].answers(&challenge, None);
    socket.send(&text_frame(&answer.to_string())).await?;
    expect(&mut socket, "auth_success").await?;
    expect(&mut socket, "connected").await?;
    Ok(socket)
}

async fn expect(socket: &mut Socket, kind: &str) -> io::Result<serde_json::Value> {
    let message = socket.next_json().await?;
    if message["type"] == kind { Ok(message) } else { Err(io::Error::other(message.to_string())) }
}
