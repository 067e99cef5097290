//! Time-based one-time passwords (RFC 6238: SHA-1, six digits, 30 s), and recovery codes.

mod qr;
mod recovery;

use std::fmt;

use aldis_protocol::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use self::recovery::{RECOVERY_CODES, RecoveryCode};

/// How long an app shows a code, in milliseconds.
pub const TOTP_STEP_MS: u64 = 30_000;
/// The length of a secret in bytes: that of the hash, as the standard recommends.
pub const TOTP_SECRET_BYTES: usize = 20;

/// The secret that an authenticator app and the server share, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TotpSecret([u8; TOTP_SECRET_BYTES]);

/// A second factor, as typed by the user.
#[derive(Clone, PartialEq, Eq)]
pub enum SecondFactor {
    /// Six digits from an authenticator app.
    Totp(TotpCode),
    /// One of the recovery codes from the enrolment.
    Recovery(RecoveryCode),
}

/// Six digits.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpCode([u8; DIGITS]);

/// The code is wrong, was used before, or is malformed; the error does not say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the code is not valid")]
pub struct InvalidSecondFactor;

impl TotpSecret {
    /// Takes 20 bytes: random ones for a new secret, or those of [`as_bytes`](Self::as_bytes) for a stored one.
    #[must_use]
    pub const fn new(bytes: [u8; TOTP_SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// The secret's bytes, for sealing.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; TOTP_SECRET_BYTES] {
        &self.0
    }

    /// The secret for typing it in: 32 characters of base32.
    #[must_use]
    pub fn to_base32(&self) -> Secret<'static> {
        let chunks = self.0.as_chunks::<5>().0;
        Secret::from(chunks.iter().flat_map(base32_of_5).map(char::from).collect::<String>())
    }

    /// The step of a code, if it is the current one or one step earlier or later, because clocks differ.
    ///
    /// A code can be used once: the caller must store the step and accept only later ones.
    #[must_use]
    pub fn check(&self, code: &TotpCode, now_ms: u64) -> Option<u64> {
        let now = now_ms / TOTP_STEP_MS;
        // Computes all three, so that the time reveals nothing; the latest match wins.
        (now.saturating_sub(1)..=now.saturating_add(1)).fold(None, |found, step| {
            if bool::from(self.code_at(step).0.ct_eq(&code.0)) { Some(step) } else { found }
        })
    }

    /// The `otpauth:` URI for an authenticator app. Issuer and account are shown to people. A colon separates them, so
    /// colons in them are replaced by hyphens.
    #[must_use]
    pub fn otpauth_uri(&self, issuer: &str, account: &str) -> Secret<'static> {
        let (issuer, account) = (label(issuer), label(account));
        let secret = self.to_base32();
        let secret = secret.expose();
        Secret::from(format!(
            "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period=30"
        ))
    }

    /// The same URI as a QR code.
    ///
    /// # Errors
    /// [`LabelTooLong`] if issuer and account do not fit: together more than about 600 characters.
    pub fn qr_svg(&self, issuer: &str, account: &str) -> Result<Secret<'static>, LabelTooLong> {
        qr::svg(self.otpauth_uri(issuer, account).expose()).map(Secret::from).ok_or(LabelTooLong)
    }

    fn code_at(&self, step: u64) -> TotpCode {
        // HMAC pads a shorter key with zeros to a block. A full block is the only length that cannot be refused.
        let mut block = Zeroizing::new([0; 64]);
        block[..TOTP_SECRET_BYTES].copy_from_slice(&self.0);
        let mac: [u8; 20] = Hmac::<Sha1>::new((&*block).into())
            .chain_update(step.to_be_bytes())
            .finalize()
            .into_bytes()
            .into();
        TotpCode::from_number(truncated(&mac))
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

/// Issuer and account do not fit a QR code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the names are too long for a QR code")]
pub struct LabelTooLong;

impl SecondFactor {
    /// Parses what a user typed: a code of six digits, or a recovery code.
    ///
    /// # Errors
    /// [`InvalidSecondFactor`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidSecondFactor> {
        TotpCode::parse(text).map(Self::Totp).or_else(|_| RecoveryCode::parse(text).map(Self::Recovery))
    }
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecondFactor(..)")
    }
}

impl TotpCode {
    /// Parses six ASCII digits. Blanks are ignored, because apps show `123 456`.
    ///
    /// # Errors
    /// [`InvalidSecondFactor`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidSecondFactor> {
        let mut written = text.chars().filter(|character| !character.is_whitespace());
        let mut digits = [0; DIGITS];
        for digit in &mut digits {
            let character = written.next().filter(char::is_ascii_digit).ok_or(InvalidSecondFactor)?;
            *digit = u8::try_from(character).map_err(|_| InvalidSecondFactor)?;
        }
        written.next().map_or(Ok(Self(digits)), |_| Err(InvalidSecondFactor))
    }

    fn from_number(mut number: u32) -> Self {
        let mut digits = [0; DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        Self(digits)
    }
}

impl fmt::Debug for TotpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpCode(..)")
    }
}

const DIGITS: usize = 6;

/// RFC 4226's dynamic truncation: 31 bits at the offset in the last four bits.
fn truncated(mac: &[u8; 20]) -> u32 {
    let at = usize::from(mac[19] & 15);
    u32::from_be_bytes([mac[at] & 0x7f, mac[at + 1], mac[at + 2], mac[at + 3]])
}

fn base32_of_5(bytes: &[u8; 5]) -> [u8; 8] {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let number = bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    std::array::from_fn(|place| ALPHABET[(number >> (35 - 5 * place) & 31) as usize])
}

/// Percent-encodes everything except RFC 3986's unreserved characters.
fn label(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut label, byte| {
        match byte {
            b':' => label.push('-'),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => label.push(byte.into()),
            _ => label.push_str(&format!("%{byte:02X}")),
        }
        label
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> TotpSecret {
        TotpSecret::new(*b"12345678901234567890")
    }

    fn code(text: &str) -> TotpCode {
        TotpCode::parse(text).unwrap()
    }

    /// RFC 6238, appendix B: the last six of its eight digits.
    const PUBLISHED: [(u64, &str); 6] = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];

    #[test]
    fn the_published_codes() {
        for (seconds, digits) in PUBLISHED {
            assert_eq!(secret().check(&code(digits), seconds * 1_000), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn one_step_either_way_and_no_more() {
        let shown_at_ms = 1_111_111_080_000;
        let step = shown_at_ms / TOTP_STEP_MS;
        let check = |now_ms| secret().check(&code("081804"), now_ms);
        assert_eq!(check(shown_at_ms - TOTP_STEP_MS - 1), None);
        assert_eq!(check(shown_at_ms - TOTP_STEP_MS), Some(step));
        assert_eq!(check(shown_at_ms + 2 * TOTP_STEP_MS - 1), Some(step));
        assert_eq!(check(shown_at_ms + 2 * TOTP_STEP_MS), None);
    }

    #[test]
    fn the_first_and_last_moments_have_codes() {
        assert_eq!(secret().check(&secret().code_at(0), 0), Some(0));
        assert!(secret().check(&secret().code_at(u64::MAX / TOTP_STEP_MS), u64::MAX).is_some());
    }

    #[test]
    fn only_six_digits_are_a_code() {
        for text in [
            "",
            "  ",
            "12345",
            "1234567",
            " 12345",
            "12345a",
            "+12345",
            "１２",
            "-12345",
            "000\n00",
            "１２３４５６",
        ] {
            assert_eq!(TotpCode::parse(text), Err(InvalidSecondFactor), "{text:?}");
        }
        assert!(TotpCode::parse(&"0".repeat(1_000_000)).is_err());
    }

    #[test]
    fn a_code_with_the_blanks_that_apps_show_was_refused() {
        for text in ["123 456", " 123456\n", "12 34 56", "123\u{a0}456", "123\u{2009}456"] {
            assert_eq!(TotpCode::parse(text), Ok(code("123456")), "{text:?}");
        }
    }

    #[test]
    fn both_kinds_of_codes_are_distinguished() {
        assert!(matches!(SecondFactor::parse("287082"), Ok(SecondFactor::Totp(_))));
        assert!(matches!(SecondFactor::parse("01234-56789"), Ok(SecondFactor::Recovery(_))));
        assert_eq!(SecondFactor::parse("28708"), Err(InvalidSecondFactor));
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        assert_eq!(secret().to_base32().expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(TotpSecret::new([0xff; 20]).to_base32().expose(), "7".repeat(32));
    }

    #[test]
    fn the_address_is_escaped() {
        let uri = secret().otpauth_uri("Aldis: Café & Co", "a:b?secret=x@example.test");
        assert_eq!(
            uri.expose(),
            "otpauth://totp/Aldis-%20Caf%C3%A9%20%26%20Co:a-b%3Fsecret%3Dx%40example.test\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Aldis-%20Caf%C3%A9%20%26%20Co\
             &algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn the_qr_code_has_room_for_the_longest_address() {
        let account = format!("{}@{}", "é".repeat(63), "x".repeat(127));
        let svg = secret().qr_svg("relay.example.test", &account).unwrap();
        assert!(svg.expose().contains("<svg ") && svg.expose().ends_with("</svg>"));
        assert_eq!(secret().qr_svg("Aldis", &"é".repeat(2_000)), Err(LabelTooLong));
    }

    #[test]
    fn secrets_are_never_printed() {
        let (totp, recovery) = (SecondFactor::parse("287082"), SecondFactor::parse("01234-56789"));
        let printed = format!("{:?} {:?} {totp:?} {recovery:?}", secret(), code("287082"));
        let expected = "TotpSecret(..) TotpCode(..) Ok(SecondFactor(..)) Ok(SecondFactor(..))";
        assert_eq!(printed, expected);
    }
}
