//! Templates as the command line reads them: a file that the user names, compiled as its name or
//! the options say; and how a template's error is told. May use every layer.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::exit;
use super::report::Failure;
use crate::config::FileOptions;
use crate::nearest::nearest;
use crate::template::{Format, LARGEST_TEMPLATE, Options, Syntax, Template, TemplateError};

/// Reads the file and compiles it.
pub fn compile(path: &Path, options: Options) -> Result<Template, Failure> {
    let text = read(path)?;
    Ok(Template::compile(&path.display().to_string(), &text, options)?)
}

/// The text of a template; `-` is stdin.
pub fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let most = LARGEST_TEMPLATE as u64 + 1;
    let outcome = match path.as_os_str() == "-" {
        true => std::io::stdin().take(most).read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|file| file.take(most).read_to_string(&mut text)),
    };
    match outcome {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            let problem = format!("the template {} is not UTF-8 text", path.display());
            Err(Failure::new(exit::DATA, problem))
        }
        Err(error) => {
            let problem = format!("cannot read the template {}: {error}", path.display());
            let failure = Failure::new(exit::NO_INPUT, problem);
            Err(match near_file(path) {
                Some(near) => failure.hint(format!("did you mean `{}`?", near.display())),
                None => failure,
            })
        }
    }
}

/// A file beside it whose name is nearly the same.
fn near_file(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = folder.read_dir().ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    nearest(path.file_name()?.to_str()?, names).map(|near| path.with_file_name(near))
}

/// The format that the name of the template's output tells.
pub fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?;
    Format::from_file_name(name.strip_suffix(".tpl").unwrap_or(name))
}

/// How a template is compiled whose output is called `file`.
pub fn options(file: &Path, wanted: &FileOptions) -> Options {
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let format = Format::chosen(wanted.format, wanted.dialect, name.strip_suffix(".tpl").unwrap_or(name));
    let syntax = wanted.syntax.unwrap_or(Syntax::Angle);
    Options { format, syntax, verify: wanted.verify.unwrap_or(true), ..Options::default() }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        let status = status(&error);
        let others = error.also.iter().map(|also| format!("\n{}", shown(also)));
        let problem = format!("{}{}", shown(&error), others.collect::<String>());
        Self { problem, hint: error.hint.as_ref().map(ToString::to_string), status }
    }
}

fn shown(error: &TemplateError) -> String {
    format!("{error}\n{}", error.excerpt())
}

fn status(error: &TemplateError) -> u8 {
    use crate::template::Kind;
    match error.kind {
        Kind::Missing(_) | Kind::Ambiguous(_) | Kind::Expired(_) | Kind::Revoked(_) => exit::NO_INPUT,
        _ => exit::DATA,
    }
}
