//! The configuration: flags, environment and one TOML file, merged and checked once.
//!
//! A [`Config`] that exists is valid; no later code checks it again. The [key file](key_file) holds the secret that
//! the server generates.

mod accounts;
mod environment;
mod error;
mod file;
mod flags;
mod ice_url;
pub mod key_file;
mod layers;
mod log;
mod nearest;
mod operation;
mod origin;
mod place;
mod reload;
mod report;
mod secret;
mod setting;
mod value;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

pub use self::{
    accounts::AccountsJob,
    error::ConfigError,
    log::{InvalidLogFilter, LogFilter},
    operation::Job,
    origin::{AllowedOrigin, InvalidOrigin, Origin},
    place::Place,
    secret::SecretText,
};
pub(crate) use self::{
    accounts::{AccountName, AccountsCommand, Source},
    operation::{BackupWanted, Operation, RestoreWanted},
    reload::LiveConfig,
    report::SettingInForce,
};
use self::{
    environment::Environment,
    flags::{Asked, Task},
    layers::{Layer, Settings, Texts},
};
use crate::store::DatabaseUrl;

/// What the command line asks for.
#[derive(Debug)]
pub enum Loaded {
    /// Start the server.
    Run(Box<Config>),
    /// Print this text to standard output and exit: help, version, the configuration in force, and the like.
    Print(String),
    /// Write these files, by their names, to a directory: the man pages.
    WriteFiles {
        /// The directory.
        directory: PathBuf,
        /// Name and content.
        files: Vec<(String, Vec<u8>)>,
    },
    /// Add a new key to the key file in this directory: [`key_file::rotate`].
    RotateKeys(PathBuf),
    /// Manage accounts: [`accounts_cli::run`](crate::accounts_cli::run).
    Accounts(Box<AccountsJob>),
    /// Operate a server: [`commands::run`](crate::commands::run).
    Operate(Box<Job>),
}

/// The configuration of the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// What is logged.
    pub log: LogFilter,
    /// The address for clients.
    pub listen: SocketAddr,
    /// The address of the admin listener.
    pub admin_listen: AdminListen,
    /// The database.
    pub(crate) database_url: DatabaseUrl,
    /// The key of HS256 tokens, at least 32 bytes. If it is not set, one is derived from the key file.
    pub secret_key: Option<SecretText>,
    /// The algorithm of access tokens.
    pub algorithm: TokenAlgorithm,
    /// How long an access token lives: whole seconds, at least 5.
    pub access_token_lifetime: Duration,
    /// The algorithm of new password hashes.
    pub password_hash: PasswordHash,
    /// Where the key file is.
    pub data_dir: PathBuf,
    /// The name that authenticator apps and pages show for the server.
    pub name: String,
    /// Where clients reach the server, `http` or `https`. Without it, only loopback names get challenges.
    pub public_origin: Option<Origin>,
    /// Other web pages that may call the server; if empty, loopback pages.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// The source of the certificate; plain HTTP without one.
    pub tls: Option<Tls>,
    /// Whether users can register.
    pub registration: Registration,
    /// Which users can reach each other.
    pub routing: Routing,
    /// Whether joining an unknown room creates it.
    pub rooms_auto_create: bool,
    /// STUN servers for clients.
    pub stun_urls: Vec<String>,
    /// TURN servers for clients.
    pub turn: Option<Turn>,
    /// How long a session without a socket waits for its client; zero to disable resume.
    pub resume_window: Duration,
    /// How many bytes all sessions together may hold for clients that are away or read slowly.
    pub session_memory: usize,
    /// How many entries of `X-Forwarded-For`, from the right, proxies have written.
    pub trusted_proxy_hops: u8,
    /// Whether limits by address, user, device and pair are enforced.
    pub rate_limits: bool,
    /// Host names for the admin listener, besides loopback names and its address.
    pub admin_names: Vec<String>,
    /// Environment variables with the server's prefix that are not settings.
    pub(crate) unknown_variables: Vec<String>,
    /// The settings as they were given, for a later reload.
    pub(crate) texts: Texts,
    /// The settings as an operator may see them, with secrets masked.
    pub(crate) in_force: Vec<SettingInForce>,
}

impl Config {
    /// Whether clients connect through a proxy, so that one peer stands for many clients.
    pub(crate) const fn is_behind_proxy(&self) -> bool {
        self.trusted_proxy_hops > 0
    }
}

/// The address of the admin listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminListen {
    /// The address.
    pub address: SocketAddr,
    /// Whether the operator set it. Then an address in use is an error, otherwise a warning.
    pub explicit: bool,
}

/// The algorithm of access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// A secret that all services that verify tokens share.
    Hs256,
    /// A key pair: other services verify with the public key.
    EdDsa,
}

/// The algorithm of new password hashes. Hashes of both kinds are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordHash {
    /// Argon2id.
    Argon2id,
    /// bcrypt, which takes passwords of at most 71 bytes.
    Bcrypt,
}

impl PasswordHash {
    /// The hasher for new passwords.
    pub(crate) const fn hasher(self) -> aldis_auth::PasswordHasher {
        match self {
            Self::Argon2id => aldis_auth::PasswordHasher::Argon2id,
            Self::Bcrypt => aldis_auth::PasswordHasher::Bcrypt,
        }
    }
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// From files of the operator.
    Files(TlsFiles),
    /// The server makes one and signs it itself.
    SelfSigned,
}

/// PEM files, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Who can register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Anybody.
    Open,
    /// Nobody.
    Closed,
}

/// Which users can reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// Only users whom the target has allowed.
    Contacts,
    /// Everyone who is not blocked.
    Open,
}

/// TURN servers that accept credentials derived from a shared secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The servers; at least one.
    pub urls: Vec<String>,
    /// The secret from which credentials are derived.
    pub secret: SecretText,
}

impl Config {
    /// Reads the command line (beginning with the program's name), the environment and the file that they name.
    ///
    /// # Errors
    /// [`ConfigError`] for anything that is not understood; its message names the setting and the remedy.
    pub fn load(
        arguments: impl IntoIterator<Item = OsString>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigError> {
        let (flags, task) = match flags::parse(arguments)? {
            Asked::Run { flags, task } => (flags, task),
            Asked::Text(text) => return Ok(Loaded::Print(text)),
            Asked::Files { directory, files } => return Ok(Loaded::WriteFiles { directory, files }),
        };
        let Environment { layer: variables, unknown } = environment::parse(variables)?;
        let named = flags.get(CONFIG_VARIABLE).or_else(|| variables.get(CONFIG_VARIABLE));
        let file = match named {
            Some(given) => file::read(given.checked(CONFIG_VARIABLE)?.path())?,
            None => Layer::new(),
        };
        let settings = Settings::merge(vec![flags, variables, file])?;
        let mut config = Self { unknown_variables: unknown, ..Self::from_settings(&settings)? };
        config.in_force = report::in_force(&settings, &config);
        Ok(match task {
            Task::Serve => Loaded::Run(Box::new(config)),
            Task::Check { json: false } => Loaded::Print(report::text(&config)),
            Task::Check { json: true } => Loaded::Print(report::json(&config)),
            Task::RotateKeys => Loaded::RotateKeys(config.data_dir),
            Task::Accounts { command, json } => {
                Loaded::Accounts(Box::new(AccountsJob { config, command, json }))
            }
            Task::Operate(operation) => Loaded::Operate(Box::new(Job { config, operation })),
        })
    }

    /// Warnings for an operator about valid settings.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        report::warnings(self)
    }

    fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let public_origin = settings.optional(&setting::PUBLIC_ORIGIN, value::public_origin)?;
        let name = settings.optional(&setting::NAME, value::name)?;
        Ok(Self {
            log: settings.value(&setting::LOG, value::log_filter)?,
            name: name.unwrap_or_else(|| default_name(public_origin.as_ref())),
            public_origin,
            listen: (
                settings.value(&setting::HOST, value::address)?,
                settings.value(&setting::PORT, value::port)?,
            )
                .into(),
            admin_listen: AdminListen::from_settings(settings)?,
            database_url: settings.value(&setting::DATABASE_URL, value::database_url)?,
            secret_key: settings.optional(&setting::SECRET_KEY, value::secret_key)?,
            algorithm: settings.value(&setting::ALGORITHM, value::word(ALGORITHMS))?,
            access_token_lifetime: settings
                .value(&setting::ACCESS_TOKEN_EXPIRE_MINUTES, value::token_minutes)?,
            password_hash: settings.value(&setting::PASSWORD_HASH, value::word(PASSWORD_HASHES))?,
            data_dir: settings.value(&setting::DATA_DIR, value::path)?,
            allowed_origins: settings.value(&setting::ALLOWED_ORIGINS, value::origins)?,
            tls: Tls::from_settings(settings)?,
            registration: settings.value(&setting::REGISTRATION, value::word(REGISTRATIONS))?,
            routing: settings.value(&setting::ROUTING, value::word(ROUTINGS))?,
            rooms_auto_create: settings.value(&setting::ROOMS_AUTO_CREATE, value::boolean)?,
            stun_urls: settings.value(&setting::STUN_URLS, value::stun_urls)?,
            turn: Turn::from_settings(settings)?,
            resume_window: settings.value(&setting::RESUME_WINDOW, value::resume_seconds)?,
            session_memory: settings.value(&setting::SESSION_MEMORY, value::mebibytes)?,
            trusted_proxy_hops: settings.value(&setting::TRUSTED_PROXY_HOPS, value::hops)?,
            rate_limits: settings.value(&setting::RATE_LIMITS, value::boolean)?,
            admin_names: settings.value(&setting::ADMIN_NAMES, value::host_names)?,
            unknown_variables: Vec::new(),
            texts: settings.texts(),
            in_force: Vec::new(),
        })
    }
}

/// The variable that names the configuration file.
const CONFIG_VARIABLE: &str = "ALDIS_CONFIG";
/// The variable with the passphrase of a backup. It is no setting: the server itself never needs it.
pub(crate) const BACKUP_PASSPHRASE_VARIABLE: &str = "ALDIS_BACKUP_PASSPHRASE";

const ALGORITHMS: &[(&str, TokenAlgorithm)] =
    &[("HS256", TokenAlgorithm::Hs256), ("EdDSA", TokenAlgorithm::EdDsa)];
const PASSWORD_HASHES: &[(&str, PasswordHash)] =
    &[("argon2id", PasswordHash::Argon2id), ("bcrypt", PasswordHash::Bcrypt)];
const REGISTRATIONS: &[(&str, Registration)] =
    &[("open", Registration::Open), ("closed", Registration::Closed)];
const ROUTINGS: &[(&str, Routing)] = &[("contacts", Routing::Contacts), ("open", Routing::Open)];

fn default_name(public_origin: Option<&Origin>) -> String {
    public_origin.map_or("Aldis", Origin::host).to_owned()
}

impl AdminListen {
    fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            address: settings.value(&setting::ADMIN_LISTEN, value::socket_address)?,
            explicit: *settings.place(&setting::ADMIN_LISTEN) != Place::Default,
        })
    }
}

impl Tls {
    fn from_settings(settings: &Settings) -> Result<Option<Self>, ConfigError> {
        let files = TlsFiles::from_settings(settings)?;
        match (files, settings.value(&setting::TLS_SELF_SIGNED, value::boolean)?) {
            (Some(_), true) => Err(ConfigError::Both {
                one: setting::TLS_SELF_SIGNED.variable,
                other: setting::TLS_CERT.variable,
            }),
            (files, false) => Ok(files.map(Self::Files)),
            (None, true) => Ok(Some(Self::SelfSigned)),
        }
    }
}

impl TlsFiles {
    fn from_settings(settings: &Settings) -> Result<Option<Self>, ConfigError> {
        let pair = Settings::pair(
            (&setting::TLS_CERT, settings.optional(&setting::TLS_CERT, value::path)?),
            (&setting::TLS_KEY, settings.optional(&setting::TLS_KEY, value::path)?),
        )?;
        Ok(pair.map(|(cert, key)| Self { cert, key }))
    }
}

impl Turn {
    fn from_settings(settings: &Settings) -> Result<Option<Self>, ConfigError> {
        let pair = Settings::pair(
            (&setting::TURN_URLS, settings.optional(&setting::TURN_URLS, value::turn_urls)?),
            (&setting::TURN_SECRET, settings.optional(&setting::TURN_SECRET, value::turn_secret)?),
        )?;
        Ok(pair.map(|(urls, secret)| Self { urls, secret }))
    }
}

#[cfg(test)]
pub(crate) mod test_dir;
#[cfg(test)]
mod tests;
