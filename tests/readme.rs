//! The README's commands, run in order and compared with what it says that they print.
//!
//! A `console` block has commands after `$ ` (continued after `> `) and their output. The blocks of
//! one file are one shell session, in a copy of `examples/` and `templates/`. In the output, `…`
//! stands for anything within a line, and alone in a line for any lines. A command that ends in
//! `&` goes on in the background once it has printed its lines; one that fails says how: `# exit 66`.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What the README tells to run, and CI runs by itself.
const TWO_COMMANDS: &[&str] = &["cargo run --release -- demo", "./tests/run"];

#[test]
fn the_readme_tells_the_truth() {
    for program in ["jq", "getfattr"] {
        common::tool(program);
    }
    check("README.md", "");
}

#[test]
fn the_page_of_the_store_tells_the_truth() {
    for program in ["jq", "openssl"] {
        common::tool(program);
    }
    check("docs/store.md", "");
}

#[test]
fn the_page_of_rules_tells_the_truth() {
    common::tool("jq");
    check("docs/policy.md", "");
}

#[test]
fn the_page_of_the_audit_tells_the_truth() {
    common::tool("jq");
    check("docs/audit.md", "");
}

#[test]
fn the_pages_of_providers_tell_the_truth() {
    check("docs/providers.md", "");
    check("docs/providers/env.md", "");
    check("docs/providers/multi.md", "");
}

#[test]
fn the_page_of_files_tells_the_truth() {
    common::tool("age-keygen");
    check("docs/providers/file.md", "");
}

#[test]
fn the_page_of_programs_tells_the_truth() {
    check("docs/providers/exec.md", "");
}

#[test]
fn the_page_of_exec_tells_the_truth() {
    common::tool("base64");
    check("docs/exec.md", "");
}

#[test]
fn the_quickstart_runs_as_it_stands() {
    check("examples/quickstart/README.md", "examples/quickstart");
}

#[test]
fn every_block_is_of_a_kind_that_is_run() {
    let text = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    for block in blocks(&text) {
        match block.kind.as_str() {
            "console" | "text" => {}
            "sh" => {
                let commands: Vec<_> =
                    block.lines.iter().map(|line| line.split("  #").next().unwrap().trim()).collect();
                assert_eq!(commands, TWO_COMMANDS, "line {}", block.line);
            }
            "yaml" => {
                let file = Path::new("secretfs.yaml");
                let parsed = secretfs::config::Config::parse(file, &block.lines.join("\n"));
                parsed.unwrap_or_else(|error| panic!("README.md, block at line {}: {error}", block.line));
            }
            kind => panic!("README.md:{}: nothing runs a block of kind `{kind}`", block.line),
        }
    }
}

/// The control: a README that lies is caught.
#[test]
fn a_wrong_line_is_caught() {
    let differences = |text: &str| run(text, "");
    let block = |lines: &str| format!("```console\n{lines}\n```\n");
    assert_eq!(differences(&block("$ echo a; echo b\na\nb")), "");
    assert_eq!(differences(&block("$ echo abc\na…c")), "");
    assert_eq!(differences(&block("$ echo a; echo b; echo c\na\n…\nc")), "");
    assert_eq!(differences(&block("$ x=1\n$ echo $x\n1")), "");
    assert_eq!(differences(&block("$ echo a &&\n>   false  # exit 1\na")), "");
    for wrong in
        ["$ echo a\nb", "$ echo a", "$ true\na", "$ false", "$ true  # exit 1", "$ echo a; echo b\na\n…\nc"]
    {
        assert_ne!(differences(&block(wrong)), "", "{wrong}");
    }
}

fn check(file: &str, folder: &str) {
    let text =
        fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let differences = run(&text, folder);
    assert!(differences.is_empty(), "{file} says something else than what happens:\n{differences}");
}

struct Block {
    kind: String,
    /// Where it begins in the file.
    line: usize,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                open = Some(Block { kind: kind.to_owned(), line: number + 1, lines: Vec::new() })
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in blocks(text).into_iter().filter(|block| block.kind == "console") {
        for (number, line) in block.lines.iter().enumerate() {
            if let Some(command) = line.strip_prefix("$ ") {
                let line = block.line + number + 1;
                steps.push(Step { line, command: command.to_owned(), expected: Vec::new() });
                continue;
            }
            let step = steps.last_mut().expect("a block begins with a command");
            match line.strip_prefix("> ") {
                Some(more) => step.command += &format!("\n{more}"),
                None => step.expected.push(line.clone()),
            }
        }
    }
    steps
}

/// Runs all steps as one session. What differs, as text.
fn run(text: &str, folder: &str) -> String {
    let steps = steps(text);
    let place = TempDir::with_prefix("secretfs-readme-").unwrap();
    for part in ["examples", "templates"] {
        copy(&Path::new(ROOT).join(part), &place.path().join(part));
    }
    let outputs = TempDir::with_prefix("secretfs-readme-").unwrap();
    let script = outputs.path().join("script");
    fs::write(&script, script_of(&steps, outputs.path())).unwrap();
    let mut command = session(&script, &place.path().join(folder), place.path());
    let status = command.status().expect("sh can be started");
    let mut differences = String::new();
    for (number, step) in steps.iter().enumerate() {
        let read = |what: &str| {
            fs::read_to_string(outputs.path().join(format!("{number}.{what}"))).unwrap_or_default()
        };
        let (output, status) = (read("out"), read("status"));
        if let Some(difference) = difference(step, &output, status.trim()) {
            let _ = writeln!(differences, "line {}: $ {}\n{difference}", step.line, step.command);
        }
    }
    if !status.success() && differences.is_empty() {
        differences = format!("the session ended with {status}");
    }
    differences
}

/// A shell with a clean environment that finds this build's binary.
fn session(script: &Path, folder: &Path, home: &Path) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_secretfs")).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = [binary, common::tools("bin")];
    let folders: Vec<PathBuf> = own.into_iter().chain(std::env::split_paths(&path)).collect();
    let mut command = Command::new("sh");
    command.arg(script).current_dir(folder).env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::join_paths(folders).unwrap()).env("HOME", home).env("LC_ALL", "C.UTF-8");
    command.process_group(0);
    command
}

fn script_of(steps: &[Step], outputs: &Path) -> String {
    let outputs = outputs.display();
    // Whatever still runs at the end is ended with the session.
    let mut script = "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n".to_owned();
    for (number, step) in steps.iter().enumerate() {
        let out = format!("{outputs}/{number}.out");
        let _ = writeln!(script, "{{ {}\n}} >{out} 2>&1\necho $? >{outputs}/{number}.status", step.command);
        if is_background(step) {
            let lines = step.expected.len();
            let _ = writeln!(
                script,
                "i=0; while [ $i -lt 200 ] && [ $(wc -l <{out}) -lt {lines} ]; do i=$((i+1)); sleep 0.05; done
                cp {out} {out}.then && mv {out}.then {out}"
            );
        }
    }
    script
}

fn is_background(step: &Step) -> bool {
    step.command.trim_end().ends_with('&')
}

fn difference(step: &Step, output: &str, status: &str) -> Option<String> {
    let wanted = step.command.rsplit_once("# exit ").map_or("0", |(_, status)| status.trim());
    let lines: Vec<&str> = output.lines().collect();
    let expected: Vec<&str> = step.expected.iter().map(String::as_str).collect();
    if status == wanted && fits(&expected, &lines) {
        return None;
    }
    let indented = |lines: &[&str]| lines.iter().map(|line| format!("    {line}\n")).collect::<String>();
    Some(format!(
        "  says (exit {wanted}):\n{}  is (exit {status}):\n{}",
        indented(&expected),
        indented(&lines)
    ))
}

fn fits(expected: &[&str], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((&"…", rest)) => (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..])),
        Some((line, rest)) => {
            lines.split_first().is_some_and(|(first, lines)| fits_line(line, first) && fits(rest, lines))
        }
    }
}

fn fits_line(expected: &str, line: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
