//! The same for the file backend: its document, entry by entry and byte by byte, in the hands of
//! whoever can write to it.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::tamper::{filled_on, read_all};
use super::*;

/// A store in one file, with secrets in two namespaces.
struct Victim {
    fixture: Fixture,
    path: PathBuf,
    whole: Value,
}

impl Victim {
    fn new() -> Self {
        let fixture = filled_on(BackendKind::File);
        let other = Namespace::parse("other").unwrap();
        for (secret, value) in [("a", b"theirs"), ("e", b"theirs")] {
            let new = NewVersion::of_value(SecretBytes::copy_of(value));
            let put = |change: &mut Change<'_>| change.put(&name(secret), new, &Edit::default());
            fixture.store.change(&other, stamp(1), put).unwrap();
        }
        let path = fixture.store.dir().join("store.json");
        let whole = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        Self { fixture, path, whole }
    }

    /// Lays this in the place of the document: another file, as after any commit.
    fn lay(&self, text: &[u8]) {
        let new = self.path.with_extension("attack");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::rename(new, &self.path).unwrap();
    }

    /// What becomes of a changed document: refused as damaged, by a read or by the look at all.
    #[track_caller]
    fn assert_found(&self, document: &Value, what: &str) {
        self.lay(&serde_json::to_vec(document).unwrap());
        let store = &self.fixture.store;
        let found = read_all(store).and_then(|()| verify(store).map_err(|error| vec![error]));
        let Err(refusals) = found else { panic!("{what} was not found") };
        let are_refusals = refusals.iter().all(|error| match error {
            StoreError::Corrupt(_) => true,
            StoreError::Newer { .. } => what.starts_with("/format"),
            _ => false,
        });
        assert!(are_refusals, "{what}: {refusals:?}");
    }

    fn put_back(&self) {
        self.lay(&serde_json::to_vec(&self.whole).unwrap());
        assert_eq!(read_all(&self.fixture.store), Ok(()));
        verify(&self.fixture.store).unwrap();
    }

    /// The pointers to all entries, in order.
    fn places(&self) -> Vec<String> {
        let mut places = Vec::new();
        walk(&self.whole, String::new(), &mut places);
        places
    }
}

fn walk(value: &Value, place: String, places: &mut Vec<String>) {
    if let Value::Object(entries) = value {
        for (key, entry) in entries {
            walk(entry, format!("{place}/{}", key.replace('/', "~1")), places);
        }
    }
    if !place.is_empty() {
        places.push(place);
    }
}

/// Each value with one bit of each byte flipped, all of them with `SECRETFS_TEST_LONG`.
fn flipped(value: &Value) -> Vec<Value> {
    let bits = |count: usize| match std::env::var_os("SECRETFS_TEST_LONG") {
        Some(_) => (0..count).collect::<Vec<_>>(),
        // The long nodes of the index, each bit of which is tried elsewhere.
        None if count > 8_192 => (0..count / 64).map(|part| part * 64 + part % 64).collect(),
        None => (0..count / 8).map(|byte| byte * 8 + byte % 8).collect(),
    };
    match value {
        Value::Number(number) => (0..64).map(|bit| (number.as_u64().unwrap() ^ (1 << bit)).into()).collect(),
        Value::String(text) => {
            let bytes = BASE64_STANDARD.decode(text).unwrap();
            let flip = |bit: usize| {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                BASE64_STANDARD.encode(bytes).into()
            };
            bits(bytes.len() * 8).into_iter().map(flip).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn every_flipped_byte_of_every_entry_is_found() {
    let victim = Victim::new();
    let mut tried = 0;
    for place in victim.places() {
        for value in flipped(victim.whole.pointer(&place).unwrap()) {
            let mut document = victim.whole.clone();
            *document.pointer_mut(&place).unwrap() = value;
            victim.assert_found(&document, &place);
            tried += 1;
        }
    }
    println!("{tried} flips");
    assert!(tried > 3_000, "{tried}");
    victim.put_back();
}

/// Taken away, given another name, or given another's content of the same kind.
#[test]
fn every_entry_that_is_removed_renamed_or_swapped_is_found() {
    let victim = Victim::new();
    let places = victim.places();
    let (mut removed, mut swapped) = (0, 0);
    for place in &places {
        let (parent, key) = place.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/");
        let entries = |document: &mut Value| match document.pointer_mut(parent).unwrap() {
            Value::Object(entries) => std::mem::take(entries),
            other => panic!("{other}"),
        };
        let mut document = victim.whole.clone();
        let mut left = entries(&mut document);
        let entry = left.remove(&key).unwrap();
        *document.pointer_mut(parent).unwrap() = left.clone().into();
        victim.assert_found(&document, place);
        for new in other_names(&key) {
            let mut renamed = left.clone();
            renamed.insert(new, entry.clone());
            *document.pointer_mut(parent).unwrap() = renamed.into();
            victim.assert_found(&document, place);
        }
        removed += 1;
    }
    for (first, second) in pairs(&places) {
        let of = |place: &String| victim.whole.pointer(place).unwrap().clone();
        let (one, two) = (of(first), of(second));
        let is_inside = second.starts_with(&format!("{first}/")) || first.starts_with(&format!("{second}/"));
        if is_inside || one == two || kind(first) != kind(second) {
            continue;
        }
        let mut document = victim.whole.clone();
        *document.pointer_mut(first).unwrap() = two;
        *document.pointer_mut(second).unwrap() = one;
        victim.assert_found(&document, &format!("{first} for {second}"));
        swapped += 1;
    }
    println!("{removed} removed, {swapped} swapped");
    assert!(removed > 60 && swapped > 80, "{removed} removed, {swapped} swapped");
    victim.put_back();
}

/// Names that an attacker would give: of the same form, a MAC, an id or a number.
fn other_names(key: &str) -> Vec<String> {
    match (BASE64_STANDARD.decode(key), key.parse::<u64>()) {
        (_, Ok(number)) => vec![(number ^ 1).to_string(), (number + 64).to_string()],
        (Ok(bytes), _) if bytes.len() >= 16 => {
            let names = flipped(&Value::String(key.to_owned()));
            names.iter().step_by(5).map(|name| name.as_str().unwrap().to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

/// What an entry is: its place without the names that are MACs, ids and numbers.
fn kind(place: &str) -> String {
    let is_word = |part: &&str| part.len() < 20 && part.parse::<u64>().is_err();
    let parts = place.split('/').filter(is_word);
    format!("{}{}", parts.collect::<Vec<_>>().join("/"), place.matches('/').count())
}

fn pairs<T>(items: &[T]) -> impl Iterator<Item = (&T, &T)> {
    items.iter().enumerate().flat_map(|(at, first)| items[at + 1..].iter().map(move |second| (first, second)))
}

/// The text itself: one byte in seven, and cuts everywhere.
#[test]
fn a_damaged_text_is_refused_or_harmless() {
    let victim = Victim::new();
    let whole = std::fs::read(&victim.path).unwrap();
    let (mut refused, mut harmless) = (0, 0);
    let mut attempt = |text: &[u8]| {
        victim.lay(text);
        let opened = Store::open(victim.fixture.store.dir(), Access::Read, &victim.fixture.sources());
        match opened.map(|store| read_all(&store)) {
            Ok(Ok(())) => harmless += 1,
            Ok(Err(_)) | Err(_) => refused += 1,
        }
    };
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 7);
        attempt(&damaged);
    }
    for length in (0..whole.len() - 2).step_by(101) {
        attempt(&whole[..length]);
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > 100 && harmless > 100);
    victim.put_back();
}
