//! Transcripts: files of `$ command` lines, each followed by what it prints and how it fails
//! (`# exit 66`). They are run in a fresh folder and compared; `SECRETFS_BLESS=1` rewrites them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::TestStore;

/// What differs from run to run, and what stands for it: a `9` is a digit, an `h` a hexadecimal one.
const FORMS: [(&str, &str); 3] = [
    ("9999-99-99 99:99:99Z", "YYYY-MM-DD hh:mm:ssZ"),
    ("9999-99-99T99:99:99.999Z", "YYYY-MM-DDThh:mm:ss.mmmZ"),
    ("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh", "STORE-ID"),
];

/// Runs the commands of the file, and holds what they say against it.
#[track_caller]
pub fn check(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let kept = std::fs::read_to_string(&path).expect("the transcript is there");
    let now = replay(&kept);
    if std::env::var_os("SECRETFS_BLESS").is_some() {
        std::fs::write(&path, now).expect("the transcript can be written");
        return;
    }
    let differs = kept.lines().zip(now.lines()).position(|(kept, now)| kept != now);
    let line = differs.unwrap_or(kept.lines().count().min(now.lines().count()));
    let of = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_owned();
    let message = format!("{file}:{}: {}\nbut now:  {}", line + 1, of(&kept), of(&now));
    assert!(kept == now, "{message}\n(SECRETFS_BLESS=1 cargo test takes it as it is now)");
}

/// The file as it would be now. Whatever is neither a command nor its output (a line before the
/// first command, or one that begins with `#`) stays.
fn replay(text: &str) -> String {
    let store = TestStore::new();
    let mut now = String::new();
    let mut is_before = true;
    for line in text.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => {
                is_before = false;
                now += &run(&store, command);
            }
            None if is_before || line.starts_with('#') => now += &format!("{line}\n"),
            None => {}
        }
    }
    now
}

/// `$ command  # exit N`, and stdout and stderr as a terminal would show them.
fn run(store: &TestStore, line: &str) -> String {
    let command = line.split("  # exit ").next().expect("a line");
    let output = shell(store, &format!("exec 2>&1\n{command}")).output().expect("sh can be started");
    let mut said = format!("$ {command}");
    match output.status.code() {
        Some(0) => {}
        code => write!(said, "  # exit {}", code.unwrap_or(-1)).expect("a string takes it"),
    }
    said.push('\n');
    let text = steady(&String::from_utf8_lossy(&output.stdout), store).replace(" \n", "\n");
    said += &text;
    if !text.is_empty() && !text.ends_with('\n') {
        said += "⏎\n";
    }
    said + "\n"
}

/// A shell that finds this store, its key and this binary, and nothing of ours.
fn shell(store: &TestStore, script: &str) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_secretfs")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let mut sh = Command::new("sh");
    sh.args(["-c", script]).current_dir(store.folder()).stdin(Stdio::null()).env_clear().env("PATH", path);
    sh.env("HOME", store.folder()).env("SECRETFS_STORE", "store");
    if let Ok(key) = std::fs::read_to_string(store.key_file()) {
        sh.env("SECRETFS_MASTER_KEY", key.trim());
    }
    sh
}

/// Without the folder, times and ids of this run.
fn steady(text: &str, store: &TestStore) -> String {
    let folder = store.folder().canonicalize().expect("it is there");
    let text = text.replace(&*folder.to_string_lossy(), "/DIR");
    let text = text.replace(&*store.folder().to_string_lossy(), "/DIR");
    mask(&text, &FORMS)
}

/// Replaces what has one of these forms.
fn mask(text: &str, forms: &[(&str, &str)]) -> String {
    let mut masked = String::new();
    let mut rest = text;
    'text: while let Some(first) = rest.chars().next() {
        for (form, name) in forms {
            if fits(rest, form) {
                masked += name;
                rest = &rest[form.len()..];
                continue 'text;
            }
        }
        masked.push(first);
        rest = &rest[first.len_utf8()..];
    }
    masked
}

fn fits(text: &str, form: &str) -> bool {
    let matches = |(c, form)| match form {
        b'9' => u8::is_ascii_digit(&c),
        b'h' => c.is_ascii_hexdigit() && !c.is_ascii_uppercase(),
        other => c == other,
    };
    text.len() >= form.len() && text.bytes().zip(form.bytes()).all(matches)
}
