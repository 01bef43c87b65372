//! Whatever is put in comes out, and nothing else does.

use proptest::prelude::*;

use super::*;

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn record(fields: &[(String, Vec<u8>)], created: i64, expires: Option<i64>) -> Record {
    let to_field =
        |(name, value): &(String, Vec<u8>)| (FieldName::parse(name).unwrap(), SecretBytes::copy_of(value));
    Record {
        created: time(created),
        created_by: "uid:0".into(),
        kind: Some(SecretType::BasicAuth),
        expires: expires.map(time),
        fields: fields.iter().map(to_field).collect(),
    }
}

fn header() -> Header {
    let now = time(1_000);
    Header {
        name: "db".into(),
        id: "00".into(),
        kind: SecretType::Plain,
        fields: vec!["value".into()],
        description: None,
        tags: BTreeSet::new(),
        label: None,
        owner: None,
        created: now,
        updated: now,
        activated: now,
        activated_by: None,
        expires: None,
        active: 1,
        latest: 1,
        disabled: false,
        revoked: BTreeMap::new(),
        ends: BTreeMap::new(),
        gone: Gone::default(),
        prints: BTreeMap::new(),
        epoch: 2,
    }
}

proptest! {
    #[test]
    fn a_record_comes_back(
        fields in prop::collection::vec(("[a-z_][a-z0-9_.-]{0,20}", prop::collection::vec(any::<u8>(), 0..300)), 0..5),
        created in -1_000_000_000_000i64..4_000_000_000_000,
        expires in prop::option::of(0i64..4_000_000_000_000),
    ) {
        let put_in = record(&fields, created, expires);
        let encoded = put_in.encode();
        prop_assert!(encoded.len().is_power_of_two() && encoded.len() >= 64);
        let out = Record::decode(&encoded).unwrap();
        prop_assert_eq!((out.created, out.expires), (put_in.created, put_in.expires));
        prop_assert_eq!((out.created_by, out.kind), (put_in.created_by, put_in.kind));
        prop_assert!(out.fields.keys().eq(put_in.fields.keys()));
        prop_assert!(out.fields.values().zip(put_in.fields.values()).all(|(a, b)| a.same_as(b.expose())));
    }

    #[test]
    fn wild_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (Record::decode(&bytes), Header::decode(&bytes));
    }

    #[test]
    fn a_wild_record_in_sound_padding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for layout in [FIRST_LAYOUT, LAYOUT] {
            let padded = pad(&[&[layout][..], &bytes].concat());
            let _ = (Record::decode(&padded), Header::decode(&padded));
        }
    }
}

#[test]
fn a_cut_record_is_refused() {
    let encoded = record(&[("value".into(), b"v".to_vec())], 0, None).encode();
    for length in 0..encoded.len() {
        assert!(Record::decode(&encoded[..length]).is_err(), "{length}");
    }
    assert!(Record::decode(&encoded).is_ok());
}

#[test]
fn a_record_of_the_first_layout_opens() {
    let old = Record { kind: None, ..record(&[("value".into(), b"v".to_vec())], 0, None) };
    let encoded = old.encode();
    assert_eq!(unpad(&encoded).unwrap()[0], FIRST_LAYOUT);
    assert!(Record::decode(&encoded).is_ok_and(|it| it.kind.is_none() && it.fields.len() == 1));
}

#[test]
fn sizes_are_rounded() {
    let size = |value: usize| record(&[("value".into(), vec![b'x'; value])], 0, None).encode().len();
    assert_eq!(size(0), size(10), "short values look alike");
    assert_eq!(size(100), size(180));
    assert!(size(180) < size(400));
}

#[test]
fn a_header_comes_back_and_tolerates_what_it_does_not_know() {
    let json = |header: &Header| serde_json::to_value(header).unwrap();
    let header = header();
    assert_eq!(json(&Header::decode(&header.encode()).unwrap()), json(&header));
    let mut newer = json(&header);
    newer["from_a_later_version"] = true.into();
    let padded = pad(newer.to_string().as_bytes());
    assert_eq!(json(&Header::decode(&padded).unwrap()), json(&header));
}
