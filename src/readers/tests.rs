//! Who is known as a reader, and for how long. Processes are real ones.

use std::process::{Child, Command, Stdio};

use super::*;

/// A process that runs until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    fn caller(&self) -> Caller {
        Caller { uid: 7, gid: 8, pid: self.0.id() }
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.end();
    }
}

fn edition(file: u64, version: u64) -> Arc<Edition> {
    Arc::new(Edition {
        file,
        path: Path::new("tls").join(file.to_string()).into(),
        view: "".into(),
        print: [file, version, 0, 1],
        versions: vec![("key".to_owned(), version)],
    })
}

fn held(readers: &Readers) -> Vec<(u32, u64, u64)> {
    let version = |it: &Reading| (it.process.pid, it.edition.file, it.edition.versions[0].1);
    readers.list().iter().map(version).collect()
}

#[test]
fn the_last_version_of_each_file_counts() {
    let readers = Readers::start(&Ledger::none());
    let (a, b) = (Sleeper::start(), Sleeper::start());
    for (who, edition) in [(&a, edition(1, 1)), (&a, edition(2, 1)), (&b, edition(1, 1)), (&a, edition(1, 2))]
    {
        readers.opened(&who.caller(), &edition);
    }
    let mut expected = vec![(a.0.id(), 1, 2), (b.0.id(), 1, 1), (a.0.id(), 2, 1)];
    expected.sort_by_key(|(pid, file, _)| (*file, *pid));
    assert_eq!(held(&readers), expected);
    assert_eq!(readers.list()[0].uid, 7);
    assert_eq!(readers.groups().len(), 2, "one of each file");
}

#[test]
fn who_ends_is_forgotten() {
    let readers = Readers::start(&Ledger::none());
    let (mut a, b) = (Sleeper::start(), Sleeper::start());
    readers.opened(&a.caller(), &edition(1, 1));
    readers.opened(&b.caller(), &edition(2, 1));
    assert_eq!(readers.list().len(), 2);
    a.0.kill().unwrap();
    let patience = Instant::now() + Duration::from_secs(5);
    while readers.list().len() > 1 {
        assert!(Instant::now() < patience, "one that nobody has reaped yet is no reader");
    }
    a.end();
    let _keeps = b;
    while readers.has(1) {
        assert!(Instant::now() < patience, "found out without being asked");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(readers.has(2));
}

/// Also while there is always somebody who opens something.
#[test]
fn who_ends_is_forgotten_beside_others_who_go_on() {
    let readers = Readers::start(&Ledger::none());
    let (mut a, b) = (Sleeper::start(), Sleeper::start());
    readers.opened(&a.caller(), &edition(1, 1));
    readers.find_out();
    a.end();
    let patience = Instant::now() + Duration::from_secs(5);
    while readers.has(1) {
        readers.opened(&b.caller(), &edition(2, 1));
        assert!(Instant::now() < patience, "it has ended, and is kept");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn who_comes_later_is_not_who_has_read() {
    let readers = Readers::start(&Ledger::none());
    let a = Sleeper::start();
    readers.opened(&a.caller(), &edition(1, 1));
    // As if its number were another's by now: that one has started after the open.
    readers.notes().of.values_mut().for_each(|note| note.ticks = 1);
    assert_eq!(held(&readers), []);
}

#[test]
fn a_thread_is_its_process() {
    let readers = Readers::start(&Ledger::none());
    thread::spawn({
        let readers = readers.clone();
        move || {
            let pid = nix::unistd::gettid().as_raw().unsigned_abs();
            readers.opened(&Caller { uid: 0, gid: 0, pid }, &edition(1, 1));
        }
    })
    .join()
    .unwrap();
    assert_eq!(held(&readers), [(std::process::id(), 1, 1)]);
}

#[test]
fn what_a_reaction_was_done_for_is_remembered_until_the_next_version() {
    let readers = Readers::start(&Ledger::none());
    let a = Sleeper::start();
    readers.opened(&a.caller(), &edition(1, 1));
    let process = readers.list()[0].process;
    readers.reacted(process, 1, [9; 4]);
    readers.opened(&a.caller(), &edition(1, 1));
    assert_eq!(readers.list()[0].reacted_to, Some([9; 4]), "the same content is no news");
    readers.opened(&a.caller(), &edition(1, 2));
    assert_eq!(readers.list()[0].reacted_to, None);
}

#[test]
fn another_process_of_ours_goes_on_with_them() {
    let ledger = Ledger::create().unwrap();
    let descriptor = ledger.descriptor().unwrap().try_clone_to_owned().unwrap();
    let (a, mut gone) = (Sleeper::start(), Sleeper::start());
    let readers = Readers::start(&ledger);
    readers.opened(&a.caller(), &edition(1, 3));
    readers.opened(&gone.caller(), &edition(1, 3));
    readers.opened(&a.caller(), &edition(2, 1));
    let before = readers.list();
    readers.reacted(before[0].process, 1, [5; 4]);
    let before = readers.list();
    // The process ends without a word: nothing is dropped.
    std::mem::forget((readers, ledger));
    gone.end();
    let after = Readers::start(&Ledger::adopt(descriptor).unwrap()).list();
    let before: Vec<_> = before.into_iter().filter(|it| it.process.pid == a.0.id()).collect();
    let told = |it: &Reading| (it.process, it.uid, it.gid, it.edition.clone(), it.reacted_to);
    assert_eq!(after.iter().map(told).collect::<Vec<_>>(), before.iter().map(told).collect::<Vec<_>>());
    assert_eq!(after.len(), 2);
    assert_eq!(after[0].at.as_millisecond(), before[0].at.as_millisecond());
}

#[test]
fn nobody_drives_another_user_s_readers_out() {
    let readers = Readers::start(&Ledger::none());
    let (service, flood) = (Sleeper::start(), Sleeper::start());
    let of = |uid, who: &Sleeper| Caller { uid, ..who.caller() };
    readers.opened(&of(1, &service), &edition(0, 1));
    readers.list();
    for file in 1..MOST as u64 + 2_000 {
        readers.opened(&of(2, &flood), &edition(file, 1));
        if file % 1000 == 0 {
            readers.list();
        }
    }
    let left = readers.list();
    assert!(left.iter().any(|it| it.uid == 1), "the oldest of all, and the only one of its user");
    assert!(left.len() > MOST / 2 && !readers.has(1), "the control: others had to go");
    readers.opened(&of(1, &service), &edition(1, 1));
    (0..MOST as u64).for_each(|file| readers.opened(&of(2, &flood), &edition(file, 2)));
    readers.opened(&of(1, &service), &edition(2, 1));
    let of_service = readers.list().into_iter().filter(|it| it.uid == 1);
    assert_eq!(of_service.count(), 3, "nor while it is only noted");
}

#[test]
fn there_is_a_bound() {
    let readers = Readers::start(&Ledger::none());
    let a = Sleeper::start();
    let dropped = metrics::get().readers_dropped.get();
    for file in 0..MOST as u64 + 500 {
        readers.opened(&a.caller(), &edition(file, 1));
        if file % 1000 == 0 {
            readers.list();
        }
    }
    assert!(readers.list().len() <= MOST);
    assert!(readers.has(MOST as u64 + 499), "the newest stays");
    assert!(metrics::get().readers_dropped.get() - dropped >= 500);
}
