//! Compares keys and signatures with vectors of another implementation.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lint spares test functions, but not their helpers"
)]

use aldis_auth::{EncryptionKey, InvalidKey, PublicKey, SecretKey, TotpCode, TotpSecret};
use aldis_protocol::{
    DeviceId, Fingerprint, Hash, binary,
    statement::{
        AuthChallenge, DeviceStatement, EncryptionKeyStatement, KeyRotation, KeyRotationCancel,
        SignalStatement, Transport,
    },
};
use serde_json::Value;

/// One statement of the vectors.
struct Vector(Value);

impl Vector {
    fn named(name: &str) -> Self {
        let all = file();
        let statements = all["statements"].as_array().unwrap();
        Self(statements.iter().find(|statement| statement["name"] == name).unwrap().clone())
    }

    fn text(&self, field: &str) -> &str {
        self.0["fields"][field].as_str().unwrap()
    }

    fn number(&self, field: &str) -> u64 {
        self.0["fields"][field].as_u64().unwrap()
    }

    fn bytes(&self, field: &str) -> [u8; 32] {
        binary::decode_array(self.text(field)).unwrap()
    }

    fn hash(&self, field: &str) -> Hash {
        self.text(field).parse().unwrap()
    }

    fn fingerprint(&self, field: &str) -> Fingerprint {
        self.text(field).parse().unwrap()
    }

    fn device(&self, field: &str) -> Option<DeviceId> {
        self.text(field).parse().ok()
    }

    /// The signature is that of the vector, and verifies over the vector's bytes.
    fn is_signed(&self, by: &str, signature: [u8; 64]) {
        assert_eq!(binary::encode(&signature), self.0["signatures"][by].as_str().unwrap());
        let message = hex(self.0["bytes_hex"].as_str().unwrap());
        assert_eq!(secret(by).public_key().verify(&message, &signature), Ok(()));
    }
}

fn file() -> Value {
    serde_json::from_str(include_str!("../../protocol/tests/vectors/statements.json")).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex_array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value.as_str().unwrap()).try_into().unwrap()
}

fn secret(name: &str) -> SecretKey {
    SecretKey::from_bytes(match name {
        "A" => &[1; 32],
        "B" => &[2; 32],
        other => panic!("no key {other}"),
    })
}

#[test]
fn public_keys() {
    for name in ["A", "B"] {
        let expected = binary::decode_array(file()["keys"][name].as_str().unwrap()).unwrap();
        assert_eq!(secret(name).public_key().as_bytes(), &expected);
        assert_eq!(PublicKey::from_bytes(&expected), Ok(secret(name).public_key()));
    }
}

#[test]
fn a_fingerprint_is_that_of_the_first_key() {
    let genesis = Vector::named("genesis_hash");
    assert_eq!(secret("A").public_key().fingerprint(), genesis.fingerprint("fingerprint"));
}

#[test]
fn challenges() {
    for (name, transport) in
        [("challenge_ws", Transport::WebSocket), ("challenge_http_no_device", Transport::Http)]
    {
        let vector = Vector::named(name);
        let device = vector.device("device_id");
        let statement = AuthChallenge {
            audience: vector.text("audience"),
            transport,
            challenge: &vector.bytes("nonce"),
            public_key: &vector.bytes("public_key"),
            device_id: device.as_ref(),
            expires_at_ms: vector.number("expires_at_ms"),
        };
        vector.is_signed("A", secret("A").sign_challenge(&statement));
    }
}

#[test]
fn rotation_by_both_keys() {
    let vector = Vector::named("rotation");
    let statement = KeyRotation {
        fingerprint: vector.fingerprint("fingerprint"),
        sequence: vector.number("sequence"),
        previous_hash: vector.hash("previous_hash"),
        old_key: &vector.bytes("old_key"),
        new_key: &vector.bytes("new_key"),
        reason: vector.text("reason"),
        created_at_ms: vector.number("created_at_ms"),
    };
    vector.is_signed("A", secret("A").sign_rotation(&statement));
    Vector::named("rotation_accept").is_signed("B", secret("B").accept_rotation(&statement));
}

#[test]
fn cancellation() {
    let vector = Vector::named("cancellation");
    let statement = KeyRotationCancel {
        fingerprint: vector.fingerprint("fingerprint"),
        sequence: vector.number("sequence"),
        previous_hash: vector.hash("previous_hash"),
        target_hash: vector.hash("target_hash"),
        signer_key: &vector.bytes("signer_key"),
        created_at_ms: vector.number("created_at_ms"),
    };
    vector.is_signed("A", secret("A").sign_cancel(&statement));
}

#[test]
fn signals_to_a_device_and_to_a_user() {
    for name in ["signal", "signal_to_user"] {
        let vector = Vector::named(name);
        let statement = SignalStatement {
            kind: vector.text("type"),
            sender_fingerprint: vector.fingerprint("sender_fingerprint"),
            sender_device_id: &vector.device("sender_device_id").unwrap(),
            target: vector.text("target"),
            id: vector.text("id"),
            created_at_ms: vector.number("created_at_ms"),
            payload: vector.text("payload_utf8").as_bytes(),
        };
        vector.is_signed("A", secret("A").sign_signal(&statement));
    }
}

#[test]
fn device() {
    let vector = Vector::named("device");
    let statement = DeviceStatement {
        fingerprint: vector.fingerprint("fingerprint"),
        device_id: &vector.device("device_id").unwrap(),
        public_key: &vector.bytes("public_key"),
        created_at_ms: vector.number("created_at_ms"),
    };
    vector.is_signed("A", secret("A").sign_device(&statement));
}

#[test]
fn encryption_key() {
    let vector = Vector::named("encryption_key");
    let statement = EncryptionKeyStatement {
        fingerprint: vector.fingerprint("fingerprint"),
        encryption_key: &vector.bytes("encryption_key"),
        created_at_ms: vector.number("created_at_ms"),
    };
    vector.is_signed("A", secret("A").sign_encryption_key(&statement));
    assert!(EncryptionKey::from_bytes(statement.encryption_key).is_ok());
}

#[test]
fn weak_and_non_canonical_signing_keys_are_refused() {
    let file = file();
    let refused = file["refused_ed25519_keys_hex"].as_array().unwrap();
    assert!(!refused.is_empty());
    for key in refused {
        assert_eq!(PublicKey::from_bytes(&hex_array(key)), Err(InvalidKey), "{key}");
    }
}

#[test]
fn the_universal_forgery_fails_with_every_key() {
    let forgery = &file()["universal_forgery"];
    assert_eq!(PublicKey::from_bytes(&hex_array(&forgery["key_hex"])), Err(InvalidKey));
    let signature = hex_array(&forgery["signature_hex"]);
    assert!(secret("A").public_key().verify(b"anything", &signature).is_err());
}

#[test]
fn low_order_and_non_canonical_encryption_keys_are_refused() {
    let file = file();
    let refused = file["refused_x25519_keys_hex"].as_array().unwrap();
    assert!(!refused.is_empty());
    for key in refused {
        let mut bytes = hex_array::<32>(key);
        assert_eq!(EncryptionKey::from_bytes(&bytes), Err(InvalidKey), "{key}");
        // X25519 ignores the highest bit, so setting it gives another encoding of the same key.
        bytes[31] |= 0x80;
        assert_eq!(EncryptionKey::from_bytes(&bytes), Err(InvalidKey), "{key} with the highest bit");
    }
}

#[test]
fn one_time_passwords() {
    let vector = &file()["totp"];
    let secret = TotpSecret::new(vector["secret_ascii"].as_str().unwrap().as_bytes().try_into().unwrap());
    for (seconds, digits) in vector["codes"].as_object().unwrap() {
        let (seconds, code) =
            (seconds.parse::<u64>().unwrap(), TotpCode::parse(digits.as_str().unwrap()).unwrap());
        assert_eq!(secret.check(&code, seconds * 1_000), Some(seconds / 30));
    }
}
