//! One config in several files.

use super::*;

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
