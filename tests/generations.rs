//! A reload, seen from the filesystem without the kernel: it takes over at once or not at all, each
//! rendering is of one generation, and what nothing else is said of goes on as it was.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use common::{USER, become_user};
use jiff::Timestamp;
use nix::unistd::gettid;
use secretfs::broker::{Broker, Environment};
use secretfs::caller::Caller;
use secretfs::fs::SecretFs;
use secretfs::fs::errno::Errno;
use secretfs::fs::tree::{Layout, ROOT, Spec};
use secretfs::policy::{Door, Ownership, Policy};
use secretfs::provider::{AsOf, Batch, BoxFuture, Changes, Provider, ProviderError, Pulse};
use secretfs::resolver::Resolver;
use secretfs::secret::{Answer, FieldName, SecretBytes, SecretKey, SecretType, SecretVersion};
use secretfs::template::{Format, Syntax};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Every secret has this value, and to be asked takes a moment.
struct Says {
    value: &'static str,
    asked: Arc<AtomicUsize>,
}

impl Says {
    fn answer(&self) -> Answer {
        let since = Timestamp::UNIX_EPOCH;
        let fields = BTreeMap::from([(FieldName::value(), SecretBytes::copy_of(self.value.as_bytes()))]);
        Ok(Arc::new(SecretVersion {
            turned_out: None,
            kind: SecretType::Plain,
            fields,
            version: 1,
            created_at: since,
            updated_at: since,
            expires_at: None,
            uses: None,
        }))
    }
}

impl Provider for Says {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(Batch { answers: keys.iter().map(|_| self.answer()).collect(), as_of: AsOf::moment(0) })
        })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { Ok(()) })
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }
}

impl Changes for Says {
    fn pulse(&self) -> Pulse {
        Pulse::Still(0)
    }

    fn unchanged<'a>(
        &'a self,
        _: &'a [SecretKey],
        since: u64,
    ) -> BoxFuture<'a, Result<Option<AsOf>, ProviderError>> {
        Box::pin(async move { Ok(Some(AsOf::moment(since))) })
    }
}

/// A filesystem over a folder of templates, asked as the kernel would ask.
struct Served {
    fs: Arc<SecretFs>,
    pool: Runtime,
    asked: Arc<AtomicUsize>,
    templates: TempDir,
}

/// A thread that waits for ever, as one whose request is held: each has its own steps.
fn caller(uid: u32) -> Caller {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        become_user(uid);
        tell.send(gettid().as_raw().unsigned_abs()).unwrap();
        loop {
            thread::park();
        }
    });
    Caller { uid, gid: uid, pid: told.recv().unwrap() }
}

fn broker_of(value: &'static str, asked: &Arc<AtomicUsize>) -> Arc<Broker> {
    let resolver =
        Resolver::of([("says", Arc::new(Says { value, asked: asked.clone() }) as Arc<dyn Provider>)]);
    let salt = SecretBytes::copy_of(b"salt");
    Arc::new(Broker::new(Policy::by_mode(), resolver, salt, Environment::Only(BTreeSet::new())))
}

impl Served {
    fn new(templates: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in templates {
            fs::write(folder.path().join(format!("{name}.tpl")), "<< secrets.pw >>").unwrap();
        }
        let (asked, pool) = (Arc::default(), Runtime::new().unwrap());
        let fs =
            SecretFs::new(broker_of("A", &asked), layout_of(folder.path(), 0, 0o400, Format::Text)).unwrap();
        Self { fs, pool, asked, templates: folder }
    }

    fn layout(&self, uid: u32, mode: u16, format: Format) -> Layout {
        layout_of(self.templates.path(), uid, mode, format)
    }

    fn reload(&self, broker: Arc<Broker>, layout: Layout) -> bool {
        let change = self.fs.prepare(broker, layout).unwrap();
        let is_change = change.is_change();
        change.commit();
        is_change
    }

    fn lookup(&self, caller: Caller, name: &str) -> Result<u64, Errno> {
        let _pool = self.pool.enter();
        let (tell, told) = mpsc::channel();
        self.fs.lookup(caller, ROOT, OsStr::new(name), move |attr| tell.send(attr.map(|it| it.id)).unwrap());
        told.recv_timeout(Duration::from_secs(10)).expect("an answer")
    }

    /// The node and the handle. As the kernel does, it looks up once more after ESTALE.
    fn open(&self, caller: Caller, name: &str) -> Result<(u64, u64), Errno> {
        let once = || {
            let node = self.lookup(caller, name)?;
            let _pool = self.pool.enter();
            Ok((node, self.pool.block_on(self.fs.open(caller, node).finish())?))
        };
        once().or_else(|errno| if errno == Errno::STALE { once() } else { Err(errno) })
    }

    fn read(&self, caller: Caller, handle: u64) -> Result<String, Errno> {
        let _pool = self.pool.enter();
        let (tell, told) = mpsc::channel();
        self.fs.read(caller, handle, 0, 4096, move |bytes| tell.send(bytes.map(<[u8]>::to_vec)).unwrap());
        let bytes = told.recv_timeout(Duration::from_secs(10)).expect("an answer")?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn read_file(&self, caller: Caller, name: &str) -> Result<String, Errno> {
        let (_, handle) = self.open(caller, name)?;
        let text = self.read(caller, handle);
        self.fs.release(handle);
        text
    }
}

fn layout_of(templates: &Path, uid: u32, mode: u16, format: Format) -> Layout {
    let spec = Spec {
        ownership: Ownership { uid, gid: uid, mode },
        rules: None,
        format: Some(format),
        dialect: None,
        syntax: Syntax::Angle,
        verify: true,
        deadline: Duration::from_secs(5),
        on_change: None,
        set: None,
    };
    let folders = Ownership { uid: 0, gid: 0, mode: 0o555 };
    let (at, templates) = (PathBuf::from("/mnt"), Some(templates.to_owned()));
    let spelled = at.clone();
    Layout { at, spelled, door: Door::Mount, templates, spec, files: BTreeMap::new(), folders }
}

#[test]
fn a_reload_of_the_same_renders_nothing_again() {
    let served = Served::new(&["a"]);
    let root = caller(0);
    let broker = broker_of("A", &served.asked);
    served.reload(broker.clone(), served.layout(0, 0o400, Format::Text));
    let (node, handle) = served.open(root, "a").unwrap();
    let asked = served.asked.load(Ordering::Relaxed);
    assert!(!served.reload(broker, served.layout(0, 0o400, Format::Text)));
    assert_eq!(served.open(root, "a").unwrap().0, node);
    assert_eq!((served.read(root, handle), served.asked.load(Ordering::Relaxed)), (Ok("A".into()), asked));
    // The control: another broker is asked, and the same bytes are the same node.
    assert!(served.reload(broker_of("A", &served.asked), served.layout(0, 0o400, Format::Text)));
    assert_eq!(served.open(root, "a").unwrap().0, node);
    assert!(served.asked.load(Ordering::Relaxed) > asked);
}

#[test]
fn a_file_of_which_something_else_is_said_is_another_node() {
    let served = Served::new(&["a", "b"]);
    let (root, broker) = (caller(0), broker_of("A", &served.asked));
    let layout = served.layout(0, 0o400, Format::Text);
    served.reload(broker.clone(), layout.clone());
    let before = ["a", "b"].map(|name| served.open(root, name).unwrap());
    let asked = served.asked.load(Ordering::Relaxed);
    let other = Spec { format: Some(Format::Json), ..layout.spec.clone() };
    let files = BTreeMap::from([("a".into(), (other, None))]);
    served.reload(broker, Layout { files, ..layout });
    assert_eq!(served.read_file(root, "a").unwrap(), "\"A\"");
    let after = ["a", "b"].map(|name| served.open(root, name).unwrap().0);
    assert!(after[0] != before[0].0 && after[1] == before[1].0);
    assert_eq!(served.asked.load(Ordering::Relaxed), asked + 1, "of the other one, nothing was rendered");
    assert_eq!(served.read(root, before[0].1).unwrap(), "A", "an open handle keeps what it has");
}

#[test]
fn a_handle_without_its_right_is_cut_off_and_no_other() {
    let served = Served::new(&["a"]);
    let broker = broker_of("A", &served.asked);
    let [root, user] = [caller(0), caller(USER)];
    served.reload(broker.clone(), served.layout(USER, 0o400, Format::Text));
    let [of_root, of_user] = [root, user].map(|it| served.open(it, "a").unwrap().1);
    assert_eq!(served.read(user, of_user).unwrap(), "A");
    served.reload(broker.clone(), served.layout(0, 0o400, Format::Text));
    assert_eq!(served.read(user, of_user), Err(Errno::ACCES));
    assert_eq!(served.read(root, of_root).unwrap(), "A");
    served.reload(broker.clone(), served.layout(0, 0o444, Format::Text));
    assert_eq!(served.read(user, of_user).unwrap(), "A", "the rules let it go on again");
    let elsewhere = tempfile::tempdir().unwrap();
    served.reload(broker, layout_of(elsewhere.path(), 0, 0o444, Format::Text));
    assert_eq!(served.read(root, of_root), Err(Errno::ACCES), "the file is gone");
    assert_eq!(served.lookup(root, "a"), Err(Errno::NOENT));
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    let served = Served::new(&["a"]);
    let root = caller(0);
    let missing = Path::new("/nowhere/like/this");
    let layout = layout_of(missing, 0, 0o400, Format::Text);
    assert!(served.fs.prepare(broker_of("B", &served.asked), layout).is_err());
    assert_eq!(served.read_file(root, "a").unwrap(), "A");
    drop(served.fs.prepare(broker_of("B", &served.asked), served.layout(0, 0o400, Format::Json)).unwrap());
    assert_eq!(served.read_file(root, "a").unwrap(), "A", "prepared is not committed");
}

#[test]
fn a_rendering_that_began_before_is_not_joined() {
    let served = Served::new(&["a"]);
    let (first, second) = (caller(0), caller(0));
    thread::scope(|scope| {
        // Both ask the same provider's pulse, and only the broker tells them apart.
        let slow = scope.spawn(|| served.read_file(first, "a").unwrap());
        thread::sleep(Duration::from_micros(300));
        served.reload(broker_of("B", &served.asked), served.layout(0, 0o400, Format::Text));
        assert_eq!(served.read_file(second, "a").unwrap(), "B");
        assert!(["A", "B"].contains(&&*slow.join().unwrap()));
    });
}

/// Readers in a loop while `swap` goes on; how often they read what no generation says.
fn mixed(served: &Served, swap: impl Fn(&AtomicBool)) -> (usize, usize) {
    let (reads, mixed, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let root = caller(0);
                while !is_over.load(Ordering::Relaxed) {
                    let text = served.read_file(root, "a").unwrap();
                    reads.fetch_add(1, Ordering::Relaxed);
                    if !["A", "\"B\""].contains(&&*text) {
                        mixed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        swap(&is_over);
        is_over.store(true, Ordering::Relaxed);
    });
    (reads.into_inner(), mixed.into_inner())
}

/// A says text and the value A, B says JSON and the value B: anything else is of both.
#[test]
fn a_rendering_is_of_one_generation() {
    let served = Served::new(&["a"]);
    let [a, b] = ["A", "B"].map(|value| broker_of(value, &served.asked));
    let [text, json] = [Format::Text, Format::Json].map(|format| served.layout(0, 0o400, format));
    let pause = || thread::sleep(Duration::from_micros(1_500));
    let (reads, whole) = mixed(&served, |_| {
        for _ in 0..300 {
            served.reload(b.clone(), json.clone());
            pause();
            served.reload(a.clone(), text.clone());
            pause();
        }
    });
    // The control: half a reload at a time.
    let (_, halves) = mixed(&served, |_| {
        for _ in 0..100 {
            for (broker, layout) in [(&b, &text), (&b, &json), (&a, &json), (&a, &text)] {
                served.reload(broker.clone(), layout.clone());
                pause();
            }
        }
    });
    println!("{reads} reads during 600 reloads, {whole} mixed; {halves} in the control");
    assert!(reads >= 200, "{reads}");
    assert_eq!(whole, 0);
    assert!(halves > 0, "the control finds nothing");
}
