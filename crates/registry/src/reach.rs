//! Who may reach whom: one pure function over facts that the caller looked up (docs/http.md, "Who may reach whom").

use aldis_protocol::api::ContactDecision;

/// Whom users can reach by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Routing {
    /// Their own devices, and users who have allowed them.
    Contacts,
    /// Everyone who has not blocked them.
    Open,
}

/// Why a user wants to reach another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To send a signal.
    Signal,
    /// To send an encrypted message, or a receipt for one.
    Message,
    /// To see the presence.
    Presence,
}

/// One user's stance towards another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stance {
    /// What the user decided about the other.
    pub decision: Option<ContactDecision>,
    /// The user sent the other a message or a contact request, and has not blocked them since.
    pub reached_out: bool,
}

/// The facts about a sender and a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Facts {
    /// They are devices of the same user.
    pub same_user: bool,
    /// The sender's stance towards the target.
    pub sender: Stance,
    /// The target's stance towards the sender.
    pub target: Stance,
    /// The target's session sent the sender's session an offer, and both sessions still exist.
    pub offered: bool,
    /// Both have joined the same private room. An invitation is not enough.
    pub share_private_room: bool,
    /// The sessions of both have joined the same public room.
    pub share_public_room: bool,
}

/// Whether the sender may reach the target.
///
/// ```
/// use aldis_protocol::api::ContactDecision;
/// use aldis_registry::{Facts, Purpose, Routing, Stance, may_reach};
///
/// let strangers = Facts::default();
/// assert!(!may_reach(Routing::Contacts, Purpose::Signal, strangers));
/// assert!(may_reach(Routing::Open, Purpose::Signal, strangers));
///
/// let allows = Stance { decision: Some(ContactDecision::Allowed), reached_out: false };
/// let allowed = Facts { target: allows, ..strangers };
/// assert!(may_reach(Routing::Contacts, Purpose::Presence, allowed));
/// ```
#[must_use]
pub const fn may_reach(routing: Routing, purpose: Purpose, facts: Facts) -> bool {
    if facts.sender.blocks() || facts.target.blocks() {
        return false;
    }
    match routing {
        Routing::Open => true,
        Routing::Contacts => facts.are_acquainted() || facts.may_do(purpose),
    }
}

impl Stance {
    /// Whether this user has allowed the other.
    #[must_use]
    pub const fn allows(self) -> bool {
        matches!(self.decision, Some(ContactDecision::Allowed))
    }

    const fn blocks(self) -> bool {
        matches!(self.decision, Some(ContactDecision::Blocked))
    }
}

impl Facts {
    /// Whether the facts permit every purpose.
    const fn are_acquainted(self) -> bool {
        self.same_user || self.share_private_room || self.target.allows() || self.target.reached_out
    }

    /// Whether the current sessions permit this purpose.
    const fn may_do(self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Signal => self.offered || self.share_public_room,
            Purpose::Message | Purpose::Presence => false,
        }
    }
}
