//! Programs that look like another one, and programs that another one lives in.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::common::{STRANGER, USER, copy_program, stdout_of, tool};
use crate::stage::{Stage, VALUE, compiled};

/// `only` may be read by this program alone.
fn stage_of(program: &str) -> Stage {
    Stage::with(&format!("    only: {{mode: \"0444\", access: [{{allow: {{exe: {program}}}}}]}}\n"))
}

/// What the program says, as a user of no rights.
fn said(command: &mut Command) -> String {
    let output = command.uid(USER).gid(USER).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// A process that has read, and waits to be let go.
struct Waiting {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Waiting {
    fn of(mut command: Command) -> Self {
        command.uid(USER).gid(USER).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }

    fn exe(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.child.id())).unwrap()
    }

    /// What it says that waits for a line of ours.
    fn reads(&mut self) -> String {
        self.child.stdin.as_mut().unwrap().write_all(b"again\n").unwrap();
        self.line()
    }

    /// Its exit status.
    fn ends(mut self) -> i32 {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn case_10_a_forged_program_is_not_believed() {
    let cat = real("cat");
    let stage = stage_of(&cat);
    let mut forger = Waiting::of(stage.command("forge", &[&cat, &stage.file("only")]));
    assert_eq!(forger.line(), "read: \n");
    assert_eq!(forger.exe(), Path::new(&cat), "the control: all that /proc tells of it is forged");
    assert_eq!(forger.ends(), libc::EACCES);
    assert_eq!(said(Command::new(&cat).arg(stage.file("only"))), VALUE, "the control: the program itself");
    let mut forger = Waiting::of(stage.command("forge", &[&cat, &stage.file("all")]));
    assert_eq!(forger.line(), format!("read: {VALUE}\n"), "the control: it can read");
}

/// What was found out of a thread is not believed of what it has become since.
#[test]
fn case_10_who_was_the_program_before_cannot_forge_it() {
    let stage = Stage::with("    only: {mode: \"0444\", access: [{allow: {exe: PLACE/reader}}]}\n");
    let (only, all) = (stage.file("only"), stage.file("all"));
    let program = |name: &str| stage.program(name).display().to_string();
    let forging = |file: &str| {
        let (forge, reader) = (program("forge"), program("reader"));
        Waiting::of(stage.command("reader", &["exec", &only, &forge, &reader, file]))
    };
    let mut forger = forging(&only);
    assert_eq!(forger.line(), "read: \n");
    assert_eq!(forger.exe(), stage.program("reader"), "the control: the same program again");
    assert_eq!(forger.ends(), libc::EACCES);
    assert_eq!(forging(&all).line(), format!("read: {VALUE}\n"), "the control: it can read");
    assert_eq!(stage.run("reader", &["read", &only]), format!("read: {VALUE}\n"), "the control");
}

/// A program belongs to the memory of a process, and memory can be shared with who may forge it:
/// nothing that the kernel shows afterwards tells it. So nobody is promised that.
#[test]
fn case_10_who_shares_the_memory_forges_it_and_the_tables_say_so() {
    let cat = real("cat");
    let stage = stage_of(&cat);
    let mut forger = Waiting::of(stage.command("forge", &[&cat, &stage.file("only"), "shared"]));
    assert_eq!(forger.line(), format!("read: {VALUE}\n"));
    assert_eq!(forger.exe(), Path::new(&cat));
    let alone = said(&mut stage.command("reader", &["read", &stage.file("only")]));
    assert_eq!(alone, "read: errno EACCES\n", "the control: as what it is");
    let row = documented("10");
    assert!(row.contains("shares its memory") && row.contains("**allowed**"), "{row}");
    let promised = promised("exe");
    let [_, _, holds, fails, ..] = *promised.split('|').collect::<Vec<_>>() else { panic!("{promised}") };
    assert!(fails.contains("user namespace") && !holds.contains("namespace"), "{promised}");
}

/// Within one user, whoever decides what a program loads or traces it, is that program.
#[test]
fn case_11_code_inside_of_a_program_is_that_program_and_the_table_says_so() {
    let cat = real("cat");
    let stage = stage_of(&cat);
    let mut inside = Command::new(&cat);
    inside.env("LD_PRELOAD", stage.program("preload.so")).env("FILE_TO_READ", stage.file("only"));
    assert_eq!(said(inside.arg("/dev/null")), format!("injected: {VALUE}\n"));
    let row = documented("11");
    assert!(row.contains("`LD_PRELOAD`") && row.contains("**allowed**"), "{row}");
    let promised = promised("exe");
    let [_, _, holds, fails, ..] = *promised.split('|').collect::<Vec<_>>() else { panic!("{promised}") };
    assert!(fails.contains("`LD_PRELOAD`") && !holds.contains("LD_PRELOAD"), "{promised}");
    assert!(holds.contains("traced"), "{promised}");
}

/// What the README says of rules that go by this.
fn promised(fact: &str) -> String {
    let readme = include_str!("../../README.md");
    let row = readme.lines().find(|line| line.starts_with(&format!("| `{fact}`")));
    row.expect("a row of the README's table").to_owned()
}

#[test]
fn case_11_who_is_traced_is_nobody_s_program() {
    let stage = Stage::with("    only: {mode: \"0444\", access: [{allow: {exe: PLACE/reader}}]}\n");
    let by = |how: &str| said(&mut stage.command("reader", &[how, &stage.file("only")]));
    assert_eq!(by("traced"), format!("before: {VALUE}\ntraced: errno EACCES\n"), "from then on");
    assert_eq!(by("read"), format!("read: {VALUE}\n"), "the control");
    assert!(documented("11").contains("traced"), "the table says so");
}

#[test]
fn case_14_a_program_that_was_replaced_or_removed_is_none() {
    let stage = Stage::with("    only: {mode: \"0444\", access: [{allow: {exe: PLACE/reader}}]}\n");
    let program = stage.program("reader");
    let start = || Waiting::of(stage.command("reader", &["wait", &stage.file("only")]));
    let allowed = format!("read: {VALUE}\n");
    let mut old = start();
    assert_eq!(old.reads(), allowed);
    copy_program(&program, &program.with_extension("new"));
    fs::rename(program.with_extension("new"), &program).unwrap();
    assert_eq!(old.reads(), "read: errno EACCES\n");
    let mut new = start();
    assert_eq!(new.reads(), allowed, "the control: what is there now");
    fs::remove_file(&program).unwrap();
    assert_eq!(new.reads(), "read: errno EACCES\n");
}

#[test]
fn case_14_a_program_that_others_may_write_is_none() {
    let stage = Stage::with("    only: {mode: \"0444\", access: [{allow: {exe: PLACE/reader}}]}\n");
    let program = stage.program("reader");
    let reads = || said(&mut stage.command("reader", &["read", &stage.file("only")]));
    assert_eq!(reads(), format!("read: {VALUE}\n"), "the control");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o757)).unwrap();
    assert_eq!(reads(), "read: errno EACCES\n", "writable by others");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    chown(&program, Some(STRANGER), Some(STRANGER)).unwrap();
    assert_eq!(reads(), "read: errno EACCES\n", "of another owner");
}

/// By its digest a program is known whatever stands around it, and no other at its path.
#[test]
fn a_digest_names_one_program() {
    let sum = |path: &Path| {
        stdout_of(&Command::new(tool("sha256sum")).arg(path).output().unwrap())[..64].to_owned()
    };
    let reader = Stage::new().program("reader");
    let rule = |sum: &str| {
        format!(
            "    only: {{mode: \"0444\", access: [{{allow: {{exe: {{path: PLACE/reader, sha256: {sum}}}}}}}]}}\n"
        )
    };
    let sum = sum(&compiled("reader"));
    assert!(!reader.exists(), "its stage is gone");
    let stage = Stage::with(&rule(&sum));
    let reads = || said(&mut stage.command("reader", &["read", &stage.file("only")]));
    assert_eq!(reads(), format!("read: {VALUE}\n"));
    let program = stage.program("reader");
    let mut bytes = fs::read(&program).unwrap();
    bytes.push(0);
    fs::write(program.with_extension("new"), bytes).unwrap();
    fs::set_permissions(program.with_extension("new"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(program.with_extension("new"), &program).unwrap();
    assert_eq!(reads(), "read: errno EACCES\n", "one byte more");
}

#[test]
fn case_15_a_script_is_its_interpreter() {
    let sh = real("sh");
    let stage = Stage::with(&format!(
        "    only: {{mode: \"0444\", access: [{{allow: {{exe: PLACE/script}}}}]}}\n    \
         shells: {{mode: \"0444\", access: [{{allow: {{exe: {sh}}}}}]}}\n"
    ));
    let script = stage.mount.store().folder().join("script");
    fs::write(&script, format!("#!{sh}\nread -r line < \"$1\" || :; echo \"$line\"\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let by = |file: &str| said(Command::new(&script).arg(stage.file(file)));
    assert!(by("only").contains("denied"), "{}", by("only"));
    assert_eq!(by("shells"), format!("{VALUE}\n"), "so is every other script of it");
}

/// What the docs say of a case.
fn documented(case: &str) -> String {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/identity.md")).unwrap();
    let row = text.lines().find(|line| line.starts_with(&format!("| {case} |")));
    row.unwrap_or_else(|| panic!("docs/identity.md has no row for {case}")).to_owned()
}

/// The path of a program as the kernel has it.
fn real(name: &str) -> String {
    fs::canonicalize(tool(name)).unwrap().display().to_string()
}
