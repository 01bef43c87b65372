//! The table of what was tried and what it led to, as `docs/crash-safety.md` has it.
//! `SECRETFS_BLESS=1` with `tests/run --long` writes it there, row by row. Uses std.

use std::fs;

use super::BACKENDS;
use super::common::long;
use super::operations::OPERATIONS;
use super::trial::Verdict;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/crash-safety.md");

/// One operation on one backend.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) operation: &'static str,
    pub(crate) backend: &'static str,
    /// How often it was left in each state, in the order of `Stage`.
    stages: [usize; 3],
    pub(crate) violations: Vec<String>,
    control: usize,
    pub(crate) control_violations: usize,
}

impl Row {
    pub(crate) fn new(operation: &'static str, backend: &'static str) -> Self {
        Self { operation, backend, stages: [0; 3], violations: Vec::new(), control: 0, control_violations: 0 }
    }

    /// As it stands in the document.
    fn kept(operation: &'static str, backend: &'static str, text: &str) -> Option<Self> {
        let mut row = Self::new(operation, backend);
        let line = text.lines().find(|line| line.starts_with(&row.head()))?;
        let cells: Vec<_> = line.split(['|', ' ']).filter_map(|cell| cell.parse().ok()).collect();
        let [_points, before, between, after, violations, found, control] = cells[..] else { return None };
        row.stages = [before, between, after];
        row.violations = vec![String::new(); violations];
        (row.control, row.control_violations) = (control, found);
        Some(row)
    }

    pub(crate) fn count(&mut self, verdict: Verdict) {
        match verdict {
            Ok(stage) => self.stages[stage as usize] += 1,
            Err(violation) => self.violations.push(violation),
        }
    }

    pub(crate) fn count_control(&mut self, verdict: &Verdict) {
        self.control += 1;
        self.control_violations += usize::from(verdict.is_err());
    }

    pub(crate) fn points(&self) -> usize {
        self.stages.iter().sum::<usize>() + self.violations.len()
    }

    fn add(&mut self, other: &Self) {
        (0..3).for_each(|stage| self.stages[stage] += other.stages[stage]);
        self.violations.extend(other.violations.iter().cloned());
        self.control += other.control;
        self.control_violations += other.control_violations;
    }

    /// What a line begins with.
    fn head(&self) -> String {
        format!("| {} | {} |", self.operation, self.backend)
    }

    fn line(&self) -> String {
        let [before, between, after] = self.stages;
        let (points, violations) = (self.points(), self.violations.len());
        let control = format!("{} of {}", self.control_violations, self.control);
        format!("{} {points} | {before} | {between} | {after} | {violations} | {control} |\n", self.head())
    }
}

pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = "| operation | backend | points | left as before | on its way | as after | violations | \
                    control: violations |\n|---|---|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    let mut total = Row::new("all", "both");
    for row in rows {
        text += &row.line();
        total.add(row);
    }
    text + &total.line()
}

/// Writes the table into its place in the document, or sees that each of its rows is there, without
/// a violation.
pub(crate) fn keep(title: &str, rows: &[Row]) {
    let document = fs::read_to_string(DOCUMENT).expect("the document");
    let (before, rest) = document.split_once(&format!("<!-- {title} -->\n")).expect("its place");
    let (kept, after) = rest.split_once("<!-- end -->").expect("its end");
    if long() && std::env::var_os("SECRETFS_BLESS").is_some() {
        let new = format!("{before}<!-- {title} -->\n{}<!-- end -->{after}", table(&merged(rows, kept)));
        return fs::write(DOCUMENT, new).expect("the document");
    }
    for row in rows {
        let violations = Row::kept(row.operation, row.backend, kept).map(|row| row.violations.len());
        assert_eq!(violations, Some(0), "{} {DOCUMENT}\n{HOW}", row.head());
    }
}

/// In their order; those that were not tried now are as they were.
fn merged(rows: &[Row], kept: &str) -> Vec<Row> {
    let all = BACKENDS.into_iter().flat_map(|backend| OPERATIONS.iter().map(move |it| (it.name, backend)));
    let row = |(operation, backend)| {
        let new = rows.iter().find(|row| (row.operation, row.backend) == (operation, backend));
        new.cloned().or_else(|| Row::kept(operation, backend, kept))
    };
    all.filter_map(row).collect()
}

const HOW: &str = "SECRETFS_BLESS=1 SECRETFS_TEST_LONG=1 cargo test --test store_kill writes it anew";
