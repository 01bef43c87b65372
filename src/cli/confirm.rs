//! What cannot be undone is asked about: a person answers, a script says `--yes`. Uses std.

use std::io::{BufRead, IsTerminal, Write};

use super::exit;
use super::report::Failure;

/// Goes on only if the removal of `what` is meant.
pub fn removal(what: &str, with: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new(exit::USAGE, format!("{what} would be removed for good"))
            .hint("--yes if that is meant"));
    }
    // A question that cannot be shown is answered with no.
    let _ = write!(std::io::stderr(), "remove {what} {with}, for good? [y/N] ");
    let mut answer = String::new();
    let _ = stdin.lock().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(exit::NO, "nothing was removed")),
    }
}
