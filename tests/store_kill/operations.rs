//! What is done to a store while it dies: one line is one operation. Also the store that it is done to.

use super::common::{TestStore, stdout_of};
use super::state::State;

/// A command of `secretfs`. `DIR` in its arguments is the folder that holds the store and its key,
/// `OTHER` the backend that the store does not have.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) args: &'static [&'static str],
    pub(crate) stdin: &'static str,
    /// Which states it may stop in beside the one before (the first) and the one after.
    pub(crate) may_stop_in: fn(&State, &State) -> bool,
}

pub(crate) const OPERATIONS: &[Operation] = &[
    does("set", &["set", "--from-json"]).with(r#"{"db/1": "new", "db/2": "new", "fresh": "new"}"#),
    does("set in a new namespace", &["--namespace", "fresh", "set", "a"]).with("new"),
    does("import", &["import", "-", "--format", "json", "--new-version"])
        .with(r#"{"db": {"1": "new", "2": "new"}, "fresh": {"a": "new", "b": "new"}}"#),
    does("rotate", &["rotate", "db/1"]).with("new"),
    does("rollback", &["rollback", "db/1", "--to", "1"]),
    does("edit", &["edit", "db/1", "--tag", "new", "--expires", "2099-01-01"]),
    does("disable", &["disable", "db/1"]),
    does("rm", &["rm", "--yes", "db/1", "db/2", "db/3"]),
    does("destroy", &["destroy", "db/1", "--version", "1", "--yes"]),
    does("prune", &["prune", "--keep", "1", "--yes"]),
    does("namespace create", &["namespace", "create", "fresh"]),
    does("namespace rm", &["namespace", "rm", "team", "--yes"]),
    does("key rotate", &["key", "rotate", "--all"]).may_stop_in(State::is_between_keys),
    does("key rotate --master", &["key", "rotate", "--master", "--to", "DIR/new.key"]),
    does("store migrate", &["store", "migrate", "--to", "OTHER"]).may_stop_in(State::is_to_be_put_aside),
    does("store repair", &["store", "repair", "--to", "DIR/copy"]),
    does("backup", &["backup", "DIR/store.backup"]),
];

const fn does(name: &'static str, args: &'static [&'static str]) -> Operation {
    Operation { name, args, stdin: "", may_stop_in: |_, _| false }
}

impl Operation {
    const fn with(self, stdin: &'static str) -> Self {
        Self { stdin, ..self }
    }

    const fn may_stop_in(self, may_stop_in: fn(&State, &State) -> bool) -> Self {
        Self { may_stop_in, ..self }
    }

    pub(crate) fn args(&self, store: &TestStore, backend: &str) -> Vec<String> {
        let folder = store.folder().display().to_string();
        let other = if backend == "sqlite" { "file" } else { "sqlite" };
        self.args.iter().map(|arg| arg.replace("DIR", &folder).replace("OTHER", other)).collect()
    }
}

/// Two namespaces, some secrets with several versions, and so many that a rotation of keys takes more
/// than one transaction.
pub(crate) fn filled(backend: &str) -> TestStore {
    let store = TestStore::on(backend);
    for version in ["one", "two", "three"] {
        let names = (1..=4).map(|n| format!(r#""db/{n}": "{version}""#));
        set(&store, "default", names);
        set(&store, "team", names_of_team(version));
    }
    set(&store, "default", (0..210).map(|n| format!(r#""many/{n}": "{n}""#)));
    store
}

fn names_of_team(version: &str) -> impl Iterator<Item = String> {
    (1..=2).map(move |n| format!(r#""api/{n}": "{version}""#))
}

fn set(store: &TestStore, namespace: &str, pairs: impl Iterator<Item = String>) {
    let object = format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "));
    stdout_of(&store.run_with(&["--namespace", namespace, "set", "--from-json"], object));
}
