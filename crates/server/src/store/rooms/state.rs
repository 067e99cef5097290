//! State documents of rooms.

use aldis_protocol::{Payload, RoomId, UserId};
use bytes::Bytes;
use uuid::Uuid;

use super::lock;
use crate::store::{
    Credential, Store, StoreError,
    db::{Tx, within},
    row,
};

/// A room's state document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateDocument {
    /// How often the state was set.
    pub(crate) revision: u64,
    /// The document.
    pub(crate) state: Payload<'static>,
}

/// The revisions of a room's state that may be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revisions {
    /// Any, if a state was set.
    Any,
    /// One of these.
    OneOf(Vec<u64>),
}

/// The outcome of setting a state. Only the first changed anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StateChange {
    /// The state was set.
    Set(StateDocument),
    /// The room does not exist, or the user may not enter it.
    UnknownRoom,
    /// The user may enter the room, but not set its state.
    Forbidden,
    /// The current revision is not one of those expected.
    PreconditionFailed,
}

impl StateDocument {
    /// The state of a room without a document.
    pub(crate) fn none() -> Self {
        Self { revision: 0, state: Payload::null() }
    }
}

impl Revisions {
    fn include(&self, revision: u64) -> bool {
        match self {
            Self::Any => revision > 0,
            Self::OneOf(revisions) => revisions.contains(&revision),
        }
    }
}

impl Store {
    /// Replaces the state of a room if its current revision is one of `expected`; 0 means that there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn set_room_state(
        &self,
        credential: &Credential,
        room: &RoomId,
        state: &str,
        expected: &Revisions,
    ) -> Result<StateChange, StoreError> {
        let mut tx = self.begin_for(credential).await?;
        let outcome = set_state(&mut tx, room, credential.user, state, expected).await?;
        tx.end(matches!(outcome, StateChange::Set(_))).await?;
        Ok(outcome)
    }
}

/// The columns of a state; null if none was set.
#[derive(sqlx::FromRow)]
pub(super) struct StateRow {
    revision: Option<i64>,
    state: Option<String>,
}

impl TryFrom<StateRow> for StateDocument {
    type Error = StoreError;

    fn try_from(row: StateRow) -> Result<Self, StoreError> {
        let (Some(revision), Some(state)) = (row.revision, row.state) else { return Ok(Self::none()) };
        let state = Payload::from_bytes(Bytes::from(state)).map_err(row::unreadable)?;
        Ok(Self { revision: row::number(revision)?, state })
    }
}

async fn set_state(
    tx: &mut Tx,
    room: &RoomId,
    user: UserId,
    state: &str,
    expected: &Revisions,
) -> Result<StateChange, StoreError> {
    let Some(access) = lock(tx, room, user).await?.filter(|access| access.may_look()) else {
        return Ok(StateChange::UnknownRoom);
    };
    if !access.may_set_state(user) {
        return Ok(StateChange::Forbidden);
    }
    let revision = revision(tx, access.room_id).await?;
    if !expected.include(row::number(revision)?) {
        return Ok(StateChange::PreconditionFailed);
    }
    let upsert = "INSERT INTO room_states (room_id, revision, state) VALUES ($1, $2, $3) \
         ON CONFLICT (room_id) DO UPDATE SET revision = excluded.revision, state = excluded.state";
    within!(tx, connection => {
        let query = sqlx::query(upsert).bind(access.room_id).bind(revision + 1).bind(state);
        query.execute(connection).await?;
    });
    let row = StateRow { revision: Some(revision + 1), state: Some(state.to_owned()) };
    Ok(StateChange::Set(row.try_into()?))
}

async fn revision(tx: &mut Tx, room_id: Uuid) -> Result<i64, StoreError> {
    let select = "SELECT revision FROM room_states WHERE room_id = $1";
    let found: Option<i64> = within!(tx, connection => {
        sqlx::query_scalar(select).bind(room_id).fetch_optional(connection).await?
    });
    Ok(found.unwrap_or_default())
}
