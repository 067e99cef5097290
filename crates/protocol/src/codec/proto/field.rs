//! Typed values from and to fields of the schema. Each error names its field.

use std::{fmt::Display, str::FromStr};

use bytes::Bytes;

use crate::{DecodeError, Payload, Timestamp, names::Known};

/// A text that follows a grammar.
pub(super) fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, DecodeError> {
    if text.is_empty() {
        return Err(DecodeError::missing(field));
    }
    text.parse().map_err(|error: T::Err| DecodeError::bad_request(error.to_string()).in_field(field))
}

/// The same for an optional field.
pub(super) fn parse_optional<T: FromStr<Err: Display>>(
    field: &str,
    text: Option<&str>,
) -> Result<Option<T>, DecodeError> {
    text.map(|text| parse(field, text)).transpose()
}

/// The same for a repeated field.
pub(super) fn parse_all<T: FromStr<Err: Display>>(
    field: &str,
    texts: &[String],
) -> Result<Vec<T>, DecodeError> {
    texts.iter().map(|text| parse(field, text)).collect()
}

/// A word that this version knows.
pub(super) fn parse_known<T: Known>(field: &str, word: &str) -> Result<T, DecodeError> {
    if word.is_empty() {
        return Err(DecodeError::missing(field));
    }
    T::from_known(word).map_err(|error| DecodeError::bad_request(error.to_string()).in_field(field))
}

/// A field that is required.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or_else(|| DecodeError::missing(field))
}

/// Exactly `N` bytes.
pub(super) fn array<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::missing(field));
    }
    bytes.try_into().map_err(|_| DecodeError::bad_request(format!("not {N} bytes")).in_field(field))
}

/// One JSON value.
pub(super) fn payload(field: &str, bytes: Bytes) -> Result<Payload<'static>, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::missing(field));
    }
    Payload::from_bytes(bytes).map_err(|error| DecodeError::bad_request(error.to_string()).in_field(field))
}

/// An optional time.
pub(super) fn time(unix_ms: Option<i64>) -> Option<Timestamp> {
    unix_ms.map(Timestamp::from_ms)
}

/// The optional time as the schema has it.
pub(super) fn ms(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_ms)
}

/// Values as their texts on the wire.
pub(super) fn texts<T: Display>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}
