//! The presence of this device, and subscriptions to that of others.

use aldis_protocol::{
    ClientMessage, PresenceSubscribe, PresenceUnsubscribe, SetPresence, Status, UserRef,
    limits::MAX_USERS_PER_SUBSCRIBE,
};

use crate::{Client, PresenceEvent, RequestError, Subscription};

impl Client {
    /// How this device shows itself, with a note of at most 140 characters. A fresh session would be online again; the
    /// client says in it what was said last.
    ///
    /// ```no_run
    /// use aldis_client::{Client, protocol::Status};
    ///
    /// # async fn example(client: &Client) -> Result<(), aldis_client::RequestError> {
    /// client.set_presence(Status::Away, Some("lunch")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn set_presence(&self, status: Status, note: Option<&str>) -> Result<(), RequestError> {
        let presence = SetPresence { status, note: note.map(Into::into) };
        self.acked(ClientMessage::Presence(presence)).await.map(drop)
    }

    /// Watches users, at most 500 in all: [`Event::Presence`](crate::Event::Presence) tells the presence of each, now
    /// and at each change, over breaks and sessions. Above 100 users it takes several requests, and one that fails ends
    /// it.
    ///
    /// # Errors
    /// [`RequestError`]; [`ErrorCode::Conflict`](aldis_protocol::ErrorCode::Conflict) for the 501st.
    pub async fn subscribe_presence(&self, users: &[UserRef]) -> Result<(), RequestError> {
        for users in users.chunks(MAX_USERS_PER_SUBSCRIBE) {
            let message = PresenceSubscribe { user_ids: users.to_vec() };
            self.acked(ClientMessage::PresenceSubscribe(message)).await?;
        }
        Ok(())
    }

    /// How watched users show themselves, as a stream of its own. While it is held,
    /// [`Event::Presence`](crate::Event::Presence) is not told in [`Events`](crate::Events).
    ///
    /// ```no_run
    /// use aldis_client::{Client, PresenceEvent, protocol::UserRef};
    ///
    /// # async fn example(client: Client, user: UserRef) -> Result<(), aldis_client::RequestError> {
    /// let mut presence = client.presence();
    /// client.subscribe_presence(&[user]).await?;
    /// while let Some(PresenceEvent::Changed(presence)) = presence.next().await {
    ///     println!("{} is {}", presence.user_id, presence.status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn presence(&self) -> Subscription<PresenceEvent> {
        self.0.streams.presence()
    }

    /// Watches users no more. They are to be named as they were for [`subscribe_presence`](Self::subscribe_presence):
    /// the client does not know that an id and a fingerprint mean the same user.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn unsubscribe_presence(&self, users: &[UserRef]) -> Result<(), RequestError> {
        for users in users.chunks(MAX_USERS_PER_SUBSCRIBE) {
            let message = PresenceUnsubscribe { user_ids: users.to_vec() };
            self.acked(ClientMessage::PresenceUnsubscribe(message)).await?;
        }
        Ok(())
    }
}
