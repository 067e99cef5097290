//! The HTTP API, as any program calls it.

use std::sync::LazyLock;

use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::contract::breach;
use crate::{PATIENCE, TestServer};

/// An HTTP client of one server, which it keeps alive, with the credentials of one user or none.
#[derive(Debug, Clone)]
pub struct Http {
    server: TestServer,
    token: Option<String>,
}

/// A response of the server.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The response's headers.
    pub headers: HeaderMap,
    /// The response's body.
    pub body: Vec<u8>,
}

impl Http {
    /// A client without credentials.
    #[must_use]
    pub fn new(server: &TestServer) -> Self {
        Self { server: server.clone(), token: None }
    }

    /// The same client with an access token.
    #[must_use]
    pub fn bearer(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// GET.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        as_described(Method::GET, path, self.request(Method::GET, path))
    }

    /// POST with a JSON body.
    #[must_use]
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        as_described(Method::POST, path, self.request(Method::POST, path).json(body))
    }

    /// DELETE.
    #[must_use]
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        as_described(Method::DELETE, path, self.request(Method::DELETE, path))
    }

    /// Any method, with headers and a body as they are given.
    #[must_use]
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.request(method.clone(), path).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        as_described(method, path, request)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = client().request(method, self.server.url(path));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

impl Answer {
    /// The body, if the status is as expected.
    #[track_caller]
    pub fn expects(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "the status of {}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem, if it is as expected and has the members of RFC 9457.
    #[track_caller]
    pub fn expects_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, "application/problem+json"),
            "{}",
            self.text()
        );
        let problem = self.json();
        assert_eq!(
            (problem["status"].as_u64(), problem["code"].as_str()),
            (Some(status.into()), Some(code)),
            "{problem}"
        );
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "title and detail of {problem}"
        );
        problem
    }

    /// A header of the response; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of ASCII"))
    }

    /// The body as JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

fn client() -> &'static Client {
    static CLIENT: LazyLock<Client> =
        LazyLock::new(|| Client::builder().no_proxy().timeout(PATIENCE * 3).build().expect("an HTTP client"));
    &CLIENT
}

/// The response, which must match the description of the call.
#[track_caller]
fn as_described(method: Method, path: &str, request: RequestBuilder) -> Answer {
    let answer = send(request);
    if let Some(breach) = breach(method.as_str(), path, &answer) {
        panic!("{method} {path} is described otherwise: {breach}: {}", answer.text());
    }
    answer
}

fn send(request: RequestBuilder) -> Answer {
    let response = request.send().expect("an HTTP response");
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.bytes().expect("the whole body").to_vec();
    Answer { status, headers, body }
}
