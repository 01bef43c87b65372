//! What is counted adds up, whatever happens to the file.

use super::*;
use crate::store::Access;
use crate::store::tests::{Fixture, get, name, put, stamp};

fn line(id: u8, count: u64, last: i64) -> Line {
    Line { id: [id; 16], count, last }
}

fn count(path: &Path, id: u8) -> u64 {
    totals(path).unwrap().get(&[id; 16]).map_or(0, |used| used.count)
}

#[test]
fn lines_add_up_and_a_torn_one_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses");
    append(&path, &[line(1, 2, 10), line(2, 1, 11)]).unwrap();
    append(&path, &[line(1, 3, 9)]).unwrap();
    assert_eq!((count(&path, 1), count(&path, 2)), (5, 1));
    assert_eq!(totals(&path).unwrap()[&[1; 16]].last.unwrap().as_millisecond(), 10);
    let whole = std::fs::read(&path).unwrap();
    for torn in 1..LINE {
        std::fs::write(&path, &whole[..whole.len() - torn]).unwrap();
        assert_eq!((count(&path, 1), count(&path, 2)), (2, 1), "{torn} bytes are gone");
        append(&path, &[line(2, 7, 12)]).unwrap();
        assert_eq!((count(&path, 1), count(&path, 2)), (2, 8), "a line after a torn one");
    }
    // What is damaged counts for nothing, and for nobody else.
    for at in 0..LINE {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        std::fs::write(&path, &damaged).unwrap();
        let all = totals(&path).unwrap();
        assert_eq!((all.len(), count(&path, 1), count(&path, 2)), (2, 3, 1), "byte {at}");
    }
}

#[test]
fn what_is_gone_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses");
    append(&path, &[line(1, 2, 10), line(2, 1, 11), line(1, 0, 0)]).unwrap();
    assert_eq!((count(&path, 1), count(&path, 2)), (0, 1));
}

#[test]
fn many_lines_become_few_and_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses");
    let lines: Vec<_> = (0..50).map(|id| line(id, 2, i64::from(id))).collect();
    let mut longest = 0;
    for _ in 0..200 {
        append(&path, &lines).unwrap();
        longest = longest.max(path.metadata().unwrap().len());
    }
    assert!(longest <= (2 * FEW + 50) * LINE as u64, "it grew to {longest} bytes");
    assert!((0..50).all(|id| count(&path, id) == 400));
    // Many that are all needed are not made short over and over.
    let many = |at: u64| -> Vec<_> {
        (0..3_000u64).map(|id| Line { id: u128::from(id).to_le_bytes(), count: 1, last: at as i64 }).collect()
    };
    append(&path, &many(1)).unwrap();
    let before = path.metadata().unwrap();
    append(&path, &many(2)[..2_000]).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(before.ino(), path.metadata().unwrap().ino(), "it was made short at once again");
}

#[test]
fn writers_lose_nothing_to_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let lines: Vec<_> = (0..20).map(|id| line(id, 1, 1)).collect();
                    while append(&path, &lines).is_err() {}
                }
            });
        }
    });
    assert!((0..20).all(|id| count(&path, id) == 400));
}

#[test]
fn a_use_is_counted_by_whoever_gives_the_value_and_shown_to_others() {
    let fixture = Fixture::new();
    put(&fixture.store, "a", b"value");
    let reader = fixture.reopen(Access::Read);
    let used = || {
        let mut info = fixture.store.describe(&Default::default(), &name("a")).unwrap().unwrap();
        fixture.store.tell_uses(std::slice::from_mut(&mut info));
        info.used.unwrap().count
    };
    let found = reader.get(&Default::default(), &[(name("a"), None)], stamp(1).now).unwrap();
    let found = found.answers.into_iter().next().unwrap().unwrap();
    reader.flush_uses().unwrap();
    assert_eq!(used(), 0, "looked up, and given to nobody");
    found.uses.as_ref().unwrap().count(stamp(7).now);
    assert_eq!(used(), 0, "not written down yet");
    reader.flush_uses().unwrap();
    reader.flush_uses().unwrap();
    assert_eq!(used(), 1);
    found.uses.as_ref().unwrap().count(stamp(8).now);
    drop(reader);
    assert_eq!(used(), 2, "the end writes down the rest");
    // Another secret of that name begins anew.
    let gone = fixture.store.describe(&Default::default(), &name("a")).unwrap().unwrap();
    let remove = fixture.store.change(&Default::default(), stamp(1), |change| change.remove(&name("a")));
    remove.unwrap();
    fixture.store.forget_uses(&[gone]);
    assert!(totals(&fixture.store.layout.uses()).unwrap().is_empty());
    put(&fixture.store, "a", b"value");
    assert_eq!(used(), 0);
    assert!(get(&fixture.store, "a", None).is_ok());
}
