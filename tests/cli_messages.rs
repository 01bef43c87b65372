//! What the program says, area by area: `tests/messages/*.txt` are its words, to be read as a
//! newcomer reads them.

mod common;

use common::transcript::check;

macro_rules! transcripts {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            check(concat!("tests/messages/", stringify!($name), ".txt"));
        }
    )*};
}
transcripts!(
    usage, store, types, versions, namespaces, rotation, damage, migrate, json, json_input, config, keys,
    templates, exec, mount, import, trial, backup, manifest, policy, audit
);

/// A transcript that nobody runs would say anything.
#[test]
fn every_transcript_is_run() {
    let source = include_str!("cli_messages.rs");
    let list = source.split_once("\ntranscripts!(").unwrap().1.split_once(");").unwrap().0;
    let known: Vec<_> = list.split(',').map(str::trim).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages");
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(known.contains(&name.as_str()), "{name}");
    }
}
