//! An API server of Kubernetes as far as it is asked here: objects, their metadata alone, lists, watches with their
//! bookmarks, and its words for what it refuses. Counts what it is asked.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Cluster;
use super::speech::{Question, answer, line, shown, status};
use crate::common::http::read;

pub struct Fake {
    address: SocketAddr,
    folder: TempDir,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Kind in the plural, namespace, name.
type Key = (String, String, String);

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    /// What has happened, each with the version that came of it.
    log: Vec<(u64, &'static str, Key, Value)>,
    version: u64,
    /// What has happened before this one is forgotten.
    floor: u64,
    tokens: HashMap<String, Rights>,
    asked: Vec<(&'static str, String)>,
    watches: usize,
    most_watches: usize,
    /// Watches of before are ended.
    round: u64,
    is_down: bool,
    throttled: Option<u32>,
    /// No watch of this object goes on.
    spoiled: Option<String>,
    /// Watches tell nothing, as behind a server that has lost its cluster.
    is_mute: bool,
    /// Nobody is answered.
    is_hung: bool,
}

#[derive(Clone)]
pub enum Rights {
    All,
    /// To get and to watch these secrets of a namespace.
    Names(String, Vec<String>),
    /// The same, without the watch.
    Get(String, Vec<String>),
}

const ADMIN: &str = "hunter2-admin";

impl Fake {
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        shared.lock().tokens.insert(ADMIN.to_owned(), Rights::All);
        shared.lock().version = 1_000;
        let kept = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = kept.clone();
                // A client that goes away early is no matter.
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, folder: TempDir::with_prefix("secretfs-fake-").unwrap(), shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn know(&self, token: &str, rights: Rights) {
        self.shared.lock().tokens.insert(token.to_owned(), rights);
    }

    pub fn forget(&self, token: &str) {
        self.shared.lock().tokens.remove(token);
    }

    /// How often it was asked so: `get`, `metadata`, `watch`, `list`.
    pub fn asked(&self, verb: &str) -> usize {
        self.shared.lock().asked.iter().filter(|(known, _)| *known == verb).count()
    }

    /// Routes with their queries, in order.
    pub fn routes(&self, verb: &str) -> Vec<String> {
        let state = self.shared.lock();
        state.asked.iter().filter(|(known, _)| *known == verb).map(|(_, route)| route.clone()).collect()
    }

    /// Watches that are open, and the most that ever were.
    pub fn watches(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.watches, state.most_watches)
    }

    /// All connections end; new ones end at once.
    pub fn stop(&self) {
        self.change(|state| state.is_down = true);
    }

    pub fn start_again(&self) {
        self.change(|state| state.is_down = false);
    }

    /// Each with a bookmark, as at the end of its time.
    pub fn end_watches(&self) {
        self.change(|state| state.round += 1);
    }

    /// What has happened so far cannot be told any more.
    pub fn compact(&self) {
        self.change(|state| {
            state.version += 1;
            state.floor = state.version;
        });
    }

    /// Says with 429 how many seconds it wants to be left alone.
    pub fn throttle(&self, after: Option<u32>) {
        self.change(|state| state.throttled = after);
    }

    /// Watches of this object alone end, and fail; of none again.
    pub fn spoil(&self, name: Option<&str>) {
        self.change(|state| state.spoiled = name.map(str::to_owned));
    }

    pub fn mute(&self) {
        self.change(|state| state.is_mute = true);
    }

    pub fn hang(&self) {
        self.change(|state| state.is_hung = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.lock());
        self.shared.changed.notify_all();
    }
}

impl Cluster for Fake {
    fn apply(&self, mut object: Value) {
        let kind = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
        let of = |name: &str| object["metadata"][name].as_str().unwrap().to_owned();
        let key = (kind, of("namespace"), of("name"));
        self.change(|state| {
            state.version += 1;
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            let known = state.objects.insert(key.clone(), object.clone());
            let event = if known.is_some() { "MODIFIED" } else { "ADDED" };
            state.log.push((state.version, event, key, object));
        });
    }

    fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.change(|state| {
            let mut object = state.objects.remove(&key).expect("it is there");
            state.version += 1;
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            state.log.push((state.version, "DELETED", key, object));
        });
    }

    fn server(&self) -> Value {
        json!({ "server": format!("http://{}", self.address) })
    }

    fn token_for(&self, namespace: &str, names: &[&str]) -> String {
        let token = format!("hunter2-{namespace}-{}", names.join("-"));
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.know(&token, Rights::Names(namespace.to_owned(), names));
        token
    }

    fn admin(&self) -> String {
        ADMIN.to_owned()
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl State {
    fn spoils(&self, question: &Question) -> bool {
        self.spoiled.is_some() && self.spoiled.as_deref() == question.about()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let request = read(&mut stream)?;
        let stream = stream.get_mut();
        while self.lock().is_hung {
            thread::sleep(Duration::from_millis(100));
        }
        if self.lock().is_down {
            return Ok(());
        }
        let Some(question) = Question::of(&request) else {
            return answer(stream, 404, &status(404, "NotFound", None), "");
        };
        if let Some(after) = self.lock().throttled {
            let after = format!("Retry-After: {after}\r\n");
            return answer(stream, 429, &status(429, "TooManyRequests", None), &after);
        }
        let token = request.header("authorization").map(|it| it.trim_start_matches("Bearer ").to_owned());
        let rights = token.as_ref().and_then(|token| self.lock().tokens.get(token).cloned());
        match (token, rights) {
            (None, _) => answer(stream, 403, &status(403, "Forbidden", None), ""),
            (_, None) => answer(stream, 401, &status(401, "Unauthorized", None), ""),
            (_, Some(rights)) => {
                self.lock().asked.push((question.verb(), request.target.clone()));
                match question.is_allowed(&rights) {
                    false => answer(stream, 403, &status(403, "Forbidden", question.named()), ""),
                    true => self.tell(stream, &question),
                }
            }
        }
    }

    fn tell(&self, stream: &mut TcpStream, question: &Question) -> io::Result<()> {
        if question.is_watch() {
            return self.watch(stream, question);
        }
        let state = self.lock();
        let of = |(kind, namespace, _): &Key| *kind == question.kind && *namespace == question.namespace;
        let Some(name) = &question.name else {
            let items = state.objects.iter().filter(|(key, _)| of(key)).map(|(_, it)| shown(it, question));
            let list = json!({"kind": "List", "metadata": {"resourceVersion": state.version.to_string()},
                "items": Vec::from_iter(items)});
            drop(state);
            return answer(stream, 200, &list, "");
        };
        let key = (question.kind.clone(), question.namespace.clone(), name.clone());
        let found = state.objects.get(&key).map(|it| shown(it, question));
        drop(state);
        match found {
            Some(object) => answer(stream, 200, &object, ""),
            None => answer(stream, 404, &status(404, "NotFound", question.named()), ""),
        }
    }

    fn watch(&self, stream: &mut TcpStream, question: &Question) -> io::Result<()> {
        let mut state = self.lock();
        if state.spoils(question) {
            return answer(stream, 500, &status(500, "InternalError", None), "");
        }
        state.watches += 1;
        state.most_watches = state.most_watches.max(state.watches);
        let round = state.round;
        drop(state);
        let outcome = self.tell_changes(stream, question, round);
        self.lock().watches -= 1;
        outcome
    }

    fn tell_changes(&self, stream: &mut TcpStream, question: &Question, round: u64) -> io::Result<()> {
        let seconds = question.query.get("timeoutSeconds").and_then(|it| it.parse().ok()).unwrap_or(1_800);
        let end = Instant::now() + Duration::from_secs(seconds);
        stream.write_all(
            b"HTTP/1.1 200 -\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        let is_it = |key: &Key| {
            key.0 == question.kind
                && key.1 == question.namespace
                && question.about().is_none_or(|it| it == key.2)
        };
        let mut state = self.lock();
        let mut seen = match question.query.get("resourceVersion").and_then(|it| it.parse::<u64>().ok()) {
            Some(since) if since > 0 && since < state.floor => {
                let gone = json!({"type": "ERROR", "object": status(410, "Expired", None)});
                line(stream, &gone)?;
                return stream.write_all(b"0\r\n\r\n");
            }
            Some(since) if since > 0 => since,
            _ => {
                for (_, object) in state.objects.iter().filter(|(key, _)| is_it(key)) {
                    line(stream, &json!({"type": "ADDED", "object": shown(object, question)}))?;
                }
                state.version
            }
        };
        loop {
            if state.is_down || state.spoils(question) {
                return Ok(());
            }
            if state.is_mute || state.is_hung {
                state = self.changed.wait_timeout(state, Duration::from_millis(100)).unwrap().0;
                continue;
            }
            let news: Vec<_> = state.log.iter().filter(|(at, ..)| *at > seen).cloned().collect();
            let (version, is_over) = (state.version, state.round > round || Instant::now() >= end);
            drop(state);
            for (at, event, key, object) in news {
                seen = at;
                if is_it(&key) {
                    line(stream, &json!({"type": event, "object": shown(&object, question)}))?;
                }
            }
            if is_over {
                let at = json!({"kind": "Secret", "metadata": {"resourceVersion": version.to_string()}});
                line(stream, &json!({"type": "BOOKMARK", "object": shown(&at, question)}))?;
                return stream.write_all(b"0\r\n\r\n");
            }
            state = self.lock();
            if state.log.last().is_none_or(|(at, ..)| *at <= seen) {
                state = self.changed.wait_timeout(state, Duration::from_millis(100)).unwrap().0;
            }
        }
    }
}
