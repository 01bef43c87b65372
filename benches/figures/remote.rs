//! Secrets from servers: many readers of one, many files of many, what happens when one changes, and what a first
//! provider costs that is down. Real servers; what is counted is counted before or at them.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::bare::{Call, asked};
use crate::common::bao::{Bao, ROOT};
use crate::common::etcd::Etcd;
use crate::common::{Daemon, TestDaemon};
use crate::harness::{Fault, Proxy};
use crate::measure::{Samples, time};
use crate::table::{Row, Table, verdict};
use crate::usual;

const READERS: usize = 10_000;
pub(crate) const FILES: usize = 31;
const KEYS: usize = 1_200;
/// As many as secretfs has by default.
pub(crate) const CONNECTIONS: usize = 16;
/// For a change to be seen.
const LONGEST: Duration = Duration::from_secs(60);
/// How many keys etcd takes in a question.
const BATCH: usize = 128;

/// Cold readers of one secret.
pub(crate) fn remote_crowd(table: &mut Table) {
    let bao = Bao::dev();
    bao.set("app", serde_json::json!({"value": "value"}));
    let proxy = Proxy::before(([127, 0, 0, 1], bao.port).into());
    let daemon =
        daemon(&vault(proxy.address.port(), ""), &[("f", "<< secret('p:secret/app') >>".to_owned())]);
    let (path, barrier) = (daemon.path("f"), Barrier::new(READERS));
    let right: usize = thread::scope(|scope| {
        let read = || {
            barrier.wait();
            fs::read(&path).is_ok_and(|bytes| bytes == b"value")
        };
        let reader =
            || thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, read).expect("a thread");
        let threads: Vec<_> = (0..READERS).map(|_| reader()).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().expect("a reader"))).sum()
    });
    let asked = proxy.seen().iter().filter(|request| request.target.contains("/secret/data/")).count();
    let title = format!("{READERS} cold readers of one secret of OpenBao");
    table.row(Row::note(&title, "right answers", right.to_string(), verdict("all", right == READERS)));
    table.row(Row::note(&title, "reads at the server", asked.to_string(), verdict("1", asked == 1)));
}

/// Files of 1,200 keys each: the same keys, and each with its own.
pub(crate) fn remote_files(table: &mut Table) {
    for has_own in [false, true] {
        of_vault(table, has_own);
        of_etcd(table, has_own);
    }
    for has_own in [false, true] {
        usual::files(table, has_own);
    }
}

pub(crate) fn title(server: &str, has_own: bool) -> String {
    let keys = if has_own { "own keys" } else { "the same keys" };
    format!("{server}: {FILES} files, {KEYS} keys each, {keys}")
}

pub(crate) fn names(has_own: bool) -> Vec<Vec<String>> {
    let name = |file, key| if has_own { format!("f{file}/k{key}") } else { format!("all/k{key}") };
    (0..FILES).map(|file| (0..KEYS).map(|key| name(file, key)).collect()).collect()
}

pub(crate) fn distinct(names: &[Vec<String>]) -> Vec<&String> {
    let mut all: Vec<_> = names.iter().flatten().collect();
    all.sort();
    all.dedup();
    all
}

/// Writes a secret to OpenBao.
pub(crate) fn put(name: &str, value: &str) -> Call {
    let body = format!("{{\"data\": {{\"value\": \"{value}\"}}}}");
    Call { method: "POST", route: format!("/v1/secret/data/{name}"), body }
}

fn files(names: &[Vec<String>], above: &str) -> Vec<(String, String)> {
    let line = |name: &String| format!("<< secret('p:{above}{name}') >>\n");
    names.iter().enumerate().map(|(at, names)| (format!("f{at}"), names.iter().map(line).collect())).collect()
}

fn of_vault(table: &mut Table, has_own: bool) {
    let (bao, names) = (Bao::dev(), names(has_own));
    let get = |name: &&String| Call {
        method: "GET",
        route: format!("/v1/secret/data/{name}"),
        body: String::new(),
    };
    let all = distinct(&names);
    asked(bao.port, ROOT, CONNECTIONS, &all.iter().map(|name| put(name, "old")).collect::<Vec<_>>());
    let bare = asked(bao.port, ROOT, CONNECTIONS, &all.iter().map(get).collect::<Vec<_>>());
    let texts = files(&names, "secret/");
    let provider = vault(bao.port, ", cache: {ttl: 1s, size: 64MiB}");
    let files =
        Files { title: title("OpenBao", has_own), daemon: daemon(&provider, &borrowed(&texts)), bare };
    files.read_all(table);
    files.change(table, &names, || {
        asked(bao.port, ROOT, 1, &[put(&names[0][7], "new")]);
    });
    drop(files);
    // Once more, with somebody who counts in between.
    let proxy = Proxy::before(([127, 0, 0, 1], bao.port).into());
    let counted = vault(proxy.address.port(), ", cache: {ttl: 1h, size: 64MiB}");
    let daemon = daemon(&counted, &borrowed(&texts));
    for (name, _) in &texts {
        read(&daemon.path(name));
    }
    let calls = proxy.requests();
    table.row(Row::note(
        &title("OpenBao", has_own),
        "requests at the server",
        calls.to_string(),
        String::new(),
    ));
    let before = proxy.requests();
    thread::sleep(Duration::from_secs(10));
    let idle = (proxy.requests() - before) as f64 / 10.0;
    let aim = verdict("2.0", idle <= 2.0);
    table.row(Row::note(&title("OpenBao", has_own), "requests per second, idle", format!("{idle:.1}"), aim));
}

fn of_etcd(table: &mut Table, has_own: bool) {
    let (etcd, names) = (Etcd::start(), names(has_own));
    let all = distinct(&names);
    for pairs in all.chunks(BATCH) {
        etcd.put_all(&pairs.iter().map(|name| (format!("/s/{name}"), "old".to_owned())).collect::<Vec<_>>());
    }
    let get = |names: &[&String]| {
        let key = |name: &&String| STANDARD.encode(format!("/s/{name}"));
        let ranges: Vec<_> = names
            .iter()
            .map(|name| format!("{{\"request_range\": {{\"key\": \"{}\"}}}}", key(name)))
            .collect();
        let body = format!("{{\"success\": [{}]}}", ranges.join(","));
        Call { method: "POST", route: "/v3/kv/txn".to_owned(), body }
    };
    let bare = asked(etcd.port(), "", CONNECTIONS, &all.chunks(BATCH).map(get).collect::<Vec<_>>());
    let texts = files(&names, "");
    let provider = format!(
        "type: etcd, address: '{}', prefix: /s/, timeout: 20s, cache: {{ttl: 1h, size: 64MiB}}",
        etcd.url()
    );
    let before = etcd.calls("Txn");
    let files = Files { title: title("etcd", has_own), daemon: daemon(&provider, &borrowed(&texts)), bare };
    files.read_all(table);
    let calls = etcd.calls("Txn") - before;
    table.row(Row::note(&files.title, "requests at the server", calls.to_string(), String::new()));
    files.change(table, &names, || {
        etcd.put(&format!("/s/{}", names[0][7]), "new");
    });
    let asked = || etcd.calls("Txn") + etcd.calls("Range");
    let before = asked();
    thread::sleep(Duration::from_secs(10));
    let idle = (asked() - before) as f64 / 10.0;
    let aim = verdict("2.0", idle <= 2.0);
    table.row(Row::note(&files.title, "requests per second, idle", format!("{idle:.1}"), aim));
}

struct Files {
    title: String,
    daemon: Daemon,
    /// What the same calls take without us.
    bare: Duration,
}

impl Files {
    fn read_all(&self, table: &mut Table) {
        let start = Instant::now();
        let first = time(|| drop(read(&self.daemon.path("f0"))));
        (1..FILES).for_each(|at| drop(read(&self.daemon.path(&format!("f{at}")))));
        let (all, limit) = (start.elapsed(), self.bare.mul_f64(1.2));
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let mut row = |who: &str, figure: String, aim: String| {
            table.row(Row::note(&self.title, who, figure, aim));
        };
        row("a bare client, the same calls", seconds(self.bare), String::new());
        row("the first file is read", seconds(first), verdict("1 s", first <= Duration::from_secs(1)));
        row("all files are read", seconds(all), verdict("1.2 x bare", all <= limit));
    }

    fn memory(&self, table: &mut Table) {
        let peak = peak_mib(self.daemon.worker_pid()).expect("it runs");
        let aim = verdict("100 MiB", peak <= 100);
        table.row(Row::note(&self.title, "most memory", format!("{peak} MiB"), aim));
    }

    /// One key changes: when every file that has it is read with its new value.
    fn change(&self, table: &mut Table, names: &[Vec<String>], change: impl FnOnce()) {
        let changed = &names[0][7];
        let having: Vec<_> = (0..FILES).filter(|at| names[*at].contains(changed)).collect();
        // A watch may have to be begun first.
        thread::sleep(Duration::from_secs(2));
        change();
        let (start, mut refused) = (Instant::now(), 0);
        for at in having {
            let path = self.daemon.path(&format!("f{at}"));
            loop {
                match fs::read_to_string(&path) {
                    Ok(text) if text.contains("new") => break,
                    Ok(_) => {}
                    Err(_) => refused += 1,
                }
                if start.elapsed() > LONGEST {
                    break;
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        let took = start.elapsed();
        let aim = verdict("1 s", took <= Duration::from_secs(1));
        let figure = match took > LONGEST {
            true => format!("not within {} s", LONGEST.as_secs()),
            false => format!("{:.3} s", took.as_secs_f64()),
        };
        table.row(Row::note(&self.title, "a change is in all files", figure, aim));
        let aim = verdict("0", refused == 0);
        table.row(Row::note(&self.title, "reads refused meanwhile", refused.to_string(), aim));
        self.memory(table);
    }
}

/// The most that a process has had resident. `None`: it has ended.
pub(crate) fn peak_mib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10)
}

/// A first provider that is down, before one that works.
pub(crate) fn failover(table: &mut Table) {
    const ROUNDS: usize = 30;
    let etcd = Etcd::start();
    etcd.put("/s/a", "value");
    for (how, fault) in [("refuses", Fault::Refuse), ("is silent", Fault::Silent)] {
        let proxy = Proxy::before(([127, 0, 0, 1], etcd.port()).into());
        let of = |address: &str| {
            format!("type: etcd, address: '{address}', prefix: /s/, timeout: 2s, cache: {{no_cache: [a]}}")
        };
        let providers = format!(
            "  first: {{{}}}\n  second: {{{}}}\n  p: {{type: multi, strategy: failover, of: [first, second]}}\n",
            of(&format!("http://{}", proxy.address)),
            of(&etcd.url()),
        );
        let mount = daemon_of(&providers, &[("f", "<< secret('p:a') >>")]);
        let alone = daemon(&of(&etcd.url()), &[("f", "<< secret('p:a') >>")]);
        let timed = |daemon: &Daemon| time(|| assert_eq!(read(&daemon.path("f")).trim(), "value"));
        timed(&alone);
        timed(&mount);
        proxy.set(fault);
        thread::sleep(Duration::from_millis(300));
        let first = timed(&mount);
        let samples = |daemon: &Daemon| {
            let sample = |_| {
                // What has just been asked for is not asked for again at once.
                thread::sleep(Duration::from_millis(120));
                timed(daemon)
            };
            Samples::of((0..ROUNDS).map(sample).collect::<Vec<_>>())
        };
        // Until it is left in peace: five of its answers have failed.
        let warm = Instant::now();
        while warm.elapsed() < Duration::from_secs(15) {
            thread::sleep(Duration::from_millis(120));
            timed(&mount);
        }
        let (with, without) = (samples(&mount), samples(&alone));
        let title = format!("failover: the first provider {how}");
        let figure = format!("{:.1} ms", first.as_secs_f64() * 1e3);
        table.row(Row::note(&title, "the first read", figure, String::new()));
        table.row(Row::new(&title, "the second one alone", &without));
        table.row(Row::new(&title, "the reads after", &with).over(&without, Some(Duration::from_millis(1))));
    }
}

fn vault(port: u16, more: &str) -> String {
    format!(
        "type: vault, address: 'http://127.0.0.1:{port}', auth: {{method: token, token: '${{TOKEN}}'}}, timeout: 20s{more}"
    )
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, String)> {
    files.iter().map(|(name, text)| (&**name, text.clone())).collect()
}

fn daemon(provider: &str, files: &[(&str, impl AsRef<str>)]) -> Daemon {
    daemon_of(&format!("  p: {{{provider}}}\n"), files)
}

fn daemon_of(providers: &str, files: &[(&str, impl AsRef<str>)]) -> Daemon {
    let mut daemon = TestDaemon::new().env("TOKEN", ROOT);
    for (name, text) in files {
        daemon = daemon.template(&format!("{name}.tpl"), text.as_ref());
    }
    let mounts = "mounts: [{at: mnt, templates: templates, deadline: 60s}]\n";
    daemon.config(&format!("providers:\n{providers}{mounts}")).start()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
