//! The config's rules: what is accepted, and where a mistake is said to be.

use std::path::Path;
use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/app/secretfs.yaml"), text)
}

/// The whole message, hint included, as its user reads it.
fn refusal(text: &str) -> String {
    let error = parse(text).map(|_| ()).unwrap_err();
    let hint = error.hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default();
    format!("{error}{hint}")
}

#[test]
fn a_whole_config() {
    let config = parse(
        r#"
store: {path: ./.secretfs, backend: sqlite, key: {source: file, path: /keys/app.key}}
mounts:
  - at: /run/secretfs/app
    templates: ./templates
    owner: app
    group: 33
    mode: "0400"
    deadline: 2s
    files:
      .env: {mode: "0440", verify: false, dialect: systemd, syntax: jinja}
      tls/key.pem: {template: ../tls/key.pem.tpl}
profiles:
  web: {env: {DATABASE_URL: db.url}, env_files: [web.env.tpl], files: {/app/c.yml: c.yml.tpl, .env: .env.tpl}}
secrets:
  from: env
  stripe_key: store:billing#stripe
env: [HOSTNAME]
policy: {roles: {}, rules: []}
"#,
    )
    .unwrap();
    assert_eq!(config.store.path.as_deref(), Some(Path::new("/etc/app/.secretfs")));
    assert_eq!(config.store.key_file.as_deref(), Some(Path::new("/keys/app.key")));
    let mount = &config.mounts[0];
    assert_eq!(mount.templates, Path::new("/etc/app/templates"));
    let env = &mount.files[Path::new(".env")].options;
    assert_eq!((env.mode, env.owner.clone()), (Some(0o440), None));
    let merged = env.merged_over(&mount.defaults);
    assert_eq!(merged.owner, Some(Account::Name("app".into())));
    assert_eq!(merged.group, Some(Account::Id(33)));
    assert_eq!((merged.mode, merged.verify), (Some(0o440), Some(false)));
    assert_eq!(merged.deadline, Some(Duration::from_secs(2)));
    assert_eq!((merged.dialect, merged.syntax), (Some(Dialect::Systemd), Some(Syntax::Jinja)));
    let key = &mount.files[Path::new("tls/key.pem")];
    assert_eq!(key.template.as_deref(), Some(Path::new("/etc/app/../tls/key.pem.tpl")));
    assert_eq!(config.profiles["web"].env["DATABASE_URL"], "db.url");
    let files = &config.profiles["web"].files;
    assert_eq!(files[Path::new("/app/c.yml")], Path::new("/etc/app/c.yml.tpl"));
    assert_eq!(files[Path::new("/etc/app/.env")], Path::new("/etc/app/.env.tpl"));
    assert_eq!(config.sources.from.as_deref(), Some("env"));
    assert_eq!(config.sources.map.values().next().unwrap().to_string(), "store:billing#stripe");
    assert!(config.env_allowed.contains("HOSTNAME"));
}

/// The control beside it: a config that names it has it.
#[test]
fn the_environment_is_a_provider_only_if_it_is_named() {
    let has_env = |text: &str| parse(text).unwrap().providers.contains_key("env");
    assert!(!has_env("") && !has_env("secrets: {a: b}"));
    for text in ["secrets: {from: env}", "secrets: {a: env:A}", "providers: {env: {type: env}}"] {
        assert!(has_env(text), "{text}");
    }
}

#[test]
fn nothing_is_a_config_too() {
    for text in ["", "\n", "# only a comment\n", "{}"] {
        assert!(parse(text).unwrap().mounts.is_empty(), "{text:?}");
    }
}

#[test]
fn an_unknown_key_is_located_with_a_suggestion() {
    let expected = "/etc/app/secretfs.yaml:3:5: unknown key `templats`\n  \
                    3 |     templats: x\n    |     ^\ndid you mean `templates`?";
    assert_eq!(refusal("mounts:\n  - at: /m\n    templats: x\n"), expected);
    assert!(refusal("zzzz: 1\n").contains("known here: store, mounts"));
}

#[test]
fn a_wrong_value_is_located() {
    let mount = "mounts:\n  - at: /m\n    templates: t\n    ";
    for (line, column, says) in [
        ("mode: \"0999\"", 11, "is not permission bits"),
        ("mode: 600", 11, "put it in quotes"),
        ("mode: \"0755\"", 11, "no file here is executable"),
        ("mode: [1]", 11, "permission bits"),
        ("mode:", 10, "permission bits"),
        ("deadline: 5", 15, "a time like"),
        ("deadline: 0s", 15, "a time like"),
        ("deadline: 99999999999999999h", 15, "a time like"),
        ("verify: maybe", 13, "true or false"),
        ("format: jsn", 13, "there is no format `jsn`; did you mean `json`?"),
        ("syntax: [a]", 13, "the name of a syntax"),
        ("files: {a: {format: json, dialect: systemd}}", 40, "the format json has no dialects"),
        ("set: tls", 10, "not available in this version"),
        ("files: {../x: {}}", 13, "a file's path inside the mount"),
        ("files: {/x: {}}", 13, "a file's path inside the mount"),
        ("files: {a//b: {}}", 13, "a file's path inside the mount"),
        ("files: {a/.env.deploy: {}}", 13, "never served"),
        ("files: {a: {}, a: {}}", 20, "`a` is given twice"),
        ("files: {a: {on_change: {signal: HUP}}}", 28, "not available in this version"),
        ("files: {a: {onchange: 1}}", 17, "unknown key `onchange`"),
    ] {
        let refusal = refusal(&format!("{mount}{line}\n"));
        let place = format!("/etc/app/secretfs.yaml:4:{column}: ");
        assert!(refusal.starts_with(&place) && refusal.contains(says), "{line}: {refusal}");
    }
}

#[test]
fn what_is_not_there_yet_is_refused_where_it_is_asked_for() {
    for (text, place) in [
        ("providers:\n  v: {type: vault, address: x}\n", "2:13"),
        ("store: {backend: file, path: x}\n", "1:18"),
        ("store: {key: {source: keyring, path: x}}\n", "1:23"),
        ("policy: {rules: [{allow: 1}]}\n", "1:17"),
        ("audit: {sinks: [{file: x}]}\n", "1:16"),
        ("audit: {required: true}\n", "1:19"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(&format!("yaml:{place}: ")), "{text}: {refusal}");
        assert!(refusal.contains("not available in this version"), "{text}: {refusal}");
    }
}

#[test]
fn what_does_not_fit_together_is_located_too() {
    for (text, says) in [
        (
            "secrets:\n  a: b\n  k: valt:x\nproviders: {vault: {type: env}}\n",
            "3:6: no provider is named `valt`",
        ),
        ("secrets: {from: stor}\n", "1:17: no provider is named `stor`"),
        ("providers: {env: {type: store}}\n", "1:18: the name `env` belongs"),
        ("mounts:\n- {at: m, templates: a}\n- {at: m, templates: b}\n", "3:8: two mounts at /etc/app/m"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(says), "{text}: {refusal}");
    }
}

#[test]
fn a_broken_document_is_located() {
    for text in ["a: [", "a: b: c\n", "mounts:\n\t- at: x\n", "- 1\n", "x", "&a [*a, *a]"] {
        assert!(refusal(text).starts_with("/etc/app/secretfs.yaml:"), "{text}: {}", refusal(text));
    }
}

proptest::proptest! {
    #[test]
    fn wild_text_never_panics(text in "(?s)[-a-z:{}\\[\\]\"'&*#|>\n\t 0-9!]{0,80}") {
        let _ = parse(&text);
        let _ = place::locate(&text, &["a", "0"]);
    }
}
