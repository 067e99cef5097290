//! Times on the wire: RFC 3339, UTC, milliseconds.

use std::fmt;

use serde::{Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::ids::deserialize_from_text;

/// A point in time, in Unix milliseconds. On the wire it is RFC 3339, UTC, with milliseconds.
///
/// ```
/// use aldis_protocol::Timestamp;
/// assert_eq!(Timestamp::from_ms(1_767_225_600_000).to_string(), "2026-01-01T00:00:00.000Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is RFC 3339, like 2026-01-01T00:00:00.000Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// A point in time; values outside the years 0 to 9999 are moved to the nearest inside.
    #[must_use]
    pub fn from_ms(unix_ms: i64) -> Self {
        Self(unix_ms.clamp(-62_167_219_200_000, 253_402_300_799_999))
    }

    /// Unix milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }
}

impl std::str::FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        Ok(Self::from_ms(time.unix_timestamp() * 1000 + i64::from(time.millisecond())))
    }
}

impl Timestamp {
    /// Its text, byte by byte: every frame of the server has one, and formatting machinery costs five times as much.
    pub(crate) fn to_text(self) -> [u8; 24] {
        let (seconds, millisecond) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put(&mut text[0..4], time.year().unsigned_abs());
        put(&mut text[5..7], u8::from(time.month()).into());
        put(&mut text[8..10], time.day().into());
        put(&mut text[11..13], time.hour().into());
        put(&mut text[14..16], time.minute().into());
        put(&mut text[17..19], time.second().into());
        put(&mut text[20..23], millisecond.unsigned_abs() as u32);
        text
    }
}

fn put(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_text()).unwrap_or_default())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.to_text()).unwrap_or_default())
    }
}

deserialize_from_text!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_milliseconds_agree() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_225_600_123, "2026-01-01T00:00:00.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_ms(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp::from_ms(ms)));
        }
        assert_eq!("2026-01-01T01:00:00+01:00".parse(), Ok(Timestamp::from_ms(1_767_225_600_000)));
        assert_eq!("yesterday".parse::<Timestamp>(), Err(InvalidTimestamp));
    }

    #[test]
    fn the_first_and_last_moments_stay_inside_the_calendar() {
        for (text, nearest) in [
            ("0000-01-01T00:00:00+23:59", "0000-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999-23:59", "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), nearest);
        }
        assert_eq!(Timestamp::from_ms(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_ms(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
