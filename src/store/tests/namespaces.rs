//! Namespaces: no name leads from one into another, and a removed one is gone.

use proptest::prelude::*;

use super::*;

fn space(text: &str) -> Namespace {
    Namespace::parse(text).unwrap()
}

fn put_in(store: &Store, namespace: &Namespace, secret: &SecretName, value: &str) {
    let new = NewVersion::of_value(SecretBytes::copy_of(value.as_bytes()));
    store.change(namespace, stamp(1), |change| change.put(secret, new, &Edit::default())).unwrap();
}

fn get_in(store: &Store, namespace: &Namespace, secret: &SecretName) -> Result<String, Absent> {
    let now = Timestamp::from_second(2).unwrap();
    let mut reading = store.get(namespace, &[(secret.clone(), None)], now).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    reading.answers.remove(0).map(|found| text(found.fields["value"].expose()))
}

#[test]
fn a_removed_namespace_is_gone_and_its_name_is_free() {
    let fixture = Fixture::new();
    let (ours, theirs) = (space("ours"), space("user:1000"));
    fixture.store.create_namespace(&ours, stamp(1)).unwrap();
    assert!(matches!(fixture.store.create_namespace(&ours, stamp(1)), Err(StoreError::NamespaceExists(_))));
    for namespace in [&ours, &theirs] {
        (0..20).for_each(|n| put_in(&fixture.store, namespace, &name(&format!("s{n}")), namespace.as_str()));
    }
    let reader = fixture.reopen(Access::Read);
    assert_eq!(get_in(&reader, &ours, &name("s1")), Ok("ours".into()));
    reader.recheck().unwrap();
    let before = reader.pulse().unwrap();
    let listed = reader.describe_namespaces().unwrap().into_iter().map(|it| (it.name, it.secrets));
    assert_eq!(
        listed.collect::<Vec<_>>(),
        [("default".to_owned(), 0), ("ours".into(), 20), ("user:1000".into(), 20)]
    );
    fixture.store.remove_namespace(&ours).unwrap();
    assert!(matches!(fixture.store.remove_namespace(&ours), Err(StoreError::NamespaceMissing(_))));
    assert!(matches!(fixture.store.remove_namespace(&Namespace::default()), Err(StoreError::Refused(_))));
    for store in [&reader, &fixture.store, &fixture.reopen(Access::Write)] {
        assert_eq!(store.unchanged(&ours, &[name("s1")], before).unwrap(), None);
        store.recheck().unwrap();
        assert_eq!(get_in(store, &ours, &name("s1")), Err(Absent::Missing));
        assert_eq!(get_in(store, &theirs, &name("s1")), Ok("user:1000".into()));
        verify(store).unwrap();
    }
    put_in(&fixture.store, &ours, &name("s2"), "again");
    assert_eq!(get_in(&reader, &ours, &name("s1")), Err(Absent::Missing));
    assert_eq!(get_in(&reader, &ours, &name("s2")), Ok("again".into()));
    verify(&reader).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Names that look like paths, like namespaces and like each other: each secret is its own.
    #[test]
    fn no_name_reaches_another_namespace(
        spaces in prop::collection::btree_set("(user:[0-9]{1,3}|[a-c](/[a-c]){0,2}|default)", 2..4),
        secrets in prop::collection::btree_set("[a-c](/[a-c]){0,3}|default/[a-c]|user", 1..4),
    ) {
        let fixture = Fixture::new();
        let spaces: Vec<_> = spaces.iter().filter_map(|it| Namespace::parse(it).ok()).collect();
        let secrets: Vec<_> = secrets.iter().map(|it| name(it)).collect();
        // Each secret is in every other namespace: what is missing here is there in the next.
        let has = |s: usize, n: usize| (s + n).is_multiple_of(2);
        for (s, namespace) in spaces.iter().enumerate() {
            for (n, secret) in secrets.iter().enumerate().filter(|(n, _)| has(s, *n)) {
                put_in(&fixture.store, namespace, secret, &format!("{s} {n}"));
            }
        }
        let reader = fixture.reopen(Access::Read);
        for (s, namespace) in spaces.iter().enumerate() {
            for (n, secret) in secrets.iter().enumerate() {
                let expected = has(s, n).then(|| format!("{s} {n}")).ok_or(Absent::Missing);
                prop_assert_eq!(get_in(&reader, namespace, secret), expected);
                for tried in [format!("{namespace}/{secret}"), format!("../{secret}"), format!("{namespace}:{secret}")] {
                    if let Ok(tried) = SecretName::parse(&tried) && !secrets.contains(&tried) {
                        prop_assert_eq!(get_in(&reader, namespace, &tried), Err(Absent::Missing));
                    }
                }
            }
        }
    }

    /// What is no plain name is none at all, whatever it is made of.
    #[test]
    fn a_name_has_one_spelling(text in "[a-b./:\\\\\u{e9}\u{ff0f}\u{202e}\u{0}~ ]{1,8}") {
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "./".contains(c))
            && !text.split('/').any(|part| matches!(part, "" | "." | ".."));
        prop_assert_eq!(SecretName::parse(&text).is_ok(), is_plain);
        prop_assert_eq!(Namespace::parse(&text).is_ok(), is_plain);
    }
}
