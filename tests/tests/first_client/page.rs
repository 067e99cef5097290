//! Opens the web page twice in headless Chromium.

use std::fs;

use aldis_tests::browser::{Browser, Site, Tab};
use aldis_tests::{TestServer, unique};

fn html() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first-client/index.html")).unwrap()
}

#[test]
fn two_pages_open_a_data_channel_and_send_a_text_over_it() {
    let server = TestServer::builder().env("ALDIS_STUN_URLS", "").start();
    let site = Site::serves(html());
    let browser = Browser::start();
    let url = site.url(&format!("?server=ws://{}&room={}", server.authority(), unique("room")));
    let mut first = browser.opens(&url);
    let device = connected(&mut first);
    let mut second = browser.opens(&url);
    let other = connected(&mut second);
    assert_ne!(device, other, "each page is a guest of its own");
    first.awaits_text("log", &format!("data channel open with {other}"));
    second.awaits_text("log", &format!("data channel open with {device}"));
    first.says("more salt");
    second.awaits_text("log", &format!("{device}: more salt"));
    second.says("less");
    first.awaits_text("log", &format!("{other}: less"));
}

/// The device id that a page shows.
fn connected(tab: &mut Tab) -> String {
    let log = tab.awaits_text("log", "connected as ~");
    log.lines().find_map(|line| line.strip_prefix("connected as ")).unwrap().to_owned()
}

#[test]
fn the_script_is_as_short_as_the_page_says() {
    let html = html();
    let script = html.split("<script type=\"module\">\n").nth(1).unwrap().split("</script>").next().unwrap();
    assert!(script.lines().count() <= 46, "{}", script.lines().count());
    assert!(
        html.len() < 15 * 1024 && !html.contains("import ") && !html.contains("src="),
        "it needs nothing else"
    );
}
