//! The files that one config is made of: the main one, then those of `conf.d`. Whatever is wrong is
//! said where it stands. Pure; uses `place`.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::place::Place;
use super::places::Places;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts(Vec<Part>);

#[derive(Clone)]
struct Part {
    file: PathBuf,
    text: String,
    places: Places,
    /// The numbers that its lists' first items have among all.
    firsts: Firsts,
}

/// By the list's name.
pub(super) type Firsts = [(&'static str, usize); 3];

impl Parts {
    pub(super) fn add(&mut self, file: &Path, text: &str, firsts: Firsts) {
        self.0.push(Part { file: file.to_owned(), text: text.to_owned(), places: Places::default(), firsts });
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|part| &*part.file)
    }

    /// An error about the value at `path`, in the file that says it.
    pub(super) fn error_at(&self, path: &[&str], problem: impl Display) -> ConfigError {
        match (self.find(path), self.0.first()) {
            (Some((part, place)), _) => ConfigError::new(&part.file, &part.text, Some(place), problem),
            (None, Some(main)) => ConfigError::new(&main.file, &main.text, None, problem),
            (None, None) => ConfigError::new(Path::new(""), "", None, problem),
        }
    }

    /// An error of the file that was added last: an earlier one says this, too.
    pub(super) fn twice(&self, path: &[&str]) -> ConfigError {
        let problem = format!("`{}` is given twice{}", path.last().unwrap_or(&""), self.also(path));
        match self.0.last() {
            Some(part) => ConfigError::new(&part.file, &part.text, part.locate(path), problem),
            None => self.error_at(path, problem),
        }
    }

    /// Lays a table of the file that was added last to those before.
    pub(super) fn merge<K: Ord + Display, V>(
        &self,
        section: &str,
        table: &mut BTreeMap<K, V>,
        more: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), ConfigError> {
        for (name, value) in more {
            if table.contains_key(&name) {
                return Err(self.twice(&[section, &name.to_string()]));
            }
            table.insert(name, value);
        }
        Ok(())
    }

    /// The same for a single setting.
    pub(super) fn set<T>(
        &self,
        section: &str,
        name: &str,
        place: &mut Option<T>,
        value: Option<T>,
    ) -> Result<(), ConfigError> {
        match value {
            Some(_) if place.is_some() => Err(self.twice(&[section, name])),
            Some(_) => {
                *place = value;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// `; also in FILE:LINE:COLUMN`, of what stands there first.
    pub(super) fn also(&self, path: &[&str]) -> String {
        let Some((part, Place { line, column })) = self.find(path) else { return String::new() };
        format!("; also in {}:{line}:{column}", part.file.display())
    }

    /// The first file that says something at this path.
    fn find(&self, path: &[&str]) -> Option<(&Part, Place)> {
        if let [list, index, rest @ ..] = path
            && let Ok(index) = index.parse::<usize>()
            && let Some((part, first)) = self
                .0
                .iter()
                .filter_map(|part| Some((part, part.first(list)?)))
                .rfind(|(_, first)| *first <= index)
        {
            let index = (index - first).to_string();
            return Some((part, part.locate(&[&[*list, &index], rest].concat())?));
        }
        self.0.iter().find_map(|part| Some((part, part.locate(path)?)))
    }
}

/// What was found in it is no part of what it says.
impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        (&self.file, &self.text, &self.firsts) == (&other.file, &other.text, &other.firsts)
    }
}

impl Eq for Part {}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Part").field(&self.file).finish()
    }
}

impl Part {
    fn locate(&self, path: &[&str]) -> Option<Place> {
        self.places.find(&self.text, path)
    }

    fn first(&self, list: &str) -> Option<usize> {
        self.firsts.iter().find(|(name, _)| *name == list).map(|(_, first)| *first)
    }
}
