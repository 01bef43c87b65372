//! A process of the daemon's own user that reads a file over and over, and holds it open meanwhile:
//! for mounts that nobody else may read, the tests' own process included.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::{Daemon, stdout_of};

/// Ends with the file $2, when it has read enough. The content is `k=v` and a digit.
const SCRIPT: &str = "n=0; bad=0; exec 3<$1; echo
while [ ! -e $2 ] || [ $n -le 20 -a $bad -lt 100000 ]; do
    line=; read -r line <$1; case $line in k=v[0-9]) n=$((n+1));; *) bad=$((bad+1));; esac
done
line=; read -r line <&3
[ $n -gt 20 ] && echo $bad failed, ${line:-nothing} is still open";

pub struct Reading(Child);

impl Reading {
    /// It has read once when this returns.
    pub fn start(daemon: &Daemon, name: &str) -> Self {
        let mut sh = Command::new("sh");
        sh.args(["-c", SCRIPT, "sh"]).arg(daemon.path(name)).arg(daemon.folder().join("over"));
        if let Some(uid) = daemon.store().user() {
            sh.uid(uid).gid(uid);
        }
        let mut child = sh.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh can be started");
        child.stdout.as_mut().expect("piped").read_exact(&mut [0]).expect("it reads");
        Self(child)
    }

    /// What came of it, as `0 failed, k=v1 is still open`.
    pub fn end(self, daemon: &Daemon) -> String {
        fs::write(daemon.folder().join("over"), "").expect("a file");
        stdout_of(&self.0.wait_with_output().expect("it ends"))
    }
}
