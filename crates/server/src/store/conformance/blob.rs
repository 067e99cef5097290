//! Blobs: the preconditions for overwriting one.

use aldis_protocol::{Fingerprint, Hash, UserId};
use uuid::Uuid;

use super::{Fixture, NOW, by_token, fifty_at_once, log_in, refused, suite};
use crate::store::{BlobPublication, NewFamily, Precondition, Unauthorized};

suite! {
    a_blob_is_overwritten_only_with_its_hash,
    only_one_of_many_concurrent_writers_wins,
    a_blob_needs_an_identity_and_a_sign_in,
}

async fn signed_in(at: &Fixture, user_id: UserId) -> Uuid {
    let family_id = Uuid::new_v4();
    let mut token_hash = [0; 32];
    token_hash[..16].copy_from_slice(family_id.as_bytes());
    let new = NewFamily { family_id, user_id, device_id: None, token_hash, second_factor: false };
    log_in(&at.store, &new, NOW).await;
    family_id
}

async fn owner(at: &Fixture, key: u8) -> (UserId, Uuid) {
    let user = UserId::new(Uuid::new_v4());
    at.store.create_account_for_key(user, [key; 32], NOW).await.unwrap();
    (user, signed_in(at, user).await)
}

async fn a_blob_is_overwritten_only_with_its_hash(at: Fixture) {
    use BlobPublication::{PreconditionFailed, PreconditionRequired, Published};
    use Precondition::{Absent, Any, OneOf};
    let (user, family) = owner(&at, 1).await;
    let publish = async |content: &'static [u8], precondition| {
        at.store.publish_blob(&by_token(user, family), content, &precondition).await.unwrap()
    };
    assert_eq!(publish(b"1", Any).await, PreconditionFailed);
    assert_eq!(publish(b"1", OneOf(vec![Hash::of(b"1")])).await, PreconditionFailed);
    assert_eq!(publish(b"1", Absent).await, Published(Hash::of(b"1")));
    assert_eq!(publish(b"2", Absent).await, PreconditionRequired);
    assert_eq!(publish(b"2", OneOf(vec![Hash::of(b"0")])).await, PreconditionFailed);
    assert_eq!(publish(b"2", OneOf(vec![Hash::of(b"0"), Hash::of(b"1")])).await, Published(Hash::of(b"2")));
    assert_eq!(publish(b"", Any).await, Published(Hash::of(b"")));
    let found = at.store.blob(Fingerprint::of_first_key(&[1; 32])).await.unwrap();
    assert_eq!(found, Some((Vec::new(), Hash::of(b""))));
    assert_eq!(at.store.blob(Fingerprint::of_first_key(&[2; 32])).await.unwrap(), None);
}

async fn only_one_of_many_concurrent_writers_wins(at: Fixture) {
    let (user, family) = owner(&at, 1).await;
    at.store.publish_blob(&by_token(user, family), b"seen", &Precondition::Absent).await.unwrap();
    let outcomes = fifty_at_once(&at.store, |store, number| async move {
        let seen = Precondition::OneOf(vec![Hash::of(b"seen")]);
        store.publish_blob(&by_token(user, family), &[number], &seen).await.unwrap()
    })
    .await;
    let won = outcomes.iter().filter(|outcome| matches!(outcome, BlobPublication::Published(_)));
    assert_eq!(won.count(), 1);
}

async fn a_blob_needs_an_identity_and_a_sign_in(at: Fixture) {
    let user = at.user().await;
    let family = signed_in(&at, user).await;
    let publish =
        async |family| at.store.publish_blob(&by_token(user, family), b"1", &Precondition::Absent).await;
    assert_eq!(publish(family).await.unwrap(), BlobPublication::NoIdentity);
    assert_eq!(refused(publish(Uuid::new_v4()).await), Unauthorized::Revoked);
}
