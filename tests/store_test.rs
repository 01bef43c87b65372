//! `secretfs test`: what can be told of a secret without a server, and that it tells no value.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{TestStore, stdout_of, tool};
use sha2::{Digest, Sha256};

fn test(store: &TestStore, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = store.run(&[&["test"], args].concat());
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn set(store: &TestStore, name: &str, kind: &str, fields: &[(&str, &str)]) {
    let fields: Vec<_> =
        fields.iter().flat_map(|(name, value)| ["--field".into(), format!("{name}={value}")]).collect();
    let args =
        [&["set", name, "--type", kind][..], &fields.iter().map(String::as_str).collect::<Vec<_>>()].concat();
    stdout_of(&store.run(&args));
}

fn openssl(store: &TestStore, line: &str) {
    let mut command = Command::new(tool("openssl"));
    stdout_of(&command.args(line.split(' ')).current_dir(store.folder()).output().unwrap());
}

/// A certificate and its key in files of this name.
fn certificate(store: &TestStore, name: &str, by: Option<&str>, days: u32) {
    let by = by.map(|by| format!(" -CA {by}.pem -CAkey {by}.key")).unwrap_or_default();
    openssl(
        store,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {days} -subj /CN={name} \
         -addext basicConstraints=critical,CA:TRUE -keyout {name}.key -out {name}.pem{by}"
        ),
    );
}

#[test]
fn a_certificate_is_looked_into() {
    let store = TestStore::new();
    certificate(&store, "root", None, 90);
    certificate(&store, "middle", Some("root"), 60);
    certificate(&store, "leaf", Some("middle"), 30);
    set(&store, "web", "certificate", &[("cert", "@leaf.pem"), ("key", "@leaf.key")]);
    let (status, out, err) = test(&store, &["web"]);
    assert!(
        status == Some(0)
            && out.starts_with(
                "web: version 1 works\n  its `key` belongs to its `cert`\n  it is valid until 20"
            ),
        "{out}{err}"
    );
    let chain = fs::read_to_string(store.folder().join("middle.pem")).unwrap();
    let root = fs::read_to_string(store.folder().join("root.pem")).unwrap();
    let with_chain = |name: &str, text: &str| {
        fs::write(store.folder().join("chain"), text).unwrap();
        set(&store, name, "certificate", &[("cert", "@leaf.pem"), ("key", "@leaf.key"), ("chain", "@chain")]);
        test(&store, &[name])
    };
    let (status, out, _) = with_chain("chained", &format!("{chain}{root}"));
    assert!(status == Some(0) && out.contains("its chain of 3 certificates is in order"), "{out}");
}

#[test]
fn what_nobody_can_tell_is_said_and_no_failure() {
    let store = TestStore::new();
    store.set("plain", "hunter2-value");
    set(&store, "login", "basic-auth", &[("username", "u"), ("password", "hunter2-value")]);
    set(&store, "mongo", "connection-string", &[("url", "mongodb+srv://u:hunter2-value@x/db")]);
    for (name, words) in [("plain", "of the type plain is for"), ("login", "of the type basic-auth is for")] {
        let (status, out, err) = test(&store, &[name]);
        assert!(status == Some(0) && out.contains(words), "{out}{err}");
        let json: serde_json::Value = serde_json::from_str(&test(&store, &[name, "--json"]).1).unwrap();
        assert!(json["works"].is_null() && json["version"] == 1, "{json}");
    }
    assert_eq!(test(&store, &["none"]).0, Some(66));
    assert_eq!(test(&store, &["plain", "--version", "7"]).0, Some(66));
}

/// Whatever stands where in the URL, and whatever answers there.
#[test]
fn no_failure_tells_a_piece_of_the_secret() {
    let store = TestStore::new();
    // Nobody listens there.
    let shut = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let rude = serve(|_| b"-ERR hunter2 is wrong, hunter2 \xff\0\r\n".to_vec());
    let rude = rude.0;
    let silent = silent.local_addr().unwrap().port();
    let urls = [
        format!("postgres://hunter2u:hunter2p@127.0.0.1:{shut}/hunter2d"),
        format!("redis://:hunter2@127.0.0.1:{rude}/0"),
        format!("postgres://hunter2:hunter2@127.0.0.1:{rude}/hunter2?sslmode=disable"),
        format!("mysql://hunter2:hunter2@127.0.0.1:{rude}/hunter2"),
        format!("hunter2://hunter2:hunter2@127.0.0.1:{shut}"),
        "redis://hunter2.hunter2.invalid:1/hunter2".to_owned(),
        "postgres://hunter2:12/hunter2@x/y".to_owned(),
        "jdbc:oracle:thin:hunter2/hunter2@x".to_owned(),
    ];
    for (number, url) in urls.iter().enumerate() {
        let name = format!("url{number}");
        set(&store, &name, "connection-string", &[("url", url)]);
        let (status, out, err) = test(&store, &[&name]);
        let told = out + &err + &test(&store, &[&name, "--json"]).1;
        assert!(!told.contains("hunter2") && status.is_some_and(|status| status <= 1), "{url}: {told}");
    }
    let begin = Instant::now();
    set(&store, "silent", "connection-string", &[("url", &format!("redis://:hunter2@127.0.0.1:{silent}"))]);
    let (status, _, err) = test(&store, &["silent"]);
    assert!(status == Some(1) && err.contains("no answer within 10 s"), "{err}");
    assert!(begin.elapsed() < Duration::from_secs(14), "{:?}", begin.elapsed());
}

type Heard = Arc<Mutex<Vec<String>>>;

/// A server that answers each connection once, and what it has heard.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let note = heard.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let request = request(&mut stream);
            note.lock().unwrap().push(request.clone());
            let _ = stream.write_all(&answer(&request));
        }
    });
    (port, heard)
}

fn request(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        all.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// The server of RFC 6749 in small: one client, one refresh token, which it takes once.
fn authority() -> (u16, Heard) {
    let spent = Mutex::new(false);
    serve(move |request| {
        // client-1:s/1 in the form of section 2.3.1
        let is_client = request.contains("asic Y2xpZW50LTE6cyUyRjE=");
        match () {
            () if !is_client => http("401 Unauthorized", r#"{"error":"invalid_client"}"#),
            () if request.contains("grant_type=client_credentials") => {
                http("200 OK", r#"{"access_token":"a-fresh","token_type":"bearer"}"#)
            }
            () if request.contains("refresh_token=r%2F1")
                && !std::mem::replace(&mut *spent.lock().unwrap(), true) =>
            {
                http("200 OK", r#"{"access_token":"a-2","refresh_token":"r-2","expires_in":3600}"#)
            }
            () => http("400 Bad Request", r#"{"error":"invalid_grant","error_description":"r/1 is spent"}"#),
        }
    })
}

#[test]
fn a_token_is_asked_for_and_a_new_one_is_kept() {
    let store = TestStore::new();
    let (port, heard) = authority();
    let url = format!("http://127.0.0.1:{port}/token?x=1");
    let fields =
        [("client_id", "client-1"), ("client_secret", "s/1"), ("refresh_token", "r/1"), ("token_url", &url)];
    set(&store, "api", "oauth", &fields);
    let (status, out, err) = test(&store, &["api"]);
    assert!(status == Some(0) && out.contains("it gave an access token to the client"), "{out}{err}");
    assert!(
        heard.lock().unwrap().iter().all(|request| !request.contains("r%2F1")),
        "the refresh token was used"
    );
    assert!(stdout_of(&store.run(&["versions", "api"])).lines().count() == 2, "and nothing was changed");
    let (status, out, err) = test(&store, &["api", "--refresh"]);
    assert!(
        status == Some(0) && out.contains("for the refresh token") && out.ends_with("api: version 2\n"),
        "{out}{err}"
    );
    for (field, value) in [("refresh_token", "r-2"), ("access_token", "a-2"), ("client_secret", "s/1")] {
        assert_eq!(stdout_of(&store.run(&["get", &format!("api.{field}")])), value);
    }
    // What is spent is refused, and told without it.
    stdout_of(&store.run(&["rollback", "api", "--to", "1"]));
    let (status, out, err) = test(&store, &["api", "--refresh"]);
    assert!(status == Some(1) && err.contains("does not take the refresh token any more"), "{out}{err}");
    set(
        &store,
        "wrong",
        "oauth",
        &[("client_id", "client-1"), ("client_secret", "hunter2"), ("token_url", &url)],
    );
    let (status, out, err) = test(&store, &["wrong"]);
    assert!(status == Some(1) && err.contains("does not know this client and secret"), "{out}{err}");
    assert!(!(out + &err).contains("hunter2"));
}

fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..3], &[number], body].concat()
}

fn body_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut body = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    stream.read_exact(&mut body).unwrap();
    body
}

/// Knows of a password what MySQL 8 keeps in its cache: its SHA-256 twice over. With `first` it offers
/// another method first, as an old default is, and `knows` says whether the password is in the cache.
fn mysql(password: &str, first: Option<&'static str>, knows: bool) -> u16 {
    const METHOD: &str = "caching_sha2_password";
    const CHALLENGE: [u8; 20] = *b"a challenge of 20 by";
    let kept: [u8; 32] = Sha256::digest(Sha256::digest(password)).into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        let method = first.unwrap_or(METHOD).as_bytes();
        let more = [&[0, 0, 0, 0x08, 0, 0, 21][..], &[0; 10]].concat();
        let greeting = [
            &b"\x0a8.4.0\0\x01\0\0\0"[..],
            &CHALLENGE[..8],
            &[0, 0xff, 0xff],
            &more[1..],
            &CHALLENGE[8..],
            &[0],
        ];
        let greeting = [&greeting.concat()[..], method, &[0]].concat();
        stream.write_all(&packet(0, &greeting)).unwrap();
        let hello = body_of(&mut stream);
        let (answer, number) = match first {
            None => {
                let user = hello[32..].iter().position(|byte| *byte == 0).unwrap();
                assert!(hello.ends_with(b"caching_sha2_password\0") && hello[33 + user] == 32);
                (hello[34 + user..66 + user].to_vec(), 2)
            }
            Some(_) => {
                let switch = [&[0xfe], METHOD.as_bytes(), &[0], &CHALLENGE, &[0]].concat();
                stream.write_all(&packet(2, &switch)).unwrap();
                (body_of(&mut stream), 4)
            }
        };
        // What it was made of has the SHA-256 that is kept.
        let mask = Sha256::new().chain_update(kept).chain_update(CHALLENGE).finalize();
        let once: Vec<u8> = answer.iter().zip(mask).map(|(left, right)| left ^ right).collect();
        let told = match (knows, Sha256::digest(once)[..] == kept) {
            (false, _) => packet(number, &[1, 4]),
            (true, true) => [packet(number, &[1, 3]), packet(number + 1, &[0, 0, 0, 2, 0, 0, 0])].concat(),
            (true, false) => packet(number, b"\xff\x15\x04#28000Access denied for user 'app'@'localhost'"),
        };
        stream.write_all(&told).unwrap();
    });
    port
}

/// Debian has no server with this method: one that checks an answer as MySQL does stands in for it.
#[test]
fn the_login_of_mysql_8_is_known() {
    let store = TestStore::new();
    let tried = |password: &str, port: u16| {
        set(
            &store,
            "db",
            "connection-string",
            &[("url", &format!("mysql://app:{password}@127.0.0.1:{port}/"))],
        );
        test(&store, &["db"])
    };
    for first in [None, Some("mysql_native_password")] {
        let (status, out, err) = tried("s3cret", mysql("s3cret", first, true));
        assert!(status == Some(0) && out.contains("it lets in with this user and password"), "{out}{err}");
        let (status, out, err) = tried("other", mysql("s3cret", first, true));
        assert!(status == Some(1) && err.contains("does not let in with this user"), "{out}{err}");
    }
    let (status, out, err) = tried("s3cret", mysql("s3cret", None, false));
    assert!(
        status == Some(0) && out.contains("nobody can tell: it wants the password over TLS"),
        "{out}{err}"
    );
}
