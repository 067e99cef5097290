//! Processor time per frame that a room of 1,000 gets.

use std::{io, time::Duration};

use futures::future::try_join_all;
use tokio::time::sleep;

use crate::{
    client::{CONFIRM_EVERY, Socket, confirmation, text_frame},
    process::Process,
    spread::row,
};

const SESSIONS: usize = 1_000;
const BROADCASTS: usize = 300;
const BROADCAST_BYTES: usize = 200;
/// Broadcasts in flight.
const WINDOWS: [usize; 2] = [1, 4];
const SETTLE: Duration = Duration::from_millis(500);

/// Prints the rows.
pub(crate) async fn measure(runs: usize) {
    for window in WINDOWS {
        let (mut floors, mut servers) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            eprintln!("rooms, window {window}, run {run} of {runs}");
            floors.push(measure_program(&Process::floor(), window, false).await.expect("the floor"));
            servers.push(measure_program(&Process::server(), window, true).await.expect("the server"));
        }
        let what = format!("deliveries per second and core, room of 1,000, {window} in flight");
        row(&format!("{what}, floor"), 0, floors.clone());
        row(&format!("{what}, server"), 0, servers.clone());
        let ratios = servers.iter().zip(&floors).map(|(server, floor)| server / floor);
        row(&format!("{what}, ratio"), 2, ratios);
    }
}

/// Frames per second of processor time that reach the others in the room.
async fn measure_program(process: &Process, window: usize, is_server: bool) -> io::Result<f64> {
    let mut sessions = Vec::with_capacity(SESSIONS);
    for number in 0..SESSIONS {
        sessions.push(connect(process, number, is_server).await?);
    }
    // Time for the last ones to settle; the first broadcasts warm up.
    sleep(SETTLE).await;
    run(&mut sessions, BROADCASTS / 10, window, is_server).await?;
    sleep(SETTLE).await;
    let before = process.processor_time();
    run(&mut sessions, BROADCASTS, window, is_server).await?;
    let taken = process.processor_time() - before;
    Ok(((SESSIONS - 1) * BROADCASTS) as f64 / taken.as_secs_f64())
}

async fn connect(process: &Process, number: usize, is_server: bool) -> io::Result<Member> {
    let confirmed = is_server.then_some(0);
    if !is_server {
        let socket = Socket::open(process.address, number, "/room", None).await?;
        return Ok(Member { socket, count: 0, confirmed });
    }
    let token = process.access_token();
    let mut socket = Socket::open(process.address, number, "/signal", token.as_deref()).await?;
    socket.next().await?;
    socket.send(&text_frame(r#"{"type":"join","room":"crowd"}"#)).await?;
    let mut member = Member { socket, count: 0, confirmed };
    while !member.next().await?.starts_with(br#"{"type":"room_update""#) {}
    Ok(member)
}

/// One sends, all others receive.
async fn run(sessions: &mut [Member], broadcasts: usize, window: usize, is_server: bool) -> io::Result<()> {
    let (sender, receivers) = sessions.split_first_mut().expect("a room with somebody in it");
    let receiving = try_join_all(receivers.iter_mut().map(|receiver| receiver.receives(broadcasts)));
    futures::try_join!(sender.sends(broadcasts, window, is_server), receiving).map(drop)
}

/// A session in the room.
struct Member {
    socket: Socket,
    /// Counted messages since `connected`.
    count: usize,
    /// How many of them are confirmed; the floor needs no confirmation.
    confirmed: Option<usize>,
}

impl Member {
    async fn next(&mut self) -> io::Result<bytes::Bytes> {
        let frame = self.socket.next().await?;
        self.count += 1;
        if let Some(confirmed) = &mut self.confirmed
            && self.count >= *confirmed + CONFIRM_EVERY
        {
            *confirmed = self.count;
            self.socket.send(&confirmation(self.count)).await?;
        }
        Ok(frame)
    }

    async fn receives(&mut self, broadcasts: usize) -> io::Result<()> {
        let mut received = 0;
        while received < broadcasts {
            received += usize::from(self.next().await?.starts_with(br#"{"type":"broadcast""#));
        }
        Ok(())
    }

    async fn sends(&mut self, broadcasts: usize, window: usize, is_server: bool) -> io::Result<()> {
        let start = r#"{"type":"broadcast","room":"crowd","payload":""#;
        let payload = "x".repeat(BROADCAST_BYTES - start.len() - 2);
        let broadcast = text_frame(&format!(r#"{start}{payload}"}}"#));
        let (mut sent, mut answered) = (0, 0);
        while answered < broadcasts {
            while sent < broadcasts && sent < answered + window {
                self.socket.send(&broadcast).await?;
                sent += 1;
            }
            let answer = self.next().await?;
            if is_server && answer.starts_with(br#"{"type":"error""#) {
                return Err(io::Error::other(format!("{answer:?}")));
            }
            answered += usize::from(answer.starts_with(br#"{"type":"ack""#));
        }
        Ok(())
    }
}
