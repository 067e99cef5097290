//! Reads chains, as `GET /api/identity/{fingerprint}/chain` returns them, from a file.

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

/// The longest chain with the longest reasons is shorter.
const MAX_BYTES: u64 = 3 * 1024 * 1024;

/// Why there is no valid chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainFileError {
    /// The file cannot be read.
    #[error("cannot read the chain: {0}")]
    Io(#[from] io::Error),
    /// It is not a response with a chain.
    #[error("this is not a chain: {0}")]
    Form(#[from] serde_json::Error),
    /// The chain does not verify.
    #[error("the chain does not verify: {0}")]
    Chain(#[from] ChainError),
}

/// Reads a chain from a file, or from standard input if no file is given, and verifies it: for the given identity,
/// otherwise for the one that it names.
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
