//! Weaknesses that a test asks for, to see that it would find them. A release build has none.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Weakness {
    /// What is freed keeps its bytes.
    Unwiped = 1,
    /// Others may look into the process.
    Open = 2,
    /// The log tells values.
    Talkative = 4,
    /// Templates may take what they want.
    Unbounded = 8,
    /// What nobody uses is wiped after a second instead of a minute: not weak, but soon enough to see.
    Hasty = 16,
    /// A rendering that says `# panic` ends in one that has all of it in its words; and a panic ends the
    /// process, as in a release build.
    Panicking = 32,
    /// Who has answered an OPEN is not done with it for a while.
    Lingering = 64,
}

const VARIABLE: &str = "SECRETFS_TEST_WEAKNESS";
const NAMES: [(&str, Weakness); 7] = [
    ("unwiped", Weakness::Unwiped),
    ("open", Weakness::Open),
    ("talkative", Weakness::Talkative),
    ("unbounded", Weakness::Unbounded),
    ("hasty", Weakness::Hasty),
    ("panicking", Weakness::Panicking),
    ("lingering", Weakness::Lingering),
];

static ASKED: AtomicU8 = AtomicU8::new(0);

/// Reads what a test has asked for. Before anything that depends on it.
pub fn heed() {
    if cfg!(debug_assertions)
        && let Ok(asked) = std::env::var(VARIABLE)
    {
        let is_asked = |name: &str| asked.split(',').any(|it| it == name);
        let flags = NAMES.iter().filter(|(name, _)| is_asked(name)).map(|(_, weakness)| *weakness as u8);
        ASKED.store(flags.sum(), Ordering::Relaxed);
    }
}

pub fn has(weakness: Weakness) -> bool {
    cfg!(debug_assertions) && ASKED.load(Ordering::Relaxed) & weakness as u8 != 0
}

/// Time in which a test may end the process.
pub fn linger() {
    if has(Weakness::Lingering) {
        tracing::warn!("it lingers");
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// Tells what nobody may hear, where a test has asked for that.
pub fn tell(bytes: &[u8]) {
    #[cfg(debug_assertions)]
    if has(Weakness::Talkative) {
        tracing::debug!(rendering = %String::from_utf8_lossy(bytes));
    }
    #[cfg(debug_assertions)]
    if has(Weakness::Panicking) {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("# panic"), "{text}");
    }
    #[cfg(not(debug_assertions))]
    let _ = bytes;
}
