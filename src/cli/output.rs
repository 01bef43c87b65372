//! What commands print on stdout: text, values, JSON, tables. A reader that has gone away
//! (`| head`) is no failure. Uses nothing of ours but the words for failures.

use std::io::{ErrorKind, IsTerminal, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::exit;
use super::report::Failure;
pub use crate::visible::{in_line, visible};

pub fn print(bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(exit::IO, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

pub fn print_json(what: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(what).map_err(|error| Failure::new(exit::SOFTWARE, error))?;
    print(json + "\n")
}

pub fn print_table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), Failure> {
    print(table(head, rows).unwrap_or_else(|| head.join("  ") + "\n"))
}

/// What is known about a value, and the value: as text, or in base64 if it is none.
#[derive(Serialize)]
struct WithValue<'a, H> {
    #[serde(flatten)]
    head: &'a H,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<&'a str>,
}

/// JSON that holds a value, in room that is wiped and never grows, so that no copy stays behind.
pub fn print_value_json(head: &impl Serialize, value: &[u8]) -> Result<(), Failure> {
    let text = std::str::from_utf8(value).ok();
    let encoded = text.is_none().then(|| Zeroizing::new(STANDARD.encode(value)));
    let value_base64 = encoded.as_ref().map(|encoded| encoded.as_str());
    // The worst of escapes takes six bytes for one.
    let room = 64 * 1024 + 6 * text.map_or(0, str::len) + value_base64.map_or(0, str::len);
    let mut json = Zeroizing::new(Vec::with_capacity(room));
    let whole = WithValue { head, value: text, value_base64 };
    serde_json::to_writer_pretty(&mut *json, &whole).map_err(|error| Failure::new(exit::SOFTWARE, error))?;
    json.push(b'\n');
    print(&*json)
}

/// A table as text; nothing without rows.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Option<String> {
    let rows = rows.into_iter().map(|row| row.into_iter().map(|cell| visible(&cell)).collect::<Vec<_>>());
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.to_vec()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    (table.row_count() > 0).then(|| lines.join("\n") + "\n")
}

pub fn to_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether colour is welcome on it: a terminal that can, and nobody who has said no.
pub fn is_colored(stream: &impl IsTerminal) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// Text in a colour, by its number in SGR.
pub fn colored(text: &str, code: &str, is_colored: bool) -> String {
    if is_colored { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// `1 secret`, `2 secrets`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The same of what is counted elsewhere.
pub fn counted_of(count: u64, what: &str) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), what)
}

/// A time as a table shows it.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A time that may not be there.
pub fn time_or(at: Option<Timestamp>, otherwise: &str) -> String {
    at.map_or_else(|| otherwise.to_owned(), time)
}
