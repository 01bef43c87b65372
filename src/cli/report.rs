//! How a failure is told: what is wrong, what to do about it, and an exit status. The only place
//! that writes errors to a terminal. A failure never holds a value.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

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
        Self { problem: problem.to_string(), hint: None, status }
    }

    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

/// Prints the failure to stderr and turns it into the process's exit status.
pub fn report(failure: &Failure) -> ExitCode {
    let mut text = format!("secretfs: {}\n", failure.problem);
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("  try: {hint}\n"));
    }
    // Nothing is left to do if stderr is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(failure.status)
}

/// A line of warning on stderr.
pub fn warn(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "secretfs: warning: {text}");
}
