//! What takes its time to find out of a reader: the digest of its program, or its many groups. It is
//! found out where it stands, and nobody else waits for it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{self, Daemon, STRANGER, TestDaemon, USER, long, stdout_of, tool};
use crate::rules::Keeper;
use crate::stage::{Stage, VALUE, compiled, placed};

fn sum_of(path: &Path) -> String {
    stdout_of(&Command::new(tool("sha256sum")).arg(path).output().unwrap())[..64].to_owned()
}

/// Mounted as the script says, until this goes.
struct Mounts(Vec<PathBuf>);

impl Drop for Mounts {
    fn drop(&mut self) {
        for place in self.0.iter().rev() {
            let _ = Command::new("umount").arg("-l").arg(place).status();
        }
    }
}

/// The parts of an overlay have device numbers of their own, which no list of mounts has; so have
/// those of btrfs.
#[test]
fn a_program_on_an_overlay_of_several_filesystems_has_a_digest() {
    let sum = sum_of(&compiled("reader"));
    let rule = |sum: &str| {
        let path = "PLACE/merged/reader";
        format!(
            "    only: {{mode: \"0444\", access: [{{allow: {{exe: {{path: {path}, sha256: {sum}}}}}}}]}}\n"
        )
    };
    let reads = |rule: &str| {
        let stage = Stage::with(rule);
        let folder = stage.mount.store().folder();
        let places = ["lower", "upper", "merged"].map(|name| folder.join(name));
        places.iter().for_each(|place| fs::create_dir(place).unwrap());
        let _mounts = Mounts(places.to_vec());
        let script = "cd $0 && mount -t tmpfs l lower && mount -t tmpfs u upper && mkdir upper/u upper/w \
            && cp $1 lower/reader && chmod 755 lower/reader lower upper upper/u \
            && mount -t overlay -o lowerdir=lower,upperdir=upper/u,workdir=upper/w o merged";
        let reader = compiled("reader");
        stdout_of(&Command::new("sh").args(["-c", script]).arg(folder).arg(reader).output().unwrap());
        let program = folder.join("merged/reader");
        stdout_of(&Command::new(program).arg("read").arg(stage.file("only")).output().unwrap())
    };
    assert_eq!(reads(&rule(&sum)), format!("read: {VALUE}\n"));
    assert_eq!(reads(&rule(&sum.replace(['0', '1'], "2"))), "read: errno EACCES\n", "another digest");
}

/// How long the user waits for a file, at most of so many times; and that he gets it.
fn longest_wait(daemon: &Daemon, uid: u32, times: usize) -> Duration {
    let wait = |_| {
        let start = Instant::now();
        let mut cat = Command::new(tool("cat"));
        cat.arg(daemon.path("f")).uid(uid).gid(uid);
        assert_eq!(stdout_of(&cat.output().unwrap()), VALUE);
        start.elapsed()
    };
    (0..times).map(wait).max().unwrap()
}

/// A user with large programs, of which a rule names one, and with very many groups. What he makes
/// us do must take its time, or it says nothing that others do not wait for it.
#[test]
fn nobody_waits_for_what_another_user_s_programs_are() {
    if !long() {
        return;
    }
    let daemon = TestDaemon::new().secret("pw", VALUE).template("f.tpl", "<< secrets.pw >>");
    let large = ["one", "two", "three", "four"].map(|name| {
        let path = placed(daemon.folder(), "reader").with_file_name(name);
        fs::copy(compiled("reader"), &path).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(400 << 20).unwrap();
        path
    });
    let named = large[0].display();
    let rules = format!(
        "{{deny: {{exe: {{path: {named}, sha256: {}}}}}}}, {{deny: {{gid: 4711}}}}, {{allow: anyone}}",
        "0".repeat(64)
    );
    let config = format!("mounts:\n- {{at: mnt, templates: templates, mode: \"0444\", access: [{rules}]}}\n");
    let daemon = daemon.config(&config).start();
    let quiet = longest_wait(&daemon, STRANGER, 50);
    let slow = Instant::now();
    let read = |program: &PathBuf| {
        let mut reader = Command::new(program);
        reader.arg("read").arg(daemon.path("f")).uid(USER).gid(USER).stdout(Stdio::null());
        reader.spawn().unwrap()
    };
    let mut readers: Vec<_> = large.iter().map(read).collect();
    // What is theirs to wait for may be too long for them.
    let crowd = "import os,sys\nos.setgroups(range(100000,165000))\nos.setgid(int(sys.argv[2]))\n\
        os.setuid(int(sys.argv[2]))\n\
        while True:\n try: open(sys.argv[1]).read()\n except OSError: pass";
    let crowds = || {
        let mut python = Command::new(tool("python3"));
        python.args(["-c", crowd]).arg(daemon.path("f")).arg(USER.to_string());
        python.spawn().unwrap()
    };
    let mut crowds: Vec<_> = (0..4).map(|_| crowds()).collect();
    let others = longest_wait(&daemon, STRANGER, 100);
    readers[0].wait().unwrap();
    let slow = slow.elapsed();
    for child in readers.iter_mut().chain(&mut crowds) {
        let _ = child.kill();
        child.wait().unwrap();
    }
    println!("alone {quiet:?}, beside who made us work for {slow:?}: {others:?}");
    assert!(slow > Duration::from_secs(1), "the control: {slow:?}");
    assert!(others < Duration::from_secs(1), "{others:?}");
}

fn config(folder: &Path, sum: &str) -> String {
    let path = folder.join("reader").display().to_string();
    format!(
        "mounts:\n- {{at: mnt, templates: templates, mode: \"0444\", \
         access: [{{allow: {{user: news, exe: {{path: {path}, sha256: {sum}}}}}}}]}}\n"
    )
}

/// By the first read after the rules have changed, which does not know it yet.
#[test]
fn who_reads_on_under_new_rules_is_asked_for_its_digest() {
    let daemon = TestDaemon::new().secret("pw", VALUE).template("f.tpl", "<< secrets.pw >>");
    let open = "mounts:\n- {at: mnt, templates: templates, mode: \"0444\"}\n";
    let daemon = daemon.config(open).start();
    let sum = sum_of(&compiled("reader"));
    let news = common::NAMED;
    let [mut right, mut wrong] = [(); 2].map(|()| Keeper::of(&daemon, "keep", news));
    let rules = |sum: &str| {
        daemon.config(&config(daemon.folder(), sum));
        stdout_of(&daemon.run(&["reload"]));
    };
    rules(&sum);
    assert_eq!(right.again(), format!("kept: {VALUE}"));
    rules(&sum.replace(['0', '1'], "2"));
    assert_eq!(wrong.again(), "kept: errno EACCES");
    assert_eq!(right.again(), "kept: errno EACCES");
}
