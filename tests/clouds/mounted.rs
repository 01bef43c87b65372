//! What is read from a mount while its provider is asked anew each time.

use std::time::Duration;

use crate::common::programmed::attribute;
use crate::common::{Mounted, TestMount};

/// What was answered is good for one open: as long as it took, and 100 ms at most.
pub(crate) const ANEW: Duration = Duration::from_millis(150);
pub(crate) const ASKED: &str = "cache: {ttl: 1ms, negative_ttl: 1ms}";

/// These templates, by these providers and rules, with these variables.
pub(crate) fn mount(config: &str, files: &[(&str, &str)], env: &[(&str, &str)]) -> Mounted {
    let mount = TestMount::new().env("SECRETFS_LOG", "trace");
    let mount = mount.config(&format!("{config}mounts: [{{at: mnt, templates: templates}}]\n"));
    let mount = env.iter().fold(mount, |mount, (name, value)| mount.env(name, value));
    files.iter().fold(mount, |mount, (name, text)| mount.template(&format!("{name}.tpl"), text)).start()
}

/// The reason, which has these words.
#[track_caller]
pub(crate) fn fails(mount: &Mounted, file: &str, errno: i32, says: &str) -> String {
    assert_eq!(mount.errno(file), errno, "{file}: {:?}\n{}", attribute(mount, file, "error"), mount.stderr());
    let reason = attribute(mount, file, "error").expect("a reason");
    assert!(reason.contains(says), "`{says}` is not in: {reason}");
    reason
}
