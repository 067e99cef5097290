//! The cost of verifying stored hashes, and decoys for addresses without an account.

use std::borrow::Cow;

use crate::SubKey;

/// A kind of stored hash. All hashes of one kind cost the same to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashKind {
    /// Argon2id with this server's parameters.
    Argon2id,
    /// bcrypt of this cost; each step doubles the work.
    Bcrypt(u8),
}

/// How many accounts have a hash of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HashShares {
    /// The costliest first. Imported hashes are replaced over time, so an address moves only to a cheaper kind.
    counts: Vec<(HashKind, u64)>,
}

impl HashKind {
    /// A hash of this kind that matches no password.
    pub(super) fn decoy(self) -> Cow<'static, str> {
        match self {
            Self::Argon2id => Cow::Borrowed(
                "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ),
            Self::Bcrypt(cost) => Cow::Owned(format!("$2b${cost:02}${}", ".".repeat(BCRYPT_DIGITS))),
        }
    }
}

impl HashShares {
    /// Takes the count of each kind.
    #[must_use]
    pub fn new(mut counts: Vec<(HashKind, u64)>) -> Self {
        counts.sort_unstable_by(|one, other| other.cmp(one));
        Self { counts }
    }

    /// The kind of hash whose cost an address without an account takes. Each kind is drawn with its share, and an
    /// address keeps its kind as long as the shares do not change. With a single kind for all, accounts with other
    /// kinds would stand out. `None` if there is no account.
    #[must_use]
    pub fn draw(&self, key: &SubKey, address: &str) -> Option<HashKind> {
        let total: u64 = self.counts.iter().map(|(_, count)| count).sum();
        let mut drawn = share_of(total, &key.mac(&[LABEL, address.as_bytes()]));
        let is_drawn = |(_, count): &&(HashKind, u64)| {
            let is_here = drawn < *count;
            drawn = drawn.saturating_sub(*count);
            is_here
        };
        self.counts.iter().find(is_drawn).map(|(kind, _)| *kind)
    }
}

const LABEL: &[u8] = b"aldis/v1/decoy-hash\0";
/// The length of salt and hash.
const BCRYPT_DIGITS: usize = 53;

/// A uniformly distributed number below `total`.
fn share_of(total: u64, mac: &[u8; 32]) -> u64 {
    let (first, _) = mac.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let scaled = (u128::from(u64::from_be_bytes(*first)) * u128::from(total)) >> 64;
    u64::try_from(scaled).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RootKey;

    fn drawn(shares: &HashShares, seed: u8) -> Vec<Option<HashKind>> {
        let key = RootKey::new([seed; 32]).sub_key("decoys");
        (0..1_000).map(|number| shares.draw(&key, &format!("a{number}@aldis.example"))).collect()
    }

    #[test]
    fn a_single_kind_would_reveal_accounts_with_other_kinds() {
        let shares = HashShares::new(vec![
            (HashKind::Argon2id, 600),
            (HashKind::Bcrypt(10), 100),
            (HashKind::Bcrypt(12), 300),
        ]);
        let drawn = drawn(&shares, 1);
        for (kind, share) in
            [(HashKind::Argon2id, 600), (HashKind::Bcrypt(10), 100), (HashKind::Bcrypt(12), 300)]
        {
            let count: usize = drawn.iter().filter(|drawn| **drawn == Some(kind)).count();
            assert!(count.abs_diff(share) < 60, "{kind:?}: {count}");
        }
    }

    #[test]
    fn an_address_keeps_its_kind_which_needs_the_key() {
        let shares = HashShares::new(vec![(HashKind::Bcrypt(12), 1), (HashKind::Argon2id, 1)]);
        assert_eq!(drawn(&shares, 1), drawn(&shares, 1));
        assert_ne!(drawn(&shares, 1), drawn(&shares, 2), "it depends on the key");
    }

    #[test]
    fn an_address_changes_its_kind_only_as_accounts_do() {
        let before = HashShares::new(vec![(HashKind::Bcrypt(12), 500), (HashKind::Argon2id, 500)]);
        let after = HashShares::new(vec![(HashKind::Bcrypt(12), 200), (HashKind::Argon2id, 800)]);
        for (before, after) in drawn(&before, 1).into_iter().zip(drawn(&after, 1)) {
            let rehashed = (Some(HashKind::Bcrypt(12)), Some(HashKind::Argon2id));
            assert!(before == after || (before, after) == rehashed);
        }
    }

    #[test]
    fn without_accounts_nothing_is_drawn() {
        let key = RootKey::new([1; 32]).sub_key("decoys");
        assert_eq!(HashShares::default().draw(&key, "a@b"), None);
        assert_eq!(HashShares::new(vec![(HashKind::Argon2id, 0)]).draw(&key, "a@b"), None);
        let one = HashShares::new(vec![(HashKind::Bcrypt(4), 1)]);
        assert_eq!(one.draw(&key, "a@b"), Some(HashKind::Bcrypt(4)));
    }
}
