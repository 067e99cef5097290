//! Who may reach whom: one pure function over facts that the caller looked up (docs/http.md, "Who may reach whom").

use aldis_protocol::api::ContactDecision;

/// Whom a user reaches without further ado.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Routing {
    /// His own devices, and whoever allowed him.
    Contacts,
    /// Everyone but the blocked.
    Open,
}

/// What somebody wants of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To hand him a signal.
    Signal,
    /// To leave him an encrypted message, or a receipt for one.
    Message,
    /// To see whether he is there.
    Presence,
}

/// Where one user stands towards another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stance {
    /// What he decided about the other.
    pub decision: Option<ContactDecision>,
    /// He sent the other a message or a contact request, and did not block him since.
    pub reached_out: bool,
}

/// What is known of somebody who wants to reach another, and of that other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Facts {
    /// They are devices of the same user.
    pub same_user: bool,
    /// Where who wants to reach stands towards the other.
    pub sender: Stance,
    /// Where the other stands towards him.
    pub target: Stance,
    /// The target's session made the sender's session an offer, and both last.
    pub offered: bool,
    /// Both have joined one private room. An invitation to it is not enough.
    pub share_private_room: bool,
    /// The sessions of both have joined one public room.
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
    /// Whether the target is open to whatever the sender wants.
    const fn are_acquainted(self) -> bool {
        self.same_user || self.share_private_room || self.target.allows() || self.target.reached_out
    }

    /// Whether what the two have at the moment is enough for this.
    const fn may_do(self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Signal => self.offered || self.share_public_room,
            Purpose::Message | Purpose::Presence => false,
        }
    }
}
