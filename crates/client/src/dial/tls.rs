//! Whom TLS trusts.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt;

/// How a server's certificate is verified.
#[derive(Debug, Clone)]
pub(crate) enum Tls {
    /// By the system's own verifier.
    System,
    /// As the application says.
    Config(Arc<ClientConfig>),
}

/// Text that holds no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a PEM file with certificates")]
pub struct InvalidCertificates;

impl Tls {
    /// Trusts the certificates of a PEM file, and no others.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, InvalidCertificates> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| InvalidCertificates)?).map_err(|_| InvalidCertificates)?;
        }
        if roots.is_empty() {
            return Err(InvalidCertificates);
        }
        let builder = builder().map_err(|_| InvalidCertificates)?;
        Ok(Self::Config(finished(builder.with_root_certificates(roots).with_no_client_auth())))
    }

    pub(super) fn config(&self) -> io::Result<Arc<ClientConfig>> {
        match self {
            Self::System => system().map_err(io::Error::other),
            Self::Config(config) => Ok(Arc::clone(config)),
        }
    }
}

/// Made once a process: loading the system's roots takes milliseconds. One that could not be made is tried again.
fn system() -> Result<Arc<ClientConfig>, rustls::Error> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let config = finished(builder()?.with_platform_verifier()?.with_no_client_auth());
    Ok(Arc::clone(CONFIG.get_or_init(|| config)))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_roots_are_loaded_once() {
        let configs = [Tls::System.config(), Tls::System.config()];
        if let [Ok(first), Ok(second)] = configs {
            assert!(Arc::ptr_eq(&first, &second));
        }
    }
}
