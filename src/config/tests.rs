//! The config's rules: what is accepted, and where a mistake is said to be.

mod files;
mod providers;

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::policy::{self, Actions, Pattern, Verdict};

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
    set: tls
    files:
      .env: {mode: "0440", verify: false, dialect: systemd, syntax: jinja}
      tls/key.pem: {template: ../tls/key.pem.tpl, set: other, on_change: {command: [./after, -k], debounce: 5s}}
      plain: {on_change: {signal: SIGHUP}}
profiles:
  web: {env: {DATABASE_URL: db.url}, env_files: [web.env.tpl], files: {/app/c.yml: c.yml.tpl, .env: .env.tpl}}
secrets:
  from: env
  stripe_key: store:billing#stripe
env: [HOSTNAME]
ready: [db, "env:A#b"]
control: {socket: ./control.sock, listen: "127.0.0.1:9464"}
policy: []
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
    assert_eq!((merged.set.as_deref(), key.options.set.as_deref()), (Some("tls"), Some("other")));
    let program = ["/etc/app/after", "-k"].map(str::to_owned).to_vec();
    let (action, debounce) = (Action::Command(program), Duration::from_secs(5));
    let timeout = Duration::from_secs(30);
    assert_eq!(key.on_change, Some(Reaction { action, debounce, timeout }));
    let Some(Reaction { action: Action::Signal(signal), debounce, .. }) =
        mount.files[Path::new("plain")].on_change
    else {
        panic!("a signal")
    };
    assert_eq!((signal.name(), debounce), ("HUP", Duration::from_secs(1)));
    assert_eq!(config.ready.iter().map(ToString::to_string).collect::<Vec<_>>(), ["db", "env:A#b"]);
    assert_eq!(config.control.socket.as_deref(), Some(Path::new("/etc/app/control.sock")));
    assert_eq!(config.control.listen, Some(SocketAddr::from(([127, 0, 0, 1], 9464))));
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
        ("set: a b", 10, "`a b` is not a name"),
        ("files: {../x: {}}", 13, "a file's path inside the mount"),
        ("files: {/x: {}}", 13, "a file's path inside the mount"),
        ("files: {a//b: {}}", 13, "a file's path inside the mount"),
        ("files: {a/.env.deploy: {}}", 13, "never served"),
        ("files: {a: {}, a: {}}", 20, "`a` is given twice"),
        ("files: {a: {on_change: {}}}", 28, "expected one of `signal`, `reload`, `restart` and `command`"),
        ("files: {a: {on_change: {debounce: 2s}}}", 28, "expected one of"),
        ("files: {a: {on_change: {signal: HUP, reload: a.service}}}", 28, "expected one of"),
        ("files: {a: {on_change: {command: []}}}", 28, "names no program"),
        ("files: {a: {on_change: {command: make}}}", 38, "expected a list"),
        ("files: {a: {on_change: {signal: HUPP}}}", 37, "unknown signal `HUPP`; did you mean `HUP`?"),
        ("files: {a: {on_change: {reload: app}}}", 37, "did you mean `app.service`?"),
        ("files: {a: {on_change: {restart: --all.service}}}", 38, "is not the name of a unit"),
        ("files: {a: {on_change: {timeout: 0s}}}", 38, "a time like"),
        ("files: {a: {on_change: {signl: HUP}}}", 29, "did you mean `signal`?"),
        ("files: {a: {onchange: 1}}", 17, "unknown key `onchange`"),
    ] {
        let refusal = refusal(&format!("{mount}{line}\n"));
        let place = format!("/etc/app/secretfs.yaml:4:{column}: ");
        assert!(refusal.starts_with(&place) && refusal.contains(says), "{line}: {refusal}");
    }
}

#[test]
fn what_is_not_there_yet_is_refused_where_it_is_asked_for() {
    let refusal = refusal("store: {key: {source: keyring, path: x}}\n");
    assert!(refusal.contains("yaml:1:23: "), "{refusal}");
    assert!(refusal.contains("not available in this version"), "{refusal}");
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
fn what_is_told_is_told_to_this_machine_only() {
    for (listen, says) in [
        ("0.0.0.0:9464", "can be reached from elsewhere"),
        ("[::]:9464", "can be reached from elsewhere"),
        ("localhost:9464", "is not an address"),
        ("9464", "is not an address"),
    ] {
        let refusal = refusal(&format!("control:\n  listen: \"{listen}\"\n"));
        assert!(refusal.contains("yaml:2:11: ") && refusal.contains(says), "{listen}: {refusal}");
    }
    assert!(parse("control: {listen: \"[::1]:9464\"}").is_ok());
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

const RULES: &str = "\
roles:
  ops: {group: wheel}
  all: [{role: ops}, {user: app, unit: [a.service, b.service]}]
policy:
- secrets: stripe/*
  files: [billing/*, /run/x]
  allow:
  - {role: all}
  - {uid: 7}
- {secrets: [a, b], deny: anyone, actions: [list]}
mounts:
- at: /m
  templates: t
  access: [{allow: anyone}]
  files:
    f: {access: [{placeholder: {exe: /usr/bin/vim}}]}
";

#[test]
fn rules_are_kept_in_their_order_and_know_where_they_stand() {
    let config = Config::parse(Path::new("/etc/c.yaml"), RULES).unwrap();
    let [first, second] = &config.policy[..] else { panic!("two rules") };
    assert_eq!(first.access.verdict, Verdict::Real);
    assert_eq!(first.access.who.len(), 2);
    assert_eq!(
        (first.access.actions, second.access.actions),
        (Actions::READ, Actions::of([policy::Action::List]))
    );
    assert_eq!(second.access.who, [Matcher(Vec::new())]);
    let units = Wanted::Unit(["a.service", "b.service"].map(|it| Pattern::parse(it).unwrap()).into());
    assert_eq!(config.roles["all"][1], Matcher(vec![Wanted::User(vec!["app".to_owned()]), units]));
    let files = &config.mounts[0].files[Path::new("f")].options;
    assert_eq!(files.access.as_ref().unwrap()[0].verdict, Verdict::Placeholder);
    let place = |path: &[&str]| config.origin(path, String::new()).place().to_string();
    assert_eq!(place(&["policy", "0"]), "/etc/c.yaml:5:3");
    assert_eq!(place(&["policy", "0", "allow", "1", "uid", "0"]), "/etc/c.yaml:9:11");
    assert_eq!(place(&["policy", "1", "deny", "0"]), "/etc/c.yaml:10:27");
    assert_eq!(place(&["roles", "ops", "0", "group", "0"]), "/etc/c.yaml:2:16");
    assert_eq!(place(&["mounts", "0", "files", "f", "access", "0"]), "/etc/c.yaml:16:18");
    let lists: Vec<_> = config.matchers().into_iter().map(|it| it.path.join(".")).collect();
    assert_eq!(lists.len(), 6, "{lists:?}");
    assert!(lists.contains(&"mounts.0.files.f.access.0.placeholder".to_owned()), "{lists:?}");
}

#[test]
fn the_audit_has_a_place() {
    let config = parse("audit: {file: logs/audit.log, size: 1MiB}\n").unwrap().audit;
    assert_eq!(config.file.as_deref(), Some(Path::new("/etc/app/logs/audit.log")));
    assert_eq!((config.size(), config.keep(), config.is_required()), (1 << 20, 10, true));
    assert!(!parse("").unwrap().audit.is_on());
    assert!(parse("audit: {journald: true}\n").unwrap().audit.is_on());
    for text in ["audit: {}\n", "audit: {required: true}\n", "audit: {journald: false, keep: 3}\n"] {
        let refusal = refusal(text);
        assert!(refusal.contains("the audit has no place"), "{text}: {refusal}");
    }
}
