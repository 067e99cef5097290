//! The description of the HTTP API, `docs/openapi.json`. Every response in a scenario is validated against it.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::Answer;
use crate::schema::mismatch;

/// The copy in the repository; a scenario compares it with what the server serves.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../docs/openapi.json")).expect("a description that is JSON")
});

/// How a response differs from the description of its call. Paths and methods without a description are ignored.
pub(crate) fn breach(method: &str, target: &str, answer: &Answer) -> Option<String> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let is_head = method == "HEAD";
    let method = if is_head { "get".to_owned() } else { method.to_lowercase() };
    let operation = operations(path)?.get(&method)?;
    let response = &operation["responses"][answer.status.to_string()];
    let Some(response) = response.is_object().then(|| resolved(response)) else {
        return Some(format!("the status {} is not described", answer.status));
    };
    missing_header(response, answer).or_else(|| if is_head { None } else { wrong_content(response, answer) })
}

fn missing_header(response: &Value, answer: &Answer) -> Option<String> {
    let headers = response["headers"].as_object().into_iter().flat_map(Map::keys);
    let mut missing = headers.filter(|header| !answer.headers.contains_key(*header));
    missing.next().map(|header| format!("{} without {header}", answer.status))
}

fn wrong_content(response: &Value, answer: &Answer) -> Option<String> {
    let Some(contents) = response["content"].as_object() else {
        return (!answer.body.is_empty()).then(|| "a body, where none is described".to_owned());
    };
    let kind = answer.header("content-type");
    let Some(content) = contents.get(kind) else { return Some(format!("`{kind}` is not described")) };
    if kind.ends_with("json") { mismatch(&DOCUMENT, &content["schema"], &answer.json()) } else { None }
}

/// The calls at the path. The slash at its end may differ from the description.
fn operations(path: &str) -> Option<&'static Map<String, Value>> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let exact = paths.get(path).or_else(|| paths.get(&format!("{path}/")));
    let found =
        exact.or_else(|| paths.iter().find(|(template, _)| fits(template, path)).map(|(_, found)| found));
    found.and_then(Value::as_object)
}

fn fits(template: &str, path: &str) -> bool {
    let [mut wanted, mut given] = [template, path].map(|path| path.trim_end_matches('/').split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given))
                if wanted == given || wanted.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}

fn resolved(thing: &'static Value) -> &'static Value {
    let pointer = thing["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| DOCUMENT.pointer(pointer)).unwrap_or(thing)
}
