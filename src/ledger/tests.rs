//! What a process that dies leaves is whole, and what is not whole is not there.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::mem::forget;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;

thread_local! {
    /// How many stores this thread has left to live.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Counts one store. The stores of a dead process do not happen.
pub(super) fn is_dead() -> bool {
    LEFT.with(|left| match left.get() {
        0 => true,
        usize::MAX => false,
        some => {
            left.set(some - 1);
            false
        }
    })
}

fn live(stores: usize) {
    LEFT.with(|left| left.set(stores));
}

fn next(ledger: &Ledger) -> Ledger {
    Ledger::adopt(ledger.descriptor().unwrap().try_clone_to_owned().unwrap()).unwrap()
}

/// The bytes of all words, as somebody sees them who reads the memory.
fn memory(ledger: &Ledger) -> Vec<u8> {
    let words = ledger.0.blocks.as_ref().unwrap().region().words();
    words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect()
}

fn shows(ledger: &Ledger, text: &[u8]) -> bool {
    memory(ledger).windows(text.len()).any(|window| window == text)
}

#[test]
fn records_are_found_as_they_were_kept() {
    let ledger = Ledger::create().unwrap();
    let long = vec![b'x'; 100_001];
    let contents: [(&[u64], &[u8]); 5] =
        [(&[], b""), (&[1, 2], b"abc"), (&[3], &long), (&[4; 40], b"12345678"), (&[], b"1")];
    for (id, (words, bytes)) in contents.iter().enumerate() {
        forget(ledger.keep(Kind::Node, id as u64, words, bytes).unwrap());
    }
    ledger.keep(Kind::Handle, 7, &[1, 2, 3], b"").map(|record| record.set(1, 20)).unwrap();
    let handle = ledger.keep(Kind::Handle, 8, &[1, 2, 3], b"").unwrap();
    handle.set(1, 20);
    let next = next(&ledger);
    assert_eq!(next.key(), ledger.key());
    let found: BTreeMap<u64, Kept> = next.take(Kind::Node).into_iter().map(|kept| (kept.id, kept)).collect();
    assert_eq!(found.len(), contents.len());
    for (id, (words, bytes)) in contents.iter().enumerate() {
        let kept = &found[&(id as u64)];
        assert_eq!((&kept.words[..], &kept.bytes[..]), (*words, *bytes));
    }
    let handles = next.take(Kind::Handle);
    assert_eq!(handles.len(), 1, "what was let go is not there");
    assert_eq!((handles[0].id, &handles[0].words[..]), (8, &[1, 20, 3][..]));
    assert!(next.take(Kind::Handle).is_empty(), "once");
    forget(handle);
}

#[test]
fn nothing_of_a_record_stays_when_it_is_let_go() {
    let ledger = Ledger::create().unwrap();
    let record = ledger.keep(Kind::Snapshot, 1, &[], &b"canary-canary".repeat(1_000)).unwrap();
    assert!(shows(&ledger, b"canary"));
    drop(record);
    assert!(!shows(&ledger, b"canary"));
}

#[test]
fn what_was_never_finished_is_wiped_by_the_next() {
    let ledger = Ledger::create().unwrap();
    live(100);
    forget(ledger.keep(Kind::Snapshot, 1, &[], &b"canary-canary".repeat(1_000)));
    live(usize::MAX);
    assert!(shows(&ledger, b"canary"), "the test has made what it is about");
    let mut next = next(&ledger);
    assert!(next.take(Kind::Snapshot).is_empty());
    assert!(!shows(&next, b"canary"));
    // And of one that the next does not want.
    forget(next.keep(Kind::Snapshot, 1, &[], b"canary"));
    for _ in 0..2 {
        next = self::next(&next);
        drop(next.take(Kind::Snapshot));
        assert!(!shows(&next, b"canary"));
    }
}

#[test]
fn memory_is_flat_and_comes_back() {
    let ledger = Ledger::create().unwrap();
    let first = ledger.bytes();
    for id in 0..20_000 {
        drop(ledger.keep(Kind::Handle, id, &[1, 2, 3, 4], &[7; 500]));
    }
    assert_eq!(ledger.bytes(), first, "one at a time needs room for one");
    let large: Vec<_> =
        (0..4).map(|id| ledger.keep(Kind::Snapshot, id, &[], &[7; 1 << 20]).unwrap()).collect();
    assert!(ledger.bytes() > 4 << 20);
    drop(large);
    ledger.trim();
    assert_eq!(ledger.bytes(), 2 * first, "one piece stays for who comes next");
    let again = ledger.keep(Kind::Snapshot, 9, &[], &[7; 1 << 20]).unwrap();
    assert_eq!(next(&ledger).take(Kind::Snapshot)[0].bytes[..], [7; 1 << 20]);
    forget(again);
}

#[test]
fn numbers_are_never_handed_out_twice() {
    let mut ledger = Ledger::create().unwrap();
    let mut last = 0;
    for _ in 0..5 {
        for _ in 0..CLAIM + 10 {
            let number = ledger.number();
            assert!(number > last);
            last = number;
        }
        ledger = next(&ledger);
    }
}

#[test]
fn without_a_place_nothing_is_kept() {
    let ledger = Ledger::none();
    assert!(ledger.keep(Kind::Node, 1, &[], b"").is_none());
    assert!(!ledger.keeps() && ledger.descriptor().is_none() && ledger.bytes() == 0);
    assert!(ledger.number() < ledger.number());
}

#[test]
fn what_is_none_of_ours_is_refused() {
    let ledger = Ledger::create().unwrap();
    ledger.0.blocks.as_ref().unwrap().region().words()[head::MAGIC].store(MAGIC + 1, Ordering::Relaxed);
    let adopted = Ledger::adopt(ledger.descriptor().unwrap().try_clone_to_owned().unwrap());
    assert!(adopted.is_err());
}

/// One thing that a process does.
#[derive(Clone, Debug)]
enum Deed {
    Keep(usize),
    LetGo(usize),
    Set(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let length = prop_oneof![4 => 0..300usize, 1 => 300..5_000usize];
    let deed = prop_oneof![
        3 => length.prop_map(Deed::Keep),
        2 => any::<usize>().prop_map(Deed::LetGo),
        1 => any::<usize>().prop_map(Deed::Set),
    ];
    prop::collection::vec(deed, 1..30)
}

/// Bytes that tell whose they are.
fn content(id: u64, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u64 * 31 + id * 7) as u8).collect()
}

/// What should be there: the length, and the word that is set.
type Model = BTreeMap<u64, (usize, u64)>;

/// Does it all. Answers with what was there before the deed that the process died in, and after.
fn act(ledger: &Ledger, deeds: &[Deed]) -> (Model, Model) {
    let mut records: BTreeMap<u64, Record> = BTreeMap::new();
    let (mut before, mut model) = (Model::new(), Model::new());
    for (id, deed) in (1..).zip(deeds) {
        before.clone_from(&model);
        let pick = |number: usize| model.keys().copied().nth(number % model.len().max(1));
        match *deed {
            Deed::Keep(length) => {
                let words = [id, length as u64, 0];
                records.insert(id, ledger.keep(Kind::Node, id, &words, &content(id, length)).unwrap());
                model.insert(id, (length, 0));
            }
            Deed::LetGo(number) => {
                if let Some(id) = pick(number) {
                    model.remove(&id);
                    records.remove(&id);
                }
            }
            Deed::Set(number) => {
                if let Some(other) = pick(number) {
                    records[&other].set(2, id);
                    model.get_mut(&other).unwrap().1 = id;
                }
            }
        }
        if LEFT.get() == 0 {
            break;
        }
        before.clone_from(&model);
    }
    records.into_values().for_each(forget);
    (before, model)
}

/// What the next process finds; each record must be whole.
fn found(ledger: &Ledger) -> Model {
    let whole = |kept: Kept| {
        let [id, length, set] = kept.words[..] else { panic!("{:?}", kept.words) };
        assert_eq!(id, kept.id);
        assert_eq!(kept.bytes[..], content(id, length as usize)[..], "a record that is not whole");
        (id, (length as usize, set))
    };
    next(ledger).take(Kind::Node).into_iter().map(whole).collect()
}

proptest! {
    #[test]
    fn a_process_may_die_after_any_store(deeds in deeds(), stores in 0..3_000usize) {
        let ledger = Ledger::create().unwrap();
        live(stores);
        let (before, after) = act(&ledger, &deeds);
        live(usize::MAX);
        let found = found(&ledger);
        prop_assert!(found == before || found == after, "{found:?}, and neither {before:?} nor {after:?}");
    }

    /// Whatever is in the memory: no panic, and no block in two records.
    #[test]
    fn wild_memory_harms_nobody(
        deeds in deeds(),
        wild in prop::collection::vec((32..32 * 200usize, prop_oneof![any::<u64>(), 0..300u64, Just(0x5ef5_0201_0000_0000)]), 1..60),
    ) {
        let ledger = Ledger::create().unwrap();
        act(&ledger, &deeds);
        for (at, word) in wild {
            // Heads and links of blocks are hit more often than by chance.
            let at = if at % 3 == 0 { at / 32 * 32 + at % 4 } else { at };
            ledger.0.blocks.as_ref().unwrap().region().words()[at].store(word, Ordering::Relaxed);
        }
        let next = next(&ledger);
        let left: Vec<Kept> = next.0.left.lock().unwrap().values_mut().flat_map(std::mem::take).collect();
        let mut blocks: Vec<u32> = left.iter().flat_map(|kept| kept.record.blocks.iter().copied()).collect();
        let count = blocks.len();
        blocks.sort_unstable();
        blocks.dedup();
        prop_assert_eq!(blocks.len(), count);
        drop(left);
        prop_assert!(memory(&next)[32 * 8..].iter().all(|&byte| byte == 0), "all is wiped when all is let go");
    }
}
