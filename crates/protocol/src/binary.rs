//! Binary values in JSON: base64, standard alphabet, padded, one canonical form.

use base64::{Engine, prelude::BASE64_STANDARD};

/// Why a text is not the base64 that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBase64 {
    /// Outside the alphabet, unpadded, or not the canonical form.
    #[error("not canonical base64 (standard alphabet, with padding)")]
    Form,
    /// The value has another length.
    #[error("not base64 of {expected} bytes")]
    Length {
        /// How many bytes the value has.
        expected: usize,
    },
}

/// Bytes as base64.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Base64 as bytes.
///
/// # Errors
/// [`InvalidBase64::Form`] for anything but the canonical form.
pub fn decode(text: &str) -> Result<Vec<u8>, InvalidBase64> {
    BASE64_STANDARD.decode(text).map_err(|_| InvalidBase64::Form)
}

/// Base64 as exactly `N` bytes. The length is checked first.
///
/// # Errors
/// [`InvalidBase64`] for another length or form.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], InvalidBase64> {
    if text.len() != N.div_ceil(3) * 4 {
        return Err(InvalidBase64::Length { expected: N });
    }
    decode(text)?.try_into().map_err(|_| InvalidBase64::Length { expected: N })
}

/// `#[serde(with = "binary::bytes")]`: any number of bytes.
pub mod bytes {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes base64.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode(bytes))
    }

    /// Reads base64.
    ///
    /// # Errors
    /// The deserializer's, and another form.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text: Cow<'de, str> = Deserialize::deserialize(deserializer)?;
        super::decode(&text).map_err(D::Error::custom)
    }
}

/// `#[serde(with = "binary::array")]`: exactly `N` bytes.
pub mod array {
    use std::fmt;

    use serde::{
        Deserialize, Deserializer, Serializer,
        de::{Error, Visitor},
    };

    /// Writes base64.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode(bytes))
    }

    /// Reads base64.
    ///
    /// # Errors
    /// The deserializer's, and another length or form.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        Array::deserialize(deserializer).map(|array| array.0)
    }

    struct Array<const N: usize>([u8; N]);

    impl<'de, const N: usize> Deserialize<'de> for Array<N> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(ArrayVisitor)
        }
    }

    struct ArrayVisitor<const N: usize>;

    impl<const N: usize> Visitor<'_> for ArrayVisitor<N> {
        type Value = Array<N>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "base64 of {N} bytes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Array<N>, E> {
            super::decode_array(text).map(Array).map_err(E::custom)
        }
    }

    /// The same for an optional value.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serializer};

        use super::Array;

        /// Writes base64 or null.
        ///
        /// # Errors
        /// The serializer's.
        pub fn serialize<S: Serializer, const N: usize>(
            bytes: &Option<[u8; N]>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match bytes {
                Some(bytes) => super::serialize(bytes, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads base64 or null.
        ///
        /// # Errors
        /// The deserializer's, and another length or form.
        pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
            deserializer: D,
        ) -> Result<Option<[u8; N]>, D::Error> {
            Option::<Array<N>>::deserialize(deserializer).map(|array| array.map(|array| array.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_form() {
        assert_eq!(decode("AQI="), Ok(vec![1, 2]));
        for other in ["AQI", "AQJ=", "AQI=\n", "-_8=", "AQ I="] {
            assert_eq!(decode(other), Err(InvalidBase64::Form), "{other:?}");
        }
    }

    #[test]
    fn the_length_is_part_of_the_type() {
        assert_eq!(decode_array::<2>("AQI="), Ok([1, 2]));
        assert!(decode_array::<3>("AQI=").is_err());
        assert!(decode_array::<1>("AQI=").is_err());
    }
}
