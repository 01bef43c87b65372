//! What is known of one file, for an operator: where it comes from, what a reader would get now and
//! what others got. Never a value. Uses the tables and the broker.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::errno::Errno;
use super::nodes::{Content, Nodes, View};
use super::render::Wanted;
use super::snapshot::Failure;
use super::tree::{File, FileId};
use super::whom::Whom;
use super::{Generation, SecretFs};
use crate::broker::Versions;
use crate::policy::Naming;
use crate::reactions::Reacted;
use crate::resolver::Basis;
use crate::secret::SecretKey;
use crate::template::Template;

pub struct Explained {
    pub file: Arc<File>,
    pub template: PathBuf,
    /// None if the template cannot be compiled.
    pub format: Option<&'static str>,
    pub now: Outcome,
    pub references: Vec<Origin>,
    pub views: Vec<Seen>,
    pub readers: usize,
    pub stale_readers: usize,
    pub reacted: Option<Reacted>,
    /// Whether rules are about it, or about a secret in it.
    pub has_rules: bool,
}

/// What reading it gives: a size, or an errno with its reason.
#[derive(Clone, Debug)]
pub enum Outcome {
    Size(u64),
    Errno(Errno, String),
    /// It was rendered, and is rendered again when somebody asks.
    Wiped,
}

/// Where a reference leads.
pub struct Origin {
    pub reference: String,
    /// None: the config names no such provider.
    pub provider: Option<String>,
    pub version: Option<u64>,
}

/// A node as a class of callers has it.
pub struct Seen {
    pub view: String,
    pub handles: u32,
    pub outcome: Outcome,
}

impl SecretFs {
    /// `None`: there is no such file. Renders it, within its deadline.
    pub async fn explain(self: &Arc<Self>, path: &Path) -> Option<Explained> {
        let now = self.now();
        let file = now.tree.files().find(|file| *file.path == *path)?.clone();
        let rendered =
            self.rendered_in_time(Whom::Nobody { shows_real: true }, now.clone(), file.clone()).await;
        let (outcome, versions, snapshot) = match rendered {
            Ok(Ok(Wanted { snapshot, .. })) => {
                (Outcome::Size(snapshot.size()), snapshot.versions(), Some(snapshot))
            }
            Ok(Err(denial)) => (Outcome::Errno(Errno::ACCES, denial.reason), Versions::default(), None),
            Err((_, error)) => (Outcome::of(&Failure::new(error)), Versions::default(), None),
        };
        let answered = |key: &SecretKey| {
            let of = |basis: &Basis| now.broker.answered_by(key, basis);
            snapshot.as_ref()?.ask(of)
        };
        let template = file.source.last().and_then(|loaded| loaded.template.clone().ok());
        let (readers, stale_readers) = self.count_readers_of(file.id);
        let keys = template.as_ref().map_or(&[][..], |template| template.keys());
        let access = now.access(&file, keys);
        let rules = now.broker.policy().naming(&access);
        let has_rules = access.file.is_some_and(|it| it.rules.is_some_and(|rules| !rules.list().is_empty()))
            || rules.iter().any(|(_, naming)| *naming != Naming::No);
        Some(Explained {
            has_rules,
            template: file.source.path().to_owned(),
            format: template.as_ref().map(|template| template.options().format.name()),
            now: outcome,
            references: template.map_or_else(Vec::new, |it| origins(&now, &it, &versions, answered)),
            views: self.nodes().seen(file.id),
            readers,
            stale_readers,
            reacted: self.last_reaction(&file.path),
            file,
        })
    }
}

impl SecretFs {
    /// How many secrets the files refer to, as far as their templates are loaded.
    pub fn secrets(&self) -> usize {
        let now = self.now();
        let templates = now.tree.files().filter_map(|file| file.source.last()?.template.clone().ok());
        templates.flat_map(|template| template.keys().to_vec()).collect::<HashSet<_>>().len()
    }
}

fn origins(
    now: &Generation,
    template: &Template,
    versions: &Versions,
    answered: impl Fn(&SecretKey) -> Option<String>,
) -> Vec<Origin> {
    let origin = |key| Origin {
        reference: format!("{key}"),
        provider: answered(key).or_else(|| now.broker.provider_of(key).map(str::to_owned)),
        version: versions.0.iter().find(|(known, _)| known == key).map(|(_, version)| *version),
    };
    template.keys().iter().map(origin).collect()
}

impl Outcome {
    fn of(failure: &Failure) -> Self {
        Self::Errno(failure.errno, failure.error.to_string())
    }
}

impl Nodes {
    /// The nodes of a file, as far as they tell something.
    fn seen(&self, file: FileId) -> Vec<Seen> {
        let nodes = self.all().filter(|node| node.content.file() == file);
        let seen = nodes.map(|node| {
            let view = |view: &View| match view {
                View::Real => "real".to_owned(),
                View::Reader(class) => class.replace('\0', " "),
                View::Placeholder(class) => {
                    format!("placeholder {}", class.replace('\0', " ")).trim_end().to_owned()
                }
            };
            let (view, outcome) = match &node.content {
                Content::Bare(_) => ("denied".to_owned(), Outcome::Errno(Errno::ACCES, "denied".to_owned())),
                Content::Failed(place, failure) => (view(&place.view), Outcome::of(failure)),
                Content::Filled(place, snapshot) => (view(&place.view), Outcome::Size(snapshot.size())),
                Content::Wiped(place, _) => (view(&place.view), Outcome::Wiped),
            };
            Seen { view, handles: node.handles, outcome }
        });
        seen.collect()
    }
}
