//! Passwords: hashed with Argon2id or, if configured, with bcrypt. Hashes of both kinds can be verified.

mod kind;
mod mapping;

use std::borrow::Cow;

pub use aldis_protocol::limits::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARACTERS};
use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::phc::PasswordHash,
};
use rand::CryptoRng;

pub use self::kind::{HashKind, HashShares};
use self::mapping::mapped;

/// The most bytes of a password with bcrypt, which reads 72 including the zero byte at the end and ignores the rest.
pub const MAX_BCRYPT_PASSWORD_BYTES: usize = 71;

/// The highest cost of an imported bcrypt hash: a login takes four seconds of a core. Each step doubles it.
pub const MAX_BCRYPT_COST: u32 = 16;

/// The algorithm for new passwords. One hash takes tens (Argon2id) or hundreds (bcrypt) of milliseconds of one core,
/// and Argon2id also takes 19 MiB: limit how many run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PasswordHasher {
    /// 19 MiB, 2 passes, 1 lane.
    #[default]
    Argon2id,
    /// Cost 12.
    Bcrypt,
}

/// Why a password is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Fewer than [`MIN_PASSWORD_CHARACTERS`].
    #[error("a password has at least {MIN_PASSWORD_CHARACTERS} characters")]
    TooShort,
    /// More than [`MAX_PASSWORD_BYTES`].
    #[error("a password has at most {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    /// More than [`MAX_BCRYPT_PASSWORD_BYTES`], with bcrypt configured.
    #[error("a password has at most {MAX_BCRYPT_PASSWORD_BYTES} bytes on this server")]
    TooLongForBcrypt,
    /// U+0000, which ends the password in other software.
    #[error("a password has no zero characters")]
    ContainsNul,
    /// The hash function failed, because there was no memory.
    #[error("the password could not be hashed")]
    HashingFailed,
}

/// Why a text is not accepted as a bcrypt hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BcryptHashError {
    /// It does not have the form of a bcrypt hash.
    #[error("not a bcrypt hash, which is $2a$, $2b$ or $2y$, two digits, $ and 53 characters")]
    Form,
    /// Its cost is over [`MAX_BCRYPT_COST`].
    #[error(
        "a bcrypt hash of a cost over {MAX_BCRYPT_COST}, which would keep a core busy for seconds at each login"
    )]
    Cost,
}

/// The result of checking a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a verdict that nobody reads lets everybody in"]
pub struct Verdict {
    /// Whether it is the correct one.
    pub matches: bool,
    /// Whether to hash the correct password again, because the stored hash has another kind or cost than configured.
    pub needs_rehash: bool,
}

impl PasswordHasher {
    /// Whether a password may be chosen: at least 8 characters and at most 1,024 bytes (71 with bcrypt), no U+0000.
    /// The normalised password counts: in NFC, with all blanks as U+0020.
    ///
    /// # Errors
    /// [`PasswordError`] names the broken rule.
    pub fn check(self, password: &str) -> Result<(), PasswordError> {
        let password = mapped(password);
        if password.chars().take(MIN_PASSWORD_CHARACTERS).count() < MIN_PASSWORD_CHARACTERS {
            Err(PasswordError::TooShort)
        } else if self == Self::Bcrypt && password.len() > MAX_BCRYPT_PASSWORD_BYTES {
            Err(PasswordError::TooLongForBcrypt)
        } else {
            check_hashable(&password)
        }
    }

    /// Hashes a password for storage, with a salt from `rng`: a PHC string, or bcrypt's `$2b$` form.
    ///
    /// # Errors
    /// [`PasswordError`] for a password that [`check`](Self::check) refuses, or if hashing fails.
    pub fn hash<R: CryptoRng + ?Sized>(self, password: &str, rng: &mut R) -> Result<String, PasswordError> {
        self.check(password)?;
        self.digest(&mapped(password), rng)
    }

    /// Hashes a password again after its old hash was verified, even if it is too short by now. A password that bcrypt
    /// would cut is hashed with Argon2id.
    ///
    /// # Errors
    /// [`PasswordError`] for a password over [`MAX_PASSWORD_BYTES`] or with U+0000, or if hashing fails.
    pub fn rehash<R: CryptoRng + ?Sized>(self, password: &str, rng: &mut R) -> Result<String, PasswordError> {
        let password = mapped(password);
        check_hashable(&password)?;
        self.for_length_of(&password).digest(&password, rng)
    }

    /// Compares a password with the stored hash. If there is none, as for an unknown address, it does the work of a
    /// hash of the kind `decoy` and returns that it does not match. A stored text that is no hash matches nothing.
    ///
    /// If normalising changes the password, it is also compared as typed, because imported and old hashes were made
    /// from the typed text.
    pub fn verify(self, password: &str, stored: Option<&str>, decoy: HashKind) -> Verdict {
        let typed = password;
        let password = mapped(typed);
        let decoy = if stored.is_none() { decoy.decoy() } else { Cow::Borrowed("") };
        let hash = stored.unwrap_or(&decoy);
        let as_mapped = matches(&password, hash);
        let as_typed = !as_mapped && *password != *typed && matches(typed, hash);
        let is_match = stored.is_some() && (as_mapped || as_typed);
        let is_current = as_mapped && self.for_length_of(&password).made(hash);
        let needs_rehash = is_match && !is_current && check_hashable(&password).is_ok();
        Verdict { matches: is_match, needs_rehash }
    }

    /// The kind of hash that it makes.
    #[must_use]
    pub const fn kind(self) -> HashKind {
        match self {
            Self::Argon2id => HashKind::Argon2id,
            Self::Bcrypt => HashKind::Bcrypt(BCRYPT_COST as u8),
        }
    }

    /// The hasher for this password: Argon2id if bcrypt would cut it.
    fn for_length_of(self, password: &str) -> Self {
        if password.len() > MAX_BCRYPT_PASSWORD_BYTES { Self::Argon2id } else { self }
    }

    fn digest<R: CryptoRng + ?Sized>(self, password: &str, rng: &mut R) -> Result<String, PasswordError> {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        match self {
            Self::Argon2id => hash_argon2id(password, &salt),
            Self::Bcrypt => hash_bcrypt(password, salt),
        }
    }

    /// Whether the hash has the kind and cost of this hasher.
    fn made(self, stored: &str) -> bool {
        match self {
            Self::Argon2id => PasswordHash::new(stored).is_ok_and(|hash| is_current_argon2id(&hash)),
            Self::Bcrypt => is_bcrypt(stored) && stored.get(4..6) == Some("12"),
        }
    }
}

/// Whether an imported text is a bcrypt hash with which passwords can be verified.
///
/// # Errors
/// [`BcryptHashError`] says why not.
pub fn check_bcrypt_hash(text: &str) -> Result<(), BcryptHashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| BcryptHashError::Form)?;
    let digits = text.as_bytes().iter().skip(4).take(2).all(u8::is_ascii_digit);
    if !is_bcrypt(text) || !digits || parts.get_cost() < MIN_BCRYPT_COST {
        Err(BcryptHashError::Form)
    } else if parts.get_cost() > MAX_BCRYPT_COST {
        Err(BcryptHashError::Cost)
    } else {
        Ok(())
    }
}

fn hash_argon2id(password: &str, salt: &[u8; 16]) -> Result<String, PasswordError> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, ARGON2ID_PARAMS)
        .hash_password_with_salt(password.as_bytes(), salt)
        .map(|hash| hash.to_string())
        .map_err(|_| PasswordError::HashingFailed)
}

fn hash_bcrypt(password: &str, salt: [u8; 16]) -> Result<String, PasswordError> {
    bcrypt::non_truncating_hash_with_salt(password, BCRYPT_COST, salt)
        .map(|parts| parts.format_for_version(bcrypt::Version::TwoB))
        .map_err(|_| PasswordError::HashingFailed)
}

/// Refuses passwords that no hash of this server can have.
fn check_hashable(password: &str) -> Result<(), PasswordError> {
    if password.len() > MAX_PASSWORD_BYTES {
        Err(PasswordError::TooLong)
    } else if password.contains('\0') {
        Err(PasswordError::ContainsNul)
    } else {
        Ok(())
    }
}

fn matches(password: &str, stored: &str) -> bool {
    // The work is done even for a password that cannot match, so that the time does not reveal its length.
    let is_match = if is_bcrypt(stored) {
        // bcrypt reads 72 bytes; the software that made an imported hash cut the password there.
        bcrypt::verify(password, stored).unwrap_or(false)
    } else {
        Argon2::default().verify_password(password.as_bytes(), stored).is_ok()
    };
    // bcrypt repeats the bytes before a zero byte.
    is_match & check_hashable(password).is_ok()
}

fn is_bcrypt(stored: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix))
}

fn is_current_argon2id(hash: &PasswordHash) -> bool {
    hash.algorithm == ARGON2ID_IDENT
        && hash.version == Some(Version::V0x13.into())
        && Params::try_from(hash).is_ok_and(|params| {
            (params.m_cost(), params.t_cost(), params.p_cost(), params.output_len())
                == (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST, Some(32))
        })
}

/// 19 MiB, 2 passes, 1 lane: the second of OWASP's equivalent choices, and the library's default.
const ARGON2ID_PARAMS: Params = Params::DEFAULT;
const BCRYPT_COST: u32 = 12;
/// The lowest cost of bcrypt.
const MIN_BCRYPT_COST: u32 = 4;

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const YES: Verdict = Verdict { matches: true, needs_rehash: false };
    const YES_BUT_REHASH: Verdict = Verdict { matches: true, needs_rehash: true };
    const NO: Verdict = Verdict { matches: false, needs_rehash: false };

    fn verify(hasher: PasswordHasher, password: &str, stored: Option<&str>) -> Verdict {
        hasher.verify(password, stored, hasher.kind())
    }

    fn hash(hasher: PasswordHasher, password: &str) -> String {
        hasher.hash(password, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    #[test]
    fn passwords_have_8_characters_to_1024_bytes() {
        let check = |password: &str| PasswordHasher::Argon2id.check(password);
        assert_eq!(check("1234567"), Err(PasswordError::TooShort));
        assert_eq!(check("ééééééé"), Err(PasswordError::TooShort));
        assert_eq!(check("éééééééé"), Ok(()));
        assert_eq!(check(&"x".repeat(1_024)), Ok(()));
        assert_eq!(check(&"x".repeat(1_025)), Err(PasswordError::TooLong));
        assert_eq!(check("1234567\0"), Err(PasswordError::ContainsNul));
    }

    #[test]
    fn bcrypt_takes_71_bytes() {
        assert_eq!(PasswordHasher::Bcrypt.check(&"x".repeat(71)), Ok(()));
        assert_eq!(PasswordHasher::Bcrypt.check(&"x".repeat(72)), Err(PasswordError::TooLongForBcrypt));
        assert_eq!(
            PasswordHasher::Bcrypt.hash(&"x".repeat(72), &mut StdRng::seed_from_u64(1)),
            Err(PasswordError::TooLongForBcrypt)
        );
    }

    #[test]
    fn each_hasher_recognises_its_own_hashes() {
        for (hasher, form) in [
            (PasswordHasher::Argon2id, "$argon2id$v=19$m=19456,t=2,p=1$"),
            (PasswordHasher::Bcrypt, "$2b$12$"),
        ] {
            let stored = hash(hasher, "correct horse");
            assert!(stored.starts_with(form), "{stored}");
            assert_eq!(verify(hasher, "correct horse", Some(&stored)), YES);
            assert_eq!(verify(hasher, "Correct horse", Some(&stored)), NO);
        }
    }

    #[test]
    fn a_hash_of_the_other_kind_verifies_and_needs_a_rehash() {
        let bcrypt = hash(PasswordHasher::Bcrypt, "correct horse");
        let argon2id = hash(PasswordHasher::Argon2id, "correct horse");
        assert_eq!(verify(PasswordHasher::Argon2id, "correct horse", Some(&bcrypt)), YES_BUT_REHASH);
        assert_eq!(verify(PasswordHasher::Bcrypt, "correct horse", Some(&argon2id)), YES_BUT_REHASH);
        assert_eq!(verify(PasswordHasher::Argon2id, "wrong", Some(&bcrypt)), NO);
    }

    #[test]
    fn other_costs_need_a_rehash() {
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap())
            .hash_password_with_salt(b"correct horse", &[0; 16])
            .unwrap()
            .to_string();
        assert_eq!(verify(PasswordHasher::Argon2id, "correct horse", Some(&weak)), YES_BUT_REHASH);
    }

    #[test]
    fn a_password_that_bcrypt_would_cut_is_hashed_with_argon2id() {
        let long = "x".repeat(100);
        let stored = hash(PasswordHasher::Argon2id, &long);
        assert_eq!(verify(PasswordHasher::Bcrypt, &long, Some(&stored)), YES);
    }

    #[test]
    fn a_password_typed_on_another_keyboard_was_wrong() {
        for hasher in [PasswordHasher::Argon2id, PasswordHasher::Bcrypt] {
            let stored = hash(hasher, "cafe\u{301} au\u{a0}lait");
            for same in ["caf\u{e9} au lait", "cafe\u{301} au\u{2003}lait"] {
                assert_eq!(verify(hasher, same, Some(&stored)), YES, "{same:?}");
            }
            assert_eq!(verify(hasher, "cafe au lait", Some(&stored)), NO);
        }
    }

    #[test]
    fn a_hash_of_the_typed_text_verifies_and_needs_a_rehash() {
        let typed = "cafe\u{301} au lait";
        let imported = bcrypt::hash_with_salt(typed, 4, [0; 16]).unwrap().to_string();
        let older = hash_argon2id(typed, &[0; 16]).unwrap();
        for stored in [imported, older] {
            let verdict = verify(PasswordHasher::Argon2id, typed, Some(&stored));
            assert_eq!(verdict, YES_BUT_REHASH, "{stored}");
            assert_eq!(verify(PasswordHasher::Argon2id, "caf\u{e9} au lait", Some(&stored)), NO);
        }
        let fresh = PasswordHasher::Argon2id.rehash(typed, &mut StdRng::seed_from_u64(1)).unwrap();
        assert_eq!(verify(PasswordHasher::Argon2id, "caf\u{e9} au lait", Some(&fresh)), YES);
    }

    #[test]
    fn an_imported_password_that_bcrypt_had_cut_was_wrong() {
        for (hasher, length) in
            [(PasswordHasher::Argon2id, 72), (PasswordHasher::Argon2id, 100), (PasswordHasher::Bcrypt, 100)]
        {
            let password = "x".repeat(length);
            let imported = bcrypt::hash_with_salt(&password, 4, [0; 16]).unwrap().to_string();
            assert_eq!(verify(hasher, &password, Some(&imported)), YES_BUT_REHASH, "{length}");
            assert_eq!(verify(hasher, &"x".repeat(71), Some(&imported)), NO);
            let fresh = hasher.rehash(&password, &mut StdRng::seed_from_u64(1)).unwrap();
            assert_eq!(verify(hasher, &password, Some(&fresh)), YES);
            assert_eq!(
                verify(hasher, &"x".repeat(length + 1), Some(&fresh)),
                NO,
                "it counts whole from then on"
            );
        }
    }

    #[test]
    fn an_imported_password_under_the_minimum_is_hashed_again() {
        let imported = bcrypt::hash_with_salt("short", 4, [0; 16]).unwrap().to_string();
        assert_eq!(verify(PasswordHasher::Argon2id, "short", Some(&imported)), YES_BUT_REHASH);
        let fresh = PasswordHasher::Argon2id.rehash("short", &mut StdRng::seed_from_u64(1)).unwrap();
        assert_eq!(verify(PasswordHasher::Argon2id, "short", Some(&fresh)), YES);
    }

    /// Test vectors of OpenBSD's bcrypt, as published with jBCrypt.
    #[test]
    fn foreign_bcrypt_hashes_verify() {
        let stored = "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC";
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let stored = stored.replace("$2a$", prefix);
            let verdict = verify(PasswordHasher::Bcrypt, "abcdefghijklmnopqrstuvwxyz", Some(&stored));
            assert_eq!(verdict, YES_BUT_REHASH, "{prefix}");
        }
        assert_eq!(verify(PasswordHasher::Bcrypt, "abc", Some(stored)), NO);
    }

    #[test]
    fn a_foreign_hash_is_imported_in_three_forms_up_to_a_cost() {
        let stored = "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC";
        for good in ["$2a$06$", "$2b$06$", "$2y$06$", "$2b$04$", "$2b$16$"] {
            assert_eq!(check_bcrypt_hash(&stored.replace("$2a$06$", good)), Ok(()), "{good}");
        }
        for bad in
            ["$2x$06$", "$2$06$", "$1a$06$", "$2a$03$", "$2a$+6$", "$2a$ 6$", "$2a$6$", "x2a$06$", "$2A$06$"]
        {
            let refused = check_bcrypt_hash(&stored.replace("$2a$06$", bad));
            assert_eq!(refused, Err(BcryptHashError::Form), "{bad}");
        }
        for costly in ["$2a$17$", "$2a$31$", "$2a$99$"] {
            let refused = check_bcrypt_hash(&stored.replace("$2a$06$", costly));
            assert_eq!(refused, Err(BcryptHashError::Cost), "{costly}");
        }
        let longer = format!("{stored}C");
        for bad in
            ["", &stored[1..], &stored[..59], &longer, &stored.replace('9', "é"), &stored.replace('9', "=")]
        {
            assert_eq!(check_bcrypt_hash(bad), Err(BcryptHashError::Form), "{bad}");
        }
    }

    #[test]
    fn a_repeated_password_never_matches_with_bcrypt() {
        let repeated = bcrypt::hash_with_salt("abcdefgh", 4, [0; 16]).unwrap().to_string();
        assert_eq!(verify(PasswordHasher::Bcrypt, "abcdefgh\0abcdefgh", Some(&repeated)), NO);
        let long = bcrypt::hash_with_salt("x".repeat(2_000), 4, [0; 16]).unwrap().to_string();
        assert_eq!(verify(PasswordHasher::Argon2id, &"x".repeat(2_000), Some(&long)), NO);
    }

    #[test]
    fn a_password_set_here_is_never_cut() {
        let stored = hash(PasswordHasher::Bcrypt, &"x".repeat(71));
        for other in [70, 72, 73] {
            assert_eq!(verify(PasswordHasher::Bcrypt, &"x".repeat(other), Some(&stored)), NO, "{other}");
        }
    }

    /// Everything that determines the work of a comparison, except the password.
    fn work(stored: &str) -> (String, usize, usize) {
        if let Ok(parts) = stored.parse::<bcrypt::HashParts>() {
            return (format!("bcrypt, cost {}", parts.get_cost()), parts.get_salt_raw().len(), stored.len());
        }
        let hash = PasswordHash::new(stored).unwrap();
        let form = format!("{} {:?} {}", hash.algorithm, hash.version, hash.params);
        (form, hash.salt.unwrap().as_ref().len(), hash.hash.unwrap().as_bytes().len())
    }

    #[test]
    fn an_unknown_address_costs_as_much_as_a_known_one() {
        for hasher in [PasswordHasher::Argon2id, PasswordHasher::Bcrypt] {
            assert_eq!(work(&hasher.kind().decoy()), work(&hash(hasher, "correct horse")));
        }
        assert_ne!(work(&HashKind::Argon2id.decoy()), work(&HashKind::Bcrypt(12).decoy()));
    }

    #[test]
    fn an_unknown_address_matches_nothing() {
        for hasher in [PasswordHasher::Argon2id, PasswordHasher::Bcrypt] {
            assert!(hasher.made(&hasher.kind().decoy()));
            assert_eq!(verify(hasher, "correct horse", None), NO);
            for garbage in ["", "$2b$", "$2b$12$", "$argon2id$", "plain text", "$2b$99$é"] {
                assert_eq!(verify(hasher, "correct horse", Some(garbage)), NO, "{garbage}");
            }
        }
        assert!(PasswordHash::new(&HashKind::Argon2id.decoy()).is_ok());
        assert_eq!(bcrypt::verify("x", &HashKind::Bcrypt(12).decoy()).ok(), Some(false));
    }
}
