//! All that `check` has found, and how it is told: a table each for faults, for what is missing and
//! for notes; or JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::access::{self, Seen};
use super::finding::{Finding, Kind, Place};
use crate::cli::report::Failure;
use crate::cli::{exit, output};

#[derive(Default)]
pub(super) struct Report {
    templates: usize,
    findings: BTreeSet<Finding>,
    missing: BTreeMap<Reference, Uses>,
    /// What a caller would get, if that was asked.
    access: Option<Vec<Seen>>,
}

/// A reference that has no value, and who was asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Reference {
    pub(super) reference: String,
    pub(super) provider: String,
}

/// Where it is used, and what is said about it.
#[derive(Serialize)]
struct Uses {
    message: String,
    hint: Option<String>,
    uses: BTreeSet<Place>,
}

#[derive(Serialize)]
struct Missing<'a> {
    #[serde(flatten)]
    reference: &'a Reference,
    #[serde(flatten)]
    uses: &'a Uses,
}

#[derive(Serialize)]
struct All<'a> {
    templates: usize,
    findings: &'a BTreeSet<Finding>,
    missing: Vec<Missing<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<&'a Vec<Seen>>,
}

impl Report {
    /// A template that several mounts serve is one template.
    pub(super) fn count_templates<'a>(&mut self, paths: impl Iterator<Item = &'a std::path::PathBuf>) {
        self.templates = paths.map(|path| path.as_path()).collect::<BTreeSet<&Path>>().len();
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.insert(finding);
    }

    pub(super) fn see(&mut self, access: Vec<Seen>) {
        self.access = Some(access);
    }

    pub(super) fn add_missing(
        &mut self,
        reference: Reference,
        place: Place,
        message: String,
        hint: Option<String>,
    ) {
        let new = || Uses { message, hint, uses: BTreeSet::new() };
        self.missing.entry(reference).or_insert_with(new).uses.insert(place);
    }

    pub(super) fn status(&self) -> u8 {
        let has = |kind| self.findings.iter().any(|finding| finding.kind == kind);
        match () {
            () if has(Kind::Config) => exit::CONFIG,
            () if has(Kind::Template) => exit::DATA,
            () if !self.missing.is_empty() => exit::NO,
            () if self.access.as_deref().is_some_and(access::is_denied) => exit::NO,
            () => exit::OK,
        }
    }

    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            let missing: Vec<_> =
                self.missing.iter().map(|(reference, uses)| Missing { reference, uses }).collect();
            let Self { templates, findings, .. } = self;
            return output::print_json(&All {
                templates: *templates,
                findings,
                missing,
                access: self.access.as_ref(),
            });
        }
        output::print(self.as_text())
    }

    fn as_text(&self) -> String {
        let row = |finding: &Finding| vec![finding.place.to_string(), finding.told()];
        let (notes, faults): (Vec<_>, Vec<_>) =
            self.findings.iter().partition(|finding| finding.kind == Kind::Note);
        let parts = [
            self.access.as_deref().and_then(access::table),
            output::table(&["FAULT AT", "WHAT IS WRONG"], faults.iter().map(|it| row(it))),
            output::table(&["MISSING", "PROVIDER", "USED AT", "WHY"], self.missing.iter().map(missing_row)),
            output::table(&["NOTE AT", "WHAT TO KNOW"], notes.iter().map(|it| row(it))),
        ];
        let told: Vec<_> = parts.into_iter().flatten().map(|table| table + "\n").collect();
        told.concat() + &self.summary(faults.len(), notes.len())
    }

    fn summary(&self, faults: usize, notes: usize) -> String {
        let [templates, faults, notes] = [(self.templates, "template"), (faults, "fault"), (notes, "note")]
            .map(|(count, what)| output::counted(count, what));
        format!("{templates}: {faults}, {} missing, {notes}\n", self.missing.len())
    }
}

fn missing_row((Reference { reference, provider }, uses): (&Reference, &Uses)) -> Vec<String> {
    let places: Vec<_> = uses.uses.iter().map(ToString::to_string).collect();
    let hint = uses.hint.iter().map(|hint| format!("; {hint}"));
    let why = format!("{}{}", uses.message, hint.collect::<String>());
    vec![reference.clone(), provider.clone(), places.join("\n"), why]
}
