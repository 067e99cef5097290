//! HTTP before and beside the sockets: upgrades, limits, problems, CORS (docs/http.md; docs/security.md, "Sockets").

use std::time::Duration;

use aldis_tests::{RawAnswer, RawHttp, TestServer, Upgrade};
use serde_json::json;

fn exchange(request: &str) -> RawAnswer {
    let server = TestServer::shared();
    let request = request.replace("{host}", &server.authority());
    RawHttp::exchange(&server, request.as_bytes())
}

// Upgrades.

#[test]
fn only_version_13_is_supported() {
    let server = TestServer::shared();
    for (version, door) in
        [(Some("12"), "/signal"), (Some("8"), "/v1/connect"), (None, "/ws"), (Some("13, 8"), "/api/ws")]
    {
        let refused = Upgrade::to(door).with("Sec-WebSocket-Version", version).refused(&server);
        assert_eq!(
            (refused.status, refused.header("sec-websocket-version")),
            (426, "13"),
            "{door} {version:?}"
        );
        assert_eq!(refused.json()["code"], "upgrade_required");
    }
}

#[test]
fn a_door_without_an_upgrade_asks_for_one() {
    let server = TestServer::shared();
    for door in ["/v1/connect", "/v1/chat/lobby", "/signal", "/ws", "/api/ws"] {
        server.http().get(door).expects_problem(426, "upgrade_required");
    }
}

#[test]
fn a_malformed_key_is_refused() {
    let server = TestServer::shared();
    for key in [
        None,
        Some("short"),
        Some("dGhlIHNhbXBsZSBub25jZQ"),
        Some("!!!!IHNhbXBsZSBub25jZQ=="),
        Some("AAAAAAAAAAAAAAAAAAAAAAAA"),
    ] {
        let refused = Upgrade::to("/v1/connect").with("Sec-WebSocket-Key", key).refused(&server);
        assert!((400..=426).contains(&refused.status), "{key:?}: {}", refused.status);
    }
}

#[test]
fn origins_are_the_servers_own_and_loopback() {
    let server = TestServer::shared();
    let own = server.url("");
    for origin in [own.as_str(), "http://localhost:3000", "https://127.0.0.1", "http://[::1]:8080"] {
        let _ = Upgrade::to("/v1/connect").header("Origin", origin).open(&server);
    }
    let strangers = [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "ftp://localhost",
    ];
    for door in ["/v1/connect", "/v1/chat/lobby", "/signal", "/ws", "/api/ws"] {
        for origin in strangers {
            let refused = Upgrade::to(door).header("Origin", origin).refused(&server);
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (403, &json!("forbidden")),
                "{door} {origin}"
            );
        }
    }
}

#[test]
fn a_list_of_origins_is_exact() {
    let server = TestServer::builder().env("ALDIS_ALLOWED_ORIGINS", "https://app.example").start();
    let _ = Upgrade::to("/v1/connect").header("Origin", "https://app.example").open(&server);
    for origin in [
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "http://localhost:3000",
    ] {
        let refused = Upgrade::to("/v1/connect").header("Origin", origin).refused(&server);
        assert_eq!(refused.status, 403, "{origin}");
    }
}

#[test]
fn a_list_for_production_locked_the_development_server_out_of_sockets_only() {
    let reads = |server: &TestServer, origin: &str| {
        let answer = server.http().send("GET", "/health", &[("Origin", origin)], Vec::new());
        answer.expects(200);
        answer.header("access-control-allow-origin") == origin
    };
    let opens = |server: &TestServer, origin: &str| {
        Upgrade::to("/v1/connect").header("Origin", origin).try_open(server).is_ok()
    };
    for (list, allowed, refused) in [
        (
            "https://app.example",
            &["https://app.example"][..],
            &["http://localhost:3000", "null", "file://"][..],
        ),
        ("https://app.example,loopback", &["https://app.example", "http://localhost:3000"], &["null"]),
        ("null,file://", &["null", "file://"], &["http://localhost:3000", "https://app.example"]),
    ] {
        let server = TestServer::builder().env("ALDIS_ALLOWED_ORIGINS", list).start();
        for origin in allowed {
            assert!(reads(&server, origin) && opens(&server, origin), "{origin} of {list}");
        }
        for origin in refused {
            assert!(!reads(&server, origin) && !opens(&server, origin), "{origin} of {list}");
        }
    }
}

#[test]
fn an_origin_sent_twice_is_refused() {
    let server = TestServer::shared();
    let upgrade = Upgrade::to("/v1/connect")
        .header("Origin", "http://localhost")
        .header("Origin", "https://evil.example");
    assert!((400..=403).contains(&upgrade.refused(&server).status));
}

#[test]
fn header_values_of_an_upgrade_are_read_as_the_rfc_says() {
    let server = TestServer::shared();
    let upgrade = Upgrade::to("/v1/connect").with("Upgrade", Some("WebSocket"));
    let mut peer = upgrade.with("Connection", Some("keep-alive, upgrade")).peer(&server);
    peer.expects("auth_challenge");
}

#[test]
fn an_incomplete_upgrade_is_refused() {
    let server = TestServer::shared();
    for (name, value) in
        [("Upgrade", None), ("Upgrade", Some("h2c")), ("Connection", None), ("Connection", Some("close"))]
    {
        let refused = Upgrade::to("/v1/connect").with(name, value).refused(&server);
        assert!((400..=426).contains(&refused.status), "{name}: {value:?}: {}", refused.status);
    }
}

#[test]
fn an_upgrade_must_be_a_get() {
    let server = TestServer::shared();
    let request = String::from_utf8(Upgrade::to("/v1/connect").encode(&server)).unwrap();
    let answer = RawHttp::exchange(&server, request.replacen("GET", "POST", 1).as_bytes());
    assert_eq!(answer.status, 405);
    let answer = RawHttp::exchange(&server, request.replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes());
    assert!((400..=505).contains(&answer.status), "{}", answer.status);
}

#[test]
fn compression_is_never_negotiated() {
    let server = TestServer::shared();
    let upgrade = Upgrade::to("/v1/connect")
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    let mut peer = upgrade.peer(&server);
    peer.expects("auth_challenge");
}

// Limits.

#[test]
fn a_header_over_16_kib_is_431() {
    let answer = exchange(&format!(
        "GET /health HTTP/1.1\r\nHost: {{host}}\r\nX-Long: {}\r\n\r\n",
        "x".repeat(17_000)
    ));
    assert_eq!(answer.status, 431);
}

#[test]
fn a_header_of_16_kib_is_read() {
    let answer = exchange(&format!(
        "GET /health HTTP/1.1\r\nHost: {{host}}\r\nX-Long: {}\r\n\r\n",
        "x".repeat(15_000)
    ));
    assert_eq!(answer.status, 200);
}

#[test]
fn the_sixty_fifth_header_is_431() {
    let headers = |count: usize| (1..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    assert_eq!(
        exchange(&format!("GET /health HTTP/1.1\r\nHost: {{host}}\r\n{}\r\n", headers(64))).status,
        200
    );
    assert_eq!(
        exchange(&format!("GET /health HTTP/1.1\r\nHost: {{host}}\r\n{}\r\n", headers(65))).status,
        431
    );
}

#[test]
fn a_uri_over_8_kib_is_414() {
    let answer = exchange(&format!("GET /health?{} HTTP/1.1\r\nHost: {{host}}\r\n\r\n", "x".repeat(8_300)));
    assert_eq!(answer.status, 414);
    let within = exchange(&format!("GET /health?{} HTTP/1.1\r\nHost: {{host}}\r\n\r\n", "x".repeat(8_000)));
    assert_eq!(within.status, 200);
}

#[test]
fn a_header_has_ten_seconds_even_if_it_arrives_slowly() {
    let server = TestServer::shared();
    let mut silent = RawHttp::connect(&server);
    let mut trickling = RawHttp::connect(&server);
    trickling.send(b"GET /health HTTP/1.1\r\nX-Slow: ");
    let trickle = std::thread::spawn(move || {
        let start = std::time::Instant::now();
        let end = start + Duration::from_secs(13);
        while std::time::Instant::now() < end {
            trickling.send(b"y");
            std::thread::park_timeout(Duration::from_millis(500));
        }
        trickling.send(b"\r\n\r\n");
        let (stream, _) = trickling.into_parts();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut buffer = [0; 512];
        let length = std::io::Read::read(&mut &stream, &mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    });
    let waited = silent.expects_end(Duration::from_secs(13));
    assert!(waited > Duration::from_secs(8), "the connection ended after {waited:?}");
    let answered = trickle.join().unwrap();
    assert!(!answered.contains(" 200 "), "a header that trickled for 13 s was answered: {answered}");
}

#[test]
fn a_body_over_64_kib_is_413() {
    let server = TestServer::shared();
    let body = json!({"email": "x".repeat(66_000), "password": "password"});
    server.http().post("/auth/login", &body).expects_problem(413, "too_large");
}

#[test]
fn a_chunked_body_over_64_kib_is_413() {
    let server = TestServer::shared();
    let mut connection = RawHttp::connect(&server);
    let head = format!(
        "POST /auth/login HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        server.authority()
    );
    connection.send(head.as_bytes());
    for _ in 0..70 {
        connection.send(format!("400\r\n{}\r\n", "x".repeat(1_024)).as_bytes());
    }
    assert_eq!(connection.answer().status, 413);
}

// Problems.

#[test]
fn an_unknown_path_is_404() {
    let problem = TestServer::shared().http().get("/nothing/here").expects_problem(404, "not_found");
    assert_eq!(problem["status"], 404);
}

#[test]
fn a_wrong_method_is_405_and_names_the_right_ones() {
    let server = TestServer::shared();
    let answer = server.http().get("/auth/login");
    answer.expects_problem(405, "method_not_allowed");
    assert!(answer.header("allow").contains("POST"), "Allow: {}", answer.header("allow"));
    let answer = server.http().delete("/health");
    answer.expects_problem(405, "method_not_allowed");
    assert!(answer.header("allow").contains("GET"), "Allow: {}", answer.header("allow"));
}

#[test]
fn a_missing_or_mistyped_field_is_named() {
    let http = TestServer::shared().http();
    let cases = [
        (json!({"email": "a@b.example"}), "password"),
        (json!({"password": "12345678"}), "email"),
        (json!({"email": 1, "password": "12345678"}), "email"),
        (json!({"email": "nul\u{0}@b.example", "password": "12345678"}), "email"),
        (json!({"email": "a@b.example", "password": "1234567\u{0}8"}), "password"),
    ];
    for (body, field) in cases {
        let problem = http.post("/auth/register", &body).expects_problem(422, "bad_request");
        assert!(problem["detail"].as_str().unwrap().contains(field), "`{field}` in {problem}");
    }
}

#[test]
fn malformed_json_is_422_and_another_media_type_415() {
    let http = TestServer::shared().http();
    let json = [("Content-Type", "application/json")];
    let deep = [b"[".repeat(200), b"]".repeat(200)].concat();
    for body in [
        b"".to_vec(),
        b"nonsense".to_vec(),
        b"[]".to_vec(),
        b"{\"email\":\"\\ud800\"}".to_vec(),
        vec![0xff],
        deep,
    ] {
        http.send("POST", "/auth/login", &json, body).expects_problem(422, "bad_request");
    }
    let body = br#"{"email":"a@b.example","password":"12345678"}"#.to_vec();
    let text = [("Content-Type", "text/plain")];
    http.send("POST", "/auth/login", &text, body.clone()).expects_problem(415, "unsupported_media_type");
    http.send("POST", "/auth/login", &[], body).expects_problem(415, "unsupported_media_type");
}

#[test]
fn a_json_body_may_state_its_charset() {
    let http = TestServer::shared().http();
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    let body = br#"{"email":"nobody@b.example","password":"12345678"}"#.to_vec();
    http.send("POST", "/auth/login", &headers, body).expects_problem(401, "invalid_credentials");
}

#[test]
fn every_response_has_a_request_id() {
    let server = TestServer::shared();
    let first = server.http().get("/health").header("x-request-id").to_owned();
    let second = server.http().get("/nothing").header("x-request-id").to_owned();
    let refused = Upgrade::to("/api/ws").refused(&server).header("x-request-id").to_owned();
    assert!([&first, &second, &refused].iter().all(|id| !id.is_empty()), "{first:?} {second:?} {refused:?}");
    assert_ne!(first, second);
}

#[test]
fn a_401_says_how_to_authenticate() {
    let http = TestServer::shared().http();
    let answer = http.get("/devices/");
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
    let answer = http.bearer("nonsense").get("/devices/");
    answer.expects_problem(401, "invalid_token");
}

// CORS.

fn preflight(origin: &str) -> aldis_tests::Answer {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    TestServer::shared().http().send("OPTIONS", "/auth/login", &headers, Vec::new())
}

#[test]
fn loopback_pages_may_call() {
    for origin in ["http://localhost:3000", "https://localhost", "http://127.0.0.1:5173", "http://[::1]:80"] {
        let answer = preflight(origin);
        assert!((200..300).contains(&answer.status), "{origin}: {}", answer.status);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        let methods = answer.header("access-control-allow-methods").to_owned();
        assert!(["GET", "POST", "PUT", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
        let headers = answer.header("access-control-allow-headers").to_ascii_lowercase();
        assert!(
            ["authorization", "content-type", "if-match"].iter().all(|name| headers.contains(name)),
            "{headers}"
        );
        assert_eq!(answer.header("access-control-allow-credentials"), "", "never credentials");
    }
}

#[test]
fn other_pages_may_not_call() {
    for origin in
        ["https://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1.evil.example"]
    {
        assert_eq!(preflight(origin).header("access-control-allow-origin"), "", "{origin}");
        let answer = TestServer::shared().http().send("GET", "/health", &[("Origin", origin)], Vec::new());
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
    }
}

#[test]
fn pages_may_read_what_they_need() {
    let server = TestServer::shared();
    let answer = server.http().send("GET", "/devices/", &[("Origin", "http://localhost:3000")], Vec::new());
    assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:3000", "problems too");
    let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
    assert!(["etag", "retry-after", "x-request-id"].iter().all(|name| exposed.contains(name)), "{exposed}");
    assert!(answer.header("vary").to_ascii_lowercase().contains("origin"), "Vary: {}", answer.header("vary"));
}

// HTTP itself.

#[test]
fn a_body_has_fifteen_seconds() {
    let server = TestServer::shared();
    let mut connection = RawHttp::connect(&server);
    let head = "POST /auth/login HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 40";
    connection.send(format!("{head}\r\nHost: {}\r\n\r\n{{", server.authority()).as_bytes());
    assert_eq!(connection.answer_within(Duration::from_secs(18)).status, 408);
}

#[test]
fn a_request_that_two_servers_read_differently_was_answered() {
    let server = TestServer::shared();
    let host = server.authority();
    for request in [
        "GET /health HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /health HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nHost: {host}, evil.example\r\n\r\n"),
        format!("GET /health HTTP/1.1\nHost: {host}\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nHost: {host}\n\r\n"),
        format!("GET /health HTTP/1.1\r\nHost: {host}\r\nX: y\n\n"),
        format!("GET /v1/connect HTTP/1.1\nHost: {host}\n\n"),
        format!("GET /nothing HTTP/1.1\nHost: {host}\n\n"),
    ] {
        let mut connection = RawHttp::connect(&server);
        connection.send(request.as_bytes());
        let answer = connection.answer();
        assert_eq!(answer.status, 400, "{request:?}");
        assert_eq!(answer.json()["code"], "bad_request", "{request:?}");
        connection.expects_end(Duration::from_secs(10));
    }
    let mut old = RawHttp::connect(&server);
    old.send(b"GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(old.answer().status, 200);
}

#[test]
fn a_body_with_line_feeds_and_the_next_request_are_read_unchanged() {
    let server = TestServer::shared();
    let host = server.authority();
    let body = "{\n\"email\": \"a\",\n\n\"password\": \"b\"\n}";
    let login = format!(
        "POST /auth/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let health = format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let bare = format!("GET /health HTTP/1.1\nHost: {host}\r\n\r\n");
    let mut connection = RawHttp::connect(&server);
    connection.send(format!("{login}{health}{login}{bare}").as_bytes());
    for status in [401, 200, 401, 400] {
        assert_eq!(connection.answer().status, status);
    }
}

#[test]
fn a_second_content_length_is_refused() {
    let answer = exchange(
        "POST /auth/login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    );
    assert_eq!(answer.status, 400);
}

#[test]
fn nonsense_is_400() {
    assert_eq!(exchange("nonsense\r\n\r\n").status, 400);
}

#[test]
fn a_connection_takes_several_requests() {
    let server = TestServer::shared();
    let mut connection = RawHttp::connect(&server);
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", server.authority());
    for _ in 0..3 {
        connection.send(request.as_bytes());
        assert_eq!(connection.answer().status, 200);
    }
}
