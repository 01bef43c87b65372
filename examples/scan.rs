//! Searches for what is left of a value: in the memory of all processes of a program, and in files,
//! devices or whole folders. The value comes on stdin, and nothing of it is printed.
//!
//! ```sh
//! secretfs get db/pw --reveal | sudo cargo run --release --example scan -- secretfs /var/log /dev/vg0/store
//! ```
//!
//! Exit status 1: something was found.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

#[path = "../tests/canary/scan.rs"]
mod scan;

use scan::{Hits, Scan};

fn main() -> io::Result<ExitCode> {
    let mut words = env::args().skip(1);
    let Some(program) = words.next() else {
        println!("usage: scan PROGRAM [FILE|FOLDER|DEVICE]... <VALUE");
        return Ok(ExitCode::from(64));
    };
    let mut value = Vec::new();
    io::stdin().read_to_end(&mut value)?;
    if value.ends_with(b"\n") {
        value.pop();
    }
    if value.len() < 6 {
        println!("a value so short is found everywhere");
        return Ok(ExitCode::from(64));
    }
    let scan = Scan::of([("the value", value.as_slice())]);
    let mut is_clean = true;
    for pid in processes(&program)? {
        is_clean &= tell(&format!("process {pid}"), scan.process(pid));
    }
    for path in words.map(PathBuf::from).flat_map(files) {
        is_clean &= tell(&path.display().to_string(), scan.file(&path));
    }
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn tell(place: &str, hits: io::Result<Hits>) -> bool {
    match hits {
        Ok(hits) if hits.is_empty() => println!("{place}: nothing"),
        Ok(hits) => {
            hits.0.iter().for_each(|(what, count)| println!("{place}: {count} times {what}"));
            return false;
        }
        Err(error) => {
            println!("{place}: not searched: {error}");
            return false;
        }
    }
    true
}

/// Those that run a program of this name.
fn processes(program: &str) -> io::Result<Vec<u32>> {
    let pids = fs::read_dir("/proc")?.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    let runs = |pid: &u32| {
        let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        path.file_name()
            .is_some_and(|name| name == program || name.to_string_lossy() == format!("{program} (deleted)"))
    };
    Ok(pids.filter(runs).collect())
}

/// All that lies below a folder; links are not followed.
fn files(path: PathBuf) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path];
    }
    let entries = fs::read_dir(&path).into_iter().flatten().map_while(Result::ok).map(|it| it.path());
    entries.filter(|it| is_regular_or_folder(it)).flat_map(files).collect()
}

fn is_regular_or_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_file() || meta.is_dir())
}
