//! `secretfs key rotate --master`: another master key, in a file or made of a passphrase, and
//! where else it is put. It is kept safe, and read back from there, before the store needs it.

use std::path::{Path, PathBuf};

use crate::cli::init::{self, NewKey};
use crate::cli::report::{Failure, warn};
use crate::cli::{Common, config, exit, open, output};
use crate::store::{Access, KeySources, MasterKey, Scrub, Store};
use crate::sys::keyring::Keyring;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The file for the new master key; one that is there is taken as it is
    #[arg(long, value_name = "FILE", requires = "master")]
    to: Option<PathBuf>,
    /// Make the new master key of a passphrase, asked for now
    #[arg(long, requires = "master", conflicts_with = "to")]
    passphrase: bool,
    /// Put it into a keyring of the kernel, too: session, user (the default) or persistent
    #[arg(long, requires = "master", value_name = "WHICH", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "user", value_parser = super::kernel::keyrings(), hide_possible_values = true)]
    keyring: Option<Keyring>,
    /// Write the new master key to FILE, too, encrypted by systemd for units of this machine
    #[arg(long, requires = "master", value_name = "FILE", conflicts_with = "passphrase")]
    credential: Option<PathBuf>,
}

pub(super) fn change(args: &Args, common: &Common) -> Result<(), Failure> {
    let (store, _) = open::here(common, Access::Write)?;
    let old = store.key_status()?.master;
    let new = match args.passphrase {
        true => init::key_of_passphrase()?,
        false => {
            in_file(args.to.as_deref(), &open::key_sources(common, &config::load(common)?.store), &store)?
        }
    };
    if new.key.id() == old {
        let file = new.file.as_deref().unwrap_or(Path::new("that")).display();
        let failure = Failure::new(exit::USAGE, format!("{file} holds the key that the store has"));
        return Err(failure.hint("--to with a file that is not there: a new key is made"));
    }
    let places = put_elsewhere(args, &new, &store).inspect_err(|_| new.discard())?;
    // From here on the key stays where it is, whatever comes: a change that failed may yet be there.
    store.change_master(&new.key, new.stretch.as_ref())?;
    open::scrub(&store, Scrub::Log);
    tell(&new, &places, common.json)?;
    drop(store);
    if !args.passphrase && !is_found(common) {
        warn(
            "daemons and commands that are not told do not find this key: put the file where the old one \
             was, or name it by --key-file or in the config",
        );
    }
    Ok(())
}

/// Whether the store opens as it did, with the sources that it has.
fn is_found(common: &Common) -> bool {
    config::load(common).is_ok_and(|config| open::open_store(common, &config.store, Access::Read).is_ok())
}

/// Where else the key lies.
struct Places {
    /// A keyring, and the key's name in it.
    kernel: Option<(Keyring, String)>,
    credential: Option<PathBuf>,
}

fn put_elsewhere(args: &Args, new: &NewKey, store: &Store) -> Result<Places, Failure> {
    let id = store.id()?;
    let load = |keyring: Keyring| Ok::<_, Failure>((keyring, new.key.load(keyring, &id, None)?));
    let kernel = args.keyring.map(load).transpose()?;
    if let Some(file) = &args.credential {
        init::check_outside(file, store.dir())?;
        new.key.write_credential(file)?;
    }
    let credential = args.credential.as_ref().map(|file| std::path::absolute(file).unwrap_or(file.clone()));
    Ok(Places { kernel, credential })
}

/// The key is in its file, for good, before the store needs it.
fn in_file(to: Option<&Path>, sources: &KeySources, store: &Store) -> Result<NewKey, Failure> {
    let id = store.id()?;
    let at = |file: &Path| KeySources { file: Some(file.to_owned()), ..KeySources::default() };
    let new = match to {
        Some(file) => init::key_for(&at(file), &id, store.dir())?,
        None => {
            let key = MasterKey::generate()?;
            let place = sources.next_file(&id, &key).ok_or_else(|| {
                Failure::new(exit::CONFIG, "there is no place for the key: HOME is not set").hint("--to FILE")
            })?;
            key.write(&place)?;
            NewKey { file: Some(place), is_made: true, ..NewKey::of(key) }
        }
    };
    let file = new.file.clone().expect("it was named or made");
    let gone = || Failure::new(exit::IO, format!("{} is gone", file.display()));
    let key = at(&file).given()?.ok_or_else(gone)?;
    Ok(NewKey { key, ..new })
}

fn tell(new: &NewKey, places: &Places, json: bool) -> Result<(), Failure> {
    let file = new.place();
    let Places { kernel, credential } = places;
    if json {
        return output::print_json(&serde_json::json!({
            "master": new.key.id(),
            "key_file": file,
            "passphrase": new.stretch.is_some(),
            "keyring": kernel.as_ref().map(|(_, name)| name),
            "credential": credential,
        }));
    }
    let mut lines = match &file {
        Some(file) => format!("key    {file}\n       {}\n", init::KEEP_A_COPY),
        None => new.told(),
    };
    if let Some((keyring, name)) = kernel {
        lines += &super::kernel::told(*keyring, name);
    }
    if let Some(file) = credential {
        let file = file.display();
        lines += &format!(
            "       and {file}, for units of this machine that say\n       \
             LoadCredentialEncrypted=secretfs.key:{file}\n"
        );
    }
    output::print(lines + "old    no longer opens the store; older backups of it still need it\n")
}
