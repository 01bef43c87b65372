//! What readers may rely on whatever provider a secret comes from: a rule each, tried through the real mount.
//! `own` in every mount is a file of the store's own, which a provider's trouble must not touch.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::programmed::{attribute, eventually};
use super::{Daemon, Mounted, TestDaemon, TestMount};

/// Something that holds secrets, which a provider of the config can ask.
pub trait Source {
    /// The provider, as the config has it between its braces, without limits and times.
    fn provider(&self) -> String;
    fn put(&self, name: &str, value: &[u8]);
    fn delete(&self, name: &str);
    /// Nobody answers any more.
    fn stop(&self);
    /// It is there again.
    fn start(&self);
    /// How many questions it has answered, where that can be counted.
    fn questions(&self) -> Option<usize>;
    /// The most questions that this many secrets of one file may cost.
    fn most_questions(&self, secrets: usize) -> usize {
        secrets
    }
    /// It tells of changes by itself: they reach readers though answers may be kept for an hour.
    fn tells(&self) -> bool {
        false
    }
    /// What stands before every name in a reference.
    fn below(&self) -> &'static str {
        ""
    }
    /// Why it cannot hold bytes that are no text (UTF-8).
    fn only_texts(&self) -> Option<&'static str> {
        None
    }
    /// The most bytes of a value there.
    fn largest(&self) -> usize {
        1 << 20
    }
    /// Why it cannot hold a value without a byte.
    fn no_empty_value(&self) -> Option<&'static str> {
        None
    }
    /// Whether a name can be one there; if not, there is no such secret.
    fn takes(&self, _name: &str) -> bool {
        true
    }
    /// Settings under which a secret of fields is read, if it can have some. It is put as an object of JSON.
    fn fields(&self) -> Option<&'static str> {
        None
    }
    /// Another provider with credentials that are no good, and what it says of them.
    fn intruder(&self) -> Option<(String, &'static str)> {
        None
    }
}

/// As short as is of use, for what has to be asked anew.
const SOON: &str = "cache: {ttl: 200ms, negative_ttl: 200ms}";
/// What readers are promised with that, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
const CANARY: &str = "Vk7qXw2Rz9LmHt4bNc8Ys6Jd";

fn config(provider: &str, settings: &str) -> String {
    format!("providers: {{p: {{{provider}, {settings}}}}}\nmounts: [{{at: mnt, templates: templates}}]\n")
}

fn mount(source: &impl Source, settings: &str, files: &[(&str, &str)]) -> Mounted {
    mount_of(source, &source.provider(), settings, files)
}

/// Names in the files are below what stands before them there.
fn mount_of(source: &impl Source, provider: &str, settings: &str, files: &[(&str, &str)]) -> Mounted {
    let mount = TestMount::new().secret("own", "own").template("own.tpl", "<< secrets.own >>");
    let mount = mount.env("SECRETFS_LOG", "trace");
    let with = |mount: TestMount, (name, text): &(&str, &str)| {
        mount.template(&format!("{name}.tpl"), placed(source, text))
    };
    files.iter().fold(mount, with).config(&config(provider, settings)).start()
}

fn placed(source: &impl Source, text: &str) -> String {
    let below = source.below();
    text.replace("('p:", &format!("('p:{below}")).replace("(\"p:", &format!("(\"p:{below}"))
}

fn bytes(mount: &Mounted, name: &str) -> Vec<u8> {
    fs::read(mount.path(name)).unwrap_or_else(|error| panic!("{name}: {error}; {}", reason(mount, name)))
}

fn reason(mount: &Mounted, name: &str) -> String {
    attribute(mount, name, "error").unwrap_or_default()
}

pub fn found_and_missing(source: &impl Source) {
    source.put("app-key", b"hunter2");
    let files = [
        ("found", "<< secret('p:app-key') >>"),
        ("missing", "<< secret('p:app-none') >>"),
        ("default", "<< secret('p:app-none') | default('d') >>"),
        ("both", "<< secret('p:app-key') >>|<< secret('p:app-none') | default('d') >>"),
    ];
    let mount = mount(source, SOON, &files);
    assert_eq!(bytes(&mount, "found"), b"hunter2");
    assert_eq!((mount.read("default"), mount.read("both")), ("d".into(), "hunter2|d".into()));
    assert_eq!(mount.errno("missing"), libc::ENOKEY, "{}", reason(&mount, "missing"));
    source.put("app-none", b"there");
    eventually("what was missing is found", || {
        fs::read(mount.path("missing")).is_ok_and(|it| it == b"there")
    });
    source.delete("app-none");
    eventually("what was deleted is missing", || {
        fs::read(mount.path("missing")).is_err_and(|error| error.raw_os_error() == Some(libc::ENOKEY))
    });
    assert_eq!(mount.read("default"), "d");
}

pub fn fields(source: &impl Source) {
    let settings = source.fields().expect("it can have fields");
    source.put("db", r#"{"user": "u", "pass": "p@\"é"}"#.as_bytes());
    let files =
        [("f", "<< secret('p:db#user') >>:<< secret('p:db#pass') >>"), ("none", "<< secret('p:db#none') >>")];
    let mount = mount(source, &format!("{SOON}, {settings}"), &files);
    assert_eq!(bytes(&mount, "f"), "u:p@\"é".as_bytes());
    assert_ne!(mount.errno("none"), libc::ENOENT);
}

/// A failure is none that a default covers.
pub fn no_default_on_failure(source: &impl Source) {
    let file = [("f", "<< secret('p:a') | default('d') >>")];
    let mount = mount(source, "timeout: 1s, cache: {ttl: 1ms, negative_ttl: 1ms}", &file);
    assert_eq!(mount.read("f"), "d", "the control: it is missing");
    source.stop();
    thread::sleep(Duration::from_millis(300));
    for _ in 0..10 {
        let errno = mount.errno("f");
        assert!(matches!(errno, libc::EIO | libc::ETIMEDOUT), "{errno}");
    }
    source.start();
    eventually("it heals", || fs::read(mount.path("f")).is_ok_and(|it| it == b"d"));
}

/// Each has its own value, or none; nobody has another's.
pub fn names_are_data(source: &impl Source) {
    const NAMES: [&str; 16] = [
        "a b",
        "é",
        "%2e",
        "a%2fb",
        "a?b=c",
        "..",
        "../x",
        "a//b",
        "x/../y",
        "x/.",
        "a&b",
        "${HOME}",
        "plain",
        "with-dash",
        "n1",
        "Upper",
    ];
    for name in ["x", "y", "a/b", "b", ".", "e"] {
        if source.takes(name) {
            source.put(name, b"another's");
        }
    }
    let text = |name: &str| format!("<< secret(\"p:{name}\") | default('none') >>");
    let texts: Vec<_> = NAMES.iter().map(|name| text(name)).collect();
    let names: Vec<_> = (0..NAMES.len()).map(|at| format!("f{at}")).collect();
    let files: Vec<_> = names.iter().zip(&texts).map(|(name, text)| (&**name, &**text)).collect();
    for name in NAMES.iter().filter(|name| source.takes(name)) {
        source.put(name, format!("of {name}").as_bytes());
    }
    let mount = mount(source, SOON, &files);
    let mut own = 0;
    for (name, file) in NAMES.iter().zip(&names) {
        match (source.takes(name), fs::read_to_string(mount.path(file))) {
            (true, told) => {
                assert_eq!(told.ok().as_deref(), Some(&*format!("of {name}")), "{}", reason(&mount, file))
            }
            (false, Ok(told)) => assert_eq!(told, "none", "{name}"),
            (false, Err(error)) => assert_ne!(error.raw_os_error(), Some(libc::ENOENT), "{name}"),
        }
        own += usize::from(source.takes(name));
    }
    assert!(own > 2, "the control: most are names there");
}

pub fn values_are_bytes(source: &impl Source) {
    let large: Vec<u8> = (0..source.largest()).map(|at| b'a' + (at % 26) as u8).collect();
    // Without a final newline of a single line, which some drop, and without NUL, which no text has.
    let binary: Vec<u8> = match source.only_texts() {
        None => (1..=255).rev().chain([255, 1]).collect(),
        Some(why) => {
            println!("only texts: {why}");
            (1..0x300).filter_map(char::from_u32).rev().collect::<String>().into_bytes()
        }
    };
    source.put("large", &large);
    source.put("empty", b"");
    source.put("binary", &binary);
    source.put("nul", b"a\0b");
    let files = [
        ("large", "<< secret('p:large') >>"),
        ("empty", "[<< secret('p:empty') >>]"),
        ("binary", "<< secret('p:binary') >>"),
        ("nul", "<< secret('p:nul') >>"),
    ];
    let mount = mount(source, SOON, &files);
    assert!(bytes(&mount, "large") == large, "as much as it can be");
    match source.no_empty_value() {
        None => assert_eq!(bytes(&mount, "empty"), b"[]", "an empty value is one"),
        Some(why) => println!("no empty value: {why}"),
    }
    assert_eq!(bytes(&mount, "binary"), binary);
    assert_eq!(mount.errno("nul"), libc::EIO, "refused, and not cut");
}

/// The next open after what the provider promises has the new value, and so has who was told.
pub fn a_rotation_reaches_readers(source: &impl Source) {
    source.put("a", b"one");
    let settings = if source.tells() { "cache: {ttl: 1h}" } else { SOON };
    let on_change = "files: {f: {on_change: {signal: HUP, debounce: 50ms}}}";
    let config = format!(
        "providers: {{p: {{{}, {settings}}}}}\nmounts: [{{at: mnt, templates: templates, {on_change}}}]\n",
        source.provider()
    );
    let text = placed(source, "<< secret('p:a') >>");
    let daemon = TestDaemon::new().template("f.tpl", text).config(&config).start();
    assert_eq!(daemon.read("f"), "one");
    let seen = daemon.folder().join("seen");
    let mut reader = Waiting::start(&daemon, &seen);
    // A watch may have to be begun first.
    thread::sleep(Duration::from_millis(1500));
    source.put("a", b"two!");
    let start = Instant::now();
    while daemon.read("f") != "two!" {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(1));
    }
    println!("from the change to the first open that has it: {:?}", start.elapsed());
    eventually("the reader is told", || fs::read_to_string(&seen).is_ok_and(|it| it == "one\ntwo!\n"));
    reader.end();
}

/// A shell that reads the file now, and again at each HUP.
struct Waiting(std::process::Child);

impl Waiting {
    fn start(daemon: &Daemon, seen: &Path) -> Self {
        let read = format!("read line < {}; echo $line >> {}", daemon.path("f").display(), seen.display());
        let script = format!("trap '{read}' HUP; {read}; while :; do sleep 0.05; done");
        let child = std::process::Command::new("sh").args(["-c", &script]).spawn().expect("sh");
        eventually("it has read", || fs::read_to_string(seen).is_ok_and(|it| it == "one\n"));
        Self(child)
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

pub fn many_secrets_of_a_file_are_few_questions(source: &impl Source) {
    const SECRETS: usize = 200;
    let mut text = String::new();
    for number in 0..SECRETS {
        source.put(&format!("many-{number}"), format!("<{number}>").as_bytes());
        text += &format!("<< secret('p:many-{number}') >>");
    }
    let mount = mount(source, "timeout: 20s, concurrency: 4, cache: {ttl: 1h}", &[("many", &text)]);
    let before = source.questions().expect("they are counted");
    let limit = Instant::now() + Duration::from_secs(60);
    let told = loop {
        match fs::read_to_string(mount.path("many")) {
            Ok(told) => break told,
            // A program for each takes longer than a reader waits; what is known stays known.
            Err(error) => assert!(Instant::now() < limit, "{error}: {}", reason(&mount, "many")),
        }
    };
    let all: String = (0..SECRETS).map(|number| format!("<{number}>")).collect();
    assert_eq!(told, all);
    let asked = source.questions().expect("counted") - before;
    println!("{SECRETS} secrets of one file: {asked} questions");
    assert!((1..=source.most_questions(SECRETS)).contains(&asked), "{asked}");
}

pub fn many_readers_are_one_question(source: &impl Source) {
    const READERS: usize = 100;
    source.put("a", b"hunter2");
    let mount = mount(source, "cache: {ttl: 1h, no_cache: [b]}", &[("f", "<< secret('p:a') >>")]);
    let before = source.questions().expect("they are counted");
    let (path, barrier) = (mount.path("f"), Barrier::new(READERS));
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(fs::read(&path).ok().as_deref(), Some(&b"hunter2"[..]));
            });
        }
    });
    assert_eq!(source.questions().expect("counted") - before, 1);
}

/// Other files go on; it heals by itself.
pub fn an_outage_is_told_and_ends(source: &impl Source) {
    source.put("a", b"hunter2");
    let mount = mount(source, "timeout: 1s, cache: {ttl: 300ms}", &[("f", "<< secret('p:a') >>")]);
    assert_eq!(mount.read("f"), "hunter2", "the control");
    source.stop();
    thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    eventually("its time is over", || fs::read(mount.path("f")).is_err());
    let errno = mount.errno("f");
    assert!(matches!(errno, libc::EIO | libc::ETIMEDOUT), "{errno}");
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert!(reason(&mount, "f").contains("provider `p`"), "{}", reason(&mount, "f"));
    assert_eq!(mount.read("own"), "own", "others are left alone");
    source.start();
    eventually("it heals", || fs::read(mount.path("f")).is_ok_and(|it| it == b"hunter2"));
    assert!(!mount.stderr().contains("hunter2"));
}

pub fn wrong_credentials_say_so(source: &impl Source) {
    source.put("a", b"hunter2");
    let (provider, says) = source.intruder().expect("it asks for credentials");
    let mount = mount_of(source, &provider, SOON, &[("f", "<< secret('p:a') | default('d') >>")]);
    assert_eq!(mount.errno("f"), libc::EIO);
    assert!(reason(&mount, "f").contains(says), "{}", reason(&mount, "f"));
    assert_eq!(mount.read("own"), "own");
}

/// Neither when it is given nor when something fails; the control finds what is told.
pub fn a_value_is_told_nowhere_else(source: &impl Source) {
    source.put("canary", CANARY.as_bytes());
    let files = [
        ("f", "<< secret('p:canary') >>"),
        ("wrong", "<< secret('p:canary') | b64decode | from_json >>"),
        ("none", "<< secret('p:none') >><< secret('p:canary') >>"),
    ];
    let mount = mount(source, "timeout: 1s, cache: {ttl: 100ms}", &files);
    assert_eq!(mount.read("f"), CANARY, "the control");
    let mut told = String::new();
    for file in ["wrong", "none"] {
        mount.errno(file);
        told += &reason(&mount, file);
    }
    source.put("canary", format!("{CANARY}2").as_bytes());
    thread::sleep(Duration::from_millis(500));
    let _ = fs::read(mount.path("f"));
    source.stop();
    eventually("its time is over", || fs::read(mount.path("f")).is_err());
    told += &reason(&mount, "f");
    told += &mount.stderr();
    let missing = format!("p:{}none", source.below());
    assert!(told.contains("provider `p`") && told.contains(&missing), "the control: {told}");
    assert!(!told.contains(CANARY), "{told}");
    assert!(!told.contains("Vms3cVh3MlJ6OUxt"), "nor as base64: {told}");
    source.start();
}

/// Tries these rules with this source.
#[macro_export]
macro_rules! contract {
    ($source:ident: $make:expr; $($rule:ident),+ $(,)?) => {
        mod $source {
            $(#[test] fn $rule() { $crate::common::contract::$rule(&$make) })+
        }
    };
}

/// The same with a source that is not everywhere.
#[macro_export]
macro_rules! contract_if {
    ($source:ident: $make:expr; $($rule:ident),+ $(,)?) => {
        mod $source {
            $(#[test] fn $rule() {
                if let Some(source) = $make {
                    $crate::common::contract::$rule(&source);
                }
            })+
        }
    };
}
