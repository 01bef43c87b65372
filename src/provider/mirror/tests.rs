//! Copies in a real store, as of any time.

use jiff::SignedDuration;

use tempfile::TempDir;

use super::*;
use crate::store::{BackendKind, MasterKey, StoreId, spoil_a_header};

fn of_time(at: Timestamp) -> Kept {
    let version = SecretVersion {
        turned_out: None,
        kind: SecretType::Plain,
        fields: BTreeMap::new(),
        version: 1,
        created_at: at,
        updated_at: at,
        expires_at: Some(at + SignedDuration::from_hours(2)),
        uses: None,
    };
    Kept { version: Arc::new(version), at }
}

#[test]
fn a_copy_of_a_time_to_come_is_none_but_clocks_may_differ_a_little() {
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    assert!(of_time(now + hour).is_of_the_future());
    let little = of_time(now + SignedDuration::from_secs(60));
    assert!(!little.is_of_the_future() && little.age() == Duration::ZERO, "the control");
    let old = of_time(now - hour);
    assert!(!old.is_of_the_future() && old.age() >= Duration::from_secs(3600), "the control");
}

#[test]
fn what_has_ended_is_known() {
    let now = Timestamp::now();
    assert!(!of_time(now).has_ended(), "the control");
    assert!(of_time(now - SignedDuration::from_hours(3)).has_ended());
}

#[test]
fn what_the_store_cannot_hold_is_not_kept() {
    let fresh = |fields: usize, length: usize| {
        let name = |number| FieldName::parse(&format!("f{number}")).unwrap();
        let fields = (0..fields).map(|number| (name(number), SecretBytes::new(vec![b'a'; length])));
        let of_time = Arc::into_inner(of_time(Timestamp::now()).version).unwrap();
        let version = Arc::new(SecretVersion { fields: fields.collect(), ..of_time });
        Fresh { key: SecretKey::named("a"), version: Some(version), at: Timestamp::now() }
    };
    for (fields, length, fits) in
        [(1, VALUE_LIMIT, true), (1, VALUE_LIMIT + 1, false), (FIELD_LIMIT, 1, false)]
    {
        assert_eq!(worth_keeping(&fresh(fields, length)).is_some(), fits, "{fields} {length}");
    }
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

fn in_store() -> (TempDir, Mirror) {
    let folder = tempfile::tempdir().unwrap();
    let (key, id) = (MasterKey::generate().unwrap(), StoreId::generate().unwrap());
    let store = Store::create(&folder.path().join("store"), BackendKind::Sqlite, id, &key, None).unwrap();
    let mirror = Mirror::new(Arc::new(store), "p", "place", WEEK).unwrap();
    (folder, mirror)
}

fn fresh(path: &str, value: Option<&str>, at: Timestamp) -> Fresh {
    let version = value.map(|value| {
        let fields = BTreeMap::from([(FieldName::value(), SecretBytes::copy_of(value.as_bytes()))]);
        let version = Arc::into_inner(of_time(Timestamp::UNIX_EPOCH).version).unwrap();
        Arc::new(SecretVersion { fields, expires_at: None, ..version })
    });
    Fresh { key: SecretKey::named(path), version, at }
}

fn found(mirror: &Mirror, path: &str) -> Option<String> {
    let kept = mirror.find(&SecretKey::named(path)).ok()??;
    Some(String::from_utf8(kept.version.fields["value"].expose().to_vec()).unwrap())
}

#[test]
fn an_older_answer_does_not_take_the_place_of_a_newer_copy() {
    let (_folder, mirror) = in_store();
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    assert_eq!(mirror.put(&[fresh("a", Some("new"), now)]).written, 1);
    assert_eq!(mirror.put(&[fresh("a", Some("old"), now - hour)]).written, 0);
    assert_eq!(found(&mirror, "a").as_deref(), Some("new"));
    let later = now + SignedDuration::from_secs(1);
    assert_eq!(mirror.put(&[fresh("a", Some("newer"), later)]).written, 1, "the control");
    assert_eq!(found(&mirror, "a").as_deref(), Some("newer"));
    // Whatever a clock says: what was denied must not be served.
    assert_eq!(mirror.put(&[fresh("a", None, now - hour)]).written, 1);
    assert_eq!(found(&mirror, "a"), None);
}

#[test]
fn a_sweep_leaves_what_others_may_still_serve() {
    let (_folder, mirror) = in_store();
    let brief = Mirror { oldest: Duration::from_millis(1), ..copy(&mirror) };
    mirror.put(&[fresh("a", Some("of a week"), Timestamp::now())]);
    brief.put(&[fresh("b", Some("of a moment"), Timestamp::now())]);
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(brief.sweep().unwrap(), 1, "its own");
    assert_eq!((found(&mirror, "a").as_deref(), found(&mirror, "b")), (Some("of a week"), None));
}

/// And stands in the way of no other.
#[test]
fn a_copy_of_a_time_to_come_is_not_found() {
    let (_folder, mirror) = in_store();
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    let both = [fresh("a", Some("ahead"), now + hour), fresh("b", Some("known"), now - hour)];
    assert_eq!(mirror.put(&both).written, 2);
    assert_eq!((found(&mirror, "a"), found(&mirror, "b").as_deref()), (None, Some("known")));
    assert_eq!(mirror.put(&[fresh("a", Some("now"), now)]).written, 1);
    assert_eq!(found(&mirror, "a").as_deref(), Some("now"));
}

#[test]
fn one_that_is_damaged_keeps_no_other_from_being_written_or_taken_away() {
    let (folder, mirror) = in_store();
    let now = Timestamp::now();
    let all = |value: Option<&str>, at| ["a", "b", "c"].map(|path| fresh(path, value, at));
    assert_eq!(mirror.put(&all(Some("one"), now)).written, 3);
    spoil_a_header(&folder.path().join("store/store.db"));
    let of = |mirror: &Mirror, value: &str| {
        ["a", "b", "c"].into_iter().filter(|path| found(mirror, path).as_deref() == Some(value)).count()
    };
    assert_eq!(of(&mirror, "one"), 2);
    let second = SignedDuration::from_secs(1);
    let put = mirror.put(&all(Some("two"), now + second));
    assert_eq!((put.written, put.failed.len(), of(&mirror, "two")), (2, 1, 2));
    assert!(matches!(put.error, Some(StoreError::Corrupt(_))), "{:?}", put.error);
    let put = mirror.put(&all(None, now + second * 2));
    assert_eq!((put.written, put.failed.len(), of(&mirror, "two")), (2, 1, 0));
}

/// Each copy that is written is a write that others wait for.
#[test]
fn copies_are_written_anew_seldom_and_before_they_are_too_old() {
    let (_folder, mirror) = in_store();
    for (oldest, refresh) in [(7 * 24 * 3600, 3600), (4 * 3600, 1800), (3600, 600), (300, 150)] {
        let mirror = Mirror { oldest: Duration::from_secs(oldest), ..copy(&mirror) };
        assert_eq!(mirror.refresh(), Duration::from_secs(refresh));
    }
}

fn copy(mirror: &Mirror) -> Mirror {
    Mirror::new(mirror.store.clone(), "p", &mirror.place, mirror.oldest).unwrap()
}
