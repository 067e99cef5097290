//! Recovery codes, for users who lost their authenticator app.

use std::fmt;

use aldis_protocol::{Secret, UserId};
use rand::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::InvalidSecondFactor;
use crate::SubKey;

/// How many codes an enrolment has.
pub const RECOVERY_CODES: usize = 10;

/// A code of 50 random bits. Only its [`hash`](Self::hash) is ever stored, and it can be used once.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryCode([u8; SYMBOLS]);

impl RecoveryCode {
    /// Generates a code.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut symbols = [0; SYMBOLS];
        rng.fill_bytes(&mut symbols);
        Self(symbols.map(|byte| ALPHABET[usize::from(byte & 31)]))
    }

    /// Parses a code as people type it: in upper or lower case, with blanks and hyphens anywhere, `o` for `0`, `i` and
    /// `l` for `1`.
    ///
    /// # Errors
    /// [`InvalidSecondFactor`] if it does not have ten symbols.
    pub fn parse(text: &str) -> Result<Self, InvalidSecondFactor> {
        let mut written = text.chars().filter(|character| !is_separator(*character));
        let mut symbols = [0; SYMBOLS];
        for symbol in &mut symbols {
            let byte = written.next().and_then(|character| u8::try_from(character).ok()).map(normal);
            *symbol = byte.filter(|byte| ALPHABET.contains(byte)).ok_or(InvalidSecondFactor)?;
        }
        written.next().map_or(Ok(Self(symbols)), |_| Err(InvalidSecondFactor))
    }

    /// The code as shown to its owner: two groups of five symbols.
    #[must_use]
    pub fn to_text(&self) -> Secret<'static> {
        let symbols = self.0.map(char::from);
        let (left, right) = symbols.split_at(SYMBOLS / 2);
        Secret::from(left.iter().chain(&['-']).chain(right).collect::<String>())
    }

    /// What the server stores and looks up: an HMAC, so that the database alone does not help to guess codes. If the
    /// server has several keys, it looks for the hash with each.
    #[must_use]
    pub fn hash(&self, key: &SubKey, user_id: UserId) -> [u8; 32] {
        key.mac(&[LABEL, user_id.as_uuid().as_bytes(), &self.0])
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(..)")
    }
}

const SYMBOLS: usize = 10;
const LABEL: &[u8] = b"aldis/v1/recovery-code\0";
/// Crockford's base32: no letters that look like digits, and no `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Blanks and hyphens, including those into which phones change typed ones.
fn is_separator(character: char) -> bool {
    character.is_whitespace() || matches!(character, '-' | '\u{2010}'..='\u{2015}')
}

const fn normal(byte: u8) -> u8 {
    match byte.to_ascii_lowercase() {
        b'o' => b'0',
        b'i' | b'l' => b'1',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use uuid::Uuid;

    use super::*;
    use crate::RootKey;

    fn generate(seed: u64) -> RecoveryCode {
        RecoveryCode::generate(&mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn a_code_may_be_typed_in_many_ways() {
        let code = RecoveryCode::parse("01234-abcde").unwrap();
        for text in
            ["01234abcde", " O1234 ABCDE ", "oI234-AbCdE", "01234\u{2013}abcde\n", "0-l-2-3-4-a-b-c-d-e"]
        {
            assert_eq!(RecoveryCode::parse(text), Ok(code.clone()), "{text:?}");
        }
        for text in ["", "01234-abcd", "01234-abcde0", "01234-abcdu", "01234_abcde", "０1234-abcde"] {
            assert_eq!(RecoveryCode::parse(text), Err(InvalidSecondFactor), "{text:?}");
        }
        assert!(RecoveryCode::parse(&"0".repeat(1_000_000)).is_err());
    }

    #[test]
    fn a_hash_needs_key_and_user() {
        let (root, user) = (RootKey::new([1; 32]), UserId::new(Uuid::from_u128(1)));
        let (code, key) = (generate(1), root.sub_key("recovery"));
        assert_eq!(code.hash(&key, user), code.hash(&key, user));
        assert_ne!(code.hash(&key, user), generate(2).hash(&key, user));
        assert_ne!(code.hash(&key, user), code.hash(&root.sub_key("other"), user));
        assert_ne!(code.hash(&key, user), code.hash(&key, UserId::new(Uuid::from_u128(2))));
    }

    proptest! {
        #[test]
        fn a_code_and_its_text_convert_both_ways(seed: u64) {
            let text = generate(seed).to_text();
            prop_assert_eq!(text.expose().len(), 11);
            prop_assert_eq!(text.expose().find('-'), Some(5));
            prop_assert_eq!(RecoveryCode::parse(text.expose()), Ok(generate(seed)));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,40}") {
            let _ = RecoveryCode::parse(&text);
        }
    }
}
