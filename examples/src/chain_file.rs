//! Chains as `GET /api/identity/{fingerprint}/chain` gives them, read from elsewhere than a server.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use aldis_client::{
    auth::{Chain, ChainError},
    protocol::{Fingerprint, api::ChainResponse},
};

/// The longest chain there is, with the longest reasons, is shorter.
const MAX_BYTES: u64 = 3 * 1024 * 1024;

/// Why there is no chain to be had.
#[derive(Debug, thiserror::Error)]
pub enum ChainFileError {
    /// The file cannot be read.
    #[error("cannot read the chain: {0}")]
    Io(#[from] io::Error),
    /// It is not what the server answers.
    #[error("this is no chain: {0}")]
    Form(#[from] serde_json::Error),
    /// It proves nothing.
    #[error("the chain does not verify: {0}")]
    Chain(#[from] ChainError),
}

/// Reads a chain from a file, or from the standard input where there is none, and verifies it: for an identity that
/// the caller knows, else for the one that it names.
///
/// # Errors
/// [`ChainFileError`].
pub fn read(file: Option<&Path>, identity: Option<Fingerprint>) -> Result<Chain, ChainFileError> {
    let text = match file {
        Some(path) => bounded(File::open(path)?)?,
        None => bounded(io::stdin().lock())?,
    };
    let response: ChainResponse = serde_json::from_str(&text)?;
    Ok(Chain::from_response(identity.unwrap_or(response.fingerprint), &response)?)
}

fn bounded(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Unix milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
