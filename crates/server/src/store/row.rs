//! Converts columns to types and checks them.

use std::str::FromStr;

use aldis_auth::PublicKey;
use aldis_protocol::{DeviceId, UnknownName};

use super::StoreError;

/// Bytes of a fixed length.
pub(super) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(unreadable)
}

/// Bytes of a fixed length, or none.
pub(super) fn optional_array<const N: usize>(bytes: Option<&[u8]>) -> Result<Option<[u8; N]>, StoreError> {
    bytes.map(array).transpose()
}

/// A device id.
pub(super) fn device_id(text: &str) -> Result<DeviceId, StoreError> {
    text.parse().map_err(unreadable)
}

/// A number that is never negative.
pub(super) fn number(value: i64) -> Result<u64, StoreError> {
    value.try_into().map_err(unreadable)
}

/// One of a closed set of names.
pub(super) fn name<T: FromStr<Err = UnknownName>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(unreadable)
}

/// An Ed25519 key.
pub(super) fn public_key(bytes: &[u8]) -> Result<PublicKey, StoreError> {
    PublicKey::from_bytes(&array(bytes)?).map_err(unreadable)
}

/// The error for a column that cannot be read.
pub(super) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    sqlx::Error::Decode(Box::new(error)).into()
}
