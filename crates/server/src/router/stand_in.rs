//! Somebody to look up in place of a user who is not there, so that it takes as long.

use aldis_protocol::{Hash, UserId};

/// Who stands for whom `asker` named, where there is no such user: the same one each time, and never a user, whose ids
/// are no UUIDs of version 8.
pub(super) fn stand_in(asker: UserId, name: &str) -> UserId {
    let text = format!("aldis stand-in\0{asker}\0{name}");
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Hash::of(text.as_bytes()).0[..16]);
    UserId::new(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_name_has_one_that_is_no_user() {
        let asker = UserId::new(Uuid::from_u128(1));
        let other = UserId::new(Uuid::from_u128(2));
        assert_eq!(stand_in(asker, "a@b"), stand_in(asker, "a@b"));
        assert_ne!(stand_in(asker, "a@b"), stand_in(other, "a@b"));
        assert_ne!(stand_in(asker, "a@b"), stand_in(asker, "a@c"));
        assert_eq!(stand_in(asker, "a@b").as_uuid().get_version_num(), 8);
    }
}
