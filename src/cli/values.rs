//! Where new values come from: stdin, a prompt that does not echo, a file, and, with a warning,
//! the command line. Values go from there into `SecretBytes` without a detour.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, Read};

use zeroize::Zeroizing;

use super::exit;
use super::json_values::{self, Entry};
use super::report::{Failure, warn};
use super::unseen;
use crate::secret::{FieldName, SecretBytes, SecretName, SecretType};
use crate::store::VALUE_LIMIT;

/// The most bytes of JSON on stdin.
const JSON_LIMIT: usize = 16 << 20;

/// Options of the commands that take values.
#[derive(clap::Args)]
pub struct ValueArgs {
    /// A field to set, asked for; NAME=@FILE takes it from a file, NAME=- from stdin, NAME=TEXT as it is
    #[arg(long = "field", value_name = "NAME", conflicts_with_all = ["from_json", "value"])]
    fields: Vec<String>,
    /// Take {"field": "value", …} from stdin; without a NAME, {"name": "value" or {…}, …}
    #[arg(long, conflicts_with = "value")]
    pub from_json: bool,
    /// The value itself; other processes and the shell's history see it
    #[arg(long, value_name = "VALUE")]
    value: Option<String>,
    /// Take an empty value from stdin, a prompt or a file
    #[arg(long)]
    allow_empty: bool,
    /// When this version expires: 30d, 2027-01-31, 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// Whether anything was asked for at the terminal.
    #[arg(skip)]
    asked: Cell<bool>,
}

pub type Fields = BTreeMap<FieldName, SecretBytes>;

/// The values for one secret.
pub struct Values {
    pub fields: Fields,
    /// Fields that are not named stay as they are.
    pub keep_others: bool,
}

impl ValueArgs {
    /// Whether single fields are named.
    pub fn names_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The values for a secret of this type that has these fields already.
    pub fn read(&self, name: &SecretName, kind: SecretType, there: &[String]) -> Result<Values, Failure> {
        if self.names_fields() {
            let named = self.fields.iter().map(|field| self.read_field(name, kind, field));
            let mut fields = named.collect::<Result<Fields, _>>()?;
            self.ask_missing(&mut fields, name, kind, there)?;
            return Ok(Values { fields, keep_others: true });
        }
        let fields = if self.from_json {
            json_values::fields(&read_json()?)?
        } else if let (Some(field), Some(value)) = (kind.single_field(), &self.value) {
            warn("--value can be seen by other processes and stays in the shell's history");
            one(field, SecretBytes::copy_of(value.as_bytes()))
        } else {
            self.read_whole(name, kind)?
        };
        Ok(Values { fields, keep_others: false })
    }

    /// That nothing was typed beyond what was asked for. To be called after the last question.
    pub fn check_all_taken(&self) -> Result<(), Failure> {
        if self.asked.get() { check_all_taken() } else { Ok(()) }
    }

    /// Many secrets at once, by their names.
    pub fn read_many(&self) -> Result<Vec<(SecretName, Entry)>, Failure> {
        let secrets = json_values::secrets(&read_json()?)?;
        match secrets.is_empty() {
            true => Err(Failure::new(exit::DATA, "no secrets on stdin").hint("{\"name\": \"value\", …}")),
            false => Ok(secrets),
        }
    }

    /// Asks for the fields that its type needs and nobody has named.
    fn ask_missing(
        &self,
        fields: &mut Fields,
        name: &SecretName,
        kind: SecretType,
        there: &[String],
    ) -> Result<(), Failure> {
        let is_there = |fields: &Fields, field: &str| {
            fields.contains_key(field) || there.iter().any(|there| there == field)
        };
        for field in kind.required().iter().filter(|_| stdin_asks()) {
            if !is_there(fields, field) {
                let value = self.prompt(name, Some(field))?;
                fields.insert(field_of_type(field), value);
            }
        }
        Ok(())
    }

    /// All fields of a secret: the one that it has from stdin, or each by a prompt.
    fn read_whole(&self, name: &SecretName, kind: SecretType) -> Result<Fields, Failure> {
        if let Some(field) = kind.single_field() {
            let value = if stdin_asks() { self.prompt(name, None)? } else { self.read_stdin()? };
            return Ok(one(field, value));
        }
        let fields = kind.required();
        if fields.is_empty() || !stdin_asks() {
            return Err(no_single_field(name, kind));
        }
        fields
            .iter()
            .map(|field| {
                let value = self.prompt(name, Some(field))?;
                Ok((field_of_type(field), value))
            })
            .collect()
    }

    /// One `--field`: `NAME`, `NAME=@FILE`, `NAME=-`, or `NAME=VALUE`, with a warning if the value is
    /// one to hide.
    fn read_field(
        &self,
        name: &SecretName,
        kind: SecretType,
        text: &str,
    ) -> Result<(FieldName, SecretBytes), Failure> {
        let (field, source) = match text.split_once('=') {
            Some((field, source)) => (field, Some(source)),
            None => (text, None),
        };
        let field = FieldName::parse(field).map_err(|error| Failure::new(exit::USAGE, error))?;
        let value = match source {
            None if stdin_asks() => self.prompt(name, Some(field.as_str()))?,
            None | Some("-") => self.read_stdin()?,
            Some(source) => match source.strip_prefix('@') {
                Some(path) => self.not_empty(read_file(path)?, path)?,
                None => {
                    if !kind.is_public(field.as_str()) {
                        warn(format!(
                            "--field {field}=VALUE can be seen by other processes and stays in the shell's history"
                        ));
                    }
                    SecretBytes::copy_of(source.as_bytes())
                }
            },
        };
        Ok((field, value))
    }

    fn prompt(&self, name: &SecretName, field: Option<&str>) -> Result<SecretBytes, Failure> {
        self.asked.set(true);
        self.not_empty(prompt(name, field)?, "the prompt")
    }

    fn read_stdin(&self) -> Result<SecretBytes, Failure> {
        self.not_empty(read_stdin()?, "stdin")
    }

    /// An empty pipe is more often a command that failed than a value.
    fn not_empty(&self, value: SecretBytes, source: &str) -> Result<SecretBytes, Failure> {
        if self.allow_empty || !value.expose().is_empty() {
            return Ok(value);
        }
        Err(Failure::new(exit::DATA, format!("nothing came from {source}"))
            .hint("--allow-empty if an empty value is meant"))
    }
}

/// The fields that an entry gives to a secret of this type.
pub fn fields_of(entry: Entry, name: &SecretName, kind: SecretType) -> Result<Fields, Failure> {
    match (entry, kind.single_field()) {
        (Entry::Fields(fields), _) => Ok(fields),
        (Entry::Value(value), Some(field)) => Ok(one(field, value)),
        (Entry::Value(_), None) => Err(no_single_field(name, kind)),
    }
}

fn no_single_field(name: &SecretName, kind: SecretType) -> Failure {
    let hint = match kind.required().first() {
        Some(field) => format!("--field {field}=@FILE for each, or an object of them with --from-json"),
        None => "--field NAME=@FILE for each, or an object of them with --from-json".into(),
    };
    Failure::new(exit::USAGE, format!("`{name}` is of type {}: name its fields", kind.as_str())).hint(hint)
}

fn one(field: &str, value: SecretBytes) -> Fields {
    BTreeMap::from([(field_of_type(field), value)])
}

fn field_of_type(field: &str) -> FieldName {
    FieldName::parse(field).expect("the types name their fields properly")
}

/// That nothing was typed beyond what was asked for.
pub fn check_all_taken() -> Result<(), Failure> {
    match unseen::more_was_typed() {
        true => {
            Err(Failure::new(exit::DATA, "more lines were typed than were asked for; nothing was stored")
                .hint("a value of several lines comes from a file: --field NAME=@FILE, or from stdin"))
        }
        false => Ok(()),
    }
}

fn stdin_asks() -> bool {
    std::io::stdin().is_terminal()
}

pub fn prompt(name: &SecretName, field: Option<&str>) -> Result<SecretBytes, Failure> {
    let what = field.map_or_else(|| name.to_string(), |field| format!("{name}.{field}"));
    unseen::ask(&format!("{what}: "))
        .map_err(|error| Failure::new(exit::DATA, format!("no value was typed for {what}: {error}")))
}

/// A line loses its end; whatever has several lines, or none, is kept byte for byte.
fn read_stdin() -> Result<SecretBytes, Failure> {
    let bytes = read_up_to(std::io::stdin().lock(), VALUE_LIMIT, "the value on stdin")?;
    let value = match bytes.strip_suffix(b"\n") {
        Some(line) if !line.contains(&b'\n') => line,
        _ => &bytes,
    };
    Ok(SecretBytes::copy_of(value))
}

fn read_file(path: &str) -> Result<SecretBytes, Failure> {
    let file = File::open(path)
        .map_err(|error| Failure::new(exit::NO_INPUT, format!("cannot read {path}: {error}")))?;
    Ok(SecretBytes::copy_of(&read_up_to(file, VALUE_LIMIT, path)?))
}

fn read_json() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let json = read_up_to(std::io::stdin().lock(), JSON_LIMIT, "the JSON on stdin")?;
    match json.is_empty() {
        true => Err(Failure::new(exit::DATA, "nothing came from stdin").hint("{\"name\": \"value\", …}")),
        false => Ok(json),
    }
}

/// The program's allocator wipes the room that is outgrown.
pub fn read_up_to(source: impl Read, most: usize, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // One more for the end of a line, one to see that there is more.
    let mut bytes = Zeroizing::new(Vec::new());
    source
        .take(most as u64 + 2)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(exit::IO, format!("cannot read {what}: {error}")))?;
    let is_line = bytes.ends_with(b"\n");
    match bytes.len() > most + usize::from(is_line) {
        true => Err(Failure::new(exit::DATA, format!("{what} is over {} MiB", most >> 20))),
        false => Ok(bytes),
    }
}
