//! Metrics of a running server: counters, and their text for Prometheus.
//!
//! Each server has its own set of atomic counters. Their labels are known when the server is built, so counting a
//! message is one addition, without a lookup and without a global recorder.

mod doors;
mod histogram;
mod labelled;
mod lines;
mod process;
mod text;
mod writer;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aldis_protocol::{AckStatus, CloseCode, Door, ErrorCode, MessageKind, ServerMessage};

use self::{doors::Doors, labelled::Labelled, lines::RefusalLines, text::Text};
pub(crate) use self::{
    doors::{Refused, Resume},
    histogram::Histogram,
    lines::Method,
    process::Process,
    writer::{WriterFigures, WriterStatistics},
};
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
    doors: Doors,
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
#[derive(Debug)]
pub(crate) struct Gauges<'a> {
    /// Sessions with a socket.
    pub(crate) connected: usize,
    /// Sessions without one, inside their resume window.
    pub(crate) away: usize,
    /// Bytes that sessions hold for clients that are away or read slowly.
    pub(crate) session_bytes: usize,
    /// Bytes of large responses that wait for their readers.
    pub(crate) answer_bytes: usize,
    /// Password hashes that are running or waiting.
    pub(crate) hashing: usize,
    /// Database statements and transactions.
    pub(crate) store_calls: u64,
    /// Database calls that failed.
    pub(crate) store_errors: u64,
    /// The writers of the store.
    pub(crate) writers: Vec<WriterFigures<'a>>,
    /// What the process uses.
    pub(crate) process: Process,
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

    pub(crate) fn get(&self) -> u64 {
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
            doors: Doors::default(),
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

    /// Counts a socket that became a session, or came back to one.
    pub(crate) fn entered(&self, door: Door) {
        self.doors.entered(door);
    }

    /// Counts what became of the claim to an earlier session.
    pub(crate) fn resume(&self, outcome: Resume) {
        self.doors.resume(outcome);
    }

    /// Counts a connection that a door refused, and logs it now and then. `origin` is given where it is the reason.
    pub(crate) fn refused_at(&self, door: Door, code: ErrorCode, origin: Option<&str>) {
        self.doors.refused(door, code);
        self.lines.refused_at(door, code, origin);
    }

    /// The refusals of the doors by reason, the latest first.
    pub(crate) fn refusals_at_doors(&self) -> Vec<Refused> {
        self.doors.refusals()
    }

    /// How many sockets became a session or came back to one.
    pub(crate) fn handshakes(&self) -> u64 {
        self.doors.handshakes()
    }

    /// How many messages live sessions have sent.
    pub(crate) fn messages(&self) -> u64 {
        self.received.each(MessageKind::as_str).map(|(_, count)| count).sum::<u64>() + self.malformed.get()
    }

    /// The refusals by code that there were, on sockets and over HTTP.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refusals.each(ErrorCode::as_str).filter(|(_, count)| *count > 0)
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
    pub(crate) fn render(&self, gauges: &Gauges<'_>) -> String {
        let mut text = Text::default();
        render_sessions(&mut text, gauges);
        text.gauge(
            "aldis_http_answer_bytes",
            "Bytes of large HTTP responses that wait for their readers",
            gauges.answer_bytes,
        );
        text.gauge("aldis_password_hashing", "Password hashes that are running or waiting", gauges.hashing);
        let hashes = self.password_hashes.get();
        text.counter("aldis_password_hashes_total", "Passwords hashed, to keep or to compare", hashes);
        text.counter("aldis_connections_total", "Connections accepted", self.connections.get());
        self.doors.render(&mut text);
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
        render_writers(&mut text, &gauges.writers);
        render_process(&mut text, &gauges.process);
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

fn render_sessions(text: &mut Text, gauges: &Gauges<'_>) {
    let Gauges { connected, away, session_bytes, .. } = gauges;
    text.gauge("aldis_sessions", "Sessions, those whose client is away among them", connected + away);
    text.head("aldis_sessions_by_state", "Sessions with a socket, and without one", "gauge");
    for (state, count) in [("connected", connected), ("away", away)] {
        text.sample("aldis_sessions_by_state", &[("state", state)], *count as u64);
    }
    let help = "Bytes that sessions hold for clients that are away or read slowly";
    text.gauge("aldis_session_queue_bytes", help, session_bytes);
}

fn render_writers(text: &mut Text, writers: &[WriterFigures<'_>]) {
    text.head("aldis_store_queue_bytes", "Bytes of the appends that wait for the database", "gauge");
    for writer in writers {
        let bytes = writer.queued_bytes as u64;
        text.sample("aldis_store_queue_bytes", &[("writer", writer.name)], bytes);
    }
    text.head("aldis_store_commit_seconds", "Duration of a transaction of a writer", "histogram");
    for writer in writers {
        let label = ("writer", writer.name);
        text.histogram("aldis_store_commit_seconds", label, &writer.statistics.commits_us, 1e-6);
    }
    text.head("aldis_store_batch_size", "Appends in a transaction of a writer", "histogram");
    for writer in writers {
        text.histogram("aldis_store_batch_size", ("writer", writer.name), &writer.statistics.batches, 1.0);
    }
}

fn render_process(text: &mut Text, process: &Process) {
    text.head("aldis_build_info", "The running version", "gauge");
    text.sample("aldis_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let Process { started_at, cpu_seconds, resident_bytes, open_files, max_files } = process;
    text.gauge("process_start_time_seconds", "When the process started, in Unix seconds", started_at);
    text.head("process_cpu_seconds_total", "Processor time that was used", "counter");
    text.value("process_cpu_seconds_total", cpu_seconds);
    text.gauge("process_resident_memory_bytes", "Memory that is not swapped out", resident_bytes);
    text.gauge("process_open_fds", "Open files and sockets", open_files);
    text.gauge("process_max_fds", "How many files and sockets may be open", max_files);
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

    fn rendered(metrics: &Metrics) -> String {
        let statistics = WriterStatistics::default();
        statistics.wrote(3, std::time::Duration::from_micros(700));
        let writers = vec![WriterFigures { name: "messages", queued_bytes: 4_096, statistics: &statistics }];
        metrics.render(&Gauges {
            connected: 2,
            away: 1,
            session_bytes: 10,
            answer_bytes: 0,
            hashing: 1,
            store_calls: 7,
            store_errors: 2,
            writers,
            process: Process { cpu_seconds: 1.5, ..Process::default() },
        })
    }

    #[test]
    fn every_event_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.connections.add();
        metrics.entered(Door::Signal);
        metrics.refused_at(Door::Protobuf, ErrorCode::InvalidToken, None);
        metrics.refused_at(Door::Protobuf, ErrorCode::InvalidToken, None);
        metrics.resume(Resume::Unknown);
        metrics.received(MessageKind::Offer);
        metrics.received(MessageKind::Offer);
        metrics.closed(CloseCode::RateLimited);
        metrics.refused(ErrorCode::RateLimited);
        metrics.limited(Limit::Messages);
        metrics.answered("/devices/{id}", 204);
        metrics.answered("/devices/{id}", 204);
        metrics.signalled(&ServerMessage::Ack(Ack::new(AckStatus::Buffered, "")));
        metrics.signalled(&ServerMessage::Error(ErrorReply::new(ErrorCode::RateLimited, "")));
        let text = rendered(&metrics);
        for line in [
            "aldis_sessions 3",
            r#"aldis_sessions_by_state{state="away"} 1"#,
            r#"aldis_handshakes_total{door="/signal"} 1"#,
            r#"aldis_handshakes_refused_total{door="/ws",code="invalid_token"} 2"#,
            r#"aldis_resumes_total{outcome="no_session"} 1"#,
            r#"aldis_store_commit_seconds_bucket{writer="messages",le="0.0005"} 0"#,
            r#"aldis_store_commit_seconds_bucket{writer="messages",le="0.001"} 1"#,
            r#"aldis_store_commit_seconds_bucket{writer="messages",le="+Inf"} 1"#,
            r#"aldis_store_commit_seconds_sum{writer="messages"} 0.0007"#,
            r#"aldis_store_batch_size_bucket{writer="messages",le="4"} 1"#,
            r#"aldis_store_batch_size_count{writer="messages"} 1"#,
            r#"aldis_store_queue_bytes{writer="messages"} 4096"#,
            "process_cpu_seconds_total 1.5",
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
        let text = rendered(&Metrics::new());
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let missing: Vec<&str> = names.filter(|name| !page.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for limit in Limit::ALL {
            assert!(page.contains(&format!("`{}`", limit.as_str())), "{limit:?}");
        }
    }
}
