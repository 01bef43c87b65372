//! What the tests of each provider begin and end with: a mount whose provider is `p`, a refusal that says why and nothing
//! of what is secret, and the provider's page.

use std::fs;
use std::time::Duration;

use crate::common::azure;
use crate::common::programmed::attribute;
use crate::common::{Mounted, TestMount};

/// What was answered is good for one open: as long as it took, and 100 ms at most.
pub(crate) const ANEW: Duration = Duration::from_millis(150);
pub(crate) const ASKED: &str = "cache: {ttl: 1ms, negative_ttl: 1ms}";
/// What secrets of the tests begin with, and tokens: nothing that a time or a port could have in it.
const CANARIES: [&str; 6] = ["hunter2", "31337-", "ya29.", "eyJ", "PRIVATE KEY", azure::SECRET];

/// A mount of these files, whose provider `p` has these settings.
pub(crate) fn prepared(provider: &str, files: &[(&str, &str)]) -> TestMount {
    ruled(provider, "", files)
}

/// The same, with a rule.
pub(crate) fn ruled(provider: &str, rule: &str, files: &[(&str, &str)]) -> TestMount {
    configured(&format!("providers: {{p: {{{provider}}}}}\npolicy: [{rule}]\n"), files)
}

/// A mount of these files, by these providers and rules.
pub(crate) fn configured(config: &str, files: &[(&str, &str)]) -> TestMount {
    let config = format!("{config}mounts: [{{at: mnt, templates: templates}}]\n");
    let mount = TestMount::new().config(&config).env("SECRETFS_LOG", "trace");
    files.iter().fold(mount, |mount, (name, text)| mount.template(&format!("{name}.tpl"), text))
}

pub(crate) fn mounted(provider: &str, files: &[(&str, &str)]) -> Mounted {
    prepared(provider, files).start()
}

pub(crate) fn reason(mount: &Mounted, file: &str) -> String {
    attribute(mount, file, "error").unwrap_or_default()
}

#[track_caller]
pub(crate) fn fails(mount: &Mounted, file: &str, errno: i32, says: &str) {
    assert_eq!(mount.errno(file), errno, "{file}: {}\n{}", reason(mount, file), mount.stderr());
    let reason = reason(mount, file);
    assert!(reason.contains(says), "`{says}` is not in: {reason}");
    tells_nothing(&reason);
    assert!(!reason.contains("31337"), "{reason}");
}

/// Neither what is read, nor what it is read with, is in what somebody says.
#[track_caller]
pub(crate) fn tells_nothing(said: &str) {
    for canary in CANARIES {
        assert!(!said.contains(canary), "{canary} is in {said}");
    }
}

/// `docs/providers/…`
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn of(name: &str) -> Self {
        let path = format!("{}/docs/providers/{name}", env!("CARGO_MANIFEST_DIR"));
        Self(fs::read_to_string(path).unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The first text that stands so.
    pub(crate) fn between(&self, begin: &str, end: &str) -> &str {
        let found = self.0.split_once(begin).and_then(|(_, rest)| Some(rest.split_once(end)?.0));
        found.unwrap_or_else(|| panic!("{begin}"))
    }

    /// The first config, which is to be served, and the others.
    pub(crate) fn configs(&self) -> (&str, Vec<&str>) {
        let mut all = self.0.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        (all.next().expect("a config"), all.collect())
    }
}
