//! `docs/programs.md` has only rows that a test makes, and its recorder notices a row that is wrong.

mod common;

use std::fs;
use std::path::Path;

use common::programs::{self, Line, Row};

const HEAD: &str = "# Programs\n\n| program | version | test |\n|---|---|---|\n";

fn line(program: &str, version: &str, seen: &str) -> Line {
    Line::of(&Row { program, version: version.into(), read: "a key", seen, reload: "HUP" }, file!())
}

#[test]
fn every_row_is_made_by_the_test_that_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(programs::document()).unwrap();
    for line in programs::lines(&text) {
        let source = fs::read_to_string(root.join(line.test())).unwrap_or_default();
        assert!(programs::makes(&source, line.program()), "no test makes this row, so take it out:\n{line}");
    }
    assert_eq!(text.lines().filter(|line| line.starts_with('|')).count(), programs::lines(&text).len() + 2);
}

#[test]
fn rows_are_sorted_and_each_program_has_one() {
    let mut text = HEAD.to_owned();
    for (program, seen) in [("nginx", "200"), ("Bash", "printed"), ("nginx", "200, 401")] {
        text = programs::with_line(&text, &line(program, "1.0", seen));
    }
    let rows = [line("Bash", "1.0", "printed"), line("nginx", "1.0", "200, 401")];
    assert_eq!(text, format!("{HEAD}{}\n{}\n", rows[0], rows[1]));
    assert_eq!(programs::lines(&text), rows);
}

#[test]
fn a_row_that_differs_or_is_missing_is_noticed() {
    let text = programs::with_line(HEAD, &line("nginx", "1.0", "200"));
    assert!(programs::holds(&text, &line("nginx", "1.22", "200")), "the version may be another");
    assert!(!programs::holds(&text, &line("nginx", "1.0", "404")));
    assert!(!programs::holds(&text, &line("sshd", "1.0", "200")));
}

#[test]
fn a_row_without_a_test_is_noticed() {
    let source = "programs::row(Row { program: \"sshd\", read: \"a key\" });";
    assert!(programs::makes(source, "sshd"));
    assert!(!programs::makes(source, "ssh"));
    assert!(!programs::makes("run(\"sshd\")", "sshd"));
    assert!(!programs::makes("", "sshd"));
}
