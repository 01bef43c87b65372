//! Documents that the real sops has encrypted for age, as a provider of files behind the real mount: what reads like
//! the plaintext, what is refused because it was changed, and who may open it.

mod changed;
#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::programmed::{attribute, eventually};
use common::{Mounted, TestMount, stdout_of, tool, tools};

const YAML: &str = "\
# about all
db:
    user: app # beside it
    password: \"Vk7qXw2Rz9LmHt4bNc8Ys6Jd\"
    port: 5432
    ratio: 1.50
    huge: 1e20
    tls: true
    off: false
    empty: \"\"
    nothing: ~
    since: 2020-01-02
    text: |
        two
        lines
list: [a, 2, {x: y}]
copy: &copy {a: b}
again: *copy
plain_unencrypted:
    number: 12
    share: 0.25
    is: true
    none: ~
    text: shown
";
const JSON: &str = r#"{"db": {"user": "ä\"\n", "port": 5432, "ratio": 1.0, "tls": true, "none": null,
    "large": 9007199254740993}, "list": [true, [1]], "n_unencrypted": 7, "f_unencrypted": 1.0, "a/b": "c"}"#;
const ENV: &str =
    "# about all\nBARE=b c\nDOUBLE=\"q # c\\n2\"\nSINGLE='s $x'\nexport OUT=1\nEMPTY=\nX_unencrypted=y\n";
const REFERENCES: &[(&str, &[&str])] = &[
    (
        "yaml",
        &[
            "db#user",
            "db#password",
            "db#port",
            "db#ratio",
            "db#huge",
            "db#tls",
            "db#off",
            "db#empty",
            "db#text",
        ],
    ),
    (
        "yaml",
        &["copy#a", "again#a", "plain_unencrypted#number", "plain_unencrypted#share", "plain_unencrypted#is"],
    ),
    (
        "json",
        &["db#user", "db#port", "db#ratio", "db#tls", "db#large", "n_unencrypted", "f_unencrypted", "a/b"],
    ),
    ("env", &["BARE", "DOUBLE", "SINGLE", "OUT", "EMPTY", "X_unencrypted"]),
];
const MOUNTS: &str = "mounts: [{at: mnt, templates: templates}]\n";

/// A folder with an identity in `key`, and what is encrypted for it.
struct Repo {
    mount: TestMount,
    recipient: String,
}

impl Repo {
    fn new() -> Self {
        let mount = TestMount::new();
        let recipient = keygen(mount.folder(), "key");
        Self { mount, recipient }
    }

    fn with(self, name: &str, text: &str) -> Self {
        let path = self.mount.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// The file `name`, encrypted to itself.
    fn sealed(self, name: &str, text: &str, options: &[&str]) -> Self {
        let repo = self.with(name, text);
        let args = [&["encrypt", "-i", "--age", &repo.recipient], options, &[name]].concat();
        sops(repo.mount.folder(), &args);
        repo
    }

    /// A template of these references to `p`, a line each.
    fn template(mut self, name: &str, provider: &str, references: &[&str]) -> Self {
        let line = |it: &&str| format!("[<< secret('{provider}:{it}') >>]\n");
        self.mount =
            self.mount.template(&format!("{name}.tpl"), references.iter().map(line).collect::<String>());
        self
    }

    /// Each is a provider, of a file of this name.
    fn start(self, providers: &[(&str, &str)]) -> Mounted {
        let provider = |(name, settings): &(&str, &str)| {
            format!("  {name}: {{type: file, {settings}, cache: {{ttl: 100ms, negative_ttl: 100ms}}}}\n")
        };
        let providers: String = providers.iter().map(provider).collect();
        self.mount.config(&format!("providers:\n{providers}{MOUNTS}")).start()
    }
}

fn keygen(folder: &Path, name: &str) -> String {
    let made = Command::new(tool("age-keygen")).current_dir(folder).args(["-o", name]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned()
}

fn run_sops(folder: &Path, args: &[&str]) -> std::process::Output {
    let program = tools("bin/sops");
    assert!(program.exists(), "{} is not there: ./tests/run installs it", program.display());
    let mut command = Command::new(program);
    command.current_dir(folder).env("SOPS_AGE_KEY_FILE", "key").env("HOME", folder).args(args);
    command.output().unwrap()
}

#[track_caller]
fn sops(folder: &Path, args: &[&str]) -> String {
    let done = run_sops(folder, args);
    assert!(done.status.success(), "sops {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    stdout_of(&done)
}

fn reason(mount: &Mounted, file: &str) -> String {
    attribute(mount, file, "error").expect("a reason")
}

#[test]
fn an_encrypted_document_reads_like_its_plaintext() {
    let mut repo = Repo::new();
    let mut providers = Vec::new();
    for (format, text) in [("yaml", YAML), ("json", JSON), ("env", ENV)] {
        let (plain, sealed) = (format!("plain.{format}"), format!("sealed.{format}"));
        repo = repo.with(&plain, text).sealed(&sealed, text, &[]);
        let settings = [format!("path: {plain}"), format!("path: {sealed}, age: {{identity: 'file:key'}}")];
        providers.push((format!("plain_{format}"), settings[0].clone()));
        providers.push((format!("sealed_{format}"), settings[1].clone()));
    }
    for (index, (format, references)) in REFERENCES.iter().enumerate() {
        for kind in ["plain", "sealed"] {
            repo = repo.template(&format!("{kind}{index}"), &format!("{kind}_{format}"), references);
        }
    }
    repo = repo.template("since", "sealed_yaml", &["db#since"]).template("list", "sealed_yaml", &["list"]);
    for name in ["sealed.yaml", "sealed.json", "sealed.env"] {
        let text = fs::read_to_string(repo.mount.folder().join(name)).unwrap();
        assert!(!text.contains("Vk7qXw2Rz9") && !text.contains("q # c") && text.contains("ENC["), "{text}");
    }
    let providers: Vec<_> = providers.iter().map(|(name, it)| (&**name, &**it)).collect();
    let mount = repo.start(&providers);
    for index in 0..REFERENCES.len() {
        assert_eq!(mount.read(&format!("sealed{index}")), mount.read(&format!("plain{index}")));
    }
    assert_eq!(mount.read("since"), "[2020-01-02T00:00:00Z]\n", "as sops itself has it");
    assert!(reason_of_refused(&mount, "list").contains("is a list, no text"));
    let listed = |name: &str| {
        let listed = mount.store().command(&["--config", "secretfs.yaml", "provider", "test", name]).output();
        stdout_of(&listed.unwrap()).lines().filter(|line| line.contains("secrets")).collect::<String>()
    };
    let count = |name: &str| listed(name).split_whitespace().find_map(|word| word.parse::<usize>().ok());
    assert!(
        count("plain_yaml").is_some() && count("plain_yaml") == count("sealed_yaml"),
        "{}",
        listed("sealed_yaml")
    );
}

fn reason_of_refused(mount: &Mounted, file: &str) -> String {
    assert!(fs::read(mount.path(file)).is_err(), "{file} is refused");
    reason(mount, file)
}

#[test]
fn whatever_sops_leaves_in_plaintext_is_known_as_that() {
    let text = "a: one\nb_enc: two\nc_plain: three\nd: {a: 4, e_enc: five}\n# here\nf: six\n";
    let all = [
        "unencrypted_suffix: _plain",
        "encrypted_suffix: _enc",
        r"unencrypted_regex: '^[a-c]_\w+$|^d$'",
        "encrypted_regex: ^(a|f)$",
        "encrypted_comment_regex: here",
        "unencrypted_comment_regex: here",
        "encrypted_regex: ^a$, mac_only_encrypted: true",
        "encrypted_comment_regex: here, mac_only_encrypted: true",
    ];
    let mut repo = Repo::new();
    for (index, rule) in all.iter().enumerate() {
        let (name, rules) = (format!("{index}.yaml"), format!("rules{index}"));
        let rule = format!("creation_rules: [{{age: {}, {}}}]\n", repo.recipient, rule);
        repo = repo.with(&name, text).with(&rules, &rule);
        sops(repo.mount.folder(), &["--config", &rules, "encrypt", "-i", &name]);
        let sealed = fs::read_to_string(repo.mount.folder().join(name)).unwrap();
        let data = sealed.split("\nsops:").next().unwrap();
        assert!(
            data.contains("ENC[")
                && [": one", ": two", ": three", ": six"].iter().any(|it| data.contains(it))
        );
    }
    let names: Vec<_> = (0..all.len()).map(|index| format!("p{index}")).collect();
    for (index, name) in names.iter().enumerate() {
        let references = ["a", "b_enc", "c_plain", "d#a", "d#e_enc", "f"];
        repo = repo.template(&format!("{index}"), name, &references);
    }
    let settings: Vec<_> =
        (0..all.len()).map(|index| format!("path: {index}.yaml, age: {{identity: 'file:key'}}")).collect();
    let providers: Vec<_> = names.iter().zip(&settings).map(|(name, it)| (&**name, &**it)).collect();
    let mount = repo.start(&providers);
    for (index, rule) in all.iter().enumerate() {
        assert_eq!(
            mount.read(&index.to_string()),
            "[one]\n[two]\n[three]\n[4]\n[five]\n[six]\n",
            "{:?}",
            rule
        );
    }
}

#[test]
fn it_is_opened_by_one_of_its_identities_and_nobody_else() {
    let repo = Repo::new();
    let folder = repo.mount.folder().to_owned();
    let (second, _) = (keygen(&folder, "second"), keygen(&folder, "other"));
    let both = format!("{},{second}", repo.recipient);
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let several =
        format!("# mine\n\n{}\r\nAGE-PLUGIN-YUBIKEY-1QYQSZQGPQYQSZ\n{}", text("other"), text("second"));
    let of_pgp = |text: &str| text.replace("    age:", "    pgp:").replace("recipient:", "fp:");
    let repo = repo.with("several", &several).with("wrong", "hunter2\n").with("none", "# nothing\n");
    let repo = repo.with("both.yaml", "a: value\n").sealed("one.yaml", "a: value\n", &[]);
    sops(&folder, &["encrypt", "-i", "--age", &both, "both.yaml"]);
    let repo = repo.with("pgp.yaml", &of_pgp(&text("one.yaml")));
    let repo = repo.with("groups.yaml", &text("one.yaml").replace("    age:", "    key_groups:"));
    let cases = [
        ("one", "one.yaml", "file:key", None),
        ("first", "both.yaml", "file:key", None),
        ("second", "both.yaml", "file:second", None),
        ("several", "both.yaml", "file:several", None),
        ("variable", "both.yaml", "${SOME_KEY}", None),
        ("stored", "one.yaml", "store:age#value", None),
        ("other", "both.yaml", "file:other", Some("the age identity is for another")),
        ("others", "one.yaml", "file:several", Some("none of the 2 age identities is for it (1 of plugins")),
        ("wrong", "one.yaml", "file:wrong", Some("line 1 of the age identity is no `AGE-SECRET-KEY-1…`")),
        ("empty", "one.yaml", "file:none", Some("there is no `AGE-SECRET-KEY-1…` in the age identity")),
        ("gone", "one.yaml", "file:gone", Some("No such file")),
        (
            "unset",
            "one.yaml",
            "${NO_SUCH_VARIABLE}",
            Some("it is not set; set it where the daemon is started"),
        ),
        (
            "unknown",
            "one.yaml",
            "store:nothing",
            Some("there is no such secret; `secretfs set nothing` writes it"),
        ),
        ("pgp", "pgp.yaml", "file:key", Some("it is encrypted for PGP, which is not asked here")),
        ("groups", "groups.yaml", "file:key", Some("split among groups of keys (Shamir)")),
    ];
    let (mut repo, settings) =
        (repo, cases.map(|(_, file, key, _)| format!("path: {file}, age: {{identity: '{key}'}}")));
    repo.mount = repo.mount.env("SOME_KEY", &text("key")).secret("age", text("key"));
    let mut providers = vec![("keyless", "path: one.yaml")];
    providers.extend(cases.iter().zip(&settings).map(|((name, ..), it)| (*name, &**it)));
    for (name, _) in &providers {
        repo = repo.template(name, name, &["a"]);
    }
    let mount = repo.start(&providers);
    for (name, _, _, refused) in cases {
        let Some(says) = refused else {
            assert_eq!(mount.read(name), "[value]\n", "{name}");
            continue;
        };
        let reason = reason_of_refused(&mount, name);
        assert!(reason.contains(says) && !reason.contains("hunter2"), "{name}: {reason}");
    }
    assert_eq!((mount.errno("other"), mount.errno("pgp")), (libc::ENOKEY, libc::ENOKEY));
    let reason = reason_of_refused(&mount, "keyless");
    assert!(reason.contains("age: {identity: \"file:PATH\"}"), "what to write: {reason}");
}

#[test]
fn a_change_by_sops_and_another_identity_are_taken_up() {
    let repo = Repo::new().sealed("a.yaml", "a: one\nb: {c: kept}\n", &[]).template("f", "p", &["a", "b#c"]);
    let folder = repo.mount.folder().to_owned();
    let mount = repo.start(&[("p", "path: a.yaml, age: {identity: 'file:identity'}")]);
    assert!(reason_of_refused(&mount, "f").contains("No such file"), "there is no identity yet");
    fs::copy(folder.join("key"), folder.join("identity")).unwrap();
    eventually("the identity is taken up", || fs::read(mount.path("f")).is_ok());
    assert_eq!(mount.read("f"), "[one]\n[kept]\n");
    sops(&folder, &["set", "a.yaml", "[\"a\"]", "\"two\""]);
    eventually("the change is seen", || mount.read("f") == "[two]\n[kept]\n");
    // Handed on: another recipient, and a new data key.
    let other = keygen(&folder, "other");
    let mine = fs::read_to_string(folder.join("key")).unwrap();
    let mine = mine.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
    sops(&folder, &["rotate", "-i", "--add-age", &other, "--rm-age", &mine, "a.yaml"]);
    eventually("the old identity opens it no more", || fs::read(mount.path("f")).is_err());
    assert!(reason_of_refused(&mount, "f").contains("the age identity is for another"));
    fs::copy(folder.join("other"), folder.join("identity")).unwrap();
    eventually("the new one does", || fs::read(mount.path("f")).is_ok_and(|it| it == b"[two]\n[kept]\n"));
}

/// As a repository has them: a rule for its folder, and files of all kinds.
#[test]
fn a_folder_holds_documents_and_whole_files() {
    let repo = Repo::new();
    let rules = format!("creation_rules:\n  - path_regex: ^secrets/\n    age: {}\n", repo.recipient);
    let mut repo = repo.with(".sops.yaml", &rules).with("secrets/plain", "no secret\n");
    let folder = repo.mount.folder().to_owned();
    for (name, text) in [
        ("secrets/app.yaml", "password: p1\ndb: {user: u, deep: {key: k}}\n"),
        ("secrets/team/app.json", "{\"token\": \"t\", \"db\": {\"user\": \"v\"}}"),
        ("secrets/app.env", "A=b\nB=\"c d\"\n"),
        ("secrets/tls.key", "-----BEGIN\n\u{e4}\n"),
        ("secrets/line", "one line\n"),
        ("secrets/several.yaml", "a: x\n---\nb: y\n"),
    ] {
        repo = repo.with(name, text);
        sops(&folder, &["encrypt", "-i", name]);
    }
    let whole = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let changed = whole("secrets/app.yaml")
        .replace("password: ENC[AES256_GCM,data:", "password: ENC[AES256_GCM,data:AA==");
    let repo =
        repo.with("secrets/changed.yaml", &changed).with("secrets/cut.key", &whole("secrets/tls.key")[..90]);
    let repo = repo
        .template(
            "fields",
            "p",
            &["app.yaml#password", "app.yaml/db#user", "app.yaml/db/deep#key", "app.env#B"],
        )
        .template("below", "p", &["team/app.json#token", "team/app.json/db#user"])
        .template("whole", "p", &["tls.key", "line", "plain"])
        .template("several", "p", &["several.yaml#a", "several.yaml#b"])
        .template("missing", "p", &["app.yaml/none#x"])
        .template("beyond", "p", &["tls.key/data"])
        .template("twice", "p", &["app.yaml/password"])
        .template("changed", "p", &["changed.yaml#password"])
        .template("cut", "p", &["cut.key"])
        .template("keyless", "q", &["line"])
        .template("open", "q", &["plain"])
        .template("document", "r", &["a", "b"]);
    let key = "age: {identity: 'file:key'}";
    let mount = repo.start(&[
        ("p", &format!("path: secrets, {key}")),
        ("q", "path: secrets"),
        ("r", &format!("path: secrets/several.yaml, {key}")),
    ]);
    assert_eq!(mount.read("fields"), "[p1]\n[u]\n[k]\n[c d]\n");
    assert_eq!(mount.read("below"), "[t]\n[v]\n");
    assert_eq!(mount.read("whole"), "[-----BEGIN\n\u{e4}\n]\n[one line\n]\n[no secret]\n");
    assert_eq!((mount.read("several"), mount.read("document")), ("[x]\n[y]\n".into(), "[x]\n[y]\n".into()));
    assert_eq!((mount.errno("missing"), mount.errno("beyond")), (libc::ENOKEY, libc::ENOKEY));
    assert!(reason_of_refused(&mount, "twice").contains("write `app.yaml#password`"));
    let reason = reason_of_refused(&mount, "changed");
    assert!(
        reason.contains("changed.yaml") && reason.contains("`password` is not as sops has encrypted it"),
        "{reason}"
    );
    assert!(
        reason_of_refused(&mount, "cut").contains("it is no JSON"),
        "{}",
        reason_of_refused(&mount, "cut")
    );
    assert!(reason_of_refused(&mount, "keyless").contains("give the provider an age identity"));
    assert_eq!(mount.read("open"), "[no secret]\n", "what is not encrypted needs no identity");
}

/// To open it for each of them would take longer than anybody waits.
#[test]
fn a_document_of_a_folder_is_opened_once_for_all_that_is_asked_of_it() {
    let names: Vec<_> = (0..800).map(|number| format!("s{number}")).collect();
    let text: String = names.iter().map(|name| format!("{name}: {{value: v-{name}}}\n")).collect();
    let references: Vec<_> = names.iter().map(|name| format!("app.yaml/{name}")).collect();
    let references: Vec<_> = references.iter().map(|it| &**it).collect();
    let repo = Repo::new().sealed("all/app.yaml", &text, &[]).template("all", "p", &references);
    let mount = repo.start(&[("p", "path: all, age: {identity: 'file:key'}")]);
    let expected: String = names.iter().map(|name| format!("[v-{name}]\n")).collect();
    assert_eq!(mount.read("all"), expected);
}
