//! Whole numbers that clients send. JSON has one kind of number, so `7`, `7.0` and `7e0` are the same.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use crate::limits::SEQUENCE_LIMIT;

/// `#[serde(deserialize_with = "whole::number")]`: from 0 to 2^53 − 1.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Number::<SEQUENCE_LIMIT>::deserialize(deserializer).map(|number| number.0)
}

/// The same; null is as absent.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<Number<SEQUENCE_LIMIT>>::deserialize(deserializer)?;
    Ok(number.map(|number| number.0))
}

/// For a value that is cut to a maximum: from 0 on, however large. Null is as absent.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<Number<{ u64::MAX }>>::deserialize(deserializer)?.map(|number| number.0))
}

/// Numbers in the query of a URI, where every value is a text.
pub mod query {
    use serde::{Deserialize, Deserializer, de::Error};

    use super::{EXPECTED, SEQUENCE_LIMIT, of_float};

    /// `#[serde(default, deserialize_with = "whole::query::number")]`: from 0 to 2^53 − 1.
    ///
    /// # Errors
    /// The deserializer's, and any other text.
    pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        read(deserializer, SEQUENCE_LIMIT)
    }

    /// For a value that is cut to a maximum: from 0 on, however large.
    ///
    /// # Errors
    /// The deserializer's, and any other text.
    pub fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        read(deserializer, u64::MAX)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D, limit: u64) -> Result<Option<u64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = parse(&text).filter(|number| *number < limit || limit == u64::MAX);
        number.map(Some).ok_or_else(|| D::Error::custom(format_args!("expected {EXPECTED}")))
    }

    /// Digits, or a decimal in JSON's grammar: Rust's own would take a plus sign and `inf`.
    fn parse(text: &str) -> Option<u64> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok();
        }
        let is_bare = text.bytes().all(|byte| byte.is_ascii_graphic());
        of_float(serde_json::from_str(text).ok().filter(|_| is_bare)?)
    }
}

const EXPECTED: &str = "a whole number from 0 to 9007199254740991";

/// Below `LIMIT`, where it is not `u64::MAX`.
struct Number<const LIMIT: u64>(u64);

impl<'de, const LIMIT: u64> Deserialize<'de> for Number<LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `deserialize_u64`: where serde has buffered the value, that takes no float.
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor<const LIMIT: u64>;

impl<const LIMIT: u64> Visitor<'_> for NumberVisitor<LIMIT> {
    type Value = Number<LIMIT>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number<LIMIT>, E> {
        if number < LIMIT || LIMIT == u64::MAX {
            Ok(Number(number))
        } else {
            Err(E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number<LIMIT>, E> {
        match number.try_into() {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Number<LIMIT>, E> {
        of_float(number).map(Number).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

/// Above that, a float may be off by one from what was written.
const MAX_FLOAT: f64 = (1_u64 << 51) as f64;

/// The whole number that a float stands for. serde_json reads long decimals, as in `1767225600123.000000`, with an error
/// in the last bits.
fn of_float(number: f64) -> Option<u64> {
    let nearest = number.round();
    let is_whole = (number - nearest).abs() <= nearest * 2.0 * f64::EPSILON;
    (is_whole && (0.0..MAX_FLOAT).contains(&nearest)).then_some(nearest as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Numbers {
        #[serde(deserialize_with = "number")]
        number: u64,
        #[serde(default, deserialize_with = "optional")]
        optional: Option<u64>,
        #[serde(default, deserialize_with = "count")]
        count: Option<u64>,
    }

    fn read(text: &str) -> Option<Numbers> {
        let text = format!(r#"{{"number":{text},"optional":{text},"count":{text}}}"#);
        serde_json::from_str(&text).ok()
    }

    #[test]
    fn a_whole_number_written_as_a_float_was_refused() {
        for (text, value) in [
            ("0", 0),
            ("0.0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("1e0", 1),
            ("1.0", 1),
            ("12E1", 120),
            ("9007199254740991", SEQUENCE_LIMIT - 1),
            ("1767225600123.0", 1_767_225_600_123),
            ("1767225600123.000000", 1_767_225_600_123),
            ("1.767225600123e+12", 1_767_225_600_123),
            ("1125899906842623.000", (1 << 50) - 1),
        ] {
            let all = Numbers { number: value, optional: Some(value), count: Some(value) };
            assert_eq!(read(text), Some(all), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_number_in_range_is_refused() {
        for text in [
            "-1",
            "0.5",
            "1e-1",
            "1e-300",
            "1.001",
            "1767225600123.5",
            "-0.1",
            "9007199254740992",
            "9007199254740992.0",
            "1e300",
            "\"1\"",
            "true",
            "[]",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_count_has_no_upper_end_and_null_is_absent() {
        let read = |text: &str| serde_json::from_str::<Numbers>(text).ok();
        let large = read(r#"{"number":1,"optional":null,"count":18446744073709551615}"#);
        assert_eq!(large, Some(Numbers { number: 1, optional: None, count: Some(u64::MAX) }));
        let absent = read(r#"{"number":1,"count":null}"#);
        assert_eq!(absent, Some(Numbers { number: 1, optional: None, count: None }));
    }

    #[test]
    fn a_query_writes_numbers_as_texts() {
        use serde::de::{IntoDeserializer, value::Error as ValueError};
        let number = |text: &str| {
            let deserializer: serde::de::value::StrDeserializer<'_, ValueError> = text.into_deserializer();
            query::number(deserializer).ok().flatten()
        };
        assert_eq!([number("7"), number("7.0"), number("7e0")], [Some(7); 3]);
        for text in ["", "-1", "+7", "0.5", "inf", "NaN", "x", "9007199254740992", " 7", "null"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }
}
