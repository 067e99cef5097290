//! Certificates, which are read again when their files change.

use std::{
    fs,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// How often the files are checked for a change.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, or contains no PEM of its kind.
    #[error(
        "{setting}: cannot use {path}: {problem}; give a PEM file with {expected} that the server's user may read"
    )]
    Pem {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
        /// What the file must contain.
        expected: &'static str,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error(
        "ALDIS_TLS_CERT, ALDIS_TLS_KEY: {cert} and {key} do not go together: {problem}; give a certificate and its own key"
    )]
    Pair {
        /// The file of the certificate.
        cert: String,
        /// The file of the key.
        key: String,
        /// The TLS library's reason.
        problem: rustls::Error,
    },
    /// The self-signed certificate cannot be made or used.
    #[error(
        "ALDIS_TLS_SELF_SIGNED: cannot use {path}: {problem}; make ALDIS_DATA_DIR writable, or remove the file"
    )]
    SelfSigned {
        /// Its file.
        path: String,
        /// What went wrong.
        problem: String,
    },
    /// The TLS library refuses the configuration.
    #[error("cannot serve TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// The current certificate.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    reload: Notify,
}

impl Certificates {
    /// Reads the files.
    pub(crate) fn load(files: &TlsFiles) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let current = RwLock::new(Arc::new(read(files, &provider)?));
        Ok(Arc::new(Self { files: files.clone(), provider, current, reload: Notify::new() }))
    }

    /// The SHA-256 fingerprint of the current certificate, as browsers show it.
    pub(crate) fn fingerprint(&self) -> String {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let digest = current.cert.first().map(Sha256::digest).unwrap_or_default();
        digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    /// Accepts TLS 1.2 and 1.3 with the current certificate.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Makes [`keep_fresh`](Self::keep_fresh) read the files now.
    pub(crate) fn reload_soon(&self) {
        self.reload.notify_one();
    }

    /// Reads the files again when they change, and when [asked](Self::reload_soon). If they cannot be used, the old
    /// certificate stays.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        let mut seen = self.modified();
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                _ = ticks.tick() => false,
                () = self.reload.notified() => true,
            };
            let modified = self.modified();
            if is_asked || modified != seen {
                self.reload();
                seen = modified;
            }
        }
    }

    fn reload(&self) {
        match read(&self.files, &self.provider) {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                tracing::info!("serving a new certificate");
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate changed and cannot be used; serving the old one");
            }
        }
    }

    fn modified(&self) -> [Option<SystemTime>; 2] {
        [&self.files.cert, &self.files.key]
            .map(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let TlsFiles { cert, key } = files;
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable("ALDIS_TLS_CERT", cert, &error, CERTIFICATES))?;
    if chain.is_empty() {
        return Err(unusable("ALDIS_TLS_CERT", cert, &"no certificate is in it", CERTIFICATES));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unusable("ALDIS_TLS_KEY", key, &error, PRIVATE_KEY))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|problem| TlsError::Pair {
        cert: cert.display().to_string(),
        key: key.display().to_string(),
        problem,
    })
}

const CERTIFICATES: &str = "the certificate chain, the server's own first,";
const PRIVATE_KEY: &str = "the private key";

fn unusable(
    setting: &'static str,
    path: &Path,
    problem: &dyn std::fmt::Display,
    expected: &'static str,
) -> TlsError {
    TlsError::Pem { setting, path: path.display().to_string(), problem: problem.to_string(), expected }
}
