//! The contacts of a user: who may signal them, message them and see their presence.

// Exhaustive on purpose, every type of this file: the caller or the server builds a body in full, and decides about each
// member.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::{ContactLabel, Fingerprint, Timestamp, UserId, names::names};

/// `PUT /api/contacts/{user}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetContact {
    /// What the caller decides about the user.
    pub state: ContactDecision,
}

/// `POST /api/contacts/{user}/request`. The body may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RequestContact {
    /// What the caller calls themselves, shown to the user who is asked. An empty text is none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "label")]
    pub label: Option<ContactLabel>,
}

fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ContactLabel>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// A contact, as the user whose it is sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contact {
    /// Who.
    pub user_id: UserId,
    /// Their identity, if they have one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub fingerprint: Option<Fingerprint>,
    /// What they called themselves when they asked. Nobody has checked it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub label: Option<ContactLabel>,
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
        /// They may signal and message the user, and see the user's presence.
        Allowed = "allowed",
        /// Neither can reach the other.
        Blocked = "blocked",
    }
}

names! {
    /// How a contact stands with a user.
    open ContactState {
        /// They may signal and message the user, and see the user's presence.
        Allowed = "allowed",
        /// Neither can reach the other.
        Blocked = "blocked",
        /// They asked to be allowed.
        Incoming = "incoming",
        /// They were asked.
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
