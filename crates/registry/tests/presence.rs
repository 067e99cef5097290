//! Compares presence and watches with a simple model under random operations.

#![allow(clippy::unwrap_used, reason = "the lint spares test functions, but not their helpers")]

use aldis_protocol::{DeviceId, SessionId, Status, UserId};
use aldis_registry::{
    Attached, Attachment, Decision, DeviceClaim, DevicePresence, Registry, Sight, TooManySubscriptions,
    UserPresence, Watcher,
};
use proptest::prelude::*;
use uuid::Uuid;

const USERS: u8 = 3;
const DEVICES: u8 = 3;
/// The maximum number of watched users in this test.
const LIMIT: usize = 2;

#[derive(Debug, Clone)]
enum Operation {
    Attach {
        user: u8,
        device: u8,
    },
    Detach {
        nth: usize,
    },
    Present {
        nth: usize,
        status: Status,
        note: Option<&'static str>,
    },
    Left {
        nth: usize,
        has_left: bool,
    },
    Watch {
        nth: usize,
        users: Vec<u8>,
    },
    Unwatch {
        nth: usize,
        users: Vec<u8>,
    },
    /// Looks up the facts.
    Look {
        nth: usize,
        user: u8,
    },
    /// Decides by facts that were looked up before.
    Decide {
        nth: usize,
        sees: bool,
    },
    PendingDecision {
        watcher: u8,
        user: u8,
    },
    DoubtAll {
        user: u8,
    },
    Saw {
        user: u8,
        at_ms: i64,
    },
    Refresh {
        user: u8,
    },
    Tell {
        nth: usize,
        user: u8,
    },
    Untell {
        nth: usize,
        user: u8,
    },
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(Status::ALL)
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let (nth, user, device) = (0..16_usize, 0..USERS, 0..DEVICES);
    let users = prop::collection::vec(0..USERS, 0..4);
    let note = prop::sample::select(vec![None, Some("lunch"), Some("out")]);
    let operation = prop_oneof![
        4 => (user.clone(), device).prop_map(|(user, device)| Operation::Attach { user, device }),
        2 => nth.clone().prop_map(|nth| Operation::Detach { nth }),
        4 => (nth.clone(), status(), note)
            .prop_map(|(nth, status, note)| Operation::Present { nth, status, note }),
        2 => (nth.clone(), any::<bool>()).prop_map(|(nth, has_left)| Operation::Left { nth, has_left }),
        4 => (nth.clone(), users.clone()).prop_map(|(nth, users)| Operation::Watch { nth, users }),
        1 => (nth.clone(), users).prop_map(|(nth, users)| Operation::Unwatch { nth, users }),
        4 => (nth.clone(), user.clone()).prop_map(|(nth, user)| Operation::Look { nth, user }),
        4 => (nth.clone(), any::<bool>()).prop_map(|(nth, sees)| Operation::Decide { nth, sees }),
        2 => (user.clone(), user.clone()).prop_map(|(watcher, user)| Operation::PendingDecision { watcher, user }),
        1 => user.clone().prop_map(|user| Operation::DoubtAll { user }),
        1 => (user.clone(), 0..200_i64).prop_map(|(user, at_ms)| Operation::Saw { user, at_ms }),
        4 => user.clone().prop_map(|user| Operation::Refresh { user }),
        4 => (nth.clone(), user.clone()).prop_map(|(nth, user)| Operation::Tell { nth, user }),
        1 => (nth, user).prop_map(|(nth, user)| Operation::Untell { nth, user }),
    ];
    prop::collection::vec(operation, 0..150)
}

fn user_id(user: u8) -> UserId {
    UserId::new(Uuid::from_u128(u128::from(user)))
}

fn session_id(number: u64) -> SessionId {
    SessionId::new(Uuid::from_u128(u128::from(number)))
}

#[derive(Debug, Clone)]
struct Session {
    user: u8,
    number: u64,
    presence: DevicePresence,
}

#[derive(Debug, Clone)]
struct Watch {
    session: u64,
    user: u8,
    sees: Option<bool>,
    /// Facts that were looked up before this operation are outdated.
    doubted: usize,
    /// There is news that was not told.
    has_news: bool,
}

/// Facts that were looked up.
#[derive(Debug, Clone)]
struct Looked {
    session: u64,
    user: u8,
    stamp: Option<u64>,
    at: usize,
}

/// Lists, searched from end to end.
#[derive(Default)]
struct Model {
    sessions: Vec<Session>,
    watches: Vec<Watch>,
    /// The visible presence of each watched user at the last refresh.
    known: Vec<(u8, UserPresence, Option<i64>)>,
    looked: Vec<Looked>,
}

impl Model {
    fn nth(&self, nth: usize) -> Option<Session> {
        (!self.sessions.is_empty()).then(|| self.sessions[nth % self.sessions.len()].clone())
    }

    fn session(&mut self, number: u64) -> &mut Session {
        self.sessions.iter_mut().find(|session| session.number == number).unwrap()
    }

    fn presence(&self, user: u8) -> UserPresence {
        let devices = self.sessions.iter().filter(|session| session.user == user);
        let visible: Vec<_> = devices
            .map(|session| &session.presence)
            .filter(|device| !device.has_left && device.status != Status::Offline)
            .collect();
        let mut best: Option<&DevicePresence> = None;
        for device in &visible {
            let rank = |one: &DevicePresence| (one.status, one.note.is_some(), one.said_at);
            if best.is_none_or(|best| rank(device) >= rank(best)) {
                best = Some(device);
            }
        }
        best.map_or(UserPresence::OFFLINE, |best| UserPresence {
            status: best.status,
            note: best.note.clone(),
            devices: u32::try_from(visible.len()).unwrap(),
        })
    }

    fn watch(&mut self, session: u64, users: &[u8], at: usize) -> Result<Vec<u8>, TooManySubscriptions> {
        let mut added = Vec::new();
        for user in users {
            if !added.contains(user) && self.find(session, *user).is_none() {
                added.push(*user);
            }
        }
        let count = self.watches.iter().filter(|watch| watch.session == session).count();
        if count + added.len() > LIMIT {
            return Err(TooManySubscriptions);
        }
        for user in &added {
            if self.known.iter().all(|(known, ..)| known != user) {
                self.known.push((*user, self.presence(*user), None));
            }
            self.watches.push(Watch { session, user: *user, sees: None, doubted: at, has_news: true });
        }
        Ok(added)
    }

    fn unwatch(&mut self, session: u64, users: &[u8]) {
        self.watches.retain(|watch| watch.session != session || !users.contains(&watch.user));
        self.known.retain(|(user, ..)| self.watches.iter().any(|watch| watch.user == *user));
    }

    fn find(&mut self, session: u64, user: u8) -> Option<&mut Watch> {
        self.watches.iter_mut().find(|watch| watch.session == session && watch.user == user)
    }

    fn decide(&mut self, looked: &Looked, sees: bool) -> Decision {
        match self.find(looked.session, looked.user) {
            Some(watch) if watch.doubted <= looked.at && looked.stamp.is_some() => {
                let changed = watch.sees != Some(sees);
                watch.sees = Some(sees);
                watch.has_news |= changed;
                if changed { Decision::Changed } else { Decision::Unchanged }
            }
            _ => Decision::Outdated,
        }
    }

    /// The watches that must be decided again.
    fn begin_decision(&mut self, concerned: impl Fn(&Watch) -> bool, at: usize) -> Vec<(u64, u8)> {
        let mut doubted = Vec::new();
        for watch in self.watches.iter_mut().filter(|watch| concerned(watch)) {
            watch.doubted = at;
            doubted.push((watch.session, watch.user));
        }
        doubted.sort_unstable();
        doubted
    }

    fn refresh(&mut self, user: u8, now_ms: i64) -> bool {
        let presence = self.presence(user);
        let Some((_, known, last_seen)) = self.known.iter_mut().find(|(known, ..)| *known == user) else {
            return false;
        };
        let changed = *known != presence;
        if known.is_visible() && !presence.is_visible() {
            *last_seen = (*last_seen).max(Some(now_ms));
        }
        *known = presence;
        if changed {
            let watches = self.watches.iter_mut().filter(|watch| watch.user == user);
            watches.filter(|watch| watch.sees != Some(false)).for_each(|watch| watch.has_news = true);
        }
        changed
    }

    fn tell(&mut self, session: u64, user: u8) -> Option<Sight> {
        let sight = self.sight(session, user)?;
        let watch = self.find(session, user)?;
        std::mem::take(&mut watch.has_news).then_some(sight)
    }

    fn sight(&mut self, session: u64, user: u8) -> Option<Sight> {
        let sees = self.find(session, user)?.sees?;
        let (_, presence, last_seen_ms) = self.known.iter().find(|(known, ..)| *known == user)?.clone();
        Some(if sees { Sight { presence, last_seen_ms } } else { Sight::NOTHING })
    }
}

proptest! {
    #[test]
    fn watchers_see_what_the_model_says(operations in operations()) {
        let (registry, mut model) = (Registry::<u64>::default(), Model::default());
        for (at, operation) in operations.into_iter().enumerate() {
            take(&registry, &mut model, at, operation)?;
            check(&registry, &model)?;
        }
        for session in model.sessions.clone() {
            for user in 0..USERS {
                let id = session_id(session.number);
                registry.untell(id, user_id(user));
                prop_assert_eq!(registry.tell(id, user_id(user)), model.sight(session.number, user));
            }
        }
    }
}

fn take(
    registry: &Registry<u64>,
    model: &mut Model,
    at: usize,
    operation: Operation,
) -> Result<(), TestCaseError> {
    let number = at as u64;
    match operation {
        Operation::Attach { user, device } => {
            let id = DeviceId::new(&format!("device-{user}-{device}")).unwrap();
            let claim = DeviceClaim::default();
            let attached = Attached { session: session_id(number), device: id, claim, handle: number };
            let attachment = registry.attach(user_id(user), attached, usize::MAX, |_| ());
            let Attachment::Attached { replaced } = attachment else {
                return Err(TestCaseError::fail("there is room"));
            };
            if let Some(replaced) = replaced {
                registry.unwatch_all(replaced.session);
                model.unwatch(replaced.handle, &[0, 1, 2]);
                model.sessions.retain(|session| session.number != replaced.handle);
            }
            model.sessions.push(Session { user, number, presence: DevicePresence::FRESH });
        }
        Operation::Detach { nth } => {
            if let Some(session) = model.nth(nth) {
                registry.detach(user_id(session.user), session_id(session.number), |_| ());
                registry.unwatch_all(session_id(session.number));
                model.unwatch(session.number, &[0, 1, 2]);
                model.sessions.retain(|other| other.number != session.number);
            }
        }
        Operation::Present { nth, status, note } => {
            if let Some(session) = model.nth(nth) {
                let note = note.map(Into::into);
                let presence = DevicePresence { status, note, said_at: number, has_left: false };
                let has_left = session.presence.has_left;
                let former =
                    registry.present(user_id(session.user), session_id(session.number), presence.clone());
                prop_assert_eq!(former, Some(session.presence));
                model.session(session.number).presence = DevicePresence { has_left, ..presence };
            }
        }
        Operation::Left { nth, has_left } => {
            if let Some(session) = model.nth(nth) {
                let former = registry.set_left(user_id(session.user), session_id(session.number), has_left);
                prop_assert_eq!(former, Some(session.presence));
                model.session(session.number).presence.has_left = has_left;
            }
        }
        Operation::Watch { nth, users } => {
            if let Some(session) = model.nth(nth) {
                let watcher = Watcher {
                    session: session_id(session.number),
                    user: user_id(session.user),
                    handle: session.number,
                };
                let ids: Vec<_> = users.iter().copied().map(user_id).collect();
                let expected = model.watch(session.number, &users, at);
                let expected = expected.map(|added| added.into_iter().map(user_id).collect());
                prop_assert_eq!(registry.watch(&watcher, &ids, LIMIT), expected);
            }
        }
        Operation::Unwatch { nth, users } => {
            if let Some(session) = model.nth(nth) {
                let ids: Vec<_> = users.iter().copied().map(user_id).collect();
                registry.unwatch(session_id(session.number), &ids);
                model.unwatch(session.number, &users);
            }
        }
        Operation::Look { nth, user } => {
            if let Some(session) = model.nth(nth) {
                let stamp = registry.stamp(session_id(session.number), user_id(user));
                prop_assert_eq!(stamp.is_some(), model.find(session.number, user).is_some());
                model.looked.push(Looked { session: session.number, user, stamp, at });
            }
        }
        Operation::Decide { nth, sees } => {
            if !model.looked.is_empty() {
                let looked = model.looked.swap_remove(nth % model.looked.len());
                let (session, user) = (session_id(looked.session), user_id(looked.user));
                let expected = model.decide(&looked, sees);
                let decided = looked.stamp.map(|stamp| registry.decide(session, user, stamp, sees));
                prop_assert_eq!(decided.unwrap_or(Decision::Outdated), expected);
            }
        }
        Operation::PendingDecision { watcher, user } => {
            let sessions: Vec<u64> =
                model.sessions.iter().filter(|one| one.user == watcher).map(|one| one.number).collect();
            let mut expected =
                model.begin_decision(|watch| watch.user == user && sessions.contains(&watch.session), at);
            expected.retain(|(session, _)| {
                model
                    .watches
                    .iter()
                    .any(|watch| watch.session == *session && watch.user == user && watch.sees.is_some())
            });
            let mut doubted = Vec::new();
            for pending in registry.begin_decision(user_id(watcher), user_id(user)) {
                prop_assert_eq!(pending.watcher.user, user_id(watcher));
                model.looked.push(Looked {
                    session: pending.watcher.handle,
                    user,
                    stamp: Some(pending.stamp),
                    at,
                });
                doubted.push((pending.watcher.handle, user));
            }
            doubted.sort_unstable();
            prop_assert_eq!(doubted, expected);
        }
        Operation::DoubtAll { user } => {
            let expected = model.begin_decision(|watch| watch.user == user, at);
            let (mut doubted, mut after) = (Vec::new(), None);
            loop {
                let some = registry.begin_decisions(user_id(user), after, 2);
                let Some(last) = some.last() else { break };
                after = Some(last.watcher.session);
                doubted.extend(some.iter().map(|pending| (pending.watcher.handle, user)));
            }
            prop_assert_eq!(doubted, expected);
        }
        Operation::Saw { user, at_ms } => {
            registry.saw(user_id(user), at_ms);
            if let Some((.., last_seen)) = model.known.iter_mut().find(|(known, ..)| *known == user) {
                *last_seen = (*last_seen).max(Some(at_ms));
            }
        }
        Operation::Refresh { user } => {
            let now_ms = i64::try_from(at).unwrap();
            prop_assert_eq!(registry.refresh(user_id(user), now_ms), model.refresh(user, now_ms));
        }
        Operation::Tell { nth, user } => {
            if let Some(session) = model.nth(nth) {
                let told = registry.tell(session_id(session.number), user_id(user));
                prop_assert_eq!(told, model.tell(session.number, user));
            }
        }
        Operation::Untell { nth, user } => {
            if let Some(session) = model.nth(nth) {
                registry.untell(session_id(session.number), user_id(user));
                model.find(session.number, user).into_iter().for_each(|watch| watch.has_news = true);
            }
        }
    }
    Ok(())
}

fn check(registry: &Registry<u64>, model: &Model) -> Result<(), TestCaseError> {
    for user in 0..USERS {
        prop_assert_eq!(registry.presence(user_id(user)), model.presence(user));
        let mut expected: Vec<u64> = model
            .watches
            .iter()
            .filter(|watch| watch.user == user && watch.sees == Some(true))
            .map(|watch| watch.session)
            .collect();
        expected.sort_unstable();
        prop_assert_eq!(all_watchers(registry, user), expected);
    }
    for session in &model.sessions {
        let id = session_id(session.number);
        let presence = registry.presence_of_session(user_id(session.user), id);
        prop_assert_eq!(presence.as_ref(), Some(&session.presence));
        let count = model.watches.iter().filter(|watch| watch.session == session.number).count();
        prop_assert_eq!(registry.watch_count(id), count);
    }
    Ok(())
}

/// Reads all pages.
fn all_watchers(registry: &Registry<u64>, user: u8) -> Vec<u64> {
    let (mut handles, mut after) = (Vec::new(), None);
    loop {
        let page = registry.watchers(user_id(user), after, 2);
        handles.extend(page.handles);
        after = page.next;
        if after.is_none() {
            return handles;
        }
    }
}

fn watcher(number: u64) -> Watcher<u64> {
    Watcher { session: session_id(number), user: user_id(9), handle: number }
}

#[test]
fn facts_from_before_an_ended_watch_do_not_decide_the_next_one() {
    let registry = Registry::<u64>::default();
    let (session, user) = (session_id(1), user_id(1));
    registry.watch(&watcher(1), &[user], LIMIT).unwrap();
    let stamp = registry.stamp(session, user).unwrap();
    registry.unwatch(session, &[user]);
    registry.watch(&watcher(1), &[user], LIMIT).unwrap();
    assert_eq!(registry.decide(session, user, stamp, true), Decision::Outdated);
    assert_eq!(registry.tell(session, user), None);
}

#[test]
fn watchers_and_watched_on_many_threads_agree_in_the_end() {
    let registry = Registry::<u64>::default();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let registry = &registry;
            scope.spawn(move || {
                for round in 0..2_000_u64 {
                    let session = session_id(round << 8 | thread);
                    let user = user_id(u8::try_from(thread % 2).unwrap());
                    let device = DeviceId::new(&format!("device-{thread}")).unwrap();
                    let attached =
                        Attached { session, device, claim: DeviceClaim::default(), handle: thread };
                    let _ = registry.attach(user, attached, usize::MAX, |_| ());
                    registry.refresh(user, 1);
                    let watcher = Watcher { session, user, handle: thread };
                    registry.watch(&watcher, &[user_id(0), user_id(1)], LIMIT).unwrap();
                    let stamp = registry.stamp(session, user_id(0)).unwrap();
                    registry.decide(session, user_id(0), stamp, true);
                    registry.begin_decision(user, user_id(1)).into_iter().for_each(drop);
                    if round < 1_999 {
                        registry.detach(user, session, |_| ());
                        registry.refresh(user, 1);
                        registry.unwatch_all(session);
                    }
                }
            });
        }
    });
    for thread in 0..4_u64 {
        let session = session_id(1_999 << 8 | thread);
        let sight = registry.tell(session, user_id(0)).unwrap();
        assert_eq!(sight.presence, registry.presence(user_id(0)), "the watcher sees the current presence");
        assert_eq!(sight.presence.devices, 2);
        registry.unwatch_all(session);
    }
    assert_eq!(all_watchers(&registry, 0), Vec::<u64>::new());
}
