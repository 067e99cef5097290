//! A connection: the core's [`Machine`], with inputs as calls and outputs as text.

use std::{io, time::Duration};

use aldis_client_core::{
    DialError, Endpoint, Instant, Machine, Now, OutgoingRequest, Pings, Proof, Settings, Since, TokenError,
    protocol::{
        Codec, RequestId, RoomId, Secret, Target,
        limits::{MAX_HISTORY_BYTES, MAX_RELAYED_MESSAGE_BYTES},
    },
};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Deserialize;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{failure::Failure, keys::key, output::Wanted, request};

/// No server sends a larger one.
const LARGEST_FRAME: usize = MAX_HISTORY_BYTES + MAX_RELAYED_MESSAGE_BYTES;

/// How to connect, and as whom.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    url: String,
    /// The room whose door is taken; `/v1/connect` where there is none.
    door: Option<String>,
    is_insecure: bool,
    /// An Ed25519 public key; none where tokens are the proof.
    public_key: Option<Vec<u8>>,
    device_id: Option<String>,
    handshake_timeout: u64,
    longest_wait: u64,
}

/// A connection that keeps itself up.
#[wasm_bindgen]
pub struct Connection {
    machine: Machine<u32>,
    url: String,
    ids: StdRng,
    now: Now,
}

#[wasm_bindgen]
impl Connection {
    /// Throws the text of a failure where an option is none that can be used.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str, seed: &[u8]) -> Result<Self, String> {
        let options: Options = serde_json::from_str(options).map_err(|error| bad(&error.to_string()))?;
        let seed: [u8; 64] = seed.try_into().map_err(|_| bad("64 random bytes are wanted"))?;
        let (first, second) = seed.split_at(32);
        let endpoint = endpoint(&options.url, options.is_insecure)?;
        let proof = match options.public_key {
            Some(bytes) => Proof::Key(key(&bytes)?),
            None => Proof::Token,
        };
        let device_id = options.device_id.map(|id| id.parse()).transpose();
        let settings = Settings {
            codec: Codec::Json,
            audience: endpoint.audience.clone(),
            pings: Pings::Messages,
            proof,
            device_id: device_id.map_err(|_| bad("the device id is malformed"))?,
            handshake_timeout: Duration::from_millis(options.handshake_timeout),
            longest_wait: Duration::from_millis(options.longest_wait),
            mailbox: None,
            seed: first.try_into().unwrap_or_default(),
        };
        Ok(Self {
            machine: Machine::new(settings),
            url: match &options.door {
                Some(room) => {
                    endpoint.chat_url(&room.parse().map_err(|_| bad("the room name is malformed"))?)
                }
                None => endpoint.door_url(),
            },
            ids: StdRng::from_seed(second.try_into().unwrap_or_default()),
            now: Now { instant: Instant::default(), unix_ms: 0 },
        })
    }

    /// The URL to dial.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The time of the inputs that follow: milliseconds of a clock that never goes back, and Unix milliseconds.
    pub fn set_time(&mut self, instant: f64, unix_ms: f64) {
        self.now = Now { instant: Instant::after_origin(from_millis(instant)), unix_ms: unix_ms as u64 };
    }

    /// Makes the first attempt.
    pub fn start(&mut self) {
        self.machine.start(self.now);
    }

    /// The token that was asked for.
    pub fn take_token(&mut self, token: &str) {
        self.machine.handle_token(self.now, Ok(Secret::from(token).into_owned()));
    }

    /// Why there is no token, and whether there will never be one again.
    pub fn take_no_token(&mut self, error: &str, is_final: bool) {
        self.machine.handle_token(self.now, Err(TokenError { error: error.into(), is_final }));
    }

    /// The key has signed.
    pub fn take_signature(&mut self, signature: &[u8]) {
        let signature = signature.try_into().map_err(|_| "a signature has 64 bytes".into());
        self.machine.handle_signature(self.now, signature);
    }

    /// The key could not sign.
    pub fn take_no_signature(&mut self, error: &str) {
        self.machine.handle_signature(self.now, Err(error.into()));
    }

    /// The WebSocket is open.
    pub fn take_dialed(&mut self) {
        self.machine.handle_dialed(self.now);
    }

    /// The dial failed.
    pub fn take_dial_failed(&mut self, error: &str, is_timeout: bool) {
        let error =
            if is_timeout { DialError::TimedOut } else { DialError::Connect(io::Error::other(error)) };
        self.machine.handle_dial_failed(self.now, error);
    }

    /// A frame arrived.
    pub fn take_frame(&mut self, frame: String) {
        if frame.len() > LARGEST_FRAME {
            return self
                .machine
                .handle_broken(self.now, "the server sent a frame that is too large".to_owned());
        }
        self.machine.handle_frame(self.now, &Bytes::from(frame));
    }

    /// The application keeps the mailbox from now on, after this number.
    pub fn keep_mailbox(&mut self, cursor: f64) {
        self.machine.handle_mailbox(self.now, cursor as u64);
    }

    /// Connects as this device from now on, by its key.
    pub fn become_device(&mut self, public_key: &[u8], device_id: &str) -> Result<(), String> {
        let proof = Proof::Key(key(public_key)?);
        let device_id = device_id.parse().map_err(|_| bad("the device id is malformed"))?;
        self.machine.handle_credentials(self.now, proof, Some(device_id));
        Ok(())
    }

    /// The page may have slept.
    pub fn take_wake(&mut self) {
        self.machine.handle_wake(self.now);
    }

    /// The browser says whether there is a network.
    pub fn take_online(&mut self, is_online: bool) {
        self.machine.handle_online(self.now, is_online);
    }

    /// The server closed the connection.
    pub fn take_closed(&mut self, code: u16, reason: String) {
        self.machine.handle_closed(self.now, code, reason);
    }

    /// The socket broke without a close frame.
    pub fn take_broken(&mut self, error: String) {
        self.machine.handle_broken(self.now, error);
    }

    /// Makes a request (`request.rs`). Its outcome is an output under `number`, unless it is thrown at once.
    pub fn request(
        &mut self,
        request: &str,
        since: Option<f64>,
        timeout: f64,
        number: u32,
    ) -> Result<(), String> {
        let message = request::read(request)?;
        let request = OutgoingRequest::new(Codec::Json, self.fresh_id(), message)
            .map_err(|error| Failure::from(&error).text())?;
        let request = request.since(since.map_or(Since::Now, |seq| Since::Seq(seq as u64)));
        self.machine.handle_request(self.now, request, from_millis(timeout), number);
        Ok(())
    }

    /// The message of the mailbox is stored.
    pub fn take_stored(&mut self) {
        self.machine.handle_stored(self.now, Ok(()));
    }

    /// The message of the mailbox could not be stored.
    pub fn take_not_stored(&mut self, error: &str) {
        self.machine.handle_stored(self.now, Err(error.into()));
    }

    /// The call with this device has ended.
    pub fn end_call(&mut self, device_id: &str) {
        if let Ok(device_id) = device_id.parse() {
            self.machine.handle_end_call(&Target::Device(device_id));
        }
    }

    /// The application takes no messages of this room at present.
    pub fn hold_room(&mut self, held: &str) {
        self.machine.hold_rooms(|room| room.as_str() != held);
    }

    /// The application takes messages of this room again.
    pub fn release_room(&mut self, room: &str) {
        if let Ok(room) = room.parse::<RoomId>() {
            self.machine.release_room(self.now, &room);
        }
    }

    /// The application stops the client.
    pub fn stop(&mut self) {
        self.machine.handle_stop(self.now);
    }

    /// The network has changed: the socket is dead.
    pub fn take_network_change(&mut self) {
        self.machine.handle_network_change(self.now);
    }

    /// The deadline of `next_timeout` has come.
    pub fn take_timeout(&mut self) {
        self.machine.handle_timeout(self.now);
    }

    /// When `take_timeout` is due, on the clock of `set_time`.
    pub fn next_timeout(&self) -> Option<f64> {
        self.machine.next_timeout().map(|deadline| deadline.since_origin().as_secs_f64() * 1000.0)
    }

    /// The outputs in order, as a JSON array.
    pub fn outputs(&mut self) -> String {
        let outputs = std::iter::from_fn(|| self.machine.poll_output());
        let wanted: Vec<_> = outputs.filter_map(Wanted::from_output).collect();
        if wanted.is_empty() { String::new() } else { serde_json::to_string(&wanted).unwrap_or_default() }
    }
}

/// Whether the device `own` yields to `peer` where both offer at once.
#[wasm_bindgen]
pub fn is_polite(own: &str, peer: &str) -> bool {
    let devices = own.parse().ok().zip(peer.parse().ok());
    devices.is_some_and(|(own, peer)| aldis_client_core::is_polite(&own, &peer))
}

impl Connection {
    fn fresh_id(&mut self) -> RequestId {
        RequestId::from_uuid(uuid::Builder::from_random_bytes(self.ids.random()).into_uuid())
    }
}

pub(crate) fn endpoint(url: &str, is_insecure: bool) -> Result<Endpoint, String> {
    let endpoint = Endpoint::parse(url);
    let endpoint = if is_insecure { endpoint } else { endpoint.and_then(Endpoint::protected) };
    endpoint.map_err(|error| Failure::mistake("invalid_url", error.to_string()).text())
}

fn from_millis(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default()
}

pub(crate) fn bad(message: &str) -> String {
    Failure::mistake("bad_option", message).text()
}
