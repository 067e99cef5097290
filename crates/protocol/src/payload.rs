//! Content that the server relays without looking into it.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, IgnoredAny, Visitor},
};
use serde_json::value::RawValue;

use crate::limits::MAX_JSON_DEPTH;

/// One JSON value, kept as the bytes in which it came. It is checked and relayed, but not parsed.
///
/// ```
/// use aldis_protocol::Payload;
/// let payload = Payload::from_json(r#"{ "sdp":  "v=0" }"#).unwrap();
/// assert_eq!(payload.as_bytes(), br#"{ "sdp":  "v=0" }"#);
/// assert!(Payload::from_json("{").is_err());
/// ```
#[derive(Clone)]
pub struct Payload<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

/// Why bytes are no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not one JSON value of at most {MAX_JSON_DEPTH} levels")]
pub struct InvalidPayload;

impl<'a> Payload<'a> {
    /// Takes a text that holds one JSON value. White space around the value is removed: JSON frames cannot
    /// carry it, and the bytes that are signed must be the bytes that arrive.
    ///
    /// # Errors
    /// [`InvalidPayload`] where it holds anything else, or nests deeper than 128 levels.
    pub fn from_json(text: &'a str) -> Result<Self, InvalidPayload> {
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        check(text.as_bytes())?;
        Ok(Self(Repr::Borrowed(text.as_bytes())))
    }

    /// `null`.
    #[must_use]
    pub const fn null() -> Payload<'static> {
        Payload(Repr::Borrowed(b"null"))
    }

    /// The JSON of a value of the application's own.
    ///
    /// # Errors
    /// [`InvalidPayload`] where it does not serialise, or nests deeper than 128 levels.
    pub fn of(value: &impl Serialize) -> Result<Self, InvalidPayload> {
        Self::from_bytes(serde_json::to_vec(value).map_err(|_| InvalidPayload)?.into())
    }

    /// Takes bytes that hold one JSON value, as they came: white space around it stays.
    ///
    /// # Errors
    /// As [`Payload::from_json`]; invalid UTF-8 too.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, InvalidPayload> {
        check(&bytes)?;
        Ok(Self(Repr::Shared(bytes)))
    }

    /// The bytes as they came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Borrowed(bytes) => bytes,
            Repr::Shared(bytes) => bytes,
        }
    }

    /// The bytes as a value that can be shared: without a copy where they are shared already.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Repr::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Repr::Shared(bytes) => bytes.clone(),
        }
    }

    /// The same, free of the frame it was read from.
    #[must_use]
    pub fn into_owned(self) -> Payload<'static> {
        Payload(Repr::Shared(match self.0 {
            Repr::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Repr::Shared(bytes) => bytes,
        }))
    }

    /// The value as raw JSON, to put into other JSON unchanged.
    ///
    /// # Errors
    /// [`InvalidPayload`] if it is not JSON.
    pub fn to_raw(&self) -> Result<Box<RawValue>, InvalidPayload> {
        serde_json::from_slice(self.as_bytes()).map_err(|_| InvalidPayload)
    }

    /// Reads it as a type of the application's own.
    ///
    /// # Errors
    /// What serde_json says.
    pub fn parse<'de, T: Deserialize<'de>>(&'de self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.as_bytes())
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Payload<'_>) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Payload<'_> {}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.as_bytes().len())
    }
}

/// The name of a value that a deserializer may give as the text that it is. One that does not know the name reads a
/// value.
pub(crate) const AS_IT_STANDS: &str = "aldis payload";

impl<'de: 'a, 'a> Deserialize<'de> for Payload<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(AS_IT_STANDS, PayloadVisitor)
    }
}

/// The frame around a payload was checked for depth as a whole.
struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E: de::Error>(self, json: &'de str) -> Result<Payload<'de>, E> {
        Ok(Payload(Repr::Borrowed(json.as_bytes())))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Payload<'de>, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Payload(Repr::Borrowed(raw.get().as_bytes())))
    }
}

fn check(bytes: &[u8]) -> Result<(), InvalidPayload> {
    if depth_exceeds(bytes, MAX_JSON_DEPTH) {
        return Err(InvalidPayload);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidPayload)?;
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|_| InvalidPayload)
}

/// Whether JSON nests deeper than `limit`. serde_json skips values of any depth, so it does not tell.
pub(crate) fn depth_exceeds(json: &[u8], limit: usize) -> bool {
    // Almost no message has so many brackets, and counting them takes a fraction of telling which are in strings.
    if brackets(json) <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in json {
        if in_string {
            (in_string, escaped) = match byte {
                _ if escaped => (true, false),
                b'\\' => (true, true),
                b'"' => (false, false),
                _ => (true, false),
            };
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

/// How many `{` and `[` there are. The counters of a chunk are single bytes, so that many are counted at once.
fn brackets(json: &[u8]) -> usize {
    let in_chunk = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(u8::MAX.into()).map(|chunk| usize::from(in_chunk(chunk))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_counted_over_all_chunks() {
        for length in [0, 1, 254, 255, 256, 1000] {
            assert_eq!(brackets("[".repeat(length).as_bytes()), length);
            assert_eq!(brackets("{x}]".repeat(length).as_bytes()), length);
        }
    }

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn depth_counts_outside_strings_only() {
        assert!(!depth_exceeds(nested(128).as_bytes(), 128));
        assert!(depth_exceeds(nested(129).as_bytes(), 128));
        let text = format!("\"{}\\\"{}\"", "[".repeat(200), "[".repeat(200));
        assert!(!depth_exceeds(text.as_bytes(), 0));
    }

    #[test]
    fn white_space_around_the_value_stays_only_in_what_came() {
        assert_eq!(Payload::from_json(" [1 ]\r\n").unwrap().as_bytes(), b"[1 ]");
        assert_eq!(Payload::from_bytes(Bytes::from_static(b" [1 ]\r\n")).unwrap().as_bytes(), b" [1 ]\r\n");
        assert!(Payload::from_json("\u{a0}1").is_err());
    }

    #[test]
    fn only_one_json_value_is_a_payload() {
        for good in ["null", "[1, 2 ]", "\"\\ud800\"", "1e999"] {
            assert_eq!(Payload::from_json(good).map(|payload| payload.as_bytes().to_vec()), Ok(good.into()));
        }
        for bad in ["", "{} {}", "{", "nul", "\u{feff}{}"] {
            assert!(Payload::from_json(bad).is_err(), "{bad}");
        }
        assert!(Payload::from_bytes(Bytes::from_static(b"\"\xff\"")).is_err());
        assert!(Payload::from_json(&nested(129)).is_err());
    }
}
