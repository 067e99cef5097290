//! Signs statements for a shell: it writes the bodies that `curl` sends (docs/walkthrough.md shows how).
//!
//! ```text
//! cargo run -p aldis-examples --example identity -- key ann.key
//! ```
//!
//! A command that needs a response of the server reads it from standard input, and checks it before it signs: a
//! challenge must name the dialled server; a chain must verify and have the key as its active one.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::{
    env,
    error::Error,
    io::{self, Read},
    path::Path,
    process::ExitCode,
};

use aldis_client::{
    auth::{Cancellation, ReceivedChallenge, Rotation, SecretKey, create_auth_response, verify_challenge},
    protocol::{
        DeviceId,
        api::{ChallengeRequest, ChallengeResponse, RegisterDevice, VerifyRequest},
        binary,
        statement::{DeviceStatement, Transport},
    },
};
use aldis_examples::{
    chain_file::{self, now_ms},
    key_file,
};
use serde::Serialize;

const USAGE: &str = "usage: identity <command>
  key <key file>                                  make the key where there is none, and show it
  challenge <key file>                            the body of POST /api/auth/challenge
  answer <key file> <host:port> [<TOTP code>]     the body of POST /api/auth/verify; the challenge is the input
  device <key file> <device id> <device key file> the body of POST /devices/register; the chain is the input
  rotate <key file> <new key file> <reason>       the body of POST /api/identity/rotate; the chain is the input
  cancel <replaced key file>                      the body of POST /api/identity/rotate/cancel; the chain is the input";

/// More than any challenge has.
const CHALLENGE_BYTES: u64 = 16 * 1024;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["key", file] => key(file).map(|key| show(&key)),
        ["challenge", file] => challenge(file),
        ["answer", file, audience] => answer(file, audience, None),
        ["answer", file, audience, code] => answer(file, audience, Some(code)),
        ["device", file, id, device_file] => device(file, id, device_file),
        ["rotate", file, new_file, reason] => rotate(file, new_file, reason),
        ["cancel", file] => cancel(file),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn key(file: &str) -> Result<SecretKey, Box<dyn Error>> {
    Ok(key_file::load_or_create(Path::new(file))?)
}

fn show(key: &SecretKey) {
    println!("fingerprint {}", key.public_key().fingerprint());
    println!("public key {}", binary::encode(key.public_key().as_bytes()));
}

fn write(body: &impl Serialize) -> Outcome {
    println!("{}", serde_json::to_string(body)?);
    Ok(())
}

fn challenge(file: &str) -> Outcome {
    write(&ChallengeRequest { public_key: *key(file)?.public_key().as_bytes(), device_id: None })
}

fn answer(file: &str, audience: &str, code: Option<&str>) -> Outcome {
    let asked: ChallengeResponse = serde_json::from_reader(io::stdin().lock().take(CHALLENGE_BYTES))?;
    let received = ReceivedChallenge {
        challenge: asked.challenge,
        audience: &asked.audience,
        expires_at_ms: asked.expires_at_ms,
        transport: Transport::Http,
    };
    let verified = verify_challenge(&received, audience, now_ms())?;
    let response = create_auth_response(&key(file)?, &verified, None);
    write(&VerifyRequest {
        public_key: response.public_key,
        challenge: asked.challenge,
        signature: response.signature,
        device_id: None,
        totp_code: code.map(|code| code.to_owned().into()),
    })
}

fn device(file: &str, id: &str, device_file: &str) -> Outcome {
    let (identity, device_id, created_at_ms) = (key(file)?, DeviceId::registered(id)?, now_ms());
    let pubkey = *key(device_file)?.public_key().as_bytes();
    let chain = chain_file::read(None, None)?;
    if chain.state(created_at_ms).active_key != identity.public_key() {
        return Err("the key is not the identity's active one".into());
    }
    let fingerprint = chain.fingerprint();
    let statement =
        DeviceStatement { fingerprint, device_id: &device_id, public_key: &pubkey, created_at_ms };
    let signature = Some(identity.sign_device(&statement));
    write(&RegisterDevice { device_id, pubkey, name: None, created_at_ms: Some(created_at_ms), signature })
}

fn rotate(file: &str, new_file: &str, reason: &str) -> Outcome {
    let (old, chain) = (key(file)?, chain_file::read(None, None)?);
    if chain.state(now_ms()).active_key != old.public_key() {
        return Err("the key is not the identity's active one".into());
    }
    let new = key(new_file)?;
    write(&Rotation::sign(chain.fingerprint(), chain.head(), &old, &new, reason, now_ms()).to_request())
}

fn cancel(file: &str) -> Outcome {
    let (replaced, chain) = (key(file)?, chain_file::read(None, None)?);
    let provisional = chain.state(now_ms()).provisional;
    let rotation = provisional
        .filter(|provisional| provisional.old_key == replaced.public_key())
        .ok_or("there is no rotation that this key can cancel")?
        .rotation;
    let fingerprint = chain.fingerprint();
    write(&Cancellation::sign(fingerprint, rotation, &replaced, now_ms()).to_request(fingerprint))
}
