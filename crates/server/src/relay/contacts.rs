//! Contacts: who may signal a user, message them and see their presence.

use std::fmt;

use aldis_protocol::{
    ErrorCode, Hash, UserId, UserRef,
    api::{ContactDecision, ContactList, RequestContact},
};

use super::{Relay, decoy::decoy};
use crate::{
    accounts::Caller,
    clock::Now,
    email,
    refusal::Refusal,
    store::{Decided, NewRequest},
};

const NO_SUCH_USER: Refusal = Refusal::new(ErrorCode::NotFound, "there is no such user");
const NO_TARGET: Refusal =
    Refusal::new(ErrorCode::BadRequest, "a request is for a user id, a fingerprint or an email address");
const ONESELF: Refusal = Refusal::new(ErrorCode::BadRequest, "you cannot be your own contact");
const TOO_MANY: Refusal =
    Refusal::new(ErrorCode::Conflict, "you have as many contacts as may be; remove some first");

/// The target of a contact request, as the requesting user typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContactTarget {
    /// By user id or fingerprint.
    User(UserRef),
    /// By the address of an account, in lower case.
    Address(String),
}

impl ContactTarget {
    /// A hash of what the user typed. It identifies their request and says nothing about its target.
    fn typed_by(&self, user: UserId) -> [u8; 32] {
        Hash::of(format!("aldis contact request\0{user}\0{self}").as_bytes()).0
    }

    /// Reads a user id, a fingerprint or an address.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map(Self::User).or_else(|_| email::canonical(text).map(Self::Address).ok_or(NO_TARGET))
    }
}

impl fmt::Display for ContactTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Address(address) => f.write_str(address),
        }
    }
}

impl Relay {
    /// The caller's contacts.
    pub(crate) async fn contacts(&self, caller: &Caller, now: Now) -> Result<ContactList, Refusal> {
        Ok(ContactList { contacts: self.store.contacts_of(caller.user, now.store_ms()).await? })
    }

    /// Allows or blocks a user: at once on this node, within a second on all others.
    pub(crate) async fn set_contact(
        &self,
        caller: &Caller,
        peer: UserRef,
        decision: ContactDecision,
        now: Now,
    ) -> Result<(), Refusal> {
        let peer = self.find_user(peer).await?.ok_or(NO_SUCH_USER)?;
        if peer == caller.user {
            return Err(ONESELF);
        }
        let decided = self.store.decide_contact(&caller.credential(), peer, decision, now.store_ms()).await;
        self.relation_was_changed(caller.user, peer).await;
        match decided? {
            Decided::Done => Ok(()),
            Decided::NoSuchUser => Err(NO_SUCH_USER),
            Decided::TooMany => Err(TOO_MANY),
        }
    }

    /// Removes a decision about a user, or a request to them. An address removes only a request that was made by that
    /// address, so the answer does not reveal whose address it is.
    pub(crate) async fn remove_contact(
        &self,
        caller: &Caller,
        whom: &ContactTarget,
        now: Now,
    ) -> Result<(), Refusal> {
        let (from, typed, by) = (caller.user, whom.typed_by(caller.user), caller.credential());
        let (to, by_address) = self.who_is_asked(from, whom).await?;
        let forgotten = match by_address {
            true => self.store.take_back_request(&by, to, &typed, now.store_ms()).await,
            false => self.store.forget_contact(&by, to, &typed, now.store_ms()).await,
        };
        self.relation_was_changed(from, to).await;
        Ok(forgotten?)
    }

    /// Asks a user to become a contact. The work and the answer are the same whether the user exists, is a contact
    /// already, has blocked the caller or sees the request.
    pub(crate) async fn request_contact(
        &self,
        caller: &Caller,
        whom: &ContactTarget,
        request: RequestContact,
        now: Now,
    ) -> Result<(), Refusal> {
        let from = caller.user;
        let (to, by_address) = self.who_is_asked(from, whom).await?;
        if to == from {
            return Ok(());
        }
        let typed = whom.typed_by(from);
        let request = NewRequest { from, to, typed, by_address, label: request.label };
        let by = caller.credential();
        let is_told = self.store.request_contact(&by, &request, now.store_ms()).await;
        self.relation_was_changed(from, to).await;
        if is_told? {
            self.accounts.notices.tell_soon(to, &request.notice(), now);
        }
        Ok(())
    }

    /// The user who is asked, and whether the caller must not learn who they are. If there is no such user, a decoy.
    async fn who_is_asked(&self, from: UserId, whom: &ContactTarget) -> Result<(UserId, bool), Refusal> {
        let (found, by_address) = match whom {
            ContactTarget::User(user) => (self.find_user(*user).await?, false),
            ContactTarget::Address(email) => {
                let account = self.store.find_email_account(email).await?;
                (account.map(|account| account.user_id), true)
            }
        };
        Ok(match found {
            Some(user) => (user, by_address),
            None => (decoy(from, &whom.to_string()), true),
        })
    }

    /// The user whom a reference names. Any id is accepted as a user's.
    async fn find_user(&self, user: UserRef) -> Result<Option<UserId>, Refusal> {
        match user {
            UserRef::Id(id) => Ok(Some(id)),
            UserRef::Fingerprint(fingerprint) => {
                let identity = self.store.identity_of_fingerprint(fingerprint).await?;
                Ok(identity.map(|identity| identity.user_id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_an_id_a_fingerprint_or_an_address() {
        let id = "6a3803d5-f059-902a-1c6d-afbc9ba47292";
        assert!(matches!(ContactTarget::parse(id), Ok(ContactTarget::User(UserRef::Id(_)))));
        assert!(matches!(
            ContactTarget::parse(&"0a".repeat(32)),
            Ok(ContactTarget::User(UserRef::Fingerprint(_)))
        ));
        assert_eq!(
            ContactTarget::parse("Ann@Example.test"),
            Ok(ContactTarget::Address("ann@example.test".into()))
        );
        for bad in ["", "ann", "a b@c", "@"] {
            assert_eq!(
                ContactTarget::parse(bad).map_err(|refusal| refusal.code),
                Err(ErrorCode::BadRequest),
                "{bad:?}"
            );
        }
    }
}
