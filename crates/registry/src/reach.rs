//! Who may reach whom: one pure function over facts that the caller looked up (http.md, "Who may reach whom").

/// Whom a user reaches without further ado.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Routing {
    /// His own devices, and whoever allowed him.
    Contacts,
    /// Everyone.
    Open,
}

/// What is known of a sender and a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// They are devices of the same user.
    pub same_user: bool,
}

/// Whether the sender may signal the target.
///
/// ```
/// use aldis_registry::{Facts, Routing, may_signal};
/// let strangers = Facts { same_user: false };
/// assert!(!may_signal(Routing::Contacts, strangers));
/// assert!(may_signal(Routing::Open, strangers));
/// ```
#[must_use]
pub const fn may_signal(routing: Routing, facts: Facts) -> bool {
    match routing {
        Routing::Contacts => facts.same_user,
        Routing::Open => true,
    }
}
