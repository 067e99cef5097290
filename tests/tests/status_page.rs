//! The status page of the admin listener (docs/operations.md, "Status page"), in a browser.

use aldis_tests::browser::{Browser, Tab};
use aldis_tests::{TestServer, Upgrade};
use serde_json::{Value, json};

/// The URL of a path of the admin listener.
fn admin(server: &TestServer, path: &str) -> String {
    let url = server.metrics_url().expect("an admin listener");
    format!("{}{path}", url.strip_suffix("metrics").unwrap())
}

fn status(server: &TestServer) -> Value {
    let answer = reqwest::blocking::get(admin(server, "status.json")).unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    serde_json::from_str(&answer.text().unwrap()).unwrap()
}

/// The texts of the elements that a selector names.
fn texts(tab: &mut Tab, selector: &str) -> Vec<String> {
    let all = format!("[...document.querySelectorAll({selector:?})].map((element) => element.textContent)");
    tab.evaluate(&all).as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_page_shows_connections_health_refusals_and_settings() {
    let server = TestServer::builder().env("ALDIS_NAME", "<b>Harbour & Co</b>").start();
    let user = server.user();
    let _peers = [user.opens_ephemeral(), user.opens_ephemeral()];
    let mut refused = Upgrade::to("/v1/connect").peer(&server);
    refused.expects("auth_challenge");
    refused.sends(json!({"type": "auth", "payload": {"token": "nonsense"}}));
    refused.expects_refusal("invalid_token", 4002);
    let browser = Browser::start();
    let mut tab = browser.opens(&admin(&server, ""));
    tab.awaits_text("overall", "All well");
    assert_eq!(tab.awaits_text("name", "Harbour"), "<b>Harbour & Co</b>", "it is text, not markup");
    tab.awaits_text("connected", "2");
    assert_eq!(texts(&mut tab, "#refusals tbody .code"), ["invalid_token", "/v1/connect"]);
    assert!(texts(&mut tab, "#parts li").iter().any(|part| part.contains("Database")));
    let settings = texts(&mut tab, "#settings tbody tr").join("\n");
    assert!(settings.contains("SECRET_KEY***") && !settings.contains(aldis_tests::SECRET_KEY), "{settings}");
    // A chart needs two samples.
    tab.awaits("document.querySelectorAll('#chart-connected path').length === 2");
    for theme in ["light", "dark"] {
        for width in [390, 1200] {
            tab.shows(width, theme);
            let overflow =
                tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert_eq!(overflow, 0, "{theme} at {width}");
        }
    }
    let grounds = ["light", "dark"].map(|theme| {
        tab.shows(1200, theme);
        tab.evaluate("getComputedStyle(document.body).backgroundColor").to_string()
    });
    assert_ne!(grounds[0], grounds[1], "two themes");
}

#[test]
fn a_server_whose_disk_is_full_fails_and_one_that_is_gone_does_not_answer() {
    let server = TestServer::start();
    let browser = Browser::start();
    let mut tab = browser.opens(&admin(&server, ""));
    tab.awaits_text("overall", "All well");
    server.limits_files(Some(1));
    tab.awaits_text("overall", "Failing");
    server.kill9();
    tab.awaits_text("overall", "No answer");
}

#[test]
fn the_page_loads_nothing_else_and_nobody_may_frame_it() {
    let server = TestServer::shared();
    for (path, kind) in [
        ("", "text/html; charset=utf-8"),
        ("status.css", "text/css; charset=utf-8"),
        ("status.js", "text/javascript; charset=utf-8"),
        ("status.svg", "image/svg+xml"),
    ] {
        let answer = reqwest::blocking::get(admin(&server, path)).unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert_eq!(answer.headers()["content-type"], kind);
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
}

#[test]
fn the_page_is_read_only_and_answers_to_its_own_names() {
    let server = TestServer::shared();
    let client = reqwest::blocking::Client::new();
    for path in ["", "status.json"] {
        let url = admin(&server, path);
        assert_eq!(client.post(&url).send().unwrap().status(), 405, "{path}");
        assert_eq!(client.get(&url).header("host", "evil.example").send().unwrap().status(), 403, "{path}");
    }
    server.http().get("/status.json").expects_problem(404, "not_found");
}

#[test]
fn the_figures_contain_no_secret() {
    let server = TestServer::builder()
        .env("ALDIS_TURN_URLS", "turn:turn.example")
        .env("ALDIS_TURN_SECRET", "hush-hush");
    let server = server.start();
    let status = status(&server);
    let text = status.to_string();
    assert!(!text.contains("hush-hush") && !text.contains(aldis_tests::SECRET_KEY), "{text}");
    assert_eq!(status["nodes"][0]["state"], "serving");
    assert_eq!(status["parts"][0]["state"], "ok");
}
