//! Where the program's own log goes: to stderr, as far as SECRETFS_LOG asks for it.
//! Uses tracing-subscriber only.

use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "SECRETFS_LOG";

/// Starts the log. With no default and nothing asked for, not even the filter is built: a command
/// that lives for a millisecond does not pay for it.
pub fn start(default: Option<&str>) {
    let asked = std::env::var(VARIABLE).ok();
    let Some(directives) = asked.as_deref().or(default) else { return };
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| {
        super::report::warn(format!("{VARIABLE} is no filter; using `warn`"));
        EnvFilter::new("warn")
    });
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}
