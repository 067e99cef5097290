//! Rooms: being in them, saying something, reading back.

use aldis_client_core::OutgoingRequest;
use aldis_protocol::{
    Ack, Broadcast, ChatContent, ChatMessage, ClientMessage, History, HistoryRequest, Join, Leave, Payload,
    RequestId, RoomId,
};
use uuid::Uuid;

use crate::{Client, Reply, RequestError, RoomEvent, Since, Subscription};

/// A room, as one client uses it. Cheap to clone; dropping it changes nothing.
///
/// ```no_run
/// use aldis_client::{Client, RoomEvent, Since};
///
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let room = client.room(&"recipe-7".parse()?);
/// let mut messages = room.messages();
/// room.join(Since::Seq(0)).await?;
/// room.chat("more salt").await?;
/// while let Some(event) = messages.next().await {
///     match event {
///         RoomEvent::Chat(chat) => println!("{}: {:?}", chat.chat.seq, chat.content()),
///         RoomEvent::Lagged(missed) => println!("too slow: {missed} dropped"),
///         other => println!("{other:?}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Room {
    client: Client,
    id: RoomId,
}

impl Room {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &RoomId {
        &self.id
    }

    /// What happens in the room, as a stream of its own: messages, members, broadcasts and the room's state. It begins
    /// with what happens from now on, so it is taken before [`join`](Self::join).
    ///
    /// While it is held, the room is not told in [`Events`](crate::Events). Several streams each get everything.
    #[must_use]
    pub fn messages(&self) -> Subscription<RoomEvent> {
        self.client.0.streams.room(&self.id)
    }

    /// Enters the room, as [`Client::join`].
    ///
    /// # Errors
    /// As [`Client::join`].
    pub async fn join(&self, since: Since) -> Result<(), RequestError> {
        self.client.join(&self.id, since).await
    }

    /// Leaves the room, as [`Client::leave`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn leave(&self) -> Result<(), RequestError> {
        self.client.leave(&self.id).await
    }

    /// Says something; the [`Ack`] has its number, as [`Client::chat`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn chat(&self, content: &str) -> Result<Ack<'static>, RequestError> {
        self.client.chat(&self.id, content).await
    }

    /// Says something to those who are there at the moment, as [`Client::broadcast`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn broadcast(&self, payload: Payload<'_>) -> Result<Ack<'static>, RequestError> {
        self.client.broadcast(&self.id, payload).await
    }

    /// Reads back, as [`Client::history`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn history(
        &self,
        since_seq: u64,
        limit: Option<u32>,
    ) -> Result<History<'static>, RequestError> {
        self.client.history(&self.id, since_seq, limit).await
    }
}

impl Client {
    /// A handle for one room, with a stream of its own. Nothing is sent before [`Room::join`].
    #[must_use]
    pub fn room(&self, room: &RoomId) -> Room {
        Room { client: self.clone(), id: room.clone() }
    }

    /// Enters a room and stays in it over breaks and sessions, until [`leave`](Self::leave), a removal
    /// ([`MemberLeft`](aldis_protocol::MemberLeft) of this device) or [`Event::NotRestored`](crate::Event::NotRestored).
    /// What is said there comes as [`Event::Chat`](crate::Event::Chat): each message once, in the order of its numbers
    /// and without a gap, from the point on that `since` names. In a room that it is in, joining changes nothing.
    ///
    /// To go on where a former run was, keep the `seq` of each message, and name the last. What this device said in the
    /// meantime comes as well then, and can be told by its sender.
    ///
    /// ```no_run
    /// use aldis_client::{Client, Since, protocol::RoomId};
    ///
    /// # async fn example(client: &Client, room: RoomId) -> Result<(), aldis_client::RequestError> {
    /// // From the first message that the server keeps; afterwards from the last one that was stored here.
    /// client.join(&room, Since::Seq(0)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`]: [`ErrorCode::UnknownRoom`](aldis_protocol::ErrorCode::UnknownRoom) for a room that is not
    /// there or not open, [`ErrorCode::Conflict`](aldis_protocol::ErrorCode::Conflict) for the 101st.
    pub async fn join(&self, room: &RoomId, since: Since) -> Result<(), RequestError> {
        let message = ClientMessage::Join(Join { room: Some(room.clone()) });
        let id = RequestId::from_uuid(Uuid::now_v7());
        let request = OutgoingRequest::new(self.0.codec, id, message)?.since(since);
        self.ask(request).await.map(drop)
    }

    /// Leaves a room; its messages are told no more. One that it is not in is left at once.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn leave(&self, room: &RoomId) -> Result<(), RequestError> {
        self.acked(ClientMessage::Leave(Leave { room: Some(room.clone()) })).await.map(drop)
    }

    /// Says something in a room; it is stored and numbered. The [`Ack`] has its number (`seq`).
    ///
    /// ```no_run
    /// use aldis_client::{Client, protocol::RoomId};
    ///
    /// # async fn example(client: &Client, room: RoomId) -> Result<(), aldis_client::RequestError> {
    /// let ack = client.chat(&room, "more salt").await?;
    /// println!("stored as number {:?}", ack.seq);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn chat(&self, room: &RoomId, content: &str) -> Result<Ack<'static>, RequestError> {
        let payload =
            Payload::of(&ChatContent { content: content.into() }).map_err(|_| RequestError::TooLarge)?;
        self.acked(ClientMessage::ChatMessage(ChatMessage { room: Some(room.clone()), payload })).await
    }

    /// Says something to those who are in a room at the moment; it is neither stored nor numbered.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn broadcast(&self, room: &RoomId, payload: Payload<'_>) -> Result<Ack<'static>, RequestError> {
        self.acked(ClientMessage::Broadcast(Broadcast { room: Some(room.clone()), payload })).await
    }

    /// Reads what was said in a room behind a number, at most 500 messages at a time: to look back. What is new comes
    /// by itself, whatever is read here.
    ///
    /// ```no_run
    /// use aldis_client::{Client, protocol::RoomId};
    ///
    /// # async fn example(client: &Client, room: RoomId) -> Result<(), aldis_client::RequestError> {
    /// let page = client.history(&room, 0, Some(50)).await?;
    /// println!("{} messages, up to {:?}", page.messages.len(), page.last_seq);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn history(
        &self,
        room: &RoomId,
        since_seq: u64,
        limit: Option<u32>,
    ) -> Result<History<'static>, RequestError> {
        let request = HistoryRequest { room: Some(room.clone()), since_seq, limit };
        let reply = self.request(ClientMessage::History(request)).await?;
        if let Reply::History(history) = reply { Ok(history) } else { Err(RequestError::UnexpectedReply) }
    }
}
