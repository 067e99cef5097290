//! The routes, called in memory over a database in memory.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use aldis_auth::{KeyRing, RootKey, SecretKey};
use aldis_protocol::{
    api::ChallengeResponse,
    binary,
    statement::{AuthChallenge, Transport},
};
use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    response::Response,
    routing::{any, get},
};
use http::{
    Method, Request, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
        AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, ORIGIN, RETRY_AFTER, VARY,
        WWW_AUTHENTICATE,
    },
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::routes;
use crate::{
    config::{Config, LiveConfig, Loaded},
    node::Node,
    relay::Relay,
    store::{Store, StoreOptions},
};

/// The configuration of these flags.
pub(super) fn config(flags: &[&str]) -> Config {
    let arguments = ["aldis"].iter().chain(flags).map(Into::into);
    let loaded = Config::load(arguments, []).unwrap();
    let Loaded::Run(config) = loaded else { panic!("{loaded:?}") };
    *config
}

struct Api {
    node: Arc<Node>,
    store: Arc<Store>,
    routes: Router,
}

struct Answer {
    response: http::response::Parts,
    body: Vec<u8>,
}

impl Api {
    async fn start(flags: &[&str]) -> Self {
        let config =
            config(&[&["--database-url", "sqlite::memory:", "--rate-limits", "off"], flags].concat());
        let store = Arc::new(Store::open(&config.database_url, &StoreOptions::default()).await.unwrap());
        let ring = KeyRing::new(RootKey::new([7; 32]));
        let config = LiveConfig::new(config);
        let relay = Relay::over(Arc::clone(&config), &ring, Arc::clone(&store));
        let node = Arc::new(Node::new(config, relay));
        let doors = Router::new()
            .route(
                "/panics",
                get(|| async {
                    if true {
                        panic!("a bug")
                    }
                }),
            )
            .route("/door", any(|| async { StatusCode::SWITCHING_PROTOCOLS }));
        Self { routes: routes(Arc::clone(&node), doors), node, store }
    }

    async fn send(&self, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
        let response: Response = self.routes.clone().oneshot(request).await.unwrap();
        let (response, body) = response.into_parts();
        Answer { response, body: body.collect().await.unwrap().to_bytes().to_vec() }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.call(Method::POST, path, &[(CONTENT_TYPE, "application/json")], body).await
    }

    async fn registered(&self, email: &str) -> Value {
        let body = json!({"email": email, "password": "12345678"}).to_string();
        self.post("/auth/register", body).await.expects(201)
    }
}

impl Answer {
    #[track_caller]
    fn expects(&self, status: u16) -> Value {
        assert_eq!(self.response.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("x-request-id").len(), 32);
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The problem's detail.
    #[track_caller]
    fn expects_problem(&self, status: u16, code: &str) -> String {
        let problem = self.expects(status);
        assert_eq!(self.header(CONTENT_TYPE), "application/problem+json");
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{problem}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }

    fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.response.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn bearer(tokens: &Value) -> (HeaderName, String) {
    (AUTHORIZATION, format!("Bearer {}", tokens["access_token"].as_str().unwrap()))
}

#[tokio::test]
async fn an_account_is_registered_used_and_refreshed() {
    let api = Api::start(&[]).await;
    let tokens = api.registered("ann@aldis.example").await;
    assert_eq!(tokens["token_type"], "bearer");
    let body = json!({"email": "ANN@aldis.example", "password": "12345678"}).to_string();
    api.post("/auth/register", body.clone()).await.expects_problem(409, "conflict");
    let login = api.post("/auth/login", body).await;
    assert_eq!(login.expects(200)["user_id"], tokens["user_id"]);
    assert_eq!(login.header(CACHE_CONTROL), "no-store");
    let body = json!({"refresh_token": tokens["refresh_token"]}).to_string();
    api.post("/api/auth/refresh", body).await.expects(200);
    let wrong = json!({"email": "ann@aldis.example", "password": "87654321"}).to_string();
    let refused = api.post("/auth/login", wrong).await;
    refused.expects_problem(401, "invalid_credentials");
    assert_eq!(refused.header(WWW_AUTHENTICATE), r#"Bearer realm="aldis""#);
}

#[tokio::test]
async fn a_key_registers_and_signs_in() {
    let api = Api::start(&[]).await;
    let key = SecretKey::from_bytes(&[9; 32]);
    let public_key = binary::encode(key.public_key().as_bytes());
    for status in [201, 200] {
        let body = json!({"public_key": public_key}).to_string();
        let challenge = api.post("/api/auth/challenge", body).await.expects(200);
        assert_eq!(challenge["audience"], "localhost");
        let signature = sign(&key, &serde_json::from_value(challenge.clone()).unwrap());
        let body =
            json!({"public_key": public_key, "challenge": challenge["challenge"], "signature": signature});
        let tokens = api.post("/api/auth/verify", body.to_string()).await.expects(status);
        assert!(tokens["fingerprint"].is_string(), "{tokens}");
    }
}

#[tokio::test]
async fn a_challenge_needs_a_name_and_a_good_key() {
    let api = Api::start(&[]).await;
    let request = Request::post("/api/auth/challenge").header(HOST, "aldis.example");
    let public_key = binary::encode(SecretKey::from_bytes(&[9; 32]).public_key().as_bytes());
    let body = json!({"public_key": public_key}).to_string();
    let request = request.header(CONTENT_TYPE, "application/json").body(body.into()).unwrap();
    api.send(request).await.expects_problem(421, "public_origin_required");
    let weak = json!({"public_key": binary::encode(&[0; 32])}).to_string();
    api.post("/api/auth/challenge", weak).await.expects_problem(422, "invalid_key");
    let short = json!({"public_key": "AAAA"}).to_string();
    let detail = api.post("/api/auth/challenge", short).await.expects_problem(422, "bad_request");
    assert!(detail.contains("public_key"), "{detail}");
}

#[tokio::test]
async fn devices_are_registered_listed_and_removed() {
    let api = Api::start(&[]).await;
    let (name, token) = bearer(&api.registered("ann@aldis.example").await);
    let key = binary::encode(SecretKey::from_bytes(&[5; 32]).public_key().as_bytes());
    for id in ["phone", "register"] {
        let body = json!({"device_id": id, "pubkey": key}).to_string();
        let headers = [(CONTENT_TYPE, "application/json"), (name.clone(), token.as_str())];
        for status in [201, 200] {
            let device =
                api.call(Method::POST, "/devices/register", &headers, body.clone()).await.expects(status);
            assert_eq!(device["device_id"], id);
        }
        for path in ["/devices", "/devices/"] {
            let list = api.call(Method::GET, path, &headers, "").await.expects(200);
            assert_eq!(list["devices"][0]["device_id"], id, "{path}");
        }
        let path = format!("/devices/{id}");
        let removed = api.call(Method::DELETE, &path, &headers, "").await;
        removed.expects(204);
        assert!(removed.body.is_empty());
        api.call(Method::DELETE, &path, &headers, "").await.expects_problem(404, "unknown_device");
    }
    for id in ["a%20b", "%ff", "%00", &"x".repeat(65)] {
        let headers = [(name.clone(), token.as_str())];
        let answer = api.call(Method::DELETE, &format!("/devices/{id}"), &headers, "").await;
        answer.expects_problem(404, "unknown_device");
    }
}

#[tokio::test]
async fn a_token_is_checked_first() {
    let api = Api::start(&[]).await;
    for path in ["/devices", "/api/ice-servers"] {
        let answer = api.get(path).await;
        answer.expects_problem(401, "missing_token");
        assert_eq!(answer.header(WWW_AUTHENTICATE), r#"Bearer realm="aldis""#);
    }
    let bad = api.call(Method::GET, "/devices", &[(AUTHORIZATION, "Bearer nonsense")], "").await;
    bad.expects_problem(401, "invalid_token");
    assert!(bad.header(WWW_AUTHENTICATE).contains(r#"error="invalid_token""#));
    let cookie = [(http::header::COOKIE, "access_token=nonsense")];
    api.call(Method::GET, "/devices", &cookie, "").await.expects_problem(401, "missing_token");
    api.call(Method::POST, "/devices/register", &[], "nonsense").await.expects_problem(401, "missing_token");
}

#[tokio::test]
async fn ice_servers_are_a_bare_array() {
    let api = Api::start(&[]).await;
    let (name, token) = bearer(&api.registered("ann@aldis.example").await);
    let servers = api.call(Method::GET, "/api/ice-servers", &[(name, token.as_str())], "").await.expects(200);
    assert_eq!(servers[0]["urls"][0], "stun:stun.l.google.com:19302");
}

#[tokio::test]
async fn a_bad_body_names_its_field() {
    let api = Api::start(&[]).await;
    let cases = [
        (r#"{"email":"a@b"}"#, "password"),
        (r#"{"email":1,"password":"12345678"}"#, "`email`"),
        (r#"{"email":"a@b","email":"a@b","password":"12345678"}"#, "email"),
        (r#"{"email":"a\u0000@b","password":"12345678"}"#, "`email`"),
        (r#"{"email":"a@b","password":"12345678","other":[{"x":"\u0000"}]}"#, "`other[0].x`"),
        (r#"["a@b","12345678"]"#, "object"),
        ("", "object"),
        ("nonsense", "object"),
        (r#"{"email":"\ud800"}"#, "no JSON"),
        (r#"{"email":"a@b","password":"12345678"} x"#, "no JSON"),
    ];
    for (body, named) in cases {
        let detail = api.post("/auth/register", body).await.expects_problem(422, "bad_request");
        assert!(detail.contains(named), "`{named}` in {detail}");
    }
    let deep = format!(r#"{{"email":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    api.post("/auth/register", deep).await.expects_problem(422, "bad_request");
    let escaped = r#"{"email":"nobody@b","password":"12345678\\u0000"}"#;
    api.post("/auth/login", escaped).await.expects_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn a_problem_never_quotes_what_was_sent() {
    let api = Api::start(&[]).await;
    let body = format!(r#"{{"refresh_token":{{"{}":1}}}}"#, "secret".repeat(1_000));
    let detail = api.post("/api/auth/refresh", body).await.expects_problem(422, "bad_request");
    assert!(!detail.contains("secret"), "{detail}");
    let detail =
        api.post("/auth/login", r#"{"password":12345678}"#).await.expects_problem(422, "bad_request");
    assert!(!detail.contains("12345678"), "{detail}");
}

#[tokio::test]
async fn only_json_is_read() {
    let api = Api::start(&[]).await;
    let body = r#"{"email":"nobody@b.example","password":"12345678"}"#;
    for kind in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"] {
        let answer = api.call(Method::POST, "/auth/login", &[(CONTENT_TYPE, kind)], body).await;
        answer.expects_problem(401, "invalid_credentials");
    }
    for kind in ["text/plain", "application/jsonx", "application/x-www-form-urlencoded", ""] {
        let answer = api.call(Method::POST, "/auth/login", &[(CONTENT_TYPE, kind)], body).await;
        answer.expects_problem(415, "unsupported_media_type");
    }
    api.call(Method::POST, "/auth/login", &[], body).await.expects_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_body_over_64_kib_is_refused() {
    let api = Api::start(&[]).await;
    let blank = |length| " ".repeat(length);
    api.post("/auth/login", blank(64 * 1024)).await.expects_problem(422, "bad_request");
    api.post("/auth/login", blank(64 * 1024 + 1)).await.expects_problem(413, "too_large");
    let chunks = (0..65).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024]));
    let chunked = Body::from_stream(futures::stream::iter(chunks));
    api.post("/auth/login", chunked).await.expects_problem(413, "too_large");
}

#[tokio::test]
async fn a_slow_body_is_refused_after_fifteen_seconds() {
    let api = Api::start(&[]).await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let trickle = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(" "), ()))
    });
    let answer = api.post("/auth/login", Body::from_stream(trickle)).await;
    answer.expects_problem(408, "bad_request");
    assert_eq!(start.elapsed().as_secs(), 15);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let api = Api::start(&[]).await;
    api.get("/nothing/here").await.expects_problem(404, "not_found");
    let answer = api.get("/auth/login").await;
    answer.expects_problem(405, "method_not_allowed");
    assert_eq!(answer.header(ALLOW), "POST");
    let answer = api.call(Method::DELETE, "/health", &[], "").await;
    answer.expects_problem(405, "method_not_allowed");
    assert_eq!(answer.header(ALLOW), "GET,HEAD");
    api.get("/panics").await.expects_problem(500, "internal");
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let api = Api::start(&[]).await;
    let answer = api.call(Method::HEAD, "/health", &[], "").await;
    answer.expects(200);
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn a_head_over_its_limits_is_refused() {
    let api = Api::start(&[]).await;
    api.get(&format!("/health?{}", "x".repeat(8_300))).await.expects_problem(414, "uri_too_long");
    let x = HeaderName::from_static("x");
    let many = vec![(x.clone(), "y"); 64];
    api.call(Method::GET, "/health", &many, "").await.expects_problem(431, "headers_too_large");
    api.call(Method::GET, "/health", &many[1..], "").await.expects(200);
    let long = "y".repeat(17_000);
    api.call(Method::GET, "/health", &[(x, &long)], "").await.expects_problem(431, "headers_too_large");
}

#[tokio::test]
async fn a_request_id_is_the_servers_own() {
    let api = Api::start(&[]).await;
    let answer =
        api.call(Method::GET, "/health", &[(HeaderName::from_static("x-request-id"), "mine")], "").await;
    assert_eq!(answer.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn readiness_ends_with_draining() {
    let api = Api::start(&[]).await;
    api.get("/health/ready").await.expects(200);
    api.node.start_draining();
    let answer = api.get("/health/ready").await;
    answer.expects_problem(503, "draining");
    assert!(!answer.header(RETRY_AFTER).is_empty());
    assert_eq!(api.get("/health").await.expects(200)["status"], "ok");
}

#[tokio::test]
async fn known_origins_may_call_and_read() {
    let api = Api::start(&["--allowed-origins", "https://app.example,loopback"]).await;
    let asked = HeaderName::from_static("access-control-request-method");
    for origin in ["https://app.example", "http://localhost:3000"] {
        let headers = [(ORIGIN, origin), (asked.clone(), "POST")];
        let preflight = api.call(Method::OPTIONS, "/auth/login", &headers, "").await;
        preflight.expects(204);
        assert_eq!(preflight.header(ACCESS_CONTROL_ALLOW_ORIGIN), origin);
        assert!(preflight.header(ACCESS_CONTROL_ALLOW_METHODS).contains("DELETE"));
        let answer = api.call(Method::GET, "/nothing", &[(ORIGIN, origin)], "").await;
        assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN), origin);
        assert_eq!((answer.header(VARY), answer.header(ACCESS_CONTROL_ALLOW_CREDENTIALS)), ("Origin", ""));
    }
    for origin in ["https://evil.example", "null", "http://app.example"] {
        let headers = [(ORIGIN, origin), (asked.clone(), "POST")];
        let preflight = api.call(Method::OPTIONS, "/auth/login", &headers, "").await;
        let cors =
            preflight.response.headers.keys().filter(|name| name.as_str().starts_with("access-control"));
        assert_eq!((preflight.header(VARY), cors.count()), ("Origin", 0));
    }
    api.call(Method::OPTIONS, "/auth/login", &[], "").await.expects_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn a_door_answers_through_the_same_layers() {
    let api = Api::start(&[]).await;
    api.get("/door").await.expects(101);
}

fn sign(key: &SecretKey, challenge: &ChallengeResponse) -> String {
    let signature = key.sign_challenge(&AuthChallenge {
        audience: &challenge.audience,
        transport: Transport::Http,
        challenge: &challenge.challenge,
        public_key: key.public_key().as_bytes(),
        device_id: None,
        expires_at_ms: challenge.expires_at_ms,
    });
    binary::encode(&signature)
}

#[tokio::test]
async fn hanging_up_suppressed_the_notice_of_a_new_device() {
    let api = Api::start(&[]).await;
    let tokens = api.registered("ann@aldis.example").await;
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let register = |id: &str| {
        let pubkey = binary::encode(SecretKey::generate(&mut rand::rng()).public_key().as_bytes());
        let body = json!({"device_id": id, "pubkey": pubkey}).to_string();
        let request = Request::post("/devices/register").header(HOST, "localhost");
        let mut request = request
            .header(AUTHORIZATION, &bearer)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
        api.routes.clone().oneshot(request)
    };
    assert_eq!(register("phone").await.unwrap().status(), 201);
    {
        let mut hung_up = std::pin::pin!(register("laptop"));
        assert!(futures::poll!(hung_up.as_mut()).is_pending());
    }
    api.node.relay.calls.ended().await;
    let user = tokens["user_id"].as_str().unwrap().parse().unwrap();
    let phone = "phone".parse().unwrap();
    let told = api.store.take_notices(user, &phone, crate::clock::unix_ms_i64()).await.unwrap();
    assert!(
        matches!(&told[..], [crate::store::Notice::Alert(alert)] if alert.kind == aldis_protocol::AlertKind::DeviceAdded),
        "{told:?}"
    );
}
