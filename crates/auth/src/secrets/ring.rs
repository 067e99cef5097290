//! A ring of root keys: the newest protects new data, the older ones still open what they protected.

use std::fmt;

use aldis_protocol::binary;
use zeroize::Zeroizing;

use super::{RootKey, SubKey};

/// The most keys of one ring.
pub const MAX_RING_KEYS: usize = 8;

/// The name of a root key. It is derived from the key, so it is the same on every node, and reveals nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// Takes an id that was stored with protected data.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The id, for storing it with protected data.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl RootKey {
    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&self.sub_key("aldis/v1/key-id").as_bytes()[..8]);
        KeyId(id)
    }
}

/// The contents of the key file: the current root key, and older ones that are still needed.
pub struct KeyRing {
    /// Newest first, never empty, without duplicates.
    keys: Vec<RootKey>,
}

/// Why a text or a list of keys is not a ring. The error does not quote the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyRing {
    /// The text does not have the form of [`KeyRing::to_text`].
    #[error("line {line} of the key file is malformed")]
    Form {
        /// The line, from 1.
        line: usize,
    },
    /// It does not begin with version 1.
    #[error("the key file does not begin with a version that this server knows")]
    Version,
    /// There is no key.
    #[error("the key file has no key")]
    Empty,
    /// There are over [`MAX_RING_KEYS`] keys.
    #[error("the key file has more than {MAX_RING_KEYS} keys")]
    TooMany,
    /// A key occurs twice.
    #[error("the key file has the same key twice")]
    Repeated,
}

impl KeyRing {
    /// A ring of one key.
    #[must_use]
    pub fn new(current: RootKey) -> Self {
        Self { keys: vec![current] }
    }

    /// A ring of several keys, the newest first.
    ///
    /// # Errors
    /// [`InvalidKeyRing`] for no key, over [`MAX_RING_KEYS`], or one twice.
    pub fn from_keys(newest_first: Vec<RootKey>) -> Result<Self, InvalidKeyRing> {
        match newest_first.len() {
            0 => Err(InvalidKeyRing::Empty),
            1..=MAX_RING_KEYS if has_repeated(&newest_first) => Err(InvalidKeyRing::Repeated),
            1..=MAX_RING_KEYS => Ok(Self { keys: newest_first }),
            _ => Err(InvalidKeyRing::TooMany),
        }
    }

    /// Parses the text of the key file: `version = 1`, then a line `root_key = "…"` for each key, the newest first,
    /// the key as base64. Blank lines and lines that begin with `#` are ignored.
    ///
    /// # Errors
    /// [`InvalidKeyRing`].
    pub fn from_text(text: &str) -> Result<Self, InvalidKeyRing> {
        let mut lines = (1..)
            .zip(text.lines().map(str::trim))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        match lines.next().and_then(|(_, line)| setting(line)) {
            Some(("version", "1")) => {}
            _ => return Err(InvalidKeyRing::Version),
        }
        let keys = lines
            .take(MAX_RING_KEYS + 1)
            .map(|(line, text)| root_key(text).ok_or(InvalidKeyRing::Form { line }))
            .collect::<Result<_, _>>()?;
        Self::from_keys(keys)
    }

    /// The same ring with one more key, which is now the current one.
    ///
    /// # Errors
    /// [`InvalidKeyRing::TooMany`], [`InvalidKeyRing::Repeated`].
    pub fn with_new(mut self, current: RootKey) -> Result<Self, InvalidKeyRing> {
        self.keys.insert(0, current);
        Self::from_keys(self.keys)
    }

    /// The key file's text.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // Allocated once: a text that grows leaves copies of the keys in memory.
        let mut text = Zeroizing::new(String::with_capacity(HEADER.len() + self.keys.len() * 64));
        text.push_str(HEADER);
        for key in &self.keys {
            let encoded = Zeroizing::new(binary::encode(&key.0));
            ["root_key = \"", &encoded, "\"\n"].iter().for_each(|part| text.push_str(part));
        }
        text
    }

    /// The key that protects new data.
    #[must_use]
    pub fn current(&self) -> &RootKey {
        &self.keys[0]
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, kid: KeyId) -> Option<&RootKey> {
        self.keys.iter().find(|key| key.kid() == kid)
    }

    /// All keys, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &RootKey> {
        self.keys.iter()
    }

    /// The keys for one purpose.
    #[must_use]
    pub fn sub_keys(&self, label: &str) -> SubKeyRing {
        SubKeyRing { keys: self.keys.iter().map(|key| (key.kid(), key.sub_key(label))).collect() }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(RootKey::kid)).finish()
    }
}

/// The keys of a ring for one purpose: see [`KeyRing::sub_keys`].
#[derive(Clone, Debug)]
pub struct SubKeyRing {
    /// Newest first, never empty.
    keys: Vec<(KeyId, SubKey)>,
}

impl SubKeyRing {
    /// The key that protects new data, and the id of its root key.
    #[must_use]
    pub fn current(&self) -> (KeyId, &SubKey) {
        let (kid, key) = &self.keys[0];
        (*kid, key)
    }

    /// The key whose root key has this id.
    #[must_use]
    pub fn get(&self, kid: KeyId) -> Option<&SubKey> {
        self.keys.iter().find(|(known, _)| *known == kid).map(|(_, key)| key)
    }

    /// All keys, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &SubKey> {
        self.keys.iter().map(|(_, key)| key)
    }
}

const HEADER: &str = "\
# The root keys of this Aldis server, the newest first.
# Keep them secret, and keep a backup: they cannot be made again.
version = 1
";

fn setting(line: &str) -> Option<(&str, &str)> {
    line.split_once('=').map(|(name, value)| (name.trim(), value.trim()))
}

fn root_key(line: &str) -> Option<RootKey> {
    let ("root_key", value) = setting(line)? else { return None };
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    binary::decode_array(text).ok().map(RootKey::new)
}

fn has_repeated(keys: &[RootKey]) -> bool {
    keys.iter().enumerate().any(|(place, key)| keys[..place].iter().any(|other| other.kid() == key.kid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        KeyRing::from_keys(vec![RootKey::new([2; 32]), RootKey::new([1; 32])]).unwrap()
    }

    #[test]
    fn the_newest_key_is_current_and_all_are_found() {
        let ring = ring();
        assert_eq!(ring.current().kid(), RootKey::new([2; 32]).kid());
        for byte in [1, 2] {
            let key = RootKey::new([byte; 32]);
            assert_eq!(ring.get(key.kid()).unwrap().kid(), key.kid());
            assert_eq!(ring.sub_keys("a").get(key.kid()).unwrap().as_bytes(), key.sub_key("a").as_bytes());
        }
        assert!(ring.get(RootKey::new([3; 32]).kid()).is_none());
        assert_eq!(ring.sub_keys("a").iter().count(), ring.iter().count());
    }

    #[test]
    fn an_id_has_one_form() {
        let kid = RootKey::new([1; 32]).kid();
        assert_eq!(KeyId::from_bytes(*kid.as_bytes()), kid);
        assert_eq!(kid.to_string().len(), 16);
    }

    #[test]
    fn a_ring_and_its_text_convert_both_ways() {
        let text = ring().to_text();
        let read = KeyRing::from_text(&text).unwrap();
        assert_eq!(*read.to_text(), *text);
        assert_eq!(format!("{read:?}"), format!("{:?}", ring()));
    }

    #[test]
    fn a_file_with_one_key_is_a_ring_of_one() {
        let text = format!("# The key.\nversion = 1\nroot_key = \"{}\"\n", binary::encode(&[7; 32]));
        let ring = KeyRing::from_text(&text).unwrap();
        assert_eq!(ring.current().kid(), RootKey::new([7; 32]).kid());
        assert_eq!(ring.iter().count(), 1);
    }

    #[test]
    fn a_new_key_becomes_the_current_one() {
        let ring = ring().with_new(RootKey::new([3; 32])).unwrap();
        assert_eq!(ring.current().kid(), RootKey::new([3; 32]).kid());
        assert_eq!(ring.with_new(RootKey::new([1; 32])).unwrap_err(), InvalidKeyRing::Repeated);
    }

    #[test]
    fn a_ring_has_one_to_eight_keys() {
        let keys = |count: u8| (0..count).map(|byte| RootKey::new([byte; 32])).collect();
        assert_eq!(KeyRing::from_keys(keys(0)).unwrap_err(), InvalidKeyRing::Empty);
        assert!(KeyRing::from_keys(keys(8)).is_ok());
        assert_eq!(KeyRing::from_keys(keys(9)).unwrap_err(), InvalidKeyRing::TooMany);
        let lines: Vec<_> =
            (0..9).map(|byte| format!("root_key = \"{}\"", binary::encode(&[byte; 32]))).collect();
        let text = format!("version = 1\n{}", lines.join("\n"));
        assert_eq!(KeyRing::from_text(&text).unwrap_err(), InvalidKeyRing::TooMany);
    }

    #[test]
    fn invalid_texts_are_refused_and_never_quoted() {
        let good = ring().to_text();
        for (text, error) in [
            (String::new(), InvalidKeyRing::Version),
            (good.replace("= 1", "= 2"), InvalidKeyRing::Version),
            ("version = 1\n".to_owned(), InvalidKeyRing::Empty),
            (good.replacen("root_key", "other", 1), InvalidKeyRing::Form { line: 4 }),
            (good[..good.len() - 5].to_owned(), InvalidKeyRing::Form { line: 5 }),
            (good.replace('"', "'"), InvalidKeyRing::Form { line: 4 }),
            ("version = 1\nroot_key = \"c2VjcmV0\"".to_owned(), InvalidKeyRing::Form { line: 2 }),
            (format!("{}{}", *good, "version = 1\n"), InvalidKeyRing::Form { line: 6 }),
        ] {
            let refused = KeyRing::from_text(&text).unwrap_err();
            assert_eq!(refused, error, "{text}");
            assert!(!format!("{refused} {refused:?}").contains("c2VjcmV0"));
        }
    }
}
