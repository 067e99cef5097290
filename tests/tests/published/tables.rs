//! The tables of the pages: doors, codes, limits, settings and rate limits.

use std::collections::{BTreeMap, BTreeSet};

use aldis_protocol::{Advice, CloseCode, Codec, Door, ErrorCode, query, reason};
use aldis_tests::TestServer;
use regex::Regex;

use crate::page::{Page, code_words, read};

const CODES: &str = "docs/protocol/codes.md";

/// The page's word for the client's action.
const fn word(advice: Advice) -> &'static str {
    match advice {
        Advice::Reconnect => "reconnect",
        Advice::NewCredentials => "new credentials",
        Advice::NewCredentialsOnce => "new credentials, once",
        Advice::DropMessageAndReconnect => "drop the message, reconnect",
        Advice::Stop => "stop",
    }
}

const fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

#[test]
fn the_close_codes_are_those_of_the_code_with_what_a_client_does() {
    let shown: Vec<[String; 4]> = Page::read(CODES)
        .table("## Close codes")
        .into_iter()
        .map(|row| {
            [code_words(&row[0])[0].clone(), row[2].clone(), row[3].clone(), code_words(&row[4])[0].clone()]
        })
        .collect();
    let expected: Vec<[String; 4]> = CloseCode::ALL
        .iter()
        .map(|code| {
            // For the chat door, the reason of the close decides.
            let by_reason = *code == CloseCode::PolicyViolation;
            let client = if by_reason { "by the reason" } else { word(code.advice("")) };
            let waits = if by_reason { "by the reason" } else { yes(code.keeps_session("")) };
            [&code.as_u16().to_string(), client, waits, code.error_code().as_str()].map(str::to_owned)
        })
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn the_reasons_of_the_chat_door_are_those_of_the_code() {
    let page = Page::read(CODES);
    let section = page.section("## Close codes");
    let of_reasons = section.split("decided by its reason:").nth(1).unwrap();
    let rows = of_reasons.lines().filter(|line| line.starts_with("| `")).map(crate::page::cells);
    let shown: BTreeSet<[String; 3]> =
        rows.map(|row| [code_words(&row[0])[0].clone(), row[1].clone(), row[2].clone()]).collect();
    let reasons = [
        reason::FIRST_MESSAGE_MUST_BE_AUTH,
        reason::MISSING_AUTH_TOKEN,
        reason::INVALID_TOKEN,
        reason::AUTHENTICATION_TIMEOUT,
        reason::REAUTHENTICATION_TIMEOUT,
    ];
    let source = read("crates/protocol/src/close.rs");
    let in_code = source.split("pub mod reason {").nth(1).unwrap().split("\n}").next().unwrap();
    assert_eq!(in_code.matches("pub const ").count(), reasons.len(), "a reason that is not listed here");
    let expected = reasons.map(|reason| {
        let code = CloseCode::PolicyViolation;
        [reason, word(code.advice(reason)), yes(code.keeps_session(reason))].map(str::to_owned)
    });
    assert_eq!(shown, expected.into());
    let doors = Page::read("docs/protocol/doors.md").section("## /v1/chat/{room}");
    for reason in &reasons[..4] {
        assert!(doors.contains(&format!("| `{reason}` |")), "{reason}");
    }
}

#[test]
fn an_unknown_close_code_is_judged_by_the_range_on_the_page() {
    for row in Page::read(CODES).table("# Close codes and error codes") {
        let ends: Vec<u16> = code_words(&row[0]).iter().map(|code| code.parse().unwrap()).collect();
        let ends = if ends.is_empty() { vec![3999, 4999] } else { ends };
        for code in ends.into_iter().filter(|code| CloseCode::from_u16(*code).is_none()) {
            assert_eq!(word(CloseCode::advice_for(code, "")), row[1], "{code}");
        }
    }
}

#[test]
fn the_error_codes_are_those_of_the_code_with_their_status() {
    let table = Page::read(CODES).table("## Error codes");
    let shown: Vec<(String, String)> =
        table.iter().map(|row| (code_words(&row[0])[0].clone(), row[1].clone())).collect();
    let expected: Vec<(String, String)> = ErrorCode::ALL
        .iter()
        .map(|code| (code.as_str().to_owned(), code.http_status().to_string()))
        .collect();
    assert_eq!(shown, expected);
    assert!(
        table.iter().all(|row| !row[2].is_empty() && !row[3].is_empty()),
        "each names the client's action"
    );
}

#[test]
fn the_doors_are_those_of_the_code() {
    let page = Page::read("docs/protocol/doors.md");
    let shown: Vec<(String, String)> =
        page.table("# Doors").iter().map(|row| (code_words(&row[0])[0].clone(), row[3].clone())).collect();
    let expected = Door::ALL.map(|door| {
        let codec = match door.default_codec() {
            Codec::Json => "JSON",
            Codec::Proto => "protobuf",
        };
        (door.path().to_owned(), codec.to_owned())
    });
    assert_eq!(shown, expected);
    let queries: Vec<String> =
        page.table("## /signal, /ws, /api/ws").iter().map(|row| code_words(&row[0])[0].clone()).collect();
    assert_eq!(queries, [query::TOKEN, query::DEVICE_ID, query::RESUME, query::RECEIVED]);
    assert!(Codec::ALL.iter().all(|codec| page.text().contains(codec.subprotocol())));
}

/// Reads the constants from the source of `limits.rs`, so that a new one must be on the page.
#[test]
fn the_limits_are_those_of_the_code() {
    let constant = Regex::new(r"(?m)^pub const ([A-Z_]+): (\w+) = ([^;]+);").unwrap();
    let source = read("crates/protocol/src/limits.rs");
    let in_code: BTreeMap<String, u64> =
        constant.captures_iter(&source).map(|found| (found[1].to_lowercase(), value_of(&found[3]))).collect();
    assert_eq!(in_code.len(), source.matches("pub const ").count(), "a constant of another form");
    let shown: BTreeMap<String, u64> = Page::read("docs/protocol/limits.md")
        .table("## Of the protocol")
        .iter()
        .map(|row| {
            let digits: String = row[1].split(' ').next().unwrap().replace(',', "");
            (code_words(&row[0])[0].clone(), digits.parse().unwrap_or_else(|_| panic!("{row:?}")))
        })
        .collect();
    assert_eq!(shown, in_code);
}

/// `64 * 1024`, `1 << 53`, `Duration::from_secs(30)`: bytes, counts and seconds.
fn value_of(expression: &str) -> u64 {
    let bare = expression.trim().trim_start_matches("Duration::from_secs(").trim_end_matches(')');
    let number =
        |text: &str| text.trim().replace('_', "").parse::<u64>().unwrap_or_else(|_| panic!("{expression}"));
    match bare.split_once("<<") {
        Some((number_text, bits)) => number(number_text) << number(bits),
        None => bare.split('*').map(number).product(),
    }
}

/// The table has exactly the settings and defaults of `aldis --help`.
#[test]
fn the_settings_are_those_that_the_server_takes_with_their_defaults() {
    let help = TestServer::builder().run(&["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let option =
        Regex::new(r"--([a-z-]+) <[^>]+>\s+[^\n]*?\[env: ([A-Z_]+)\](?: \[default: ([^\n]+)\])?").unwrap();
    let mut taken = BTreeMap::new();
    let mut files = Vec::new();
    for found in option.captures_iter(&help) {
        let (flag, variable) = (format!("--{}", &found[1]), found[2].to_owned());
        if variable == "ALDIS_CONFIG" {
            continue;
        }
        if let Some(secret) = variable.strip_suffix("_FILE") {
            files.push(secret.to_owned());
            continue;
        }
        taken.insert(variable, (flag, found.get(3).map(|default| default.as_str().to_owned())));
    }
    assert!(taken.len() > 20, "{help}");
    let page = Page::read("docs/configuration.md");
    let table = page.table("## Settings");
    let shown: BTreeMap<String, (String, String)> = table
        .iter()
        .map(|row| (code_words(&row[0])[0].clone(), (code_words(&row[1])[0].clone(), row[3].clone())))
        .collect();
    let names = |map: BTreeSet<&String>| map.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(shown.keys().collect()), names(taken.keys().collect()));
    for (variable, (flag, default)) in taken {
        let (shown_flag, shown_default) = &shown[&variable];
        assert_eq!(*shown_flag, flag, "{variable}");
        let in_words = shown_default.split(',').flat_map(code_words).collect::<Vec<_>>().join(",");
        match default {
            Some(default) => assert_eq!(in_words, default, "{variable}"),
            // No default, or one that depends on another setting.
            None => assert!(
                shown_default.starts_with("none") || shown_default.contains("`ALDIS_"),
                "{variable}: {shown_default}"
            ),
        }
    }
    for secret in files {
        assert!(page.section("## Secrets").contains(&format!("`{secret}`")), "{secret}");
    }
}

/// The table of rate limits has exactly the limits whose refusals the server counts.
#[test]
fn the_rate_limits_are_those_that_the_server_counts() {
    let metrics = TestServer::shared().metrics();
    let counted: BTreeSet<String> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("aldis_rate_limited_total{limit=\"")?.split('"').next())
        .map(str::to_owned)
        .collect();
    assert!(counted.len() >= 10, "{counted:?}");
    let table = Page::read("docs/operations.md").table("## Rate limits");
    let shown: BTreeSet<String> = table.iter().flat_map(|row| code_words(&row[0])).collect();
    assert_eq!(shown, counted);
}

/// The metrics page has exactly the server's metrics, with their types.
#[test]
fn the_metrics_are_those_that_the_server_tells() {
    let metrics = TestServer::shared().metrics();
    let told: BTreeMap<String, String> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    assert!(told.len() > 10, "{metrics}");
    let table = Page::read("docs/operations.md").table("## Metrics");
    let shown: BTreeMap<String, String> =
        table.iter().map(|row| (code_words(&row[0])[0].clone(), row[1].clone())).collect();
    assert_eq!(shown, told);
}
