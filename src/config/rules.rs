//! The rules of who may read what, as serde sees them: one struct per map, and what may be one thing
//! or a list of them. The doc comments are what the schema says of a key. Pure.

pub(super) mod scalar;

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::value::{
    BoolDeserializer, I64Deserializer, MapAccessDeserializer, StrDeserializer, U64Deserializer,
};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::access::{AccessRule, Matcher, Program, SecretRule, Wanted};
use super::scalar::Label;
use super::word::{Given, Scalar, Word};
use crate::nearest::nearest;
use crate::policy::{Action, Actions, Door, Pattern, Verdict};
use scalar::{CgroupPattern, GroupName, Id, ProgramPath, SecretPattern, Sha256, UnitPattern, UserName};

/// One thing, or a list that is not empty. What was left out is empty; what was left empty is a
/// mistake, or a condition would be gone that somebody wanted.
pub(super) struct Many<T>(Vec<T>);

/// Whom a rule is about.
pub(super) type Who = Many<OneOfThem>;

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with one of `allow`, `deny` and `placeholder`")]
pub(super) struct FileRule {
    /// These may read the file
    #[serde(default)]
    allow: Who,
    /// These may not
    #[serde(default)]
    deny: Who,
    /// These get the file with harmless values in it
    #[serde(default)]
    placeholder: Who,
    /// What the rule is about (default: an allow and a placeholder are about read, a deny about everything)
    #[serde(default)]
    actions: Many<Word<Action>>,
}

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with `secrets` and one of `allow`, `deny` and `placeholder`")]
pub(super) struct PolicyRule {
    /// The secrets that it is about, by name: `*` is any text, `?` any character
    secrets: Many<Word<SecretPattern>>,
    /// The files that it is about, by their path in a mount, or from the root (default: all, and what is no file)
    #[serde(default)]
    files: Many<Word<Pattern>>,
    /// These may have the secrets
    #[serde(default)]
    allow: Who,
    /// These may not
    #[serde(default)]
    deny: Who,
    /// These get harmless values
    #[serde(default)]
    placeholder: Who,
    /// What the rule is about (default: an allow and a placeholder are about read, a deny about everything)
    #[serde(default)]
    actions: Many<Word<Action>>,
}

/// `anyone`, or a map.
pub(super) struct OneOfThem(Matcher);

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map like {user: app}, or `anyone`")]
pub(super) struct MatcherMap {
    /// A user's number
    #[serde(default)]
    uid: Many<Word<Id>>,
    /// A user's name
    #[serde(default)]
    user: Many<Word<UserName>>,
    /// The number of a group that the caller is in
    #[serde(default)]
    gid: Many<Word<Id>>,
    /// The name of a group that the caller is in
    #[serde(default)]
    group: Many<Word<GroupName>>,
    /// The whole path of the caller's program, or a map with its `path` and `sha256`
    #[serde(default)]
    exe: Many<Exe>,
    /// The system unit that the caller belongs to, like app.service
    #[serde(default)]
    unit: Many<Word<UnitPattern>>,
    /// The unit of a user's own manager; a user can name it at will
    #[serde(default)]
    user_unit: Many<Word<UnitPattern>>,
    /// The path of the caller's control group, like /system.slice/*
    #[serde(default)]
    cgroup: Many<Word<CgroupPattern>>,
    /// The name or id of the caller's container
    #[serde(default)]
    container: Many<Word<Pattern>>,
    /// A name under `roles:`
    #[serde(default)]
    role: Many<Word<Label>>,
    /// The way that the secret takes: mount, exec, api or systemd
    #[serde(default)]
    door: Many<Word<Door>>,
}

/// `exe: PATH`, or `exe: {path: PATH, sha256: HEX}`.
pub(super) struct Exe(Program);

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with the program's `path`")]
pub(super) struct ExeMap {
    /// The whole path of the program
    path: Word<ProgramPath>,
    /// What its content has to have
    #[serde(default)]
    sha256: Given<Sha256>,
}

impl FileRule {
    pub(super) fn judge(self) -> Result<AccessRule, String> {
        access(self.allow, self.deny, self.placeholder, self.actions)
    }
}

impl PolicyRule {
    pub(super) fn judge(self) -> Result<SecretRule, String> {
        Ok(SecretRule {
            secrets: words(self.secrets).into_iter().map(|it| it.0).collect(),
            files: words(self.files),
            access: access(self.allow, self.deny, self.placeholder, self.actions)?,
        })
    }
}

fn access(
    allow: Who,
    deny: Who,
    placeholder: Who,
    actions: Many<Word<Action>>,
) -> Result<AccessRule, String> {
    let said = [(Verdict::Real, allow), (Verdict::Deny, deny), (Verdict::Placeholder, placeholder)];
    let mut said = said.into_iter().filter(|(_, who)| !who.0.is_empty());
    let (Some((verdict, who)), None) = (said.next(), said.next()) else {
        return Err("expected one of `allow`, `deny` and `placeholder`".to_owned());
    };
    let actions = match actions.0.is_empty() {
        true => verdict.usual_actions(),
        false => Actions::of(words(actions)),
    };
    if verdict == Verdict::Placeholder && actions != Actions::READ {
        return Err("a placeholder is something to `read`; it has no other actions".to_owned());
    }
    Ok(AccessRule { verdict, who: matchers(who), actions })
}

pub(super) fn matchers(who: Who) -> Vec<Matcher> {
    who.0.into_iter().map(|it| it.0).collect()
}

fn words<T>(many: Many<Word<T>>) -> Vec<T> {
    many.0.into_iter().map(|word| word.0).collect()
}

impl MatcherMap {
    fn judge(self) -> Matcher {
        let wanted = [
            Wanted::Uid(words(self.uid).into_iter().map(|it| it.0).collect()),
            Wanted::User(words(self.user).into_iter().map(|it| it.0).collect()),
            Wanted::Gid(words(self.gid).into_iter().map(|it| it.0).collect()),
            Wanted::Group(words(self.group).into_iter().map(|it| it.0).collect()),
            Wanted::Exe(self.exe.0.into_iter().map(|exe| exe.0).collect()),
            Wanted::Unit(words(self.unit).into_iter().map(|it| it.0).collect()),
            Wanted::UserUnit(words(self.user_unit).into_iter().map(|it| it.0).collect()),
            Wanted::Cgroup(words(self.cgroup).into_iter().map(|it| it.0).collect()),
            Wanted::Container(words(self.container)),
            Wanted::Role(words(self.role).into_iter().map(|it| it.0).collect()),
            Wanted::Door(words(self.door)),
        ];
        Matcher(wanted.into_iter().filter(|wanted| !wanted.is_empty()).collect())
    }
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(ManyVisitor(PhantomData))
    }
}

struct ManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ManyVisitor<T> {
    type Value = Many<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("one of them, or a list")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Many<T>, E> {
        Ok(Many(vec![T::deserialize(StrDeserializer::new(text))?]))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Many<T>, E> {
        Ok(Many(vec![T::deserialize(U64Deserializer::new(number))?]))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Many<T>, E> {
        Ok(Many(vec![T::deserialize(I64Deserializer::new(number))?]))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Many<T>, E> {
        Ok(Many(vec![T::deserialize(BoolDeserializer::new(value))?]))
    }

    fn visit_unit<E: Error>(self) -> Result<Many<T>, E> {
        Err(E::custom("nothing stands here; is the next line indented too little?"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Many<T>, A::Error> {
        Ok(Many(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Many<T>, A::Error> {
        let mut many = Vec::new();
        while let Some(item) = items.next_element()? {
            many.push(item);
        }
        match many.is_empty() {
            true => Err(A::Error::custom("the list is empty")),
            false => Ok(Many(many)),
        }
    }
}

impl<'de> Deserialize<'de> for OneOfThem {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(OneVisitor)
    }
}

pub(super) const ANYONE: &str = "anyone";

struct OneVisitor;

impl<'de> Visitor<'de> for OneVisitor {
    type Value = OneOfThem;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map like {user: app}, or `anyone`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OneOfThem, E> {
        match text {
            ANYONE => Ok(OneOfThem(Matcher(Vec::new()))),
            text => Err(E::custom(match nearest(text, [ANYONE]) {
                Some(_) => format!("`{text}` is nobody; did you mean `{ANYONE}`?"),
                None => {
                    format!("`{text}` does not say who; did you mean {{user: {text}}} or {{role: {text}}}?")
                }
            })),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOfThem, A::Error> {
        let matcher = MatcherMap::deserialize(MapAccessDeserializer::new(map))?.judge();
        match matcher.0.is_empty() {
            true => Err(A::Error::custom(format_args!("an empty map says nobody; everybody is `{ANYONE}`"))),
            false => Ok(OneOfThem(matcher)),
        }
    }
}

impl<'de> Deserialize<'de> for Exe {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(ExeVisitor)
    }
}

struct ExeVisitor;

impl<'de> Visitor<'de> for ExeVisitor {
    type Value = Exe;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the program's path, or a map with its `path` and `sha256`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Exe, E> {
        let path = ProgramPath::judge(text).map_err(E::custom)?;
        Ok(Exe(Program { path: path.0, sha256: None }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Exe, A::Error> {
        let ExeMap { path, sha256 } = ExeMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Exe(Program { path: path.0.0, sha256: sha256.0.map(|digest| digest.0) }))
    }
}
