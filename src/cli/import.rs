//! `secretfs import`: takes over what is in files, in the environment or in another store. All of
//! it in one transaction, or nothing. May use every layer.

mod elsewhere;
mod files;
mod found;
mod gather;
mod manifest;
mod only;
mod write;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::check::Pins;
use super::progress::Progress;
use super::report::{Failure, note};
use super::set::parse_type;
use super::{Common, completions, config, exit, open, output};
use crate::clock::{Clock, SystemClock};
use crate::secret::{Namespace, SecretType};
use crate::store::{Access, Edit, Scrub, StoreError};
use crate::template::Format;
use elsewhere::OtherStore;
use found::{Found, refuse_twins};
use write::{Line, OnConflict, Outcome, take_over};

/// What a file may hold.
const FORMS: &str = "\
What a file holds is told by its name (.env, .env.*, *.env, *.json, *.yaml, *.yml) or by --format:
  env   NAME=value, with comments, `export`, quotes and lines within quotes. What programs read in
        different ways (`$`, a quote amid a value) is refused: write it in single quotes
  json, yaml
        {\"name\": \"value\"}; an object within makes names with a slash: {\"db\": {\"url\": \"…\"}} is db/url.
        {\"name\": {\"type\": \"basic-auth\", \"fields\": {\"username\": \"…\", \"password\": \"…\"}}} is one secret, with
        description, label, owner, tags and expires if you like. With --type, so is an object of the fields of
        that type. Each value is a text: a number has to be in quotes
Either all of it is imported or nothing. What is there with the same values stays as it is.";

#[derive(clap::Args)]
#[command(after_help = FORMS)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub struct Args {
    /// Env files, JSON or YAML; `-` is stdin
    #[arg(value_name = "FILE", group = "source")]
    files: Vec<PathBuf>,
    /// What the files are, if their names do not tell: env, json, yaml
    #[arg(long, value_parser = files::parse_format, requires = "files")]
    format: Option<Format>,
    /// The variables of the environment whose names begin so
    #[arg(long, value_name = "PREFIX", group = "source", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    from_env: Option<String>,
    /// Leave the prefix of those variables away
    #[arg(long, requires = "from_env")]
    strip: bool,
    /// Another store: its active versions, with type, labels, expiry and whether they are disabled
    #[arg(long, value_name = "DIR", group = "source")]
    from_store: Option<PathBuf>,
    /// A file with the master key of that store
    #[arg(long, value_name = "FILE", requires = "from_store")]
    from_key_file: Option<PathBuf>,
    /// The namespace of that store
    #[arg(long, value_name = "NAME", requires = "from_store")]
    from_namespace: Option<String>,
    /// What `export --manifest` has written: say what is missing here, and at a terminal ask for it
    #[arg(long, value_name = "FILE", group = "source")]
    #[arg(conflicts_with_all = ["kind", "only", "prefix", "skip", "overwrite", "new_version"])]
    manifest: Option<PathBuf>,
    /// The type of what does not say its own
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type, add = completions::types(), conflicts_with = "from_store")]
    kind: Option<SecretType>,
    /// Only names that fit, as they are there: `*` is any text, `?` one character
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// What to put before each name: app/
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    conflicts: Conflicts,
    /// Import into the namespace `deploy`, which no workload is served from
    #[arg(long)]
    deploy: bool,
    /// Only say what would become of each
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct Conflicts {
    /// Leave secrets as they are that are there with other values
    #[arg(long)]
    skip: bool,
    /// Replace them, and destroy their older versions but for those that a template of the config names
    #[arg(long)]
    overwrite: bool,
    /// Add a version to them
    #[arg(long)]
    new_version: bool,
}

/// Why nothing was written.
enum Stopped {
    Failed(StoreError),
    Told(Vec<Line>),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let common = &args.place(common)?;
    if let Some(path) = &args.manifest {
        return manifest::run(path, args.dry_run, common);
    }
    let now = SystemClock.now();
    let found = args.found(now, common)?;
    let (store, namespace) = open::here(common, Access::Write)?;
    let choice = args.conflicts.choice(common)?;
    let outcome = store.change(&namespace, open::stamp_at(now), |change| {
        change.import();
        let progress = Progress::of(found.len(), "importing", common);
        let lines = found.into_iter().inspect(|_| progress.step());
        let lines: Vec<Line> =
            lines.map(|found| take_over(found, change, &choice)).collect::<Result<_, StoreError>>()?;
        match args.dry_run || lines.iter().any(Line::is_in_the_way) {
            true => Err(Stopped::Told(lines)),
            false => Ok(lines),
        }
    });
    match outcome {
        Ok(lines) => {
            if matches!(choice, OnConflict::Overwrite(_)) {
                open::scrub(&store, Scrub::Files);
            }
            tell(&lines, common)?;
            args.files.iter().filter(|path| *path != Path::new("-")).for_each(|path| {
                note(format!("{} still holds its values in plain text", path.display()));
            });
        }
        Err(Stopped::Failed(error)) => return Err(error.into()),
        Err(Stopped::Told(lines)) => {
            if args.dry_run {
                show(&lines, common)?;
            }
            in_the_way(&lines)?;
        }
    }
    Ok(exit::OK)
}

impl Args {
    /// Where it goes: deploy-time secrets into their own namespace, and only if that is meant.
    fn place(&self, common: &Common) -> Result<Common, Failure> {
        let is_deploy_file = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(Namespace::DEPLOY_FILES.as_bytes())
        };
        match (self.deploy, common.namespace.as_deref()) {
            (true, None | Some(Namespace::DEPLOY)) => {
                Ok(Common { namespace: Some(Namespace::DEPLOY.to_owned()), ..common.clone() })
            }
            (true, Some(other)) => {
                let problem =
                    format!("--deploy means the namespace `deploy`, and --namespace says `{other}`");
                Err(Failure::new(exit::USAGE, problem).hint("leave one of them away"))
            }
            (false, _) => match self.files.iter().find(is_deploy_file) {
                Some(path) => {
                    let problem = format!("{} is for deployments; no workload gets it", path.display());
                    Err(Failure::new(exit::NO_PERMISSION, problem)
                        .hint("--deploy imports it into a namespace of its own"))
                }
                None => Ok(common.clone()),
            },
        }
    }

    fn found(&self, now: Timestamp, common: &Common) -> Result<Vec<Found>, Failure> {
        let edit = Edit { kind: self.kind, ..Edit::default() };
        let mut found = match (&self.from_env, &self.from_store) {
            (Some(prefix), _) => elsewhere::environment(prefix, self.strip, &edit),
            (None, Some(dir)) => {
                let (key_file, namespace) = (self.from_key_file.as_deref(), self.from_namespace.as_deref());
                OtherStore { dir, key_file, namespace }.read(&self.only, common)?
            }
            (None, None) => {
                let read = |path| files::read(path, self.format, &edit, now);
                self.files
                    .iter()
                    .map(|path| read(path))
                    .collect::<Result<Vec<_>, _>>()?
                    .into_iter()
                    .flatten()
                    .collect()
            }
        };
        found.retain(|it| only::is_wanted(&self.only, &it.name));
        found.iter_mut().for_each(|it| it.name.insert_str(0, &self.prefix));
        refuse_twins(&mut found);
        match found.is_empty() {
            true => {
                Err(Failure::new(exit::DATA, "there is nothing to import").hint(match self.only.is_empty() {
                    true => "look whether it is the right place",
                    false => "--only fits no name that is there",
                }))
            }
            false => Ok(found),
        }
    }
}

impl Conflicts {
    fn choice(&self, common: &Common) -> Result<OnConflict, Failure> {
        Ok(match self {
            Self { skip: true, .. } => OnConflict::Skip,
            Self { overwrite: true, .. } => OnConflict::Overwrite(Pins::of_config(&config::load(common)?)?),
            Self { new_version: true, .. } => OnConflict::NewVersion,
            _ => OnConflict::Refuse,
        })
    }
}

impl Line {
    fn is_in_the_way(&self) -> bool {
        matches!(self.outcome, Outcome::Exists | Outcome::Refused)
    }

    fn what(&self) -> String {
        let version = self.version.map(|version| version.to_string()).unwrap_or_default();
        match self.outcome {
            Outcome::New => "new".to_owned(),
            Outcome::NewVersion => format!("version {version}"),
            Outcome::Overwritten if self.kept.is_empty() => format!("overwritten by version {version}"),
            Outcome::Overwritten => {
                let kept: Vec<_> = self.kept.iter().map(|it| it.version.to_string()).collect();
                format!("overwritten by version {version}; templates name {}, which stays", kept.join(", "))
            }
            Outcome::Same => "is there already".to_owned(),
            Outcome::Skipped => "skipped".to_owned(),
            Outcome::Exists => "is there with other values".to_owned(),
            Outcome::Refused => format!("refused: {}", self.reason.as_deref().unwrap_or_default()),
        }
    }
}

/// What has been done.
fn tell(lines: &[Line], common: &Common) -> Result<(), Failure> {
    if common.json {
        return output::print_json(&lines);
    }
    let kept = |it: &Line| it.kept.iter().map(|kept| kept.line(&it.name)).collect::<String>();
    let written =
        lines.iter().filter_map(|it| Some(format!("{}: version {}\n{}", it.name, it.version?, kept(it))));
    let count = |outcome| lines.iter().filter(|it| it.outcome == outcome).count();
    let rest = [(Outcome::Same, "the same"), (Outcome::Skipped, "skipped")].map(|(outcome, word)| {
        Some(count(outcome))
            .filter(|count| *count > 0)
            .map(|count| format!(", {count} {word}"))
            .unwrap_or_default()
    });
    let total = lines.iter().filter(|it| it.version.is_some()).count();
    output::print(format!("{}{total} imported{}\n", written.collect::<String>(), rest.concat()))
}

/// What would be done.
fn show(lines: &[Line], common: &Common) -> Result<(), Failure> {
    match common.json {
        true => output::print_json(&lines),
        false => output::print_table(
            &["NAME", "FROM", "WHAT"],
            lines.iter().map(|it| vec![it.name.clone(), it.from.to_string(), it.what()]),
        ),
    }
}

/// So many are named where there are many.
const SHOWN: usize = 3;

/// What keeps the import from being done.
fn in_the_way(lines: &[Line]) -> Result<(), Failure> {
    let (exists, refused): (Vec<_>, Vec<_>) =
        lines.iter().filter(|it| it.is_in_the_way()).partition(|it| it.outcome == Outcome::Exists);
    if !refused.is_empty() {
        let shown = refused.iter().take(SHOWN);
        let shown = shown.map(|it| format!("\n  {}: {}", it.from, it.reason.as_deref().unwrap_or_default()));
        let problem = format!(
            "{} cannot be imported, so none is{}{}",
            output::counted(refused.len(), "secret"),
            shown.collect::<String>(),
            more(refused.len())
        );
        return Err(Failure::new(exit::DATA, problem).hint("mend them, or choose with --only"));
    }
    if exists.is_empty() {
        return Ok(());
    }
    let shown = exists.iter().take(SHOWN).map(|it| format!("\n  {}", it.name));
    let problem = format!(
        "{} there with other values, so none is imported{}{}",
        counted_are(exists.len()),
        shown.collect::<String>(),
        more(exists.len())
    );
    Err(Failure::new(exit::DATA, problem)
        .hint("--skip, --overwrite or --new-version; --dry-run shows them all"))
}

fn counted_are(count: usize) -> String {
    format!("{} {}", output::counted(count, "secret"), if count == 1 { "is" } else { "are" })
}

fn more(count: usize) -> String {
    match count.saturating_sub(SHOWN) {
        0 => String::new(),
        rest => format!("\n  and {rest} more"),
    }
}
