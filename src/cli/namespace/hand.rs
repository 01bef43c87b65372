//! `secretfs namespace hand`: a namespace becomes a store of a user's own. It is written as that user,
//! opened and compared as that user, and only then removed here. Never a value.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

use crate::cli::report::Failure;
use crate::cli::{Common, audited, config, exit, inside, open, output};
use crate::secret::Namespace;
use crate::store::{
    Access, BackendKind, Belongings, KeySources, MasterKey, Scrub, Store, StoreError, StoreId,
};
use crate::sys::{child, user};

#[derive(clap::Args)]
pub(super) struct Args {
    #[arg(add = crate::cli::completions::namespaces())]
    name: String,
    /// The user, by name or number
    #[arg(long, value_name = "USER")]
    to: String,
    /// Where the store of that user is to be (else .secretfs in the home folder)
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// Where its key is to be (else below .config/secretfs/keys in the home folder)
    #[arg(long, value_name = "FILE")]
    key_at: Option<PathBuf>,
}

impl Args {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Who gets it, and where.
struct Receiver {
    user: User,
    at: PathBuf,
    key_at: Option<PathBuf>,
    /// Where the keys of that user's stores are found.
    folder: PathBuf,
}

pub(super) fn run(args: &Args, namespace: &Namespace, common: &Common) -> Result<(), Failure> {
    if *namespace == Namespace::default() {
        let problem = format!("the namespace `{namespace}` is always there; the others can be handed");
        return Err(Failure::new(exit::DATA, problem));
    }
    let to = Receiver::of(args)?;
    let (store, _) = open::here(common, Access::Write)?;
    audited::handed(&store, &config::load(common)?.audit, namespace, &to.user.name)?;
    let belongings = store.belongings(namespace)?;
    let backend = store.backend();
    let forked = child::fork(|link| {
        let report = to.receive(&belongings, backend).map_or_else(
            |failure| inside::in_writing(&failure),
            |key| inside::in_writing(&Failure::new(exit::OK, key.display())),
        );
        let _ = link.send(&report);
    });
    let system = |error| Failure::new(exit::OS, error);
    let (receiver, link) = forked.map_err(system)?;
    let report = link.receive().map_err(system)?;
    child::wait(receiver).map_err(system)?;
    let Some((report, _)) = report else {
        return Err(Failure::new(exit::OS, "the new store was not finished; here nothing was changed")
            .hint("run the command again"));
    };
    let report = inside::read_back(&report);
    if report.status != exit::OK {
        return Err(report);
    }
    let gone = store.list(namespace)?;
    store.remove_given(&belongings)?;
    store.forget_uses(&gone);
    open::scrub(&store, Scrub::Log);
    tell(namespace, &to, Path::new(&report.problem), belongings.len(), common)
}

fn tell(
    namespace: &Namespace,
    to: &Receiver,
    key: &Path,
    secrets: usize,
    common: &Common,
) -> Result<(), Failure> {
    let (user, at) = (&to.user.name, to.at.display());
    if common.json {
        return output::print_json(&serde_json::json!({
            "handed": namespace.as_str(), "to": user, "store": to.at, "key_file": key, "secrets": secrets,
        }));
    }
    let secrets = output::counted(secrets, "secret");
    output::print(format!(
        "{namespace}: handed to {user} with {secrets}, and removed here\nstore  {at}\nkey    {}\n",
        key.display()
    ))
}

impl Receiver {
    fn of(args: &Args) -> Result<Self, Failure> {
        let found = match args.to.parse::<u32>() {
            Ok(uid) => User::from_uid(uid.into()),
            Err(_) => User::from_name(&args.to),
        };
        let user = found.ok().flatten().ok_or_else(|| {
            Failure::new(exit::NO_INPUT, format!("there is no user `{}` on this machine", args.to))
                .hint("getent passwd shows who there is")
        })?;
        let us = geteuid();
        if !us.is_root() && us != user.uid {
            return Err(Failure::new(exit::NO_PERMISSION, "only root can hand something to another user")
                .hint(format!("sudo secretfs namespace hand {} --to {}", args.name, args.to)));
        }
        let absolute =
            |path: &PathBuf| std::path::absolute(path).map_err(|error| Failure::new(exit::NO_INPUT, error));
        let at = args.at.as_ref().map_or_else(|| Ok(user.dir.join(".secretfs")), absolute)?;
        let key_at = args.key_at.as_ref().map(absolute).transpose()?;
        let folder = match user.uid.is_root() {
            true => PathBuf::from("/etc/secretfs/keys"),
            false => user.dir.join(".config/secretfs/keys"),
        };
        Ok(Self { user, at, key_at, folder })
    }

    /// In a process of its own, which becomes the user. Answers where the key is.
    fn receive(&self, belongings: &Belongings, backend: BackendKind) -> Result<PathBuf, Failure> {
        user::become_user(&self.user).map_err(|error| {
            Failure::new(exit::NO_PERMISSION, format!("cannot become {}: {error}", self.user.name))
        })?;
        if self.at.join("FORMAT").symlink_metadata().is_ok() {
            return self.received_before(belongings);
        }
        let id = StoreId::generate()?;
        let key = self.key_at.clone().unwrap_or_else(|| self.folder.join(format!("{id}.key")));
        let was_there = key.symlink_metadata().is_ok();
        let master = self.key_in(&key)?;
        let made = self.make(belongings, backend, (id, &master), &key);
        made.inspect_err(|_| drop((!was_there).then(|| fs::remove_file(&key))))?;
        Ok(key)
    }

    /// A new one, or the one that lies there: a hand that was broken off may have left it.
    fn key_in(&self, file: &Path) -> Result<MasterKey, Failure> {
        if let Some(key) = self.sources(file).given()? {
            return Ok(key);
        }
        let (key, new) = (MasterKey::generate()?, file.with_added_extension("new"));
        let _ = fs::remove_file(&new);
        key.write(&new)?;
        let system = |error| Failure::new(exit::CANNOT_CREATE, format!("{}: {error}", file.display()));
        fs::rename(&new, file).map_err(system)?;
        Ok(key)
    }

    /// Beside its place, so that what is there is finished, or not there.
    fn make(
        &self,
        belongings: &Belongings,
        backend: BackendKind,
        (id, master): (StoreId, &MasterKey),
        key: &Path,
    ) -> Result<(), Failure> {
        let new = self.unfinished();
        let system = |error| Failure::new(exit::CANNOT_CREATE, format!("{}: {error}", self.at.display()));
        clear(&new).map_err(system)?;
        let folder = self.at.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(system)?;
        let moved = || {
            let store = Store::create(&new, backend, id, master, None)?;
            store.receive(belongings, open::stamp())?;
            drop(store);
            self.check(&new, key, belongings)?;
            fs::rename(&new, &self.at).and_then(|()| File::open(folder)?.sync_all()).map_err(system)?;
            self.check(&self.at, key, belongings)
        };
        moved().inspect_err(|_| drop(clear(&new)))
    }

    /// `.NAME.hand` beside its place.
    fn unfinished(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.at.file_name().unwrap_or_default());
        name.push(".hand");
        self.at.with_file_name(name)
    }

    /// As whoever opens it will: from the files, with the key that is found.
    fn check(&self, at: &Path, key: &Path, belongings: &Belongings) -> Result<(), Failure> {
        match Store::open(at, Access::Read, &self.sources(key))?.holds(belongings)? {
            true => Ok(()),
            false => {
                Err(StoreError::Corrupt(format!("{} reads otherwise than it was written", at.display()))
                    .into())
            }
        }
    }

    /// A hand that was broken off after the new store was finished goes on.
    fn received_before(&self, belongings: &Belongings) -> Result<PathBuf, Failure> {
        let key = self.key_at.clone().unwrap_or_default();
        let opened = Store::open(&self.at, Access::Read, &self.sources(&key));
        let other =
            || Failure::from(StoreError::Exists(self.at.clone())).hint("name another place: --at DIR");
        let store = opened.map_err(|_| other())?;
        match store.holds(belongings)? {
            true => Ok(self.key_at.clone().unwrap_or(self.folder.join(format!("{}.key", store.id()?)))),
            false => Err(other()),
        }
    }

    fn sources(&self, key: &Path) -> KeySources {
        let key = key.symlink_metadata().is_ok().then(|| key.to_owned());
        KeySources { file: key, folder: Some(self.folder.clone()), ..KeySources::default() }
    }
}

/// Removes what a hand that was broken off has left, and nothing else.
fn clear(new: &Path) -> std::io::Result<()> {
    match fs::read(new.join(".gitignore")) {
        Ok(text) if b"*\n".starts_with(&text) => fs::remove_dir_all(new),
        _ => Ok(()),
    }
}
