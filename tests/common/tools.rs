//! The programs and packages that tests use beside ours. A missing one fails the test and says
//! what to run; it never makes a test pass.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// A program on the PATH (or in Debian's sbin, or where it keeps PostgreSQL's own).
#[track_caller]
pub fn tool(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders =
        env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).chain(postgres_folders());
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is not installed: ./tests/run installs it"))
}

fn postgres_folders() -> impl Iterator<Item = PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().map_while(Result::ok);
    versions.map(|version| version.path().join("bin"))
}

/// A Python with the packages that tests import.
#[track_caller]
pub fn python() -> PathBuf {
    installed("venv/bin/python3")
}

/// A Go of today: Debian's is too old for the modules that tests read with.
#[track_caller]
pub fn go() -> PathBuf {
    installed("venv/bin/go")
}

/// The folder for NODE_PATH.
#[track_caller]
pub fn node_modules() -> PathBuf {
    installed("node_modules")
}

/// A place in the folder of what tests install for themselves.
pub fn tools(what: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.tools").join(what)
}

/// Whether the full length was asked for: `./tests/run --long`.
pub fn long() -> bool {
    env::var_os("SECRETFS_TEST_LONG").is_some()
}

/// A library of the system, at its path there.
#[track_caller]
pub fn library(path: &str) -> PathBuf {
    there(path.into())
}

#[track_caller]
fn installed(what: &str) -> PathBuf {
    there(tools(what))
}

#[track_caller]
fn there(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is not there: ./tests/run installs it", path.display());
    path
}
