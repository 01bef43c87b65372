//! Backups: what comes back is what was there, on either backend; what is damaged never does.

use std::fs;
use std::path::PathBuf;

use super::*;

const BACKENDS: [BackendKind; 2] = BackendKind::ALL;

/// A store with two namespaces and versions of all kinds, and its backup.
fn backed_up(backend: BackendKind) -> (Fixture, PathBuf) {
    let fixture = Fixture::on(backend);
    for (namespace, count) in [("default", 5), ("other", 2)] {
        fill(&fixture.store, &Namespace::parse(namespace).unwrap(), count).unwrap();
    }
    let file = fixture.folder.path().join("backup");
    fixture.store.back_up(&file, &mut |_| {}).unwrap();
    (fixture, file)
}

fn fill(store: &Store, namespace: &Namespace, count: usize) -> Result<SecretInfo, StoreError> {
    store.change(namespace, stamp(1), |change| {
        for number in 0..count {
            for text in ["one", "two"] {
                let value = SecretBytes::copy_of(format!("{namespace} {number} {text}").as_bytes());
                change.put(&name(&format!("s{number}")), NewVersion::of_value(value), &Edit::default())?;
            }
        }
        change.activate(&name("s0"), 1)?;
        change.destroy(&name("s1"), 1)?;
        change.disable(&name("s1"), true)
    })
}

/// All that can be asked for.
fn content(store: &Store) -> String {
    let mut text = format!("{}", store.id().unwrap());
    for namespace in store.namespaces().unwrap() {
        for info in store.list(&namespace).unwrap() {
            let name = name(&info.name);
            let versions = store.versions(&namespace, &name).unwrap();
            text += &format!("\n{namespace} {info:?} {versions:?}");
            for version in [None, Some(1), Some(2)] {
                let wanted = [(name.clone(), version)];
                let answer = store.get(&namespace, &wanted, stamp(9).now).unwrap().answers.remove(0);
                let value = answer.map(|it| it.fields["value"].expose().to_vec());
                text += &format!(" {:?}", value.map_err(|absent| absent.to_string()));
            }
        }
    }
    text
}

#[test]
fn what_comes_back_is_what_was_there_on_either_backend() {
    for (from, to) in BACKENDS.into_iter().flat_map(|from| BACKENDS.map(|to| (from, to))) {
        let (fixture, file) = backed_up(from);
        let dir = fixture.folder.path().join("restored");
        let restored = Store::restore(&file, &dir, Some(to), &fixture.sources()).unwrap();
        assert_eq!((restored.backend, restored.found.secrets, restored.found.versions), (to, 7, 12));
        let again = Store::open(&dir, Access::Write, &fixture.sources()).unwrap();
        assert_eq!(content(&again), content(&fixture.store), "{from:?} {to:?}");
        verify(&again).unwrap();
        // It is a store like any other: the next change goes on.
        assert_eq!(put(&again, "s2", b"next"), 3);
        verify(&again).unwrap();
        let twice = Store::restore(&file, &dir, Some(to), &fixture.sources());
        assert!(matches!(twice, Err(StoreError::Exists(_))), "never over a store");
    }
}

#[test]
fn a_backup_takes_no_files_place() {
    let (fixture, file) = backed_up(BackendKind::Sqlite);
    let before = fs::read(&file).unwrap();
    let refused = fixture.store.back_up(&file, &mut |_| {});
    assert!(matches!(refused, Err(StoreError::FileExists(_))));
    assert_eq!(fs::read(&file).unwrap(), before);
    let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

/// Bytes changed and lengths cut: nothing is restored, and nothing is left behind. The control: the
/// same file as it was. That each single bit is noticed is shown beside the format.
#[test]
fn every_damage_is_found() {
    let (fixture, file) = backed_up(BackendKind::File);
    let whole = fs::read(&file).unwrap();
    let sources = fixture.sources();
    let dir = fixture.folder.path().join("restored");
    let outcome = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let outcome = Store::restore(&file, &dir, None, &sources).map(drop);
        let left = dir.read_dir().map_or(0, Iterator::count);
        assert_eq!(left == 0, outcome.is_err());
        let _ = fs::remove_dir_all(&dir);
        outcome
    };
    outcome(&whole).expect("the control");
    let step = whole.len() / 40;
    for at in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(outcome(&damaged).is_err(), "byte {at} of {}", whole.len());
    }
    for length in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
        assert!(outcome(&whole[..length]).is_err(), "cut to {length}");
    }
    assert!(outcome(&[&whole[..], b"x"].concat()).is_err(), "something follows");
    outcome(&whole).expect("the control");
}

/// Frames of one backup of the store in another one of it.
#[test]
fn two_backups_cannot_be_mixed() {
    let (fixture, file) = backed_up(BackendKind::File);
    put(&fixture.store, "s2", b"default 2 new");
    let later = fixture.folder.path().join("later");
    fixture.store.back_up(&later, &mut |_| {}).unwrap();
    let (old, new) = (fs::read(&file).unwrap(), fs::read(&later).unwrap());
    // The head, with the root, ends where both have their first namespace.
    let head = old.len().min(new.len()).min(18 + 5 + 113);
    let mixed = [&new[..head], &old[head..]].concat();
    fs::write(&file, mixed).unwrap();
    let dir = fixture.folder.path().join("restored");
    let outcome = Store::restore(&file, &dir, None, &fixture.sources());
    assert!(matches!(outcome, Err(StoreError::Backup { .. })));
}

#[test]
fn another_key_opens_nothing() {
    let (fixture, file) = backed_up(BackendKind::Sqlite);
    let other = fixture.folder.path().join("other");
    MasterKey::generate().unwrap().write(&other).unwrap();
    let sources = KeySources { file: Some(other), ..KeySources::default() };
    let dir = fixture.folder.path().join("restored");
    assert!(matches!(Store::restore(&file, &dir, None, &sources), Err(StoreError::Sealed(_))));
    assert!(!dir.exists(), "nothing is left of it");
}

#[test]
fn a_damaged_store_is_not_backed_up() {
    let (fixture, _) = backed_up(BackendKind::File);
    let folder = fixture.folder.path();
    let rows = folder.join("store/store.json");
    let text = fs::read_to_string(&rows).unwrap();
    // One character of the last record.
    let at = text.rfind("AQ").or(text.rfind('A')).unwrap() + 60;
    let mut bytes = text.into_bytes();
    bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
    fs::write(&rows, bytes).unwrap();
    let file = folder.join("second");
    assert!(fixture.store.back_up(&file, &mut |_| {}).is_err());
    assert!(!file.exists() && !folder.join("second.new").exists());
}
