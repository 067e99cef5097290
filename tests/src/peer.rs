//! A client that speaks JSON.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Frame, Incoming, PATIENCE, RawSocket, unique};

/// One end of a session, in JSON. It skips nothing that the server sends: each frame must be expected by its type.
/// Only alerts are set aside until a scenario asks for them, because they arrive when something happens to the
/// account.
#[derive(Debug)]
pub struct Peer {
    /// The socket below, for frames that are not JSON.
    pub socket: RawSocket,
    /// The last `connected`, or null.
    pub connected: Value,
    alerts: VecDeque<String>,
}

impl Peer {
    /// Speaks JSON over a socket.
    #[must_use]
    pub fn new(socket: RawSocket) -> Self {
        Self { socket, connected: Value::Null, alerts: VecDeque::new() }
    }

    /// The device id of this session.
    #[must_use]
    #[track_caller]
    pub fn device_id(&self) -> String {
        self.connected["device_id"].as_str().expect("a connected session").to_owned()
    }

    /// Sends a message.
    #[expect(clippy::needless_pass_by_value, reason = "scenarios hand over json!(…)")]
    pub fn sends(&mut self, message: Value) {
        self.sends_text(&message.to_string());
    }

    /// Sends exactly this text.
    pub fn sends_text(&mut self, text: &str) {
        self.socket.sends(&Frame::text(text));
    }

    /// Expects the next message to have this type.
    #[track_caller]
    pub fn expects(&mut self, kind: &str) -> Value {
        self.expects_within(kind, PATIENCE)
    }

    /// Expects the next message to have this type and to arrive within `patience`.
    #[track_caller]
    pub fn expects_within(&mut self, kind: &str, patience: Duration) -> Value {
        let text = self.text(kind, patience);
        let message: Value = serde_json::from_str(&text).expect("JSON from the server");
        assert_eq!(message["type"], kind, "awaited `{kind}`, got {text}");
        message
    }

    /// The next message of any type.
    #[track_caller]
    pub fn expects_any(&mut self) -> Value {
        let text = self.text("any message", PATIENCE);
        serde_json::from_str(&text).expect("JSON from the server")
    }

    /// Expects the next message to have this type, and returns its text.
    #[track_caller]
    pub fn expects_text(&mut self, kind: &str) -> String {
        let text = self.text(kind, PATIENCE);
        let message: Value = serde_json::from_str(&text).expect("JSON from the server");
        assert_eq!(message["type"], kind, "awaited `{kind}`, got {text}");
        text
    }

    /// Expects `connected` and stores it.
    #[track_caller]
    pub fn expects_connected(&mut self) -> Value {
        self.connected = self.expects("connected");
        self.connected.clone()
    }

    /// Expects `error` with this code.
    #[track_caller]
    pub fn expects_error(&mut self, code: &str) -> Value {
        let error = self.expects("error");
        assert_eq!(error["payload"]["code"], code, "awaited the error `{code}`, got {error}");
        assert!(error["payload"]["message"].is_string(), "an error speaks to people too: {error}");
        error
    }

    /// Expects a close with this code and reason, after the `error` that announces it, if one comes.
    #[track_caller]
    pub fn expects_close(&mut self, code: u16, reason: &str) {
        assert_eq!(self.closing(code), reason, "the reason of the close {code}");
    }

    /// Expects a close with this code, after the `error` that announces it, if one comes.
    #[track_caller]
    pub fn expects_close_code(&mut self, code: u16) {
        self.closing(code);
    }

    /// Expects the `error` that announces a close, then the close.
    #[track_caller]
    pub fn expects_error_and_close(&mut self, error: &str, close: u16) -> Value {
        let error = self.expects_error(error);
        assert_eq!(error["payload"]["close"], close, "the error before a close names it: {error}");
        self.closing(close);
        error
    }

    /// Expects the refusal at `/v1/connect`: `auth_failure`, then the close.
    #[track_caller]
    pub fn expects_refusal(&mut self, code: &str, close: u16) -> Value {
        let failure = self.expects("auth_failure");
        assert_eq!(failure["code"], code, "awaited the failure `{code}`, got {failure}");
        assert!(failure["message"].is_string(), "a refusal speaks to people too: {failure}");
        match self.socket.next("a close frame") {
            Incoming::Close(given, _) if given == close => self.socket.expects_end(close),
            other => panic!("awaited the close {close}, got {other:?}"),
        }
        failure
    }

    /// Confirms that this many counted messages were received, and waits until the server knows.
    pub fn confirms(&mut self, count: u64) {
        self.sends(json!({"type": "received", "count": count}));
        self.expects_nothing();
    }

    /// Expects that nothing has arrived for this session: the next message answers a ping that is sent now. Messages
    /// that another session caused before its own `ack` would arrive earlier.
    #[track_caller]
    pub fn expects_nothing(&mut self) {
        let id = unique("fence");
        self.sends(json!({"type": "ping", "id": id}));
        let pong = self.expects("pong");
        assert_eq!(pong["id"], id, "the answer to this ping");
    }

    /// The next text. Alerts are set aside unless one is expected.
    #[track_caller]
    fn text(&mut self, awaited: &str, patience: Duration) -> String {
        if awaited == "alert"
            && let Some(alert) = self.alerts.pop_front()
        {
            return alert;
        }
        loop {
            match self.socket.next_within(awaited, patience) {
                Incoming::Text(text) if awaited != "alert" && is_alert(&text) => self.alerts.push_back(text),
                Incoming::Text(text) => return text,
                other => panic!("awaited `{awaited}`, got {other:?}"),
            }
        }
    }

    #[track_caller]
    fn closing(&mut self, code: u16) -> String {
        let reason = loop {
            match self.socket.next("a close frame") {
                Incoming::Close(given, reason) if given == code => break reason,
                Incoming::Text(text) if names_close(&text, code) || is_alert(&text) => {}
                other => panic!("awaited the close {code}, got {other:?}"),
            }
        };
        self.socket.expects_end(code);
        reason
    }
}

fn is_alert(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|message| message["type"] == "alert")
}

fn names_close(text: &str, code: u16) -> bool {
    let message: Value = serde_json::from_str(text).expect("JSON from the server");
    message["type"] == "error" && message["payload"]["close"] == code
}
