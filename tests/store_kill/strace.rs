//! A command under strace: which system calls it changes a folder's files by, and its death or
//! an error at one of them. Uses std.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt, fs};

use super::common::tool;

/// What changes what lies on a disk, or makes it stay there.
const CALLS: &str = "openat,?open,?creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,\
    ftruncate,truncate,fallocate,?rename,?renameat,renameat2,?link,linkat,?unlink,unlinkat,?mkdir,mkdirat,\
    ?rmdir,?chmod,fchmod,fchmodat";

/// One call of a command, the `nth` of its name among those on these files.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) call: String,
    pub(crate) nth: usize,
    /// It is done before anything is said.
    pub(crate) is_before_word: bool,
    /// Of which file or folder.
    pub(crate) path: PathBuf,
}

impl Point {
    pub(crate) fn is_sync(&self) -> bool {
        self.call.ends_with("sync")
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.call, self.nth, self.path.display())
    }
}

/// A command as it ran undisturbed.
pub(crate) struct Record {
    /// Its calls, in order, as strace writes them: strings in hexadecimal.
    pub(crate) lines: Vec<String>,
    pub(crate) points: Vec<Point>,
    paths: Vec<PathBuf>,
}

pub(crate) struct Ended {
    /// `None` if it was killed.
    pub(crate) status: Option<i32>,
    /// On its stdout.
    pub(crate) said: bool,
    pub(crate) complained: String,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Killed,
    Fails(&'static str),
    /// Not done, and said to be done.
    Skipped,
}

/// Runs a command to its end, which must be a good one.
pub(crate) fn record(command: &Command, stdin: &str, folder: &Path) -> Record {
    let log = folder.with_extension("strace");
    let mut strace = Command::new(tool("strace"));
    strace.args([
        "-f",
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        "16777216",
        "-e",
        "signal=none",
        "-e",
        &format!("trace={CALLS}"),
    ]);
    let ended = run(strace.arg("-o").arg(&log), command, stdin);
    let text = fs::read_to_string(&log).expect("strace's log");
    fs::remove_file(&log).expect("strace's log");
    assert_eq!(ended.status, Some(0), "{command:?} fails: {}", ended.complained);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (mut counts, mut points, mut paths) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut is_before_word = true;
    for line in &lines {
        let Some((call, args)) = call(line) else { continue };
        let touched: Vec<PathBuf> =
            paths_in(args).into_iter().filter(|it| it.starts_with(folder) && !is_unnamed(it)).collect();
        is_before_word &= !(call == "write" && args.starts_with("1<"));
        let Some(path) = touched.first().cloned() else { continue };
        paths.extend(touched);
        let nth = counts.entry(call.to_owned()).and_modify(|count| *count += 1).or_insert(1);
        if !call.starts_with("open") || args.contains("O_CREAT") {
            points.push(Point { call: call.to_owned(), nth: *nth, is_before_word, path });
        }
    }
    paths.sort();
    paths.dedup();
    Record { lines, points, paths }
}

/// Runs the command again, with this at that point.
pub(crate) fn disturb(command: &Command, stdin: &str, record: &Record, point: &Point, fate: Fate) -> Ended {
    let Point { call, nth, .. } = point;
    let what = match fate {
        Fate::Killed => "signal=KILL".to_owned(),
        Fate::Fails(error) => format!("error={error}"),
        Fate::Skipped => "retval=0".to_owned(),
    };
    let mut strace = Command::new(tool("strace"));
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:{what}:when={nth}")]);
    record.paths.iter().for_each(|path| _ = strace.arg("-P").arg(path));
    run(&mut strace, command, stdin)
}

fn run(strace: &mut Command, command: &Command, stdin: &str) -> Ended {
    strace.arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    command.get_current_dir().map(|folder| strace.current_dir(folder));
    strace.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = strace.spawn().expect("strace can be started");
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("strace can be waited for");
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    Ended { status: output.status.code(), said: !output.stdout.is_empty(), complained }
}

/// `PID name(args) = 0` or `PID name(args <unfinished ...>`.
pub(crate) fn call(line: &str) -> Option<(&str, &str)> {
    let (name, args) = line.split_once(' ')?.1.trim_start().split_once('(')?;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some((name, args))
}

/// The paths among the arguments, and those of the descriptors.
pub(crate) fn paths_in(args: &str) -> Vec<PathBuf> {
    let short = |text: &&str| text.len() < 4 * 4096;
    let quoted = args.split('"').skip(1).step_by(2).filter(short);
    let described = args.split("AT_FDCWD<").flat_map(|text| text.split('<').skip(1));
    let described = described.filter_map(|text| text.split_once('>')).map(|(path, _)| path);
    quoted.chain(described).map(|text| String::from_utf8_lossy(&unhex(text)).into_owned().into()).collect()
}

/// The kernel's word for a file without a name, another one each time.
pub(crate) fn is_unnamed(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"#"))
}

/// `\x61` is `a`.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.split("\\x").skip(1);
    pairs.filter_map(|pair| u8::from_str_radix(pair.get(..2)?, 16).ok()).collect()
}
