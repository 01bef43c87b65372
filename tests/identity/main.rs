//! Who asks, however it hides: the ways in which a process can look like another one, or change
//! while it is judged, each tried through a real mount, and each with its control.
//!
//! The numbers of the cases are those of the table in docs/identity.md, which says of each what is
//! promised.

#[path = "../common/mod.rs"]
mod common;
mod digests;
mod foreign;
mod groups;
mod handed;
mod held;
mod masks;
mod rings;
mod rules;
mod stage;
mod views;

/// Each row of the table has a test, in the file that it names, and each test a row.
#[test]
fn the_table_has_the_cases_that_are_tried() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/identity.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|') && line.ends_with(".rs` |"));
    let mut cases = Vec::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (case, file) = (cells[0], cells[cells.len() - 1].trim_matches('`'));
        let source = std::fs::read_to_string(root.join("tests/identity").join(file)).unwrap();
        assert!(source.contains(&format!("fn case_{case}_")), "{file} does not try: {row}");
        cases.push(case.to_owned());
    }
    assert_eq!(cases, (1..=21).map(|case| format!("{case:02}")).collect::<Vec<_>>());
}
