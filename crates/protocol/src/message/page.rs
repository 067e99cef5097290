//! The numbers by which a client asks for a page; null is as absent.

use serde::{Deserialize, Deserializer};

use crate::check;

/// From the beginning where it is absent.
pub(super) fn since<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// As many as are usual where it is absent.
pub(super) fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Option::deserialize(deserializer).map(|asked: Option<u64>| asked.map(check::limit))
}
