//! `docs/programs.md`: a row for each program that a test has seen working on the mount. Rows are
//! compared with the file, or written into it with `SECRETFS_WRITE_DOCS=1`.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tool;

const COLUMNS: usize = 6;
const HOW_TO_WRITE: &str = "try: SECRETFS_WRITE_DOCS=1 ./tests/run, and look at the difference";

/// What a test has seen. The program's name is a literal in the test's own file, and its row's key.
pub struct Row<'a> {
    pub program: &'a str,
    /// Asked from the program; the file tells the one that was there when it was written.
    pub version: String,
    /// What it read from the mount.
    pub read: &'a str,
    /// How it was seen that it really used the secret.
    pub seen: &'a str,
    /// How it takes up a rotation.
    pub reload: &'a str,
}

/// One line of the table, by column: program, version, read, seen, reload, test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(pub [String; COLUMNS]);

/// Says at the end of a test what it has seen.
#[track_caller]
pub fn row(row: Row<'_>) {
    let line = Line::of(&row, Location::caller().file());
    let written = std::env::var_os("SECRETFS_WRITE_DOCS").is_some();
    let mut file = File::options().read(true).write(written).open(document()).expect("docs/programs.md");
    let mut text = String::new();
    if !written {
        file.read_to_string(&mut text).expect("docs/programs.md");
        return assert!(
            holds(&text, &line),
            "docs/programs.md does not have this row:\n{line}\n{HOW_TO_WRITE}"
        );
    }
    // Tests run in parallel, in several processes.
    file.lock().expect("a lock");
    file.read_to_string(&mut text).expect("docs/programs.md");
    file.set_len(0).and_then(|()| file.rewind()).expect("docs/programs.md");
    file.write_all(with_line(&text, &line).as_bytes()).expect("docs/programs.md");
}

/// Whether the table has this line. Another version of the program is no difference.
pub fn holds(text: &str, line: &Line) -> bool {
    let mut wanted = line.clone();
    let there = lines(text).into_iter().find(|there| there.program() == line.program());
    there.is_some_and(|there| {
        wanted.0[1].clone_from(&there.0[1]);
        there == wanted
    })
}

/// The text with this line in its place: rows are sorted by program.
pub fn with_line(text: &str, line: &Line) -> String {
    let mut lines = lines(text);
    lines.retain(|there| there.program() != line.program());
    lines.push(line.clone());
    lines.sort_by_key(|line| line.program().to_lowercase());
    let head = text.lines().take_while(|line| !is_row(line)).map(|line| format!("{line}\n"));
    head.chain(lines.iter().map(|line| format!("{line}\n"))).collect()
}

pub fn lines(text: &str) -> Vec<Line> {
    text.lines().filter(|line| is_row(line)).map(Line::parse).collect()
}

/// A row of the table proper: its last cell names a test.
fn is_row(line: &str) -> bool {
    line.starts_with("| ") && line.ends_with(".rs` |")
}

pub fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/programs.md")
}

/// Whether a test with this source makes a row of this program.
pub fn makes(source: &str, program: &str) -> bool {
    source.contains("programs::row(") && source.contains(&format!("\"{program}\""))
}

impl Line {
    #[track_caller]
    pub fn of(row: &Row<'_>, test: &str) -> Self {
        let cells = [row.program, row.version.trim(), row.read, row.seen, row.reload, &format!("`{test}`")];
        for cell in cells {
            assert!(!cell.is_empty() && !cell.contains(['|', '\n']), "not a cell of a table: {cell:?}");
        }
        Self(cells.map(str::to_owned))
    }

    #[track_caller]
    fn parse(line: &str) -> Self {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        Self(
            cells
                .try_into()
                .unwrap_or_else(|_| panic!("docs/programs.md: {COLUMNS} cells are a row: {line}")),
        )
    }

    pub fn program(&self) -> &str {
        &self.0[0]
    }

    pub fn test(&self) -> &str {
        self.0[COLUMNS - 1].trim_matches('`')
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "| {} |", self.0.join(" | "))
    }
}

/// What a program says of itself: the first number with a dot in it.
#[track_caller]
pub fn version_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool(program)).args(arguments).output().expect("it can be started");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let words =
        said.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').map(|word| word.trim_matches('.'));
    let mut versions =
        words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    versions
        .next()
        .unwrap_or_else(|| panic!("`{program} {arguments:?}` tells no version:\n{said}"))
        .to_owned()
}
