//! An authenticator app.

use std::fmt;

use aldis_protocol::statement::Transport;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::{Answer, Http, Identity, TestServer, now_ms};

/// The authenticator app of an account's owner. Each code works once, and two codes stay valid however slow a scenario
/// is: [`code`](Self::code) and [`next_code`](Self::next_code). Enrolling uses the first.
pub struct Authenticator {
    secret: Vec<u8>,
    base32: String,
    /// The ten recovery codes.
    pub recovery_codes: Vec<String>,
}

impl Authenticator {
    /// Enrols the caller, and activates the factor with the app's current code.
    #[must_use]
    #[track_caller]
    pub fn enroll(http: &Http) -> Self {
        let app = Self::read(&http.post("/api/auth/totp/enroll", &json!({})).expects(200));
        app.verifies(http, &app.code()).expects(204);
        app
    }

    /// Reads the response to an enrolment.
    #[must_use]
    #[track_caller]
    pub fn read(enrolment: &Value) -> Self {
        let codes = enrolment["recovery_codes"].as_array().expect("recovery codes");
        let base32 = enrolment["secret"].as_str().expect("a secret").to_owned();
        Self {
            secret: decode(&base32),
            base32,
            recovery_codes: codes.iter().map(|code| code.as_str().expect("a code").to_owned()).collect(),
        }
    }

    /// The bytes of the secret.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// The secret as people type it in.
    #[must_use]
    pub fn base32(&self) -> String {
        self.base32.clone()
    }

    /// The code that the app shows.
    #[must_use]
    pub fn code(&self) -> String {
        self.code_in(0)
    }

    /// The code that the app shows next.
    #[must_use]
    pub fn next_code(&self) -> String {
        self.code_in(1)
    }

    /// The code that the app shows this many steps of 30 s from now.
    #[must_use]
    pub fn code_in(&self, steps: i64) -> String {
        let step = (now_ms() / 30_000).checked_add_signed(steps).expect("a step");
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.secret).expect("a key of any length");
        mac.update(&step.to_be_bytes());
        let mac = mac.finalize().into_bytes();
        let at = usize::from(mac[19] & 15);
        let number = u32::from_be_bytes([mac[at] & 0x7f, mac[at + 1], mac[at + 2], mac[at + 3]]);
        format!("{:06}", number % 1_000_000)
    }

    /// Six digits that are not a currently valid code.
    #[must_use]
    pub fn wrong_code(&self) -> String {
        let good: Vec<String> = (-2..=2).map(|steps| self.code_in(steps)).collect();
        (0..).map(|number| format!("{number:06}")).find(|code| !good.contains(code)).expect("a wrong code")
    }

    /// Sends a code to `POST /api/auth/totp/verify`.
    #[must_use]
    pub fn verifies(&self, http: &Http, code: &str) -> Answer {
        http.post("/api/auth/totp/verify", &json!({"code": code}))
    }

    /// Asks to remove the factor.
    #[must_use]
    pub fn removes(&self, http: &Http, code: &str) -> Answer {
        let body = json!({"code": code}).to_string().into_bytes();
        http.send("DELETE", "/api/auth/totp", &[("content-type", "application/json")], body)
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator(..)")
    }
}

impl Identity {
    /// Signs in over HTTP with a second factor.
    #[must_use]
    #[track_caller]
    pub fn signs_in_with(&self, server: &TestServer, device_id: Option<&str>, code: &str) -> Answer {
        let challenge = self.challenge(server, device_id);
        let mut body = json!({
            "public_key": self.public(), "challenge": challenge["challenge"], "totp_code": code,
            "signature": self.signs(&challenge, Transport::Http, device_id),
        });
        if let Some(device_id) = device_id {
            body["device_id"] = json!(device_id);
        }
        server.http().post("/api/auth/verify", &body)
    }
}

fn decode(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in text.chars() {
        let value = alphabet.find(symbol).expect("base32");
        bits = (bits << 5) | u32::try_from(value).expect("five bits");
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_be_bytes()[3]);
        }
    }
    bytes
}
