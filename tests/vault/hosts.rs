//! Hosts as network namespaces: each has a loopback of its own, and a line from there to the servers, so that a
//! secretfs on each sees the same servers and nothing of the other. And one whose resolver never answers.

use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use crate::clouds::{azure, of_azure};
use crate::common::bao::{BY_TOKEN, Bao};
use crate::common::etcd::Etcd;
use crate::common::http::serve_on;
use crate::common::programmed::eventually;
use crate::common::{Mounted, TestMount, stdout_of, tool};
use crate::login::FILE;

/// What this thread starts from here on is on a host of its own.
fn enter_a_host(more: CloneFlags) {
    unshare(CloneFlags::CLONE_NEWNET | more).expect("a namespace");
    stdout_of(&Command::new(tool("ip")).args(["link", "set", "lo", "up"]).output().unwrap());
}

/// A host on which this mount is started, with lines to these ports of ours.
fn host<const N: usize>(
    mount: TestMount,
    ports: [u16; N],
    prepare: impl FnOnce() + Send + 'static,
) -> Mounted {
    let made = thread::spawn(move || {
        enter_a_host(CloneFlags::empty());
        prepare();
        // The control: nothing that listens elsewhere is there.
        assert!(ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()));
        let doors = ports.map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        (doors, mount.start())
    });
    let (doors, mounted) = made.join().unwrap();
    for door in doors {
        // A socket stays where it was made; this thread is where the servers are.
        thread::spawn(move || door.incoming().map_while(Result::ok).for_each(lay));
    }
    mounted
}

/// To the same port of ours.
fn lay(client: TcpStream) {
    let port = client.local_addr().unwrap().port();
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let pass = |mut from: TcpStream, mut to: TcpStream| {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    };
    pass(client.try_clone().unwrap(), server.try_clone().unwrap());
    pass(server, client);
}

#[test]
fn two_hosts_see_one_rotation() {
    let (bao, etcd) = (Bao::dev(), Etcd::start());
    bao.set("app", json!({"value": "0"}));
    etcd.put("/secrets/app", "0");
    let config = format!(
        "providers:\n  v: {{type: vault, address: \"{}\", {BY_TOKEN}, cache: {{ttl: 500ms}}}}\n  e: {{type: etcd, \
         address: \"{}\", prefix: /secrets/, cache: {{ttl: 1h}}}}\nmounts: [{{at: mnt, templates: templates}}]\n",
        bao.address(),
        etcd.url()
    );
    let hosts = [(); 2].map(|()| {
        let mount = TestMount::new().config(&config).env("SECRETFS_TEST_TOKEN", &bao.token);
        let mount = mount.env("SECRETFS_LOG", "info").template("v.tpl", "<< secret('v:secret/app') >>");
        host(mount.template("e.tpl", "<< secret('e:app') >>"), [bao.port, etcd.port()], || {})
    });
    for host in &hosts {
        assert_eq!((host.read("v"), host.read("e")), ("0".into(), "0".into()));
        eventually("it hears of changes", || host.stderr().contains("changes are heard of"));
    }
    for (file, put) in [
        ("v", &(|value: &str| drop(bao.set("app", json!({ "value": value })))) as &dyn Fn(&str)),
        ("e", &|value| assert!(etcd.put("/secrets/app", value) > 0)),
    ] {
        let mut times = Vec::new();
        for round in 1..=10 {
            let value = round.to_string();
            put(&value);
            let start = Instant::now();
            for host in &hosts {
                eventually("the rotation", || host.read(file) == value);
                times.push(start.elapsed());
            }
        }
        times.sort();
        println!(
            "{file}: from a rotation to an open that has it, on two hosts: median {:?}, at most {:?}",
            times[10], times[19]
        );
    }
}

/// Where every machine of Azure has it, in the clear, though all ways lead through a proxy.
#[test]
fn metadata_are_asked_where_they_usually_are_and_not_through_a_proxy() {
    const PROXY: &str = "http://127.0.0.1:9";
    let (bao, sign) = of_azure();
    let (token, asked) = (Arc::new(Mutex::new(sign(600))), Arc::default());
    let answers = azure(&token, &asked);
    let mount = bao.mount("auth: {method: azure, role: web}").template("f.tpl", FILE);
    let mount = ["ALL_PROXY", "http_proxy", "HTTPS_PROXY"].iter().fold(mount, |it, name| it.env(name, PROXY));
    let mounted = host(mount, [bao.port], move || {
        let add = ["addr", "add", "169.254.169.254/32", "dev", "lo"];
        stdout_of(&Command::new(tool("ip")).args(add).output().unwrap());
        serve_on(TcpListener::bind("169.254.169.254:80").unwrap(), answers);
    });
    assert_eq!(mounted.read("f"), "v");
    assert_eq!(asked.lock().unwrap().len(), 2, "{asked:?}");
    // The control: where nobody tells it, it is not known.
    let mount = bao.mount("auth: {method: azure, role: web}").template("f.tpl", FILE);
    let nowhere = host(mount, [bao.port], || {});
    assert_eq!(nowhere.errno("f"), libc::EIO);
    assert!(crate::reason(&nowhere, "f").contains("metadata service"), "{}", crate::reason(&nowhere, "f"));
}

/// Of a host whose resolver is asked and never answers.
#[test]
fn a_resolver_that_hangs_costs_nobody_else_anything() {
    thread::spawn(hanging_resolver).join().unwrap();
}

fn hanging_resolver() {
    enter_a_host(CloneFlags::CLONE_NEWNS);
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let silent = UdpSocket::bind("127.0.0.1:53").unwrap();
    let test = TestMount::new().secret("own", "own").template("own.tpl", "<< secrets.own >>");
    let resolver = test.folder().join("resolv.conf");
    fs::write(&resolver, "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n").unwrap();
    mount(Some(&resolver), "/etc/resolv.conf", none, MsFlags::MS_BIND, none).unwrap();
    fs::create_dir(test.folder().join("files")).unwrap();
    fs::write(test.folder().join("files/a"), "a").unwrap();
    let config = "providers:\n  v: {type: vault, address: 'https://vault.example.com', auth: {token: 'file:token'}, timeout: 2s}\n  \
        near: {type: file, path: files}\nmounts: [{at: mnt, templates: templates}]\n";
    fs::write(test.folder().join("token"), "t").unwrap();
    let mut test = test.config(config).template("near.tpl", "<< secret('near:a') >>");
    for number in 0..12 {
        test =
            test.template(&format!("{number}.tpl"), format!("<< secret('v:kv/{number}') | default('d') >>"));
    }
    let mounted = test.start();
    let begin = Instant::now();
    let (waited, others) = thread::scope(|scope| {
        let readers: Vec<_> = (0..12)
            .map(|number| {
                let path = mounted.path(&number.to_string());
                scope.spawn(move || {
                    let start = Instant::now();
                    (fs::read(path).unwrap_err().raw_os_error(), start.elapsed())
                })
            })
            .collect();
        let mut others = Vec::new();
        while begin.elapsed() < Duration::from_secs(2) {
            let start = Instant::now();
            assert_eq!((mounted.read("own"), mounted.read("near")), ("own".into(), "a".into()));
            others.push(start.elapsed());
        }
        let waited: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        (waited, others)
    });
    let longest = waited.iter().map(|(_, time)| *time).max().unwrap();
    let slowest = others.iter().max().unwrap();
    println!(
        "12 readers of a name that is never found: at most {longest:?}; {} reads of others meanwhile: at most {slowest:?}",
        others.len()
    );
    assert!(waited.iter().all(|(errno, _)| *errno == Some(libc::ETIMEDOUT)), "{waited:?}");
    assert!(others.len() > 20, "others go on: {}", others.len());
    let reason = crate::reason(&mounted, "0");
    assert!(reason.contains("2s"), "{reason}");
    // The control: it was asked for the name.
    silent.set_nonblocking(true).unwrap();
    let mut question = [0; 512];
    let size = silent.recv(&mut question).expect("a question");
    assert!(question[..size].windows(5).any(|it| it == b"vault"), "{:?}", &question[..size]);
}
