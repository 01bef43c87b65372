//! A mount with a secret, and programs of ours that read it in strange ways.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::common::{self, Mounted, TestMount, USER, stdout_of, tool};

pub(crate) const VALUE: &str = "hunter2";

/// `own` is for [`USER`] alone, `all` for everybody, and `slow` takes a second to render.
pub(crate) struct Stage {
    pub(crate) mount: Mounted,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With more of the mount's files, indented by four; PLACE is the folder of our programs.
    pub(crate) fn with(settings: &str) -> Self {
        let mount = prepared(TestMount::new());
        let settings = settings.replace("PLACE", &mount.folder().display().to_string());
        let config = format!(
            "providers: {{p: {{type: exec, command: [./program]}}}}\nmounts:\n- at: mnt\n  templates: templates\n  \
             mode: \"0444\"\n  files:\n    own: {{owner: {USER}, mode: \"0400\"}}\n{settings}"
        );
        Self { mount: mount.config(&config).start() }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.mount.path(name).display().to_string()
    }

    /// A program of `tests/identity`, which everybody may run.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        placed(self.mount.store().folder(), name)
    }

    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.program(program));
        command.args(args).stdin(Stdio::null());
        command
    }

    /// What the program says.
    #[track_caller]
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        stdout_of(&self.command(program, args).output().expect("it can be started"))
    }
}

pub(crate) fn prepared(mount: TestMount) -> TestMount {
    let program = mount.folder().join("program");
    fs::write(&program, "#!/bin/sh\nsleep 1\necho hunter2\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    mount
        .secret("pw", VALUE)
        .template("own.tpl", "<< secrets.pw >>")
        .template("all.tpl", "<< secrets.pw >>")
        .template("only.tpl", "<< secrets.pw >>")
        .template("shells.tpl", "<< secrets.pw >>")
        .template("reader.tpl", "<< reader.uid >>|<< secrets.pw >>")
        .template("slow.tpl", "<< secret('p:slow') >>")
}

/// A program or library of ours, in a folder that everybody may enter.
pub(crate) fn placed(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    if !path.exists() {
        common::copy_program(compiled(name), &path);
    }
    path
}

pub(crate) fn compiled(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(compile).join(name)
}

fn compile() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("identity-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let builds: [(&str, &str, &[&str]); 6] = [
        ("reader", "reader.c", &["-pthread"]),
        ("crowd", "crowd.c", &["-pthread"]),
        ("ring", "ring.c", &[]),
        ("soak", "soak.c", &["-O1"]),
        // Its last steps must not need anything that is mapped elsewhere.
        ("forge", "forge.c", &["-O2", "-fno-stack-protector", "-fcf-protection=none"]),
        ("preload.so", "preload.c", &["-shared", "-fPIC"]),
    ];
    for (name, source, flags) in builds {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/identity").join(source);
        let mut gcc = Command::new(tool("gcc"));
        gcc.args(["-Wall", "-Wextra", "-Werror"]).args(flags).arg("-o").arg(folder.join(name)).arg(source);
        stdout_of(&gcc.output().expect("gcc can be started"));
    }
    folder
}
