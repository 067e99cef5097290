//! The passphrase of a backup: from a file, from the environment, or from standard input. It is never an argument, because
//! other users of the machine can see arguments.

use std::{env, fs, path::Path};

use aldis_auth::MIN_PASSPHRASE_BYTES;
use zeroize::Zeroizing;

use super::CommandError;
use crate::{config::BACKUP_PASSPHRASE_VARIABLE, terminal};

const NAME: &str = "Passphrase";

/// A passphrase for a new backup.
pub(super) fn chosen(file: Option<&Path>) -> Result<Zeroizing<String>, CommandError> {
    let passphrase = match given(file)? {
        Some(passphrase) => passphrase,
        None => terminal::read_new(NAME)?,
    };
    if passphrase.len() < MIN_PASSPHRASE_BYTES {
        return Err(CommandError::Passphrase(format!(
            "the passphrase is too short; it needs at least {MIN_PASSPHRASE_BYTES} bytes (from --passphrase-file, \
             {BACKUP_PASSPHRASE_VARIABLE} or standard input)"
        )));
    }
    Ok(passphrase)
}

/// The passphrase of a sealed backup.
pub(super) fn known(file: Option<&Path>) -> Result<Zeroizing<String>, CommandError> {
    match given(file)? {
        Some(passphrase) => Ok(passphrase),
        None => Ok(terminal::read_known(NAME)?),
    }
}

fn given(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, CommandError> {
    if let Some(path) = file {
        let failed = |source| CommandError::File { action: "read", path: path.to_owned(), source };
        return Ok(Some(line(Zeroizing::new(fs::read_to_string(path).map_err(failed)?))));
    }
    Ok(env::var(BACKUP_PASSPHRASE_VARIABLE).ok().map(|text| line(Zeroizing::new(text))))
}

/// Without the line break at its end, which belongs to the file.
fn line(mut text: Zeroizing<String>) -> Zeroizing<String> {
    let length = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(length);
    text
}
