//! Lines without colour. They look like the library's, which spends most of its time on colours that are not there.

use std::fmt::{self, Debug, Write};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// The format of a line and of its fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain;

/// The field of a line's text.
const MESSAGE: &str = "message";

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, Self> for Plain {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Self>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut line)?;
        let metadata = event.metadata();
        line.write_char(' ')?;
        line.write_str(level(*metadata.level()))?;
        line.write_char(' ')?;
        if let Some(spans) = context.event_scope() {
            for span in spans.from_root() {
                line.write_str(span.name())?;
                if let Some(fields) = span.extensions().get::<FormattedFields<Self>>()
                    && !fields.is_empty()
                {
                    line.write_char('{')?;
                    line.write_str(fields)?;
                    line.write_char('}')?;
                }
                line.write_char(':')?;
            }
            line.write_char(' ')?;
        }
        line.write_str(metadata.target())?;
        line.write_str(": ")?;
        self.format_fields(line.by_ref(), event)?;
        line.write_char('\n')
    }
}

/// Five characters.
const fn level(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "ERROR",
        tracing::Level::WARN => " WARN",
        tracing::Level::INFO => " INFO",
        tracing::Level::DEBUG => "DEBUG",
        tracing::Level::TRACE => "TRACE",
    }
}

impl<'a> FormatFields<'a> for Plain {
    fn format_fields<R: RecordFields>(&self, line: Writer<'a>, fields: R) -> fmt::Result {
        let mut visitor = Fields { line, is_first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

/// Writes fields with blanks between them.
struct Fields<'a> {
    line: Writer<'a>,
    is_first: bool,
    result: fmt::Result,
}

impl Fields<'_> {
    fn put(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.try_put(field.name(), write);
        }
    }

    fn try_put(&mut self, name: &str, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.line.write_char(' ')?;
        }
        if name != MESSAGE {
            self.line.write_str(name)?;
            self.line.write_char('=')?;
        }
        write(&mut self.line)
    }
}

impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |line| line.write_str(if value { "true" } else { "false" }));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, |line| {
            if field.name() == MESSAGE {
                Escaped(line).write_str(value)
            } else if value.bytes().all(is_plain) {
                line.write_char('"')?;
                line.write_str(value)?;
                line.write_char('"')
            } else {
                write!(line, "{value:?}")
            }
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, |line| {
            if field.name() == MESSAGE {
                write!(Escaped(line), "{value:?}")
            } else {
                write!(line, "{value:?}")
            }
        });
    }
}

/// Whether a text's debug form has this byte as it is.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Escapes what a terminal would act on when somebody reads the log.
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_harmless = |character: char| !character.is_control() || character == '\n' || character == '\t';
        if text.chars().all(is_harmless) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|character| {
            if is_harmless(character) {
                self.0.write_char(character)
            } else {
                write!(self.0, "{}", character.escape_default())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::{fmt::layer, layer::SubscriberExt, registry};

    use super::*;

    /// What is written by a subscriber: each line without its time.
    fn logged(plain: bool, log: impl FnOnce()) -> Vec<String> {
        let written = Arc::new(Mutex::new(Vec::new()));
        let target = Arc::clone(&written);
        let writer = move || Target(Arc::clone(&target));
        let lines = layer().with_ansi(false);
        if plain {
            let lines = lines.fmt_fields(Plain).event_format(Plain).with_writer(writer);
            tracing::subscriber::with_default(registry().with(lines), log);
        } else {
            tracing::subscriber::with_default(registry().with(lines.with_writer(writer)), log);
        }
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let after_time = |line: &str| line.split_once('Z').map_or(line, |(_, rest)| rest).to_owned();
        written.lines().map(after_time).collect()
    }

    struct Target(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Target {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn log_samples() {
        let nothing: Option<u16> = None;
        tracing::warn!(target: "aldis", count = -1, ratio = 0.5, "a \"line\": {}", 7);
        tracing::error!(nothing, some = Some(1000_u16), door = "/signal", by = "a\u{1b}[0m\"\\é", is = true);
        let outer = tracing::info_span!("session", id = %"01a2", user = "ann", door = "/signal");
        let _outer = outer.enter();
        tracing::info!(proof = "token", "connected");
        let bare = tracing::debug_span!("bare");
        let _bare = bare.enter();
        let inner = tracing::info_span!("request", method = "GET", bytes = 7_usize);
        inner.in_scope(|| tracing::trace!(path = ?"/a b", error = %"no\nsuch", "answered"));
        tracing::debug!("\u{1b}[31mred");
    }

    #[test]
    fn lines_look_like_the_librarys() {
        let (ours, theirs) = (logged(true, log_samples), logged(false, log_samples));
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs).filter(|(_, theirs)| !theirs.contains("red")) {
            assert_eq!(ours, theirs);
        }
        assert!(ours.last().unwrap().ends_with(": \\u{1b}[31mred"), "{ours:?}");
    }
}
