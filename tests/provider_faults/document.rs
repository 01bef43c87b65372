//! The table of `docs/faults.md`: a column for each provider, written by the tests that have seen it
//! (`SECRETFS_BLESS=1 cargo test --test provider_faults`), and compared with what they see.

use std::fs;
use std::sync::Mutex;

use nix::errno::Errno;

use crate::scene::Seen;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
/// What is before the table.
const BEGIN: &str = "<!-- the table -->\n";
const END: &str = "<!-- its end -->\n";
/// The columns beside the name of the fault.
const PROVIDERS: [&str; 2] = ["vault", "etcd"];

/// Both tests write the one file.
static WRITING: Mutex<()> = Mutex::new(());

/// What the table says is what was seen with this provider.
pub(crate) fn judge(provider: &str, seen: &[(&'static str, Option<Seen>)]) {
    let column = PROVIDERS.iter().position(|name| *name == provider).unwrap();
    let cells: Vec<_> = seen.iter().map(|(name, seen)| (*name, cell(seen.as_ref()))).collect();
    if std::env::var_os("SECRETFS_BLESS").is_some() {
        write(column, &cells);
    }
    let table = rows();
    for (name, cell) in &cells {
        let row = table.iter().find(|row| row[0] == *name);
        let row = row.unwrap_or_else(|| panic!("`{name}` is not in {DOCUMENT}"));
        assert_eq!(&row[column + 1], cell, "{name} with {provider}: the table, and what was seen");
    }
    assert_eq!(table.len(), cells.len(), "a row for each fault");
}

fn cell(seen: Option<&Seen>) -> String {
    let Some(seen) = seen else { return "has none".to_owned() };
    let errno = seen.errno.map(|errno| format!("{:?}", Errno::from_raw(errno)));
    match (errno, &seen.kind) {
        (Some(errno), Some(kind)) => format!("{errno}, `{kind}`"),
        (None, None) => "there is none: the `default`".to_owned(),
        other => panic!("an error that nobody is told of, or none that somebody is: {other:?}"),
    }
}

fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let table = text.split_once(BEGIN).unwrap().1.split_once(END).unwrap().0;
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    table.lines().skip(2).map(cells).collect()
}

/// Puts a column in place.
fn write(column: usize, cells: &[(&'static str, String)]) {
    let _writing = WRITING.lock().unwrap();
    let old = rows();
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let mut table =
        format!("| fault | {} |\n|---|{}\n", PROVIDERS.join(" | "), "---|".repeat(PROVIDERS.len()));
    for (name, cell) in cells {
        let known = old.iter().find(|row| row[0] == *name);
        let cell = |at: usize| match (at == column, known) {
            (true, _) => cell.clone(),
            (false, Some(row)) => row[at + 1].clone(),
            (false, None) => String::new(),
        };
        let cells: Vec<_> = (0..PROVIDERS.len()).map(cell).collect();
        table += &format!("| {name} | {} |\n", cells.join(" | "));
    }
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let after = rest.split_once(END).unwrap().1;
    fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
}
