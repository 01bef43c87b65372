//! Short values: libraries keep them out of the heap, in blocks of ciphers and hashes and in places of
//! their own, and so on the stacks of threads that wait.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Daemon, TestDaemon};
use crate::read;
use crate::scan::{Hits, Scan};

/// As passwords are: of one block, of more, and of what is kept whole where others have a pointer.
const LENGTHS: [usize; 4] = [9, 12, 14, 22];

struct Short {
    daemon: Daemon,
    scan: Scan,
}

impl Short {
    fn new(weaknesses: &str) -> Self {
        let mut bytes = [0; 22];
        getrandom::fill(&mut bytes).unwrap();
        let word: String = bytes.iter().map(|byte| char::from(b'!' + byte % 90)).collect();
        let values = LENGTHS.map(|length| word[..length].chars().rev().collect::<String>());
        let mut daemon = TestDaemon::new().config("mounts: [{at: mnt, templates: templates}]\n");
        for (length, value) in LENGTHS.iter().zip(&values) {
            daemon = daemon.secret(&format!("of{length}"), value).template(
                &format!("{length}.tpl"),
                format!("p=<< secrets.of{length} >>\n<< secrets.of{length} | b64encode >>"),
            );
        }
        let daemon = daemon.env("SECRETFS_TEST_WEAKNESS", &format!("hasty,{weaknesses}")).start();
        let scan = Scan::of(values.iter().map(|value| ("short", value.as_bytes())));
        for name in LENGTHS.iter().cycle().take(4 * LENGTHS.len()) {
            assert!(read(&daemon.path(&name.to_string())).unwrap().len() > *name);
        }
        Self { daemon, scan }
    }

    fn memory(&self) -> Hits {
        self.scan.process(self.daemon.worker_pid()).unwrap()
    }
}

#[test]
fn of_a_short_value_nothing_is_left_either() {
    let short = Short::new("");
    let patience = Instant::now() + Duration::from_secs(4);
    let left = loop {
        thread::sleep(Duration::from_millis(200));
        let hits = short.memory();
        if hits.is_empty() || Instant::now() > patience {
            break hits;
        }
    };
    assert!(left.is_empty(), "{left:?}");
    let unwiped = Short::new("unwiped");
    thread::sleep(Duration::from_secs(3));
    assert!(!unwiped.memory().is_empty(), "the control");
}
