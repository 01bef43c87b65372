//! The rules of templates, one by one. Whole templates with their whole messages are in
//! `tests/templates/`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::secret::{Absent, FieldName, SecretVersion};

pub(super) fn version(fields: &[(&str, &[u8])]) -> Answer {
    let fields =
        fields.iter().map(|(name, value)| (FieldName::parse(name).unwrap(), SecretBytes::copy_of(value)));
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    Ok(Arc::new(SecretVersion {
        fields: fields.collect::<BTreeMap<_, _>>(),
        version: 3,
        created_at: at,
        updated_at: at,
        expires_at: None,
    }))
}

fn values(extra: &[(&str, &[u8])]) -> Values {
    let mut values = Values::new();
    let mut add = |name: &str, answer| values.insert(SecretKey::named(name), answer);
    add("a", version(&[("value", b"alpha")]));
    add("db/prod", version(&[("username", b"root"), ("password", b"p'w")]));
    add("json", version(&[("value", br#"{"list": [1, 2.5, true, null], "name": "n", "n": {"x": "y"}}"#)]));
    add("pem", version(&[("value", b"one\ntwo\nthree\n")]));
    add("gone", Err(Absent::Missing));
    add("old", Err(Absent::Expired));
    add("dead", Err(Absent::Revoked));
    for (name, value) in extra {
        add(name, version(&[("value", value)]));
    }
    values
}

fn render_with(text: &str, options: Options, values: &Values) -> Result<Rendered, TemplateError> {
    let reader = Reader { uid: 1000, gid: 100, exe: None, unit: Some("app.service".into()) };
    let template = Template::compile("t", text, options)?;
    template.render(&Inputs {
        values,
        env: &|name| (name == "HOME").then(|| b"/home/me".to_vec()),
        reader: Some(&reader),
        salt: &[7; 32],
        nearest: &|name| nearest(name, ["a", "db/prod", "json", "pem"]).map(str::to_owned),
    })
}

#[track_caller]
fn text_of(rendered: Result<Rendered, TemplateError>) -> String {
    match rendered {
        Ok(Rendered::Done(bytes)) => String::from_utf8_lossy(bytes.expose()).into_owned(),
        Ok(Rendered::Needs(keys)) => panic!("needs {keys:?}"),
        Err(error) => panic!("{error}\n{}\n{:?}", error.excerpt(), error.hint),
    }
}

#[track_caller]
fn renders(text: &str, expected: &str) {
    assert_eq!(text_of(render_with(text, Options::default(), &values(&[]))), expected, "{text}");
}

fn fails(text: &str) -> TemplateError {
    match render_with(text, Options::default(), &values(&[])) {
        Err(error) => error,
        Ok(Rendered::Done(bytes)) => panic!("{text}: {}", String::from_utf8_lossy(bytes.expose())),
        Ok(Rendered::Needs(keys)) => panic!("{text}: needs {keys:?}"),
    }
}

#[track_caller]
fn fails_with(text: &str, message: &str) {
    let error = fails(text);
    let whole = format!("{error} [{}]", error.hint.as_deref().unwrap_or(""));
    assert!(whole.contains(message), "{text}: {whole}");
}

#[test]
fn references() {
    renders("<< secrets.a >>", "alpha");
    renders("<<secrets.a>>", "alpha");
    renders("x << secrets[\"db/prod\"].password >> y\n", "x p'w y\n");
    renders("<< secrets['db/prod'][\"username\"] >>", "root");
    renders("<< secrets.a.version >> << secrets.a.meta.version >>", "3 3");
    renders("<< secrets.a.created_at >>", "2023-11-14T22:13:20Z");
    renders(
        "<< secret(\"a\") >> << secret('db/prod#password') >> << secret(\"db/prod\").username >>",
        "alpha p'w root",
    );
    renders("<< env.HOME >> << reader.uid >> << reader.unit >>", "/home/me 1000 app.service");
    renders("<< secrets.a.expires_at | default 'never' >>", "never");
}

#[test]
fn what_is_not_ours_stays_text() {
    for text in [
        "cat <<EOF\nx\nEOF\n",
        "cat <<-'EOF' >>out\n",
        "cat << EOF >> out\n",
        "cat <<\"EOF\" | sort >> out\n",
        "1<<2 and 1 << (2) >> 3",
        "<<: *base",
        "<<<here",
        "<% unknown %> <%= erb %>",
        "<#if x>",
        "a << b >> c",
        "<< \"<<\" >>",
        "{{ secrets.a }} {% if x %}",
        "cat <<secrets\n",
        "<<<<<<< HEAD\n=======\n>>>>>>> x\n",
    ] {
        renders(text, text);
    }
}

#[test]
fn unknown_names_are_never_silent() {
    fails_with("<< secretes.a >>", "did you mean `secrets`?");
    fails_with("<< secret.a >>", "did you mean `secrets`?");
    fails_with("<< db.password >>", "a secret's field is written `secrets.db.password`");
    fails_with("<< db.password | upper >>", "not a name");
    fails_with("<< secrts[\"a\"] >>", "did you mean `secrets`?");
    fails_with("<% iff x %>", "did you mean `if`?");
}
