//! Which files there are: the folder of templates mirrored without the `.tpl` suffix, plus the
//! files that the config adds. A tree never changes; a new one takes its place. Uses `source`.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::source::{Source, Trusted};
use crate::policy::Ownership;
use crate::secret::Namespace;
use crate::template::{Dialect, Format, Options, Syntax};

pub type FileId = u32;
pub type DirId = u64;

pub const ROOT: DirId = 1;
pub const SUFFIX: &str = ".tpl";

/// What is served, and how: one folder of templates, options for all, options for single files.
#[derive(Clone)]
pub struct Layout {
    pub templates: PathBuf,
    pub spec: Spec,
    /// By path in the mount. With a template, the file is added; without, one of the folder is meant.
    pub files: BTreeMap<PathBuf, (Spec, Option<PathBuf>)>,
    pub folders: Ownership,
}

/// How one file is shown and rendered.
#[derive(Clone)]
pub struct Spec {
    pub ownership: Ownership,
    /// `None`: by the file's name.
    pub format: Option<Format>,
    /// Of the env files.
    pub dialect: Option<Dialect>,
    pub syntax: Syntax,
    pub verify: bool,
    /// The time within which every request is answered.
    pub deadline: Duration,
}

pub struct File {
    pub id: FileId,
    /// Relative to the mount point.
    pub path: PathBuf,
    pub spec: Spec,
    pub source: Source,
}

pub enum Entry {
    Dir(DirId),
    File(FileId),
}

pub struct Dir {
    pub parent: DirId,
    pub entries: BTreeMap<OsString, Entry>,
    pub mtime: SystemTime,
}

pub struct Tree {
    dirs: HashMap<DirId, Dir>,
    files: HashMap<FileId, Arc<File>>,
    /// The folders of templates, also those without one: a template may come.
    folders: Vec<Folder>,
    ids: Ids,
}

/// A folder as it was found: another one at the same path is noticed.
struct Folder {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// A path keeps its id as long as the mount lives.
#[derive(Clone, Default)]
struct Ids {
    dirs: HashMap<PathBuf, DirId>,
    files: HashMap<PathBuf, FileId>,
}

#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("cannot read the folder of templates {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("two templates make the same file {}", .0.display())]
    Twice(PathBuf),
    #[error("the config names {}, but there is no template for it in {}", path.display(), templates.display())]
    NoTemplate { path: PathBuf, templates: PathBuf },
}

impl Tree {
    /// Reads the folder of templates. Files that were in the previous tree keep what they loaded.
    pub fn scan(layout: &Layout, previous: Option<&Self>) -> Result<Self, TreeError> {
        let mut found = Found::default();
        let root = Folder::at(&layout.templates)?;
        found.collect(Path::new(""), root)?;
        let Found { templates: mut found, folders } = found;
        let mut tree = Self {
            dirs: HashMap::new(),
            files: HashMap::new(),
            folders,
            ids: previous.map(|tree| tree.ids.clone()).unwrap_or_default(),
        };
        tree.add_dir(Path::new(""))?;
        for (path, (spec, template)) in &layout.files {
            let known = template.clone().or_else(|| found.remove(path));
            let template = known.ok_or_else(|| TreeError::NoTemplate {
                path: path.clone(),
                templates: layout.templates.clone(),
            })?;
            found.remove(path);
            tree.add_file(path, template, (spec, &layout.templates), previous)?;
        }
        for (path, template) in found {
            tree.add_file(&path, template, (&layout.spec, &layout.templates), previous)?;
        }
        Ok(tree)
    }

    pub fn dir(&self, id: DirId) -> Option<&Dir> {
        self.dirs.get(&id)
    }

    pub fn file(&self, id: FileId) -> Option<&Arc<File>> {
        self.files.get(&id)
    }

    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.files.values()
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The folders to be watched: of templates, and those where single templates lie.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self.folders.iter().map(|folder| folder.path.clone()).collect();
        folders
            .extend(self.files.values().filter_map(|file| file.source.path().parent().map(Path::to_owned)));
        folders.sort();
        folders.dedup();
        folders
    }

    /// Whether one of the folders of templates is not the one that was read.
    pub fn has_moved(&self) -> bool {
        self.folders.iter().any(|folder| !folder.is_still_there())
    }

    fn add_file(
        &mut self,
        path: &Path,
        template: PathBuf,
        (spec, root): (&Spec, &Path),
        previous: Option<&Self>,
    ) -> Result<(), TreeError> {
        let dir = self.add_dir(path.parent().unwrap_or(Path::new("")))?;
        let next = self.ids.files.len() as FileId + 1;
        let id = *self.ids.files.entry(path.to_owned()).or_insert(next);
        let name = path.file_name().unwrap_or_default().to_owned();
        let dir = self.dirs.get_mut(&dir).expect("add_dir has added it");
        if dir.entries.insert(name, Entry::File(id)).is_some() {
            return Err(TreeError::Twice(path.to_owned()));
        }
        let trusted = if template.starts_with(root) { root } else { template.parent().unwrap_or(root) };
        let kept =
            previous.and_then(|tree| tree.files.get(&id)).filter(|file| file.source.path() == template);
        let file = kept
            .cloned()
            .unwrap_or_else(|| Arc::new(File::new(id, path, Trusted::new(&template, trusted), spec.clone())));
        self.files.insert(id, file);
        Ok(())
    }

    fn add_dir(&mut self, path: &Path) -> Result<DirId, TreeError> {
        let next = ROOT + self.ids.dirs.len() as DirId;
        let id = *self.ids.dirs.entry(path.to_owned()).or_insert(next);
        if self.dirs.contains_key(&id) {
            return Ok(id);
        }
        let parent = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => {
                let parent = self.add_dir(parent)?;
                let siblings = &mut self.dirs.get_mut(&parent).expect("it was just added").entries;
                if siblings.insert(name.to_owned(), Entry::Dir(id)).is_some() {
                    return Err(TreeError::Twice(path.to_owned()));
                }
                parent
            }
            _ => ROOT,
        };
        let dir = Dir { parent, entries: BTreeMap::new(), mtime: SystemTime::now() };
        self.dirs.insert(id, dir);
        Ok(id)
    }
}

impl File {
    fn new(id: FileId, path: &Path, place: Trusted, spec: Spec) -> Self {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let format = Format::chosen(spec.format, spec.dialect, name);
        let options = Options { syntax: spec.syntax, format, verify: spec.verify, ..Options::default() };
        Self { id, path: path.to_owned(), source: Source::new(place, options), spec }
    }
}

impl Folder {
    fn at(path: &Path) -> Result<Self, TreeError> {
        let unreadable = |error| TreeError::Unreadable { path: path.to_owned(), error };
        let meta = fs::metadata(path).map_err(unreadable)?;
        Ok(Self { path: path.to_owned(), device: meta.dev(), inode: meta.ino() })
    }

    fn is_still_there(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == (self.device, self.inode))
    }
}

/// What a folder of templates holds.
#[derive(Default)]
struct Found {
    /// By the path in the mount.
    templates: BTreeMap<PathBuf, PathBuf>,
    folders: Vec<Folder>,
}

impl Found {
    /// Links are listed, so that they are refused with a reason, and never followed. Another
    /// filesystem below is left out: it may be a mount of ours, which would wait for itself.
    fn collect(&mut self, below: &Path, folder: Folder) -> Result<(), TreeError> {
        let (path, device) = (folder.path.clone(), folder.device);
        self.folders.push(folder);
        let unreadable = |error| TreeError::Unreadable { path: path.clone(), error };
        for entry in fs::read_dir(&path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            if entry.file_type().map_err(unreadable)?.is_dir() {
                if let Some(folder) = Folder::at(&entry.path()).ok().filter(|folder| folder.device == device)
                {
                    self.collect(&below.join(&name), folder)?;
                }
            } else if let Some(name) = without_suffix(&name) {
                self.templates.insert(below.join(name), entry.path());
            }
        }
        Ok(())
    }
}

fn without_suffix(name: &OsStr) -> Option<&str> {
    let name = name.to_str()?.strip_suffix(SUFFIX)?;
    // Deploy-time secrets are never served to a workload.
    (!name.is_empty() && !name.starts_with(Namespace::DEPLOY_FILES)).then_some(name)
}
