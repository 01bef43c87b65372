//! The compiled template: only what may run can be written down in these types.
//! Uses `error::Span` and the words of `secret`.

use crate::secret::{FieldName, Reference};

use super::error::Span;

pub(super) enum Node {
    Text(Span),
    Emit(Emit),
    If { arms: Vec<(Expr, Vec<Node>)>, otherwise: Vec<Node> },
    For(Box<For>),
}

pub(super) struct Emit {
    pub(super) expr: Expr,
    pub(super) how: How,
}

/// How an emitted value meets its place in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Encoded,
    /// `| raw`: as it is, whatever it breaks.
    Raw,
    /// `| quote`: in quotes even where the format needs none.
    Quoted,
}

pub(super) struct For {
    /// How many loop variables there are: more than one takes a list item apart.
    pub(super) targets: usize,
    pub(super) over: Expr,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

pub(super) struct Expr {
    pub(super) span: Span,
    pub(super) kind: ExprKind,
}

pub(super) enum ExprKind {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Expr>),
    Secret(Box<Lookup>),
    /// A loop variable, by its place in the stack of all that are in scope.
    Variable(usize),
    Loop(LoopField),
    Env(String),
    Reader(ReaderField),
    Not(Box<Expr>),
    And(Box<[Expr; 2]>),
    Or(Box<[Expr; 2]>),
    Compare(Comparison, Box<[Expr; 2]>),
    /// `a ~ b`: texts put together.
    Concat(Box<[Expr; 2]>),
    Conditional(Box<Conditional>),
    Filter(Box<Filtering>),
    Is(Test, Box<Expr>),
    /// A part of what `from_json` gave.
    Part(Box<Expr>, PartName),
}

pub(super) struct Conditional {
    pub(super) condition: Expr,
    pub(super) then: Expr,
    pub(super) otherwise: Expr,
}

pub(super) struct Filtering {
    pub(super) base: Expr,
    pub(super) filter: Filter,
    pub(super) arguments: Vec<Expr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Defined,
    Undefined,
    Null,
    NotNull,
}

pub(super) enum PartName {
    Key(String),
    Index(usize),
}

#[derive(Clone, Copy)]
pub(super) enum LoopField {
    Index,
    Index0,
    First,
    Last,
    Length,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReaderField {
    Uid,
    Gid,
    Unit,
    Exe,
}

/// Which part of which secret is asked for.
pub(super) struct Lookup {
    pub(super) which: Which,
    pub(super) part: SecretPart,
}

pub(super) enum Which {
    Fixed(Reference),
    /// Named by a loop variable over literals: all that it can name, with the literal's text.
    Loop {
        variable: usize,
        names: Vec<(String, Reference)>,
    },
}

pub(super) enum SecretPart {
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
pub(super) enum Filter {
    Default,
    Fallback,
    Required,
    Hash,
    Bcrypt,
    B64Encode,
    B64Decode,
    UrlEncode,
    ToJson,
    Indent,
    Trim,
    Lower,
    Upper,
    Join,
    Split,
    Lines,
    FromJson,
}

impl Filter {
    /// Every filter with the fewest and the most arguments it takes.
    pub(super) const ALL: [(&str, Filter, usize, usize); 17] = [
        ("default", Filter::Default, 1, 2),
        ("fallback", Filter::Fallback, 1, 1),
        ("required", Filter::Required, 0, 1),
        ("hash", Filter::Hash, 1, 1),
        ("bcrypt", Filter::Bcrypt, 0, 1),
        ("b64encode", Filter::B64Encode, 0, 0),
        ("b64decode", Filter::B64Decode, 0, 0),
        ("urlencode", Filter::UrlEncode, 0, 0),
        ("tojson", Filter::ToJson, 0, 0),
        ("indent", Filter::Indent, 0, 2),
        ("trim", Filter::Trim, 0, 0),
        ("lower", Filter::Lower, 0, 0),
        ("upper", Filter::Upper, 0, 0),
        ("join", Filter::Join, 0, 1),
        ("split", Filter::Split, 1, 1),
        ("lines", Filter::Lines, 0, 0),
        ("from_json", Filter::FromJson, 0, 0),
    ];

    /// Filters that say how a value is emitted, and therefore come last.
    pub(super) const LAST: [(&str, How); 2] = [("raw", How::Raw), ("quote", How::Quoted)];

    pub(super) fn is_known(name: &str) -> bool {
        Self::names().any(|known| known == name)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(name, ..)| *name).chain(Self::LAST.iter().map(|(name, _)| *name))
    }
}
