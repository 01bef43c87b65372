//! Harmless values stand wherever the real ones can, and hold nothing of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::fields::check;
use crate::secret::SecretKey;
use crate::template::{Format, Inputs, Options, Rendered, Syntax, Template, Values};

fn version(kind: SecretType, fields: &[(&str, &[u8])]) -> SecretVersion {
    let fields =
        fields.iter().map(|(name, value)| (FieldName::parse(name).unwrap(), SecretBytes::copy_of(value)));
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let fields = fields.collect::<BTreeMap<_, _>>();
    SecretVersion {
        turned_out: None,
        kind,
        fields,
        version: 3,
        created_at: at,
        updated_at: at,
        expires_at: None,
        uses: None,
    }
}

fn like(value: &str) -> String {
    let harmless = placeholder(&version(SecretType::Plain, &[("value", value.as_bytes())]));
    String::from_utf8(harmless.fields["value"].expose().to_vec()).unwrap()
}

#[test]
fn what_a_value_looks_like_stays() {
    for (value, harmless) in [
        ("", ""),
        ("hunter2", "placehol"),
        ("correct horse battery", "placeholderplaceholderpl"),
        ("hunter2\n", "placehol\n"),
        ("5432", "1000"),
        ("0042", "0000"),
        ("-7.25", "-1.5"),
        ("1e5", "1e3"),
        ("-2.5E+3", "1e3"),
        ("123456789012345678901234567890", "1000"),
        ("12345678901234567890123456789012", "00000000000000000000000000000000"),
        ("0x1F", "0x0"),
        ("5m", "1m"),
        ("1h30m", "1h"),
        ("250ms", "1ms"),
        ("64MiB", "1MiB"),
        ("2.5 GB", "1 GB"),
        ("90%", "1%"),
        ("4d7", "placehol"),
        ("1h2m3s4h5m6s7h", "placeholderplace"),
        ("10.0.0.0/8", "192.0.2.0/24"),
        ("fd00::/8", "2001:db8::/32"),
        ("10.0.0.0/99", "placeholderplace"),
        ("/etc/ssl/key", "/placeholderplace"),
        ("/x9Kd8sA", "placehol"),
        (
            "Server=db;Database=shop;User Id=ann;Password=x;",
            "Server=placehol;Database=placehol;User Id=placehol;Password=placehol;",
        ),
        ("host=db port=5432 password=x", "host=placehol port=1000 password=placehol"),
        ("Server=db;hunter2=x", "placeholderplaceholderpl"),
        ("1700000001", "1000000000"),
        ("true", "false"),
        ("2031-05-06T07:08:09Z", "2000-01-01T00:00:00Z"),
        ("2031-05-06", "2000-01-01"),
        (
            "https://u:p@db.corp.example:8443/x?y=z",
            "https://placeholder:placeholder@placeholder.invalid:9/placeholder",
        ),
        ("postgres://db.corp/", "postgres://placeholder.invalid/"),
        ("sqlite:///var/db", "sqlite:///placeholder"),
        ("correcthorse://battery/staple", "placeholderplaceholderplaceholde"),
        ("redis://:pw@h1:1,h2:2", "redis://placeholder:placeholder@placeholder.invalid:9"),
        ("ann@corp.example", "placeholder@placeholder.invalid"),
        ("10.1.2.3", "192.0.2.1"),
        ("fe80::1", "2001:db8::1"),
        ("db.corp.example:5432", "placeholder.invalid:9"),
        ("123e4567-e89b-12d3-a456-426614174000", "00000000-0000-4000-8000-000000000000"),
        ("00112233445566778899aabbccddeeff", "00000000000000000000000000000000"),
        ("c29tZSB0ZXh0IHRoYXQgaXMgbG9uZw==", "cGxhY2Vob2xkZXJwbGFjZWhvbGRlcnBs"),
        ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "sk_live_placeholderplaceholderpl"),
        ("my_pass-word", "placeholderplace"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln", shape_of_jwt()),
        ("one\ntwo\n", "placehol\nplacehol\n"),
        ("USER=ann\nPORT=5432\n", "USER=placehol\nPORT=1000\n"),
        ("user: ann\n  port: 5432", "user: placehol\n  port: 1000"),
        ("c2VjcmV0\nc2Vj=", "placehol\nplacehol"),
        (
            r#"{"user": "ann", "n": [1, 2.5, true, null]}"#,
            r#"{"user": "placehol", "n": [1, 1.5, false, null]}"#,
        ),
        (r#"["a\"b", {"x\\": "ä"}]"#, r#"["placehol", {"x\\": "placehol"}]"#),
        ("{no json}", "placeholderplace"),
    ] {
        assert_eq!(like(value), harmless, "{value}");
        assert_eq!(like(value), like(value), "it is the same each time");
    }
}

fn shape_of_jwt() -> &'static str {
    "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJwbGFjZWhvbGRlciJ9.cGxhY2Vob2xkZXI"
}

#[test]
fn each_type_still_holds_what_it_has_to() {
    let chain = [EC_CERT, EC_CERT].concat();
    let times: [&[u8]; 2] = [b"2031-05-06T07:08:09Z", b"1900000000"];
    let real = [
        version(SecretType::Certificate, &[("cert", RSA_CERT.as_bytes()), ("key", RSA_PKCS1.as_bytes())]),
        version(SecretType::Certificate, &[("cert", EC_CERT.as_bytes()), ("key", EC_SEC1.as_bytes())]),
        version(
            SecretType::Certificate,
            &[("cert", EC_CERT.as_bytes()), ("key", EC_KEY.as_bytes()), ("chain", chain.as_bytes())],
        ),
        version(SecretType::SshKey, &[("private", SSH_KEY.as_bytes()), ("public", SSH_PUBLIC.as_bytes())]),
        version(SecretType::Bearer, &[("token", b"abc.def")]),
        version(SecretType::ConnectionString, &[("url", b"mysql://u:p@h/db")]),
        version(SecretType::Oauth, &[("token_url", b"https://h/token"), ("expires_at", times[0])]),
        version(SecretType::Oauth, &[("token_url", b"http://h"), ("expires_at", times[1])]),
    ];
    for real in real {
        assert_eq!(check(real.kind, &real.fields), Ok(()), "the control");
        let harmless = placeholder(&real);
        assert_eq!(check(harmless.kind, &harmless.fields), Ok(()), "{:?}", real.kind);
        assert!(harmless.fields.keys().eq(real.fields.keys()));
        assert_eq!((harmless.version, harmless.updated_at), (real.version, real.updated_at));
    }
}

#[test]
fn bytes_that_are_no_text_are_no_text_of_the_secret() {
    let harmless = placeholder(&version(SecretType::Plain, &[("value", &[0, 0xff, 7])]));
    assert_eq!(harmless.fields["value"].expose(), b"placehol");
}

/// Places of all formats that take a value.
const PLACES: [(&str, &str); 20] = [
    ("env", "A=<< secrets.a >>\n"),
    ("env", "A=\"<< secrets.a >>\"\n"),
    ("env", "A='<< secrets.a >>'\n"),
    ("json", "{\"a\": <<secrets.a>>, \"b\": [\"x<<secrets.a>>y\"]}"),
    ("json", "{\"a\": \"<<secrets.a>>\"}"),
    ("yaml", "a: << secrets.a >>\nb: 1\n"),
    ("yaml", "a: \"<< secrets.a >>\"\nb: '<< secrets.a >>'\n"),
    ("yaml", "a: |\n  << secrets.a >>\nb: 1\n"),
    ("toml", "a = << secrets.a >>\n"),
    ("toml", "a = \"<< secrets.a >>\"\n"),
    ("ini", "[s]\na = << secrets.a >>\n"),
    ("properties", "a=<< secrets.a >>\n"),
    ("xml", "<a b=\"<< secrets.a >>\"><< secrets.a >></a>"),
    ("nginx", "set $a \"<< secrets.a >>\";\n"),
    ("pgpass", "h:5432:db:u:<< secrets.a >>\n"),
    ("netrc", "machine h login u password << secrets.a >>\n"),
    ("text", "x << secrets.a >> y"),
    ("text", "<< secrets.a | b64encode >>"),
    ("text", "<< secrets.a | trim | urlencode >>"),
    ("text", "<< secrets.a | lines | join(',') >>"),
];

fn renders(place: (&str, &str), version: SecretVersion) -> bool {
    let format = Format::parse(place.0).unwrap_or(Format::Text);
    let options = Options { syntax: Syntax::Angle, format, verify: true, ..Options::default() };
    let Ok(template) = Template::compile("t", place.1, options) else { return false };
    let mut values = Values::new();
    values.insert(SecretKey::named("a"), Ok(std::sync::Arc::new(version)));
    let (env, nearest) = (|_: &str| None, |_: &str| None);
    let inputs = Inputs {
        values: &values,
        env: &env,
        reader: None,
        salt: &[7; 32],
        nearest: &nearest,
        elsewhere: &|_| None,
    };
    matches!(template.render(&inputs), Ok(Rendered::Done(_)))
}

/// Values that parsers are particular about, and any others.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let text = |pattern| proptest::string::string_regex(pattern).unwrap();
    prop_oneof![
        text("[ -~]{0,40}").prop_map(String::into_bytes),
        text("(?s).{0,24}").prop_map(String::into_bytes),
        text("[0-9]{1,20}").prop_map(String::into_bytes),
        text("-?[0-9]{1,4}\\.[0-9]{1,4}").prop_map(String::into_bytes),
        text("[a-z]{1,8}://[a-z]{1,5}(:[a-z]{1,5})?@[a-z.]{1,9}(:[0-9]{1,4})?(/[a-z]{0,4})?")
            .prop_map(String::into_bytes),
        text("[0-9a-f]{16,70}").prop_map(String::into_bytes),
        text("([A-Z]{1,4}=[ -~]{0,9}\n){1,4}").prop_map(String::into_bytes),
        text("(true|false|yes|null|on|~|1e5|0x1f|1_000|\\.inf)").prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
        any_json().prop_map(|json| json.to_string().into_bytes()),
        text("[ -~]{8,40}").prop_map(|text| {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.encode(text).into_bytes()
        }),
    ]
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        (-9.0..9.0_f64).prop_map(Into::into),
        ".{0,9}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(".{0,5}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Runs of so many bytes of the real value are nowhere in the harmless one.
const RUN: usize = 6;

#[test]
fn all_places_are_taken() {
    for place in PLACES {
        assert!(renders(place, version(SecretType::Plain, &[("value", b"hunter2")])), "{place:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn where_the_value_can_stand_the_harmless_one_can(value in any_value()) {
        let real = version(SecretType::Plain, &[("value", &value)]);
        let harmless = || placeholder(&real);
        for place in PLACES {
            let copy = version(SecretType::Plain, &[("value", &value)]);
            if renders(place, copy) {
                let shown = String::from_utf8_lossy(harmless().fields["value"].expose()).into_owned();
                prop_assert!(renders(place, harmless()), "{:?} takes {:?} and not {shown:?}", place, String::from_utf8_lossy(&value));
            }
        }
    }

    #[test]
    fn what_is_decoded_can_be_decoded(document in any_json(), text in "[ -~]{8,40}") {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &text);
        prop_assume!(document.is_array() || document.is_object());
        for (filter, value) in [("from_json | tojson", document.to_string()), ("b64decode", encoded)] {
            let text = format!("<< secrets.a | {filter} >>");
            let real = version(SecretType::Plain, &[("value", value.as_bytes())]);
            let harmless = placeholder(&real);
            let shown = String::from_utf8_lossy(harmless.fields["value"].expose()).into_owned();
            prop_assert!(renders(("text", &text), real), "the control: {value}");
            prop_assert!(renders(("text", &text), harmless), "{value} {shown}");
        }
    }

    #[test]
    fn nothing_of_the_value_is_left(value in "[B-Zbf-gj-kmnq-z2-9!#$%&*?^]{6,60}") {
        let harmless = like(&value);
        for run in value.as_bytes().windows(RUN) {
            prop_assert!(!harmless.as_bytes().windows(RUN).any(|it| it == run), "{value:?} {harmless:?}");
        }
    }

    #[test]
    fn two_values_of_one_shape_have_one_placeholder(one in "[g-z]{9,16}", other in "[g-z]{9,16}") {
        prop_assert_eq!(like(&one), like(&other));
    }
}
