//! The ends of rotations' windows, told to live devices.

use aldis_auth::{CANCELLATION_WINDOW_MS, Rotation, SecretKey};
use aldis_protocol::{DeviceId, UserId};
use uuid::Uuid;

use super::{Node, SessionHandle};
use crate::{
    accounts::RotationEnds,
    clock::{Now, unix_ms_i64},
    link::Item,
    store::{Credential, LoginProof, NewDevice, NewFamily},
};

const WINDOW: i64 = CANCELLATION_WINDOW_MS as i64;

/// Somebody whose rotation was accepted so that its window ends at this time.
async fn rotated(node: &Node, ends_at_ms: i64) -> UserId {
    let store = &node.accounts.store;
    let (user, key, new) = (UserId::new(Uuid::new_v4()), secret(), secret());
    let accepted_at_ms = ends_at_ms - WINDOW;
    let first_key = *key.public_key().as_bytes();
    store.create_account_for_key(user, first_key, accepted_at_ms - 1).await.unwrap();
    let family_id = Uuid::new_v4();
    let token_hash = *aldis_protocol::Hash::of(family_id.as_bytes()).0.first_chunk().unwrap();
    let family = NewFamily { family_id, user_id: user, device_id: None, token_hash, second_factor: false };
    store.create_family(&family, LoginProof::IdentityKey(&first_key), accepted_at_ms).await.unwrap();
    let head = store.chain_of(user).await.unwrap().unwrap().head();
    let fingerprint = key.public_key().fingerprint();
    let rotation = Rotation::sign(fingerprint, head, &key, &new, "test", accepted_at_ms.unsigned_abs());
    store.rotate(&Credential::token(user, family_id, None), rotation, 3, accepted_at_ms).await.unwrap();
    user
}

fn at(now_ms: i64) -> Now {
    Now { unix_ms: now_ms.unsigned_abs(), ..Now::read() }
}

fn secret() -> SecretKey {
    SecretKey::generate(&mut rand::rng())
}

async fn device(node: &Node, user_id: UserId, name: &str) -> DeviceId {
    let device_id: DeviceId = format!("{name}-{user_id}").parse().unwrap();
    let device = NewDevice {
        device_id: device_id.clone(),
        pubkey: None,
        name: None,
        created_at_ms: 0,
        signature: None,
    };
    node.accounts
        .store
        .register_device(&Credential::session(user_id), &device, unix_ms_i64() - WINDOW)
        .await
        .unwrap();
    device_id
}

/// What waits for the session that is about a rotation's end. It is over then.
fn told(node: &Node, session: &SessionHandle) -> usize {
    node.ends(session).iter().filter(|frame| frame.contains("rotation_final")).count()
}

#[tokio::test]
async fn a_live_device_is_told_once_at_the_end() {
    let node = Node::start().await;
    let end_ms = unix_ms_i64();
    let (user, stranger) = (rotated(&node, end_ms).await, rotated(&node, end_ms + 2).await);
    let (phone, laptop) = (device(&node, user, "phone").await, device(&node, user, "laptop").await);
    let sessions = [node.session(user, Some(&phone), None), node.session(user, None, None)];
    let not_yet = node.session(stranger, None, None);
    let mut ends = RotationEnds::after(at(end_ms - 1));
    for now_ms in [end_ms - 1, end_ms, end_ms + 1] {
        node.accounts.tell_rotation_ends(&mut ends, at(now_ms)).await.unwrap();
    }
    for session in &sessions {
        assert_eq!(told(&node, session), 1);
    }
    assert_eq!(told(&node, &not_yet), 0);
    let away = node.session(user, Some(&laptop), None);
    node.accounts.notices.tell_waiting(&away, Now::read()).await;
    assert_eq!(told(&node, &away), 1, "at its next connect");
}

#[tokio::test]
async fn a_device_that_lost_its_connection_before_it_had_the_alert_was_never_told() {
    let node = Node::start().await;
    let end_ms = unix_ms_i64();
    let user = rotated(&node, end_ms).await;
    let phone = device(&node, user, "phone").await;
    let notices = &node.accounts.notices;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let session = node.session(user, Some(&phone), None);
        notices.tell_waiting(&session, Now::read()).await;
        notices.tell_waiting(&session, Now::read()).await;
        let items = session.close().items;
        let [Item::Notice(notice)] = items.as_slices().0 else { panic!("{items:?}") };
        ids.push(notice.id);
        node.ends(&session);
    }
    assert_eq!(ids[0], ids[1], "a client can tell that it had it before");

    let session = node.session(user, Some(&phone), None);
    notices.confirmed(&session, ids);
    notices.confirmed_added().await;
    notices.delete_confirmed().await;
    notices.tell_waiting(&session, Now::read()).await;
    assert_eq!(told(&node, &session), 0, "it has confirmed it");
}

#[tokio::test]
async fn a_device_between_two_sockets_is_told_on_the_next() {
    let node = Node::start().await;
    let end_ms = unix_ms_i64();
    let user = rotated(&node, end_ms).await;
    let (back, gone) = (device(&node, user, "back").await, device(&node, user, "gone").await);
    let (comes_back, ends_away) =
        (node.session(user, Some(&back), None), node.session(user, Some(&gone), None));
    for session in [&comes_back, &ends_away] {
        session.set_detached(true);
    }
    let mut ends = RotationEnds::after(at(end_ms - 1));
    node.accounts.tell_rotation_ends(&mut ends, at(end_ms)).await.unwrap();
    comes_back.set_detached(false);
    assert_eq!(told(&node, &ends_away), 0);
    node.accounts.tell_rotation_ends(&mut ends, at(end_ms + 1)).await.unwrap();
    node.accounts.tell_rotation_ends(&mut ends, at(end_ms + 2)).await.unwrap();
    assert_eq!(told(&node, &comes_back), 1);
    let next = node.session(user, Some(&gone), None);
    node.accounts.notices.tell_waiting(&next, Now::read()).await;
    assert_eq!(told(&node, &next), 1, "it waits for its next connect");
}
