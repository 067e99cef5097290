//! Users, devices and identities.

use std::fmt;

use aldis_auth::SecretKey;
use aldis_protocol::DeviceId;
use aldis_protocol::statement::{AuthChallenge, Transport};
use serde_json::{Value, json};

use crate::{Answer, Http, Peer, TestServer, Upgrade, base64, unbase64, unique};

/// An account by email and password, signed in.
#[derive(Debug, Clone)]
pub struct User {
    /// The user id.
    pub id: String,
    /// The address.
    pub email: String,
    /// The password.
    pub password: String,
    /// The access token.
    pub token: String,
    /// The refresh token.
    pub refresh_token: String,
    server: TestServer,
}

/// A registered device with a key of its own.
#[derive(Debug)]
pub struct Device {
    /// The device id.
    pub id: String,
    /// The device's key.
    pub key: Identity,
}

/// An Ed25519 key of an identity or a device.
pub struct Identity {
    key: SecretKey,
}

impl User {
    /// Registers a new user.
    #[must_use]
    #[track_caller]
    pub fn register(server: &TestServer) -> Self {
        let email = format!("{}@aldis.example", unique("somebody"));
        let password = "correct horse battery".to_owned();
        let answer = server.http().post("/auth/register", &json!({"email": email, "password": password}));
        let tokens = answer.expects(201);
        Self {
            id: text(&tokens, "user_id"),
            email,
            password,
            token: text(&tokens, "access_token"),
            refresh_token: text(&tokens, "refresh_token"),
            server: server.clone(),
        }
    }

    /// Allows another user, who may then reach this one.
    pub fn allows(&self, other: &Self) {
        let headers = [("Content-Type", "application/json")];
        let body = br#"{"state":"allowed"}"#.to_vec();
        self.http().send("PUT", &format!("/api/contacts/{}", other.id), &headers, body).expects(204);
    }

    /// An HTTP client with this user's token.
    #[must_use]
    pub fn http(&self) -> Http {
        self.server.http().bearer(&self.token)
    }

    /// Registers a device whose id begins with `name`.
    #[must_use]
    #[track_caller]
    pub fn device(&self, name: &str) -> Device {
        let device = Device { id: unique(name), key: Identity::new() };
        self.registers(&device).expects(201);
        device
    }

    /// Asks for a device to be registered.
    #[must_use]
    pub fn registers(&self, device: &Device) -> Answer {
        self.http().post("/devices/register", &json!({"device_id": device.id, "pubkey": device.key.public()}))
    }

    /// Logs in again; `changes` are added to the body.
    #[must_use]
    pub fn logs_in(&self, changes: &Value) -> Answer {
        let mut body = json!({"email": self.email, "password": self.password});
        for (name, value) in changes.as_object().expect("changes") {
            body[name] = value.clone();
        }
        self.server.http().post("/auth/login", &body)
    }

    /// A new device of this user, connected at `/signal`.
    #[must_use]
    #[track_caller]
    pub fn connects(&self, name: &str) -> Peer {
        self.opens(&self.device(name).id)
    }

    /// A session of a registered device at `/signal`.
    #[must_use]
    #[track_caller]
    pub fn opens(&self, device_id: &str) -> Peer {
        Upgrade::to("/signal").query("device_id", device_id).bearer(&self.token).connected(&self.server)
    }

    /// A session of an ephemeral device at `/signal`.
    #[must_use]
    #[track_caller]
    pub fn opens_ephemeral(&self) -> Peer {
        Upgrade::to("/signal").bearer(&self.token).connected(&self.server)
    }
}

impl Identity {
    /// A new key.
    #[must_use]
    pub fn new() -> Self {
        Self::of(SecretKey::generate(&mut rand::rng()))
    }

    /// Wraps an existing key.
    #[must_use]
    pub fn of(key: SecretKey) -> Self {
        Self { key }
    }

    /// The public key as the JSON codec writes it.
    #[must_use]
    pub fn public(&self) -> String {
        base64(self.key.public_key().as_bytes())
    }

    /// The fingerprint of the identity that begins with this key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.key.public_key().fingerprint().to_string()
    }

    /// The secret key.
    #[must_use]
    pub fn secret(&self) -> SecretKey {
        SecretKey::from_bytes(&self.key.to_bytes())
    }

    /// Signs a challenge (docs/protocol/signing.md). `challenge` is a message or body with `challenge`, `audience` and
    /// `expires_at_ms`.
    #[must_use]
    #[track_caller]
    pub fn signs(&self, challenge: &Value, transport: Transport, device_id: Option<&str>) -> String {
        let device_id: Option<DeviceId> = device_id.map(|id| id.parse().expect("a device id"));
        let signature = self.key.sign_challenge(&AuthChallenge {
            audience: challenge["audience"].as_str().expect("an audience"),
            transport,
            challenge: &unbase64(challenge["challenge"].as_str().expect("a challenge")),
            public_key: self.key.public_key().as_bytes(),
            device_id: device_id.as_ref(),
            expires_at_ms: challenge["expires_at_ms"].as_u64().expect("an expiry"),
        });
        base64(&signature)
    }

    /// Asks for a challenge over HTTP.
    #[must_use]
    #[track_caller]
    pub fn challenge(&self, server: &TestServer, device_id: Option<&str>) -> Value {
        let body = with_device(json!({"public_key": self.public()}), device_id);
        server.http().post("/api/auth/challenge", &body).expects(200)
    }

    /// Signs in over HTTP.
    #[must_use]
    #[track_caller]
    pub fn signs_in(&self, server: &TestServer, device_id: Option<&str>) -> Answer {
        let challenge = self.challenge(server, device_id);
        let signature = self.signs(&challenge, Transport::Http, device_id);
        self.verifies(server, &challenge, &signature, device_id)
    }

    /// Answers a challenge over HTTP, with any signature.
    #[must_use]
    #[track_caller]
    pub fn verifies(
        &self,
        server: &TestServer,
        challenge: &Value,
        signature: &str,
        device_id: Option<&str>,
    ) -> Answer {
        let body = json!({
            "public_key": self.public(), "challenge": challenge["challenge"], "signature": signature,
        });
        server.http().post("/api/auth/verify", &with_device(body, device_id))
    }

    /// The answer to a socket's `auth_challenge`.
    #[must_use]
    #[track_caller]
    pub fn answers(&self, challenge: &Value, device_id: Option<&str>) -> Value {
        let signature = self.signs(challenge, Transport::WebSocket, device_id);
        let message = json!({"type": "auth_response", "public_key": self.public(), "signature": signature});
        with_device(message, device_id)
    }

    /// A session proved by this key at `/v1/connect`.
    #[must_use]
    #[track_caller]
    pub fn connects(&self, server: &TestServer, device_id: Option<&str>) -> Peer {
        let mut peer = Upgrade::to("/v1/connect").peer(server);
        let challenge = peer.expects("auth_challenge");
        peer.sends(self.answers(&challenge, device_id));
        peer.expects("auth_success");
        peer.expects_connected();
        peer
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint())
    }
}

fn with_device(mut body: Value, device_id: Option<&str>) -> Value {
    if let Some(device_id) = device_id {
        body["device_id"] = json!(device_id);
    }
    body
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("`{name}` in {answer}")).to_owned()
}
