//! `secretfs set`: adds secrets, or versions to those that are there. All in one transaction.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::json_values::Entry;
use super::progress::Progress;
use super::report::Failure;
use super::values::{self, Fields, ValueArgs, Values};
use super::{Common, completions, exit, named, open, output, when};
use crate::clock::{Clock, SystemClock};
use crate::nearest::nearest;
use crate::secret::{Namespace, SecretName, SecretType};
use crate::store::{Access, Change, Edit, NewVersion, SecretInfo, Store, StoreError};

#[derive(clap::Args)]
pub struct Args {
    /// The secrets; each value is asked for, or comes from stdin
    #[arg(value_name = "NAME", required_unless_present = "from_json", add = completions::secrets())]
    names: Vec<String>,
    #[command(flatten)]
    values: ValueArgs,
    /// Refuse a name that is there
    #[arg(long)]
    new: bool,
    /// plain, api-key, basic-auth, bearer, oauth, connection-string, webhook, certificate, ssh-key, custom
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type, add = completions::types())]
    kind: Option<SecretType>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The service that it belongs to: openai, slack, …
    #[arg(long, value_name = "NAME", add = completions::labels())]
    label: Option<String>,
    /// A tag; replaces those that are there
    #[arg(long = "tag", value_name = "TAG", add = completions::tags())]
    tags: Vec<String>,
    /// Who answers for it
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let expected = if args.new { Expected::Absent } else { Expected::Any };
    let edit = Edit {
        kind: args.kind,
        description: args.description.clone(),
        label: args.label.clone(),
        owner: args.owner.clone(),
        tags: (!args.tags.is_empty()).then(|| args.tags.iter().cloned().collect::<BTreeSet<_>>()),
    };
    put(common, &args.names, &args.values, &edit, expected)
}

pub fn parse_type(text: &str) -> Result<SecretType, String> {
    SecretType::parse(text).ok_or_else(|| {
        let known = SecretType::ALL.map(SecretType::as_str);
        match nearest(text, known) {
            Some(near) => format!("there is no type `{text}`; did you mean `{near}`?"),
            None => format!("the types are {}", known.join(", ")),
        }
    })
}

/// What has to be there before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Any,
    Absent,
    Present,
}

/// Reads the values and writes them.
pub fn put(
    common: &Common,
    names: &[String],
    values: &ValueArgs,
    edit: &Edit,
    expected: Expected,
) -> Result<u8, Failure> {
    let now = SystemClock.now();
    let expires_at = values.expires.as_deref().map(|text| when::parse_future(text, now)).transpose()?;
    let (store, namespace) = open::here(common, Access::Write)?;
    let target = Target { store: &store, namespace: &namespace, kind: edit.kind, expected };
    let inputs = target.inputs(names, values)?;
    let done = store.change(&namespace, open::stamp_at(now), |change| {
        let progress = Progress::of(inputs.len(), "writing", common);
        inputs
            .into_iter()
            .inspect(|_| progress.step())
            .map(|input| input.write(change, edit, expires_at, expected))
            .collect::<Result<Vec<_>, Failure>>()
    })?;
    tell(&done, common.json)
}

/// A secret that is to be written.
struct Input {
    name: SecretName,
    /// As it was when the values were asked for.
    kind: Option<SecretType>,
    entry: Entry,
    /// Fields that are not named stay as they are.
    keep_others: bool,
}

#[derive(Serialize)]
struct Done {
    name: String,
    version: u64,
}

/// A place to write to, and what is expected to be there.
struct Target<'a> {
    store: &'a Store,
    namespace: &'a Namespace,
    kind: Option<SecretType>,
    expected: Expected,
}

impl Target<'_> {
    fn inputs(&self, names: &[String], values: &ValueArgs) -> Result<Vec<Input>, Failure> {
        if names.is_empty() {
            let many = values.read_many()?.into_iter();
            return Ok(many
                .map(|(name, entry)| Input { name, kind: None, entry, keep_others: false })
                .collect());
        }
        refuse_shared_stdin(names, values)?;
        let inputs = names.iter().map(|name| self.ask(name, values)).collect();
        values.check_all_taken()?;
        inputs
    }

    /// Reads the values of one secret, once it is clear that they are wanted.
    fn ask(&self, name: &str, values: &ValueArgs) -> Result<Input, Failure> {
        let name = named::whole(name)?;
        let there = self.store.describe(self.namespace, &name)?;
        if there.is_none() && self.expected == Expected::Present {
            return Err(named::missing(self.store, self.namespace, name.as_str()));
        }
        check(&name, there.is_some(), self.expected)?;
        let kind = kind_of(self.kind, there.as_ref(), values.names_fields() || values.from_json);
        let Values { fields, keep_others } =
            values.read(&name, kind, &there.map(|there| there.fields).unwrap_or_default())?;
        Ok(Input { name, kind: Some(kind), entry: Entry::Fields(fields), keep_others })
    }
}

/// The type that was named, else the one that the secret has, else the one that its fields suggest.
pub fn kind_of(named: Option<SecretType>, there: Option<&SecretInfo>, has_fields: bool) -> SecretType {
    let suggested = if has_fields { SecretType::Custom } else { SecretType::Plain };
    named.or(there.map(|there| there.kind)).unwrap_or(suggested)
}

/// Stdin can be read once.
fn refuse_shared_stdin(names: &[String], values: &ValueArgs) -> Result<(), Failure> {
    let is_shared = names.len() > 1 && !std::io::IsTerminal::is_terminal(&std::io::stdin());
    if is_shared || (names.len() > 1 && values.from_json) {
        let failure = Failure::new(exit::USAGE, "several secrets cannot share one stdin");
        return Err(failure.hint("secretfs set --from-json with {\"name\": \"value\", …} on stdin"));
    }
    Ok(())
}

fn check(name: &SecretName, is_there: bool, expected: Expected) -> Result<(), StoreError> {
    match (expected, is_there) {
        (Expected::Absent, true) => Err(StoreError::SecretExists(name.to_string())),
        (Expected::Present, false) => Err(StoreError::SecretMissing(name.to_string())),
        _ => Ok(()),
    }
}

impl Input {
    /// Looks at what is there once more: another process may have been faster.
    fn write(
        self,
        change: &mut Change<'_>,
        edit: &Edit,
        expires_at: Option<Timestamp>,
        expected: Expected,
    ) -> Result<Done, Failure> {
        let Self { name, kind, entry, keep_others } = self;
        let there = change.describe(&name)?;
        check(&name, there.is_some(), expected)?;
        let has_fields = matches!(entry, Entry::Fields(_));
        let kind = kind.unwrap_or_else(|| kind_of(edit.kind, there.as_ref(), has_fields));
        let mut fields = if keep_others { change.fields(&name)? } else { Fields::new() };
        let new = values::fields_of(entry, &name, kind)?;
        let is_kept = fields.keys().any(|field| !new.contains_key(field));
        if is_kept && expires_at.is_none() && there.as_ref().is_some_and(|it| it.has_expired(change.now())) {
            return Err(expired(&name));
        }
        fields.extend(new);
        let edit = Edit { kind: Some(kind), ..edit.clone() };
        let version = change.put(&name, NewVersion { fields, expires_at }, &edit)?;
        Ok(Done { name: name.to_string(), version })
    }
}

/// What has expired must not come back for ever by way of its neighbour.
fn expired(name: &SecretName) -> Failure {
    let problem = format!("`{name}` has expired: fields that are not named would be valid again");
    Failure::new(exit::DATA, problem).hint("name all of its fields, or say --expires WHEN")
}

fn tell(done: &[Done], json: bool) -> Result<u8, Failure> {
    if json {
        output::print_json(&done)?;
        return Ok(exit::OK);
    }
    let lines: String =
        done.iter().map(|Done { name, version }| format!("{name}: version {version}\n")).collect();
    output::print(lines)?;
    Ok(exit::OK)
}
