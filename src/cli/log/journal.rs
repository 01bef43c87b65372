//! The log as journald takes it: one datagram a line, with each field beside the text
//! (systemd.journal-fields(7)). Whoever logs never waits: what journald does not take at once, or
//! nobody takes, is dropped. Uses tracing-subscriber.

use std::fmt::{self, Debug};
use std::io::{self, Write};
use std::os::linux::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::metrics;

const SOCKET: &str = "/run/systemd/journal/socket";
/// Said by systemd: the device and inode of the stream that leads to the journal.
const STREAM: &str = "JOURNAL_STREAM";
/// More than any line of ours, and less than a datagram takes.
const LONGEST: usize = 32 * 1024;

/// Whether stderr leads to the journal anyway, so that nobody misses it there.
pub(super) fn is_wanted() -> bool {
    let Some(stream) = std::env::var_os(STREAM) else { return false };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|meta| stream.to_str() == Some(&format!("{}:{}", meta.st_dev(), meta.st_ino())))
}

pub(super) fn start(filter: EnvFilter) {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(Fields)
        .event_format(Lines)
        .with_writer(|| Journal)
        .init();
}

struct Journal;

impl Write for Journal {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        static OURS: OnceLock<Option<UnixDatagram>> = OnceLock::new();
        let ours = OURS.get_or_init(|| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok().map(|()| socket)
        });
        // By its path each time: a journald that has started anew is found.
        let sent = ours.as_ref().map(|socket| socket.send_to(line, SOCKET));
        if !matches!(sent, Some(Ok(_))) {
            metrics::get().log_lines_lost.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `NAME=value`, a line each.
struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut lines = Visited { writer, outcome: Ok(()) };
        fields.record(&mut lines);
        lines.outcome
    }
}

struct Visited<'w> {
    writer: Writer<'w>,
    outcome: fmt::Result,
}

impl Visit for Visited<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // A line break would end the field.
        let value = format!("{value:?}").replace('\n', " | ");
        let name = field.name().to_uppercase();
        let written = match field.name() {
            "message" => writeln!(self.writer, "MESSAGE={value}"),
            _ => writeln!(self.writer, "{PREFIX}{name}={value}"),
        };
        self.outcome = self.outcome.and(written);
    }
}

const PREFIX: &str = "SECRETFS_";

/// One event, with what its spans say.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = String::new();
        for span in context.event_scope().into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<FormattedFields<N>>() {
                fields += of_span;
            }
        }
        context.format_fields(Writer::new(&mut fields), event)?;
        let text = format!(
            "PRIORITY={}\nSYSLOG_IDENTIFIER=secretfs\nMESSAGE={}\n{}",
            priority(*event.metadata().level()),
            message(&fields),
            fields
                .lines()
                .filter(|line| !line.starts_with("MESSAGE="))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        );
        let end = text.floor_char_boundary(LONGEST);
        writer.write_str(&text[..end])
    }
}

/// The text that is shown, with all fields in it: `what happened file=app.env id=3`.
fn message(fields: &str) -> String {
    let mut text = String::new();
    for line in fields.lines() {
        if let Some(said) = line.strip_prefix("MESSAGE=") {
            text.insert_str(0, said);
        } else if let Some((name, value)) = line.strip_prefix(PREFIX).and_then(|line| line.split_once('=')) {
            text += &format!(" {}={value}", name.to_lowercase());
        }
    }
    text
}

/// As syslog(3) counts.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
