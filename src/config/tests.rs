//! The config's rules: what is accepted, and where a mistake is said to be.

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
    for (text, place) in [
        ("providers:\n  v: {type: aws-sm}\n", "2:13"),
        ("store: {key: {source: keyring, path: x}}\n", "1:23"),
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

fn parse_all(texts: &[&str]) -> Result<Config, String> {
    let names = ["/etc/app/config.yaml", "/etc/app/conf.d/a.yaml", "/etc/app/conf.d/b.yaml"];
    let files = names.into_iter().map(Path::new).zip(texts.iter().copied());
    Config::parse_all(files).map_err(|error| error.to_string())
}

#[test]
fn several_files_are_one_config() {
    let config = parse_all(&[
        "store: x\nenv: [A]\nsecrets: {a: store:b, from: env}\nmounts:\n- {at: /m, templates: t}\n",
        "# nothing\n",
        "env: [B]\nready: [a]\ncontrol: {socket: s}\nsecrets: {c: more:d}\nproviders: {more: {type: env}}\n\
         mounts:\n- {at: /n, templates: t}\n- {at: /o, templates: t, owner: nobody}\n",
    ])
    .unwrap();
    let templates = config.mounts.iter().map(|mount| &*mount.templates);
    let of_the_files = ["/etc/app/t", "/etc/app/conf.d/t", "/etc/app/conf.d/t"].map(Path::new);
    assert!(templates.eq(of_the_files), "each begins at its own folder");
    assert_eq!(config.store.path.as_deref(), Some(Path::new("/etc/app/x")));
    assert_eq!((config.env_allowed.len(), config.sources.map.len()), (2, 2));
    assert_eq!(config.files().count(), 3);
    let error = config.error_at(&["mounts", "2", "owner"], "who?").to_string();
    assert!(error.starts_with("/etc/app/conf.d/b.yaml:8:33: who?"), "{error}");
    let error = config.error_at(&["ready", "0"], "none").to_string();
    assert!(error.starts_with("/etc/app/conf.d/b.yaml:2:9: none"), "{error}");
    let error = config.error_at(&["mounts", "0", "at"], "where?").to_string();
    assert!(error.starts_with("/etc/app/config.yaml:5:8: where?"), "{error}");
}

/// Each is refused with both places; one of them alone is fine.
#[test]
fn what_two_files_say_is_refused() {
    let mount = "mounts: [{at: /m, templates: t}]\n";
    for (text, says) in [
        ("store: y\n", "1:8: `store` is given twice"),
        ("secrets: {k: a}\n", "1:14: `k` is given twice"),
        ("secrets: {from: store}\n", "1:17: `from` is given twice"),
        ("providers: {v: {type: env}}\n", "1:16: `v` is given twice"),
        ("profiles: {w: {}}\n", "1:15: `w` is given twice"),
        ("control: {socket: s}\n", "1:19: `socket` is given twice"),
        (mount, "1:15: two mounts at /m"),
    ] {
        let refusal = parse_all(&[text, "env: [A]", text]).map(|_| ()).unwrap_err();
        let place = says.split(": ").next().unwrap();
        let both = format!("{says}; also in /etc/app/config.yaml:{place}\n");
        assert!(
            refusal.starts_with("/etc/app/conf.d/b.yaml:") && refusal.contains(&both),
            "{text}: {refusal}"
        );
        parse_all(&[text, "env: [A]"]).unwrap();
    }
}

#[test]
fn a_mistake_is_said_to_be_in_its_own_file() {
    for text in
        ["stor: x", "mounts: [{at: a, templates: b, files: {f: {on_change: {}}}}]", "secrets: {k: nix:x}"]
    {
        let refusal = parse_all(&["mounts: [{at: /a, templates: t}]", text]).map(|_| ()).unwrap_err();
        assert!(refusal.starts_with("/etc/app/conf.d/a.yaml:1:"), "{text}: {refusal}");
    }
}

#[test]
fn a_program_is_a_provider_with_limits_and_a_memory() {
    let config = parse(
        "providers:\n  p: {type: exec, command: [./get, -x], timeout: 2s, requests_per_second: 5, cache: {max_stale: 1h, size: 1MiB}}\n  \
         q: {type: exec, command: [get], fields: json, not_found_status: 1, cache: {no_cache: [otp]}}\n",
    );
    let config = config.unwrap();
    let remote = |name: &str| match &config.providers[name] {
        ProviderConfig::Remote(remote) => (**remote).clone(),
        other => panic!("{other:?}"),
    };
    let Remote { source: RemoteSource::Exec(program), limits, keeping } = remote("p") else { panic!() };
    assert_eq!(program.command, ["/etc/app/get", "-x"]);
    assert_eq!((program.prints_json, program.not_found_status), (false, Some(44)));
    assert_eq!((limits.timeout, limits.concurrency), (Duration::from_secs(2), 16));
    assert_eq!((limits.per_second, limits.batch), (Some(5), None));
    assert_eq!((keeping.max_stale, keeping.size), (Some(Duration::from_secs(3_600)), 1 << 20));
    assert_eq!(keeping.ttl, Keeping::default().ttl);
    let Remote { source: RemoteSource::Exec(program), keeping, .. } = remote("q") else { panic!() };
    assert_eq!(program.command, ["get"], "looked for where programs are");
    assert_eq!((program.prints_json, program.not_found_status), (true, Some(1)));
    assert!(keeping.max_stale.is_none() && keeping.no_cache.contains("otp"));
    let summons = |command: &str| {
        parse(&format!("providers: {{s: {{type: exec, protocol: summon, command: {command}}}}}"))
    };
    let config = summons("[summon-conjur]").unwrap();
    let ProviderConfig::Remote(remote) = &config.providers["s"] else { panic!() };
    let RemoteSource::Exec(program) = &remote.source else { panic!() };
    assert_eq!((program.is_of_summon, program.not_found_status), (true, None));
    assert!(summons("[summon-conjur, '/{path}']").is_ok());
    for command in ["[summon-conjur, -v]", "[summon-conjur, -v, '{path}']", "[]"] {
        assert!(summons(command).is_err_and(|error| error.to_string().contains("command")), "{command}");
    }
}

#[test]
fn settings_that_a_provider_does_not_take_are_located() {
    for (text, says) in [
        ("providers:\n  p: {type: exec}\n", "2:13: the type exec needs a `command`"),
        ("providers:\n  p: {type: env, command: [a]}\n", "2:27: a provider of this type takes no `command`"),
        ("providers:\n  p: {type: exec, command: [a], cache: {tll: 1s}}\n", "unknown key `tll`\n"),
        (
            "providers:\n  p: {type: exec, command: [a], cache: {size: 5}}\n",
            "2:47: providers.p.cache.size: `5` is not a size like",
        ),
        ("providers:\n  p: {type: exce, command: [a]}\n", "did you mean `exec`?"),
        ("providers:\n  p: {type: file}\n", "2:13: the type file needs a `path`"),
        ("providers:\n  p: {type: multi}\n", "2:13: the type multi needs `of`"),
        ("providers:\n  p: {type: multi, of: [stor]}\n", "2:25: no provider is named `stor`"),
        ("providers:\n  p: {type: multi, of: [p]}\n", "2:25: `p` is itself made of several"),
        ("providers:\n  p: {type: multi, of: [env, env]}\n", "2:30: `env` is named twice"),
        ("providers:\n  p: {type: multi, of: [env], strategy: merged}\n", "did you mean `merge`?"),
        ("providers:\n  p: {type: exec, command: [a], batch_size: 2}\n", "takes no `batch_size`"),
        ("providers:\n  p: {type: exec, command: [a], tls: {cert: c}}\n", "takes no `tls`"),
        ("providers:\n  p: {type: exec, command: [a], tls: {certt: c}}\n", "did you mean `cert`?"),
        ("providers:\n  p: {type: exec, command: [a], tls: {verify: false}}\n", "unknown key `verify`"),
        ("providers:\n  p: {type: exec, command: [a], adress: x}\n", "did you mean `address`?"),
        (
            "providers:\n  p: {type: exec, command: [a], address: 'http://vault:8200'}\n",
            "2:42: providers.p.address: `http://vault:8200` would send secrets in the clear",
        ),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(says), "{text}: {refusal}");
    }
}

/// The line would show it.
#[test]
fn a_secret_in_the_place_of_its_place_is_not_shown() {
    let shown = refusal("providers:\n  p: {type: vault, auth: {token: 31337}}\n");
    assert!(shown.contains("2:34") && !shown.contains("31337"), "{shown}");
    let control = refusal("providers:\n  p: {type: file, path: x, strategy: 31337}\n");
    assert!(control.contains("31337"), "{control}");
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
fn the_rules_of_more_files_come_after_those_of_the_main_one() {
    let more = "policy: [{secrets: x, allow: anyone}, {secrets: y, allow: {role: op}}]\n";
    let error = Config::parse_all([(Path::new("a.yaml"), RULES), (Path::new("b.yaml"), more)]).unwrap_err();
    assert_eq!(error.in_brief(), "b.yaml:1:66: there is no role `op`");
    let more = "policy: [{secrets: x, allow: anyone}]\n";
    let config = Config::parse_all([(Path::new("a.yaml"), RULES), (Path::new("b.yaml"), more)]).unwrap();
    assert_eq!(config.policy.len(), 3);
    assert_eq!(config.origin(&["policy", "2"], String::new()).place().to_string(), "b.yaml:1:10");
    let again = "roles: {ops: anyone}\n";
    let error = Config::parse_all([(Path::new("a.yaml"), RULES), (Path::new("b.yaml"), again)]).unwrap_err();
    assert!(error.in_brief().contains("`ops` is given twice; also in a.yaml:2:8"), "{error}");
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
