//! Who may reach the account.

use std::fmt;

use aldis_protocol::{
    ContactLabel, Fingerprint, UserId, UserRef,
    api::{Contact, ContactDecision, ContactList, RequestContact, SetContact},
};

use super::Account;
use crate::{
    AccountError,
    api::{Call, segment},
};

/// Room for the 7,000 contacts that an account may have.
const CONTACTS_BYTES: usize = 4 * 1024 * 1024;

/// The target of a contact request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A user, by id or by the fingerprint of their identity.
    User(UserRef),
    /// The user with this address. The answer does not reveal whether there is one.
    Email(String),
}

impl Account {
    /// The account's contacts: those it allowed or blocked, and requests in both directions.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn contacts(&self) -> Result<Vec<Contact>, AccountError> {
        let call = Call::get("/api/contacts").answer_up_to(CONTACTS_BYTES);
        let list: ContactList = self.call(call).await?.json()?;
        Ok(list.contacts)
    }

    /// Allows a user to signal this user, send them messages and see their presence.
    ///
    /// # Errors
    /// [`AccountError`]; an unknown user is [`ErrorCode::NotFound`](aldis_protocol::ErrorCode::NotFound).
    pub async fn allow(&self, user: impl Into<UserRef>) -> Result<(), AccountError> {
        self.decide(user.into(), ContactDecision::Allowed).await
    }

    /// Blocks a user: neither can reach the other.
    ///
    /// # Errors
    /// As [`allow`](Self::allow).
    pub async fn block(&self, user: impl Into<UserRef>) -> Result<(), AccountError> {
        self.decide(user.into(), ContactDecision::Blocked).await
    }

    /// Removes a decision about a user, and a request to or from them. An address removes only a request that was
    /// made by this address.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn remove_contact(&self, whom: impl Into<Whom>) -> Result<(), AccountError> {
        let whom = segment(&whom.into().to_string());
        self.call(Call::delete(format!("/api/contacts/{whom}"))).await.map(drop)
    }

    /// Asks a user to become a contact. Two users who ask each other allow each other.
    ///
    /// The answer does not say whether the user sees the request. A user has at most 20 pending requests, each until
    /// it is answered, removed by [`remove_contact`](Self::remove_contact) or 30 days old; further ones have no
    /// effect.
    ///
    /// ```no_run
    /// use aldis_client::{Account, Whom};
    ///
    /// # async fn example(account: &Account) -> Result<(), aldis_client::AccountError> {
    /// account.request_contact(Whom::Email("ann@example.org".to_owned())).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn request_contact(&self, whom: impl Into<Whom>) -> Result<(), AccountError> {
        self.ask(whom.into(), None).await
    }

    /// As [`request_contact`](Self::request_contact), with the name that this user calls themselves. The user who is
    /// asked sees it in [`Event::ContactRequest`](crate::Event::ContactRequest) and in their
    /// [`contacts`](Self::contacts).
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn request_contact_as(
        &self,
        whom: impl Into<Whom>,
        label: ContactLabel,
    ) -> Result<(), AccountError> {
        self.ask(whom.into(), Some(label)).await
    }

    async fn ask(&self, whom: Whom, label: Option<ContactLabel>) -> Result<(), AccountError> {
        let path = format!("/api/contacts/{}/request", segment(&whom.to_string()));
        self.call(Call::post(path).json(&RequestContact { label })?).await.map(drop)
    }

    async fn decide(&self, user: UserRef, state: ContactDecision) -> Result<(), AccountError> {
        self.call(Call::put(contact(&user)).json(&SetContact { state })?).await.map(drop)
    }
}

fn contact(user: &UserRef) -> String {
    format!("/api/contacts/{user}")
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Email(email) => f.write_str(email),
        }
    }
}

impl From<UserRef> for Whom {
    fn from(user: UserRef) -> Self {
        Self::User(user)
    }
}

impl From<UserId> for Whom {
    fn from(user: UserId) -> Self {
        Self::User(user.into())
    }
}

impl From<Fingerprint> for Whom {
    fn from(fingerprint: Fingerprint) -> Self {
        Self::User(fingerprint.into())
    }
}
