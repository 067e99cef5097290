//! Who may reach the account.

use std::fmt;

use aldis_protocol::{
    Fingerprint, UserId, UserRef,
    api::{Contact, ContactDecision, ContactList, SetContact},
};

use super::Account;
use crate::{
    AccountError,
    api::{Call, segment},
};

/// Room for the 7,000 contacts that an account may have.
const CONTACTS_BYTES: usize = 4 * 1024 * 1024;

/// Somebody who is asked to become a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A user, by id or by the fingerprint of his identity.
    User(UserRef),
    /// Whoever has this address. Whether anybody does, nobody learns.
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

    /// Lets somebody signal this user, message him and see his presence.
    ///
    /// # Errors
    /// [`AccountError`]; somebody who is not there is [`ErrorCode::NotFound`](aldis_protocol::ErrorCode::NotFound).
    pub async fn allow(&self, user: impl Into<UserRef>) -> Result<(), AccountError> {
        self.decide(user.into(), ContactDecision::Allowed).await
    }

    /// Shuts both ways between this user and somebody.
    ///
    /// # Errors
    /// As [`allow`](Self::allow).
    pub async fn block(&self, user: impl Into<UserRef>) -> Result<(), AccountError> {
        self.decide(user.into(), ContactDecision::Blocked).await
    }

    /// Takes back what was decided about somebody, and a request to or from him.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn remove_contact(&self, user: impl Into<UserRef>) -> Result<(), AccountError> {
        self.call(Call::delete(contact(&user.into()))).await.map(drop)
    }

    /// Asks somebody to allow this user. The answer is the same whether or not he is there; two that ask each other
    /// allow each other.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn request_contact(&self, whom: impl Into<Whom>) -> Result<(), AccountError> {
        let whom = segment(&whom.into().to_string());
        self.call(Call::post(format!("/api/contacts/{whom}/request"))).await.map(drop)
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
