//! Where the program's own log goes, as far as SECRETFS_LOG asks for it: to the journal if stderr
//! leads there, else to stderr.
//! Uses tracing-subscriber and tracing-appender.

mod journal;

use std::io::{self, Write};
use std::os::fd::AsFd;

use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Full, Writer};
use tracing_subscriber::fmt::time::FormatTime;

use super::output::{self, visible};

const VARIABLE: &str = "SECRETFS_LOG";
/// What goes wrong, and what an operator has asked for, like a reload.
const SERVING: &str = "warn,secretfs::daemon=info,secretfs::reactions=info";

/// Starts the log of a command. With nothing asked for, not even the filter is built: a command
/// that lives for a millisecond does not pay for it.
pub fn start() {
    if let Some(filter) = filter(None) {
        lines().with_env_filter(filter).with_writer(|| Shown(io::stderr())).init();
    }
}

/// Starts the log of who serves others: a thread writes it, and lines are dropped rather than
/// that anybody waits for a stderr that nobody reads. Ends with the guard.
pub fn start_serving() -> Option<WorkerGuard> {
    let filter = filter(Some(SERVING))?;
    if journal::is_wanted() {
        journal::start(filter);
        return None;
    }
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(4_096).finish(io::stderr());
    lines().with_env_filter(filter).with_writer(move || Shown(writer.clone())).init();
    Some(guard)
}

/// Starts the log of who holds mounts: one thread, which waits for nobody. What a stderr does not
/// take at once is dropped.
pub fn start_holding() {
    let Some(filter) = filter(Some("info")) else { return };
    if journal::is_wanted() {
        journal::start(filter);
    } else {
        lines().with_env_filter(filter).with_writer(|| Shown(Unhurried)).init();
    }
}

/// Takes a line at a time, in which names and paths may be that somebody else has chosen.
struct Shown<W>(W);

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(visible(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

struct Unhurried;

impl Write for Unhurried {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let mut watched = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut watched, PollTimeout::ZERO) {
            Ok(1) => io::stderr().write(line),
            _ => Ok(line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `2026-11-22 05:07:33Z WARN what happened file=…`: the time as in our tables, no module names.
fn lines() -> SubscriberBuilder<DefaultFields, Format<Full, Clock>> {
    tracing_subscriber::fmt().with_ansi(false).with_target(false).with_timer(Clock)
}

struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, to: &mut Writer<'_>) -> std::fmt::Result {
        to.write_str(&output::time(Timestamp::now()))
    }
}

fn filter(default: Option<&str>) -> Option<EnvFilter> {
    let asked = std::env::var(VARIABLE).ok();
    let directives = asked.as_deref().or(default)?;
    Some(EnvFilter::try_new(directives).unwrap_or_else(|_| {
        super::report::warn(format!("{VARIABLE} is no filter; using `warn`"));
        EnvFilter::new("warn")
    }))
}
