//! Encrypted messages: sent to others, and acknowledged.

use aldis_protocol::{
    Ack, ClientMessage, Delivered, EncryptedMessage, MessageId, Read, Sync, Synced, UserRef,
    limits::{MAX_ENCRYPTED_CONTENT_BYTES, MAX_IDS_PER_RECEIPT},
};

use tokio::sync::watch;

use crate::{Client, Reply, RequestError};

impl Client {
    /// Sends what only the recipient can read, at most 48,000 bytes, to their mailbox. The [`Ack`] comes once it is on
    /// the server's disk, with its `message_id` and its number (`seq`) in the own mailbox. Encryption is the
    /// application's: the server, and this library, see bytes.
    ///
    /// Sent again after a break, it is still stored once, provided that the device is a registered one: an ephemeral
    /// one is another in each session.
    ///
    /// ```no_run
    /// use aldis_client::{Client, protocol::UserRef};
    ///
    /// # async fn example(client: &Client, recipient: UserRef, sealed: &[u8]) -> Result<(), aldis_client::RequestError> {
    /// let ack = client.send_message(recipient, sealed).await?;
    /// println!("stored as {:?}", ack.message_id);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`]; [`ErrorCode::MailboxFull`](aldis_protocol::ErrorCode::MailboxFull) where the recipient does not
    /// fetch their messages.
    pub async fn send_message(
        &self,
        recipient: UserRef,
        encrypted_content: &[u8],
    ) -> Result<Ack<'static>, RequestError> {
        if encrypted_content.len() > MAX_ENCRYPTED_CONTENT_BYTES {
            return Err(RequestError::TooLarge);
        }
        let message = EncryptedMessage { recipient, encrypted_content: encrypted_content.into() };
        self.acked(ClientMessage::Message(message)).await
    }

    /// Up to which number the application has its mailbox: all that was received is handled, all that was sent
    /// acknowledged. None without [`Options::mailbox`](crate::Options::mailbox).
    #[must_use]
    pub fn mailbox_cursor(&self) -> Option<u64> {
        *self.0.mailbox_cursor.borrow()
    }

    /// The same as it changes. Only the latest is kept.
    #[must_use]
    pub fn watch_mailbox_cursor(&self) -> watch::Receiver<Option<u64>> {
        self.0.mailbox_cursor.clone()
    }

    /// Says that messages were read; their senders are told. Each batch of 500 is taken whole or not at all.
    ///
    /// ```no_run
    /// use aldis_client::{Client, protocol::MessageId};
    ///
    /// # async fn example(client: &Client, message_id: MessageId) -> Result<(), aldis_client::RequestError> {
    /// client.read(&[message_id]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`]: [`ErrorCode::UnknownMessage`](aldis_protocol::ErrorCode::UnknownMessage) where one was not
    /// addressed to this user.
    pub async fn read(&self, message_ids: &[MessageId]) -> Result<(), RequestError> {
        for message_ids in message_ids.chunks(MAX_IDS_PER_RECEIPT) {
            self.acked(ClientMessage::Read(Read { message_ids: message_ids.to_vec() })).await?;
        }
        Ok(())
    }

    /// Says that messages arrived. With [`Options::mailbox`](crate::Options::mailbox) the client says so itself.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn delivered(&self, message_ids: &[MessageId]) -> Result<(), RequestError> {
        for message_ids in message_ids.chunks(MAX_IDS_PER_RECEIPT) {
            self.acked(ClientMessage::Delivered(Delivered { message_ids: message_ids.to_vec() })).await?;
        }
        Ok(())
    }

    /// Asks for the mailbox behind a number, at most 500 messages at a time; they come as
    /// [`Event::Message`](crate::Event::Message). All up to that number counts as delivered from then on.
    ///
    /// # Errors
    /// [`RequestError`]; [`RequestError::Reserved`] with [`Options::mailbox`](crate::Options::mailbox), where the client
    /// does so itself.
    pub async fn sync(&self, since_seq: u64, limit: Option<u32>) -> Result<Synced, RequestError> {
        let reply = self.request(ClientMessage::Sync(Sync { since_seq, limit })).await?;
        if let Reply::Synced(synced) = reply { Ok(synced) } else { Err(RequestError::UnexpectedReply) }
    }
}
