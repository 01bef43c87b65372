//! What shells and manual readers get: bash really completes with the script, names of the store
//! included, and the pages are what mandoc accepts without a word.

mod common;

use std::process::Command;

use common::{TestStore, stdout_of, tool};

const BACK: char = '\u{8}';

/// What bash would offer for the last of these words.
fn complete(store: &TestStore, words: &[&str]) -> Vec<String> {
    let script = r#"
        source <(secretfs completions bash)
        complete -p secretfs >/dev/null || exit 9
        function=$(complete -p secretfs | grep -o -- '-F [^ ]*' | cut -d' ' -f2)
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
        $function secretfs "${COMP_WORDS[COMP_CWORD]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_secretfs")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new(tool("bash"));
    bash.args(["-c", script, "bash"]).args(words).env("PATH", path).current_dir(store.folder());
    bash.env_remove("SECRETFS_STORE").env_remove("SECRETFS_MASTER_KEY");
    stdout_of(&bash.output().unwrap()).lines().map(ToOwned::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_shells() {
    let store = TestStore::new();
    assert_eq!(complete(&store, &["secretfs", "comp"]), ["completions"]);
    assert_eq!(complete(&store, &["secretfs", "get", "--rev"]), ["--reveal"]);
    assert_eq!(complete(&store, &["secretfs", "completions", "z"]), ["zsh"]);
    assert_eq!(complete(&store, &["secretfs", "template", "show", "git"]), ["git/credentials"]);
    assert_eq!(complete(&store, &["secretfs", "zzz"]), [""]);
}

#[test]
fn bash_completes_the_names_of_the_store() {
    let store = TestStore::new();
    store.set("api_key", "the-canary-value").set("app/db", "x");
    stdout_of(&store.run_with(&["set", "db", "--from-json"], r#"{"user": "a", "password": "b"}"#));
    let config =
        "store: {path: store, key: {source: file, path: master.key}}\nprofiles: {web: {}, worker: {}}\n";
    std::fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
    assert_eq!(complete(&store, &["secretfs", "get", "a"]), ["api_key", "app/db"]);
    assert_eq!(complete(&store, &["secretfs", "get", "db"]), ["db", "db.password", "db.user"]);
    assert_eq!(complete(&store, &["secretfs", "exists", "db.u"]), ["db.user"]);
    for command in ["show", "rm", "rotate", "versions", "set"] {
        assert_eq!(complete(&store, &["secretfs", command, "d"]), ["db"], "{command}");
    }
    assert_eq!(complete(&store, &["secretfs", "exec", "--profile", "w"]), ["web", "worker"]);
    stdout_of(&store.run_with(&["--namespace", "other", "set", "elsewhere"], "x"));
    assert_eq!(complete(&store, &["secretfs", "--namespace", "o"]), ["other"]);
    assert_eq!(complete(&store, &["secretfs", "--namespace", "other", "get", "e"]), ["elsewhere"]);
    // What is typed says which store.
    assert_eq!(complete(&store, &["secretfs", "--store", "elsewhere", "get", "a"]), [""]);
    assert_eq!(complete(&store, &["secretfs", "get", "--store", "elsewhere", "a"]), [""]);
}

/// No store, no key: nothing to offer, and no word about it in the middle of somebody's line.
#[test]
fn completion_is_silent_without_a_store() {
    let store = TestStore::new();
    let mut command = store.command(&[]);
    command.env("SECRETFS_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2");
    let output = command.args(["--", "secretfs", "get", "a"]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn every_shell_has_its_script() {
    let store = TestStore::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = store.folder().join(shell);
        std::fs::write(&script, stdout_of(&store.run(&["completions", shell]))).unwrap();
        stdout_of(&Command::new(tool(shell)).arg("-n").arg(&script).output().unwrap());
    }
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_secretfs")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let ask = "source fish; complete -C 'secretfs comp'";
    let mut fish = Command::new(tool("fish"));
    fish.args(["--no-config", "-c", ask])
        .env("PATH", path)
        .env("HOME", store.folder())
        .current_dir(store.folder());
    let offered = stdout_of(&fish.output().unwrap());
    assert!(offered.starts_with("completions\t"), "{offered}");
    let output = store.run(&["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bash, "), "{output:?}");
}

fn lint(page: &std::path::Path) -> String {
    let output =
        Command::new(tool("mandoc")).args(["-T", "lint", "-W", "warning"]).arg(page).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_has_a_page_that_mandoc_accepts() {
    let store = TestStore::new();
    let pages = store.folder().join("man/man1");
    stdout_of(&store.run(&["man", "--dir", pages.to_str().unwrap()]));
    let help = stdout_of(&store.run(&["--help"]));
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands: Vec<_> = commands.lines().take_while(|line| !line.is_empty()).collect();
    for command in commands.iter().map(|line| line.split_whitespace().next().unwrap()) {
        if command != "help" {
            assert!(pages.join(format!("secretfs-{command}.1")).is_file(), "no page for {command}");
        }
    }
    assert!(pages.join("secretfs-template-list.1").is_file());
    for page in pages.read_dir().unwrap().flatten() {
        assert_eq!(lint(&page.path()), "", "{:?}", page.path());
    }
    let wrong = store.folder().join("wrong.1");
    std::fs::write(&wrong, ".TH x 1\n.XX\n").unwrap();
    assert_ne!(lint(&wrong), "", "the lint finds nothing wrong in what is wrong");
}

#[test]
fn the_page_of_the_program_says_what_holds_for_all() {
    let store = TestStore::new();
    let page = store.folder().join("secretfs.1");
    std::fs::write(&page, stdout_of(&store.run(&["man"]))).unwrap();
    let shown = Command::new(tool("mandoc")).args(["-T", "utf8"]).arg(&page).output().unwrap();
    // Bold is a letter struck twice: x, backspace, x.
    let text = stdout_of(&shown);
    let plain: String = text
        .chars()
        .zip(text.chars().skip(1).chain([' ']))
        .filter(|pair| pair.0 != BACK && pair.1 != BACK)
        .map(|pair| pair.0)
        .collect();
    for word in ["EXIT STATUS", "ENVIRONMENT", "FILES", "NO_COLOR", "secretfs-exec(1)"] {
        assert!(plain.contains(word), "no {word} in {plain}");
    }
}
