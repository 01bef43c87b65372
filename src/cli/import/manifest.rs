//! A manifest held against a namespace: what is missing is told, and at a terminal asked for.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::path::Path;

use serde::Serialize;

use crate::cli::export::{Entry, FORMAT, Manifest};
use crate::cli::report::{Failure, note};
use crate::cli::values::{self, Fields};
use crate::cli::{Common, exit, open, output};
use crate::secret::{FieldName, Namespace, SecretName, SecretType};
use crate::store::{Access, Edit, NewVersion, SecretInfo, Store, StoreError};

/// A secret of the manifest, and how it stands here.
struct Wanted {
    name: SecretName,
    entry: Entry,
    state: State,
    /// The fields that are missing.
    missing: Vec<FieldName>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Present,
    Missing,
    /// Some of its fields are missing.
    Incomplete,
    /// It is there as something else.
    OtherType,
    /// It was missing, and asked for.
    Added,
}

/// Says what is missing; asks for it where somebody sits, unless it is a dry run.
pub(super) fn run(path: &Path, is_dry: bool, common: &Common) -> Result<u8, Failure> {
    let manifest = read(path)?;
    let asks = !is_dry && !common.json && std::io::stdin().is_terminal();
    let (store, namespace) = open::here(common, if asks { Access::Write } else { Access::Read })?;
    let there: HashMap<_, _> = store.list(&namespace)?.into_iter().map(|it| (it.name.clone(), it)).collect();
    let wanted = manifest.secrets.into_iter().map(|(name, entry)| {
        let there = there.get(&name);
        Wanted::new(&name, entry, there).map_err(|problem| unusable(path, &problem))
    });
    let mut wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    if asks {
        ask_and_write(&store, &namespace, &mut wanted)?;
    }
    tell(&wanted, common)?;
    match wanted.iter().filter(|it| it.is_open()).count() {
        0 => Ok(exit::OK),
        count => {
            let are = if count == 1 { "is" } else { "are" };
            let problem = format!(
                "{} of {} {are} not here as the manifest says",
                count,
                output::counted(wanted.len(), "secret")
            );
            let hint = format!("secretfs import --manifest {} asks for them at a terminal", path.display());
            Err(Failure::new(exit::NO, problem).hint(hint))
        }
    }
}

fn read(path: &Path) -> Result<Manifest, Failure> {
    let text = std::fs::read(path)
        .map_err(|error| Failure::new(exit::NO_INPUT, format!("cannot read {}: {error}", path.display())))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| unusable(path, &error.to_string()))?;
    match manifest.format == FORMAT {
        true => Ok(manifest),
        false => Err(unusable(path, &format!("its format is not `{FORMAT}`"))),
    }
}

fn unusable(path: &Path, problem: &str) -> Failure {
    Failure::new(exit::DATA, format!("{} is no manifest: {problem}", path.display()))
        .hint("secretfs export --manifest FILE writes one")
}

impl Wanted {
    fn new(name: &str, entry: Entry, there: Option<&SecretInfo>) -> Result<Self, String> {
        let name = SecretName::parse(name).map_err(|error| error.to_string())?;
        let lacks = |field: &&String| !there.is_some_and(|there| there.fields.contains(field));
        let missing = entry.fields.iter().filter(lacks).map(|field| FieldName::parse(field));
        let missing = missing.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let state = match there {
            None => State::Missing,
            Some(there) if there.kind != entry.kind => State::OtherType,
            Some(_) if !missing.is_empty() => State::Incomplete,
            Some(_) => State::Present,
        };
        Ok(Self { name, entry, state, missing })
    }

    fn is_open(&self) -> bool {
        !matches!(self.state, State::Present | State::Added)
    }

    /// The fields that are missing, typed; none if one of them was left empty. What comes in files
    /// of many lines is not asked for.
    fn ask(&self) -> Result<Fields, Failure> {
        let mut fields = Fields::new();
        if !matches!(self.state, State::Missing | State::Incomplete) || self.entry.kind.is_pair() {
            return Ok(fields);
        }
        for field in &self.missing {
            let value = values::prompt(&self.name, Some(field.as_str()))?;
            if value.is_empty() {
                note(format!("{} is left out", self.name));
                return Ok(Fields::new());
            }
            fields.insert(field.clone(), value);
        }
        Ok(fields)
    }

    fn what(&self) -> String {
        let missing: Vec<_> = self.missing.iter().map(FieldName::as_str).collect();
        match self.state {
            State::Present => "there".to_owned(),
            State::Added => "added".to_owned(),
            State::Missing if self.entry.kind.is_pair() => format!(
                "missing: secretfs set {} --type {} --field {}=@FILE …",
                self.name,
                self.entry.kind.as_str(),
                missing.first().unwrap_or(&"NAME")
            ),
            State::Missing => "missing".to_owned(),
            State::Incomplete => format!("lacks {}", missing.join(", ")),
            State::OtherType => "there with another type".to_owned(),
        }
    }
}

/// One transaction with all that was typed.
fn ask_and_write(store: &Store, namespace: &Namespace, wanted: &mut [Wanted]) -> Result<(), Failure> {
    let typed = wanted.iter().map(Wanted::ask).collect::<Result<Vec<_>, _>>()?;
    if typed.iter().all(BTreeMap::is_empty) {
        return Ok(());
    }
    values::check_all_taken()?;
    store.change(namespace, open::stamp(), |change| {
        for (it, typed) in wanted.iter_mut().zip(typed).filter(|(_, typed)| !typed.is_empty()) {
            let mut fields = change.fields(&it.name)?;
            fields.extend(typed);
            change.put(&it.name, NewVersion { fields, expires_at: None }, &it.entry.edit())?;
            it.state = State::Added;
            it.missing.clear();
        }
        Ok::<_, StoreError>(())
    })?;
    Ok(())
}

impl Entry {
    /// What is known of it beside its values; its owner is who it belongs to here.
    fn edit(&self) -> Edit {
        Edit {
            kind: Some(self.kind),
            description: self.description.clone(),
            label: self.label.clone(),
            owner: None,
            tags: Some(self.tags.clone()).filter(|tags| !tags.is_empty()),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    state: State,
    #[serde(rename = "type")]
    kind: SecretType,
    missing: Vec<&'a str>,
}

impl<'a> From<&'a Wanted> for Line<'a> {
    fn from(it: &'a Wanted) -> Self {
        let missing = it.missing.iter().map(FieldName::as_str).collect();
        Self { name: it.name.as_str(), state: it.state, kind: it.entry.kind, missing }
    }
}

fn tell(wanted: &[Wanted], common: &Common) -> Result<(), Failure> {
    if common.json {
        return output::print_json(&wanted.iter().map(Line::from).collect::<Vec<_>>());
    }
    let row = |it: &Wanted| vec![it.name.to_string(), it.entry.kind.as_str().to_owned(), it.what()];
    output::print_table(&["NAME", "TYPE", "STATE"], wanted.iter().map(row))
}
