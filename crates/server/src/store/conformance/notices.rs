//! Notices: the devices for which they wait, their quotas, and their expiry.

use aldis_protocol::{Alert, AlertKind, ContactLabel, ContactRequest, DeviceId, RoomInvite, UserId};
use uuid::Uuid;

use super::{Fixture, NOW, acting, device_id, suite};
use crate::store::{
    NewDevice, Notice, Store, StoreError, accounts,
    db::on,
    notices::{self, Recipients},
};

suite! {
    a_notice_waits_for_each_device_once,
    a_notice_waits_only_for_its_recipients,
    an_equal_notice_replaces_the_old_one,
    beyond_a_hundred_the_oldest_notice_is_deleted,
    a_hundred_requests_displaced_a_waiting_alert,
    a_hundred_device_alerts_displaced_the_alert_of_a_rotation,
    only_later_chain_alerts_displace_chain_alerts,
    each_of_twenty_devices_has_its_own_quotas,
    contact_requests_and_room_invites_share_a_quota,
    one_sender_takes_one_place_whatever_the_label,
    a_notice_waits_thirty_days_until_it_is_swept,
    a_device_registered_again_gets_no_old_notices,
    a_notice_for_an_unknown_user_is_no_error,
}

impl Store {
    /// Adds a notice that no change causes.
    pub(crate) async fn add_notice(
        &self,
        user: UserId,
        notice: &Notice,
        except: &[DeviceId],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        accounts::lock(&mut tx, user).await?;
        notices::add(&mut tx, user, notice, &Recipients::all_but(except), now_ms).await?;
        tx.commit().await
    }

    /// What waits for a device that confirms it at once.
    pub(crate) async fn take_notices(
        &self,
        user: UserId,
        device: &DeviceId,
        now_ms: i64,
    ) -> Result<Vec<Notice>, StoreError> {
        let waiting = self.waiting_notices(user, device, now_ms).await?;
        let ids: Vec<Uuid> = waiting.iter().map(|waiting| waiting.id).collect();
        self.delete_notices(user, device, &ids).await?;
        Ok(waiting.into_iter().map(|waiting| waiting.notice).collect())
    }
}

const MONTH_MS: i64 = 30 * 24 * 60 * 60 * 1000;

async fn register(at: &Fixture, user_id: UserId, id: &str, now_ms: i64) -> DeviceId {
    let device_id = device_id(id);
    let device = NewDevice {
        device_id: device_id.clone(),
        pubkey: None,
        name: None,
        created_at_ms: now_ms,
        signature: None,
    };
    at.store.register_device(&acting(user_id), &device, now_ms).await.unwrap();
    forget_added(at, &device_id).await;
    device_id
}

/// Deletes the alerts about a new device.
async fn forget_added(at: &Fixture, device: &DeviceId) {
    let body =
        serde_json::to_string(&Alert::new(AlertKind::DeviceAdded).with_device_id(device.clone())).unwrap();
    let delete = "DELETE FROM notices WHERE body = $1";
    on!(&at.store.db, w, pool => sqlx::query(delete).bind(body).execute(pool).await.map(drop)).unwrap();
}

fn alert(sequence: u64) -> Notice {
    let kind = AlertKind::RotationStarted;
    Notice::Alert(Alert::new(kind).with_sequence(sequence))
}

fn labelled_request(number: u128, label: Option<&str>) -> Notice {
    let label = label.map(|text| ContactLabel::new(text).unwrap());
    Notice::ContactRequest(ContactRequest::new(UserId::new(Uuid::from_u128(number))).with_label(label))
}

fn request(number: u128) -> Notice {
    labelled_request(number, None)
}

async fn add(at: &Fixture, user: UserId, notice: &Notice, now_ms: i64) {
    at.store.add_notice(user, notice, &[], now_ms).await.unwrap();
}

async fn a_notice_waits_for_each_device_once(at: Fixture) {
    let (user, other) = (at.user().await, at.user().await);
    let (one, two) = (register(&at, user, "one", NOW).await, register(&at, user, "two", NOW).await);
    let foreign = register(&at, other, "foreign", NOW).await;
    add(&at, user, &request(1), NOW).await;
    add(&at, user, &alert(1), NOW).await;
    assert_eq!(at.store.take_notices(user, &one, NOW).await.unwrap(), [request(1), alert(1)]);
    assert_eq!(at.store.take_notices(user, &one, NOW).await.unwrap(), []);
    assert_eq!(at.store.take_notices(other, &two, NOW).await.unwrap(), [], "not its user");
    assert_eq!(at.store.take_notices(user, &two, NOW).await.unwrap(), [request(1), alert(1)]);
    assert_eq!(at.store.take_notices(other, &foreign, NOW).await.unwrap(), []);
}

async fn a_notice_waits_only_for_its_recipients(at: Fixture) {
    let user = at.user().await;
    let (one, two) = (register(&at, user, "d_1", NOW).await, register(&at, user, "d_12", NOW).await);
    let removed = register(&at, user, "removed", NOW).await;
    at.store.remove_device(&acting(user), &removed, NOW).await.unwrap();
    for device in [&one, &two] {
        let alert = Notice::of_device(AlertKind::DeviceRemoved, &removed);
        assert_eq!(at.store.take_notices(user, device, NOW).await.unwrap(), [alert]);
    }
    at.store.add_notice(user, &request(1), std::slice::from_ref(&one), NOW).await.unwrap();
    at.store.add_notice(user, &request(2), std::slice::from_ref(&two), NOW).await.unwrap();
    at.store.add_notice(user, &request(3), &[one.clone(), two.clone()], NOW).await.unwrap();
    assert_eq!(at.store.take_notices(user, &one, NOW).await.unwrap(), [request(2)]);
    assert_eq!(at.store.take_notices(user, &two, NOW).await.unwrap(), [request(1)]);
    register(&at, user, "removed", NOW).await;
    assert_eq!(at.store.take_notices(user, &removed, NOW).await.unwrap(), []);
}

async fn an_equal_notice_replaces_the_old_one(at: Fixture) {
    let user = at.user().await;
    let device = register(&at, user, "phone", NOW).await;
    for (notice, at_ms) in [(request(1), 0), (request(2), 1), (request(1), 2)] {
        add(&at, user, &notice, NOW + at_ms).await;
    }
    assert_eq!(at.store.take_notices(user, &device, NOW).await.unwrap(), [request(2), request(1)]);
}

async fn beyond_a_hundred_the_oldest_notice_is_deleted(at: Fixture) {
    let user = at.user().await;
    let device = register(&at, user, "phone", NOW).await;
    for number in 0..102 {
        add(&at, user, &alert(number), NOW + i64::try_from(number).unwrap() / 3).await;
    }
    let expected: Vec<_> = (2..102).map(alert).collect();
    assert_eq!(at.store.take_notices(user, &device, NOW).await.unwrap(), expected);
}

fn device_alert(number: u64) -> Notice {
    let device = device_id(&format!("device-{number}"));
    let kind = AlertKind::DeviceAdded;
    Notice::Alert(Alert::new(kind).with_device_id(device))
}

async fn a_hundred_requests_displaced_a_waiting_alert(at: Fixture) {
    let user = at.user().await;
    let device = register(&at, user, "phone", NOW).await;
    for waiting in [device_alert(1), alert(1)] {
        add(&at, user, &waiting, NOW).await;
    }
    for number in 0..150 {
        add(&at, user, &request(number), NOW + 1).await;
    }
    let waiting = at.store.take_notices(user, &device, NOW + 2).await.unwrap();
    assert_eq!(waiting[..2], [device_alert(1), alert(1)]);
    let requests: Vec<_> = (50..150).map(request).collect();
    assert_eq!(waiting[2..], requests, "later requests displace earlier ones");
}

async fn a_hundred_device_alerts_displaced_the_alert_of_a_rotation(at: Fixture) {
    let user = at.user().await;
    let device = register(&at, user, "phone", NOW).await;
    let of_chain = [
        AlertKind::IdentityLinked,
        AlertKind::RotationStarted,
        AlertKind::RotationCancelled,
        AlertKind::RotationFinal,
    ]
    .map(Notice::of_account);
    for waiting in &of_chain {
        add(&at, user, waiting, NOW).await;
    }
    add(&at, user, &request(1), NOW + 1).await;
    for number in 0..150 {
        add(&at, user, &device_alert(number), NOW + 2).await;
    }
    let waiting = at.store.take_notices(user, &device, NOW + 3).await.unwrap();
    assert_eq!(waiting[..4], of_chain);
    assert_eq!(waiting[4], request(1), "an alert does not displace a request");
    assert_eq!(waiting[5..], (54..150).map(device_alert).collect::<Vec<_>>());
}

async fn only_later_chain_alerts_displace_chain_alerts(at: Fixture) {
    let user = at.user().await;
    let device = register(&at, user, "phone", NOW).await;
    for number in 0..100 {
        add(&at, user, &alert(number), NOW).await;
    }
    add(&at, user, &device_alert(1), NOW + 1).await;
    add(&at, user, &alert(100), NOW + 2).await;
    let expected: Vec<_> = (1..=100).map(alert).collect();
    assert_eq!(at.store.take_notices(user, &device, NOW + 3).await.unwrap(), expected);
}

async fn each_of_twenty_devices_has_its_own_quotas(at: Fixture) {
    let user = at.user().await;
    let mut devices = Vec::new();
    for number in 0..20 {
        devices.push(register(&at, user, &format!("device-{number}"), NOW).await);
    }
    add(&at, user, &alert(1), NOW).await;
    for number in 0..101 {
        at.store.add_notice(user, &request(number), &devices[10..], NOW).await.unwrap();
    }
    for (place, device) in devices.iter().enumerate() {
        let waiting = at.store.take_notices(user, device, NOW).await.unwrap();
        assert_eq!((waiting[0].clone(), waiting.len()), (alert(1), if place < 10 { 101 } else { 1 }));
    }
}

async fn contact_requests_and_room_invites_share_a_quota(at: Fixture) {
    let user = at.user().await;
    let device = register(&at, user, "phone", NOW).await;
    let invite = |room: &str, owner: u128| {
        let (room, user_id) = (room.parse().unwrap(), UserId::new(Uuid::from_u128(owner)));
        Notice::RoomInvite(RoomInvite::new(room, user_id))
    };
    add(&at, user, &alert(1), NOW).await;
    for (owner, room) in [(1, "blue"), (1, "green"), (2, "blue")] {
        add(&at, user, &invite(room, owner), NOW).await;
    }
    for number in 0..99 {
        add(&at, user, &request(number), NOW + 1).await;
    }
    let waiting = at.store.take_notices(user, &device, NOW + 2).await.unwrap();
    assert_eq!(waiting.len(), 101);
    assert_eq!(waiting[..2], [alert(1), invite("blue", 2)], "a room has one place");
}

async fn one_sender_takes_one_place_whatever_the_label(at: Fixture) {
    let user = at.user().await;
    let device = register(&at, user, "phone", NOW).await;
    for number in 0..3 {
        let label = format!("Ann {number}");
        add(&at, user, &labelled_request(1, Some(&label)), NOW + number).await;
        add(&at, user, &request(2), NOW + number).await;
    }
    let expected = [labelled_request(1, Some("Ann 2")), request(2)];
    assert_eq!(at.store.take_notices(user, &device, NOW + 3).await.unwrap(), expected);
}

async fn a_notice_waits_thirty_days_until_it_is_swept(at: Fixture) {
    let user = at.user().await;
    let (one, two) = (register(&at, user, "one", NOW).await, register(&at, user, "two", NOW).await);
    add(&at, user, &alert(1), NOW).await;
    add(&at, user, &alert(2), NOW + 1).await;
    // A device that connects before that is told: the clock may be wrong.
    assert_eq!(at.store.take_notices(user, &one, NOW + MONTH_MS).await.unwrap(), [alert(1), alert(2)]);
    assert_eq!(at.store.sweep(NOW + MONTH_MS).await.unwrap(), 1);
    assert_eq!(at.store.take_notices(user, &two, NOW).await.unwrap(), [alert(2)]);
}

async fn a_device_registered_again_gets_no_old_notices(at: Fixture) {
    let user = at.user().await;
    let device = register(&at, user, "phone", NOW).await;
    add(&at, user, &alert(1), NOW + 1).await;
    at.store.remove_device(&acting(user), &device, NOW + 2).await.unwrap();
    register(&at, user, "phone", NOW + 3).await;
    add(&at, user, &alert(2), NOW + 4).await;
    assert_eq!(at.store.take_notices(user, &device, NOW + 5).await.unwrap(), [alert(2)]);
}

async fn a_notice_for_an_unknown_user_is_no_error(at: Fixture) {
    add(&at, UserId::new(Uuid::new_v4()), &alert(1), NOW).await;
}
