//! Processor time per routed message of 200 bytes.

use std::{io, ops::RangeInclusive, time::Duration};

use futures::future::try_join_all;
use tokio::time::sleep;

use crate::{
    client::{CONFIRM_EVERY, Socket, confirmation, text_frame},
    process::Process,
    spread::row,
};

const PAIRS: usize = 100;
const MESSAGE_BYTES: usize = 200;
const MESSAGES_PER_PAIR: usize = 3_000;
/// Messages of one sender in flight.
const WINDOWS: [usize; 2] = [1, 16];
const SETTLE: Duration = Duration::from_millis(500);
/// After the frame's header of 8 bytes: `{"type":"signal","id":"m-`.
const COUNTER_AT: usize = 8 + 25;
const COUNTER_DIGITS: usize = 8;

/// Prints the rows.
pub(crate) async fn measure(runs: usize) {
    for window in WINDOWS {
        let (mut floors, mut servers) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            eprintln!("routing, window {window}, run {run} of {runs}");
            floors.push(measure_program(&Process::floor(), window).await.expect("the floor"));
            servers.push(measure_program(&Process::server(), window).await.expect("the server"));
        }
        row(&format!("routed message, {window} in flight, floor, µs"), 2, floors.clone());
        row(&format!("routed message, {window} in flight, server, µs"), 2, servers.clone());
        let ratios = servers.iter().zip(&floors).map(|(server, floor)| server / floor);
        row(&format!("routed message, {window} in flight, ratio"), 2, ratios);
    }
}

/// Microseconds of processor time per message.
async fn measure_program(process: &Process, window: usize) -> io::Result<f64> {
    let tokens: Vec<_> = (0..PAIRS).map(|_| process.access_token()).collect();
    let connecting = tokens.iter().enumerate().map(|(pair, token)| connect(process, pair, token.as_deref()));
    let mut pairs = try_join_all(connecting).await?;
    // The first messages warm up.
    run(&mut pairs, window, MESSAGES_PER_PAIR / 10).await?;
    sleep(SETTLE).await;
    let before = process.processor_time();
    run(&mut pairs, window, MESSAGES_PER_PAIR).await?;
    let taken = process.processor_time() - before;
    Ok(taken.as_secs_f64() * 1e6 / (PAIRS * MESSAGES_PER_PAIR) as f64)
}

async fn run(pairs: &mut [Pair], window: usize, messages: usize) -> io::Result<()> {
    try_join_all(pairs.iter_mut().map(|pair| pair.exchange(window, messages))).await.map(drop)
}

struct Pair {
    sender: Socket,
    receiver: Socket,
    /// The sender's next message, a complete frame.
    message: Vec<u8>,
    /// How many messages were sent and received in all.
    count: usize,
    confirms: bool,
}

async fn connect(process: &Process, pair: usize, token: Option<&str>) -> io::Result<Pair> {
    let numbers = [2 * pair, 2 * pair + 1];
    let address = process.address;
    if token.is_none() {
        let sender = Socket::open(address, numbers[0], &format!("/relay/{pair}/0"), None).await?;
        let receiver = Socket::open(address, numbers[1], &format!("/relay/{pair}/1"), None).await?;
        let message = message("~01900000-0000-7000-8000-000000000001");
        return Ok(Pair { sender, receiver, message, count: 0, confirms: false });
    }
    let mut sender = Socket::open(address, numbers[0], "/signal", token).await?;
    sender.next().await?;
    let mut receiver = Socket::open(address, numbers[1], "/signal", token).await?;
    let connected = receiver.next_json().await?;
    let message = message(connected["device_id"].as_str().unwrap_or_default());
    Ok(Pair { sender, receiver, message, count: 0, confirms: true })
}

fn message(device: &str) -> Vec<u8> {
    let start = format!(r#"{{"type":"signal","id":"m-00000000","target_device_id":"{device}","payload":""#);
    let payload = "x".repeat(MESSAGE_BYTES - start.len() - 2);
    text_frame(&format!(r#"{start}{payload}"}}"#))
}

impl Pair {
    /// Sends this many messages, and ends when all have arrived and are answered.
    async fn exchange(&mut self, window: usize, messages: usize) -> io::Result<()> {
        let first = self.count + 1;
        self.count += messages;
        let sending = send(&mut self.sender, &mut self.message, first..=self.count, window, self.confirms);
        let receiving = receive(&mut self.receiver, first..=self.count, self.confirms);
        futures::try_join!(sending, receiving).map(drop)
    }
}

async fn send(
    socket: &mut Socket,
    message: &mut [u8],
    numbers: RangeInclusive<usize>,
    window: usize,
    confirms: bool,
) -> io::Result<()> {
    let (mut answered, last) = (numbers.start() - 1, *numbers.end());
    let (mut unsent, mut frames) = (numbers.peekable(), Vec::new());
    while answered < last {
        while let Some(number) = unsent.next_if(|number| *number <= answered + window) {
            set_counter(message, number);
            frames.extend_from_slice(message);
        }
        socket.send(&frames).await?;
        frames.clear();
        let mut answer = Some(socket.next().await?);
        while let Some(ack) = answer {
            if !ack.starts_with(br#"{"type":"ack""#) {
                return Err(io::Error::other(format!("{ack:?}")));
            }
            answered += 1;
            if confirms && answered.is_multiple_of(CONFIRM_EVERY) {
                frames.extend(confirmation(answered));
            }
            answer = socket.next_received();
        }
    }
    socket.send(&frames).await
}

fn set_counter(message: &mut [u8], counter: usize) {
    let digits = format!("{counter:0COUNTER_DIGITS$}");
    message[COUNTER_AT..COUNTER_AT + COUNTER_DIGITS].copy_from_slice(digits.as_bytes());
}

async fn receive(socket: &mut Socket, numbers: RangeInclusive<usize>, confirms: bool) -> io::Result<()> {
    for number in numbers {
        socket.next().await?;
        if confirms && number.is_multiple_of(CONFIRM_EVERY) {
            socket.send(&confirmation(number)).await?;
        }
    }
    Ok(())
}
