//! Accounts from the terminal: commands for an operator, beside a running server or without one.
//!
//! A [`Job`] uses the store alone. A revocation is a row that every running server reads within a second, like a
//! revocation by another server.

mod command;
mod import;
mod list;
mod password;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use aldis_auth::{PasswordError, PasswordHasher};
use aldis_protocol::{UserId, UserRef};
use uuid::Uuid;

pub(crate) use self::command::{AccountName, Command, Source, parse_address};
use crate::{
    clock::unix_ms_i64,
    config::Config,
    store::{AccountCreation, Administered, Store, StoreError, StoreOptions},
};

/// A command on the accounts of one database.
#[derive(Debug)]
pub struct Job {
    config: Config,
    command: Command,
}

/// Why a [`Job`] failed, completely or in part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// The runtime cannot be started.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The database cannot be used. Changes that were made before stay.
    #[error("{0}")]
    Database(String),
    /// The database is in memory, and ends with this process.
    #[error("only its server can use a database in memory; set DATABASE_URL to another one")]
    InMemory,
    /// The password cannot be read.
    #[error("cannot read the password from standard input: {0}")]
    PasswordInput(#[source] io::Error),
    /// The password breaks the rules.
    #[error("{0}; it is read from standard input")]
    BadPassword(#[from] PasswordError),
    /// The password was typed differently the second time.
    #[error("the two passwords differ; nothing was changed")]
    PasswordsDiffer,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The address belongs to an account.
    #[error("the address already has an account")]
    EmailTaken,
    /// Only a key proves the account.
    #[error("the account has no address, and so no password")]
    NoPassword,
    /// The file to import cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    ImportFile {
        /// The file, or `-`.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Some lines were not imported; each was reported. The others were imported.
    #[error("invalid lines: {0}; the others are imported")]
    BadLines(u64),
}

impl AccountsError {
    /// The exit code: 1 if it may work later, 2 for wrong usage, 3 for a refusal that changed nothing, 4 if some lines
    /// of an import were invalid.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Runtime(_) | Self::Database(_) | Self::PasswordInput(_) | Self::ImportFile { .. } => 1,
            Self::InMemory => 2,
            Self::BadPassword(_)
            | Self::PasswordsDiffer
            | Self::NoAccount
            | Self::EmailTaken
            | Self::NoPassword => 3,
            Self::BadLines(_) => 4,
        }
    }
}

impl From<StoreError> for AccountsError {
    fn from(error: StoreError) -> Self {
        Self::Database(error.with_causes())
    }
}

impl Job {
    pub(crate) const fn new(config: Config, command: Command) -> Self {
        Self { config, command }
    }

    /// Runs the command. The result goes to standard output, invalid lines of an import to standard error.
    ///
    /// # Errors
    /// [`AccountsError`]; its message says what to correct.
    pub fn run(self) -> Result<(), AccountsError> {
        if self.config.database_url.is_in_memory() {
            return Err(AccountsError::InMemory);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(AccountsError::Runtime)?.block_on(self.run_on_store())
    }

    async fn run_on_store(self) -> Result<(), AccountsError> {
        let Self { config, command } = self;
        let opened = Store::open(&config.database_url, &StoreOptions::default()).await;
        let store = opened.map_err(|error| AccountsError::Database(config.database_url.explain(&error)))?;
        let accounts = Accounts { store: &store, hasher: config.password_hash.hasher() };
        let done = accounts.carry_out(command).await;
        store.close().await;
        done
    }
}

/// The accounts of an open database.
struct Accounts<'a> {
    store: &'a Store,
    hasher: PasswordHasher,
}

impl Accounts<'_> {
    // This process does nothing else, so it may block on the terminal and on password hashing.
    async fn carry_out(&self, command: Command) -> Result<(), AccountsError> {
        match command {
            Command::Create(email) => self.create(&email).await,
            Command::List => list::print(self.store).await,
            Command::Disable(account) => {
                let user = self.find(account).await?;
                report(user, self.store.disable_account(user, unix_ms_i64()).await?, "disabled")
            }
            Command::Enable(account) => {
                let user = self.find(account).await?;
                report(user, self.store.enable_account(user).await?, "enabled")
            }
            Command::SetPassword(account) => self.set_password(account).await,
            Command::RemoveTotp(account) => {
                let user = self.find(account).await?;
                report(user, self.store.remove_second_factor(user, unix_ms_i64()).await?, "totp_removed")
            }
            Command::Revoke(account) => {
                let user = self.find(account).await?;
                report(user, self.store.sign_out(user, unix_ms_i64()).await?, "signed_out")
            }
            Command::Import(source) => import::import(self.store, source).await,
        }
    }

    async fn create(&self, email: &str) -> Result<(), AccountsError> {
        if self.store.find_email_account(email).await?.is_some() {
            return Err(AccountsError::EmailTaken);
        }
        let hash = self.read_and_hash()?;
        let user = UserId::new(Uuid::now_v7());
        match self.store.create_account(user, email, &hash, unix_ms_i64()).await? {
            AccountCreation::Created => report(user, Administered::Done, "created"),
            AccountCreation::EmailTaken => Err(AccountsError::EmailTaken),
        }
    }

    async fn set_password(&self, account: AccountName) -> Result<(), AccountsError> {
        let user = self.find(account).await?;
        if self.store.password_hash_of(user).await?.is_none() {
            return Err(AccountsError::NoPassword);
        }
        let hash = self.read_and_hash()?;
        report(user, self.store.set_password(user, &hash, unix_ms_i64()).await?, "password_set")
    }

    fn read_and_hash(&self) -> Result<String, AccountsError> {
        let password = password::read()?;
        Ok(self.hasher.hash(&password, &mut rand::rng())?)
    }

    async fn find(&self, account: AccountName) -> Result<UserId, AccountsError> {
        let found = match account {
            AccountName::Email(email) => {
                self.store.find_email_account(&email).await?.map(|account| account.user_id)
            }
            AccountName::User(UserRef::Fingerprint(fingerprint)) => {
                self.store.identity_of_fingerprint(fingerprint).await?.map(|identity| identity.user_id)
            }
            AccountName::User(UserRef::Id(user)) => self.store.has_account(user).await?.then_some(user),
        };
        found.ok_or(AccountsError::NoAccount)
    }
}

/// One line for scripts: the user id, and the outcome.
fn report(user: UserId, outcome: Administered, done: &str) -> Result<(), AccountsError> {
    let became = match outcome {
        Administered::Done => done,
        Administered::Unchanged => "unchanged",
        Administered::NoPassword => return Err(AccountsError::NoPassword),
        Administered::NoAccount => return Err(AccountsError::NoAccount),
    };
    print(&format!("{user}\t{became}\n"));
    Ok(())
}

/// Prints the text. False if nobody reads it; the command's changes stay either way.
fn print(text: &str) -> bool {
    io::stdout().write_all(text.as_bytes()).is_ok()
}
