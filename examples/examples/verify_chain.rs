//! Verifies an identity's chain without a server: from a file, or from standard input.
//!
//! ```text
//! curl -s http://127.0.0.1:8000/api/identity/$FINGERPRINT/chain > chain.json
//! cargo run -p aldis-examples --example verify_chain -- $FINGERPRINT chain.json
//! ```
//!
//! It prints each statement with its status, and the active key. If the chain does not verify, it prints why and exits
//! with status 1.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::{env, path::Path, process::ExitCode};

use aldis_client::{
    auth::{Chain, Link, Statement},
    protocol::{Timestamp, api::StatementStatus, binary},
};
use aldis_examples::{
    chain_file::{self, now_ms},
    terminal::harmless,
};

const USAGE: &str =
    "usage: verify_chain <fingerprint> [<file with the chain; else it is read from the input>]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (fingerprint, file) = match arguments.as_slice() {
        [fingerprint] => (fingerprint.parse(), None),
        [fingerprint, file] => (fingerprint.parse(), Some(Path::new(file))),
        _ => return failure(2, USAGE),
    };
    let Ok(fingerprint) = fingerprint else { return failure(2, "a fingerprint is 64 lowercase hex digits") };
    match chain_file::read(file, Some(fingerprint)) {
        Ok(chain) => show(&chain, now_ms()),
        Err(error) => return failure(1, &error.to_string()),
    }
    ExitCode::SUCCESS
}

fn failure(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    code.into()
}

fn show(chain: &Chain, now_ms: u64) {
    for (sequence, (link, status)) in chain.links().iter().zip(chain.statuses(now_ms)).enumerate() {
        println!("{sequence} {} {} {}", time(link.accepted_at_ms()), word(status), said(link));
    }
    let state = chain.state(now_ms);
    println!("active key {}", binary::encode(state.active_key.as_bytes()));
    if let Some(provisional) = state.provisional {
        let replaced = binary::encode(provisional.old_key.as_bytes());
        println!("until {} {replaced} can take that back", time(provisional.until_ms));
    }
}

fn said(link: &Link) -> String {
    match link.statement() {
        Statement::Genesis(key) => format!("genesis {}", binary::encode(key.as_bytes())),
        Statement::Rotation(rotation) => {
            let new_key = binary::encode(rotation.new_key.as_bytes());
            format!("rotation to {new_key}: {}", harmless(&rotation.reason))
        }
        Statement::Cancellation(cancellation) => {
            format!("cancellation by {}", binary::encode(cancellation.signer_key.as_bytes()))
        }
    }
}

fn word(status: StatementStatus) -> &'static str {
    match status {
        StatementStatus::Final => "final",
        StatementStatus::Provisional => "provisional",
        StatementStatus::Cancelled => "cancelled",
    }
}

fn time(unix_ms: u64) -> Timestamp {
    Timestamp::from_ms(i64::try_from(unix_ms).unwrap_or(i64::MAX))
}
