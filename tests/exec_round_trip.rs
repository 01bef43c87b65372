//! Wild values through the templates' `Exec` dialect and back through the reader of env files: the
//! same value, or a refusal with its place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use secretfs::document::dotenv;
use secretfs::secret::{FieldName, SecretBytes, SecretKey, SecretType, SecretVersion};
use secretfs::template::{Dialect, Format, Inputs, Options, Rendered, Template};

/// Where a value can stand, what the template has beside it, and how it is read back.
const PLACES: &[(&str, &str, &str)] = &[
    ("A=<< secrets.v >>\n", "", ""),
    ("A=<< secrets.v >>", "", ""),
    ("export A = x<< secrets.v >>y\n", "x", "y"),
    ("A='it is $HOME << secrets.v >> \\n'\n", "it is $HOME ", " \\n"),
    ("A=\"x << secrets.v >> y\" # comment\n", "x ", " y"),
    ("A=\"\\\"\\t<< secrets.v >>\\\\\"\n", "\"\t", "\\"),
    ("A=<< secrets.v >> # comment\n", "", ""),
];

fn rendered(template: &str, value: &[u8]) -> Result<Vec<u8>, String> {
    let options = Options { format: Format::Env(Dialect::Exec), ..Options::default() };
    let template = Template::compile("t", template, options).map_err(|error| error.to_string())?;
    let now = Timestamp::UNIX_EPOCH;
    let fields = BTreeMap::from([(FieldName::value(), SecretBytes::copy_of(value))]);
    let version = SecretVersion {
        turned_out: None,
        kind: SecretType::Custom,
        fields,
        version: 1,
        created_at: now,
        updated_at: now,
        expires_at: None,
        uses: None,
    };
    let values = HashMap::from([(SecretKey::named("v"), Ok(Arc::new(version)))]);
    let inputs = Inputs {
        values: &values,
        env: &|_| None,
        reader: None,
        salt: &[0; 32],
        nearest: &|_| None,
        elsewhere: &|_| None,
    };
    match template.render(&inputs).map_err(|error| error.to_string())? {
        Rendered::Done(bytes) => Ok(bytes.expose().to_vec()),
        Rendered::Needs(_) => Err("it needs more".to_owned()),
    }
}

/// What the child would get, or why it gets nothing.
fn arrived(template: &str, value: &[u8]) -> Result<Vec<u8>, String> {
    let text = [&rendered(template, value)?, &b"\nNEXT=1\n"[..]].concat();
    let variables = dotenv::parse(&text).map_err(|error| error.to_string())?;
    let names: Vec<&str> = variables.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["A", "NEXT"], "a value made or hid a variable");
    Ok(variables[0].value.expose().to_vec())
}

fn wild() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[ -~]{0,6}",
        "\\PC{0,3}",
        prop::sample::select(vec![
            "'", "\"", "\\", "\n", "\r", "\r\n", "$", "${X}", "$(id)", "`", "#", " #", "=", "\t", "export ",
            "\u{feff}", "\u{2028}", "\u{fffe}", "\u{85}", "\nB=2\n", "'\nB='", "\"\nB=\"",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_text_comes_back(value in wild()) {
        let value = value.replace('\0', "");
        for (template, before, after) in PLACES {
            let expected = format!("{before}{value}{after}");
            let arrived = arrived(template, value.as_bytes());
            prop_assert_eq!(arrived.as_deref(), Ok(expected.as_bytes()), "{}", template);
        }
    }

    #[test]
    fn any_bytes_come_back_or_are_refused(value in prop::collection::vec(any::<u8>(), 0..12)) {
        for (template, before, after) in PLACES {
            match arrived(template, &value) {
                Ok(arrived) => prop_assert_eq!(arrived, [before.as_bytes(), &value, after.as_bytes()].concat()),
                Err(reason) => prop_assert!(reason.starts_with("t:1:"), "{}", reason),
            }
        }
    }
}

/// The control: pasted as it is, such a value breaks its file.
#[test]
fn raw_does_break() {
    let pasted = rendered("A='<< secrets.v | raw >>'\n", b"'\nB='2").unwrap();
    let names: Vec<String> = dotenv::parse(&pasted).unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["A", "B"]);
}
