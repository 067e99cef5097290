//! Invitations to private rooms: the invited user decides whether they become a member.

use aldis_protocol::{
    AlertKind, DeviceId, RoomInvite, UserId,
    api::{ContactDecision, RoomVisibility},
};

use super::{
    Fixture, NOW, acting, by_token, device_id, fifty_at_once,
    rooms::{access, add, add_and_join, create, join, may_enter, name, new_room, nobody, private, remove},
    suite,
};
use crate::store::{MemberChange, NewDevice, NewRoom, Notice, RoomCreation};

suite! {
    a_user_added_to_a_private_room_shares_it_only_once_they_join,
    an_invitation_waits_for_each_device_until_it_has_its_answer,
    a_user_who_declines_cannot_be_added_by_that_owner_for_thirty_days,
    a_user_who_leaves_cannot_be_added_to_that_room_for_thirty_days,
    a_user_who_allows_the_owner_is_invited_after_declining,
    the_invitation_of_a_blocked_owner_has_no_effect_and_looks_the_same,
    a_user_who_was_removed_is_invited_again,
    an_owner_has_a_hundred_invitations_to_users_who_have_not_allowed_them,
    concurrent_invitations_stay_within_the_owners_limit,
    one_owner_cannot_displace_the_invitations_of_others,
    beyond_a_thousand_invitations_the_oldest_of_a_stranger_is_deleted,
    invitations_of_a_deleted_account_are_gone,
    a_public_room_invites_nobody,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const MONTH_MS: i64 = 30 * DAY_MS;

async fn invitations(at: &Fixture, user: UserId) -> Vec<(String, UserId, i64)> {
    let invitations = at.store.room_invitations(user).await.unwrap();
    let each =
        |one: aldis_protocol::api::RoomInvitation| (one.room.to_string(), one.user_id, one.since.as_ms());
    invitations.into_iter().map(each).collect()
}

async fn share(at: &Fixture, one: UserId, other: UserId) -> bool {
    !at.store.roommates(one, &[other]).await.unwrap().is_empty()
}

async fn decide(at: &Fixture, user: UserId, peer: UserId, decision: ContactDecision) {
    at.store.decide_contact(&acting(user), peer, decision, NOW).await.unwrap();
}

async fn add_at(at: &Fixture, room: &str, owner: UserId, user: UserId, now_ms: i64) -> MemberChange {
    at.store.add_room_member(&acting(owner), &name(room), user, now_ms).await.unwrap()
}

async fn device(at: &Fixture, user: UserId, id: &str) -> DeviceId {
    let device =
        NewDevice { device_id: device_id(id), pubkey: None, name: None, created_at_ms: NOW, signature: None };
    at.store.register_device(&acting(user), &device, NOW).await.unwrap();
    device.device_id
}

async fn waiting(at: &Fixture, user: UserId, device: &DeviceId) -> Vec<Notice> {
    at.store.take_notices(user, device, NOW).await.unwrap()
}

fn invite(room: &str, owner: UserId) -> Notice {
    Notice::RoomInvite(RoomInvite::new(name(room), owner))
}

const PRIVATE: MemberChange = MemberChange::Done(RoomVisibility::Private);

async fn a_user_added_to_a_private_room_shares_it_only_once_they_join(at: Fixture) {
    let (stranger, victim, third) = (at.user().await, at.user().await, at.user().await);
    create(&at, stranger, &private("room", &[victim])).await;
    add_and_join(&at, "room", stranger, third).await;
    assert!(!share(&at, stranger, victim).await && !share(&at, victim, stranger).await);
    assert!(!share(&at, third, victim).await && !share(&at, victim, third).await);
    let seen = access(&at, "room", victim).await;
    assert!(seen.is_invited() && seen.may_look() && !seen.may_enter());
    assert_eq!(invitations(&at, victim).await, [("room".to_owned(), stranger, NOW)]);
    assert_eq!(add(&at, "room", stranger, victim).await, PRIVATE, "a second time changes nothing");
    assert!(access(&at, "room", victim).await.is_invited());

    join(&at, "room", victim).await;
    assert!(share(&at, stranger, victim).await && share(&at, victim, third).await);
    assert_eq!(invitations(&at, victim).await, []);
    assert!(
        !at.store.accept_invitation(&acting(victim), &name("room"), NOW).await.unwrap(),
        "it has its answer"
    );
    assert!(!at.store.accept_invitation(&acting(victim), &name("nowhere"), NOW).await.unwrap());
}

async fn an_invitation_waits_for_each_device_until_it_has_its_answer(at: Fixture) {
    let (owner, user) = (at.user().await, at.user().await);
    let (phone, laptop) = (device(&at, user, "phone").await, device(&at, user, "laptop").await);
    assert_eq!(waiting(&at, user, &phone).await, [Notice::of_device(AlertKind::DeviceAdded, &laptop)]);
    create(&at, owner, &private("one", &[user])).await;
    create(&at, owner, &private("two", &[])).await;
    add(&at, "two", owner, user).await;
    assert_eq!(waiting(&at, user, &phone).await, [invite("one", owner), invite("two", owner)]);
    join(&at, "one", user).await;
    assert_eq!(waiting(&at, user, &laptop).await, [invite("two", owner)]);
    for (number, answer) in [(1, user), (2, owner)] {
        let room = format!("more-{number}");
        let other = at.user().await;
        create(&at, other, &private(&room, &[user])).await;
        let requester = if answer == user { user } else { other };
        assert_eq!(remove(&at, &room, requester, user).await, PRIVATE);
        assert_eq!(waiting(&at, user, &phone).await, [], "it was declined or withdrawn");
    }
}

async fn a_user_who_declines_cannot_be_added_by_that_owner_for_thirty_days(at: Fixture) {
    let (owner, other, user) = (at.user().await, at.user().await, at.user().await);
    let phone = device(&at, user, "phone").await;
    create(&at, owner, &private("room", &[user])).await;
    create(&at, owner, &private("second", &[])).await;
    create(&at, other, &private("others", &[])).await;
    assert_eq!(remove(&at, "room", user, user).await, PRIVATE);
    assert_eq!(remove(&at, "room", user, user).await, MemberChange::UnknownRoom, "it was declined");

    for room in ["room", "second"] {
        assert_eq!(add(&at, room, owner, user).await, PRIVATE);
        assert!(!access(&at, room, user).await.may_look());
        assert!(!at.store.accept_invitation(&acting(user), &name(room), NOW).await.unwrap());
        assert_eq!(remove(&at, room, user, user).await, MemberChange::UnknownRoom);
    }
    let third = at.store.create_room(&acting(owner), &private("third", &[user]), NOW).await.unwrap();
    assert_eq!(third, RoomCreation::Created { invited: Vec::new() });
    let open = NewRoom { members: vec![user], ..new_room("open") };
    create(&at, owner, &open).await;
    let listed = at.store.room_members(&access(&at, "third", owner).await).await.unwrap();
    assert_eq!(listed, [owner, user], "the owner sees no difference");
    assert_eq!((invitations(&at, user).await, waiting(&at, user, &phone).await), (Vec::new(), Vec::new()));
    assert_eq!(add(&at, "others", other, user).await, MemberChange::Invited);

    assert_eq!(add_at(&at, "room", owner, user, NOW + MONTH_MS - 1).await, PRIVATE);
    assert_eq!(add_at(&at, "room", owner, user, NOW + MONTH_MS).await, MemberChange::Invited);
    assert!(at.store.sweep(NOW + MONTH_MS).await.unwrap() >= 1);
}

async fn a_user_who_leaves_cannot_be_added_to_that_room_for_thirty_days(at: Fixture) {
    let (owner, user) = (at.user().await, at.user().await);
    create(&at, owner, &private("room", &[user])).await;
    create(&at, owner, &private("second", &[])).await;
    join(&at, "room", user).await;
    assert_eq!(remove(&at, "room", user, user).await, PRIVATE);
    assert_eq!(add(&at, "room", owner, user).await, PRIVATE);
    assert!(!access(&at, "room", user).await.may_look());
    assert_eq!(add(&at, "second", owner, user).await, MemberChange::Invited, "it is another room");
    assert_eq!(add_at(&at, "room", owner, user, NOW + MONTH_MS).await, MemberChange::Invited);
}

async fn a_user_who_allows_the_owner_is_invited_after_declining(at: Fixture) {
    let (owner, user) = (at.user().await, at.user().await);
    create(&at, owner, &private("room", &[user])).await;
    remove(&at, "room", user, user).await;
    assert_eq!(add(&at, "room", owner, user).await, PRIVATE);
    decide(&at, user, owner, ContactDecision::Allowed).await;
    assert_eq!(add(&at, "room", owner, user).await, MemberChange::Invited);
    assert!(
        !may_enter(&at, "room", user).await && !share(&at, owner, user).await,
        "they decide all the same"
    );
}

async fn the_invitation_of_a_blocked_owner_has_no_effect_and_looks_the_same(at: Fixture) {
    let (owner, user) = (at.user().await, at.user().await);
    let phone = device(&at, user, "phone").await;
    decide(&at, user, owner, ContactDecision::Blocked).await;
    create(&at, owner, &private("room", &[user])).await;
    create(&at, owner, &private("second", &[])).await;
    assert_eq!(add(&at, "second", owner, user).await, PRIVATE);
    for room in ["room", "second"] {
        assert!(!access(&at, room, user).await.may_look());
        let listed = at.store.room_members(&access(&at, room, owner).await).await.unwrap();
        assert_eq!(listed, [owner, user]);
        assert_eq!(remove(&at, room, owner, user).await, PRIVATE);
    }
    assert_eq!((invitations(&at, user).await, waiting(&at, user, &phone).await), (Vec::new(), Vec::new()));

    at.store.forget_contact(&acting(user), owner, &[0; 32], NOW).await.unwrap();
    assert_eq!(add(&at, "room", owner, user).await, MemberChange::Invited);
    decide(&at, user, owner, ContactDecision::Blocked).await;
    assert_eq!(invitations(&at, user).await, [], "invitations of blocked owners are hidden");
}

async fn a_user_who_was_removed_is_invited_again(at: Fixture) {
    let (owner, user) = (at.user().await, at.user().await);
    create(&at, owner, &private("room", &[user])).await;
    join(&at, "room", user).await;
    assert_eq!(remove(&at, "room", owner, user).await, PRIVATE);
    assert_eq!(add(&at, "room", owner, user).await, MemberChange::Invited);
    assert!(!share(&at, owner, user).await);
}

async fn users(at: &Fixture, count: usize) -> Vec<UserId> {
    let insert = "INSERT INTO users (user_id, created_at_ms) VALUES ($1, 0)";
    let users: Vec<UserId> = (0..count).map(|_| nobody()).collect();
    let mut tx = at.store.db.begin().await.unwrap();
    for user in &users {
        crate::store::db::within!(&mut tx, connection => {
            sqlx::query(insert).bind(user.as_uuid()).execute(connection).await.unwrap();
        });
    }
    tx.commit().await.unwrap();
    users
}

async fn an_owner_has_a_hundred_invitations_to_users_who_have_not_allowed_them(at: Fixture) {
    let owner = at.user().await;
    let others = users(&at, 102).await;
    decide(&at, others[0], owner, ContactDecision::Allowed).await;
    decide(&at, others[1], owner, ContactDecision::Blocked).await;
    let too_many = at.store.create_room(&acting(owner), &private("all", &others), NOW).await.unwrap();
    assert_eq!(too_many, RoomCreation::TooManyInvitations);
    assert_eq!(at.store.room(&name("all"), owner).await.unwrap(), None);

    create(&at, owner, &private("room", &others[..61])).await;
    create(&at, owner, &private("second", &others[61..101])).await;
    assert_eq!(add(&at, "room", owner, others[101]).await, MemberChange::TooManyInvitations);
    let more = at.store.create_room(&acting(owner), &private("third", &others[101..]), NOW).await.unwrap();
    assert_eq!(more, RoomCreation::TooManyInvitations);
    assert_eq!(
        add(&at, "second", owner, others[0]).await,
        MemberChange::Invited,
        "they have allowed the owner"
    );
    assert_eq!(add(&at, "room", owner, others[1]).await, PRIVATE, "they are listed");
    create(&at, owner, &NewRoom { members: others[101..].to_vec(), ..new_room("open") }).await;

    for (requester, user) in [(owner, others[1]), (others[2], others[2])] {
        assert_eq!(remove(&at, "room", requester, user).await, PRIVATE);
        let next = users(&at, 2).await;
        assert_eq!(add(&at, "room", owner, next[0]).await, MemberChange::Invited, "a place is free");
        assert_eq!(add(&at, "room", owner, next[1]).await, MemberChange::TooManyInvitations);
    }
    join(&at, "room", others[3]).await;
    assert_eq!(add(&at, "room", owner, others[101]).await, MemberChange::Invited);
}

async fn concurrent_invitations_stay_within_the_owners_limit(at: Fixture) {
    let owner = at.user().await;
    let (first, more) = (users(&at, 90).await, users(&at, 50).await);
    create(&at, owner, &private("room", &first)).await;
    let outcomes = fifty_at_once(&at.store, move |store, number| {
        let user = more[usize::from(number)];
        async move { store.add_room_member(&acting(owner), &name("room"), user, NOW).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == MemberChange::Invited).count(), 10);
}

async fn one_owner_cannot_displace_the_invitations_of_others(at: Fixture) {
    let (owner, friend, user) = (at.user().await, at.user().await, at.user().await);
    let phone = device(&at, user, "phone").await;
    create(&at, friend, &private("friends", &[user])).await;
    for number in 0..100 {
        create(&at, owner, &private(&format!("room-{number}"), &[user])).await;
    }
    assert_eq!(invitations(&at, user).await.len(), 101);
    let notices = waiting(&at, user, &phone).await;
    let expected: Vec<_> = (80..100).map(|number| invite(&format!("room-{number}"), owner)).collect();
    assert_eq!((&notices[0], &notices[1..]), (&invite("friends", friend), &expected[..]));
}

async fn beyond_a_thousand_invitations_the_oldest_of_a_stranger_is_deleted(at: Fixture) {
    let user = at.user().await;
    let owners = [at.user().await, at.user().await];
    decide(&at, user, owners[0], ContactDecision::Allowed).await;
    let mut rooms = vec![("allowed".to_owned(), owners[0], NOW), ("oldest".to_owned(), owners[1], NOW + 1)];
    for (room, owner, at_ms) in &rooms {
        at.store.create_room(&acting(*owner), &private(room, &[user]), *at_ms).await.unwrap();
    }
    let insert = "INSERT INTO rooms (room_id, name, owner_id, visibility, state_writers, created_at_ms) \
         VALUES ($1, $2, $3, 'private', 'owner', 0)";
    let invite =
        "INSERT INTO room_members (room_id, user_id, standing, added_at_ms) VALUES ($1, $2, 'invited', $3)";
    let mut tx = at.store.db.begin().await.unwrap();
    for number in 0..998 {
        let (room_id, room) = (uuid::Uuid::new_v4(), format!("room-{number:03}"));
        crate::store::db::within!(&mut tx, connection => {
            let query = sqlx::query(insert).bind(room_id).bind(&room).bind(owners[1].as_uuid());
            query.execute(&mut *connection).await.unwrap();
            let query = sqlx::query(invite).bind(room_id).bind(user.as_uuid()).bind(NOW + 2 + number);
            query.execute(connection).await.unwrap();
        });
        rooms.push((room, owners[1], NOW + 2 + number));
    }
    tx.commit().await.unwrap();
    assert_eq!(invitations(&at, user).await, rooms);

    let another = at.user().await;
    at.store.create_room(&acting(another), &private("newest", &[user]), NOW + 5_000).await.unwrap();
    rooms.remove(1);
    rooms.push(("newest".to_owned(), another, NOW + 5_000));
    assert_eq!(invitations(&at, user).await, rooms);
}

async fn invitations_of_a_deleted_account_are_gone(at: Fixture) {
    let (owner, user) = (at.user().await, at.user().await);
    create(&at, owner, &private("room", &[user])).await;
    create(&at, user, &private("other", &[owner])).await;
    remove(&at, "other", owner, owner).await;
    let family = at.sign_in(owner).await;
    at.store.delete_account(&by_token(owner, family), NOW).await.unwrap();
    assert_eq!(invitations(&at, user).await, []);
    assert!(!at.store.accept_invitation(&acting(user), &name("room"), NOW).await.unwrap());
    let refusals: i64 = crate::store::db::on!(&at.store.db, r, pool => {
        sqlx::query_scalar("SELECT COUNT(*) FROM room_refusals").fetch_one(pool).await.unwrap()
    });
    assert_eq!(refusals, 0, "the refusal was deleted with the account");
}

async fn a_public_room_invites_nobody(at: Fixture) {
    let (owner, user, blocker) = (at.user().await, at.user().await, at.user().await);
    decide(&at, blocker, owner, ContactDecision::Blocked).await;
    create(&at, owner, &NewRoom { members: vec![user, blocker], ..new_room("open") }).await;
    assert!(may_enter(&at, "open", user).await && may_enter(&at, "open", blocker).await);
    assert!(!share(&at, owner, user).await);
    assert_eq!(invitations(&at, user).await, []);
    assert_eq!(
        remove(&at, "open", blocker, blocker).await,
        MemberChange::Forbidden,
        "they are on no list of theirs"
    );
}
