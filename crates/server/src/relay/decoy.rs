//! Decoy users: looked up in place of users who do not exist, so that both cases take the same time.

use aldis_protocol::{Hash, UserId};

/// The decoy for a name that `requester` used and that belongs to nobody. The same name gives the same decoy. A decoy is
/// never a user, because user ids are not UUIDs of version 8.
pub(super) fn decoy(requester: UserId, name: &str) -> UserId {
    let text = format!("aldis stand-in\0{requester}\0{name}");
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Hash::of(text.as_bytes()).0[..16]);
    UserId::new(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_name_has_one_decoy_that_is_not_a_user() {
        let requester = UserId::new(Uuid::from_u128(1));
        let other = UserId::new(Uuid::from_u128(2));
        assert_eq!(decoy(requester, "a@b"), decoy(requester, "a@b"));
        assert_ne!(decoy(requester, "a@b"), decoy(other, "a@b"));
        assert_ne!(decoy(requester, "a@b"), decoy(requester, "a@c"));
        assert_eq!(decoy(requester, "a@b").as_uuid().get_version_num(), 8);
    }
}
