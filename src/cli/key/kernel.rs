//! `secretfs key load` and `unload`: the master key in a keyring of the kernel. Uses `store`.

use std::path::Path;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;

use crate::audit::Kind;
use crate::cli::report::Failure;
use crate::cli::{Common, audited, config, exit, open, output, when};
use crate::clock::{Clock, SystemClock};
use crate::config::{AuditConfig, Config};
use crate::store::{self, Access, KeySources, MasterKey, Store};
use crate::sys::keyring::Keyring;

#[derive(clap::Args)]
pub struct Args {
    /// session: what this login started; user: all your processes; persistent: also while none is there
    #[arg(long, value_name = "WHICH", default_value = "user", value_parser = keyrings())]
    #[arg(hide_possible_values = true)]
    keyring: Keyring,
    /// Until when it stays there: 8h, 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

pub fn keyrings() -> impl TypedValueParser<Value = Keyring> {
    let names = PossibleValuesParser::new(Keyring::ALL.map(Keyring::as_str));
    names.try_map(|name| {
        Keyring::ALL.into_iter().find(|it| it.as_str() == name).ok_or("there is no such keyring")
    })
}

/// The other sources still go before it; what asks for a passphrase asks no more.
pub(super) fn load(args: &Args, common: &Common) -> Result<(), Failure> {
    let now = SystemClock.now();
    let until = args.until.as_deref().map(|text| when::parse_future(text, now)).transpose()?;
    let Config { store: config, audit, .. } = config::load(common)?;
    let (dir, sources) = (open::store_path(common, &config), open::key_sources(common, &config));
    let (store, key) = MasterKey::of_store(&dir, &sources)?;
    let lifetime = until.map(|until| std::time::Duration::try_from(until.duration_since(now)));
    let lifetime = lifetime.transpose().map_err(|error| Failure::new(exit::USAGE, error))?;
    let name = key.load(args.keyring, &store, lifetime)?;
    // Not before: from here on nobody has to be asked for a passphrase a second time.
    if let Err(failure) = tell(&dir, &sources, &audit, args.keyring) {
        store::unload(&dir)?;
        return Err(failure);
    }
    if common.json {
        let keyring = args.keyring.as_str();
        return output::print_json(&serde_json::json!({"keyring": keyring, "name": name, "until": until}));
    }
    output::print(loaded(args.keyring, &name, until))
}

/// Writes down that the key is where it can be used.
fn tell(dir: &Path, sources: &KeySources, audit: &AuditConfig, to: Keyring) -> Result<(), Failure> {
    if !audit.is_on() {
        return Ok(());
    }
    let opened = Store::open(dir, Access::Read, &KeySources { ask: None, ..sources.clone() })?;
    audited::whole(&opened, audit, Kind::Key, &format!("loaded into the keyring {}", to.as_str()))
}

pub(super) fn unload(common: &Common) -> Result<(), Failure> {
    let config = config::load(common)?.store;
    let had = store::unload(&open::store_path(common, &config))?;
    let had: Vec<_> = had.into_iter().map(Keyring::as_str).collect();
    if common.json {
        return output::print_json(&serde_json::json!({"keyrings": had}));
    }
    match had.is_empty() {
        true => output::print("none of your keyrings had the key\n"),
        false => output::print(format!("taken out of: {}\n", had.join(", "))),
    }
}

/// Said of a key that is elsewhere, too.
pub fn told(keyring: Keyring, name: &str) -> String {
    format!("       and the kernel's {} keyring, as {name}, until the next boot\n", keyring.as_str())
}

fn loaded(keyring: Keyring, name: &str, until: Option<Timestamp>) -> String {
    let until = until.map_or("the next boot".to_owned(), output::time);
    format!("key    in the kernel's {} keyring, as {name}, until {until}\n", keyring.as_str())
}
