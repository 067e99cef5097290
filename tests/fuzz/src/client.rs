//! The client's machine against a server that says anything at any time.

use std::time::Duration;

use aldis_auth::SecretKey;
use aldis_client_core::{
    DialError, Instant, Machine, Now, OutgoingRequest, Output, Pings, Proof, Settings, TokenError,
};
use aldis_protocol::{Codec, Secret};
use bytes::Bytes;

use crate::script::{self, Step};

const START_MS: u64 = 1_767_225_600_000;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// More outputs than any one input may cause: the machine's bounds on rooms, requests and held messages together.
const MAX_OUTPUTS: usize = 20_000;

/// A line is a frame of the server. A line of `!` and a number is a close with this code; `!` alone breaks the socket.
/// A line of `?` and a client's frame is a request of the application; `=` fails what the machine waits for.
pub(crate) fn survives(data: &[u8]) {
    for (proof, pings) in [(Proof::Token, Pings::Frames), (Proof::Key(key().public_key()), Pings::Messages)] {
        let mut shell = Shell::new(proof, pings);
        script::steps(data).for_each(|step| shell.take(&step));
        shell.stop();
    }
}

fn key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

struct Shell {
    machine: Machine<usize>,
    now: Now,
    /// Whether tokens, dials and stores fail.
    fails: bool,
    /// How often each request was settled.
    settled: Vec<usize>,
}

impl Shell {
    fn new(proof: Proof, pings: Pings) -> Self {
        let machine = Machine::new(Settings {
            codec: Codec::Json,
            pings,
            audience: "relay.example.test".into(),
            proof,
            device_id: None,
            handshake_timeout: Duration::from_secs(10),
            longest_wait: Duration::from_secs(30),
            mailbox: Some(0),
            seed: [3; 32],
        });
        let now = Now { instant: Instant::default(), unix_ms: START_MS };
        let mut shell = Self { machine, now, fails: false, settled: Vec::new() };
        shell.machine.start(now);
        shell.carry_out();
        shell
    }

    fn take(&mut self, step: &Step<'_>) {
        self.pass(step.waits_ms);
        match step.bytes {
            [b'=', ..] => self.fails = !self.fails,
            [b'!'] => self.machine.handle_broken(self.now, "reset".into()),
            [b'!', code @ ..] => self.machine.handle_closed(self.now, number(code), "bye".into()),
            [b'?', frame @ ..] => self.request(frame),
            frame => self.machine.handle_frame(self.now, &Bytes::copy_from_slice(frame)),
        }
        self.carry_out();
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now.instant += Duration::from_millis(milliseconds);
        self.now.unix_ms += milliseconds;
        for _ in 0..64 {
            if self.machine.next_timeout().is_none_or(|next| next > self.now.instant) {
                return;
            }
            self.machine.handle_timeout(self.now);
            self.carry_out();
        }
        panic!("the machine asks again and again for a time that has come");
    }

    fn request(&mut self, frame: &[u8]) {
        let frame = Bytes::copy_from_slice(frame);
        let Ok(frame) = Codec::Json.decode_client(&frame) else { return };
        let Some(id) = frame.id else { return };
        let Ok(request) = OutgoingRequest::new(Codec::Json, id, frame.message) else { return };
        self.settled.push(0);
        self.machine.handle_request(self.now, request, REQUEST_TIMEOUT, self.settled.len() - 1);
    }

    fn carry_out(&mut self) {
        for _ in 0..MAX_OUTPUTS {
            let Some(output) = self.machine.poll_output() else { return };
            self.act(output);
        }
        panic!("one input causes more than {MAX_OUTPUTS} outputs");
    }

    fn act(&mut self, output: Output<usize>) {
        let now = self.now;
        match output {
            Output::AskToken(_) if self.fails => {
                let error = TokenError { error: "no token".into(), is_final: false };
                self.machine.handle_token(now, Err(error));
            }
            Output::AskToken(_) => self.machine.handle_token(now, Ok(Secret::from("token".to_owned()))),
            Output::Sign(request) => self.machine.handle_signature(now, Ok(key().sign_request(&request))),
            Output::Dial if self.fails => {
                self.machine.handle_dial_failed(now, DialError::TimedOut);
            }
            Output::Dial => self.machine.handle_dialed(now),
            Output::Ping => self.machine.handle_pong(now),
            Output::Close => self.machine.handle_closed(now, 1000, String::new()),
            Output::Store(_) if self.fails => self.machine.handle_stored(now, Err("the disk is full".into())),
            Output::Store(_) => self.machine.handle_stored(now, Ok(())),
            Output::Settle(request, _) => self.settled[request] += 1,
            Output::Send(_)
            | Output::HangUp
            | Output::State(_)
            | Output::Session(_)
            | Output::Event(_)
            | Output::Cursor(_) => {}
        }
    }

    /// Stops the machine; every request has exactly one outcome by then.
    fn stop(mut self) {
        self.machine.handle_stop(self.now);
        self.carry_out();
        (0..4).for_each(|_| self.pass(60_000));
        assert!(self.machine.is_finished(), "a stopped machine ends");
        assert!(self.settled.iter().all(|times| *times == 1), "outcomes of the requests: {:?}", self.settled);
    }
}

/// A close code; what is no number counts as 1006.
fn number(digits: &[u8]) -> u16 {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(1006)
}
