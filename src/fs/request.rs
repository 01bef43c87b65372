//! The number that every line of the log has which comes of one request, with who asked.
//! A request that is answered at once says nothing and costs nothing here.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Span;

use crate::caller::Caller;

const NAME: &str = "request";

/// Of a request that is not answered at once; the same one for all that is done for it.
pub(super) fn span(caller: &Caller) -> Span {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let current = Span::current();
    if current.metadata().is_some_and(|span| span.name() == NAME) {
        return current;
    }
    let id = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
    // As loud as what may be said in it, or it would be missing there.
    tracing::error_span!(NAME, id, pid = caller.pid, uid = caller.uid)
}
