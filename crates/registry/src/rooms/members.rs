//! The sessions in a room, in chunks: a change copies at most one chunk, and readers block nobody.

use std::sync::Arc;

use aldis_protocol::{DeviceId, SessionId, UserId};

/// The most sessions in a chunk; after a chunk, other tasks get a turn.
pub const CHUNK: usize = 256;

/// A session in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<H> {
    /// Its user.
    pub user: UserId,
    /// Its id.
    pub session: SessionId,
    /// Its device.
    pub device: DeviceId,
    /// The handle that reaches it.
    pub handle: H,
}

/// A snapshot of the sessions in a room, sorted by user and session. A clone is cheap and never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members<H> {
    /// No chunk is empty.
    chunks: Arc<Vec<Chunk<H>>>,
    len: usize,
}

type Chunk<H> = Arc<Vec<Member<H>>>;

/// The sort key of members.
type Key = (UserId, SessionId);

impl<H> Default for Members<H> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0 }
    }
}

impl<H> Members<H> {
    /// How many sessions there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no session.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All sessions.
    pub fn iter(&self) -> impl Iterator<Item = &Member<H>> {
        self.chunks().flatten()
    }

    /// All sessions, at most [`CHUNK`] at a time.
    pub fn chunks(&self) -> impl Iterator<Item = &[Member<H>]> {
        self.chunks.iter().map(|chunk| chunk.as_slice())
    }

    /// Whether this session is in the room.
    pub(super) fn contains(&self, key: Key) -> bool {
        self.chunks.get(self.chunk_of(key)).is_some_and(|chunk| place(chunk, key).is_ok())
    }

    /// Whether a session of this user is in the room.
    pub(super) fn has(&self, user: UserId) -> bool {
        self.chunks[self.chunk_of_user(user)..]
            .first()
            .is_some_and(|chunk| chunk[start_of(chunk, user)].user == user)
    }

    /// The first chunk that does not end before this session.
    fn chunk_of(&self, key: Key) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| sort_key(last) < key))
    }

    /// The first chunk that does not end before this user's sessions.
    fn chunk_of_user(&self, user: UserId) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.user < user))
    }
}

impl<H: Clone> Members<H> {
    /// False if the session was in the room already.
    pub(super) fn insert(&mut self, member: Member<H>) -> bool {
        let key = sort_key(&member);
        let chunks = Arc::make_mut(&mut self.chunks);
        // A session that sorts after all others goes into the last chunk.
        let number = chunks.partition_point(|chunk| chunk.last().is_some_and(|last| sort_key(last) < key));
        let number = number.min(chunks.len().saturating_sub(1));
        let Some(chunk) = chunks.get_mut(number) else {
            chunks.push(Arc::new(vec![member]));
            self.len = 1;
            return true;
        };
        let Err(place) = place(chunk, key) else { return false };
        let members = Arc::make_mut(chunk);
        members.insert(place, member);
        if members.len() > CHUNK {
            let behind = members.split_off(CHUNK / 2);
            chunks.insert(number + 1, Arc::new(behind));
        }
        self.len += 1;
        true
    }

    /// Removes the matching sessions of a user and returns them.
    pub(super) fn remove(&mut self, user: UserId, goes: impl Fn(&Member<H>) -> bool) -> Vec<Member<H>> {
        let first = self.chunk_of_user(user);
        let of_user = |chunk: &Chunk<H>| chunk.first().is_some_and(|member| member.user <= user);
        let count = self.chunks[first..].iter().take_while(|chunk| of_user(chunk)).count();
        let leaves = |member: &Member<H>| member.user == user && goes(member);
        let mut left = Vec::new();
        for number in (first..first + count).rev() {
            if !self.chunks[number].iter().any(leaves) {
                continue;
            }
            let members = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[number]);
            let mut of_chunk: Vec<_> = members.extract_if(.., |member| leaves(member)).collect();
            of_chunk.append(&mut left);
            left = of_chunk;
            self.close_up(number);
        }
        self.len -= left.len();
        left
    }

    /// Removes an empty chunk, and merges small neighbours.
    fn close_up(&mut self, number: usize) {
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks[number].is_empty() {
            chunks.remove(number);
            return;
        }
        let is_small = |next: &Chunk<H>| chunks[number].len() + next.len() <= CHUNK / 2;
        if chunks.get(number + 1).is_some_and(is_small) {
            let next = chunks.remove(number + 1);
            Arc::make_mut(&mut chunks[number]).extend(next.iter().cloned());
        }
    }
}

fn sort_key<H>(member: &Member<H>) -> Key {
    (member.user, member.session)
}

fn place<H>(chunk: &[Member<H>], key: Key) -> Result<usize, usize> {
    chunk.binary_search_by_key(&key, sort_key)
}

fn start_of<H>(chunk: &[Member<H>], user: UserId) -> usize {
    chunk.partition_point(|member| member.user < user)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const USERS: u128 = 40;

    fn key(user: u128, session: u128) -> Key {
        (UserId::new(Uuid::from_u128(user)), SessionId::new(Uuid::from_u128(session)))
    }

    fn member((user, session): Key) -> Member<()> {
        Member { user, session, device: "phone".parse().unwrap(), handle: () }
    }

    fn keys(members: &Members<()>) -> Vec<Key> {
        members.iter().map(sort_key).collect()
    }

    fn check(members: &Members<()>, expected: &BTreeSet<Key>) {
        assert_eq!(keys(members), expected.iter().copied().collect::<Vec<_>>());
        assert_eq!((members.len(), members.is_empty()), (expected.len(), expected.is_empty()));
        assert!(members.chunks().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
        for user in 0..USERS {
            let (user, _) = key(user, 0);
            assert_eq!(members.has(user), expected.iter().any(|(other, _)| *other == user));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn members_behave_like_a_sorted_list(
            operations in prop::collection::vec((0..USERS, 0..40_u128, prop::bool::weighted(0.7)), 0..3_000),
            emptied in prop::collection::vec(0..USERS, 0..40),
        ) {
            let (mut members, mut expected) = (Members::default(), BTreeSet::new());
            for (user, session, comes) in operations {
                let key = key(user, session);
                if comes {
                    assert_eq!(members.insert(member(key)), expected.insert(key));
                } else {
                    let left = members.remove(key.0, |other| other.session == key.1);
                    assert_eq!(!left.is_empty(), expected.remove(&key));
                }
                assert_eq!(members.contains(key), comes);
            }
            check(&members, &expected);
            let before = (members.clone(), keys(&members));
            for user in emptied {
                let (user, _) = key(user, 0);
                let left: Vec<Key> = members.remove(user, |_| true).iter().map(sort_key).collect();
                assert_eq!(left, expected.extract_if(.., |(other, _)| *other == user).collect::<Vec<_>>());
                check(&members, &expected);
            }
            assert_eq!(keys(&before.0), before.1, "a snapshot does not change");
        }
    }

    /// Copying all of them for each join and leave made that quadratic.
    #[test]
    fn a_change_copied_all_members_of_a_room() {
        let mut members = Members::default();
        (0..10_000).for_each(|number| {
            members.insert(member(key(number, 0)));
        });
        let before = members.clone();
        members.remove(key(5_000, 0).0, |_| true);
        members.insert(member(key(10_001, 0)));
        let shared = |chunk: &&Chunk<()>| before.chunks.iter().any(|other| Arc::ptr_eq(chunk, other));
        let copied: usize =
            members.chunks.iter().filter(|chunk| !shared(chunk)).map(|chunk| chunk.len()).sum();
        assert!(copied <= 2 * CHUNK, "{copied} were copied");
    }
}
