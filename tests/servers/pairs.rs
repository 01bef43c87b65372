//! Servers that load a certificate and its key, again and again, while both are rotated together as
//! fast as it goes: each pair matches, since the files of such a secret are a set. The control is a
//! type of secret that makes none.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use secretfs::secret::SecretType;

use crate::certificate::Certificate;
use crate::common::{Mounted, TestMount, TestStore, Writer, go, long, nginx, stdout_of, tool};
use crate::postgres::Cluster;
use crate::server::{Server, eventually, free_port, server};

const MISMATCH: &str = "key values mismatch";
/// When a program ends: after all of its loads, or with the first pair that does not match.
const ALL: &str = "all";
const FIRST: &str = "first";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    loads: usize,
    mismatched: usize,
}

/// How often a server loads its pair in a test.
fn loads() -> usize {
    if long() { 1_000 } else { 40 }
}

/// What a server found while a secret of this type was rotated.
fn while_rotating(kind: SecretType, load: impl FnOnce(&Mounted, &Path) -> Tally) -> Tally {
    let folder = tempfile::tempdir().unwrap();
    let pairs = ["a", "b", "c", "d"].map(|name| Certificate::make(folder.path(), name));
    let store = TestStore::new();
    let writer = Writer::of(&store);
    let rotate = |number: u64| writer.put(&[("tls", kind, &pairs[number as usize % pairs.len()].pair())]);
    rotate(1);
    let mount = TestMount::on(store)
        .template("server.crt.tpl", "<< secrets.tls.cert >>")
        .template("server.key.tpl", "<< secrets.tls.key >>")
        .template("both.pem.tpl", "<< secrets.tls.cert >><< secrets.tls.key >>")
        .config("mounts:\n- {at: mnt, templates: templates, owner: postgres}\n");
    let mounted = mount.start();
    let (tally, rotations) = Writer::while_writing(rotate, || load(&mounted, folder.path()));
    println!("{kind:?}: {tally:?}, {rotations} rotations");
    tally
}

#[track_caller]
fn all_match(least: usize, load: impl FnOnce(&Mounted, &Path) -> Tally) {
    let tally = while_rotating(SecretType::Certificate, load);
    assert!(tally.loads >= least && tally.mismatched == 0, "{tally:?}");
}

/// `LOADS MISMATCHED`, as the small programs here say it.
fn tally(command: &mut Command) -> Tally {
    let said = stdout_of(&command.output().unwrap());
    let numbers: Vec<usize> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
    Tally { loads: numbers[0], mismatched: numbers[1] }
}

/// Loads for each connection.
fn go_server(mounted: &Mounted, folder: &Path, loads: usize, end: &str) -> Tally {
    let (source, program) = (folder.join("pairs.go"), folder.join("pairs"));
    fs::write(&source, include_str!("pairs.go")).unwrap();
    let mut build = Command::new(go());
    // The standard library alone: nothing is fetched.
    build.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").current_dir(folder);
    stdout_of(&build.args(["build", "-o"]).arg(&program).arg(&source).output().unwrap());
    let mut server = Command::new(program);
    let [cert, key] = ["server.crt", "server.key"].map(|name| mounted.path(name));
    tally(server.arg(cert).arg(key).args([&loads.to_string(), end]))
}

/// OpenSSL opens a file with certificate and key twice.
fn openssl_of_one_file(mounted: &Mounted, loads: usize, end: &str) -> Tally {
    const SCRIPT: &str = "import ssl, sys
path, most, end = sys.argv[1], int(sys.argv[2]), sys.argv[3]
loads = mismatched = 0
while loads < most and not (end == 'first' and mismatched):
    loads += 1
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    except ssl.SSLError as error:
        if error.reason != 'KEY_VALUES_MISMATCH':
            raise
        mismatched += 1
print(loads, mismatched)";
    let mut python = Command::new(tool("python3"));
    tally(python.args(["-c", SCRIPT]).arg(mounted.path("both.pem")).args([&loads.to_string(), end]))
}

#[test]
fn a_go_server_finds_matching_pairs() {
    all_match(loads(), |mounted, folder| go_server(mounted, folder, 10 * loads(), ALL));
}

#[test]
fn openssl_finds_matching_pairs_in_one_file() {
    all_match(loads(), |mounted, _| openssl_of_one_file(mounted, 10 * loads(), ALL));
}

/// The control: the same programs do find what does not match, if nothing makes a set.
#[test]
fn without_a_set_some_pairs_do_not_match() {
    let in_two_files =
        while_rotating(SecretType::Custom, |mounted, folder| go_server(mounted, folder, 1_000, FIRST));
    let in_one_file =
        while_rotating(SecretType::Custom, |mounted, _| openssl_of_one_file(mounted, 4_000, FIRST));
    assert!(in_two_files.mismatched > 0 && in_one_file.mismatched > 0, "{in_two_files:?} {in_one_file:?}");
}

fn nginx_config(mounted: &Mounted, folder: &Path) -> String {
    let mnt = mounted.point();
    let pair = format!("ssl_certificate {0}/server.crt; ssl_certificate_key {0}/server.key;", mnt.display());
    let main = format!("worker_processes 1; error_log {}/log notice;", folder.display());
    nginx::config(folder, free_port(), &main, &pair)
}

/// Half of them as new processes, half as reloads of one.
#[test]
fn nginx_finds_matching_pairs() {
    let half = loads() / 2;
    all_match(2 * half, |mounted, folder| {
        let config = folder.join("nginx.conf");
        fs::write(&config, nginx_config(mounted, folder)).unwrap();
        let said = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        for _ in 0..half {
            let test = Command::new(tool("nginx")).arg("-t").arg("-c").arg(&config).output().unwrap();
            let said = String::from_utf8_lossy(&test.stderr);
            assert!(test.status.success() || said.contains(MISMATCH), "{said}");
        }
        let taken_up = || said().matches("start worker processes").count();
        let nginx = Server::start(server("nginx").arg("-c").arg(&config), &folder.join("stderr"));
        let nginx = nginx.when(|| taken_up() > 0);
        for _ in 0..half {
            let before = taken_up() + said().matches("[emerg]").count();
            nginx.signal(Signal::SIGHUP);
            eventually("it is reloaded", || taken_up() + said().matches("[emerg]").count() > before);
        }
        Tally { loads: half + taken_up() - 1, mismatched: said().matches(MISMATCH).count() }
    });
}

#[test]
fn postgres_finds_matching_pairs() {
    let loads = loads() / 2;
    all_match(loads, |mounted, _| {
        let cluster = Cluster::make(mounted);
        let postgres = cluster.start();
        let reloads = || postgres.said().matches("received SIGHUP").count();
        for number in 0..loads {
            postgres.signal(Signal::SIGHUP);
            eventually("it is reloaded", || reloads() > number);
        }
        cluster.answers();
        Tally { loads: reloads(), mismatched: postgres.said().matches(MISMATCH).count() }
    });
}
