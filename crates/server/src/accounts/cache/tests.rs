use std::sync::Arc;

use aldis_auth::{Claims, SecretKey};
use aldis_protocol::{Alert, AlertKind, Codec, ErrorCode, SessionId};
use uuid::Uuid;

use super::*;
use crate::{
    accounts::{KeyProof, TokenProof, tests::Node},
    clock::unix_ms_i64,
    link::{Identity as Proved, Item, SessionHandle},
    refusal::Refusal,
    store::{self, Credential, NewDevice, Notice},
};

const USER: UserId = UserId::new(Uuid::from_u128(1));
const OTHER: UserId = UserId::new(Uuid::from_u128(2));
const KEY: [u8; 32] = [3; 32];
const NOW: Now = Now { tick: 1_000, unix_ms: 0 };

fn current() -> AccountCache {
    let cache = AccountCache::default();
    cache.is_current_since(NOW);
    cache
}

fn id(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

fn owner(user_id: UserId) -> DeviceOwner {
    DeviceOwner { user_id, pubkey: Some(KEY), removed: false, disabled: false }
}

fn identity(user_id: UserId, key: u8) -> Identity {
    let fingerprint = Fingerprint::of_first_key(&[key; 32]);
    Identity { user_id, fingerprint, active_key: [key; 32], disabled_at_ms: None }
}

/// How many of the facts are remembered that these tests remember of a user with this device and key.
fn remembered(cache: &AccountCache, user: UserId, device: &str, key: u8, now: Now) -> usize {
    [
        cache.fingerprint_of(user, now).is_some(),
        cache.has_second_factor(user, now).is_some(),
        cache.identity(&[key; 32], now).is_some(),
        cache.device(&id(device), now).is_some(),
        cache.nothing_waits(user, &id(device), now),
    ]
    .into_iter()
    .filter(|is_remembered| *is_remembered)
    .count()
}

fn remember_all(cache: &AccountCache, user: UserId, device: &str, key: u8, read: Read) {
    cache.remember_device(&id(device), owner(user), read);
    cache.remember_identity(&identity(user, key), read);
    cache.remember(user, read, |account| account.second_factor = Some(false));
    cache.remember_that_nothing_waits(user, &id(device), u64::MAX, read);
}

#[test]
fn facts_are_told_for_two_seconds_after_the_last_reading_began() {
    let cache = current();
    remember_all(&cache, USER, "phone", 3, cache.begin_read());
    let at = |tick| Now { tick, ..NOW };
    assert_eq!(remembered(&cache, USER, "phone", 3, at(3_000)), 5);
    assert_eq!(remembered(&cache, USER, "phone", 3, at(3_001)), 0);
    cache.is_current_since(at(2_500));
    cache.is_current_since(at(2_000));
    assert_eq!(remembered(&cache, USER, "phone", 3, at(4_500)), 5);
}

#[test]
fn nothing_is_told_before_the_first_reading() {
    let cache = AccountCache::default();
    remember_all(&cache, USER, "phone", 3, cache.begin_read());
    assert_eq!(remembered(&cache, USER, "phone", 3, NOW), 0);
}

#[test]
fn an_account_is_forgotten_whole_and_alone() {
    let cache = current();
    remember_all(&cache, USER, "phone", 3, cache.begin_read());
    remember_all(&cache, OTHER, "tablet", 4, cache.begin_read());
    cache.forget(USER);
    assert_eq!(remembered(&cache, USER, "phone", 3, NOW), 0);
    assert_eq!(remembered(&cache, OTHER, "tablet", 4, NOW), 5);
    assert_eq!((cache.accounts.len(), cache.by_device.len(), cache.by_key.len()), (1, 1, 1));
}

#[test]
fn what_was_read_before_a_change_is_not_remembered_after_it() {
    let cache = current();
    let read = cache.begin_read();
    cache.forget(USER);
    remember_all(&cache, USER, "phone", 3, read);
    assert_eq!(remembered(&cache, USER, "phone", 3, NOW), 0);
    assert_eq!((cache.accounts.len(), cache.by_device.len(), cache.by_key.len()), (0, 0, 0));
}

#[test]
fn what_must_not_be_relied_on_is_not_remembered() {
    let cache = current();
    let read = cache.begin_read();
    cache.remember_device(&id("removed"), DeviceOwner { removed: true, ..owner(USER) }, read);
    cache.remember_device(&id("disabled"), DeviceOwner { disabled: true, ..owner(USER) }, read);
    cache.remember_identity(&Identity { disabled_at_ms: Some(1), ..identity(USER, 3) }, read);
    assert_eq!((cache.accounts.len(), cache.by_device.len(), cache.by_key.len()), (0, 0, 0));
}

#[test]
fn a_device_and_a_key_are_what_their_account_says() {
    let cache = current();
    let read = cache.begin_read();
    remember_all(&cache, USER, "phone", 3, read);
    cache.remember_device(&id("phone"), DeviceOwner { pubkey: None, ..owner(USER) }, read);
    assert_eq!(cache.device(&id("phone"), NOW).unwrap().pubkey, None);
    cache.remember_identity(&identity(USER, 5), read);
    assert!(cache.identity(&[3; 32], NOW).is_none(), "another key has replaced it");
    assert_eq!(cache.identity(&[5; 32], NOW).unwrap().user_id, USER);
}

#[test]
fn no_more_is_remembered_than_there_is_room_for() {
    let cache = current();
    let read = cache.begin_read();
    for number in 0..=DEVICES {
        cache.remember_device(&id(&format!("d{number}")), owner(USER), read);
    }
    assert!(cache.device(&id(&format!("d{DEVICES}")), NOW).is_none());
    for number in 0..LIMIT as u128 {
        let user = UserId::new(Uuid::from_u128(number + 3));
        cache.remember_fingerprint(user, None, read);
    }
    assert!(cache.accounts.len() < LIMIT && cache.by_device.is_empty());
}

/// A node that knows what was revoked so far, and whose database can be closed under it.
async fn started() -> Node {
    let node = Node::start().await;
    node.accounts.recall_revocations(Now::read()).await.unwrap();
    node
}

impl Node {
    async fn device(&self, user_id: UserId, device: &str, pubkey: Option<[u8; 32]>) -> DeviceId {
        let device_id = id(device);
        let now_ms = unix_ms_i64();
        let new = NewDevice {
            device_id: device_id.clone(),
            pubkey,
            name: None,
            created_at_ms: now_ms,
            signature: None,
        };
        let registration =
            self.accounts.store.register_device(&Credential::session(user_id), &new, now_ms).await.unwrap();
        assert_eq!(registration, store::Registration::Registered);
        device_id
    }

    /// Sends what waits to a client that confirms it.
    async fn hears(&self, session: &SessionHandle, now: Now) {
        let notices = &self.accounts.notices;
        notices.tell_waiting(session, now).await;
        let items = session.take_now(0, 0);
        let id = |item| if let Item::Notice(notice) = item { Some(notice.id) } else { None };
        notices.confirmed(session, items.into_iter().filter_map(id).collect());
        notices.delete_confirmed().await;
        notices.tell_waiting(session, now).await;
    }

    fn token(&self, user: UserId, now: Now) -> String {
        let now_s = now.unix_ms / 1000;
        let claims = Claims {
            sub: user,
            sid: Uuid::now_v7(),
            did: None,
            jti: String::new(),
            iat: now_s,
            nbf: now_s,
            exp: now_s + 900,
            auth_time: now_s,
        };
        self.accounts.tokens.mint(&claims).unwrap()
    }

    /// Asks for all that a connect asks for.
    async fn connects(&self, shown: &Shown, now: Now) -> Result<Proved, Refusal> {
        let identity = match shown.clone() {
            Shown::Token(token, device_id) => {
                self.accounts.prove_by_token(TokenProof { token, device_id }, now).await?
            }
            Shown::Key(key, device_id) => {
                let proof = KeyProof { key: key.public_key(), device_id, factor: None };
                let proved = self
                    .accounts
                    .prove_by_key(proof, std::net::IpAddr::from([192, 0, 2, 1]).into(), now)
                    .await?;
                assert!(proved.due.is_none());
                proved.identity
            }
        };
        let Proved { user, device, fingerprint, family, .. } = identity.clone();
        let session = SessionHandle::new(
            SessionId::new(Uuid::now_v7()),
            user,
            device,
            fingerprint,
            family,
            Codec::Json,
        );
        self.hears(&session, now).await;
        Ok(identity)
    }
}

#[derive(Clone)]
enum Shown {
    Token(String, Option<DeviceId>),
    Key(Arc<SecretKey>, Option<DeviceId>),
}

fn key(byte: u8) -> Arc<SecretKey> {
    Arc::new(SecretKey::from_bytes(&[byte; 32]))
}

#[tokio::test]
async fn a_connect_of_somebody_known_costs_no_query() {
    let node = started().await;
    let now = Now::read();
    let identity = node.connects(&Shown::Key(key(1), None), now).await.unwrap();
    let user = identity.user;
    let phone = node.device(user, "phone", Some(*key(2).public_key().as_bytes())).await;
    let tablet = node.device(user, "tablet", None).await;
    let refused = node.connects(&Shown::Token(node.token(OTHER, now), None), now).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidToken, "a token of nobody");
    node.accounts.store.create_account(OTHER, "other@example.org", "hash", unix_ms_i64()).await.unwrap();
    let shown = [
        Shown::Token(node.token(user, now), None),
        Shown::Token(node.token(OTHER, now), None),
        Shown::Token(node.token(user, now), Some(phone.clone())),
        Shown::Key(key(1), None),
        Shown::Key(key(1), Some(tablet.clone())),
        Shown::Key(key(1), Some(phone.clone())),
        Shown::Key(key(2), Some(phone.clone())),
    ];
    let mut first = Vec::new();
    for shown in &shown {
        first.push(node.connects(shown, now).await.unwrap());
    }
    node.accounts.store.close().await;
    for (shown, first) in shown.iter().zip(first) {
        let again = node.connects(shown, now).await.unwrap();
        assert_eq!((again.user, again.fingerprint), (first.user, first.fingerprint));
        assert!(again.device == first.device || again.device.is_ephemeral());
    }
    for device in [&phone, &tablet] {
        assert!(node.accounts.cache.nothing_waits(user, device, now), "{device}");
    }
    assert!(node.connects(&Shown::Key(key(3), None), now).await.is_err(), "a stranger is asked about");
}

#[tokio::test]
async fn a_change_by_anybody_is_read_and_forgotten() {
    let node = started().await;
    let now = Now::read();
    let store = &node.accounts.store;
    let user = node.connects(&Shown::Key(key(1), None), now).await.unwrap().user;
    let phone = node.device(user, "phone", None).await;
    node.accounts.read_revocations(Now::read()).await.unwrap();
    let by_key = Shown::Key(key(1), Some(phone.clone()));

    let cache = async || {
        node.connects(&by_key, now).await.unwrap();
        assert!(node.accounts.cache.nothing_waits(user, &phone, now));
    };
    let is_forgotten = async |what: &str| {
        node.accounts.read_revocations(Now::read()).await.unwrap();
        assert!(node.accounts.cache.account(user, now, |_| Some(())).is_none(), "{what}");
    };
    cache().await;
    node.accounts.read_revocations(Now::read()).await.unwrap();
    assert!(node.accounts.cache.nothing_waits(user, &phone, now), "nothing has changed");

    let alert = Alert::new(AlertKind::TotpChanged);
    store.add_notice(user, &Notice::Alert(alert), &[], unix_ms_i64()).await.unwrap();
    is_forgotten("a notice waits").await;
    cache().await;
    node.device(user, "phone", Some(*key(2).public_key().as_bytes())).await;
    is_forgotten("a device has a key").await;
    cache().await;
    let somebody = UserId::new(Uuid::now_v7());
    store.create_account_for_key(somebody, *key(2).public_key().as_bytes(), unix_ms_i64()).await.unwrap();
    is_forgotten("the key of a device became an identity's").await;
    cache().await;
    store.remove_device(&Credential::session(user), &phone, unix_ms_i64()).await.unwrap();
    is_forgotten("a device was removed").await;
}
