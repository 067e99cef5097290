//! What `aldis accounts …` is asked to do, and how it names an account.

use std::{convert::Infallible, path::PathBuf, str::FromStr};

use aldis_protocol::UserRef;

use super::Config;
use crate::email;

/// A command for the accounts of one database: `accounts_cli` runs it.
#[derive(Debug)]
pub struct AccountsJob {
    pub(crate) config: Config,
    pub(crate) command: AccountsCommand,
    /// Print JSON.
    pub(crate) json: bool,
}

/// What to do to the accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccountsCommand {
    /// Create an account with this address, in lower case, and a password from standard input.
    Create(String),
    /// List all accounts.
    List,
    /// Prevent an account from signing in, and end its sessions.
    Disable(AccountName),
    /// Let an account sign in again.
    Enable(AccountName),
    /// Set a new password, read from standard input, and revoke the account's sign-ins.
    SetPassword(AccountName),
    /// Remove the second factor.
    RemoveTotp(AccountName),
    /// Revoke the account's sign-ins, and end its sessions.
    Revoke(AccountName),
    /// Create accounts from addresses and password hashes.
    Import(Source),
}

/// How an operator names an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccountName {
    /// Its address, in lower case.
    Email(String),
    /// Its user id, or the fingerprint of its identity.
    User(UserRef),
}

/// Where an import reads its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Standard input, written `-`.
    StandardInput,
    /// A file.
    File(PathBuf),
}

/// The text names no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an account is named by its email address, its user id or the fingerprint of its identity")]
pub(crate) struct NoAccountName;

/// The text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address has one @, no blanks or invisible characters, and at most 254 bytes")]
pub(crate) struct NoAddress;

impl FromStr for AccountName {
    type Err = NoAccountName;

    fn from_str(text: &str) -> Result<Self, NoAccountName> {
        let by_user = || text.parse().map(Self::User).map_err(|_| NoAccountName);
        email::canonical(text).map(Self::Email).map_or_else(by_user, Ok)
    }
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::StandardInput } else { Self::File(text.into()) })
    }
}

/// Parses the address of a new account.
pub(crate) fn parse_address(text: &str) -> Result<String, NoAddress> {
    email::of_new_account(text).ok_or(NoAddress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_three_kinds_of_names() {
        let name = |text: &str| text.parse::<AccountName>();
        assert_eq!(name("Ann@Example.test"), Ok(AccountName::Email("ann@example.test".into())));
        let id = "0198c0de-0000-7000-8000-000000000001";
        assert!(matches!(name(id), Ok(AccountName::User(UserRef::Id(_)))));
        assert!(matches!(name(&"ab".repeat(32)), Ok(AccountName::User(UserRef::Fingerprint(_)))));
        for bad in ["", "ann", "-", "ann@", &"ab".repeat(31), "0198c0de-0000-7000-8000"] {
            assert_eq!(name(bad), Err(NoAccountName), "{bad:?}");
        }
    }
}
