//! Where the program's own log goes: to stderr, as far as SECRETFS_LOG asks for it.
//! Uses tracing-subscriber and tracing-appender only.

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "SECRETFS_LOG";

/// Starts the log of a command. With nothing asked for, not even the filter is built: a command
/// that lives for a millisecond does not pay for it.
pub fn start() {
    if let Some(filter) = filter(None) {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
    }
}

/// Starts the log of who serves others: a thread writes it, and lines are dropped rather than
/// that anybody waits for a stderr that nobody reads. Ends with the guard.
pub fn start_serving() -> Option<WorkerGuard> {
    let filter = filter(Some("warn"))?;
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(4_096).finish(std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false).init();
    Some(guard)
}

fn filter(default: Option<&str>) -> Option<EnvFilter> {
    let asked = std::env::var(VARIABLE).ok();
    let directives = asked.as_deref().or(default)?;
    Some(EnvFilter::try_new(directives).unwrap_or_else(|_| {
        super::report::warn(format!("{VARIABLE} is no filter; using `warn`"));
        EnvFilter::new("warn")
    }))
}
