//! What a template can ever ask for, found without running it: for `check`, for the batch that is fetched
//! first, for policy. Walks the compiled nodes.

use std::collections::HashSet;
use std::hash::Hash;

use crate::secret::{Reference, SecretKey};

use super::error::Span;
use super::syntax::{Emit, Expr, ExprKind, Filter, Filtering, How, Lookup, Node, ReaderField, SecretPart};
use super::syntax::{Test, Which};

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
    pub(super) eager: Vec<SecretKey>,
    pub(super) keys: Vec<SecretKey>,
    pub(super) env_names: Vec<Located<String>>,
    pub(super) raws: Vec<Located<()>>,
    pub(super) reader: ReaderUse,
}

pub(super) fn survey(text: &str, nodes: &[Node]) -> Survey {
    let mut walk = Walk { text, found: Survey::default(), lazy: false, line: (1, 0) };
    walk.nodes(nodes);
    let mut found = walk.found;
    found.keys = found.references.iter().map(|reference| reference.item.key.clone()).collect();
    deduplicate(&mut found.keys);
    deduplicate(&mut found.eager);
    found
}

fn deduplicate<T: Clone + Eq + Hash>(items: &mut Vec<T>) {
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(item.clone()));
}

struct Walk<'t> {
    text: &'t str,
    found: Survey,
    /// Within a branch, a loop or a filter's arguments.
    lazy: bool,
    /// A line's number and start, to count on from: places come in ascending order, or nearly so.
    line: (u32, usize),
}

impl Walk<'_> {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(_) => {}
                Node::Emit(emit) => self.emit(emit),
                Node::If { arms, otherwise } => self.branches(arms, otherwise),
                Node::For(repetition) => {
                    self.expr(&repetition.over);
                    self.lazily(|walk| {
                        walk.nodes(&repetition.body);
                        walk.nodes(&repetition.otherwise);
                    });
                }
            }
        }
    }

    fn emit(&mut self, emit: &Emit) {
        if emit.how == How::Raw {
            let raw = self.locate((), emit.expr.span);
            self.found.raws.push(raw);
        }
        self.expr(&emit.expr);
    }

    fn branches(&mut self, arms: &[(Expr, Vec<Node>)], otherwise: &[Node]) {
        for (place, (condition, body)) in arms.iter().enumerate() {
            // The first condition is always asked, a later one only if those before are false.
            if place == 0 {
                self.expr(condition);
            } else {
                self.lazily(|walk| walk.expr(condition));
            }
            self.lazily(|walk| walk.nodes(body));
        }
        self.lazily(|walk| walk.nodes(otherwise));
    }

    fn lazily(&mut self, walk: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.lazy, true);
        walk(self);
        self.lazy = before;
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Secret(lookup) => self.secret(lookup, expr.span),
            ExprKind::Env(name) => {
                let name = self.locate(name.clone(), expr.span);
                self.found.env_names.push(name);
            }
            ExprKind::Reader(field) => self.reader(*field),
            ExprKind::List(items) => items.iter().for_each(|item| self.expr(item)),
            ExprKind::Not(inner) | ExprKind::Is(_, inner) | ExprKind::Part(inner, _) => self.expr(inner),
            ExprKind::Compare(_, pair) | ExprKind::Concat(pair) => {
                pair.iter().for_each(|side| self.expr(side));
            }
            ExprKind::And(pair) | ExprKind::Or(pair) => {
                self.expr(&pair[0]);
                self.lazily(|walk| walk.expr(&pair[1]));
            }
            ExprKind::Conditional(choice) => {
                self.expr(&choice.condition);
                self.lazily(|walk| {
                    walk.expr(&choice.then);
                    walk.expr(&choice.otherwise);
                });
            }
            ExprKind::Filter(filtering) => {
                self.expr(&filtering.base);
                self.lazily(|walk| filtering.arguments.iter().for_each(|argument| walk.expr(argument)));
            }
            ExprKind::Null
            | ExprKind::Bool(_)
            | ExprKind::Integer(_)
            | ExprKind::Float(_)
            | ExprKind::Text(_)
            | ExprKind::Variable(_)
            | ExprKind::Loop(_) => {}
        }
    }

    fn secret(&mut self, lookup: &Lookup, span: Span) {
        for mut reference in lookup.references().cloned() {
            if let SecretPart::Field(field) = &lookup.part {
                reference.field = Some(field.clone());
            }
            if !self.lazy {
                self.found.eager.push(reference.key.clone());
            }
            let located = self.locate(reference, span);
            self.found.references.push(located);
        }
    }

    fn reader(&mut self, field: ReaderField) {
        let used = &mut self.found.reader;
        match field {
            ReaderField::Uid => used.uid = true,
            ReaderField::Gid => used.gid = true,
            ReaderField::Unit => used.unit = true,
            ReaderField::Exe => used.exe = true,
        }
    }

    fn locate<T>(&mut self, item: T, span: Span) -> Located<T> {
        let (offset, length) = (span.start as usize, (span.end - span.start) as usize);
        let (mut line, mut start) = self.line;
        if offset < start {
            (line, start) = (1, 0);
        }
        while let Some(found) = self.text[start..offset].find('\n') {
            (line, start) = (line + 1, start + found + 1);
        }
        self.line = (line, start);
        let column = self.text[start..offset].chars().count() as u32 + 1;
        Located { item, line, column, offset, length }
    }
}

impl Lookup {
    /// Every reference that it can be.
    pub(super) fn references(&self) -> impl Iterator<Item = &Reference> {
        let (fixed, several) = match &self.which {
            Which::Fixed(reference) => (Some(reference), [].as_slice()),
            Which::Loop { names, .. } => (None, names.as_slice()),
        };
        fixed.into_iter().chain(several.iter().map(|(_, reference)| reference))
    }
}

/// Lookups that a rendering cannot do without if it gets to them, for a check against the values.
pub(super) fn required<'n>(nodes: &'n [Node], found: &mut Vec<(&'n Lookup, Span)>) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Emit(emit) => required_in(&emit.expr, found),
            Node::If { arms, otherwise } => {
                for (condition, body) in arms {
                    required_in(condition, found);
                    required(body, found);
                }
                required(otherwise, found);
            }
            Node::For(repetition) => {
                required_in(&repetition.over, found);
                required(&repetition.body, found);
                required(&repetition.otherwise, found);
            }
        }
    }
}

fn required_in<'n>(expr: &'n Expr, found: &mut Vec<(&'n Lookup, Span)>) {
    match &expr.kind {
        ExprKind::Secret(lookup) => found.push((lookup, expr.span)),
        ExprKind::List(items) => items.iter().for_each(|item| required_in(item, found)),
        // These ask whether it is there.
        ExprKind::Is(Test::Defined | Test::Undefined, _) => {}
        ExprKind::Not(inner) | ExprKind::Is(_, inner) | ExprKind::Part(inner, _) => required_in(inner, found),
        ExprKind::Compare(_, pair) | ExprKind::Concat(pair) | ExprKind::And(pair) | ExprKind::Or(pair) => {
            pair.iter().for_each(|side| required_in(side, found));
        }
        ExprKind::Conditional(choice) => {
            for expr in [&choice.condition, &choice.then, &choice.otherwise] {
                required_in(expr, found);
            }
        }
        ExprKind::Filter(filtering) => required_in_filter(filtering, found),
        _ => {}
    }
}

fn required_in_filter<'n>(filtering: &'n Filtering, found: &mut Vec<(&'n Lookup, Span)>) {
    // A base that may be missing; whether its stand-in is needed only shows in the rendering.
    if matches!(filtering.filter, Filter::Default | Filter::Fallback) {
        return;
    }
    required_in(&filtering.base, found);
    filtering.arguments.iter().for_each(|argument| required_in(argument, found));
}
