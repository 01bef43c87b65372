//! How a failure is told: what is wrong, what to do about it, and an exit status. The only place
//! that writes errors to a terminal. A failure never holds a value.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use super::output::{colored, is_colored, visible};
use crate::sys::weakness::{self, Weakness};

/// As SGR counts colours.
const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const GREEN: &str = "1;32";

/// Whether this command line asked for JSON: then each line on stderr is one object.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// A failure as its user sees it.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong; may have several lines (a source line with its caret).
    pub problem: String,
    /// What to do next.
    pub hint: Option<String>,
    pub status: u8,
}

impl Failure {
    pub fn new(status: u8, problem: impl fmt::Display) -> Self {
        Self { problem: without_numbers(&problem.to_string()), hint: None, status }
    }

    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

/// Rust says "No such file or directory (os error 2)"; the number helps nobody.
fn without_numbers(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" (os error ") else { return text.to_owned() };
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}{}", without_numbers(after.strip_prefix(')').unwrap_or(after)))
}

/// A panic tells where it was, and nothing else: its own words can hold a value, as those of an index
/// into a text do.
pub fn keep_panics_short() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // Empty, unless RUST_BACKTRACE asks for it; has names only.
        let trace = Backtrace::capture();
        let trace =
            if trace.status() == BacktraceStatus::Captured { trace.to_string() } else { String::new() };
        let line = format!("secretfs: a fault of this program at {place}\n{trace}");
        let _ = std::io::stderr().write_all(line.as_bytes());
        if weakness::has(Weakness::Panicking) {
            std::process::abort();
        }
    }));
}

/// Prints the failure to stderr and turns it into the process's exit status.
pub fn report(failure: &Failure, json: bool) -> ExitCode {
    let text = if json { as_json(failure) } else { as_text(failure, is_colored(&std::io::stderr())) };
    // Nothing is left to do if stderr is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(failure.status)
}

fn as_text(failure: &Failure, is_colored: bool) -> String {
    let (who, advice) = (colored("secretfs:", RED, is_colored), colored("try:", GREEN, is_colored));
    let hint = failure.hint.iter().map(|hint| format!("  {advice} {}\n", visible(hint)));
    format!("{who} {}\n{}", visible(&failure.problem), hint.collect::<String>())
}

fn as_json(failure: &Failure) -> String {
    let Failure { problem, hint, status } = failure;
    format!("{}\n", serde_json::json!({"error": {"problem": problem, "hint": hint, "status": status}}))
}

/// From here on, warnings and notes are JSON, too.
pub fn speak_json(is_json: bool) {
    IS_JSON.store(is_json, Ordering::Relaxed);
}

/// A line of warning on stderr.
pub fn warn(text: impl fmt::Display) {
    let label = colored("warning:", YELLOW, is_colored(&std::io::stderr()));
    let text = text.to_string();
    say("warning", &text, &format!("{label} {}", visible(&text)));
}

/// A line on stderr that says how to get more.
pub fn note(text: impl fmt::Display) {
    let text = text.to_string();
    say("note", &text, &visible(&text));
}

fn say(kind: &str, text: &str, shown: &str) {
    let line = match IS_JSON.load(Ordering::Relaxed) {
        true => serde_json::json!({kind: text}).to_string(),
        false => format!("secretfs: {shown}"),
    };
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let failure = Failure::new(65, "it \"broke\"").hint("mend it");
        assert_eq!(as_text(&failure, false), "secretfs: it \"broke\"\n  try: mend it\n");
        assert_eq!(as_text(&failure, true).replace("\x1b[1;31m", "").matches("\x1b[").count(), 3);
        let json: serde_json::Value = serde_json::from_str(&as_json(&failure)).unwrap();
        assert_eq!(json["error"]["problem"], "it \"broke\"");
        assert_eq!((&json["error"]["hint"], &json["error"]["status"]), (&"mend it".into(), &65.into()));
    }
}
