//! A cluster of two nodes (raft), by way of the one that is not the leader, and of
//! both in turn: what is older than what was there before is never given, and reads go on without a leader.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::bao::{BY_TOKEN, Bao};
use crate::common::programmed::eventually;
use crate::{fails, login};

#[test]
fn a_standby_answers_and_goes_on_without_its_leader() {
    let (leader, standby) = Bao::cluster();
    leader.put("sys/mounts/secret", json!({"type": "kv-v2"}));
    eventually("the mount is ready", || {
        leader.call("POST", "secret/data/app", Some(json!({"data": {"value": "v0"}}))).status == 200
    });
    eventually("the standby has it", || standby.call("GET", "secret/data/app", None).status == 200);
    assert_eq!(standby.health(), 429, "the control: it is a standby");
    let mount = standby.mount(BY_TOKEN).template("f.tpl", "<< secret('vault:secret/app') >>").start();
    let both = alternating([leader.port, standby.port]);
    let config = format!(
        "providers: {{vault: {{type: vault, address: \"http://127.0.0.1:{both}\", {BY_TOKEN}, \
         cache: {{ttl: 1h, no_cache: [secret/app]}}}}}}\nmounts: [{{at: mnt, templates: templates}}]\n"
    );
    let in_turn =
        standby.mount(BY_TOKEN).config(&config).template("f.tpl", "<< secret('vault:secret/app') >>").start();
    pinned_versions_are_not_missing(&leader, &standby);
    let mut newest = 0;
    for number in 1..=30 {
        leader.set("app", json!({"value": format!("v{number}")}));
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            let version: usize = in_turn.read("f")[1..].parse().unwrap();
            assert!(version >= newest, "{newest}, then {version}");
            newest = version;
        }
    }
    eventually("the standby has the last", || mount.read("f") == "v30");
    assert!(newest >= 29, "{newest}");
    let (role, secret) = login::role(&leader, json!({}));
    // What is written has to reach the standby.
    thread::sleep(Duration::from_secs(2));
    drop(leader);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        assert_eq!(mount.read("f"), "v30", "after {:?}\n{}", start.elapsed(), mount.stderr());
        thread::sleep(Duration::from_millis(100));
    }
    let auth = format!("auth: {{method: approle, role_id: '{role}', secret_id: '${{SECRET_ID}}'}}");
    let late = standby
        .mount(&auth)
        .env("SECRET_ID", &secret)
        .template("f.tpl", "<< secret('vault:secret/app') >>")
        .start();
    fails(&late, "f", libc::EIO, "");
    println!("a login without a leader: {:?}", crate::reason(&late, "f"));
    late.await_log("kind=\"unavailable\"", 1);
}

/// A version that was just written and is named is there, though the standby does not have it yet.
fn pinned_versions_are_not_missing(leader: &Bao, standby: &Bao) {
    const VERSIONS: usize = 20;
    let mut mount = standby.mount(&format!("{BY_TOKEN}, cache: {{ttl: 1h, negative_ttl: 1ms}}"));
    for version in 1..=VERSIONS {
        let text = format!("<< secret('vault:secret/pinned@{version}') | default('none') >>");
        mount = mount.template(&format!("{version}.tpl"), text);
    }
    let mount = mount.start();
    let mut false_answers = 0;
    for version in 1..=VERSIONS {
        leader.set("pinned", json!({"value": format!("v{version}")}));
        let plain = standby.call("GET", &format!("secret/data/pinned?version={version}"), None).status;
        false_answers += usize::from(plain == 404);
        leader.set("other", json!({"value": "v"}));
        assert_eq!(mount.read(&version.to_string()), format!("v{version}"));
    }
    println!(
        "named versions: {false_answers} of {VERSIONS} plain questions were answered that there is none"
    );
}

/// Passes each request on to the other one of these.
fn alternating(ports: [u16; 2]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let to = ports[count.fetch_add(1, Ordering::Relaxed) % 2];
            thread::spawn(move || pass_on(client, to));
        }
    });
    port
}

/// One request without a body; the server is told to close, and so is the client.
fn pass_on(mut client: TcpStream, to: u16) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    head.truncate(head.len() - 2);
    head.extend_from_slice(b"connection: close\r\n\r\n");
    let mut server = TcpStream::connect(("127.0.0.1", to))?;
    server.write_all(&head)?;
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}
