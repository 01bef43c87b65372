//! What a template can ever ask for, found without running it: for `check`, for the batch that is fetched
//! first, for policy. Reads the slots of the judged program.

use std::collections::HashSet;
use std::sync::Arc;

use crate::secret::{Reference, SecretKey};

use super::error::Span;
use super::judge::Program;
use super::slot::{Part, ReaderField, Slot, What};

/// Something in the template with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    pub item: T,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// In bytes from the template's start.
    pub offset: usize,
    pub length: usize,
}

/// What of the reader the rendering depends on. If nothing, all readers share one view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderUse {
    pub uid: bool,
    pub gid: bool,
    pub unit: bool,
    pub exe: bool,
}

impl ReaderUse {
    pub fn any(self) -> bool {
        self.uid || self.gid || self.unit || self.exe
    }
}

#[derive(Default)]
pub(super) struct Survey {
    pub(super) references: Vec<Located<Reference>>,
    pub(super) eager: Arc<[SecretKey]>,
    /// The same list as `eager`, where there are no others.
    pub(super) keys: Arc<[SecretKey]>,
    pub(super) env_names: Vec<Located<String>>,
    pub(super) raws: Vec<Located<()>>,
    pub(super) left_as_text: Vec<Located<String>>,
    pub(super) reader: ReaderUse,
}

pub(super) fn survey(text: &str, program: &Program, doubtful: Vec<(String, Span)>) -> Survey {
    let mut places = Places { text, offset: 0, line: 1, column: 1 };
    let mut found = Survey::default();
    for slot in &program.slots {
        found.take(slot, &mut places);
    }
    found.raws = program.raws.iter().map(|span| places.locate((), *span)).collect();
    found.left_as_text = doubtful.into_iter().map(|(meant, span)| places.locate(meant, span)).collect();
    found.references.shrink_to_fit();
    found.keys = distinct(found.references.iter().map(|reference| &reference.item.key));
    let eager = program.slots.iter().filter(|slot| !slot.lazy).flat_map(|slot| slot.what.references());
    let eager = distinct(eager.map(|(reference, _)| &reference.key));
    found.eager = if eager == found.keys { found.keys.clone() } else { eager };
    found
}

fn distinct<'a>(keys: impl Iterator<Item = &'a SecretKey>) -> Arc<[SecretKey]> {
    let mut seen = HashSet::new();
    keys.filter(|key| seen.insert(*key)).cloned().collect()
}

impl Survey {
    fn take(&mut self, slot: &Slot, places: &mut Places<'_>) {
        for (reference, part) in slot.what.references() {
            let mut reference = reference.clone();
            if let Part::Field(field) = part {
                reference.field = Some(field.clone());
            }
            self.references.push(places.locate(reference, slot.span));
        }
        match &slot.what {
            What::Env(name) => self.env_names.push(places.locate(name.clone(), slot.span)),
            What::Reader(ReaderField::Uid) => self.reader.uid = true,
            What::Reader(ReaderField::Gid) => self.reader.gid = true,
            What::Reader(ReaderField::Unit) => self.reader.unit = true,
            What::Reader(ReaderField::Exe) => self.reader.exe = true,
            What::Literal(_) | What::Secret(..) | What::Named { .. } => {}
        }
    }
}

struct Places<'t> {
    text: &'t str,
    /// The last place, to count on from: places come in ascending order, or nearly so.
    offset: usize,
    line: u32,
    column: u32,
}

impl Places<'_> {
    fn locate<T>(&mut self, item: T, span: Span) -> Located<T> {
        let (offset, length) = (span.start as usize, (span.end - span.start) as usize);
        if offset < self.offset {
            (self.offset, self.line, self.column) = (0, 1, 1);
        }
        let passed = &self.text[self.offset..offset];
        if let Some(end) = passed.rfind('\n') {
            self.line += passed.matches('\n').count() as u32;
            self.column = passed[end + 1..].chars().count() as u32 + 1;
        } else {
            self.column += passed.chars().count() as u32;
        }
        self.offset = offset;
        Located { item, line: self.line, column: self.column, offset, length }
    }
}
