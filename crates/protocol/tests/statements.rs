//! The bytes that keys sign, against vectors made by an independent implementation.

#![allow(clippy::unwrap_used, reason = "the lint spares test functions, but not their helpers")]

use aldis_protocol::{
    Fingerprint, Hash, binary,
    statement::{
        AuthChallenge, DeviceStatement, EncryptionKeyStatement, KeyRotation, KeyRotationCancel,
        SignalStatement, Transport, genesis_hash,
    },
};
use serde_json::Value;

#[test]
fn challenges() {
    assert_reproduced("challenge_ws", &challenge_bytes(&fields("challenge_ws")));
    assert_reproduced("challenge_http_no_device", &challenge_bytes(&fields("challenge_http_no_device")));
}

fn challenge_bytes(fields: &Value) -> Vec<u8> {
    let device_id =
        (!text(fields, "device_id").is_empty()).then(|| text(fields, "device_id").parse().unwrap());
    let transports = [Transport::WebSocket, Transport::Http];
    AuthChallenge {
        audience: text(fields, "audience"),
        transport: transports.into_iter().find(|known| known.as_str() == text(fields, "transport")).unwrap(),
        challenge: &key(fields, "nonce"),
        public_key: &key(fields, "public_key"),
        device_id: device_id.as_ref(),
        expires_at_ms: number(fields, "expires_at_ms"),
    }
    .bytes()
}

#[test]
fn the_genesis_and_its_fingerprint() {
    let fields = fields("genesis_hash");
    let public_key = key(&fields, "public_key");
    assert_eq!(genesis_hash(&public_key).to_string(), vector("genesis_hash")["sha256_hex"]);
    assert_eq!(Fingerprint::of_first_key(&public_key).to_string(), fields["fingerprint"]);
}

#[test]
fn rotations() {
    let fields = fields("rotation");
    let rotation = KeyRotation {
        fingerprint: fingerprint(&fields, "fingerprint"),
        sequence: number(&fields, "sequence"),
        previous_hash: hash(&fields, "previous_hash"),
        old_key: &key(&fields, "old_key"),
        new_key: &key(&fields, "new_key"),
        reason: text(&fields, "reason"),
        created_at_ms: number(&fields, "created_at_ms"),
    };
    assert_reproduced("rotation", &rotation.bytes());
    assert_reproduced("rotation_accept", &rotation.accept_bytes());
    assert_eq!(rotation.hash().to_string(), vector("rotation")["sha256_hex"]);
}

#[test]
fn cancellations() {
    let fields = fields("cancellation");
    let cancellation = KeyRotationCancel {
        fingerprint: fingerprint(&fields, "fingerprint"),
        sequence: number(&fields, "sequence"),
        previous_hash: hash(&fields, "previous_hash"),
        target_hash: hash(&fields, "target_hash"),
        signer_key: &key(&fields, "signer_key"),
        created_at_ms: number(&fields, "created_at_ms"),
    };
    assert_reproduced("cancellation", &cancellation.bytes());
    assert_eq!(cancellation.hash().to_string(), vector("cancellation")["sha256_hex"]);
}

#[test]
fn signals() {
    for name in ["signal", "signal_to_user"] {
        let fields = fields(name);
        let signal = SignalStatement {
            kind: text(&fields, "type"),
            sender_fingerprint: fingerprint(&fields, "sender_fingerprint"),
            sender_device_id: &text(&fields, "sender_device_id").parse().unwrap(),
            target: text(&fields, "target"),
            id: text(&fields, "id"),
            created_at_ms: number(&fields, "created_at_ms"),
            payload: text(&fields, "payload_utf8").as_bytes(),
        };
        assert_reproduced(name, &signal.bytes());
    }
}

#[test]
fn devices_and_encryption_keys() {
    let fields_of_device = fields("device");
    let device = DeviceStatement {
        fingerprint: fingerprint(&fields_of_device, "fingerprint"),
        device_id: &text(&fields_of_device, "device_id").parse().unwrap(),
        public_key: &key(&fields_of_device, "public_key"),
        created_at_ms: number(&fields_of_device, "created_at_ms"),
    };
    assert_reproduced("device", &device.bytes());

    let fields_of_key = fields("encryption_key");
    let encryption_key = EncryptionKeyStatement {
        fingerprint: fingerprint(&fields_of_key, "fingerprint"),
        encryption_key: &key(&fields_of_key, "encryption_key"),
        created_at_ms: number(&fields_of_key, "created_at_ms"),
    };
    assert_reproduced("encryption_key", &encryption_key.bytes());
}

fn assert_reproduced(name: &str, bytes: &[u8]) {
    let vector = vector(name);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, vector["bytes_hex"], "{name}");
    assert_eq!(Hash::of(bytes).to_string(), vector["sha256_hex"], "{name}");
}

fn vector(name: &str) -> Value {
    let vectors: Value = serde_json::from_str(include_str!("vectors/statements.json")).unwrap();
    vectors["statements"].as_array().unwrap().iter().find(|vector| vector["name"] == name).unwrap().clone()
}

fn fields(name: &str) -> Value {
    vector(name)["fields"].clone()
}

fn text<'a>(fields: &'a Value, name: &str) -> &'a str {
    fields[name].as_str().unwrap()
}

fn number(fields: &Value, name: &str) -> u64 {
    fields[name].as_u64().unwrap()
}

fn key(fields: &Value, name: &str) -> [u8; 32] {
    binary::decode_array(text(fields, name)).unwrap()
}

fn hash(fields: &Value, name: &str) -> Hash {
    text(fields, name).parse().unwrap()
}

fn fingerprint(fields: &Value, name: &str) -> Fingerprint {
    text(fields, name).parse().unwrap()
}
