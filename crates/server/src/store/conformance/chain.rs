//! Chains: rotations, cancellations, and what a cancellation restores.

use aldis_auth::{CANCELLATION_WINDOW_MS, Cancellation, ChainError, Rotation, SecretKey};
use aldis_protocol::{AlertKind, Fingerprint, UserId, api::ChainHead};
use uuid::Uuid;

use super::{Fixture, NOW, acting, by_token, device_id, fifty_at_once, log_in, refused, suite};
use crate::store::{
    BlobPublication, ChainChange, FamilyCreation, IdentityCreation, IdentityLink, LoginProof, NewDevice,
    NewFamily, Notice, Precondition, PublishedKey, Registration, Revocation, Unauthorized,
};

suite! {
    a_rotation_changes_the_key_and_revokes_the_other_families,
    a_repetition_changes_nothing,
    only_one_of_many_concurrent_rotations_wins,
    a_key_that_was_ever_used_is_refused,
    rotations_a_day_are_counted,
    only_the_replaced_key_cancels,
    the_window_is_half_open,
    a_cancellation_restores_the_copy,
    a_device_key_that_became_an_identity_stays_one,
    a_rotation_needs_a_valid_sign_in,
    a_server_that_was_killed_after_a_rotation_told_nobody,
    a_key_is_linked_once,
    a_deleted_identity_leaves_no_chain,
}

const WINDOW: i64 = CANCELLATION_WINDOW_MS as i64;
const DAY: i64 = WINDOW / 3;

/// An identity, its first key, and a family of its user.
pub(super) struct Owner {
    pub(super) user: UserId,
    pub(super) key: SecretKey,
    pub(super) fingerprint: Fingerprint,
    pub(super) family: Uuid,
}

impl Owner {
    pub(super) async fn new(at: &Fixture) -> Self {
        let (user, key) = (UserId::new(Uuid::new_v4()), secret());
        let created = at.store.create_account_for_key(user, *key.public_key().as_bytes(), NOW).await.unwrap();
        assert_eq!(created, IdentityCreation::Created);
        let fingerprint = key.public_key().fingerprint();
        Self { user, fingerprint, family: sign_in(at, user, &key).await.unwrap(), key }
    }

    pub(super) async fn head(&self, at: &Fixture) -> ChainHead {
        at.store.chain_of(self.user).await.unwrap().unwrap().head()
    }

    async fn active_key(&self, at: &Fixture) -> [u8; 32] {
        let identity = at.store.identity_of_fingerprint(self.fingerprint).await.unwrap().unwrap();
        let chain = at.store.chain_of(self.user).await.unwrap().unwrap();
        assert_eq!(chain.state(0).active_key.as_bytes(), &identity.active_key);
        identity.active_key
    }

    fn rotation(&self, head: ChainHead, old: &SecretKey, new: &SecretKey, now_ms: i64) -> Rotation {
        Rotation::sign(self.fingerprint, head, old, new, "test", now_ms.unsigned_abs())
    }

    pub(super) async fn rotates(
        &self,
        at: &Fixture,
        old: &SecretKey,
        new: &SecretKey,
        now_ms: i64,
    ) -> ChainChange {
        let rotation = self.rotation(self.head(at).await, old, new, now_ms);
        at.store.rotate(&by_token(self.user, self.family), rotation, usize::MAX, now_ms).await.unwrap()
    }

    pub(super) async fn cancels(&self, at: &Fixture, key: &SecretKey, now_ms: i64) -> ChainChange {
        let head = self.head(at).await;
        let cancellation = Cancellation::sign(self.fingerprint, head, key, now_ms.unsigned_abs());
        at.store.cancel_rotation(self.user, &cancellation, now_ms).await.unwrap()
    }
}

fn secret() -> SecretKey {
    SecretKey::generate(&mut rand::rng())
}

fn public(key: &SecretKey) -> [u8; 32] {
    *key.public_key().as_bytes()
}

/// `None` if the login no longer holds.
async fn sign_in(at: &Fixture, user: UserId, key: &SecretKey) -> Option<Uuid> {
    let family_id = Uuid::new_v4();
    let mut token_hash = [0; 32];
    token_hash[..16].copy_from_slice(family_id.as_bytes());
    let new = NewFamily { family_id, user_id: user, device_id: None, token_hash, second_factor: false };
    let key = public(key);
    let created = at.store.create_family(&new, LoginProof::IdentityKey(&key), NOW).await.unwrap();
    (created == FamilyCreation::Created { auth_time_ms: NOW }).then_some(family_id)
}

fn new_device(id: &str, key: &SecretKey) -> NewDevice {
    NewDevice {
        device_id: device_id(id),
        pubkey: Some(public(key)),
        name: Some(id.into()),
        created_at_ms: NOW,
        signature: Some([1; 64]),
    }
}

async fn register(at: &Fixture, user_id: UserId, id: &str, key: &SecretKey) -> Registration {
    at.store.register_device(&acting(user_id), &new_device(id, key), NOW).await.unwrap()
}

fn is_added(change: &ChainChange) -> bool {
    matches!(change, ChainChange::Added(_))
}

async fn a_rotation_changes_the_key_and_revokes_the_other_families(at: Fixture) {
    let owner = Owner::new(&at).await;
    let other = sign_in(&at, owner.user, &owner.key).await.unwrap();
    let new = secret();
    assert!(is_added(&owner.rotates(&at, &owner.key, &new, NOW + 1).await));
    assert_eq!(owner.active_key(&at).await, public(&new));
    assert_eq!(at.store.find_identity(&public(&owner.key)).await.unwrap(), None);
    let once = at.store.identity_that_claimed(&public(&owner.key)).await.unwrap().unwrap();
    assert_eq!(once.user_id, owner.user);
    assert_eq!(sign_in(&at, owner.user, &owner.key).await, None, "a concurrent login");

    let rows = at.store.revocations_after(0, 10).await.unwrap();
    let revoked: Vec<_> = rows.into_iter().map(|row| row.revocation).collect();
    let user = owner.user;
    assert_eq!(revoked, [Revocation::KeyChanged { user }, Revocation::Family { user, family: other }]);
}

async fn a_repetition_changes_nothing(at: Fixture) {
    let owner = Owner::new(&at).await;
    let rotation = owner.rotation(owner.head(&at).await, &owner.key, &secret(), NOW);
    let rotate = async || {
        at.store.rotate(&by_token(owner.user, owner.family), rotation.clone(), 1, NOW + 1).await.unwrap()
    };
    let ChainChange::Added(link) = rotate().await else { panic!("a first rotation is new") };
    assert_eq!(rotate().await, ChainChange::AlreadyThere(link));
    assert_eq!(at.store.revocations_after(0, 10).await.unwrap().len(), 1);

    let head = owner.head(&at).await;
    let cancellation = Cancellation::sign(owner.fingerprint, head, &owner.key, NOW.unsigned_abs());
    let cancel = async || at.store.cancel_rotation(owner.user, &cancellation, NOW + 2).await.unwrap();
    let ChainChange::Added(link) = cancel().await else { panic!("a first cancellation is new") };
    assert_eq!(cancel().await, ChainChange::AlreadyThere(link));
}

async fn only_one_of_many_concurrent_rotations_wins(at: Fixture) {
    let owner = Owner::new(&at).await;
    let head = owner.head(&at).await;
    let (user, family) = (owner.user, owner.family);
    let outcomes = fifty_at_once(&at.store, |store, _| {
        let rotation = owner.rotation(head, &owner.key, &secret(), NOW);
        async move { store.rotate(&by_token(user, family), rotation, usize::MAX, NOW + 1).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|change| is_added(change)).count(), 1);
    let pending = ChainChange::Refused(ChainError::RotationPending);
    assert_eq!(outcomes.iter().filter(|change| **change == pending).count(), 49);
    assert_eq!(owner.head(&at).await.sequence, 1);
}

async fn a_key_that_was_ever_used_is_refused(at: Fixture) {
    let (owner, other) = (Owner::new(&at).await, Owner::new(&at).await);
    let device = secret();
    register(&at, other.user, "phone", &device).await;
    for seen in [&other.key, &device, &owner.key] {
        let refused = owner.rotates(&at, &owner.key, seen, NOW + 1).await;
        assert_eq!(refused, ChainChange::Refused(ChainError::KeyInUse));
    }
    assert_eq!(owner.active_key(&at).await, public(&owner.key));
    let new = secret();
    assert!(is_added(&owner.rotates(&at, &owner.key, &new, NOW + 1).await));
    let refused = other.rotates(&at, &other.key, &new, NOW + 1).await;
    assert_eq!(refused, ChainChange::Refused(ChainError::KeyInUse));
    assert_eq!(register(&at, other.user, "laptop", &new).await, Registration::KeyInUse);
}

async fn rotations_a_day_are_counted(at: Fixture) {
    let owner = Owner::new(&at).await;
    let mut family = owner.family;
    for round in 0..3 {
        let now_ms = NOW + 10 * round;
        let rotation = owner.rotation(owner.head(&at).await, &owner.key, &secret(), now_ms);
        assert!(is_added(
            &at.store.rotate(&by_token(owner.user, family), rotation, 3, now_ms + 1).await.unwrap()
        ));
        assert!(is_added(&owner.cancels(&at, &owner.key, now_ms + 2).await));
        family = sign_in(&at, owner.user, &owner.key).await.unwrap();
    }
    let rotate = async |now_ms| {
        let rotation = owner.rotation(owner.head(&at).await, &owner.key, &secret(), now_ms);
        at.store.rotate(&by_token(owner.user, family), rotation, 3, now_ms).await.unwrap()
    };
    assert_eq!(rotate(NOW + DAY).await, ChainChange::TooMany);
    assert!(is_added(&rotate(NOW + DAY + 1).await));
}

async fn only_the_replaced_key_cancels(at: Fixture) {
    let owner = Owner::new(&at).await;
    let new = secret();
    owner.rotates(&at, &owner.key, &new, NOW + 1).await;
    for wrong in [&new, &secret()] {
        let refused = owner.cancels(&at, wrong, NOW + 2).await;
        assert_eq!(refused, ChainChange::Refused(ChainError::WrongSigner));
    }
    let head = owner.head(&at).await;
    let mut forged = Cancellation::sign(owner.fingerprint, head, &owner.key, NOW.unsigned_abs());
    forged.signature[0] ^= 1;
    let refused = at.store.cancel_rotation(owner.user, &forged, NOW + 2).await.unwrap();
    assert!(matches!(refused, ChainChange::Refused(ChainError::Signature(_))), "{refused:?}");
    assert_eq!(owner.active_key(&at).await, public(&new));
    let nobody = at.user().await;
    assert_eq!(at.store.cancel_rotation(nobody, &forged, NOW).await.unwrap(), ChainChange::NoIdentity);

    assert!(is_added(&owner.cancels(&at, &owner.key, NOW + 2).await));
    assert_eq!(owner.active_key(&at).await, public(&owner.key));
    assert_eq!(at.store.find_identity(&public(&new)).await.unwrap(), None);
    assert_eq!(sign_in(&at, owner.user, &new).await, None);
}

async fn the_window_is_half_open(at: Fixture) {
    let (early, late) = (Owner::new(&at).await, Owner::new(&at).await);
    for owner in [&early, &late] {
        assert!(is_added(&owner.rotates(&at, &owner.key, &secret(), NOW + 1).await));
    }
    let closed = late.cancels(&at, &late.key, NOW + 1 + WINDOW).await;
    assert_eq!(closed, ChainChange::Refused(ChainError::WindowClosed));
    assert!(is_added(&early.cancels(&at, &early.key, NOW + WINDOW).await));
}

async fn a_cancellation_restores_the_copy(at: Fixture) {
    let owner = Owner::new(&at).await;
    let (user, phone, laptop) = (owner.user, secret(), secret());
    register(&at, user, "phone", &phone).await;
    register(&at, user, "laptop", &laptop).await;
    let publish = async |family, content: &[u8], precondition| {
        let published = at.store.publish_blob(&by_token(user, family), content, &precondition).await.unwrap();
        assert!(matches!(published, BlobPublication::Published(_)), "{published:?}");
    };
    let encrypt_to = async |family, key: u8, signer| {
        let key =
            PublishedKey { encryption_key: [key; 32], created_at_ms: Some(NOW), signature: Some([key; 64]) };
        at.store.publish_encryption_key(&by_token(user, family), &key, Some(public(signer))).await.unwrap();
        key
    };
    publish(owner.family, b"mine", Precondition::Absent).await;
    let key = encrypt_to(owner.family, 1, &owner.key).await;
    let devices = at.store.devices_of(user).await.unwrap();

    let thief = secret();
    owner.rotates(&at, &owner.key, &thief, NOW + 1).await;
    publish(owner.family, b"theirs", Precondition::Any).await;
    let theirs = encrypt_to(owner.family, 2, &thief).await;
    assert_eq!(at.store.encryption_key_of(user).await.unwrap(), Some(theirs));
    assert!(at.store.remove_device(&acting(user), &device_id("phone"), NOW + 2).await.unwrap());
    assert!(at.store.remove_device(&acting(user), &device_id("laptop"), NOW + 2).await.unwrap());
    assert_eq!(register(&at, user, "laptop", &secret()).await, Registration::Registered);
    assert_eq!(register(&at, user, "theirs", &secret()).await, Registration::Registered);

    assert!(is_added(&owner.cancels(&at, &owner.key, NOW + 3).await));
    assert_eq!(at.store.devices_of(user).await.unwrap(), devices);
    assert!(at.store.find_device(&device_id("theirs")).await.unwrap().unwrap().removed);
    let (content, _) = at.store.blob(owner.fingerprint).await.unwrap().unwrap();
    assert_eq!(content, b"mine");
    assert_eq!(at.store.encryption_key_of(user).await.unwrap(), Some(key));
    // Calls that had begun before.
    let late = by_token(user, owner.family);
    let published = at.store.publish_blob(&late, b"theirs", &Precondition::Any).await;
    assert_eq!(refused(published), Unauthorized::Revoked);
    let registered = at.store.register_device(&late, &new_device("late", &secret()), NOW + 4).await;
    assert_eq!(refused(registered), Unauthorized::Revoked);
}

async fn a_device_key_that_became_an_identity_stays_one(at: Fixture) {
    let owner = Owner::new(&at).await;
    let phone = secret();
    register(&at, owner.user, "phone", &phone).await;
    owner.rotates(&at, &owner.key, &secret(), NOW + 1).await;
    at.store.remove_device(&acting(owner.user), &device_id("phone"), NOW + 2).await.unwrap();
    let stranger = UserId::new(Uuid::new_v4());
    let created = at.store.create_account_for_key(stranger, public(&phone), NOW + 3).await.unwrap();
    assert_eq!(created, IdentityCreation::Created);
    owner.cancels(&at, &owner.key, NOW + 4).await;
    let restored = at.store.find_device(&device_id("phone")).await.unwrap().unwrap();
    assert_eq!((restored.pubkey, restored.removed), (None, false));
}

async fn a_rotation_needs_a_valid_sign_in(at: Fixture) {
    let (owner, stranger) = (Owner::new(&at).await, Owner::new(&at).await);
    at.store.revoke_families(&by_token(owner.user, owner.family), false, NOW).await.unwrap();
    let rotation = owner.rotation(owner.head(&at).await, &owner.key, &secret(), NOW);
    for family in [owner.family, stranger.family] {
        let change = at.store.rotate(&by_token(owner.user, family), rotation.clone(), 3, NOW + 1).await;
        assert_eq!(refused(change), Unauthorized::Revoked);
    }
}

/// The alert is stored together with the statement, without another call.
async fn a_server_that_was_killed_after_a_rotation_told_nobody(at: Fixture) {
    let owner = Owner::new(&at).await;
    register(&at, owner.user, "phone", &secret()).await;
    let phone = device_id("phone");
    let (new, other) = (secret(), secret());
    let statement = async |kind| {
        let head = owner.head(&at).await;
        Notice::of_identity(kind, owner.fingerprint, Some(head))
    };
    let change = owner.rotates(&at, &owner.key, &new, NOW + 1).await;
    assert!(matches!(change, ChainChange::Added(_)), "{change:?}");
    let waiting = at.store.take_notices(owner.user, &phone, NOW + 2).await.unwrap();
    assert_eq!(waiting, [statement(AlertKind::RotationStarted).await]);

    let change = owner.cancels(&at, &owner.key, NOW + 3).await;
    assert!(matches!(change, ChainChange::Added(_)), "{change:?}");
    let waiting = at.store.take_notices(owner.user, &phone, NOW + 4).await.unwrap();
    assert_eq!(waiting, [statement(AlertKind::RotationCancelled).await]);

    let user = at.user().await;
    let (family, laptop) = (at.sign_in(user).await, device_id("laptop"));
    register(&at, user, "laptop", &secret()).await;
    let linked = at.store.link_identity(&by_token(user, family), &public(&other), NOW).await.unwrap();
    assert_eq!(linked, IdentityLink::Linked);
    let waiting = at.store.take_notices(user, &laptop, NOW + 1).await.unwrap();
    let fingerprint = other.public_key().fingerprint();
    assert_eq!(waiting, [Notice::of_identity(AlertKind::IdentityLinked, fingerprint, None)]);
}

async fn a_key_is_linked_once(at: Fixture) {
    let (owner, user, key) = (Owner::new(&at).await, at.user().await, secret());
    let family_id = Uuid::new_v4();
    let new =
        NewFamily { family_id, user_id: user, device_id: None, token_hash: [1; 32], second_factor: false };
    log_in(&at.store, &new, NOW).await;
    let link = async |family, key: &SecretKey| {
        at.store.link_identity(&by_token(user, family), &public(key), NOW).await
    };
    let device = secret();
    register(&at, owner.user, "phone", &device).await;
    for seen in [&owner.key, &device] {
        assert_eq!(link(family_id, seen).await.unwrap(), IdentityLink::KeyInUse);
    }
    assert_eq!(refused(link(Uuid::new_v4(), &key).await), Unauthorized::Revoked);
    assert_eq!(link(family_id, &key).await.unwrap(), IdentityLink::Linked);
    assert_eq!(link(family_id, &secret()).await.unwrap(), IdentityLink::HasIdentity);
    assert_eq!(at.store.find_identity(&public(&key)).await.unwrap().unwrap().user_id, user);
    assert_eq!(at.store.chain_of(user).await.unwrap().unwrap().links().len(), 1);
}

async fn a_deleted_identity_leaves_no_chain(at: Fixture) {
    let owner = Owner::new(&at).await;
    register(&at, owner.user, "phone", &secret()).await;
    at.store.publish_blob(&by_token(owner.user, owner.family), b"mine", &Precondition::Absent).await.unwrap();
    owner.rotates(&at, &owner.key, &secret(), NOW + 1).await;
    at.store.delete_account(&by_token(owner.user, owner.family), NOW + 1 + WINDOW).await.unwrap();
    assert_eq!(at.store.chain_of(owner.user).await.unwrap(), None);
    assert_eq!(at.store.blob(owner.fingerprint).await.unwrap(), None);
    assert!(!at.store.has_account(owner.user).await.unwrap());
    assert_eq!(owner.cancels_after_deletion(&at).await, ChainChange::NoIdentity);
}

impl Owner {
    async fn cancels_after_deletion(&self, at: &Fixture) -> ChainChange {
        let head = ChainHead { sequence: 1, hash: aldis_protocol::Hash([0; 32]) };
        let cancellation = Cancellation::sign(self.fingerprint, head, &self.key, NOW.unsigned_abs());
        at.store.cancel_rotation(self.user, &cancellation, NOW).await.unwrap()
    }
}
