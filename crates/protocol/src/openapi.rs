//! Schemas of the texts in frames and in the bodies of the HTTP API (feature `openapi`).

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr, Schema, SchemaFormat, Type,
        schema::{AnyOf, SchemaType},
    },
};

use crate::{
    ContactLabel, DeviceId, Fingerprint, Hash, MAX_ID_LEN, MessageId, Payload, RequestId, RoomId, Secret,
    SessionId, Timestamp, UserId, UserRef,
    limits::{
        MAX_DEVICE_NAME_CHARS, MAX_EMAIL_BYTES, MAX_ENCRYPTED_CONTENT_BYTES, MAX_LABEL_CHARS,
        MAX_PASSWORD_BYTES, MAX_REASON_BYTES, MIN_PASSWORD_CHARACTERS,
    },
};

/// An Ed25519 or X25519 key in a body.
pub(crate) enum PublicKey {}
/// A challenge in a body.
pub(crate) enum Challenge {}
/// An Ed25519 signature in a body.
pub(crate) enum Signature {}
/// Content that only its recipient can read, in a body.
pub(crate) enum EncryptedContent {}
/// An email address in a body.
pub(crate) enum Email {}
/// A password that is to be.
pub(crate) enum NewPassword {}
/// What a rotation says of itself.
pub(crate) enum Reason {}
/// What people call a device.
pub(crate) enum DeviceName {}
/// A code of six digits, or a recovery code.
pub(crate) enum TotpCode {}
/// A frame inside a frame: the `chat_message` of a history.
pub(crate) enum ChatFrame {}

/// What is hashed, signed or compared has one spelling.
const HEX_32: &str = "^[0-9a-f]{64}$";
/// 32 bytes leave two bits of the last digit, which are zero.
const BASE64_32: &str = "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$";
/// 64 bytes leave four bits of the last digit, which are zero.
const BASE64_64: &str = "^[A-Za-z0-9+/]{85}[AQgw]==$";
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
const UUID: &str = "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$";
const NAME: &str = "^[A-Za-z0-9._:-]+$";
const DEVICE_ID: &str =
    "^(?:[A-Za-z0-9._:-]+|~[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})$";

/// Gives types the schema of a text: its description, and what it keeps to.
macro_rules! texts {
    ($($type:ty as $name:literal: $description:literal { $($property:ident: $value:expr),* })*) => { $(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($description));
                text$(.$property($value))*.into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )* };
}

texts! {
    SessionId as "SessionId": "A session, which outlives a broken socket." { format: format("uuid"), pattern: Some(UUID) }
    UserId as "UserId": "A user of the server." { format: format("uuid"), pattern: Some(UUID) }
    MessageId as "MessageId": "A stored encrypted message." { format: format("uuid"), pattern: Some(UUID) }
    DeviceId as "DeviceId":
        "A device: registered by its user, or ephemeral (`~` and a UUID of version 7) for the life of one session."
        { pattern: Some(DEVICE_ID), min_length: Some(1), max_length: Some(MAX_ID_LEN) }
    RoomId as "RoomId": "A room." { pattern: Some(NAME), min_length: Some(1), max_length: Some(MAX_ID_LEN) }
    RequestId as "RequestId": "The sender's own id of a message."
        { pattern: Some("^[A-Za-z0-9_-]+$"), min_length: Some(1), max_length: Some(MAX_ID_LEN) }
    Hash as "Hash": "A SHA-256 value, in lowercase hex." { pattern: Some(HEX_32) }
    Fingerprint as "Fingerprint":
        "An identity: the SHA-256 of its first public key, in lowercase hex. It stays through key rotations."
        { pattern: Some(HEX_32) }
    Timestamp as "Timestamp": "A point in time: RFC 3339, UTC, with milliseconds."
        { format: format("date-time") }
    Secret<'_> as "Secret": "A token, code or password: never logged, never shown again."
        { format: format("password") }
    PublicKey as "PublicKey": "A key of 32 bytes, in base64." { content_encoding: "base64", pattern: Some(BASE64_32) }
    Challenge as "Challenge": "32 bytes to be signed, in base64."
        { content_encoding: "base64", pattern: Some(BASE64_32) }
    Signature as "Signature": "An Ed25519 signature, in base64."
        { content_encoding: "base64", pattern: Some(BASE64_64) }
    EncryptedContent as "EncryptedContent": "What only the recipient can read: up to 48,000 bytes, in base64."
        { content_encoding: "base64", pattern: Some(BASE64), max_length: Some(MAX_ENCRYPTED_CONTENT_BYTES / 3 * 4) }
    Email as "Email": "One `@`, both sides non-empty, at most 254 bytes, no blanks or control characters."
        { pattern: Some(r"^[^@\s]+@[^@\s]+$"), min_length: Some(3), max_length: Some(MAX_EMAIL_BYTES) }
    NewPassword as "NewPassword": "From 8 characters to 1,024 bytes; 71 bytes where the server hashes with bcrypt."
        { format: format("password"), min_length: Some(MIN_PASSWORD_CHARACTERS), max_length: Some(MAX_PASSWORD_BYTES) }
    Reason as "Reason": "For people: at most 200 bytes, no U+0000." { max_length: Some(MAX_REASON_BYTES) }
    ContactLabel as "ContactLabel":
        "What somebody who asks to become a contact calls themselves: no control or bidirectional formatting characters."
        { min_length: Some(1), max_length: Some(MAX_LABEL_CHARS) }
    DeviceName as "DeviceName": "For people: at most 100 characters, no U+0000."
        { max_length: Some(MAX_DEVICE_NAME_CHARS) }
    TotpCode as "TotpCode": "Six digits, or a recovery code." { format: format("password") }
}

fn format(name: &str) -> Option<SchemaFormat> {
    Some(SchemaFormat::Custom(name.to_owned()))
}

impl PartialSchema for UserRef {
    fn schema() -> RefOr<Schema> {
        let mut either = AnyOf::new();
        either.description = Some("A user, by id or by the fingerprint of its identity.".to_owned());
        either.items =
            [UserId::name(), Fingerprint::name()].map(|name| Ref::from_schema_name(name).into()).into();
        Schema::AnyOf(either).into()
    }
}

impl ToSchema for UserRef {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("UserRef")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((UserId::name().into_owned(), UserId::schema()));
        schemas.push((Fingerprint::name().into_owned(), Fingerprint::schema()));
    }
}

impl PartialSchema for Payload<'_> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("One JSON value, relayed byte for byte."))
            .into()
    }
}

impl ToSchema for Payload<'_> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Payload")
    }
}

/// The name of the schema of a `chat_message` that the server sends.
pub(crate) const CHAT_FRAME: &str = "server.chat_message";

impl PartialSchema for ChatFrame {
    fn schema() -> RefOr<Schema> {
        Ref::from_schema_name(CHAT_FRAME).into()
    }
}

impl ToSchema for ChatFrame {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(CHAT_FRAME)
    }
}

/// The schema of a set of words: those that this version knows.
pub(crate) fn words(doc: &[&str], words: &[&'static str]) -> RefOr<Schema> {
    let description = doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n");
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(Some(words.iter().copied()))
        .into()
}
