//! A store that this process writes itself: faster than by a command for each change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use secretfs::secret::{FieldName, Namespace, SecretBytes, SecretName, SecretType};
use secretfs::store::{Access, Edit, EnvKey, KeySources, NewVersion, Stamp, Store, StoreError};

use super::TestStore;

pub struct Writer(Store);

/// A secret as it is to be: its name, its type, its fields.
pub type Secret<'a> = (&'a str, SecretType, &'a [(&'a str, &'a str)]);

impl Writer {
    pub fn of(store: &TestStore) -> Self {
        let sources = KeySources::of_process(Some(store.key_file()), EnvKey::default());
        Self(Store::open(&store.path(), Access::Write, &sources).expect("it is there"))
    }

    /// Adds a version to each, in one transaction.
    pub fn put(&self, secrets: &[Secret<'_>]) {
        let stamp = Stamp { now: jiff::Timestamp::now(), by: "test".into() };
        let put = self.0.change(&Namespace::default(), stamp, |change| {
            for (name, kind, fields) in secrets {
                let field = |(name, value): &(&str, &str)| {
                    (FieldName::parse(name).expect("a name"), SecretBytes::copy_of(value.as_bytes()))
                };
                let version = NewVersion { fields: fields.iter().map(field).collect(), expires_at: None };
                let edit = Edit { kind: Some(*kind), ..Edit::default() };
                change.put(&SecretName::parse(name).expect("a name"), version, &edit)?;
            }
            Ok::<_, StoreError>(())
        });
        put.expect("the store can be written");
    }

    /// Does the work while `write` is called with one number after the other, as fast as it goes.
    /// Answers with how often, too.
    pub fn while_writing<T>(write: impl Fn(u64) + Send, work: impl FnOnce() -> T) -> (T, u64) {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let is_over = &is_over;
            let writer = scope.spawn(move || {
                let numbers = (2..).take_while(|_| !is_over.load(Ordering::Relaxed));
                numbers.inspect(|number| write(*number)).count() as u64
            });
            let over = Over(is_over);
            let done = work();
            drop(over);
            (done, writer.join().expect("the writer does not panic"))
        })
    }
}

/// Ends the writer, also when the work panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
