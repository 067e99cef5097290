//! Metrics of a running server: counters, and their text for Prometheus.
//!
//! Each server has its own set of atomic counters. Their labels are known when the server is built, so counting a
//! message is one addition, without a lookup and without a global recorder.

mod labelled;
mod lines;
mod text;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aldis_protocol::{AckStatus, CloseCode, ErrorCode, MessageKind, ServerMessage};

pub(crate) use self::lines::Method;
use self::{labelled::Labelled, lines::RefusalLines, text::Text};
use crate::{
    clock::Now,
    rate::{Limit, Occasional},
};

/// A value that only goes up.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// All counters of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Accepted connections of clients.
    pub(crate) connections: Counter,
    /// Messages to sessions whose queue was full.
    pub(crate) queue_full: Counter,
    /// Passwords that were hashed, to be stored or compared.
    pub(crate) password_hashes: Counter,
    /// Messages of live sessions that could not be parsed.
    pub(crate) malformed: Counter,
    /// What the log says about refusals.
    pub(crate) lines: RefusalLines,
    received: Labelled<MessageKind>,
    signals: Labelled<Signal>,
    closes: Labelled<CloseCode>,
    refusals: Labelled<ErrorCode>,
    limited: Labelled<Limit>,
    /// Limits how often each limit is logged.
    limit_lines: [Occasional; Limit::ALL.len()],
    /// Requests by route and status. Routes come from the route table, not from clients, so they are few.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
}

/// Values that are computed when the metrics are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauges {
    /// Sessions, including those without a socket.
    pub(crate) sessions: usize,
    /// Bytes of large responses that wait for their readers.
    pub(crate) answer_bytes: usize,
    /// Password hashes that are running or waiting.
    pub(crate) hashing: usize,
    /// Database statements and transactions.
    pub(crate) store_calls: u64,
    /// Database calls that failed.
    pub(crate) store_errors: u64,
}

/// The outcome of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Delivered,
    Buffered,
    Unavailable,
}

impl Counter {
    /// Adds one.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// All counters at 0.
    pub(crate) fn new() -> Self {
        Self {
            connections: Counter::default(),
            queue_full: Counter::default(),
            password_hashes: Counter::default(),
            malformed: Counter::default(),
            lines: RefusalLines::default(),
            received: Labelled::new(MessageKind::ALL),
            signals: Labelled::new(&Signal::ALL),
            closes: Labelled::new(CloseCode::ALL),
            refusals: Labelled::new(ErrorCode::ALL),
            limited: Labelled::new(&Limit::ALL),
            limit_lines: Default::default(),
            requests: Mutex::default(),
        }
    }

    /// Counts a message of this kind from a live session.
    pub(crate) fn received(&self, kind: MessageKind) {
        self.received.add(kind);
    }

    /// Counts a socket that the server closed with this code.
    pub(crate) fn closed(&self, code: CloseCode) {
        self.closes.add(code);
    }

    /// Counts a refusal, on a socket or over HTTP.
    pub(crate) fn refused(&self, code: ErrorCode) {
        self.refusals.add(code);
    }

    /// Counts a refusal by a limit, and logs it now and then. The refusal itself is counted separately.
    pub(crate) fn limited(&self, limit: Limit) {
        self.limited.add(limit);
        if let Some(left_out) = self.limit_lines[limit as usize].pass(Now::tick()) {
            tracing::info!(
                limit = limit.as_str(),
                left_out,
                "a limit refuses requests; ALDIS_RATE_LIMITS=off lifts it, for tests"
            );
        }
    }

    /// Counts a signal that was answered with this.
    pub(crate) fn signalled(&self, answer: &ServerMessage<'_>) {
        if let ServerMessage::Ack(ack) = answer {
            let delivered = ack.status == AckStatus::Delivered;
            self.signals.add(if delivered { Signal::Delivered } else { Signal::Buffered });
        } else if let ServerMessage::Error(error) = answer
            && error.code == ErrorCode::TargetUnavailable
        {
            self.signals.add(Signal::Unavailable);
        }
    }

    /// Counts an HTTP request by its route, which is a pattern, and its status.
    pub(crate) fn answered(&self, route: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route.to_owned(), status)).or_insert(0) += 1;
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    pub(crate) fn render(&self, gauges: Gauges) -> String {
        let mut text = Text::default();
        text.gauge("aldis_sessions", "Sessions, those whose client is away among them", gauges.sessions);
        text.gauge(
            "aldis_http_answer_bytes",
            "Bytes of large HTTP responses that wait for their readers",
            gauges.answer_bytes,
        );
        text.gauge("aldis_password_hashing", "Password hashes that are running or waiting", gauges.hashing);
        let hashes = self.password_hashes.get();
        text.counter("aldis_password_hashes_total", "Passwords hashed, to keep or to compare", hashes);
        text.counter("aldis_connections_total", "Connections accepted", self.connections.get());
        self.render_requests(&mut text);
        self.render_received(&mut text);
        text.counters(
            "aldis_signals_total",
            "Signals by outcome",
            "outcome",
            self.signals.each(Signal::as_str),
        );
        text.counter(
            "aldis_queue_full_total",
            "Messages to sessions whose queue was full",
            self.queue_full.get(),
        );
        text.counters(
            "aldis_closes_total",
            "Sockets closed by the server",
            "code",
            self.closes.each(CloseCode::as_u16),
        );
        text.counters(
            "aldis_refusals_total",
            "Refusals by error code",
            "code",
            self.refusals.each(ErrorCode::as_str),
        );
        text.counters(
            "aldis_rate_limited_total",
            "Refusals by rate limit",
            "limit",
            self.limited.each(Limit::as_str),
        );
        text.counter("aldis_store_calls_total", "Database statements and transactions", gauges.store_calls);
        text.counter("aldis_store_errors_total", "Failed database calls", gauges.store_errors);
        text.finish()
    }

    fn render_requests(&self, text: &mut Text) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        text.head("aldis_http_requests_total", "HTTP requests answered", "counter");
        for ((route, status), count) in requests.iter() {
            let labels = [("route", route.clone()), ("status", status.to_string())];
            text.sample("aldis_http_requests_total", &labels, *count);
        }
    }

    fn render_received(&self, text: &mut Text) {
        let kinds = self.received.each(MessageKind::as_str);
        let malformed = (MALFORMED, self.malformed.get());
        text.counters(
            "aldis_messages_received_total",
            "Messages of live sessions",
            "kind",
            kinds.chain([malformed]),
        );
    }
}

/// The label of messages without a kind.
const MALFORMED: &str = "malformed";

impl Signal {
    const ALL: [Self; 3] = [Self::Delivered, Self::Buffered, Self::Unavailable];

    fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => AckStatus::Delivered.as_str(),
            Self::Buffered => AckStatus::Buffered.as_str(),
            Self::Unavailable => ErrorCode::Unavailable.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use aldis_protocol::{Ack, ErrorReply};

    use super::*;

    const GAUGES: Gauges =
        Gauges { sessions: 3, answer_bytes: 0, hashing: 1, store_calls: 7, store_errors: 2 };

    #[test]
    fn every_event_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.connections.add();
        metrics.received(MessageKind::Offer);
        metrics.received(MessageKind::Offer);
        metrics.closed(CloseCode::RateLimited);
        metrics.refused(ErrorCode::RateLimited);
        metrics.limited(Limit::Messages);
        metrics.answered("/devices/{id}", 204);
        metrics.answered("/devices/{id}", 204);
        metrics.signalled(&ServerMessage::Ack(Ack::new(AckStatus::Buffered, "")));
        metrics.signalled(&ServerMessage::Error(ErrorReply::new(ErrorCode::RateLimited, "")));
        let text = metrics.render(GAUGES);
        for line in [
            "aldis_sessions 3",
            "aldis_password_hashing 1",
            "aldis_store_calls_total 7",
            "aldis_store_errors_total 2",
            "aldis_connections_total 1",
            r#"aldis_messages_received_total{kind="offer"} 2"#,
            r#"aldis_messages_received_total{kind="malformed"} 0"#,
            r#"aldis_closes_total{code="4103"} 1"#,
            r#"aldis_refusals_total{code="rate_limited"} 1"#,
            r#"aldis_rate_limited_total{limit="messages"} 1"#,
            r#"aldis_http_requests_total{route="/devices/{id}",status="204"} 2"#,
            r#"aldis_signals_total{outcome="buffered"} 1"#,
            r#"aldis_signals_total{outcome="unavailable"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn the_documentation_names_every_metric() {
        let page = include_str!("../../../docs/operations.md");
        let text = Metrics::new().render(GAUGES);
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let missing: Vec<&str> = names.filter(|name| !page.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for limit in Limit::ALL {
            assert!(page.contains(&format!("`{}`", limit.as_str())), "{limit:?}");
        }
    }
}
