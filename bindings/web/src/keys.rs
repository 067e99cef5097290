//! Keys of browsers whose WebCrypto has no Ed25519. The shell keeps their secrets sealed.

use aldis_client_core::auth::PublicKey;
use ed25519_dalek::{Signer, SigningKey};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::connection::bad;

/// The public key of a secret of 32 bytes.
#[wasm_bindgen]
pub fn public_key_of(secret: &[u8]) -> Result<Vec<u8>, String> {
    Ok(signing_key(secret)?.verifying_key().to_bytes().to_vec())
}

/// Signs with a secret of 32 bytes.
#[wasm_bindgen]
pub fn sign_with(secret: &[u8], bytes: &[u8]) -> Result<Vec<u8>, String> {
    Ok(signing_key(secret)?.sign(bytes).to_vec())
}

pub(crate) fn key(bytes: &[u8]) -> Result<PublicKey, String> {
    let bytes = bytes.try_into().map_err(|_| bad("a public key has 32 bytes"))?;
    PublicKey::from_bytes(bytes).map_err(|error| bad(&error.to_string()))
}

fn signing_key(secret: &[u8]) -> Result<SigningKey, String> {
    let secret = secret.try_into().map_err(|_| bad("a secret key has 32 bytes"))?;
    Ok(SigningKey::from_bytes(secret))
}
