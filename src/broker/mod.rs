//! The use case behind every door: a caller wants a file rendered, or values for a command.
//! Each step is a function; nothing is resolved without a grant. Uses rules and services.

mod command;
mod error;
mod hand;
mod meant;
mod release;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use crate::audit::Audit;
use crate::caller::{Caller, Identity, Inquiry};
use crate::fields::placeholder;
use crate::metrics::{self, Gauge};
use crate::policy::{Access, Decision, FileRef, Grant, Policy};
use crate::provider::{Given, Provider, Pulse, Refreshed, unhurried};
use crate::resolver::{Asker, Basis, Health, Left, ResolveError, Resolved, Resolver};
use crate::secret::{Reference, SecretBytes, SecretKey, Uses};
use crate::sys::{leftover, weakness};
use crate::template::{Inputs, Reader, Rendered, Template};

pub use command::{Found, Lack};
pub use error::{Class, Error};
pub use hand::Wish;

pub struct Broker {
    policy: Policy,
    resolver: Arc<Resolver>,
    /// Makes salts repeatable without making them guessable.
    salt_key: SecretBytes,
    environment: Environment,
    audit: Arc<Audit>,
    /// What is run with what it gives away, if that is known.
    program: Option<String>,
    listener: Option<Listener>,
}

/// Is told each value that is given away, and what it was asked for as, before it is.
pub type Listener = Arc<dyn Fn(&Reference, &SecretBytes) + Send + Sync>;

/// What `env.NAME` means for the templates of this process.
#[derive(Clone)]
pub enum Environment {
    /// Only the names that the config allows (the mount).
    Only(BTreeSet<String>),
    /// All of them: template and environment belong to the same user (exec, render).
    All,
}

/// A finished rendering, what it rests on, and when the newest part of it became active.
pub struct Rendering {
    pub bytes: SecretBytes,
    pub basis: Basis,
    pub newest: Option<Timestamp>,
    /// The secrets in it whose fields are of use only together.
    pub pairs: Vec<SecretKey>,
    /// What its reader has to be allowed: all that the template names, and what its labels turned out to be.
    pub keys: Arc<[SecretKey]>,
    /// What it was made of.
    pub versions: Versions,
    /// Where it is counted that somebody is given this.
    pub uses: Vec<Arc<Uses>>,
}

/// Secrets with the version that was used of each, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(pub Vec<(SecretKey, u64)>);

impl Broker {
    pub fn new(policy: Policy, resolver: Resolver, salt_key: SecretBytes, environment: Environment) -> Self {
        let audit = Arc::new(Audit::none());
        let (program, listener) = (None, None);
        Self { policy, resolver: Arc::new(resolver), salt_key, environment, audit, program, listener }
    }

    /// Has somebody hear what it gives away.
    pub fn heard_by(self, listener: Listener) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// All that is asked for by a command is for this program.
    pub fn running(self, program: impl Into<String>) -> Self {
        Self { program: Some(program.into()), ..self }
    }

    /// Writes down there who gets what.
    pub fn audited(self, audit: Arc<Audit>) -> Self {
        Self { audit, ..self }
    }

    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// The same values, under other rules: what it has fetched and rendered is still good.
    pub fn under(&self, policy: Policy) -> Self {
        let (resolver, environment) = (self.resolver.clone(), self.environment.clone());
        let (audit, program, listener) = (self.audit.clone(), self.program.clone(), self.listener.clone());
        Self { policy, resolver, salt_key: self.salt_key(), environment, audit, program, listener }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A provider that another broker goes on with, and with it what it has fetched.
    pub fn provider(&self, name: &str) -> Option<Arc<dyn Provider>> {
        self.resolver.provider(name)
    }

    pub fn salt_key(&self) -> SecretBytes {
        SecretBytes::copy_of(self.salt_key.expose())
    }

    /// What has to be known of a caller before it can be judged.
    pub fn inquiry<'a>(&'a self, caller: &Caller, file: Option<&FileRef<'a>>) -> Inquiry<'a> {
        self.policy.inquiry(caller, file)
    }

    /// Whether the caller may have what it asks for.
    pub fn judge(&self, who: &Identity, access: &Access<'_>) -> Decision {
        self.policy.evaluate(who, access)
    }

    /// Renders the template for a caller who was granted its keys. All values are as of one
    /// moment per provider: whenever the template asks for more, everything is asked anew.
    pub async fn render(
        &self,
        grant: &Grant,
        template: &Template,
        reader: Option<&Reader>,
    ) -> Result<Rendering, Error> {
        self.render_of(grant, template, reader, &[]).await
    }

    /// All that these keys give, as of one moment per provider.
    pub async fn resolve(&self, grant: &Grant, keys: &[SecretKey]) -> Result<Resolved, Error> {
        Ok(self.resolver.resolve(grant, keys).await?)
    }

    /// Renders with what was resolved before, where that has an answer; the basis is that of the rest.
    pub async fn render_of(
        &self,
        grant: &Grant,
        template: &Template,
        reader: Option<&Reader>,
        held: &[&Resolved],
    ) -> Result<Rendering, Error> {
        let figures = metrics::get();
        figures.in_flight.inc();
        // A rendering that nobody waits for any more is dropped where it stands.
        let _landed = Landed(&figures.in_flight);
        let rendering = self.render_in_rounds(grant, template, reader, held).await;
        let outcome = rendering.as_ref().map_or_else(|error| error.class().name(), |_| "ok");
        figures.renderings.of([outcome]).inc();
        rendering
    }

    async fn render_in_rounds(
        &self,
        grant: &Grant,
        template: &Template,
        reader: Option<&Reader>,
        held: &[&Resolved],
    ) -> Result<Rendering, Error> {
        self.check_environment(template)?;
        let mut keys = template.eager().to_vec();
        loop {
            let resolved = shown(grant, self.resolver.resolve_but(grant, &keys, held).await?);
            match self.render_once(template, reader, &resolved)? {
                Rendered::Done(bytes) => {
                    self.tell(template.references().iter().map(|it| &it.item), &resolved);
                    weakness::tell(bytes.expose());
                    return Ok(Rendering::new(bytes, self.keys_of(template, &resolved), resolved));
                }
                // Each round adds at least one of the template's keys, so this ends.
                Rendered::Needs(more) => keys.extend(more),
            }
        }
    }

    fn tell<'a>(&self, references: impl IntoIterator<Item = &'a Reference>, resolved: &Resolved) {
        let Some(listener) = &self.listener else { return };
        for reference in references {
            let version = resolved.answers.get(&reference.key).and_then(|answer| answer.as_ref().ok());
            if let Some(value) = version.and_then(|version| version.fields.get(reference.field_name())) {
                listener(reference, value);
            }
        }
    }

    /// Whether a rendering is certainly current: costs one pulse per provider, so it may be asked
    /// at every lookup.
    pub fn is_still(&self, basis: &Basis) -> bool {
        self.resolver.is_still(basis)
    }

    /// Whether it has itself resolved what this is the basis of.
    pub fn has_resolved(&self, basis: &Basis) -> bool {
        self.resolver.has_resolved(basis)
    }

    /// Asks what [`Broker::is_still`] could not tell. `None`: it has to be rendered anew.
    pub async fn recheck(&self, basis: &Basis, asker: Asker) -> Result<Option<Basis>, Error> {
        Ok(self.resolver.recheck(basis, asker).await?)
    }

    /// The provider that a key is asked of, by its name in the config.
    pub fn provider_of(&self, key: &SecretKey) -> Option<&str> {
        self.resolver.provider_name(key)
    }

    /// Who has answered to it of several that could have, by what it rests on.
    pub fn answered_by(&self, key: &SecretKey, basis: &Basis) -> Option<String> {
        self.resolver.answered(key, basis).map(|(provider, _)| provider.to_owned())
    }

    /// Each provider with why a fetch would fail now; none if it would not.
    pub async fn health(&self) -> Vec<Health> {
        self.resolver.health().await
    }

    /// Asks the providers of these names anew for all that they hold, or all of them.
    pub async fn refresh(&self, names: &[String]) -> Result<Vec<(String, Refreshed)>, ResolveError> {
        self.resolver.refresh(names).await
    }

    /// The state of all providers: between two equal answers without `Moving` nothing changed.
    pub fn pulses(&self) -> Vec<Pulse> {
        self.resolver.pulses()
    }

    /// Which values are older than they should be, because their provider does not answer.
    pub fn staleness(&self, basis: &Basis) -> Option<String> {
        self.resolver.staleness(basis)
    }

    /// Wipes what the providers have kept for long enough. To be called each second; never waits.
    pub fn sweep(&self) {
        self.resolver.sweep();
    }

    /// Somebody will ask for secrets by their label. Never waits.
    pub fn expect_labels(&self) {
        self.resolver.expect_labels();
    }

    /// Has the providers write down what only they know. At the orderly end; may take a moment.
    pub fn flush(&self) {
        self.resolver.flush();
    }

    /// Has the providers give back what was lent to them, within two seconds. The last that they are asked.
    pub async fn give_back(&self, given: Given) {
        self.left(given).give_back().await;
    }

    /// The same for who waits in a thread of its own.
    pub fn give_back_now(&self, given: Given) {
        self.left(given).give_back_now();
    }

    /// All providers, for who has others to ask with them.
    pub fn left(&self, given: Given) -> Left {
        self.resolver.left(given)
    }

    /// We are in force in the place of this one. The providers that are not there any more.
    pub fn begin_after(&self, before: &Self) -> Left {
        self.resolver.begin();
        before.resolver.left_by(&self.resolver)
    }

    /// Has the providers make nothing at their sources from now on: for who only looks whether all is there.
    pub fn rehearse(&self) {
        self.resolver.rehearse();
    }

    /// Whether this is made by its provider when somebody asks for it.
    pub fn makes(&self, provider: &str, path: &str) -> bool {
        self.resolver.makes(provider, path)
    }

    /// To be called each second by who keeps a broker: mends what the providers' pulses miss.
    pub async fn tend(&self) {
        self.audit.tend();
        self.resolver.tend().await;
    }

    fn render_once(
        &self,
        template: &Template,
        reader: Option<&Reader>,
        resolved: &Resolved,
    ) -> Result<Rendered, Error> {
        Ok(self.with_inputs(template, reader, resolved, |inputs| template.render(inputs))?)
    }

    fn with_inputs<T>(
        &self,
        template: &Template,
        reader: Option<&Reader>,
        resolved: &Resolved,
        work: impl FnOnce(&Inputs<'_>) -> T,
    ) -> T {
        let salt = self.salt(template, resolved);
        let env = |name: &str| {
            use std::os::unix::ffi::OsStringExt;
            std::env::var_os(name).map(OsStringExt::into_vec)
        };
        let elsewhere = |key: &SecretKey| {
            let name = self.resolver.provider_name(key).filter(|name| *name != "store");
            name.map(str::to_owned)
        };
        let inputs = Inputs {
            values: &resolved.answers,
            env: &env,
            reader,
            salt: &salt,
            nearest: &|_| None,
            elsewhere: &elsewhere,
        };
        unhurried(|| leftover::wiped(|| work(&inputs)))
    }

    fn check_environment(&self, template: &Template) -> Result<(), Error> {
        let Environment::Only(allowed) = &self.environment else { return Ok(()) };
        match template.env_names().iter().find(|name| !allowed.contains(&name.item)) {
            None => Ok(()),
            Some(name) => Err(Error::Environment {
                template: template.name().to_owned(),
                line: name.line,
                column: name.column,
                name: name.item.clone(),
            }),
        }
    }

    /// A short name for a text, which tells nothing of it.
    pub fn mark(&self, text: &str) -> String {
        let mut mac = self.keyed();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn keyed(&self) -> Hmac<Sha256> {
        KeyInit::new_from_slice(self.salt_key.expose()).expect("any length is a key")
    }

    /// A salt for hashes in the output: the same as long as template and versions are the same.
    fn salt(&self, template: &Template, resolved: &Resolved) -> [u8; 32] {
        let mut versions: Vec<_> = resolved.answers.iter().collect();
        versions.sort_by_key(|(key, _)| *key);
        let mut mac = self.keyed();
        mac.update(template.name().as_bytes());
        for (key, answer) in versions {
            let version = answer.as_ref().map_or(0, |found| found.version);
            mac.update(format!("\0{key}\0{version}").as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// What the caller is shown of the values: them, or harmless ones.
fn shown(grant: &Grant, mut resolved: Resolved) -> Resolved {
    if !grant.shows_real() {
        let found = resolved.answers.values_mut().filter_map(|answer| answer.as_mut().ok());
        found.for_each(|version| *version = Arc::new(placeholder(version)));
    }
    resolved
}

/// One rendering less is under way when it goes.
struct Landed(&'static Gauge);

impl Drop for Landed {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Rendering {
    fn new(bytes: SecretBytes, keys: Arc<[SecretKey]>, resolved: Resolved) -> Self {
        let found = || resolved.answers.iter().filter_map(|(key, answer)| Some((key, answer.as_ref().ok()?)));
        let newest = found().map(|(_, version)| version.updated_at).max();
        let pairs = found().filter(|(key, version)| version.kind.is_pair() && key.version.is_none());
        let pairs = pairs.map(|(key, _)| key.clone()).collect();
        let mut versions: Vec<_> = found().map(|(key, it)| (key.clone(), it.version)).collect();
        versions.sort_unstable();
        let uses = Uses::distinct(found().filter_map(|(_, version)| version.uses.clone()));
        Self { bytes, newest, pairs, keys, versions: Versions(versions), uses, basis: resolved.basis }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(|(key, version)| format!("{key}@{version}")).collect();
        f.write_str(&texts.join(" "))
    }
}
