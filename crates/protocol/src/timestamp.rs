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
    /// Its text, byte by byte: every frame of the server has one, and formatting machinery costs ten times as much.
    pub(crate) fn to_text(self) -> [u8; 24] {
        let (year, month, day) = date(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put(&mut text[0..4], year);
        put(&mut text[5..7], month);
        put(&mut text[8..10], day);
        put(&mut text[11..13], ms / 3_600_000);
        put(&mut text[14..16], ms / 60_000 % 60);
        put(&mut text[17..19], ms / 1000 % 60);
        put(&mut text[20..23], ms % 1000);
        text
    }
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Year, month and day of a number of days since 1970, for years from 0. It counts in years that begin in March, whose
/// leap day comes last, in eras of 400 years (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const fn date(days: i64) -> (i64, i64, i64) {
    const DAYS_BEFORE_1970: i64 = 719_468;
    const DAYS_OF_ERA: i64 = 146_097;
    let days = days + DAYS_BEFORE_1970;
    let (era, day) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

fn put(digits: &mut [u8], mut number: i64) {
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
    fn every_day_of_the_calendar_has_its_text() {
        let first = Timestamp::from_ms(i64::MIN).as_ms();
        for day in (0..3_652_425).step_by(13) {
            let timestamp = Timestamp(first + day * DAY_MS);
            assert_eq!(timestamp.to_string().parse(), Ok(timestamp), "{timestamp}");
        }
        for date in ["1900-02-28", "1900-03-01", "2000-02-29", "2000-03-01", "2024-02-29", "2023-12-31"] {
            let text = format!("{date}T23:59:59.999Z");
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
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
