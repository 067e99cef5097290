//! A certificate that the server makes and signs itself, for a first try.
//!
//! It stays in the data directory, so that its fingerprint is the same after a restart.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::tls::TlsError;
use crate::config::{Config, Origin, TlsFiles};

/// The file of the certificate and its key, in the data directory.
pub(crate) const FILE_NAME: &str = "self-signed.pem";

/// The file, which is made if it does not exist.
pub(crate) fn files(config: &Config) -> Result<TlsFiles, TlsError> {
    let path = config.data_dir.join(FILE_NAME);
    let failed = |problem: String| TlsError::SelfSigned { path: path.display().to_string(), problem };
    let exists = fs::exists(&path).map_err(|error| failed(error.to_string()))?;
    if !exists {
        let pem = make(names(config)).map_err(|error| failed(error.to_string()))?;
        write(&path, &pem).map_err(|error| failed(error.to_string()))?;
    }
    Ok(TlsFiles { cert: path.clone(), key: path })
}

/// The names by which clients may call: loopback names, the address and the public name.
fn names(config: &Config) -> Vec<String> {
    let address: IpAddr = config.listen.ip();
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if !address.is_unspecified() {
        names.push(address.to_string());
    }
    names.extend(config.public_origin.as_ref().map(|origin| Origin::host(origin).to_owned()));
    names.sort();
    names.dedup();
    names
}

fn make(names: Vec<String>) -> Result<String, rcgen::Error> {
    let made = rcgen::generate_simple_self_signed(names)?;
    Ok(format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem()))
}

/// Writes a file that is complete as soon as it has its name. If another server on the same data directory was faster,
/// its file stays.
fn write(path: &Path, pem: &str) -> io::Result<()> {
    let temporary = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(pem.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&temporary)?;
    linked
}
