//! The ready templates of `templates/`: the program carries all of them, and each renders with the
//! secrets that its own head comment tells to set.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{TestStore, stdout_of, tool};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
const PAIR: &str = include_str!("common/pair.pem");

/// Names below the folder, without `.tpl`, sorted.
fn names() -> Vec<String> {
    let mut folders = vec![PathBuf::from(FOLDER)];
    let mut names = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => {
                    let file = entry.strip_prefix(FOLDER).unwrap().to_str().unwrap();
                    names.push(file.strip_suffix(".tpl").expect("only templates lie here").to_owned());
                }
            }
        }
    }
    names.sort();
    names
}

fn text_of(name: &str) -> String {
    fs::read_to_string(Path::new(FOLDER).join(format!("{name}.tpl"))).unwrap()
}

/// The head comment: what `template list` says, how to use it, and the commands that set its secrets.
fn head(text: &str) -> &str {
    text.strip_prefix("<# ").and_then(|text| text.split_once("-#>")).expect("a head comment `<# … -#>`").0
}

fn commands(head: &str) -> impl Iterator<Item = &str> {
    head.lines().filter_map(|line| line.find("secretfs set ").map(|at| line[at..].trim_end()))
}

/// Runs a command as the head comment has it; only what is typed or read from a file is ours.
fn set(store: &TestStore, command: &str) {
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let files = words.iter().filter_map(|word| word.split_once("=@").map(|(_, file)| file));
    files.for_each(|file| make_file(&store.folder().join(file)));
    let arguments: Vec<&str> = words.iter().copied().take_while(|word| *word != "<").collect();
    let names_fields = arguments.contains(&"--field");
    match (names_fields, arguments.contains(&"basic-auth")) {
        (false, true) => {
            let fields = r#"{"username": "app", "password": "p@ss word$1"}"#;
            stdout_of(&store.run_with(&[&arguments[..], &["--from-json"]].concat(), fields));
        }
        _ => drop(stdout_of(&store.run_with(&arguments, "p@ss word$1"))),
    }
}

/// A pair of files that belong together: of OpenSSH, or a certificate with its key.
fn make_file(path: &Path) {
    let name = path.file_name().unwrap().to_str().unwrap();
    if name.ends_with(".pub") {
        // It has come with the private one.
    } else if name.contains("ed25519") {
        let mut make = Command::new(tool("ssh-keygen"));
        stdout_of(&make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).output().unwrap());
    } else {
        let (certificate, key) = PAIR.split_at(PAIR.find("-----BEGIN PRIVATE KEY").unwrap());
        fs::write(path, if name.contains("key") { key } else { certificate }).unwrap();
    }
}

fn dialect(head: &str) -> Option<&str> {
    let (_, after) = head.split_once("dialect: ")?;
    after.split(|c: char| !c.is_ascii_alphanumeric()).next()
}

#[test]
fn the_program_carries_the_whole_folder() {
    let store = TestStore::new();
    let list = stdout_of(&store.run(&["template", "list", "--json"]));
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let listed: Vec<_> = list.iter().map(|about| about["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, names(), "the table in src/cli/template.rs and the folder templates/");
    for about in &list {
        for key in ["programs", "description"] {
            let said = about[key].as_str().unwrap();
            assert!(!said.is_empty() && !said.contains("#>"), "{about}: a first line `PROGRAM: what it is`");
        }
    }
    let table = stdout_of(&store.run(&["template", "list"]));
    let row = table.lines().find(|line| line.starts_with("git/credentials ")).expect("a row");
    assert!(row.contains(" git ") && row.ends_with("logins for its credential store"), "{row}");
    for name in names() {
        let shown = store.run(&["template", "show", &name]);
        assert_eq!(stdout_of(&shown), text_of(&name), "byte for byte");
    }
    let shown = stdout_of(&store.run(&["--json", "template", "show", "git/credentials.tpl"]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["text"], text_of("git/credentials").as_str());
}

#[test]
fn an_unknown_template_is_told_with_what_was_meant() {
    let store = TestStore::new();
    for (name, hint) in [
        ("git/credentails", "did you mean `git/credentials`?"),
        ("git", "did you mean `git/credentials`?"),
        ("htpaswd", "did you mean `nginx/htpasswd`?"),
        ("passphrase", "`borg/passphrase` or `gpg/passphrase` or `openssl/passphrase`"),
        ("../README.md", "secretfs template list"),
    ] {
        let output = store.run(&["template", "show", name]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(66), "{stderr}");
        assert!(stderr.contains(&format!("there is no ready template `{name}`")), "{stderr}");
        assert!(stderr.contains(hint), "{stderr}");
    }
}

#[test]
fn each_renders_with_what_its_head_comment_says() {
    for name in names() {
        let text = text_of(&name);
        let head = head(&text);
        for word in ["Use: ", "Rotation: ", "Secrets: "] {
            assert!(head.contains(word), "{name}: the head comment has no `{word}`");
        }
        let store = TestStore::new();
        commands(head).for_each(|command| set(&store, command));
        let file = format!("{FOLDER}/{name}.tpl");
        let mut arguments = vec!["render", &file];
        dialect(head).into_iter().for_each(|dialect| arguments.extend(["--dialect", dialect]));
        let output = store.run(&arguments);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let rendered = String::from_utf8(output.stdout).unwrap();
        assert!(!rendered.trim().is_empty() && !rendered.contains("#>"), "{name}: {rendered}");
        assert!(!rendered.starts_with(char::is_whitespace), "{name}: {rendered}");
    }
}

/// The control: without a secret that it names, a template does not render.
#[test]
fn a_template_needs_what_its_head_comment_says() {
    for name in names() {
        let file = format!("{FOLDER}/{name}.tpl");
        let output = TestStore::new().run(&["render", &file]);
        assert_eq!(output.status.code(), Some(66), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
