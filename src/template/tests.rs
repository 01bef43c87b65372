//! The rules of templates, one by one. Whole templates with their whole messages are in
//! `tests/templates/`.

mod marks;

use crate::nearest::nearest;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::secret::{Absent, FieldName, SecretType, SecretVersion};

pub(super) fn version(fields: &[(&str, &[u8])]) -> Answer {
    let fields =
        fields.iter().map(|(name, value)| (FieldName::parse(name).unwrap(), SecretBytes::copy_of(value)));
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    Ok(Arc::new(SecretVersion {
        turned_out: None,
        kind: SecretType::Custom,
        fields: fields.collect::<BTreeMap<_, _>>(),
        version: 3,
        created_at: at,
        updated_at: at,
        expires_at: None,
        uses: None,
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
        elsewhere: &|key| key.provider.clone(),
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
    fails_with("<< secret.a >>", "write `secrets.NAME` for the active version");
    fails_with("<< db.password >>", "write `secrets.db.password`");
    fails_with("<< db.password | upper >>", "not a name");
    fails_with("<< secrts[\"a\"] >>", "did you mean `secrets`?");
    fails_with("<% iff x %>", "did you mean `if`?");
}

#[test]
fn marks_trim_and_comments_vanish() {
    renders("a  <<- secrets.a ->>  b", "aalphab");
    renders("a <# a comment << secrets.nothing >> #> b", "a  b");
    renders("a\n<#- c -#>\nb", "ab");
    renders("<% raw %><< secrets.a >><% endraw %>", "<< secrets.a >>");
    renders("x <%- raw -%> << x.y >> <%- endraw -%> y", "x<< x.y >>y");
    renders("<% if true -%>\n  yes\n<%- endif %>\n", "yes\n");
    renders("last line\n", "last line\n");
}

#[test]
fn filters() {
    renders("<< secrets.a | upper >> << secrets.a|upper|lower >>", "ALPHA alpha");
    renders("<< secrets.a | hash('md5') >>", "2c1743a391305fbf367df8e4f069f9f9");
    renders(
        "<< secrets.a | hash 'sha256' >>",
        "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8",
    );
    renders("<< secrets.a | b64encode >> << 'YWxwaGE' | b64decode >>", "YWxwaGE= alpha");
    renders("<< 'a b/ä&=~' | urlencode >>", "a%20b%2F%C3%A4%26%3D~");
    renders("<< secrets.pem | indent(2) >>|", "one\n  two\n  three\n|");
    renders("<< secrets.pem | indent(2, true) >>|", "  one\n  two\n  three\n|");
    renders("<< ' x ' | trim >>|", "x|");
    renders("<< secrets.pem | lines | join('-') >>", "one-two-three");
    renders("<< 'a,b,,c' | split(',') | join ' ' >>", "a b  c");
    renders("<< (secrets.json | from_json).n.x >>", "y");
    renders("<< (secrets.json | from_json).list[1] >> << (secrets.json | from_json)['name'] >>", "2.5 n");
    renders("<< (secrets.json | from_json).list | tojson >>", "[1,2.5,true,null]");
    renders("<< secrets['db/prod'].password | tojson >>", "\"p'w\"");
    renders("<< secrets['db/prod'].password | quote >>", r"'p'\''w'");
    renders("<< ('x' ~ 1 ~ true) >>", "x1true");
}

#[test]
fn bcrypt_is_repeatable_and_right() {
    let once = text_of(render_with("<< secrets.a | bcrypt(4) >>", Options::default(), &values(&[])));
    let again = text_of(render_with("<< secrets.a | bcrypt 4 >>", Options::default(), &values(&[])));
    assert_eq!(once, again);
    assert!(bcrypt::verify("alpha", &once).unwrap());
    fails_with("<< 'x' | bcrypt(13) >>", "a number from 4 to 12");
    fails_with("<< ('x' ~ secrets.pem ~ secrets.json) | bcrypt(4) >>", "72 bytes");
}

#[test]
fn stand_ins_act_on_what_is_missing_only() {
    renders("<< secrets.gone | default 'x' >>", "x");
    renders("<< secrets.gone | default('x') >> << secrets.a | default('x') >>", "x alpha");
    renders("<< secrets.gone | fallback secrets.a >>", "alpha");
    renders("<< secrets.gone | fallback secrets.gone | default 'z' >>", "z");
    renders("<< secrets.a.nofield | default('x') >> << '' | default('e', true) >>", "x e");
    renders("<< env.NOTHING | default 'x' >> << reader.exe | default 'unknown' >>", "x unknown");
    renders("<< (secrets.json | from_json).nothing | default 'x' >>", "x");
    renders("<% if secrets.gone is defined %>1<% else %>2<% endif %>", "2");
    fails_with("<< secrets.gone | upper | default 'x' >>", "there is no secret `gone`");
    for text in ["<< secrets.old | default 'x' >>", "<< secrets.old | fallback secrets.a >>"] {
        assert!(matches!(fails(text).kind, Kind::Expired(_)), "{text}");
    }
    assert!(matches!(fails("<< secrets.dead | default 'x' >>").kind, Kind::Revoked(_)));
    fails_with("<< secrets.gone | required 'ask the DBA' >>", "there is no secret `gone`: ask the DBA");
    fails_with("<< '' | required('set it') >>", "required, and empty: set it");
}

#[test]
fn missing_names_all_and_what_was_meant() {
    let error = fails("<< secrets.gone >>\n<< secrets.a.valu >> << secrets['db/prod'] >>");
    assert_eq!(error.to_string(), "t:1:4: there is no secret `gone`");
    assert!(matches!(&error.kind, Kind::Missing(reference) if reference.key.path == "gone"));
    let also: Vec<_> = error.also.iter().map(ToString::to_string).collect();
    assert_eq!(
        also,
        [
            "t:2:4: the secret `a` has no field `valu`; did you mean `value`?",
            "t:2:25: the secret `db/prod` has no field `value`"
        ]
    );
    assert_eq!(error.also[1].hint.as_deref(), Some("one of its fields: password, username"));
}

#[test]
fn what_is_unknown_is_asked_for_all_at_once() {
    let text = "<< secrets.x >><% if secrets.a == 'alpha' %><< secrets.y >><% else %><< secrets.z >><% endif %>\
        <% for n in ['p', 'q'] %><< secrets[n] >><% endfor %><< secrets.gone >>";
    let Ok(Rendered::Needs(keys)) = render_with(text, Options::default(), &values(&[])) else { panic!() };
    let names: Vec<_> = keys.iter().map(|key| key.path.as_str()).collect();
    assert_eq!(names, ["x", "y", "p", "q"]);
    let Ok(Rendered::Needs(keys)) =
        render_with("<% if secrets.x %><< secrets.y >><% endif %>", Options::default(), &values(&[]))
    else {
        panic!()
    };
    assert_eq!(keys, [SecretKey::named("x")]);
}

#[test]
fn a_survey_finds_everything() {
    let text = "<< secrets.a >> << secret('vault:kv/x#f', version=2) >>\n<< env.HOME >> << secrets.a.f | raw >>\
        <% for n in ['p', 'q'] %><< secrets[n] >><% endfor %><< secrets.b | default secrets.c >><< reader.uid >>";
    let template = Template::compile("t", text, Options::default()).unwrap();
    let names = |keys: &[SecretKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(names(template.eager()), "a vault:kv/x@2 b");
    assert_eq!(names(template.keys()), "a vault:kv/x@2 p q b c");
    let references: Vec<_> = template.references().iter().map(|found| found.item.to_string()).collect();
    assert_eq!(references, ["a", "vault:kv/x#f@2", "a#f", "p", "q", "b", "c"]);
    assert_eq!(template.references()[1].column, 20);
    assert_eq!((template.references()[2].line, template.references()[2].column), (2, 19));
    assert_eq!(template.env_names()[0].item, "HOME");
    assert_eq!(template.raws().len(), 1);
    assert_eq!(template.reader_use(), ReaderUse { uid: true, ..ReaderUse::default() });
}

#[test]
fn conditions_and_loops() {
    renders(
        "<% if secrets.a == 'alpha' and not false %>y<% elif x %>n<% endif %>".replace("x", "true").as_str(),
        "y",
    );
    renders("<% if 'lph' in secrets.a %>y<% else %>n<% endif %>", "y");
    renders("<% if 2 < 10 and 'b' > 'a' and 1 not in [2, 3] %>y<% endif %>", "y");
    renders(
        "<% for x in ['a', 'b'] %><< loop.index >>=<< x >><% if not loop.last %>,<% endif %><% endfor %>",
        "1=a,2=b",
    );
    renders(
        "<% for name, key in [['A', 'a'], ['PW', 'db/prod']] %><< name >>=<< secret(key).meta.version >> <% endfor %>",
        "A=3 PW=3 ",
    );
    renders("<% for line in secrets.pem | lines %>[<< line >>]<% endfor %>", "[one][two][three]");
    renders("<% for x in '' | lines %>x<% else %>none<% endfor %>", "none");
    renders("<< 'a' if secrets.a else 'b' >><< 'a' if not secrets.a else 'b' >>", "ab");
    renders("<% for k in (secrets.json | from_json) %><< k >> <% endfor %>", "list name n ");
}

#[test]
fn what_is_refused_is_named() {
    for (text, message) in [
        ("<< secrets >>", "`secrets` as a whole cannot be used"),
        ("<< secrets | tojson >>", "`secrets` as a whole cannot be used"),
        ("<< secrets | list >>", "`secrets` as a whole cannot be used"),
        ("<% for s in secrets %><% endfor %>", "`secrets` as a whole cannot be used"),
        ("<% set x = 1 %>", "the tag `set` is refused"),
        ("<% include 'x' %>", "write it all in one file"),
        ("<% macro x() %>", "the tag `macro` is refused"),
        ("<< secrets.a-b >>", "secrets[\"a-b\"]"),
        ("<< secrets.db/prod >>", "secrets[\"a-b\"]"),
        ("<< (secrets.a * 3) >>", "templates do not calculate"),
        ("<< secrets[env.HOME] >>", "a secret's name is a text in quotes"),
        ("<< secrets['a' ~ 'b'] >>", "a secret's name is a text in quotes"),
        ("<% for x in secrets.pem | lines %><< secrets[x] >><% endfor %>", "must be known beforehand"),
        ("<< secrets.a | uper >>", "there is no filter `uper`; did you mean `upper`?"),
        ("<< secrets.a | raw | upper >>", "put them last"),
        ("<< secrets.a ~ secrets.a | raw >>", "put them last"),
        ("<< secrets.a raw >>", "t:1:14: `raw` cannot stand here"),
        ("<< secrets.a.b.c >>", "a field has no parts"),
        ("<< secrets['../x'] >>", "`.` or `..` part"),
        ("<< secret('a', version=0) >>", "a version is a number from 1"),
        ("<< secret(type='plain') >>", "secrets are found by name or by label"),
        ("<< secret(label='') >>", "secrets are found by name or by label"),
        ("<< secret(label='x', type='plian') >>", "did you mean `plain`?"),
        ("<< secret(label='x', version=3) >>", "a text in quotes"),
        ("<< secret(label='x', versoin='3') >>", "`secret` takes no `versoin` beside a label"),
        ("<< secret(label=secrets.a) >>", "a text in quotes"),
        ("<< secret(label='x', 'y') >>", ""),
        ("<< secrets.a if true >>", "say what is written otherwise"),
        ("<< secrets.a is odd >>", "there is no test `odd`"),
        ("<< (secrets.json | from_json) >>", "a map cannot be written"),
        ("<< secrets.a | from_json >>", "not JSON"),
        ("<< '\u{1}' | b64decode >>", "not Base64"),
        ("<< secrets.a ~ (secrets.json | from_json) >>", "this is a map"),
    ] {
        fails_with(text, message);
    }
}

#[test]
fn what_is_not_closed_is_told_at_its_beginning() {
    fails_with("x\n << secrets.a", "t:2:2: this `<<` is never closed by `>>`");
    fails_with("<% if true %>x", "t:1:1: this `if` is never ended by `endif`");
    fails_with("<% for x in [1] %>x<% endif %>", "`endfor` should stand here, not `endif`");
    fails_with("<% endif %>", "`endif` ends nothing here");
    fails_with("<% raw %>x", "this `raw` is never ended by `endraw`");
    fails_with("<< secrets['a >>", "t:1:12: the text that begins here is never closed");
}

#[test]
fn a_value_is_data() {
    let rendered = render_with(
        "<< secrets.evil >>",
        Options::default(),
        &values(&[("evil", b"<< secrets.a >>{{ 1 }}")]),
    );
    assert_eq!(text_of(rendered), "<< secrets.a >>{{ 1 }}");
}

#[test]
fn bytes_survive_in_text_and_nul_only_raw() {
    let values = values(&[("bytes", b"\xff\xfe\x80"), ("nul", b"a\0b"), ("empty", b"")]);
    let render = |text: &str| render_with(text, Options::default(), &values);
    let Ok(Rendered::Done(bytes)) = render("<< secrets.bytes >>") else { panic!() };
    assert_eq!(bytes.expose(), b"\xff\xfe\x80");
    assert_eq!(render("<< secrets.nul >>").err().unwrap().kind, Kind::Unencodable);
    assert_eq!(
        text_of(render("<< secrets.nul | raw >>|<< secrets.nul | b64encode >>|<< secrets.empty >>")),
        "a\0b|YQBi|"
    );
}

#[test]
fn jinja_syntax() {
    let options = Options { syntax: Syntax::Jinja, ..Options::default() };
    let render = |text: &str| text_of(render_with(text, options, &values(&[])));
    assert_eq!(
        render("{{ secrets.gone | default 'x' }} << secrets.a >>{# c #}{% if 1 %}y{% endif %}"),
        "x << secrets.a >>y"
    );
    let error = render_with("{{ a.b.c }}", options, &values(&[])).err().unwrap();
    assert_eq!(error.to_string(), "t:1:4: `a` is not a name that templates know");
}

#[test]
fn the_caret_stands_under_the_place() {
    let error = fails("a\n\tü<< secrets.gone >> x");
    assert_eq!((error.line, error.column), (2, 6));
    assert_eq!(error.excerpt(), "2 | \tü<< secrets.gone >> x\n  | \t    ^^^^^^^^^^^^");
    let far = fails(&format!("{}<< secrets.gone >>{}", "x".repeat(5000), "y".repeat(5000)));
    assert!(far.excerpt().contains("<< secrets.gone >>") && far.excerpt().len() < 300, "{}", far.excerpt());
}

#[test]
fn no_error_tells_a_value() {
    let values = values(&[("canary", b"C4NARY"), ("many", &[b'C'; 100])]);
    for text in [
        "<< secrets.canary | from_json >>",
        "<< secrets.canary | b64decode >>",
        "<< secrets.canary | hash(secrets.canary) >>",
        "<< secrets.canary | indent(secrets.canary) >>",
        "<< secrets.canary.C4 >>",
        "<< secrets.gone | required(secrets.canary) >>",
        "<% if secrets.canary < 1 %><% endif %>",
        "<% for x in secrets.canary %><% endfor %>",
        "<< (secrets.canary | lines).x >>",
        "<< [secrets.canary] >>",
    ] {
        let error = render_with(text, Options::default(), &values).err().unwrap_or_else(|| panic!("{text}"));
        let told = format!("{error} {error:?} {}", error.excerpt());
        assert!(!told.contains("C4NARY"), "{told}");
    }
    let json = Options { format: Format::Json, ..Options::default() };
    let error = render_with("{\"a\": << secrets.canary | raw >>}", json, &values).err().unwrap();
    assert_eq!(error.kind, Kind::Verify);
    assert!(!format!("{error:?}").contains("C4NARY"));
}
