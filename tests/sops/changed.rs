//! What was changed in a document that sops has encrypted is refused, with the name of the place and never with a value.

use std::fs;

use crate::*;

/// What was done to it, in words; how; and the name that is told.
type Change<'a> = (&'a str, Box<dyn Fn(&str) -> String + 'a>, &'a str);

/// The line that begins so, and where it stands.
fn line<'a>(text: &'a str, begins: &str) -> (usize, &'a str) {
    text.lines().enumerate().find(|(_, line)| line.trim_start().starts_with(begins)).expect(begins)
}

fn swapped(text: &str, one: &str, other: &str) -> String {
    let ((first, _), (second, _)) = (line(text, one), line(text, other));
    let mut lines: Vec<_> = text.lines().collect();
    lines.swap(first, second);
    lines.join("\n") + "\n"
}

fn with_values_of_each_other(text: &str, one: &str, other: &str) -> String {
    let value = |begins: &str| line(text, begins).1.split_once(':').unwrap().1.to_owned();
    let (first, second) = (value(one), value(other));
    text.replace(&first, " @").replace(&second, &first).replace(" @", &second)
}

fn without(text: &str, begins: &str) -> String {
    let (at, _) = line(text, begins);
    let kept =
        text.lines().enumerate().filter(|(index, _)| *index != at).map(|(_, line)| format!("{line}\n"));
    kept.collect()
}

#[test]
fn whatever_was_changed_is_refused_with_its_name_and_never_a_value() {
    let text = "db:\n    user: one\n    pass: Vk7qXw2Rz9\n    open_unencrypted: 31337\nlist: [x, y1337]\nlast: three\n";
    let changes: Vec<Change<'_>> = vec![
        ("another value in plaintext", Box::new(|it| it.replace("31337", "31338")), "its MAC does not fit"),
        (
            "a value in place of an encrypted one",
            Box::new(|it| it.replace(line(it, "user:").1, "    user: root")),
            "`db/user` should be encrypted, and is not",
        ),
        ("a number in its place", Box::new(|it| it.replace(line(it, "user:").1, "    user: 5")), "`db/user`"),
        (
            "an empty one in its place",
            Box::new(|it| it.replace(line(it, "user:").1, "    user: \"\"")),
            "its MAC",
        ),
        ("nothing in its place", Box::new(|it| it.replace(line(it, "user:").1, "    user: ~")), "its MAC"),
        (
            "values swapped",
            Box::new(|it| with_values_of_each_other(it, "user:", "pass:")),
            "`db/user` is not as",
        ),
        (
            "names swapped",
            Box::new(|it| it.replace("user:", "@").replace("pass:", "user:").replace('@', "pass:")),
            "`db/",
        ),
        ("lines swapped", Box::new(|it| swapped(it, "user:", "pass:")), "its MAC"),
        (
            "items swapped",
            Box::new(|it| {
                let items: Vec<_> =
                    it.lines().filter(|line| line.trim_start().starts_with("- ENC")).collect();
                it.replace(items[0], "@").replace(items[1], items[0]).replace('@', items[1])
            }),
            "its MAC",
        ),
        ("one cut out", Box::new(|it| without(it, "user:")), "its MAC"),
        ("one twice, under another name", Box::new(|it| it.replace("    user:", "    user2:")), "`db/user2`"),
        ("one added", Box::new(|it| format!("new_unencrypted: x\n{it}")), "its MAC"),
        (
            "a byte of one",
            Box::new(|it| it.replace("user: ENC[AES256_GCM,data:", "user: ENC[AES256_GCM,data:AAAA")),
            "`db/user`",
        ),
        (
            "its type",
            Box::new(|it| {
                let line = line(it, "user:").1;
                it.replace(line, &line.replace("type:str", "type:int"))
            }),
            "`db/user`",
        ),
        (
            "the time",
            Box::new(|it| it.replace("lastmodified: \"2", "lastmodified: \"3")),
            "`sops.lastmodified`",
        ),
        ("no time", Box::new(|it| without(it, "lastmodified:")), "no `lastmodified`"),
        ("no MAC", Box::new(|it| without(it, "mac:")), "no `mac`"),
        (
            "another MAC",
            Box::new(|it| it.replace("mac: ENC[AES256_GCM,data:", "mac: ENC[AES256_GCM,data:AAAA")),
            "`sops.mac`",
        ),
        ("an empty MAC", Box::new(|it| it.replace(line(it, "mac:").1, "    mac: \"\"")), "no `mac`"),
        (
            "another rule",
            Box::new(|it| it.replace("unencrypted_suffix: _unencrypted", "unencrypted_suffix: user")),
            "`db/open_unencrypted`",
        ),
        (
            "two rules",
            Box::new(|it| {
                it.replace("    unencrypted_suffix:", "    encrypted_suffix: x\n    unencrypted_suffix:")
            }),
            "twice",
        ),
        (
            "a sum of less",
            Box::new(|it| {
                it.replace("    unencrypted_suffix:", "    mac_only_encrypted: true\n    unencrypted_suffix:")
            }),
            "its MAC",
        ),
        (
            "no part of sops'",
            Box::new(|it| it.split("sops:").next().unwrap().to_owned()),
            "not the part `sops`",
        ),
        ("a name twice", Box::new(|it| it.replace("last:", "db:")), ""),
    ];
    let mut repo = Repo::new().sealed("fine.yaml", text, &[]).template(
        "fine",
        "fine",
        &["db#pass", "db#open_unencrypted"],
    );
    let folder = repo.mount.folder().to_owned();
    let sealed = fs::read_to_string(folder.join("fine.yaml")).unwrap();
    let mut providers = vec![("fine".to_owned(), "path: fine.yaml, age: {identity: 'file:key'}".to_owned())];
    for (index, (what, change, _)) in changes.iter().enumerate() {
        let changed = change(&sealed);
        assert_ne!(changed, sealed, "{what}");
        let name = format!("changed{index}");
        repo = repo.with(&format!("{name}.yaml"), &changed).template(&name, &name, &["db#pass"]);
        let is_refused = !run_sops(&folder, &["decrypt", &format!("{name}.yaml")]).status.success();
        assert!(is_refused, "what the real sops makes of it: {what}");
        providers.push((name.clone(), format!("path: {name}.yaml, age: {{identity: 'file:key'}}")));
    }
    let providers: Vec<_> = providers.iter().map(|(name, it)| (&**name, &**it)).collect();
    let mount = repo.start(&providers);
    for (index, (what, _, says)) in changes.iter().enumerate() {
        let file = format!("changed{index}");
        let errno = mount.errno(&file);
        let reason = reason(&mount, &file);
        assert!([libc::EBADMSG, libc::EIO].contains(&errno), "{what}: {errno}, {reason}");
        assert!(reason.contains(says) && reason.contains(&format!("{file}.yaml")), "{what}: {reason}");
        for value in ["Vk7q", "31337", "31338", "y1337", "AAAA", "root"] {
            assert!(!reason.contains(value) && !mount.stderr().contains(value), "{what}: {reason}");
        }
    }
    assert_eq!(mount.read("fine"), "[Vk7qXw2Rz9]\n[31337]\n", "the control");
}

/// What of a file is changed to what, and what is said of it.
type Replaced<'a> = (&'a str, &'a str, &'a str);

#[test]
fn a_changed_env_or_json_file_is_refused_as_well() {
    let env: &[Replaced<'_>] = &[
        ("C_unencrypted=31337", "C_unencrypted=31338", "its MAC does not fit"),
        ("\nC_unencrypted", "\nD_unencrypted=x\nC_unencrypted", "its MAC does not fit"),
        ("A=ENC", "A2=ENC", "`A2` is not as sops has encrypted it"),
        ("A=ENC", "A=x\nA2=ENC", "`A` should be encrypted, and is not"),
        ("sops_mac=", "sops_mack=", "has no `mac`"),
        ("sops_lastmodified=2", "sops_lastmodified=3", "`sops.lastmodified`"),
        ("map_enc=-----BEGIN", "map_enc=----BEGIN", "its data key is not as age has encrypted it"),
        ("sops_", "spos_", "not the part `sops`"),
        ("\nC_unencrypted=", "\nC_unencrypted ", "expected NAME=value"),
    ];
    let json: &[Replaced<'_>] = &[
        ("31337", "31338", "its MAC does not fit"),
        ("31337", "\"31337\", \"n_unencrypted\": true", "its MAC does not fit"),
        ("\"A\": \"ENC", "\"A2\": \"ENC", "`A2` is not as sops has encrypted it"),
        ("\"mac\":", "\"mack\":", "has no `mac`"),
        ("\"sops\":", "\"spos\":", "not the part `sops`"),
        ("AGE ENCRYPTED", "AGED ENCRYPTED", "its data key is not as age has encrypted it"),
    ];
    let mut repo = Repo::new();
    let key = "age: {identity: 'file:key'}";
    let (mut providers, mut expected) = (Vec::new(), Vec::new());
    for (format, text, changes) in [
        ("env", "A=one\nB=two\nC_unencrypted=31337\n", env),
        ("json", "{\"A\": \"one\", \"B\": [1, 2], \"C_unencrypted\": 31337}", json),
    ] {
        let (fine, name) = (format!("fine.{format}"), format!("fine_{format}"));
        repo = repo.sealed(&fine, text, &[]).template(&name, &name, &["A", "C_unencrypted"]);
        providers.push((name, format!("path: {fine}, {key}")));
        let sealed = fs::read_to_string(repo.mount.folder().join(&fine)).unwrap();
        for (index, (from, to, says)) in changes.iter().filter(|(from, ..)| sealed.contains(from)).enumerate()
        {
            let name = format!("{format}{index}");
            repo = repo.with(&format!("{name}.{format}"), &sealed.replace(from, to)).template(
                &name,
                &name,
                &["A"],
            );
            providers.push((name.clone(), format!("path: {name}.{format}, {key}")));
            expected.push((name, *says));
        }
    }
    assert!(expected.len() >= env.len() + json.len(), "{expected:?}");
    let providers: Vec<_> = providers.iter().map(|(name, it)| (&**name, &**it)).collect();
    let mount = repo.start(&providers);
    for (name, says) in expected {
        let reason = reason_of_refused(&mount, &name);
        assert!(reason.contains(says) && !reason.contains("3133"), "{name}: {reason}");
    }
    for format in ["env", "json"] {
        assert_eq!(mount.read(&format!("fine_{format}")), "[one]\n[31337]\n", "the control");
    }
}

/// Who reads by the path would get to it first; there is no value in it that the MAC could miss.
#[test]
fn an_empty_place_in_front_of_a_sealed_one_is_refused() {
    let repo = Repo::new().sealed("app.yaml", "db:\n    cred:\n        password: Vk7qXw2Rz9\n", &[]);
    let text = fs::read_to_string(repo.mount.folder().join("app.yaml")).unwrap();
    let fronts = ["{}", "{password: ~}", "{password: []}", "{x: {}}"];
    let template = |name: &str| format!("<< secret('{name}:db/cred#password') | default('changeme') >>");
    let mut repo = repo;
    repo.mount = repo.mount.template("good.tpl", template("good"));
    let mut providers = vec![("good".to_owned(), "path: app.yaml, age: {identity: 'file:key'}".to_owned())];
    for (number, front) in fronts.iter().enumerate() {
        let name = format!("p{number}");
        repo = repo.with(&format!("{name}.yaml"), &format!("\"db/cred\": {front}\n{text}"));
        repo.mount = repo.mount.template(&format!("{name}.tpl"), template(&name));
        providers.push((name.clone(), format!("path: {name}.yaml, age: {{identity: 'file:key'}}")));
    }
    let providers: Vec<_> = providers.iter().map(|(name, settings)| (&**name, &**settings)).collect();
    let mount = repo.start(&providers);
    assert_eq!(mount.read("good"), "Vk7qXw2Rz9", "the control");
    for (number, front) in fronts.iter().enumerate() {
        let reason = reason_of_refused(&mount, &format!("p{number}"));
        assert!(reason.contains("is there twice, in two ways of writing it"), "{front}: {reason}");
    }
}
