//! Secrets from files: env, JSON and YAML. Uses `document`.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::found::{Content, Found, Place};
use super::gather::Gather;
use crate::cli::exit;
use crate::cli::report::Failure;
use crate::cli::values::read_up_to;
use crate::document::{self, Node, Unreadable, dotenv};
use crate::sops;
use crate::store::Edit;
use crate::template::Format;

/// The most bytes of one file.
const LIMIT: usize = 256 << 20;
const FORMATS: [&str; 3] = ["env", "json", "yaml"];

pub(super) fn parse_format(name: &str) -> Result<Format, String> {
    let format = Format::parse(name).ok().filter(|format| FORMATS.contains(&format.name()));
    format.ok_or_else(|| format!("the formats are {}", FORMATS.join(", ")))
}

/// The secrets of a file; `-` is stdin.
pub(super) fn read(
    path: &Path,
    format: Option<Format>,
    edit: &Edit,
    now: Timestamp,
) -> Result<Vec<Found>, Failure> {
    let format = format.map_or_else(|| format_of(path), Ok)?;
    let source: Rc<str> = if path == "-" { "stdin".into() } else { path.display().to_string().into() };
    let bytes = bytes(path, &source)?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if sops::is_marked(text) {
        let problem = format!("{source} is encrypted by sops, and its values are none");
        let hint = format!("sops decrypt FILE | secretfs import --format {} -", format.name());
        return Err(Failure::new(exit::DATA, problem).hint(hint));
    }
    let node = match format {
        Format::Json => document::json(text),
        Format::Yaml => document::yaml(text),
        _ => return assignments(text, &source, edit),
    };
    match node {
        Ok(Node::Object(entries)) => Ok(Gather { source, edit, now }.all(entries)),
        Ok(_) => Err(wrong(&source, 1, "it is no object of names").hint("{\"name\": \"value\", …}")),
        Err(Unreadable { line, problem }) => Err(wrong(&source, line, problem)),
    }
}

fn format_of(path: &Path) -> Result<Format, Failure> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    Format::from_file_name(name).filter(|format| FORMATS.contains(&format.name())).ok_or_else(|| {
        let problem = format!("the name of {} does not say what it is", path.display());
        Failure::new(exit::USAGE, problem).hint(format!("--format with one of {}", FORMATS.join(", ")))
    })
}

fn bytes(path: &Path, source: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if path == "-" {
        return read_up_to(std::io::stdin().lock(), LIMIT, source);
    }
    let file = File::open(path)
        .map_err(|error| Failure::new(exit::NO_INPUT, format!("cannot read {source}: {error}")))?;
    read_up_to(file, LIMIT, source)
}

fn assignments(text: &[u8], source: &Rc<str>, edit: &Edit) -> Result<Vec<Found>, Failure> {
    let all = dotenv::parse(text).map_err(|error| {
        wrong(source, error.line, error.problem).hint("in single quotes a value is taken as it stands")
    })?;
    let found = |it: dotenv::Assignment| Found {
        name: it.name,
        place: Place { source: source.clone(), line: Some(it.line) },
        content: Ok(Content::of_value(it.value, edit)),
    };
    Ok(all.into_iter().map(found).collect())
}

fn wrong(source: &str, line: usize, problem: &str) -> Failure {
    Failure::new(exit::DATA, format!("{source}:{line}: {problem}"))
}
