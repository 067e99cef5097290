//! Compares `docs/http.md` with `docs/openapi.json`: every call, its codes and its examples.

use std::collections::BTreeSet;
use std::{env, fs};

use aldis_tests::schema::mismatch;
use serde_json::{Map, Value, json};

use crate::page::{Page, code_words, repository};
use crate::schemas::{WRITE, document};

const PAGE: &str = "docs/http.md";
/// The codes of every call; the page lists them once.
const OF_ANY: [&str; 5] = ["uri_too_long", "headers_too_large", "rate_limited", "internal", "overloaded"];
/// The additional codes of calls that need a token.
const OF_TOKENS: [&str; 4] = ["missing_token", "invalid_token", "expired_token", "revoked"];
/// The additional codes of calls with a body.
const OF_BODIES: [&str; 3] = ["too_large", "unsupported_media_type", "bad_request"];

/// A call, as `docs/openapi.json` describes it.
struct Call<'a> {
    document: &'a Value,
    name: String,
    operation: &'a Value,
}

fn calls(document: &Value) -> Vec<Call<'_>> {
    let paths = document["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, operations)| {
        operations.as_object().unwrap().iter().map(move |(method, operation)| {
            let name = format!("{} {path}", method.to_uppercase());
            Call { document, name, operation }
        })
    });
    calls.collect()
}

impl<'a> Call<'a> {
    fn responses(&self) -> &'a Map<String, Value> {
        self.operation["responses"].as_object().unwrap()
    }

    fn response(&self, status: &str) -> &'a Value {
        let response = &self.operation["responses"][status];
        response["$ref"].as_str().map_or(response, |at| self.document.pointer(&at[1..]).unwrap())
    }

    fn needs_a_token(&self) -> bool {
        self.operation["security"].is_null()
    }

    /// The codes that only this call has, in the order of their definition.
    fn own_codes(&self) -> Vec<String> {
        let refusals = self.responses().keys().filter(|status| !status.starts_with('2'));
        let codes: BTreeSet<&str> = refusals.flat_map(|status| self.codes(status)).collect();
        let has_a_body = self.operation["requestBody"].is_object();
        let is_general = |code: &str| {
            OF_ANY.contains(&code)
                || self.needs_a_token() && OF_TOKENS.contains(&code)
                || has_a_body && OF_BODIES.contains(&code)
        };
        let all = self.document["components"]["schemas"]["ErrorCode"]["enum"].as_array().unwrap();
        let own = all
            .iter()
            .map(|code| code.as_str().unwrap())
            .filter(|code| codes.contains(code) && !is_general(code));
        own.map(str::to_owned).collect()
    }

    fn codes(&self, status: &str) -> Vec<&'a str> {
        let parts = &self.response(status)["content"]["application/problem+json"]["schema"]["allOf"];
        let codes = parts[1]["properties"]["code"]["enum"].as_array().unwrap();
        codes.iter().map(|code| code.as_str().unwrap()).collect()
    }

    /// The lines of the page with the call's successes and its errors.
    fn lines(&self) -> [String; 2] {
        let list =
            |words: Vec<String>| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let successes = self.responses().keys().filter(|status| status.starts_with('2')).cloned().collect();
        let refusals = list(self.own_codes());
        let refusals = if refusals.is_empty() { "none of its own".to_owned() } else { refusals };
        [format!("Answers: {}", list(successes)), format!("Errors: {refusals}")]
    }
}

#[test]
fn every_call_is_on_the_page_with_its_statuses_and_codes() {
    let openapi = document("docs/openapi.json");
    let page = Page::read(PAGE);
    let calls = calls(&openapi);
    let titles: BTreeSet<String> = calls.iter().map(|call| format!("### `{}`", call.name)).collect();
    let shown: BTreeSet<String> = page
        .sections()
        .into_iter()
        .map(|(title, _)| title)
        .filter(|title| title.starts_with("### `"))
        .collect();
    assert_eq!(shown, titles);
    let mut text = page.text().to_owned();
    for call in &calls {
        let section = page.section(&format!("### `{}`", call.name));
        let needs = if call.needs_a_token() { "Needs an access token." } else { "Needs no token." };
        assert!(section.lines().any(|line| line == needs), "{}: {needs}", call.name);
        let mut renewed = section.clone();
        for expected in call.lines() {
            let label = expected.split(':').next().unwrap();
            let line = section.lines().find(|line| line.starts_with(&format!("{label}: ")));
            let line = line.unwrap_or_else(|| panic!("{}: no line `{label}: …`", call.name));
            if env::var_os(WRITE).is_some() {
                renewed = renewed.replace(line, &expected);
            } else {
                assert_eq!(line, expected, "{}: run this test with {WRITE}=1 to replace it", call.name);
            }
        }
        text = text.replace(&section, &renewed);
    }
    if env::var_os(WRITE).is_some() {
        fs::write(repository(PAGE), text).unwrap();
    }
    let general = page.table("## What holds for every call");
    let words = |row: usize| code_words(&general[row][1]);
    assert!(OF_ANY.iter().all(|code| words(0).iter().any(|word| word == code)));
    assert_eq!(words(1), OF_TOKENS);
    assert_eq!(words(2), OF_BODIES);
}

/// Each example matches its call, and each refusal is one that the call can have.
#[test]
fn the_examples_match_the_description() {
    let openapi = document("docs/openapi.json");
    let calls = calls(&openapi);
    let (mut with_answer, mut tried) = (BTreeSet::new(), 0);
    for block in Page::read(PAGE).blocks() {
        let example: Value = serde_json::from_str(&block.text).unwrap();
        let (name, status) = match block.kind.as_str() {
            "request" => (block.name.as_str(), None),
            "answer" => block.name.rsplit_once(' ').map(|(name, status)| (name, Some(status))).unwrap(),
            other => panic!("{other} is no marker of this page"),
        };
        let call = calls.iter().find(|call| call.name == name).unwrap_or_else(|| panic!("{name} is no call"));
        let schema = match status {
            None => &call.operation["requestBody"]["content"]["application/json"]["schema"],
            Some(status) => {
                assert!(call.responses().contains_key(status), "{name}: {status}");
                let content = call.response(status)["content"].as_object().unwrap();
                &content.values().next().unwrap()["schema"]
            }
        };
        assert_eq!(mismatch(&openapi, schema, &example), None, "{} {}: {example}", block.kind, block.name);
        if let Some(status) = status {
            with_answer.insert(name.to_owned());
            if !status.starts_with('2') {
                assert!(
                    call.codes(status).iter().any(|code| json!(code) == example["code"]),
                    "{name}: {example}"
                );
            }
        }
        tried += 1;
    }
    assert!(tried > 40, "{tried}");
    for call in calls {
        let success = call.responses().keys().find(|status| status.starts_with('2')).unwrap();
        let gives_json = call.response(success)["content"].get("application/json").is_some();
        assert!(!gives_json || with_answer.contains(&call.name), "{} has no example", call.name);
    }
}
