//! What a template's program takes from outside: each secret, variable or literal that it names has a slot,
//! which is filled before it runs. Uses the words of `secret`.

use minijinja::Value;

use crate::secret::{FieldName, Reference};

use super::error::Span;

pub(super) struct Slot {
    pub(super) what: What,
    pub(super) span: Span,
    /// Within a branch, a loop or a filter's arguments.
    pub(super) lazy: bool,
    /// Something stands in for it, or it is only asked whether it is there.
    pub(super) optional: bool,
}

pub(super) enum What {
    Literal(Value),
    Secret(Reference, Part),
    /// Named by a loop variable over literals: all that it can name, with the literal's text.
    Named {
        variable: String,
        names: Vec<(String, Reference)>,
        part: Part,
    },
    Env(String),
    Reader(ReaderField),
}

impl What {
    /// Every reference that it can be.
    pub(super) fn references(&self) -> impl Iterator<Item = (&Reference, &Part)> {
        let (fixed, several) = match self {
            Self::Secret(reference, part) => (Some((reference, part)), None),
            Self::Named { names, part, .. } => (None, Some((names, part))),
            _ => (None, None),
        };
        let several = several.into_iter();
        let several = several.flat_map(|(names, part)| names.iter().map(move |(_, name)| (name, part)));
        fixed.into_iter().chain(several)
    }
}

/// Which part of a secret is asked for.
pub(super) enum Part {
    /// What the reference itself says: its field, else `value`.
    Default,
    Field(FieldName),
    /// A metadata word, unless the secret has a field of that name.
    FieldOrMeta(FieldName, Meta),
    Meta(Meta),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    Version,
    CreatedAt,
    UpdatedAt,
    ExpiresAt,
}

impl Meta {
    pub(super) const WORDS: [(&str, Meta); 4] = [
        ("version", Meta::Version),
        ("created_at", Meta::CreatedAt),
        ("updated_at", Meta::UpdatedAt),
        ("expires_at", Meta::ExpiresAt),
    ];

    pub(super) fn named(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, meta)| *meta)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReaderField {
    Uid,
    Gid,
    Unit,
    Exe,
}

impl ReaderField {
    pub(super) const WORDS: [(&str, ReaderField); 4] = [
        ("uid", ReaderField::Uid),
        ("gid", ReaderField::Gid),
        ("unit", ReaderField::Unit),
        ("exe", ReaderField::Exe),
    ];
}
