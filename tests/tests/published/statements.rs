//! The signed statements, as the page shows them and as its program makes them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use aldis_tests::python;
use serde_json::Value;

use crate::page::{Page, code_words, read, repository};
use crate::schemas::document;

const VECTORS: &str = "crates/protocol/tests/vectors/statements.json";
const PAGE: &str = "docs/protocol/signing.md";

/// The context of each vector, by its name.
fn context(vector: &str) -> &'static str {
    match vector {
        "challenge_ws" | "challenge_http_no_device" => "auth-challenge",
        "genesis_hash" => "identity-genesis",
        "rotation" => "key-rotation",
        "rotation_accept" => "key-rotation-accept",
        "cancellation" => "key-rotation-cancel",
        "signal" | "signal_to_user" => "signal",
        "device" => "device",
        "encryption_key" => "encryption-key",
        other => panic!("the page has no section for the vector {other}"),
    }
}

fn vectors() -> Vec<Value> {
    document(VECTORS)["statements"].as_array().unwrap().clone()
}

fn fields_of(vectors: &[Value], vector: &Value) -> Value {
    let fields = &vector["fields"];
    let other = fields["same_fields_as"].as_str();
    let found = other.and_then(|other| vectors.iter().find(|vector| vector["name"] == other));
    found.map_or(fields, |vector| &vector["fields"]).clone()
}

/// The program prints three lines: the bytes, their hash, the signature.
fn run(context: &str, secret_key: &str, fields: &Value) -> Vec<String> {
    let mut child = Command::new(python())
        .arg(repository("examples/first-client/statements.py"))
        .args([context, secret_key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(fields.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{context}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_program_on_the_page_reproduces_every_vector() {
    let vectors = vectors();
    for vector in &vectors {
        let name = vector["name"].as_str().unwrap();
        let fields = fields_of(&vectors, vector);
        let none = serde_json::Map::new();
        let signatures = vector["signatures"].as_object().unwrap_or(&none);
        let signers = signatures.iter().map(|(signer, signature)| (signer.as_str(), Some(signature)));
        let signers: Vec<_> = if signatures.is_empty() { vec![("A", None)] } else { signers.collect() };
        for (signer, signature) in signers {
            let secret_key = if signer == "A" { "01" } else { "02" }.repeat(32);
            let made = run(context(name), &secret_key, &fields);
            if let Some(bytes) = vector["bytes_hex"].as_str() {
                assert_eq!(made[0], bytes, "{name}");
            }
            assert_eq!(made[1], vector["sha256_hex"].as_str().unwrap(), "{name}");
            if let Some(signature) = signature {
                assert_eq!(made[2], signature.as_str().unwrap(), "{name} by {signer}");
            }
        }
    }
    assert!(read("examples/first-client/statements.py").lines().count() <= 30);
}

#[test]
fn the_page_has_every_vector_and_every_context() {
    let page = Page::read(PAGE);
    let mut contexts: Vec<String> = vectors()
        .iter()
        .map(|vector| {
            let name = vector["name"].as_str().unwrap();
            let section = page.section(&format!("### `{name}`"));
            let context = format!("aldis/v1/{}", context(name));
            assert!(section.contains(&format!("Context `{context}`")), "{name}");
            let shown = section.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
            assert_eq!(serde_json::from_str::<Value>(shown).unwrap(), vector["fields"], "{name}");
            let values = ["bytes_hex", "sha256_hex"].map(|member| &vector[member]);
            let signatures = vector["signatures"].as_object().into_iter().flat_map(|all| all.values());
            for value in values.into_iter().chain(signatures).filter_map(Value::as_str) {
                assert!(section.contains(&format!("`{value}`")), "{name}: {value}");
            }
            context
        })
        .collect();
    contexts.sort();
    contexts.dedup();
    let table = page.table("# Signed statements");
    let mut shown: Vec<String> = table.iter().map(|row| code_words(&row[0])[0].clone()).collect();
    shown.sort();
    assert_eq!(shown, contexts);
    let source = read("crates/protocol/src/statement.rs");
    let mut in_code: Vec<String> =
        source.split('"').filter(|text| text.starts_with("aldis/v1/")).map(str::to_owned).collect();
    in_code.sort();
    assert_eq!(in_code, contexts);
}
