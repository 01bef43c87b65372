//! What extended attributes tell of a file: why it cannot be read, and how old its values are. Uses
//! the tables and `whom`.

use super::errno::Errno;
use super::nodes::Content;
use super::{SecretFs, written};
use crate::caller::Caller;

/// The extended attribute that holds the reason for an errno.
pub const REASON: &str = "user.secretfs.error";
/// The extended attribute of a file with old values, whose provider does not answer.
pub const STALE: &str = "user.secretfs.stale";

impl SecretFs {
    /// The text of [`REASON`]: why this node cannot be read. Never a value; who is denied learns no
    /// more than that, and by what the log knows it.
    pub fn reason(&self, caller: &Caller, id: u64) -> Result<String, Errno> {
        let (file, text) = match self.nodes().get(id).map(|node| &node.content) {
            Some(Content::Bare(file)) => (*file, None),
            Some(Content::Failed(place, failure)) => (place.file, Some(failure.error.to_string())),
            // Whatever it holds: nobody is given it.
            Some(Content::Filled(place, _)) => (place.file, self.now().broker.audit().trouble()),
            _ => return Err(Errno::NODATA),
        };
        let now = self.now();
        let file = now.file(file)?;
        match now.judge_at_once(caller, &file, &written::known_keys(&file)) {
            Some(Err(denial)) => Ok(format!("denied {}", now.mark_of(caller, &file, &denial))),
            Some(Ok(_)) => text.ok_or(Errno::NODATA),
            None => Err(Errno::NODATA),
        }
    }

    /// The text of [`STALE`]: which provider has not confirmed its values, and for how long.
    pub fn staleness(&self, id: u64) -> Result<String, Errno> {
        let snapshot = match self.nodes().get(id).map(|node| &node.content) {
            Some(Content::Filled(_, snapshot)) => snapshot.clone(),
            _ => return Err(Errno::NODATA),
        };
        snapshot.ask(|basis| self.now().broker.staleness(basis)).ok_or(Errno::NODATA)
    }
}
