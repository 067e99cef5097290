//! Words: each value of an enum is one word on the wire.
//!
//! A set of words that clients send is closed: the server refuses any other. A set that servers send is open: a word that
//! this version does not know is kept as it came, because a newer server may send it (docs/protocol/evolution.md).

use std::{fmt, marker::PhantomData};

use serde::{
    Deserializer,
    de::{self, Visitor},
};

use crate::limits::MAX_WORD_LEN;

/// Why a text is not one of the words asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of {expected}")]
pub struct UnknownName {
    pub(crate) expected: &'static str,
}

/// A word that this version does not know, as it came from a newer server: 1 to 32 characters of `a–z 0–9 _ -`.
///
/// ```
/// use aldis_protocol::AckStatus;
/// let status: AckStatus = "postponed".parse()?;
/// assert!(matches!(status, AckStatus::Unknown(word) if word.as_str() == "postponed"));
/// # Ok::<(), aldis_protocol::UnknownName>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownWord {
    bytes: [u8; MAX_WORD_LEN],
    len: u8,
}

impl UnknownWord {
    /// Takes a text that is a word by its form.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_word = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        let mut bytes = [0; MAX_WORD_LEN];
        bytes.get_mut(..text.len()).filter(|_| is_word && !text.is_empty())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, len: text.len() as u8 })
    }

    /// The word.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        let (word, _) = self.bytes.split_at(self.len as usize);
        match std::str::from_utf8(word) {
            Ok(word) => word,
            Err(_) => "",
        }
    }
}

impl fmt::Debug for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set that is open to clients and closed to the server: a client may send the words that the server knows.
pub(crate) trait Known: Sized {
    /// The value of a word that this version knows.
    fn from_known(word: &str) -> Result<Self, UnknownName>;
}

/// `#[serde(deserialize_with = "names::known")]`: no word of another version.
pub(crate) fn known<'de, D: Deserializer<'de>, T: Known>(deserializer: D) -> Result<T, D::Error> {
    struct WordVisitor<T>(PhantomData<T>);

    impl<T: Known> Visitor<'_> for WordVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, word: &str) -> Result<T, E> {
            T::from_known(word).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(WordVisitor(PhantomData))
}

/// Defines an enum with its words: `ALL`, `as_str`, and what parses and prints them. `open` before the name adds
/// `Unknown`.
macro_rules! names {
    (
        $(#[doc = $of_enum:literal])* $(#[derive($($derived:ident),*)])?
        open $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $word:literal,)* }
    ) => {
        $(#[doc = $of_enum])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash $($(, $derived)*)?)]
        #[non_exhaustive]
        pub enum $name {
            /// A word of a newer server.
            Unknown($crate::UnknownWord),
            $($(#[doc = $doc])* $variant,)*
        }

        impl $name {
            /// Every word that this version knows.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(&self) -> &str {
                match self {
                    Self::Unknown(word) => word.as_str(),
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl $crate::names::Known for $name {
            fn from_known(word: &str) -> Result<Self, $crate::UnknownName> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::UnknownName { expected: concat!($("`", $word, "` "),*) }),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownName;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let known = <Self as $crate::names::Known>::from_known(word);
                known.or_else(|error| $crate::UnknownWord::new(word).map(Self::Unknown).ok_or(error))
            }
        }
        $crate::names::words!($name, [$($of_enum),*], [$($word),*]);
    };
    (
        $(#[doc = $of_enum:literal])*
        $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $word:literal,)* }
    ) => {
        $(#[doc = $of_enum])*
        // Exhaustive on purpose: who is told a word of a closed set decides about each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $name {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownName;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::UnknownName { expected: concat!($("`", $word, "` "),*) }),
                }
            }
        }
        $crate::names::words!($name, [$($of_enum),*], [$($word),*]);
    };
}
pub(crate) use names;

/// What every set of words has: text, JSON and schema.
macro_rules! words {
    ($name:ident, [$($doc:literal),*], [$($word:literal),*]) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        $crate::ids::deserialize_from_text!($name);

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::openapi::words(&[$($doc),*], &[$($word),*])
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AckStatus, AlertKind, ErrorCode, Status};

    #[test]
    fn a_word_of_a_newer_server_is_kept() {
        let word = "postponed";
        assert_eq!(word.parse::<AckStatus>().unwrap().to_string(), word);
        assert_eq!(word.parse::<AlertKind>().unwrap().to_string(), word);
        assert_eq!(word.parse::<ErrorCode>().unwrap().to_string(), word);
        assert_eq!(word.parse::<Status>().unwrap().to_string(), word);
        assert_eq!(serde_json::to_string(&word.parse::<Status>().unwrap()).unwrap(), "\"postponed\"");
    }

    #[test]
    fn what_is_no_word_is_refused() {
        for text in ["", "Done", "not done", "doné", "done.", &"x".repeat(MAX_WORD_LEN + 1)] {
            assert!(text.parse::<AckStatus>().is_err(), "{text}");
        }
        assert!("x".repeat(MAX_WORD_LEN).parse::<AckStatus>().is_ok());
    }

    #[test]
    fn a_status_of_another_version_is_below_all_others() {
        assert!("asleep".parse::<Status>().unwrap() < Status::Offline);
    }
}
