//! From one backend to the other, under readers that have the old one open.

use super::*;

fn moves() -> [(BackendKind, BackendKind); 2] {
    [(BackendKind::Sqlite, BackendKind::File), (BackendKind::File, BackendKind::Sqlite)]
}

#[test]
fn a_reader_goes_on_with_the_new_rows() {
    for (from, to) in moves() {
        let fixture = Fixture::on(from);
        put(&fixture.store, "a", b"one");
        let reader = fixture.reopen(Access::Read);
        assert_eq!(get(&reader, "a", None), Ok(b"one".to_vec()));
        assert_eq!(fixture.store.migrate(to).unwrap().moved.unwrap().secrets, 1);
        assert_eq!((get(&reader, "a", None), reader.backend()), (Ok(b"one".to_vec()), to));
        put(&fixture.store, "a", b"two");
        assert_eq!(get(&reader, "a", None), Ok(b"two".to_vec()));
        verify(&reader).unwrap();
        assert!(matches!(fixture.store.migrate(from).map(drop), Ok(())));
        assert!(matches!(reader.migrate(to).map(drop), Err(StoreError::ReadOnly)));
    }
}

/// Killed after `FORMAT` and before the sequence, it leaves readers whose sequence is the one that
/// writers go on with: they are told of a commit that their rows do not have.
#[test]
fn a_switch_that_was_cut_short_misleads_no_reader() {
    for (from, to) in moves() {
        let fixture = Fixture::on(from);
        put(&fixture.store, "a", b"one");
        let reader = fixture.reopen(Access::Read);
        assert_eq!(get(&reader, "a", None), Ok(b"one".to_vec()));
        let sequence = fixture.store.dir().join("sequence");
        let kept = fixture.folder.path().join("kept");
        std::fs::hard_link(&sequence, &kept).unwrap();
        fixture.store.migrate(to).unwrap();
        std::fs::rename(&kept, &sequence).unwrap();
        put(&fixture.reopen(Access::Write), "a", b"two");
        assert_eq!(get(&reader, "a", None), Ok(b"two".to_vec()));
    }
}

/// Between a look at `FORMAT` and one at the rows that it names, they can be put aside.
#[test]
fn what_opens_it_during_a_switch_opens_it_anew() {
    let fixture = Fixture::new();
    let tries = std::cell::Cell::new(0);
    let opened = layout::steadily(fixture.store.dir(), || {
        tries.set(tries.get() + 1);
        let layout = Layout::open(fixture.store.dir())?;
        if tries.get() == 1 {
            fixture.store.migrate(BackendKind::File)?;
        }
        layout.backend().open(&layout.rows(), Access::Write).map(drop)
    });
    assert!(opened.is_ok() && tries.get() == 2, "{} tries", tries.get());
    // What is broken is not tried for ever.
    let broken = layout::steadily(fixture.store.dir(), || Err::<(), _>(StoreError::corrupt("broken")));
    assert!(broken.is_err());
}
