//! What commands do to a store is written down, with who did it, before it is there. May use every
//! layer.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::report::Failure;
use super::session;
use crate::audit::{Audit, AuditError, Event, Kind, Named, Seed, Who};
use crate::caller::Identity;
use crate::config::AuditConfig;
use crate::daemon::assemble::STORE;
use crate::policy::{Door, RuleId, Verdict};
use crate::secret::{Namespace, SecretBytes};
use crate::store::{Deed, Store, StoreError, What, Witness};
use crate::sys::identity;

/// Has the log told of every change to this store.
pub fn watched(store: Store, config: &AuditConfig) -> Result<Store, StoreError> {
    if !config.is_on() {
        return Ok(store);
    }
    let audit = of(&store, config)?;
    Ok(store.witnessed_by(Arc::new(Scribe { audit })))
}

/// The log that is sealed with a key of this store.
pub fn of(store: &Store, config: &AuditConfig) -> Result<Audit, StoreError> {
    let seed = store.audit_seed()?;
    let seed = Seed::from(move || Some(SecretBytes::copy_of(seed.expose())));
    Ok(Audit::new(config.clone(), seed).opened_by(store.key_source().map(str::to_owned)))
}

/// A secret's values are about to be used by a command: to be shown, or as it says.
pub fn used(
    store: &Store,
    config: &AuditConfig,
    namespace: &Namespace,
    secret: Named,
    since: Instant,
    detail: Option<&str>,
) -> Result<(), Failure> {
    let detail = detail.map(str::to_owned);
    told(store, config, namespace, |event| {
        Event { kind: Kind::Read, secrets: vec![secret], detail, ..event }.outcome("ok", since)
    })
}

/// What is known of secrets beside their values is about to be shown: of this one, or of all.
pub fn listed(
    store: &Store,
    config: &AuditConfig,
    namespace: &Namespace,
    name: Option<&str>,
    since: Instant,
) -> Result<(), Failure> {
    let secrets = name.map(|name| named(name, None)).into_iter().collect();
    told(store, config, namespace, |event| Event { kind: Kind::List, secrets, ..event }.outcome("ok", since))
}

/// All values of a namespace are about to be somebody else's.
pub fn handed(store: &Store, config: &AuditConfig, namespace: &Namespace, to: &str) -> Result<(), Failure> {
    let detail = Some(format!("namespace {namespace} is handed to {to}"));
    let outcome = Some("ok".to_owned());
    told(store, config, namespace, |event| Event { kind: Kind::Export, detail, outcome, ..event })
}

/// Who has opened the store with its key is told what is in it: there is no need of rules.
fn told(
    store: &Store,
    config: &AuditConfig,
    namespace: &Namespace,
    what: impl FnOnce(Event) -> Event,
) -> Result<(), Failure> {
    if !config.is_on() {
        return Ok(());
    }
    let audit = of(store, config)?;
    let event = Event {
        door: Some(Door::Command.name().to_owned()),
        namespace: Some(namespace.to_string()),
        verdict: Some(Verdict::Real.name().to_owned()),
        rule: Some(RuleId::Owner.to_string()),
        ..Event::new(Kind::Read, ourselves(&audit))
    };
    record(&audit, what(event.opened(audit.opened())))
}

/// Something is done with a store as a whole. If it cannot be written down, it is not to be done.
pub fn whole(store: &Store, config: &AuditConfig, kind: Kind, detail: &str) -> Result<(), Failure> {
    if !config.is_on() {
        return Ok(());
    }
    let audit = of(store, config)?;
    let event = Event::new(kind, ourselves(&audit)).opened(audit.opened()).detail(detail);
    record(&audit, Event { outcome: Some("ok".to_owned()), ..event })
}

/// The same, with what it is about by its whole path.
pub fn whole_at(store: &Store, config: &AuditConfig, kind: Kind, at: &Path) -> Result<(), Failure> {
    whole(store, config, kind, &std::path::absolute(at).unwrap_or(at.to_owned()).to_string_lossy())
}

/// Something is about to be shown to who called us.
pub fn record(audit: &Audit, event: Event) -> Result<(), Failure> {
    audit.record(event).map_err(Failure::from)
}

/// This process, and who has logged in to start it.
pub fn ourselves(audit: &Audit) -> Who {
    let login = Who::ourselves();
    let caller = session::caller();
    let known = identity::gather(&caller, audit.facts()).unwrap_or_else(|_| Identity::of(caller));
    Who { login_uid: login.login_uid, real_uid: login.real_uid, ..Who::from(&known) }
}

pub fn named(name: &str, version: Option<u64>) -> Named {
    Named { name: name.to_owned(), provider: Some(STORE.to_owned()), path: None, version }
}

/// Deeds in one line. A name has 128 bytes at most.
const MOST: usize = 1_000;

struct Scribe {
    audit: Audit,
}

impl Scribe {
    /// A line for each kind of deed.
    fn events(&self, namespace: &Namespace, deeds: &[Deed]) -> Vec<Event> {
        let who = ourselves(&self.audit);
        // Whoever reads the log back looks for its lines in a room that ends somewhere.
        let kinds = deeds.chunk_by(|one, other| one.what == other.what).flat_map(|it| it.chunks(MOST));
        let event = |deeds: &[Deed]| Event {
            namespace: Some(namespace.to_string()),
            secrets: deeds.iter().filter_map(|it| Some(named(it.name.as_ref()?, it.version))).collect(),
            outcome: Some("ok".to_owned()),
            ..Event::new(kind(deeds[0].what), who.clone()).opened(self.audit.opened())
        };
        kinds.map(event).collect()
    }
}

impl Witness for Scribe {
    fn tell(&self, namespace: &Namespace, deeds: &[Deed]) -> Result<(), (String, Option<String>)> {
        let told = self.events(namespace, deeds).into_iter().try_for_each(|event| self.audit.record(event));
        told.map_err(|error| (error.to_string(), error.hint()))
    }

    fn take_back(&self, namespace: &Namespace, deeds: &[Deed]) {
        for event in self.events(namespace, deeds) {
            // That it failed is told anyway.
            let _ = self.audit.record(Event { outcome: Some("failed".to_owned()), ..event });
        }
    }
}

fn kind(what: What) -> Kind {
    match what {
        What::Create => Kind::Create,
        What::Rotate => Kind::Rotate,
        What::Import => Kind::Import,
        What::Activate => Kind::Rollback,
        What::Edit => Kind::Update,
        What::Disable => Kind::Disable,
        What::Enable => Kind::Enable,
        What::Remove => Kind::Delete,
        What::Destroy => Kind::Destroy,
        What::Namespace | What::RemoveNamespace => Kind::Namespace,
        What::Key => Kind::Key,
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let failure = Self::new(super::exit::IO, &error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
