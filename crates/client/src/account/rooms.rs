//! Rooms that others put the account in.

use aldis_protocol::{
    RoomId,
    api::{RoomInvitation, RoomInvitations},
};

use super::Account;
use crate::{AccountError, api::Call};

/// Room for the 1,000 invitations that wait for an account at most.
const INVITATIONS_BYTES: usize = 1024 * 1024;

impl Account {
    /// The private rooms that others put this user in and that they have not joined yet, the oldest first.
    /// [`Client::join`](crate::Client::join) accepts an invitation.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn room_invitations(&self) -> Result<Vec<RoomInvitation>, AccountError> {
        let call = Call::get("/api/rooms/invitations").answer_up_to(INVITATIONS_BYTES);
        let list: RoomInvitations = self.call(call).await?.json()?;
        Ok(list.invitations)
    }

    /// Declines an invitation. For 30 days its owner cannot add this user to any room of theirs, unless this user
    /// [allows](Self::allow) them.
    ///
    /// # Errors
    /// [`AccountError`]; an unknown invitation is [`ErrorCode::UnknownRoom`](aldis_protocol::ErrorCode::UnknownRoom).
    pub async fn decline_invitation(&self, room: &RoomId) -> Result<(), AccountError> {
        self.leave_for_good(room).await
    }

    /// Ends this user's membership of a room; their sessions leave it. For 30 days its owner cannot add them to it
    /// again, unless this user [allows](Self::allow) the owner.
    ///
    /// # Errors
    /// [`AccountError`]; a room that this user is no member of is
    /// [`ErrorCode::UnknownRoom`](aldis_protocol::ErrorCode::UnknownRoom), a public one
    /// [`ErrorCode::Forbidden`](aldis_protocol::ErrorCode::Forbidden).
    pub async fn leave_for_good(&self, room: &RoomId) -> Result<(), AccountError> {
        self.call(Call::delete(format!("/api/rooms/{room}/members/{}", self.user_id()))).await.map(drop)
    }
}
