//! Refresh tokens: each can be used once and is followed by the next one of its family.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::SubKey;

/// 32 bytes that get the next access token. Only its [`hash`](Self::hash) is ever stored.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RefreshToken([u8; 32]);

/// The text is not a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the refresh token is malformed")]
pub struct InvalidRefreshToken;

impl RefreshToken {
    /// The first token of a family, from 32 random bytes.
    #[must_use]
    pub const fn first(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// Parses the token's text: base64url without padding, in its canonical form.
    ///
    /// # Errors
    /// [`InvalidRefreshToken`] for any other text.
    pub fn parse(text: &str) -> Result<Self, InvalidRefreshToken> {
        if text.len() != TEXT_LENGTH {
            return Err(InvalidRefreshToken);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidRefreshToken)?;
        bytes.try_into().map(Self).map_err(|_| InvalidRefreshToken)
    }

    /// The token's text for its holder. There is no `Display`, so that it is not printed by mistake.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The SHA-256 of the token, which the server stores and looks up.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// The next token of the family. It is computed and not random, so a client that lost the response can get the
    /// same one again, although the server stores neither.
    #[must_use]
    pub fn successor(&self, key: &SubKey) -> Self {
        Self(key.mac(&[SUCCESSOR_LABEL, &self.0]))
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(..)")
    }
}

const TEXT_LENGTH: usize = 43;
const SUCCESSOR_LABEL: &[u8] = b"aldis/v1/refresh-successor\0";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::RootKey;

    #[test]
    fn the_same_token_has_the_same_successor() {
        let key = RootKey::new([1; 32]).sub_key("refresh");
        let first = RefreshToken::first([2; 32]);
        assert_eq!(first.successor(&key).hash(), first.successor(&key).hash());
        assert_ne!(first.successor(&key).hash(), first.hash());
        assert_ne!(first.successor(&key).hash(), first.successor(&key).successor(&key).hash());
    }

    #[test]
    fn a_successor_needs_the_key() {
        let root = RootKey::new([1; 32]);
        let first = RefreshToken::first([2; 32]);
        assert_ne!(first.successor(&root.sub_key("a")).hash(), first.successor(&root.sub_key("b")).hash());
    }

    #[test]
    fn other_texts_are_refused() {
        let text = RefreshToken::first([2; 32]).to_text();
        // The last character has two bits that must be zero.
        let other_form = format!("{}J", &text[..42]);
        for bad in
            ["", "AAAA", &text[1..], &format!("{text}="), &other_form, &"é".repeat(21), &"\0".repeat(43)]
        {
            assert!(RefreshToken::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn it_is_never_printed() {
        assert_eq!(format!("{:?}", RefreshToken::first([2; 32])), "RefreshToken(..)");
    }

    proptest! {
        #[test]
        fn a_token_and_its_text_convert_both_ways(bytes: [u8; 32]) {
            let token = RefreshToken::first(bytes);
            prop_assert_eq!(RefreshToken::parse(&token.to_text()).unwrap().hash(), token.hash());
        }
    }
}
