//! The tables of `docs/faults.md`: a column for each provider, written by the tests that have seen it
//! (`SECRETFS_BLESS=1 cargo test --test provider_faults`), and compared with what they see.

use std::fs;
use std::sync::Mutex;

use nix::errno::Errno;

use crate::scene::Seen;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
/// All tests write the one file.
static WRITING: Mutex<()> = Mutex::new(());

/// A table, by the name in the comments around it, and its columns beside the name of the fault.
pub(crate) struct Table {
    name: &'static str,
    columns: &'static [&'static str],
}

pub(crate) const NETWORK: Table =
    Table { name: "network", columns: &["vault", "etcd", "gcp-sm", "azure-kv", "1password", "kubernetes"] };
pub(crate) const LOCAL: Table = Table { name: "local", columns: &["seen"] };

/// What the table says in this column is what was seen.
pub(crate) fn judge(table: &Table, column: &str, seen: &[(&'static str, Option<Seen>)]) {
    let column = table.columns.iter().position(|name| *name == column).unwrap();
    let cells: Vec<_> = seen.iter().map(|(name, seen)| (*name, cell(seen.as_ref()))).collect();
    if std::env::var_os("SECRETFS_BLESS").is_some() {
        table.write(column, &cells);
    }
    let rows = table.rows();
    for (name, cell) in &cells {
        let row = rows.iter().find(|row| row[0] == *name);
        let row = row.unwrap_or_else(|| panic!("`{name}` is not in {DOCUMENT}"));
        assert_eq!(&row[column + 1], cell, "{name}: the table, and what was seen");
    }
    assert_eq!(rows.len(), cells.len(), "a row for each fault");
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

impl Table {
    fn begin(&self) -> String {
        format!("<!-- {}: begin -->\n", self.name)
    }

    fn end(&self) -> String {
        format!("<!-- {}: end -->\n", self.name)
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(DOCUMENT).unwrap();
        let rows = text.split_once(&self.begin()).unwrap().1.split_once(&self.end()).unwrap().0;
        let cells =
            |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        rows.lines().skip(2).map(cells).collect()
    }

    /// Puts a column in place.
    fn write(&self, column: usize, cells: &[(&'static str, String)]) {
        let _writing = WRITING.lock().unwrap();
        let old = self.rows();
        let text = fs::read_to_string(DOCUMENT).unwrap();
        let rule = "---|".repeat(self.columns.len());
        let mut table = format!("{}| fault | {} |\n|---|{rule}\n", self.begin(), self.columns.join(" | "));
        for (name, cell) in cells {
            let known = old.iter().find(|row| row[0] == *name);
            let cell = |at: usize| match (at == column, known) {
                (true, _) => cell.clone(),
                (false, Some(row)) => row.get(at + 1).cloned().unwrap_or_default(),
                (false, None) => String::new(),
            };
            let cells: Vec<_> = (0..self.columns.len()).map(cell).collect();
            table += &format!("| {name} | {} |\n", cells.join(" | "));
        }
        let before = text.split_once(&self.begin()).unwrap().0;
        let after = text.split_once(&self.end()).unwrap().1;
        fs::write(DOCUMENT, format!("{before}{table}{}{after}", self.end())).unwrap();
    }
}
