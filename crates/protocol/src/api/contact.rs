//! The contacts of a user: who may signal him, message him and see his presence.

use serde::{Deserialize, Serialize};

use crate::{Fingerprint, Timestamp, UserId, names::names};

/// `PUT /api/contacts/{user}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetContact {
    /// What the caller decides about the user.
    pub state: ContactDecision,
}

/// A contact, as the user whose it is sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contact {
    /// Who.
    pub user_id: UserId,
    /// His identity, if he has one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub fingerprint: Option<Fingerprint>,
    /// How the two stand.
    pub state: ContactState,
    /// Since when.
    pub since: Timestamp,
}

/// What `GET /api/contacts` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContactList {
    /// The caller's, those of the longest standing first.
    pub contacts: Vec<Contact>,
}

names! {
    /// What a user decided about another.
    ContactDecision {
        /// He may signal, message, and see the presence.
        Allowed = "allowed",
        /// Neither reaches the other.
        Blocked = "blocked",
    }
}

names! {
    /// How a contact stands with a user.
    #[non_exhaustive]
    ContactState {
        /// He may signal, message, and see the presence.
        Allowed = "allowed",
        /// Neither reaches the other.
        Blocked = "blocked",
        /// He asked to be allowed.
        Incoming = "incoming",
        /// He was asked.
        Outgoing = "outgoing",
    }
}

impl From<ContactDecision> for ContactState {
    fn from(decision: ContactDecision) -> Self {
        match decision {
            ContactDecision::Allowed => Self::Allowed,
            ContactDecision::Blocked => Self::Blocked,
        }
    }
}
