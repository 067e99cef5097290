//! The status page of the admin listener: one page with its script and its style, and the figures that it shows.
//!
//! The page reads `/status.json` every two seconds and keeps the history of its charts in the browser.

use std::sync::Arc;

use aldis_protocol::ErrorCode;
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;

use super::metrics::gauges;
use crate::{
    accounts::MAX_PASSWORD_HASHES,
    clock::Now,
    config::SettingInForce,
    metrics::{Gauges, Process},
    node::Node,
    store::WRITER_QUEUE_BYTES,
};

const PAGE: &str = include_str!("status/page.html");
const STYLE: &str = include_str!("status/page.css");
const SCRIPT: &str = include_str!("status/page.js");
const ICON: &str = include_str!("status/icon.svg");

/// Only the page's own files, and no markup that they did not bring.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The share of a limit at which a part needs attention.
const NEARLY_FULL: f64 = 0.8;

/// The routes of the page.
pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", PAGE)))
        .route("/status.css", get(async || file("text/css; charset=utf-8", STYLE)))
        .route("/status.js", get(async || file("text/javascript; charset=utf-8", SCRIPT)))
        .route("/status.svg", get(async || file("image/svg+xml", ICON)))
        .route("/status.json", get(status))
}

fn file(kind: &'static str, content: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers.map(|(name, value)| (name, HeaderValue::from_static(value))), content).into_response()
}

/// What the page shows.
#[derive(Serialize)]
struct Status {
    name: String,
    version: &'static str,
    /// The time of the answer, in Unix milliseconds.
    now_ms: u64,
    nodes: Vec<NodeStatus>,
    parts: Vec<Part>,
    sessions: Sessions,
    counters: Counters,
    process: Process,
    refusals: Vec<RefusalStatus>,
    settings: Vec<SettingInForce>,
    warnings: Vec<String>,
}

/// A node of the server. It knows only itself.
#[derive(Serialize)]
struct NodeStatus {
    address: String,
    /// `serving`, or `draining`.
    state: &'static str,
    started_at: f64,
}

/// A part of the server and how it is.
#[derive(Serialize)]
struct Part {
    name: &'static str,
    /// `ok`, `attention` or `failing`.
    state: &'static str,
    detail: String,
    /// How much of its limit is used, where it has one.
    share: Option<f64>,
}

#[derive(Serialize)]
struct Sessions {
    connected: usize,
    away: usize,
    held_bytes: usize,
}

/// Values that only go up; the page shows how fast.
#[derive(Serialize)]
struct Counters {
    connections: u64,
    handshakes: u64,
    messages: u64,
    refusals: u64,
    commits: u64,
    commit_us: u64,
    appends: u64,
    store_errors: u64,
}

/// The refusals of a door for one reason.
#[derive(Serialize)]
struct RefusalStatus {
    door: &'static str,
    code: &'static str,
    count: u64,
    last_ms: u64,
}

async fn status(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let writable = node.relay.is_ready().await;
    let gauges = gauges(&node);
    ([(CACHE_CONTROL, "no-store")], Json(current(&node, &gauges, writable)))
}

fn current(node: &Node, gauges: &Gauges<'_>, writable: bool) -> Status {
    let (config, metrics) = (node.config(), &node.relay.metrics);
    let refusals = metrics.refusals_at_doors().into_iter().map(|refused| RefusalStatus {
        door: refused.door.path(),
        code: refused.code.as_str(),
        count: refused.count,
        last_ms: refused.last_ms,
    });
    Status {
        name: config.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        now_ms: Now::read().unix_ms,
        nodes: vec![NodeStatus {
            address: config.listen.to_string(),
            state: if node.is_draining() { ErrorCode::Draining.as_str() } else { "serving" },
            started_at: gauges.process.started_at,
        }],
        parts: parts(node, gauges, writable),
        sessions: Sessions {
            connected: gauges.connected,
            away: gauges.away,
            held_bytes: gauges.session_bytes,
        },
        counters: counters(node, gauges),
        process: gauges.process,
        refusals: refusals.collect(),
        settings: config.in_force.clone(),
        warnings: config.warnings(),
    }
}

fn counters(node: &Node, gauges: &Gauges<'_>) -> Counters {
    let metrics = &node.relay.metrics;
    let sum = |value: fn(&crate::metrics::WriterStatistics) -> u64| {
        gauges.writers.iter().map(|writer| value(writer.statistics)).sum()
    };
    Counters {
        connections: metrics.connections.get(),
        handshakes: metrics.handshakes(),
        messages: metrics.messages(),
        refusals: metrics.refusals().map(|(_, count)| count).sum(),
        commits: sum(|statistics| statistics.commits_us.count()),
        commit_us: sum(|statistics| statistics.commits_us.sum()),
        appends: sum(|statistics| statistics.batches.sum()),
        store_errors: gauges.store_errors,
    }
}

fn parts(node: &Node, gauges: &Gauges<'_>, writable: bool) -> Vec<Part> {
    let queued: usize = gauges.writers.iter().map(|writer| writer.queued_bytes).sum();
    let Process { open_files, max_files, .. } = gauges.process;
    let memory = node.config().session_memory;
    let database = Part {
        name: "Database",
        state: if writable { "ok" } else { "failing" },
        detail: if writable { "takes writes" } else { "takes no writes" }.to_owned(),
        share: None,
    };
    vec![
        database,
        limited("Write queue", queued, WRITER_QUEUE_BYTES * gauges.writers.len(), bytes),
        limited("Session memory", gauges.session_bytes, memory, bytes),
        limited("Open files", number(open_files), number(max_files), |count| count.to_string()),
        limited("Password hashing", gauges.hashing, MAX_PASSWORD_HASHES, |count| count.to_string()),
    ]
}

fn number(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A part that uses some of a limit.
#[allow(clippy::cast_precision_loss, reason = "a share needs no more than a few digits")]
fn limited(name: &'static str, used: usize, limit: usize, shown: impl Fn(usize) -> String) -> Part {
    let share = if limit == 0 { 0.0 } else { used as f64 / limit as f64 };
    let state = if share >= NEARLY_FULL { "attention" } else { "ok" };
    Part { name, state, detail: format!("{} of {}", shown(used), shown(limit)), share: Some(share) }
}

#[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn bytes(count: usize) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", count as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_nearly_full_needs_attention() {
        let part = |used| limited("Session memory", used, 1_000_000, bytes);
        assert_eq!((part(799_999).state, part(800_000).state), ("ok", "attention"));
        assert_eq!(part(500_000).detail, "488.3 KiB of 976.6 KiB");
        assert_eq!(limited("Open files", 3, 0, |count| count.to_string()).share, Some(0.0));
    }

    #[test]
    fn the_page_has_nothing_inline_and_writes_no_html() {
        assert!(!PAGE.contains("<style") && !PAGE.contains("style=") && !PAGE.contains("onclick"));
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert!(PAGE.contains(r#"<script src="status.js" defer></script>"#));
        for writes in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!SCRIPT.contains(writes), "{writes}");
        }
    }
}
