//! A simple model of the registry, and operations that must leave both in the same state.

use std::collections::{BTreeMap, BTreeSet};

use aldis_protocol::{DeviceId, RoomId, SessionId, UserId};
use aldis_registry::{
    Attached, Attachment, Departure, DeviceClaim, Joining, Member, Reach, Registry, RoomFacts,
};
use proptest::prelude::*;
use uuid::Uuid;

const LIMIT: usize = 3;
const ROOM_LIMIT: usize = 2;

/// One call, or one change around it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Attach { user: u8, device: u8, claim: u64 },
    RenewClaim { nth: usize, claim: u64 },
    Detach { nth: usize },
    DetachAgain { nth: usize },
    Join { nth: usize, room: u8, revision: u64, holds: bool },
    Leave { nth: usize, room: u8 },
    Evict { user: u8, room: u8 },
    Raise { nth: usize, room: u8, revision: u64 },
    Close { room: u8 },
    Reach { room: u8, seq: u64 },
}

fn user_id(user: u8) -> UserId {
    UserId::new(Uuid::from_u128(u128::from(user)))
}

/// Device ids are unique on a server, so each belongs to one user.
fn device_id(user: u8, device: u8) -> DeviceId {
    DeviceId::new(&format!("device-{user}-{device}")).unwrap()
}

fn room_id(room: u8) -> RoomId {
    RoomId::new(&format!("room-{room}")).unwrap()
}

fn facts(room: u8, revision: u64) -> RoomFacts {
    RoomFacts {
        owner: user_id(0),
        is_public: room.is_multiple_of(2),
        is_made: true,
        revision,
        last_seq: revision,
    }
}

/// The room, the sessions that left, how many users were in it before, and the sessions and users that remain.
type Told = (RoomId, Vec<u32>, usize, Vec<u32>, usize);

fn told(departure: &Departure<'_, u32>) -> Told {
    let Departure { room, left, users_before, remaining } = departure;
    let left = handles(left.iter());
    ((*room).clone(), left, *users_before, handles(remaining.members.iter()), remaining.users)
}

fn handles<'a>(members: impl Iterator<Item = &'a Member<u32>>) -> Vec<u32> {
    let mut handles: Vec<_> = members.map(|member| member.handle).collect();
    handles.sort_unstable();
    handles
}

/// The handles of the sessions in a room, with their users, and the last message that they were sent.
#[derive(Default)]
struct ModelRoom {
    inside: BTreeSet<(u32, u8)>,
    /// The newest state that each session was sent.
    revisions: BTreeMap<u32, u64>,
    last_seq: u64,
}

/// A list, searched from end to end.
#[derive(Default)]
struct Model {
    live: Vec<(u8, Attached<u32>)>,
    gone: Vec<(u8, SessionId)>,
    rooms: BTreeMap<u8, ModelRoom>,
}

impl Model {
    fn users(&self, room: u8) -> BTreeSet<u8> {
        self.rooms
            .get(&room)
            .map(|room| room.inside.iter().map(|(_, user)| *user).collect())
            .unwrap_or_default()
    }

    fn handles(&self, room: u8) -> Vec<u32> {
        self.rooms
            .get(&room)
            .map(|room| room.inside.iter().map(|(handle, _)| *handle).collect())
            .unwrap_or_default()
    }

    fn is_in(&self, handle: u32, room: u8) -> bool {
        self.handles(room).contains(&handle)
    }

    fn rooms_of(&self, handle: u32) -> Vec<u8> {
        self.rooms.keys().copied().filter(|room| self.is_in(handle, *room)).collect()
    }

    fn join(&mut self, user: u8, handle: u32, room: u8, revision: u64, holds: bool) -> Joining {
        if !self.is_in(handle, room) && self.rooms_of(handle).len() >= ROOM_LIMIT {
            return Joining::TooMany;
        }
        if !holds {
            return Joining::Stale;
        }
        let first = ModelRoom { last_seq: revision, ..ModelRoom::default() };
        let inside = self.rooms.entry(room).or_insert(first);
        inside.inside.insert((handle, user));
        let told = inside.revisions.entry(handle).or_default();
        *told = revision.max(*told);
        Joining::Joined
    }

    fn leave(&mut self, room: u8, goes: impl Fn(u32, u8) -> bool) -> Option<Told> {
        let users_before = self.users(room).len();
        let inside = &mut self.rooms.get_mut(&room)?.inside;
        let left: Vec<_> = inside.iter().filter(|(handle, user)| goes(*handle, *user)).copied().collect();
        inside.retain(|member| !left.contains(member));
        let is_empty = inside.is_empty();
        let revisions = &mut self.rooms.get_mut(&room)?.revisions;
        revisions.retain(|handle, _| left.iter().all(|(other, _)| other != handle));
        if is_empty {
            self.rooms.remove(&room);
        }
        let left: Vec<_> = left.into_iter().map(|(handle, _)| handle).collect();
        (!left.is_empty())
            .then(|| (room_id(room), left, users_before, self.handles(room), self.users(room).len()))
    }

    fn leave_all(&mut self, handle: u32) -> Vec<Told> {
        self.rooms_of(handle)
            .into_iter()
            .filter_map(|room| self.leave(room, |other, _| other == handle))
            .collect()
    }

    fn nth(&self, nth: usize) -> Option<(u8, Attached<u32>)> {
        (!self.live.is_empty()).then(|| self.live[nth % self.live.len()].clone())
    }

    fn attach(&mut self, user: u8, attached: Attached<u32>) -> Attachment<u32> {
        let same_device = self.live.iter().position(|(_, other)| other.device == attached.device);
        let others =
            self.live.iter().filter(|(owner, other)| *owner == user && other.device != attached.device);
        if same_device.is_none() && others.count() >= LIMIT {
            return Attachment::TooMany;
        }
        if same_device.is_some_and(|index| self.live[index].1.claim > attached.claim) {
            return Attachment::Superseded;
        }
        let replaced = same_device.map(|index| self.live.remove(index).1);
        self.gone.extend(replaced.iter().map(|replaced| (user, replaced.session)));
        self.live.push((user, attached));
        Attachment::Attached { replaced }
    }

    fn renew_claim(&mut self, session: SessionId, claim: DeviceClaim) -> bool {
        let here = self.live.iter_mut().find(|(_, other)| other.session == session);
        let renewed = here.filter(|(_, here)| here.claim <= claim).map(|(_, here)| here.claim = claim);
        renewed.is_some()
    }

    fn detach(&mut self, nth: usize) -> Option<(u8, Attached<u32>)> {
        (!self.live.is_empty()).then(|| self.live.remove(nth % self.live.len()))
    }

    fn of_user(&self, user: u8) -> Vec<u32> {
        let mut handles: Vec<_> = self
            .live
            .iter()
            .filter(|(owner, _)| *owner == user)
            .map(|(_, attached)| attached.handle)
            .collect();
        handles.sort_unstable();
        handles
    }
}

/// Carries out all operations on both, and compares them after each.
pub(crate) fn behaves_like_the_model(operations: Vec<Operation>) -> Result<(), TestCaseError> {
    let registry = Registry::default();
    let mut model = Model::default();
    for (number, operation) in operations.into_iter().enumerate() {
        carry_out(&registry, &mut model, operation, u32::try_from(number).unwrap())?;
        check(&registry, &model)?;
    }
    Ok(())
}

fn carry_out(
    registry: &Registry<u32>,
    model: &mut Model,
    operation: Operation,
    handle: u32,
) -> Result<(), TestCaseError> {
    let (mut heard, mut expected_heard) = (Vec::new(), Vec::new());
    match operation {
        Operation::Attach { user, device, claim } => {
            let session = SessionId::new(Uuid::from_u128(u128::from(handle)));
            let claim = DeviceClaim::new(claim);
            let attached = Attached { session, device: device_id(user, device), claim, handle };
            let expected = model.attach(user, attached.clone());
            if let Attachment::Attached { replaced: Some(replaced) } = &expected {
                expected_heard = model.leave_all(replaced.handle);
            }
            let done = registry.attach(user_id(user), attached, LIMIT, |left| heard.push(told(left)));
            prop_assert_eq!(done, expected);
        }
        Operation::RenewClaim { nth, claim } => {
            let claim = DeviceClaim::new(claim);
            if let Some((user, here)) = model.nth(nth) {
                let expected = model.renew_claim(here.session, claim);
                prop_assert_eq!(registry.renew_claim(user_id(user), here.session, claim), expected);
            }
            if let Some((user, session)) = model.gone.get(nth % model.gone.len().max(1)) {
                prop_assert!(!registry.renew_claim(user_id(*user), *session, claim), "it is not here");
            }
        }
        Operation::Detach { nth } => {
            if let Some((user, expected)) = model.detach(nth) {
                expected_heard = model.leave_all(expected.handle);
                let detached =
                    registry.detach(user_id(user), expected.session, |left| heard.push(told(left)));
                model.gone.push((user, expected.session));
                prop_assert_eq!(detached, Some(expected));
            }
        }
        Operation::DetachAgain { nth } => {
            if let Some((user, session)) = model.gone.get(nth % model.gone.len().max(1)) {
                prop_assert_eq!(registry.detach(user_id(*user), *session, |_| ()), None);
                let gone = registry.join(
                    (user_id(*user), *session),
                    &room_id(0),
                    facts(0, 1),
                    ROOM_LIMIT,
                    || true,
                    |_, _, _| (),
                );
                prop_assert_eq!(gone, Joining::Gone);
            }
        }
        Operation::Join { nth, room, revision, holds } => {
            if let Some((user, attached)) = model.nth(nth) {
                let was_in = model.is_in(attached.handle, room);
                let expected = model.join(user, attached.handle, room, revision, holds);
                let mut shown = None;
                let joining = registry.join(
                    (user_id(user), attached.session),
                    &room_id(room),
                    facts(room, revision),
                    ROOM_LIMIT,
                    || holds,
                    |view, member, is_new| {
                        shown = Some((view.users, view.members.len(), member.handle, is_new));
                    },
                );
                prop_assert_eq!(joining, expected);
                let (users, members) = (model.users(room).len(), model.handles(room).len());
                let expected =
                    (joining == Joining::Joined).then_some((users, members, attached.handle, !was_in));
                prop_assert_eq!(shown, expected);
            }
        }
        Operation::Leave { nth, room } => {
            if let Some((user, attached)) = model.nth(nth) {
                expected_heard.extend(model.leave(room, |handle, _| handle == attached.handle));
                let left = registry.leave((user_id(user), attached.session), &room_id(room), |left| {
                    heard.push(told(left));
                });
                prop_assert_eq!(left, !expected_heard.is_empty());
            }
        }
        Operation::Evict { user, room } => {
            expected_heard.extend(model.leave(room, |_, of| of == user));
            registry.evict(user_id(user), &room_id(room), |left| heard.push(told(left)));
        }
        Operation::Raise { nth, room, revision } => {
            if let Some((user, attached)) = model.nth(nth) {
                let session = (user_id(user), attached.session);
                let number = registry.occupants(&room_id(room)).map_or(0, |occupants| occupants.number);
                let is_told = registry.raise_revision(session, &room_id(room), number, revision);
                let told =
                    model.rooms.get_mut(&room).and_then(|room| room.revisions.get_mut(&attached.handle));
                let expected =
                    told.is_some_and(|told| std::mem::replace(told, revision.max(*told)) < revision);
                prop_assert_eq!(is_told, expected);
                let other = registry.raise_revision(session, &room_id(room), number + 1, u64::MAX);
                prop_assert!(!other, "that is another room");
            }
        }
        Operation::Close { room } => {
            let expected = model.rooms.remove(&room).map(|room| room.inside);
            let closed = registry.close(&room_id(room));
            prop_assert_eq!(closed.is_some(), expected.is_some());
            prop_assert!(registry.room_here(&room_id(room)).is_none());
            let mut left = BTreeSet::new();
            for member in closed.iter().flat_map(|closed| closed.members.iter()) {
                let Some(closed) = &closed else { continue };
                let (user, session) = (member.user, member.session);
                prop_assert!(registry.seat((user, session), &room_id(room)).is_none());
                let back = registry.join(
                    (user, session),
                    &room_id(room),
                    facts(room, 1),
                    ROOM_LIMIT,
                    || true,
                    |_, _, _| (),
                );
                prop_assert_eq!(back, Joining::Stale, "it has still to leave the deleted room");
                registry.leave_closed(&room_id(room), closed, member, || {
                    left.insert(member.handle);
                });
                registry.leave_closed(&room_id(room), closed, member, || unreachable!("it has left"));
            }
            let expected: BTreeSet<u32> = expected.into_iter().flatten().map(|(handle, _)| handle).collect();
            prop_assert_eq!(left, expected);
        }
        Operation::Reach { room, seq } => {
            let told = match registry.reach(&room_id(room), seq) {
                Reach::Next(members) => Some((seq - 1, members.len())),
                Reach::After(after, members) => {
                    prop_assert!(after + 1 < seq);
                    Some((after, members.len()))
                }
                Reach::Known => None,
            };
            let expected = model.rooms.get_mut(&room).filter(|room| room.last_seq < seq);
            let expected =
                expected.map(|room| (std::mem::replace(&mut room.last_seq, seq), room.inside.len()));
            prop_assert_eq!(told, expected);
        }
    }
    prop_assert_eq!(heard, expected_heard);
    Ok(())
}

fn check(registry: &Registry<u32>, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(registry.len(), model.live.len());
    prop_assert_eq!(registry.is_empty(), model.live.is_empty());
    for user in 0..4 {
        let mut handles: Vec<_> =
            registry.of_user(user_id(user)).iter().map(|attached| attached.handle).collect();
        handles.sort_unstable();
        prop_assert_eq!(handles, model.of_user(user));
        for device in 0..6 {
            let device = device_id(user, device);
            let expected = model.live.iter().find(|(_, attached)| attached.device == device);
            let expected = expected.map(|(user, attached)| (user_id(*user), attached.handle));
            prop_assert_eq!(registry.is_online(&device), expected.is_some());
            prop_assert_eq!(registry.on_device(&device), expected);
        }
    }
    check_rooms(registry, model)
}

fn check_rooms(registry: &Registry<u32>, model: &Model) -> Result<(), TestCaseError> {
    for room in 0..4 {
        let members = registry.members(&room_id(room));
        prop_assert_eq!(handles(members.iter()), model.handles(room));
        prop_assert!(members.iter().is_sorted_by_key(|member| (member.user, member.session)));
        prop_assert_eq!(registry.room_here(&room_id(room)).is_some(), model.rooms.contains_key(&room));
    }
    for user in 0..4 {
        let live = model.live.iter().filter(|(owner, _)| *owner == user);
        let rooms: BTreeSet<u8> = live.flat_map(|(_, attached)| model.rooms_of(attached.handle)).collect();
        let rooms: Vec<RoomId> = rooms.into_iter().map(room_id).collect();
        prop_assert_eq!(registry.rooms_of_user(user_id(user)), rooms);
    }
    for (user, attached) in &model.live {
        let one = (user_id(*user), attached.session);
        let rooms = model.rooms_of(attached.handle);
        prop_assert_eq!(registry.rooms_joined(one), rooms.len());
        for room in 0..4 {
            prop_assert_eq!(registry.seat(one, &room_id(room)).is_some(), rooms.contains(&room));
        }
        for (other_user, other) in &model.live {
            let shared = rooms.iter().any(|room| room.is_multiple_of(2) && model.is_in(other.handle, *room));
            let other = (user_id(*other_user), other.session);
            prop_assert_eq!(registry.share_public_room(one, other), shared);
        }
    }
    Ok(())
}

#[test]
fn devices_that_come_and_go_on_many_threads_leave_nothing() {
    let registry = Registry::default();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let registry = &registry;
            scope.spawn(move || {
                for round in 0..2_000_u32 {
                    let user = user_id(u8::try_from(round % 3).unwrap());
                    let session =
                        SessionId::new(Uuid::from_u128(u128::from(round) << 32 | u128::from(thread)));
                    let device = DeviceId::new(&format!("device-{}", round % 3)).unwrap();
                    let attached = Attached { session, device, claim: DeviceClaim::default(), handle: round };
                    let _ = registry.attach(user, attached, LIMIT, |_| ());
                    let room = u8::try_from(round % 2).unwrap();
                    let _ = registry.join(
                        (user, session),
                        &room_id(room),
                        facts(room, 1),
                        LIMIT,
                        || true,
                        |_, _, _| (),
                    );
                    registry.detach(user, session, |_| ());
                }
            });
        }
    });
    assert!(registry.is_empty(), "{} sessions left", registry.len());
    assert_eq!(registry.all(), Vec::<u32>::new());
    assert!((0..2).all(|room| registry.room_here(&room_id(room)).is_none()));
}

#[test]
fn the_session_attached_last_won_although_its_socket_was_older() {
    let registry = Registry::default();
    let user = user_id(1);
    let session = |number| SessionId::new(Uuid::from_u128(number));
    let attach = |number: u32, claim| {
        let (device, claim) = (device_id(1, 1), DeviceClaim::new(claim));
        let attached = Attached { session: session(number.into()), device, claim, handle: number };
        registry.attach(user, attached, LIMIT, |_| ())
    };
    assert_eq!(attach(1, 2), Attachment::Attached { replaced: None });
    assert_eq!(attach(2, 1), Attachment::Superseded);
    assert!(registry.renew_claim(user, session(1), DeviceClaim::new(4)), "its client resumed");
    assert!(!registry.renew_claim(user, session(1), DeviceClaim::new(3)), "with an older socket");
    assert_eq!(attach(3, 3), Attachment::Superseded);
    assert!(matches!(attach(4, 5), Attachment::Attached { replaced: Some(one) } if one.handle == 1));
    assert!(!registry.renew_claim(user, session(1), DeviceClaim::new(6)), "it is not here");
    assert_eq!(registry.all(), [4]);
}

#[test]
fn a_deleted_room_is_not_a_later_room_of_the_same_name() {
    let registry = Registry::default();
    let (user, session) = (user_id(1), SessionId::new(Uuid::from_u128(1)));
    let claim = DeviceClaim::default();
    let attached = Attached { session, device: device_id(1, 1), claim, handle: 1 };
    let _ = registry.attach(user, attached, LIMIT, |_| ());
    let join = |facts| registry.join((user, session), &room_id(0), facts, LIMIT, || true, |_, _, _| ());
    let unmade = RoomFacts { owner: user, is_public: true, is_made: false, revision: 0, last_seq: 0 };
    let made = RoomFacts { owner: user_id(2), is_made: true, ..unmade };
    assert_eq!(join(unmade), Joining::Joined);
    assert_eq!(join(RoomFacts { owner: user_id(3), ..unmade }), Joining::Joined);
    let seat = registry.seat((user, session), &room_id(0)).unwrap();
    assert_eq!((seat.owner, seat.is_made), (user, false), "its first member stays the owner");
    assert_eq!(join(RoomFacts { is_public: false, ..made }), Joining::Other);
    assert_eq!(join(made), Joining::Joined);
    assert_eq!(registry.rooms_owned_by(user_id(2)), [room_id(0)]);
    for other in [unmade, RoomFacts { owner: user_id(3), ..made }, RoomFacts { is_public: false, ..made }] {
        assert_eq!(join(other), Joining::Other);
    }
    registry.make(&room_id(0), user_id(4));
    assert_eq!(registry.room_here(&room_id(0)).unwrap().owner, user_id(2), "it was stored before");
}

#[test]
fn a_snapshot_of_members_does_not_change() {
    let registry = Registry::default();
    for number in 0..3_u8 {
        let session = SessionId::new(Uuid::from_u128(u128::from(number)));
        let (device, claim) = (device_id(number, 0), DeviceClaim::default());
        let attached = Attached { session, device, claim, handle: u32::from(number) };
        let _ = registry.attach(user_id(number), attached, LIMIT, |_| ());
        let before = registry.members(&room_id(0));
        let member = (user_id(number), session);
        let _ = registry.join(member, &room_id(0), facts(0, 1), LIMIT, || true, |_, _, _| ());
        assert_eq!(before.len(), usize::from(number));
    }
}
