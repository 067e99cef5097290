//! The numbers by which a client asks for a page; null is as absent.

use serde::Deserializer;

use crate::{check, whole};

/// From the beginning where it is absent.
pub(super) fn since<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    whole::optional(deserializer).map(Option::unwrap_or_default)
}

/// As many as are usual where it is absent.
pub(super) fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    whole::count(deserializer).map(|asked| asked.map(check::limit))
}
