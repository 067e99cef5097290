//! Encryption keys: who can publish them, and in which order.

use aldis_protocol::UserId;
use uuid::Uuid;

use super::{Fixture, NOW, by_token, log_in, refused, suite};
use crate::store::{KeyPublication, NewFamily, PublishedKey, Unauthorized};

suite! {
    the_active_key_signs,
    a_key_signed_earlier_is_refused,
    a_key_without_an_identity_has_no_signature,
}

async fn signed_in(at: &Fixture, user_id: UserId) -> Uuid {
    let family_id = Uuid::new_v4();
    let new = NewFamily { family_id, user_id, device_id: None, token_hash: [1; 32], second_factor: false };
    log_in(&at.store, &new, NOW).await;
    family_id
}

async fn owner(at: &Fixture) -> (UserId, Uuid) {
    let user = UserId::new(Uuid::new_v4());
    at.store.create_account_for_key(user, [7; 32], NOW).await.unwrap();
    (user, signed_in(at, user).await)
}

fn key(byte: u8, created_at_ms: i64) -> PublishedKey {
    PublishedKey {
        encryption_key: [byte; 32],
        created_at_ms: Some(created_at_ms),
        signature: Some([byte; 64]),
    }
}

async fn the_active_key_signs(at: Fixture) {
    let (user, family) = owner(&at).await;
    let publish = async |family, signer| {
        at.store.publish_encryption_key(&by_token(user, family), &key(1, NOW), signer).await
    };
    for signer in [None, Some([8; 32])] {
        assert_eq!(publish(family, signer).await.unwrap(), KeyPublication::WrongSigner);
    }
    assert_eq!(refused(publish(Uuid::new_v4(), Some([7; 32])).await), Unauthorized::Revoked);
    assert_eq!(at.store.encryption_key_of(user).await.unwrap(), None);
    assert_eq!(publish(family, Some([7; 32])).await.unwrap(), KeyPublication::Published);
    assert_eq!(at.store.encryption_key_of(user).await.unwrap(), Some(key(1, NOW)));
}

async fn a_key_signed_earlier_is_refused(at: Fixture) {
    let (user, family) = owner(&at).await;
    let publish = async |key| {
        at.store.publish_encryption_key(&by_token(user, family), &key, Some([7; 32])).await.unwrap()
    };
    assert_eq!(publish(key(1, NOW)).await, KeyPublication::Published);
    assert_eq!(publish(key(1, NOW)).await, KeyPublication::Published);
    assert_eq!(publish(key(2, NOW + 1)).await, KeyPublication::Published);
    assert_eq!(publish(key(1, NOW)).await, KeyPublication::Older);
    assert_eq!(at.store.encryption_key_of(user).await.unwrap(), Some(key(2, NOW + 1)));
}

async fn a_key_without_an_identity_has_no_signature(at: Fixture) {
    let user = at.user().await;
    let family = signed_in(&at, user).await;
    for byte in [1, 2] {
        let key = PublishedKey { encryption_key: [byte; 32], created_at_ms: None, signature: None };
        let published = at.store.publish_encryption_key(&by_token(user, family), &key, None).await.unwrap();
        assert_eq!(published, KeyPublication::Published);
        assert_eq!(at.store.encryption_key_of(user).await.unwrap(), Some(key));
    }
}
