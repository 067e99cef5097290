//! Rooms: their owners, their members, and their state.

use aldis_protocol::{
    RoomId, UserId,
    api::{RoomVisibility, StateWriters},
};
use uuid::Uuid;

use super::{Fixture, NOW, acting, by_token, fifty_at_once, refused, suite};
use crate::store::{MemberChange, NewRoom, Revisions, RoomAccess, RoomCreation, StateChange, Unauthorized};

suite! {
    a_new_room_has_its_owner_and_takes_its_name,
    only_one_of_many_creators_gets_a_name,
    a_room_with_an_unknown_member_is_not_created,
    a_user_owns_a_hundred_rooms,
    the_members_of_a_room_are_limited,
    only_members_may_enter_a_private_room,
    a_user_removed_from_a_public_room_enters_only_once_added_again,
    only_the_owner_changes_members,
    a_member_may_leave,
    members_are_listed_with_their_owner_first,
    a_state_is_replaced_only_at_the_expected_revision,
    only_one_of_many_writers_of_a_revision_wins,
    only_permitted_users_set_a_state,
    members_of_a_private_room_share_it,
    every_node_hears_of_changes_in_rooms,
    a_deleted_account_leaves_no_room,
}

pub(super) fn name(text: &str) -> RoomId {
    text.parse().unwrap()
}

pub(super) fn new_room(room: &str) -> NewRoom {
    NewRoom {
        room: name(room),
        visibility: RoomVisibility::Public,
        state_writers: StateWriters::Owner,
        members: Vec::new(),
    }
}

pub(super) fn private(room: &str, members: &[UserId]) -> NewRoom {
    NewRoom { visibility: RoomVisibility::Private, members: members.to_vec(), ..new_room(room) }
}

pub(super) async fn create(at: &Fixture, owner: UserId, room: &NewRoom) {
    let creation = at.store.create_room(&acting(owner), room, NOW).await.unwrap();
    assert!(matches!(creation, RoomCreation::Created { .. }), "{creation:?}");
}

pub(super) async fn access(at: &Fixture, room: &str, user: UserId) -> RoomAccess {
    at.store.room(&name(room), user).await.unwrap().unwrap().0
}

pub(super) async fn join(at: &Fixture, room: &str, user: UserId) {
    assert!(
        at.store.accept_invitation(&acting(user), &name(room), NOW).await.unwrap(),
        "there is no invitation"
    );
}

/// Adds a user to a private room and makes them join it.
pub(super) async fn add_and_join(at: &Fixture, room: &str, owner: UserId, user: UserId) {
    assert_eq!(add(at, room, owner, user).await, MemberChange::Invited);
    join(at, room, user).await;
}

pub(super) async fn may_enter(at: &Fixture, room: &str, user: UserId) -> bool {
    access(at, room, user).await.may_enter()
}

pub(super) async fn add(at: &Fixture, room: &str, owner: UserId, user: UserId) -> MemberChange {
    at.store.add_room_member(&acting(owner), &name(room), user, NOW).await.unwrap()
}

pub(super) async fn remove(at: &Fixture, room: &str, owner: UserId, user: UserId) -> MemberChange {
    at.store.remove_room_member(&acting(owner), &name(room), user, NOW).await.unwrap()
}

async fn set_state_of(at: &Fixture, room: &str, user: UserId, state: &str, expected: &Revisions) -> Outcome {
    at.store.set_room_state(&acting(user), &name(room), state, expected).await.unwrap().into()
}

async fn set_state(at: &Fixture, user: UserId, state: &str, expected: Revisions) -> Outcome {
    set_state_of(at, "room", user, state, &expected).await
}

const FORBIDDEN: Outcome = Outcome::Refused(StateChange::Forbidden);
const UNKNOWN: Outcome = Outcome::Refused(StateChange::UnknownRoom);
const FAILED: Outcome = Outcome::Refused(StateChange::PreconditionFailed);

/// The outcome of a change, without the document.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Set(u64),
    Refused(StateChange),
}

impl From<StateChange> for Outcome {
    fn from(change: StateChange) -> Self {
        match change {
            StateChange::Set(document) => Self::Set(document.revision),
            refused @ (StateChange::UnknownRoom
            | StateChange::Forbidden
            | StateChange::PreconditionFailed) => Self::Refused(refused),
        }
    }
}

pub(super) fn nobody() -> UserId {
    UserId::new(Uuid::new_v4())
}

async fn a_new_room_has_its_owner_and_takes_its_name(at: Fixture) {
    let (owner, other) = (at.user().await, at.user().await);
    assert_eq!(at.store.room(&name("room"), owner).await.unwrap(), None);
    create(&at, owner, &NewRoom { state_writers: StateWriters::Members, ..new_room("room") }).await;

    let (access, state) = at.store.room(&name("room"), other).await.unwrap().unwrap();
    assert_eq!((access.owner, access.visibility), (owner, RoomVisibility::Public));
    assert_eq!((access.state_writers, access.created_at_ms), (StateWriters::Members, NOW));
    assert_eq!((state.revision, state.state.as_bytes()), (0, &b"null"[..]));
    let again = at.store.create_room(&acting(other), &new_room("room"), NOW).await.unwrap();
    assert_eq!(again, RoomCreation::NameTaken);
    create(&at, other, &new_room("Room")).await;
}

async fn only_one_of_many_creators_gets_a_name(at: Fixture) {
    let owner = at.user().await;
    let outcomes = fifty_at_once(&at.store, move |store, _| async move {
        store.create_room(&acting(owner), &new_room("room"), NOW).await.unwrap()
    })
    .await;
    let created = RoomCreation::Created { invited: Vec::new() };
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == created).count(), 1);
}

async fn a_room_with_an_unknown_member_is_not_created(at: Fixture) {
    let owner = at.user().await;
    let of_nobody = at.store.create_room(&acting(nobody()), &new_room("room"), NOW).await;
    assert_eq!(refused(of_nobody), Unauthorized::NoAccount);
    let with_nobody = at.store.create_room(&acting(owner), &private("room", &[nobody()]), NOW).await.unwrap();
    assert_eq!(with_nobody, RoomCreation::NoSuchUser);
    assert_eq!(at.store.room(&name("room"), owner).await.unwrap(), None);
}

async fn a_user_owns_a_hundred_rooms(at: Fixture) {
    let owner = at.user().await;
    for number in 0..100 {
        assert!(at.store.may_own_another_room(owner).await.unwrap());
        create(&at, owner, &new_room(&format!("room-{number}"))).await;
    }
    assert!(!at.store.may_own_another_room(owner).await.unwrap());
    let more = at.store.create_room(&acting(owner), &new_room("more"), NOW).await.unwrap();
    assert_eq!(more, RoomCreation::TooManyOwned);
}

async fn the_members_of_a_room_are_limited(at: Fixture) {
    let (owner, last) = (at.user().await, at.user().await);
    let insert = "INSERT INTO users (user_id, created_at_ms) VALUES ($1, 0)";
    let users: Vec<UserId> = (0..4_999).map(|_| nobody()).collect();
    let mut tx = at.store.db.begin().await.unwrap();
    for user in &users {
        crate::store::db::within!(&mut tx, connection => {
            sqlx::query(insert).bind(user.as_uuid()).execute(connection).await.unwrap();
        });
    }
    tx.commit().await.unwrap();

    let mut all = NewRoom { members: users.clone(), ..new_room("room") };
    create(&at, owner, &all).await;
    assert_eq!(add(&at, "room", owner, last).await, MemberChange::TooMany);
    all.room = name("another");
    all.members.push(last);
    assert_eq!(at.store.create_room(&acting(owner), &all, NOW).await.unwrap(), RoomCreation::TooManyMembers);
    assert_eq!(remove(&at, "room", owner, users[0]).await, MemberChange::Done(RoomVisibility::Public));
    assert_eq!(add(&at, "room", owner, last).await, MemberChange::Done(RoomVisibility::Public));
}

async fn only_members_may_enter_a_private_room(at: Fixture) {
    let (owner, member, stranger) = (at.user().await, at.user().await, at.user().await);
    create(&at, owner, &private("room", &[member])).await;
    assert!(!may_enter(&at, "room", member).await, "they are invited");
    join(&at, "room", member).await;
    assert!(may_enter(&at, "room", owner).await && may_enter(&at, "room", member).await);
    assert!(!may_enter(&at, "room", stranger).await);

    add_and_join(&at, "room", owner, stranger).await;
    assert!(may_enter(&at, "room", stranger).await);
    assert_eq!(remove(&at, "room", owner, stranger).await, MemberChange::Done(RoomVisibility::Private));
    assert!(!may_enter(&at, "room", stranger).await);
    assert_eq!(remove(&at, "room", owner, stranger).await, MemberChange::Done(RoomVisibility::Private));
}

async fn a_user_removed_from_a_public_room_enters_only_once_added_again(at: Fixture) {
    let (owner, user) = (at.user().await, at.user().await);
    create(&at, owner, &new_room("room")).await;
    assert!(may_enter(&at, "room", user).await);
    for _ in 0..2 {
        assert_eq!(remove(&at, "room", owner, user).await, MemberChange::Done(RoomVisibility::Public));
        assert!(!may_enter(&at, "room", user).await);
    }
    assert_eq!(remove(&at, "room", user, user).await, MemberChange::UnknownRoom);
    assert_eq!(add(&at, "room", owner, user).await, MemberChange::Done(RoomVisibility::Public));
    assert!(may_enter(&at, "room", user).await);
}

async fn only_the_owner_changes_members(at: Fixture) {
    let (owner, member, stranger) = (at.user().await, at.user().await, at.user().await);
    create(&at, owner, &private("room", &[member])).await;
    create(&at, owner, &new_room("open")).await;
    let (invited, joined) = (("room", member), ("room", member));
    let cases = [
        (invited, MemberChange::Forbidden),
        (("room", stranger), MemberChange::UnknownRoom),
        (("open", stranger), MemberChange::Forbidden),
        (joined, MemberChange::Forbidden),
    ];
    for ((room, requester), refusal) in cases {
        assert_eq!(add(&at, room, requester, stranger).await, refusal);
        assert_eq!(remove(&at, room, requester, owner).await, refusal);
        assert_eq!(add(&at, room, requester, nobody()).await, refusal);
        if (room, requester) == invited && !may_enter(&at, room, requester).await {
            join(&at, room, requester).await;
        }
    }
    remove(&at, "open", owner, stranger).await;
    assert_eq!(add(&at, "open", stranger, member).await, MemberChange::UnknownRoom, "they were removed");
    assert_eq!(remove(&at, "room", stranger, stranger).await, MemberChange::UnknownRoom);
    assert_eq!(add(&at, "nowhere", owner, member).await, MemberChange::UnknownRoom);
    assert_eq!(remove(&at, "nowhere", owner, member).await, MemberChange::UnknownRoom);
    assert_eq!(add(&at, "room", owner, nobody()).await, MemberChange::NoSuchUser);
    assert_eq!(remove(&at, "room", owner, nobody()).await, MemberChange::NoSuchUser);
    assert_eq!(remove(&at, "room", owner, owner).await, MemberChange::IsOwner);
}

async fn a_member_may_leave(at: Fixture) {
    let (owner, member) = (at.user().await, at.user().await);
    create(&at, owner, &private("room", &[member])).await;
    create(&at, owner, &NewRoom { members: vec![member], ..new_room("open") }).await;
    join(&at, "room", member).await;
    assert_eq!(remove(&at, "room", member, member).await, MemberChange::Done(RoomVisibility::Private));
    assert_eq!(remove(&at, "open", member, member).await, MemberChange::Done(RoomVisibility::Public));
    assert!(!may_enter(&at, "room", member).await);
    assert!(may_enter(&at, "open", member).await, "nobody removed them");
}

async fn members_are_listed_with_their_owner_first(at: Fixture) {
    let (owner, one, other) = (at.user().await, at.user().await, at.user().await);
    create(&at, owner, &new_room("room")).await;
    at.store.add_room_member(&acting(owner), &name("room"), one, NOW + 2).await.unwrap();
    at.store.add_room_member(&acting(owner), &name("room"), other, NOW + 1).await.unwrap();
    at.store.add_room_member(&acting(owner), &name("room"), other, NOW + 3).await.unwrap();
    let room = access(&at, "room", one).await;
    assert_eq!(at.store.room_members(&room).await.unwrap(), [owner, other, one]);
    remove(&at, "room", owner, other).await;
    assert_eq!(at.store.room_members(&room).await.unwrap(), [owner, one]);
}

async fn a_state_is_replaced_only_at_the_expected_revision(at: Fixture) {
    let owner = at.user().await;
    create(&at, owner, &new_room("room")).await;
    let of = |revisions: &[u64]| Revisions::OneOf(revisions.to_vec());
    assert_eq!(set_state(&at, owner, "1", Revisions::Any).await, FAILED);
    assert_eq!(set_state(&at, owner, "1", of(&[1])).await, FAILED);
    assert_eq!(set_state(&at, owner, "{ }", of(&[0])).await, Outcome::Set(1));
    for stale in [of(&[0]), of(&[2]), of(&[])] {
        assert_eq!(set_state(&at, owner, "2", stale).await, FAILED);
    }
    let (_, state) = at.store.room(&name("room"), owner).await.unwrap().unwrap();
    assert_eq!((state.revision, state.state.as_bytes()), (1, &b"{ }"[..]));
    assert_eq!(set_state(&at, owner, "2", of(&[7, 1])).await, Outcome::Set(2));
    assert_eq!(set_state(&at, owner, "3", Revisions::Any).await, Outcome::Set(3));
    assert_eq!(set_state_of(&at, "nowhere", owner, "1", &Revisions::Any).await, UNKNOWN);
}

async fn only_one_of_many_writers_of_a_revision_wins(at: Fixture) {
    let owner = at.user().await;
    create(&at, owner, &new_room("room")).await;
    let outcomes = fifty_at_once(&at.store, move |store, number| async move {
        let expected = Revisions::OneOf(vec![0]);
        Outcome::from(
            store
                .set_room_state(&acting(owner), &name("room"), &number.to_string(), &expected)
                .await
                .unwrap(),
        )
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Set(1)).count(), 1);
}

async fn only_permitted_users_set_a_state(at: Fixture) {
    let (owner, member, stranger) = (at.user().await, at.user().await, at.user().await);
    create(&at, owner, &private("room", &[member])).await;
    let shared =
        NewRoom { state_writers: StateWriters::Members, members: vec![member], ..new_room("shared") };
    create(&at, owner, &shared).await;
    let none = Revisions::OneOf(vec![0]);
    let sets = async |room: &str, user| set_state_of(&at, room, user, "1", &none).await;
    assert_eq!(sets("room", stranger).await, UNKNOWN);
    for (room, user) in [("room", member), ("shared", stranger)] {
        assert_eq!(sets(room, user).await, FORBIDDEN, "{room}");
    }
    assert_eq!(sets("room", owner).await, Outcome::Set(1));
    assert_eq!(sets("shared", member).await, Outcome::Set(1));
    remove(&at, "shared", owner, member).await;
    assert_eq!(set_state_of(&at, "shared", member, "1", &Revisions::Any).await, UNKNOWN);
}

async fn members_of_a_private_room_share_it(at: Fixture) {
    let (owner, one, other) = (at.user().await, at.user().await, at.user().await);
    create(&at, owner, &NewRoom { members: vec![one, other], ..new_room("open") }).await;
    let share = async |a, b| !at.store.roommates(a, &[b]).await.unwrap().is_empty();
    assert!(!share(one, other).await, "the room is public");
    create(&at, owner, &private("room", &[one])).await;
    assert!(!share(owner, one).await && !share(one, owner).await, "one is invited");
    join(&at, "room", one).await;
    assert!(share(owner, one).await && share(one, owner).await);
    add(&at, "room", owner, other).await;
    assert!(!share(one, other).await && !share(other, one).await, "other is invited");
    join(&at, "room", other).await;
    assert!(share(other, one).await);
    let stranger = at.user().await;
    let mates = at.store.roommates(owner, &[one, other, stranger]).await.unwrap();
    assert_eq!(mates, [one, other].into());
    assert_eq!(at.store.roommates(owner, &[]).await.unwrap(), [].into());
    remove(&at, "room", owner, one).await;
    assert!(!share(other, one).await && share(other, owner).await);
}

async fn a_deleted_account_leaves_no_room(at: Fixture) {
    let (owner, member) = (at.user().await, at.user().await);
    create(&at, owner, &private("room", &[member])).await;
    create(&at, member, &private("other", &[owner])).await;
    set_state(&at, owner, "1", Revisions::OneOf(vec![0])).await;
    let family = at.sign_in(owner).await;
    at.store.delete_account(&by_token(owner, family), NOW).await.unwrap();

    assert_eq!(at.store.room(&name("room"), member).await.unwrap(), None);
    assert_eq!(at.store.roommates(owner, &[member]).await.unwrap(), [].into());
    let other = access(&at, "other", member).await;
    assert_eq!(at.store.room_members(&other).await.unwrap(), [member]);
    create(&at, member, &new_room("room")).await;
    assert_eq!(at.store.sweep(NOW).await.unwrap(), 1, "the deleted room");
}

async fn every_node_hears_of_changes_in_rooms(at: Fixture) {
    let (owner, one, other) = (at.user().await, at.user().await, at.user().await);
    let mut seen = 0;
    let mut heard = async || {
        let entries = at.store.relation_changes_after(seen, 100).await.unwrap();
        seen = entries.last().map_or(seen, |entry| entry.number);
        assert!(entries.iter().all(|entry| entry.user == entry.peer));
        let mut users: Vec<UserId> = entries.into_iter().map(|entry| entry.user).collect();
        users.sort_unstable();
        users
    };
    let sorted = |users: &[UserId]| {
        let mut users = users.to_vec();
        users.sort_unstable();
        users
    };
    create(&at, owner, &new_room("open")).await;
    assert_eq!(heard().await, []);
    create(&at, owner, &private("room", &[one])).await;
    add(&at, "room", owner, other).await;
    assert_eq!(heard().await, [], "an invitation changes nothing");
    join(&at, "room", one).await;
    join(&at, "room", other).await;
    assert_eq!(heard().await, sorted(&[other, one]));
    add(&at, "room", owner, one).await;
    assert_eq!(heard().await, [], "they were members already");
    remove(&at, "open", owner, one).await;
    assert_eq!(heard().await, [one]);
    remove(&at, "room", one, one).await;
    assert_eq!(heard().await, [one]);
    let family = at.sign_in(owner).await;
    at.store.delete_account(&by_token(owner, family), NOW).await.unwrap();
    assert_eq!(heard().await, sorted(&[owner, other]));
}
