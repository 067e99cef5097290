//! `aldis accounts …`: an operator manages accounts beside a running server, or without one.
//!
//! The commands work on the store alone. A revocation is a row in the database, and every running server reads it within
//! two seconds, as it reads the revocations of other nodes.

mod import;
mod list;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use aldis_auth::{PasswordError, PasswordHasher};
use aldis_protocol::{UserId, UserRef};
use uuid::Uuid;

use crate::{
    clock::unix_ms_i64,
    config::{AccountName, AccountsCommand, AccountsJob},
    store::{AccountCreation, Administered, Store, StoreError, StoreOptions},
    terminal::{self, InputError},
};

/// Why an [`AccountsJob`] failed, or was done only in part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// The runtime does not start.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The database cannot be used. What was done before is done.
    #[error("{0}")]
    Database(String),
    /// The database is gone when this process ends.
    #[error("the accounts of a database in memory are its server's alone; name another with DATABASE_URL")]
    InMemory,
    /// The password cannot be read.
    #[error("cannot read the password from standard input: {0}")]
    PasswordInput(#[source] io::Error),
    /// The password may not be chosen.
    #[error("{0}; it is read from standard input")]
    BadPassword(#[from] PasswordError),
    /// The password was typed differently the second time.
    #[error("the two passwords differ; nothing was changed")]
    PasswordsDiffer,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The address has an account.
    #[error("the address has an account")]
    EmailTaken,
    /// The account is proved by its key alone.
    #[error("the account has no address, and so no password")]
    NoPassword,
    /// What is to be imported cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    ImportFile {
        /// The file, or `-`.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Some lines were not imported, each of which was named. The others were.
    #[error("bad lines: {0}; the others are imported")]
    BadLines(u64),
}

impl AccountsError {
    /// The exit code of the process: 1 if a retry may work, 2 for wrong usage, 3 if the command was refused and nothing
    /// changed, 4 if some lines of an import were bad.
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

impl From<InputError> for AccountsError {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Read(error) => Self::PasswordInput(error),
            InputError::Differ => Self::PasswordsDiffer,
        }
    }
}

/// Runs a job. It writes its result to standard output, and bad lines of an import to the error output.
///
/// # Errors
/// [`AccountsError`], which says what to fix.
pub fn run(job: AccountsJob) -> Result<(), AccountsError> {
    if job.config.database_url.is_in_memory() {
        return Err(AccountsError::InMemory);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(AccountsError::Runtime)?.block_on(run_on_store(job))
}

async fn run_on_store(job: AccountsJob) -> Result<(), AccountsError> {
    let AccountsJob { config, command, json } = job;
    let opened = Store::open(&config.database_url, &StoreOptions::default()).await;
    let store = opened.map_err(|error| AccountsError::Database(config.database_url.explain(&error)))?;
    let accounts = StoredAccounts { store: &store, hasher: config.password_hash.hasher(), json };
    let done = accounts.carry_out(command).await;
    store.close().await;
    done
}

/// The accounts of an open database.
struct StoredAccounts<'a> {
    store: &'a Store,
    hasher: PasswordHasher,
    json: bool,
}

impl StoredAccounts<'_> {
    // Nothing else runs on this thread: it may block on the terminal and on a password hash.
    async fn carry_out(&self, command: AccountsCommand) -> Result<(), AccountsError> {
        match command {
            AccountsCommand::Create(email) => self.create(&email).await,
            AccountsCommand::List => list::print(self.store, self.json).await,
            AccountsCommand::Disable(account) => {
                let user = self.find(account).await?;
                self.report(user, self.store.disable_account(user, unix_ms_i64()).await?, "disabled")
            }
            AccountsCommand::Enable(account) => {
                let user = self.find(account).await?;
                self.report(user, self.store.enable_account(user).await?, "enabled")
            }
            AccountsCommand::SetPassword(account) => self.set_password(account).await,
            AccountsCommand::RemoveTotp(account) => {
                let user = self.find(account).await?;
                self.report(user, self.store.remove_second_factor(user, unix_ms_i64()).await?, "totp_removed")
            }
            AccountsCommand::Revoke(account) => {
                let user = self.find(account).await?;
                self.report(user, self.store.sign_out(user, unix_ms_i64()).await?, "signed_out")
            }
            AccountsCommand::Import(source) => import::import(self.store, source, self.json).await,
        }
    }

    async fn create(&self, email: &str) -> Result<(), AccountsError> {
        if self.store.find_email_account(email).await?.is_some() {
            return Err(AccountsError::EmailTaken);
        }
        let hash = self.read_and_hash()?;
        let user = UserId::new(Uuid::now_v7());
        match self.store.create_account(user, email, &hash, unix_ms_i64()).await? {
            AccountCreation::Created => self.report(user, Administered::Done, "created"),
            AccountCreation::EmailTaken => Err(AccountsError::EmailTaken),
        }
    }

    async fn set_password(&self, account: AccountName) -> Result<(), AccountsError> {
        let user = self.find(account).await?;
        if self.store.password_hash_of(user).await?.is_none() {
            return Err(AccountsError::NoPassword);
        }
        let hash = self.read_and_hash()?;
        self.report(user, self.store.set_password(user, &hash, unix_ms_i64()).await?, "password_set")
    }

    fn read_and_hash(&self) -> Result<String, AccountsError> {
        let password = terminal::read_new("Password")?;
        Ok(self.hasher.hash(&password, &mut rand::rng())?)
    }

    /// Prints one line for scripts: the user id and the outcome.
    fn report(&self, user: UserId, outcome: Administered, done: &str) -> Result<(), AccountsError> {
        let outcome = match outcome {
            Administered::Done => done,
            Administered::Unchanged => "unchanged",
            Administered::NoPassword => return Err(AccountsError::NoPassword),
            Administered::NoAccount => return Err(AccountsError::NoAccount),
        };
        print(&if self.json {
            format!("{}\n", serde_json::json!({ "user_id": user, "outcome": outcome }))
        } else {
            format!("{user}\t{outcome}\n")
        });
        Ok(())
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

/// Prints text. Returns false if nobody reads standard output; the command itself is done either way.
fn print(text: &str) -> bool {
    io::stdout().write_all(text.as_bytes()).is_ok()
}
