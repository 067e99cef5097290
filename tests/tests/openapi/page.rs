//! How the description and its page are served.

use aldis_tests::TestServer;
use serde_json::json;

#[test]
fn the_description_is_served_like_every_answer() {
    let server = TestServer::start();
    let http = server.http();
    let answer = http.send("GET", "/openapi.json", &[("origin", "http://localhost:5173")], Vec::new());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:5173");
    assert!(answer.header("cache-control").contains("max-age"), "{answer:?}");
    assert!(!answer.header("x-request-id").is_empty());
    let head = http.send("HEAD", "/openapi.json", &[], Vec::new());
    assert_eq!((head.status, head.body.len()), (200, 0));
    for path in ["/openapi.json", "/docs/", "/docs/swagger-ui.css"] {
        let refused = http.post(path, &json!({}));
        refused.expects_problem(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), "GET,HEAD", "{path}");
    }
    assert_eq!(server.metric(r#"aldis_http_requests_total{route="/openapi.json",status="200"}"#), 2);
    http.get("/docs/nothing").expects_problem(404, "not_found");
    assert_eq!(server.metric(r#"aldis_http_requests_total{route="/docs/{*file}",status="404"}"#), 1);
}

#[test]
fn the_page_needs_no_other_host() {
    let http = TestServer::shared().http();
    let page = http.get("/docs");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    let html = String::from_utf8(page.body).unwrap();
    let mut files = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        files.extend(html.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()));
    }
    assert!(files.len() >= 5, "{html}");
    for file in files {
        assert!(!file.contains("//") && !file.starts_with('/'), "{file} is elsewhere");
        let asset = http.get(&format!("/docs/{}", file.trim_start_matches("./")));
        assert_eq!(asset.status, 200, "{file}");
        assert_eq!(asset.header("x-content-type-options"), "nosniff", "{file}");
        // Whatever a script contains, the browser contacts only this server.
        let policy = asset.header("content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        for source in policy.split(';').flat_map(|directive| directive.split_whitespace().skip(1)) {
            assert!(["'none'", "'self'", "'unsafe-inline'", "data:"].contains(&source), "{policy}");
        }
        assert!(!policy.contains("script-src 'self' 'unsafe-inline'"), "{policy}");
    }
    assert!(!html.contains("<script>") && !html.contains("onload="), "the policy forbids it: {html}");

    let settings = String::from_utf8(http.get("/docs/swagger-initializer.js").body).unwrap();
    assert!(settings.contains(r#""url": "/openapi.json""#), "{settings}");
    assert!(settings.contains(r#""validatorUrl": "none""#), "{settings}");
    assert!(!settings.contains("http"), "{settings}");
    let styles = String::from_utf8(http.get("/docs/swagger-ui.css").body).unwrap();
    assert!(styles.split("url(").skip(1).all(|url| url.starts_with("data:") || url.starts_with("\"data:")));
}
