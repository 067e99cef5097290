//! The description as the server serves it, and calls that are validated against it.

use aldis_tests::schema::mismatch;
use aldis_tests::{Answer, Http, TestServer};
use serde_json::{Map, Value};

/// The media type of every problem.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// The description, as the server serves it.
pub(crate) struct Description {
    pub(crate) server: TestServer,
    pub(crate) document: Value,
}

/// A call, as described.
pub(crate) struct Call<'a> {
    /// As in the tables of docs/http.md.
    pub(crate) name: String,
    pub(crate) path: &'a str,
    pub(crate) operation: &'a Value,
}

impl Description {
    pub(crate) fn read() -> Self {
        let server = TestServer::shared();
        let document = server.http().get("/openapi.json").expects(200);
        Self { server, document }
    }

    pub(crate) fn calls(&self) -> Vec<Call<'_>> {
        let mut calls = Vec::new();
        for (path, operations) in object(&self.document["paths"]) {
            calls.extend(object(operations).iter().map(|(method, operation)| {
                let name = format!("{} {path}", method.to_uppercase());
                Call { name, path, operation }
            }));
        }
        calls
    }

    /// Makes a call, named as in the tables; `part` replaces the parameter of its path, or follows the path. The
    /// request must match the description; [`Http`] checks the response.
    #[track_caller]
    pub(crate) fn call(
        &self,
        http: &Http,
        name: &str,
        part: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let (method, template) = name.split_once(' ').unwrap();
        let path = match (template.find('{'), template.find('}')) {
            (Some(start), Some(end)) => format!("{}{part}{}", &template[..start], &template[end + 1..]),
            _ => format!("{template}{part}"),
        };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let mut headers = headers.to_vec();
        headers.extend((!bytes.is_empty()).then_some(("content-type", "application/json")));
        let answer = http.send(method, &path, &headers, bytes);
        let operation = &self.document["paths"][template][method.to_lowercase()];
        assert!(operation.is_object(), "{name} is not described");
        if !body.is_null() && answer.status < 300 {
            let content = &operation["requestBody"]["content"]["application/json"];
            self.check(name, &content["schema"], body);
        }
        answer
    }

    /// Whether a value matches a schema.
    pub(crate) fn fits(&self, schema: &Value, value: &Value) -> bool {
        mismatch(&self.document, schema, value).is_none()
    }

    /// The thing itself, if it is a reference.
    pub(crate) fn resolved<'a>(&'a self, thing: &'a Value) -> &'a Value {
        let pointer = thing["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        pointer.map_or(thing, |pointer| self.document.pointer(pointer).unwrap())
    }

    #[track_caller]
    fn check(&self, what: &str, schema: &Value, value: &Value) {
        if let Some(mismatch) = mismatch(&self.document, schema, value) {
            panic!("{what}: {mismatch}, in {value}");
        }
    }
}

#[track_caller]
pub(crate) fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

#[track_caller]
pub(crate) fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}"))
}
