//! Texts that must not be logged.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// A token, code or password. `Debug` does not show it.
///
/// ```
/// use aldis_protocol::Secret;
/// let token = Secret::from("eyJ…");
/// assert_eq!(format!("{token:?}"), "Secret");
/// assert_eq!(token.expose(), "eyJ…");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<'a>(Cow<'a, str>);

impl Secret<'_> {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same, free of what it was read from.
    #[must_use]
    pub fn into_owned(self) -> Secret<'static> {
        Secret(Cow::Owned(self.0.into_owned()))
    }
}

impl<'a> From<&'a str> for Secret<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Secret<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
