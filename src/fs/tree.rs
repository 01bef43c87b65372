//! Which files there are: the folder of templates mirrored without the `.tpl` suffix, plus the
//! files that the config adds. A tree never changes; a new one takes its place. Uses `source`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use nix::unistd::{getegid, geteuid};

use super::source::{Source, Trusted};
use crate::config::{Action, Reaction};
use crate::policy::{Door, FileRef, Ownership, Rules};
use crate::secret::Namespace;
use crate::sys::weakness::{self, Weakness};
use crate::template::{Dialect, Format, Options, Syntax};

/// Made of the path, so that every process gives it the same.
pub type FileId = u64;
/// The same; but 1 is the root, and all are below those of nodes.
pub type DirId = u64;

pub const ROOT: DirId = 1;
pub const SUFFIX: &str = ".tpl";
/// A file in the root of each mount that is not listed, for who asks whether the mount answers. It
/// takes every step of an open but that to a provider.
pub const PROBE: &str = ".secretfs-probe";

/// What is served, and how: one folder of templates, options for all, options for single files.
#[derive(Clone, PartialEq)]
pub struct Layout {
    /// Where it is mounted, free of links.
    pub at: PathBuf,
    /// The same as it was asked for: rules may be written so.
    pub spelled: PathBuf,
    /// Through which values leave here.
    pub door: Door,
    /// `None`: the single files are all there is.
    pub templates: Option<PathBuf>,
    pub spec: Spec,
    /// By path in the mount. With a template, the file is added; without, one of the folder is meant.
    pub files: BTreeMap<PathBuf, (Spec, Option<PathBuf>)>,
    pub folders: Ownership,
}

/// How one file is shown and rendered.
#[derive(Clone, PartialEq)]
pub struct Spec {
    pub ownership: Ownership,
    /// Who may read it; without, the ownership alone says so.
    pub rules: Option<Arc<Rules>>,
    /// `None`: by the file's name.
    pub format: Option<Format>,
    /// Of the env files.
    pub dialect: Option<Dialect>,
    pub syntax: Syntax,
    pub verify: bool,
    /// The files with this name are read as of one version.
    pub set: Option<Arc<str>>,
    /// The time within which every request is answered.
    pub deadline: Duration,
    /// What is done for its readers when it changes.
    pub on_change: Option<Reaction>,
}

pub struct File {
    pub id: FileId,
    /// Relative to the mount point.
    pub path: Arc<Path>,
    pub spec: Spec,
    pub source: Source,
}

pub enum Entry {
    Dir(DirId),
    File(FileId),
}

pub struct Dir {
    path: Box<Path>,
    pub parent: DirId,
    /// By name.
    pub entries: Vec<(OsString, Entry)>,
    /// Found by its name only.
    unlisted: Option<(OsString, Entry)>,
    pub mtime: SystemTime,
}

pub struct Tree {
    dirs: HashMap<DirId, Dir>,
    files: HashMap<FileId, Arc<File>>,
    /// By the path of the template; one template may make several files.
    by_template: Vec<Arc<File>>,
    /// The folders of templates, also those without one: a template may come.
    folders: Vec<Folder>,
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
    /// Reads the folder of templates. Files that were in the previous tree keep what they loaded,
    /// unless something else is said of them now.
    pub fn scan(layout: &Layout, previous: Option<&Self>) -> Result<Self, TreeError> {
        let mut found = Found::default();
        if let Some(templates) = &layout.templates {
            found.collect(Path::new(""), Folder::at(templates)?)?;
        }
        let Found { templates: mut found, folders } = found;
        found.sort();
        let mut tree = Self { dirs: HashMap::new(), files: HashMap::new(), by_template: Vec::new(), folders };
        tree.add_dir(Path::new(""));
        tree.add_probe(previous);
        for (path, (spec, template)) in &layout.files {
            let listed = || found.binary_search_by(|(known, _)| known.cmp(path)).ok().map(|at| &found[at].1);
            let template = template.as_ref().or_else(listed).ok_or_else(|| TreeError::NoTemplate {
                path: path.clone(),
                templates: layout.templates.clone().unwrap_or_default(),
            })?;
            let root = layout.templates.as_deref().filter(|root| template.starts_with(root));
            let root = root.unwrap_or(parent(template));
            tree.add_file(path, Trusted::new(template, root.into()), spec, previous);
        }
        let root: Arc<Path> = layout.templates.as_deref().unwrap_or(Path::new("")).into();
        for (path, template) in found.iter().filter(|(path, _)| !layout.files.contains_key(path)) {
            tree.add_file(path, Trusted::new(template, root.clone()), &layout.spec, previous);
        }
        tree.finish()
    }

    pub fn dir(&self, id: DirId) -> Option<&Dir> {
        self.dirs.get(&id)
    }

    pub fn file(&self, id: FileId) -> Option<&Arc<File>> {
        self.files.get(&id)
    }

    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.by_template.iter()
    }

    /// The files that this template makes.
    pub fn made_from(&self, template: &Path) -> impl Iterator<Item = &Arc<File>> {
        let first = self.by_template.partition_point(|file| file.source.path() < template);
        self.by_template[first..].iter().take_while(move |file| file.source.path() == template)
    }

    /// The files whose templates lie in this folder.
    pub fn made_in(&self, folder: &Path) -> impl Iterator<Item = &Arc<File>> {
        let first = self.by_template.partition_point(|file| file.source.path() < folder);
        let below =
            self.by_template[first..].iter().take_while(move |file| file.source.path().starts_with(folder));
        below.filter(move |file| file.source.path().parent() == Some(folder))
    }

    pub fn len(&self) -> usize {
        self.by_template.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_template.is_empty()
    }

    /// The folders to be watched: of templates, and those where single templates lie.
    pub fn folders(&self) -> &[Folder] {
        &self.folders
    }

    pub fn folder(&self, path: &Path) -> Option<&Folder> {
        let at = self.folders.binary_search_by(|folder| (*folder.path).cmp(path)).ok()?;
        Some(&self.folders[at])
    }

    fn add_file(&mut self, path: &Path, place: Trusted, spec: &Spec, previous: Option<&Self>) {
        let dir = self.add_dir(parent(path));
        let id = number_of(path);
        let name = path.file_name().unwrap_or_default().to_owned();
        self.dirs.get_mut(&dir).expect("add_dir has added it").entries.push((name, Entry::File(id)));
        let before = previous.and_then(|tree| tree.files.get(&id));
        let kept = before.filter(|file| *file.source.place() == place && file.spec == *spec).cloned();
        let file = kept.unwrap_or_else(|| Arc::new(File::new(id, path.into(), place, spec.clone())));
        self.files.insert(id, file);
    }

    fn add_probe(&mut self, previous: Option<&Self>) {
        let id = number_of(Path::new(PROBE));
        let before = previous.and_then(|tree| tree.files.get(&id)).filter(|file| file.source.is_fixed());
        let probe = before.cloned().unwrap_or_else(|| Arc::new(File::probe(id)));
        let root = self.dirs.get_mut(&ROOT).expect("it was just added");
        root.unlisted = Some((PROBE.into(), Entry::File(id)));
        self.files.insert(id, probe);
    }

    fn add_dir(&mut self, path: &Path) -> DirId {
        let id = if path == Path::new("") { ROOT } else { ROOT + 1 + (number_of(path) >> 13) };
        if self.dirs.contains_key(&id) {
            return id;
        }
        let parent = match path.file_name() {
            Some(name) => {
                let above = self.add_dir(parent(path));
                let siblings = &mut self.dirs.get_mut(&above).expect("it was just added").entries;
                siblings.push((name.to_owned(), Entry::Dir(id)));
                above
            }
            None => ROOT,
        };
        self.dirs.insert(
            id,
            Dir { path: path.into(), parent, entries: Vec::new(), unlisted: None, mtime: SystemTime::now() },
        );
        id
    }

    /// Puts everything in its order, in which a name that is there twice shows.
    fn finish(mut self) -> Result<Self, TreeError> {
        for dir in self.dirs.values_mut() {
            dir.entries.shrink_to_fit();
            dir.entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            if let Some([(name, _), _]) =
                dir.entries.array_windows().find(|[(one, _), (other, _)]| one == other)
            {
                return Err(TreeError::Twice(dir.path.join(name)));
            }
        }
        self.by_template = self.files.values().filter(|file| !file.source.is_fixed()).cloned().collect();
        self.by_template.sort_unstable_by(|one, other| one.source.path().cmp(other.source.path()));
        self.add_lone_folders();
        Ok(self)
    }

    /// Where templates lie that the config names, outside of the folder of templates.
    fn add_lone_folders(&mut self) {
        let known: HashSet<&Path> = self.folders.iter().map(|folder| &*folder.path).collect();
        let lone: BTreeSet<&Path> = self
            .files()
            .map(|file| parent(file.source.path()))
            .filter(|path| !known.contains(path))
            .collect();
        // One that is not there yet is looked at by each load of its files.
        let lone: Vec<Folder> = lone.into_iter().filter_map(|path| Folder::at(path).ok()).collect();
        self.folders.extend(lone);
        self.folders.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    }
}

impl Dir {
    pub fn entry(&self, name: &OsStr) -> Option<&Entry> {
        let listed = self.entries.binary_search_by(|(known, _)| known.as_os_str().cmp(name)).ok();
        let listed = listed.map(|at| &self.entries[at]);
        let unlisted = || self.unlisted.as_ref().filter(|(known, _)| known == name);
        listed.or_else(unlisted).map(|(_, entry)| entry)
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// No two paths of a tree have the same, but by a chance that nobody lives to see.
fn number_of(path: &Path) -> u64 {
    let hash = Sha256::digest(path.as_os_str().as_bytes());
    u64::from_le_bytes(*hash.first_chunk().expect("32 bytes begin with 8"))
}

impl File {
    /// What is done for its readers when it changes, is done to each of them.
    pub(super) fn is_told_itself(&self) -> bool {
        let reaction = self.spec.on_change.as_ref();
        reaction.is_none_or(|reaction| matches!(reaction.action, Action::Signal(_)))
    }

    /// For the mount's own user; says which process answers.
    fn probe(id: FileId) -> Self {
        let ownership = Ownership { uid: geteuid().as_raw(), gid: getegid().as_raw(), mode: 0o400 };
        let deadline = Duration::from_secs(5);
        let (format, syntax) = (Some(Format::Text), Syntax::Angle);
        let spec = Spec {
            ownership,
            rules: None,
            format,
            dialect: None,
            syntax,
            verify: false,
            deadline,
            set: None,
            on_change: None,
        };
        let source = Source::fixed(PROBE, &format!("worker {}\n", std::process::id()));
        Self { id, path: Path::new(PROBE).into(), spec, source }
    }

    /// As policy sees it.
    pub fn as_asked<'a>(&'a self, layout: &'a Layout) -> FileRef<'a> {
        let Spec { ownership, rules, .. } = &self.spec;
        let (mount, spelled, rules) = (&*layout.at, &*layout.spelled, rules.as_deref());
        FileRef { mount, spelled, path: &self.path, ownership: *ownership, rules }
    }

    fn new(id: FileId, path: Arc<Path>, place: Trusted, spec: Spec) -> Self {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let format = Format::chosen(spec.format, spec.dialect, name);
        let options = Options { syntax: spec.syntax, format, verify: spec.verify, ..bounds() };
        Self { id, path, source: Source::new(place, options), spec }
    }
}

/// What a rendering may take.
fn bounds() -> Options {
    match weakness::has(Weakness::Unbounded) {
        true => Options { output_cap: 1 << 40, steps: 1 << 40, ..Options::default() },
        false => Options::default(),
    }
}

/// A folder of templates as it was found: another one at the same path is noticed.
#[derive(Clone)]
pub struct Folder {
    pub path: Arc<Path>,
    device: u64,
    inode: u64,
    /// When a file last came or went.
    changed: (i64, i64),
}

impl Folder {
    fn at(path: &Path) -> Result<Self, TreeError> {
        let unreadable = |error| TreeError::Unreadable { path: path.to_owned(), error };
        let meta = fs::metadata(path).map_err(unreadable)?;
        let changed = (meta.mtime(), meta.mtime_nsec());
        Ok(Self { path: path.into(), device: meta.dev(), inode: meta.ino(), changed })
    }

    /// The same folder lies at its path.
    pub fn is_still_there(&self) -> bool {
        Self::at(&self.path).is_ok_and(|now| (now.device, now.inode) == (self.device, self.inode))
    }

    /// And no file came or went.
    pub fn is_as_it_was(&self) -> bool {
        let now = Self::at(&self.path);
        now.is_ok_and(|now| (now.device, now.inode, now.changed) == (self.device, self.inode, self.changed))
    }
}

/// What a folder of templates holds.
#[derive(Default)]
struct Found {
    /// Each with its path in the mount.
    templates: Vec<(PathBuf, PathBuf)>,
    folders: Vec<Folder>,
}

impl Found {
    /// Links are listed, so that they are refused with a reason, and never followed. Another
    /// filesystem below is left out: it may be a mount of ours, which would wait for itself.
    fn collect(&mut self, below: &Path, folder: Folder) -> Result<(), TreeError> {
        let (path, device) = (folder.path.clone(), folder.device);
        self.folders.push(folder);
        let unreadable = |error| TreeError::Unreadable { path: path.to_path_buf(), error };
        for entry in fs::read_dir(&path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            if entry.file_type().map_err(unreadable)?.is_dir() {
                if let Some(folder) = Folder::at(&entry.path()).ok().filter(|folder| folder.device == device)
                {
                    self.collect(&below.join(&name), folder)?;
                }
            } else if let Some(name) = without_suffix(&name) {
                self.templates.push((below.join(name), entry.path()));
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
