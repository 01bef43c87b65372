//! What is in a document, by its name, and in what sops has encrypted. Uses `document` and `sops`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::rc::Rc;

use super::folder::Folder;
use super::tree::Tree;
use super::{LARGEST, failed, unfit};
use crate::document::{self, Node, Unreadable, dotenv};
use crate::provider::ProviderError;
use crate::provider::fields::{Fields, of_text};
use crate::provider::own::OwnSecret;
use crate::secret::SecretBytes;
use crate::sops::{self, Identities, Sealed, SopsError};
use crate::template::Format;

/// Who opens what sops has encrypted. That there is no identity matters to nothing else.
pub(super) struct Opener(Option<Result<Identities, ProviderError>>);

/// What was opened for one question, by the name of its file: it is opened once for all that is asked of it.
#[derive(Default)]
pub(super) struct Opened(RefCell<HashMap<String, Rc<Tree>>>);

impl Opened {
    fn get(&self, file: &str) -> Option<Rc<Tree>> {
        self.0.borrow().get(file).cloned()
    }

    fn keep(&self, file: &str, tree: Tree) -> Rc<Tree> {
        self.0.borrow_mut().entry(file.to_owned()).or_insert(Rc::new(tree)).clone()
    }
}

const NO_IDENTITY: &str =
    "it is encrypted by sops: give the provider an age identity, `age: {identity: \"file:PATH\"}`";
const UNOPENED: &str =
    "it has values that sops has encrypted, and not the part `sops` that says how to open them";
/// The one name in a file that is no document to sops.
const DATA: &str = "data";

impl Opener {
    pub(super) async fn of(own: Option<&OwnSecret>) -> Self {
        let Some(own) = own else { return Self(None) };
        let parsed = |text: SecretBytes| {
            Identities::parse(text.expose()).map_err(|error| ProviderError::Sealed(error.to_string()))
        };
        Self(Some(own.read().await.and_then(parsed)))
    }

    fn open(&self, shown: &str, sealed: Sealed) -> Result<Node, ProviderError> {
        match &self.0 {
            None => Err(ProviderError::Sealed(format!("{shown}: {NO_IDENTITY}"))),
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(identities)) => sealed.open(identities).map_err(|error| refused(shown, &error)),
        }
    }
}

fn refused(shown: &str, error: &SopsError) -> ProviderError {
    let text = format!("{shown}: {error}");
    match error {
        SopsError::Changed(_) => ProviderError::Corrupt(text),
        SopsError::NoKey(_) => ProviderError::Sealed(text),
        SopsError::Unfit(_) => ProviderError::Invalid(text),
    }
}

/// A document at a path of its own.
pub(super) fn document(path: &Path, text: &[u8], opener: &Opener) -> Result<Tree, ProviderError> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    tree(&path.display().to_string(), Format::from_file_name(name), text, opener)
}

fn tree(shown: &str, format: Option<Format>, text: &[u8], opener: &Opener) -> Result<Tree, ProviderError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let at = |line: usize, problem: &str| ProviderError::Invalid(format!("{shown}:{line}: {problem}"));
    let unreadable = |it: Unreadable| at(it.line, it.problem);
    let documents = match format {
        Some(Format::Env(_)) => return variables(shown, text, opener).map(Tree::of_variables),
        Some(Format::Json) => vec![document::json(text).map_err(unreadable)?],
        Some(Format::Yaml) => document::yaml_documents(text).map_err(unreadable)?,
        _ => return Err(at(1, "its name does not say what it is; .env, .json, .yaml or a folder would")),
    };
    let node = match sops::look(documents).map_err(|error| refused(shown, &error))? {
        sops::Document::Plain(_) if sops::is_marked(text) => return Err(at(1, UNOPENED)),
        sops::Document::Plain(node) => node,
        sops::Document::Sealed(sealed) => opener.open(shown, *sealed)?,
    };
    Tree::of(node).map_err(|why| at(1, why))
}

fn variables(shown: &str, text: &[u8], opener: &Opener) -> Result<Vec<dotenv::Assignment>, ProviderError> {
    let at = |line: usize, problem: &str| ProviderError::Invalid(format!("{shown}:{line}: {problem}"));
    match sops::of_dotenv(text).map_err(|error| refused(shown, &error))? {
        Some(sealed) => {
            let opened = opener.open(shown, sealed)?;
            sops::variables(opened).map_err(|error| refused(shown, &error))
        }
        None if sops::is_marked(text) => Err(at(1, UNOPENED)),
        None => dotenv::parse(text).map_err(|error| at(error.line, error.problem)),
    }
}

/// The secret of that name in a folder: a file's text, or what is in a document that sops has encrypted.
pub(super) fn in_folder(
    folder: &Folder,
    path: &str,
    opener: &Opener,
    opened: &Opened,
) -> Result<Option<Fields>, ProviderError> {
    let read = |file: &str| folder.content(file).map_err(|error| failed(path, &error));
    if let Some(text) = read(path)? {
        return match sops::is_marked(&text) {
            true => within(folder, path, path, &text, opener, opened),
            false if text.len() > LARGEST => Err(failed(path, &io::ErrorKind::FileTooLarge.into())),
            false => Ok(Some(of_text(&text))),
        };
    }
    for (end, _) in path.match_indices('/') {
        let file = &path[..end];
        if let Some(tree) = opened.get(file) {
            return tree.fields(path).map_err(|why| unfit(path, &why));
        }
        if let Some(text) = read(file)?.filter(|text| sops::is_marked(text)) {
            return within(folder, file, path, &text, opener, opened);
        }
    }
    Ok(None)
}

/// What `path` leads to in `file`, with whose name it begins.
fn within(
    folder: &Folder,
    file: &str,
    path: &str,
    text: &[u8],
    opener: &Opener,
    opened: &Opened,
) -> Result<Option<Fields>, ProviderError> {
    let shown = folder.shown(file);
    let format = Format::from_file_name(file);
    if matches!(format, Some(Format::Env(_) | Format::Json | Format::Yaml)) {
        let tree = opened.keep(file, tree(&shown, format, text, opener)?.below(file));
        return tree.fields(path).map_err(|why| unfit(path, &why));
    }
    // What sops knows no format for, it keeps whole, in a document of its own.
    let whole = tree(&shown, Some(Format::Json), text, opener)?;
    match whole.names() == [DATA] {
        true if path == file => whole.fields(DATA).map_err(|why| unfit(path, &why)),
        true => Ok(None),
        false => {
            Err(ProviderError::Invalid(format!("{shown}: it is a document, and its name does not say so")))
        }
    }
}
