//! `secretfs demo`: a tour with a throw-away store and a real mount. Every line that it prints is a
//! command that was run and what came out. May use every layer; runs this binary for each step.

mod stage;
mod tour;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::report::Failure;
use super::{Common, exit};
use stage::Stage;

#[derive(clap::Args)]
pub struct Args {
    /// The tour alone, in a folder that a demo has set up
    #[arg(long, hide = true, value_name = "DIR")]
    tour: Option<PathBuf>,
}

/// What the demo works on, embedded so that it needs no clone.
const FILES: &[(&str, &str)] = &[
    ("secretfs.yaml", include_str!("demo/secretfs.yaml")),
    ("templates/.env.tpl", include_str!("../../templates/dotenv/app.env.tpl")),
    ("templates/config.json.tpl", include_str!("../../templates/json/config.json.tpl")),
    ("templates/git-credentials.tpl", include_str!("../../templates/git/credentials.tpl")),
    ("templates/key.pem.tpl", include_str!("../../templates/openssl/key.pem.tpl")),
    (
        "examples/quickstart/templates/app.env.tpl",
        include_str!("../../examples/quickstart/templates/app.env.tpl"),
    ),
    (
        "examples/quickstart/templates/config.json.tpl",
        include_str!("../../examples/quickstart/templates/config.json.tpl"),
    ),
];
const MOUNTS: &[&str] = &["mnt/app", "mnt/quickstart"];

pub fn run(args: &Args, _: &Common) -> Result<u8, Failure> {
    if let Some(folder) = &args.tour {
        tour::run(&Stage::new(folder))?;
        return Ok(exit::OK);
    }
    // Who closes our stdout must not keep us from removing what we made.
    crate::sys::signal::survive_broken_pipe();
    let folder = Folder::make()?;
    let stage = Stage::new(&folder.0);
    stage.heed_signals()?;
    set_up(&stage)?;
    tour_a_mount(&stage)?;
    let left = folder.remove()?;
    stage.title("Nothing is left");
    stage.say(&left);
    Ok(exit::OK)
}

/// Files, store and secrets.
fn set_up(stage: &Stage) -> Result<(), Failure> {
    stage.provide_program()?;
    let makes_keys = stage.has("openssl");
    for (path, text) in FILES.iter().filter(|(path, _)| makes_keys || !path.contains("key.pem")) {
        stage.write(path, text)?;
    }
    for mount in MOUNTS {
        stage.make_folder(mount)?;
    }
    stage.title("An encrypted store");
    stage.run("secretfs init")?;
    stage.run_with("secretfs set --from-json < secrets.json", "secretfs set --from-json", &secrets()?)?;
    if makes_keys {
        stage.run("openssl genpkey -algorithm ed25519 | secretfs set signing_key")?;
    }
    stage.run("secretfs list")?;
    Ok(())
}

/// Values that nobody has seen before, so that a search for them proves something; with
/// characters that break a file into which they are merely pasted.
fn secrets() -> Result<String, Failure> {
    let password = format!("p@ss \"w0rd\" #{}", random()?);
    let json = serde_json::json!({
        "db": {"username": "app", "password": password},
        "api_key": format!("sk_live_{}", random()?),
        "git": {"username": "deploy", "password": format!("gl/pat+{}", random()?)},
    });
    Ok(json.to_string())
}

pub(super) fn random() -> Result<String, Failure> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(exit::OS, error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The usual way: the files are there for everybody whom their mode lets in. A user who may not
/// mount like that has them for one command and its children.
fn tour_a_mount(stage: &Stage) -> Result<(), Failure> {
    stage.title("A mount: files that exist only when they are opened");
    if !geteuid().is_root() && !stage.has("fusermount3") {
        return tour_inside(stage);
    }
    stage.show("secretfs mount &");
    match Mount::start(stage) {
        Ok(mount) => {
            tour::run(stage)?;
            mount.stop()
        }
        Err(_) if !geteuid().is_root() => tour_inside(stage),
        Err(failure) => Err(failure),
    }
}

fn tour_inside(stage: &Stage) -> Result<(), Failure> {
    let mut command = stage.program();
    command.args(["mount", "--", "secretfs", "demo", "--tour"]).arg(stage.folder());
    stage.show(&format!("secretfs mount -- secretfs demo --tour {}", stage.folder().display()));
    let status = command.status().map_err(|error| Failure::new(exit::OS, error))?;
    if status.success() { Ok(()) } else { Err(failed("secretfs mount", status)) }
}

fn failed(what: &str, status: std::process::ExitStatus) -> Failure {
    Failure::new(exit::SOFTWARE, format!("the demo stops: `{what}` ended with {status}"))
}

/// A running `secretfs mount`; unmounted when it goes.
struct Mount(Option<Child>);

impl Mount {
    /// Returns when all mounts answer.
    fn start(stage: &Stage) -> Result<Self, Failure> {
        let child = stage.program().arg("mount").stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| Failure::new(exit::OS, error))?;
        let stdout = child.stdout.take();
        let mut mount = Self(Some(child));
        let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
        let ready = lines.map_while(Result::ok).take(MOUNTS.len()).map(|line| stage.say(&line)).count();
        if ready == MOUNTS.len() {
            return Ok(mount);
        }
        let status = mount.0.take().map(|mut child| child.wait());
        match status {
            Some(Ok(status)) => Err(failed("secretfs mount", status)),
            _ => Err(Failure::new(exit::OS, "`secretfs mount` is gone")),
        }
    }

    fn stop(mut self) -> Result<(), Failure> {
        match self.end() {
            Some(Ok(status)) if !status.success() => Err(failed("secretfs mount", status)),
            Some(Err(error)) => Err(Failure::new(exit::OS, error)),
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Option<std::io::Result<std::process::ExitStatus>> {
        let mut child = self.0.take()?;
        let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
        Some(child.wait())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.end();
    }
}

/// The demo's folder, in memory where the machine has such a place; removed when it goes.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!("secretfs-demo-{}", random()?);
        let places = [Path::new("/dev/shm").to_owned(), std::env::temp_dir()];
        let make = |place: &PathBuf| {
            let folder = place.join(&name);
            std::fs::DirBuilder::new().mode(0o700).create(&folder).ok().map(|()| folder)
        };
        let folder = places.iter().find_map(make);
        folder.map(Self).ok_or_else(|| {
            Failure::new(exit::CANNOT_CREATE, "no folder can be made in /dev/shm or for temporary files")
                .hint("set TMPDIR")
        })
    }

    /// What is said when it is gone.
    fn remove(self) -> Result<String, Failure> {
        let folder = self.0.display().to_string();
        std::fs::remove_dir_all(&self.0)
            .map_err(|error| Failure::new(exit::OS, format!("cannot remove {folder}: {error}")))?;
        Ok(format!("unmounted, and {folder} is removed"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing to do if it is gone, or still in use.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
