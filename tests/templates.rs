//! Whole templates with their whole output or error message: each file in `tests/templates/` is a case.
//! Then templates that want to harm, and those that Jinja reads too and must not read otherwise.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use proptest::prelude::*;

use common::hostile;
use common::template::{Rendering, render, render_with, secret};
use secretfs::secret::{Absent, Answer, Reference};
use secretfs::template::{Dialect, Format, Kind, Options, Syntax, Template, TemplateError, Values};

/// `SECRETFS_BLESS=1` writes what comes out into the files; then read the difference.
#[test]
fn every_case_renders_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 12, "cases have gone: {} are left", cases.len());
    let mut wrong = Vec::new();
    for path in cases {
        let text = fs::read_to_string(&path).unwrap();
        let case = Case::read(&text);
        let found = case.outcome();
        if std::env::var_os("SECRETFS_BLESS").is_some() {
            fs::write(&path, format!("{}{found}", case.given)).unwrap();
        } else if found != case.expected {
            wrong.push(format!("{}\n--- expected\n{}\n--- found\n{found}", path.display(), case.expected));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

/// Sections that begin with `=== name`: `options`, `secrets`, `template`, and `output` or `error`.
struct Case<'t> {
    given: &'t str,
    expected: &'t str,
    sections: HashMap<&'t str, &'t str>,
}

impl<'t> Case<'t> {
    fn read(text: &'t str) -> Self {
        let sections = text.split("=== ").skip(1).map(|section| section.split_once('\n').expect("a name"));
        let end = text.find("=== output\n").or_else(|| text.find("=== error\n")).unwrap_or(text.len());
        Self { given: &text[..end], expected: &text[end..], sections: sections.collect() }
    }

    fn outcome(&self) -> String {
        match render_with("case", self.sections["template"], self.options(), &self.secrets()) {
            Rendering::Done(bytes) => format!("=== output\n{}", String::from_utf8(bytes).unwrap()),
            Rendering::Failed(error) => format!("=== error\n{}", message(&error)),
        }
    }

    fn options(&self) -> Options {
        let mut options = Options::default();
        for line in self.sections.get("options").unwrap_or(&"").lines() {
            match line.split_once(": ").expect("key: value") {
                ("format", name) => options.format = Format::parse(name).unwrap(),
                ("dialect", name) => options.format = Format::Env(Dialect::parse(name).unwrap()),
                ("syntax", name) => options.syntax = Syntax::parse(name).unwrap(),
                (other, _) => panic!("no option {other}"),
            }
        }
        options
    }

    /// Lines of `name[#field] = "JSON text"`, or `name = expired`.
    fn secrets(&self) -> Values {
        let mut fields: HashMap<_, Vec<(String, String)>> = HashMap::new();
        let mut values = Values::new();
        for line in self.sections.get("secrets").unwrap_or(&"").lines() {
            let (reference, value) = line.split_once(" = ").expect("name = value");
            let Reference { key, field } = Reference::parse(reference).unwrap();
            let absent =
                [("missing", Absent::Missing), ("expired", Absent::Expired), ("revoked", Absent::Revoked)];
            if let Some((_, reason)) = absent.into_iter().find(|(word, _)| *word == value) {
                values.insert(key, Err(reason));
                continue;
            }
            let field = field.map_or("value".to_owned(), |field| field.to_string());
            let value: String = serde_json::from_str(value).expect("a JSON text");
            fields.entry(key).or_default().push((field, value));
        }
        values.extend(fields.into_iter().map(|(key, fields)| (key, answer(&fields))));
        values
    }
}

fn answer(fields: &[(String, String)]) -> Answer {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    secret(&fields)
}

/// As the command line tells it.
fn message(error: &TemplateError) -> String {
    let errors = std::iter::once(error).chain(&error.also);
    let tell = |error: &TemplateError| {
        let hint = error.hint.as_ref().map_or(String::new(), |hint| format!("try: {hint}\n"));
        format!("{error}\n{}\n{hint}", error.excerpt())
    };
    errors.map(tell).collect()
}

/// Compiles and renders, in either syntax, with a few large secrets; answers within two seconds
/// of its thread's own time.
fn suffers(text: &str, syntax: Syntax) -> Rendering {
    let large = vec![b'x'; 1024 * 1024];
    let mut values = Values::new();
    for (name, value) in
        [("v", b"value".as_slice()), ("large", &large), ("n", b"0\n".repeat(9000).as_slice())]
    {
        values.insert(Reference::parse(name).unwrap().key, secret(&[("value", value)]));
    }
    values.insert(Reference::parse("gone").unwrap().key, Err(Absent::Missing));
    let begin = time_used();
    let outcome = render_with("hostile", text, Options { syntax, ..Options::default() }, &values);
    let took = time_used() - begin;
    assert!(took < Duration::from_secs(2), "{took:?} for {:?}…", text.chars().take(80).collect::<String>());
    outcome
}

/// By this thread alone: a busy machine does not make a template slow.
fn time_used() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock").into()
}

#[test]
fn hostile_templates_are_refused_in_time() {
    for text in &hostile::templates() {
        let Rendering::Failed(error) = suffers(text, Syntax::Jinja) else {
            panic!("{text:.100} was rendered")
        };
        assert!(error.excerpt().len() < 2000, "{error}");
    }
    // All of the tests in this process together; a single template that gets away takes gigabytes.
    let peak = peak_memory();
    assert!(peak < 400, "{peak} MiB were needed");
}

/// In MiB.
fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[test]
fn text_that_only_looks_like_ours_costs_little() {
    let long = |pattern: &str| pattern.repeat(256 * 1024 / pattern.len());
    for pattern in [
        "<<",
        "<< ",
        "<<(",
        "<<'",
        "<<\"",
        "<<'a",
        "<<a.",
        "<<a.b ",
        "<% ",
        "<%",
        "<#",
        "<<secrets ",
        "<<env ",
        "<",
        "<<- ",
        "<<(((((((",
        "<<not ",
        "<<'\"",
        "<< 1 ",
        "<<\n",
        "<#-",
        "<<secret",
        "<<a>>",
        "<<a|upper>>",
        "{{secrets",
        "{{secrets.a}}",
        "<% end ",
        "<% end %>",
        "<%a",
    ] {
        // Text or an error: either in time.
        suffers(&long(pattern), Syntax::Angle);
    }
    let Rendering::Done(bytes) = suffers(&long("<<"), Syntax::Angle) else { panic!("`<<` alone is text") };
    assert_eq!(bytes.len(), 256 * 1024);
    let Rendering::Failed(error) = suffers(&(long("x") + "x"), Syntax::Angle) else { panic!("too large") };
    assert_eq!(error.kind, Kind::TooLarge);
}

/// The deepest template that is allowed fits half of a worker thread's stack, without optimisation too.
#[test]
fn the_deepest_template_fits_a_small_stack() {
    let expression =
        format!("{}'a'{}{}", "(".repeat(31), " ~ 'b'".repeat(60), ")".repeat(31)) + &" | trim".repeat(60);
    let text = "{% if 1 %}{% for x in [1] %}".repeat(16)
        + "{{ "
        + &expression
        + " }}"
        + &"{% endfor %}{% endif %}".repeat(16);
    let rendering =
        std::thread::Builder::new().stack_size(1024 * 1024).spawn(move || suffers(&text, Syntax::Jinja));
    let Rendering::Done(bytes) = rendering.unwrap().join().unwrap() else { panic!("it is allowed") };
    assert_eq!(bytes.len(), 61);
}

/// So do all others that go as deep as they may.
#[test]
fn every_kind_of_depth_fits_a_small_stack() {
    let nested =
        |open: &str, close: &str, times: usize| format!("{}'a'{}", open.repeat(times), close.repeat(times));
    for expression in [
        nested("not ", "", 128),
        nested("", " if 1 else 2", 64),
        nested("", " ~ 'b'", 128),
        nested("[", "]", 32) + " | tojson",
        nested("('b' == ", ")", 32),
        nested("(1 and not ", ")", 32),
        nested("('x' | default(", "))", 16),
        nested("(1 if 1 else ('b' ~ ", "))", 16),
    ] {
        let text = "{% if 1 %}".repeat(48) + "{{ " + &expression + " }}" + &"{% endif %}".repeat(48);
        let thread = std::thread::Builder::new().stack_size(1024 * 1024);
        let rendering = thread.spawn(move || suffers(&text, Syntax::Jinja)).unwrap().join().unwrap();
        assert!(matches!(rendering, Rendering::Done(_)), "{expression} is allowed");
    }
}

#[test]
fn output_has_its_cap() {
    let value = vec![b'x'; 1024 * 1024];
    let text = "<< secrets.v >>".repeat(5);
    let Rendering::Failed(error) = render(&text, Format::Text, &[("v", &value)]) else {
        panic!("5 MiB were rendered")
    };
    assert_eq!(error.kind, Kind::TooLarge);
    let text = "<< secrets.v >>".repeat(4);
    let Rendering::Done(bytes) = render(&text, Format::Text, &[("v", &value)]) else {
        panic!("4 MiB are allowed")
    };
    assert_eq!(bytes.len(), 4 * 1024 * 1024);
}

/// What ours and Jinja both read must mean the same to both. Two things differ on purpose: `true` and
/// `null` are written as configs write them (Jinja: `True`, `None`), and `urlencode` encodes `/` too.
#[test]
fn jinja_agrees() {
    let secrets = [
        ("a", "alpha"),
        ("b", "b & <c> \"d\" 'e'"),
        ("lines", "x\ny\n\nz"),
        ("empty", ""),
        ("json", "[1, {\"k\": \"v\"}]"),
    ];
    for text in [
        "{{ secrets.a }} {{- secrets.b -}}  x",
        "{% if secrets.a %}y{% else %}n{% endif %}{% if secrets.empty %}y{% elif true %}e{% endif %}",
        "{% if secrets.a == 'alpha' and not secrets.empty or false %}y{% endif %}",
        "{% for x in ['a', 'b', 'c'] %}{{ loop.index }}{{ loop.index0 }}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
        "{% for x in ['a', 'b'] -%}\n  {{ secrets[x] }}\n{%- endfor %}",
        "{% for k, v in [['a', 1], ['b', 2]] %}{{ k }}={{ v }};{% else %}none{% endfor %}{% for x in [] %}{% else %}none{% endfor %}",
        "{{ 'a' ~ 1 ~ secrets.a ~ 'z' }} {{ 'a' + 'b' }}",
        "{{ 'x' if secrets.empty else secrets.a }} {{ 'x' if 1 < 2 else 'y' if 2 < 1 else 'z' }}",
        "{{ secrets.a | upper | lower }} {{ '  x ' | trim }}|{{ ['a', 'b'] | join(', ') }}",
        "{{ secrets.nothing | default('d') }} {{ secrets.empty | default('d') }} {{ secrets.empty | default('d', true) }}",
        "{% if 'lph' in secrets.a and 'q' not in secrets.a and 2 in [1, 2] %}in{% endif %}",
        "{# a comment {{ secrets.a }} #}x{#- trimmed -#}  y\n",
        "{% raw %}{{ not.ours }} {% if %}{% endraw %}{%- raw -%}  x  {%- endraw -%}  ",
        "{{ secrets.b | tojson }}".replace("secrets.b", "secrets.a").as_str(),
        "{{ secrets.lines | indent(2) }}|{{ secrets.lines | indent(3, true) }}",
        "{{ 'a\\nb\\t\\\"' }}{{ \"it's\" }}{{ 1 }}{{ -2 }}{{ 1.5 }}",
        "{% if secrets.a is defined and secrets.nothing is not defined and none is none %}y{% endif %}",
        "{{ secrets['a'] }}{{ (secrets.a) }}{{ 'x' if not secrets.a == secrets.b else 'y' }}",
        "{% if 1 == 1.0 %}a{% endif %}{% if 'a' < 'b' %}b{% endif %}{% if 2 >= 3 %}c{% endif %}{% if 'a' != 'b' %}d{% endif %}",
        "{% if not secrets.a == 'b' and 1 != 2 or 3 < 2 %}y{% else %}n{% endif %}\n",
    ] {
        assert_eq!(ours(text, &secrets), jinjas(text, &secrets), "{text}");
    }
}

fn ours(text: &str, secrets: &[(&str, &str)]) -> String {
    let options = Options { syntax: Syntax::Jinja, ..Options::default() };
    let mut values: Values = secrets
        .iter()
        .map(|(name, value)| (Reference::parse(name).unwrap().key, secret(&[("value", value.as_bytes())])))
        .collect();
    values.insert(Reference::parse("nothing").unwrap().key, Err(Absent::Missing));
    match render_with("ours", text, options, &values) {
        Rendering::Done(bytes) => String::from_utf8(bytes).unwrap(),
        Rendering::Failed(error) => panic!("{}", message(&error)),
    }
}

fn jinjas(text: &str, secrets: &[(&str, &str)]) -> String {
    let mut environment = minijinja::Environment::new();
    let syntax = minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap();
    environment.set_syntax(syntax);
    let secrets: HashMap<_, _> = secrets.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    environment.render_str(text, minijinja::context! { secrets }).unwrap()
}

/// What templates are made of, and what goes wrong in them.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop::sample::select(vec![
        "<<",
        ">>",
        "<%",
        "%>",
        "<#",
        "#>",
        "<<-",
        "->>",
        "{{",
        "}}",
        "{%",
        "%}",
        "-",
        " ",
        "\n",
        "\r\n",
        "\t",
        "=",
        "\"",
        "'",
        "`",
        "\\",
        "$",
        "${",
        "}",
        "#",
        ";",
        "K",
        "K=",
        "export ",
        "secrets",
        ".v",
        ".gone",
        "secrets.v",
        "secrets['v']",
        "[",
        "]",
        "(",
        ")",
        "|",
        " | raw ",
        " | quote ",
        " | upper ",
        " | default 'x' ",
        " | from_json ",
        " | lines ",
        "~",
        "==",
        "if ",
        "elif ",
        "else ",
        "endif ",
        "for x in ",
        "endfor ",
        "raw",
        "endraw",
        "x",
        "loop.index",
        "not ",
        " in ",
        " is defined",
        "secret('v', version=1)",
        "env.HOME",
        "reader.uid",
        "1",
        "1.5",
        ",",
        ":",
        "{",
        "/*",
        "//",
        "\u{e9}",
        "\u{2028}",
        "\0",
    ]);
    prop::collection::vec(scrap, 0..24).prop_map(|scraps| scraps.concat())
}

fn options() -> impl Strategy<Value = Options> {
    let formats = [Format::Text, Format::Json, Format::Env(Dialect::Dotenv), Format::Env(Dialect::Systemd)];
    let syntaxes = [Syntax::Angle, Syntax::Jinja];
    let choose = (prop::sample::select(formats.to_vec()), prop::sample::select(syntaxes.to_vec()));
    choose.prop_map(|(format, syntax)| Options { format, syntax, verify: false, ..Options::default() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any text is rendered or refused with its place; nothing panics.
    #[test]
    fn every_text_has_an_answer(text in scraps(), options in options()) {
        let mut values = Values::new();
        values.insert(Reference::parse("v").unwrap().key, secret(&[("value", b"va'l\"ue")]));
        values.insert(Reference::parse("v@1").unwrap().key, Err(Absent::Expired));
        values.insert(Reference::parse("gone").unwrap().key, Err(Absent::Missing));
        let template = Template::compile("t", &text, options);
        let keys = template.as_ref().map(|template| template.keys().to_vec()).unwrap_or_default();
        for key in keys {
            values.entry(key).or_insert(Err(Absent::Missing));
        }
        if let Rendering::Failed(error) = render_with("t", &text, options, &values) {
            let line = text.split('\n').nth(error.line as usize - 1).expect("the line exists");
            prop_assert!(error.column as usize <= line.chars().count() + 1, "{}", error);
            prop_assert!(error.excerpt().contains('^'));
        }
    }

    /// Text in which nothing is ours comes out byte for byte, whatever the format makes of it.
    #[test]
    fn text_is_not_touched(text in scraps(), options in options()) {
        let text = text.replace(['<', '{'], "");
        let Rendering::Done(bytes) = render_with("t", &text, options, &Values::new()) else { panic!("{text:?}") };
        prop_assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }
}

#[test]
fn a_template_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&Template::compile("t", "<< secrets.a >>", Options::default()).unwrap());
}
