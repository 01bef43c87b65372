//! A mount outlives the process that serves it: what that one has left becomes this one's, before
//! the first request is read. Uses the tables, the ledger and the metrics.

use std::collections::HashMap;
use std::sync::Arc;

use super::SecretFs;
use super::handle::Inherited;
use super::nodes::NodeId;
use super::snapshot::Snapshot;
use super::wire::Agreement;
use crate::ledger::{Kind, Ledger, Record};
use crate::metrics;
use crate::sys::uptime::Uptime;
use crate::sys::weakness;

/// What the mount began with, and where it is kept.
pub(super) struct Agreed {
    agreement: Agreement,
    _record: Option<Record>,
}

impl SecretFs {
    /// From now on what the next process needs is kept in this ledger, and what the one before has
    /// kept there is taken over. Once, before anything is served.
    pub(super) fn inherit(&self, ledger: &Ledger) {
        if self.ledger.set(ledger.clone()).is_err() {
            return;
        }
        if let Some(kept) = ledger.take(Kind::Session).pop()
            && let Some(agreement) = Agreement::of(&kept)
        {
            let _ = self.agreed.set(Agreed { agreement, _record: Some(kept.record) });
        }
        self.returned.inherit(ledger);
        // Those that no handle needs are wiped when this ends.
        let snapshots: HashMap<u64, Arc<Snapshot>> = ledger
            .take(Kind::Snapshot)
            .into_iter()
            .filter_map(Snapshot::restore)
            .map(|(id, snapshot)| (id, Arc::new(snapshot)))
            .collect();
        self.nodes().inherit(ledger);
        for handle in ledger.take(Kind::Handle).into_iter().filter_map(Inherited::of) {
            if self.reopen(handle, &snapshots).is_none() {
                metrics::get().handles_lost.inc();
            }
        }
        self.nodes().inherited();
        self.begin_watching(ledger);
        self.now().broker.audit().tell_successor(ledger);
    }

    /// The mount begins; or goes on, then it stays with what it began with.
    pub(super) fn agree(&self, agreement: Agreement) {
        let keep = || self.ledger().keep(Kind::Session, 0, &agreement.to_words(), &[]);
        self.agreed.get_or_init(|| Agreed { agreement, _record: keep() });
    }

    pub(super) fn agreement(&self) -> Option<Agreement> {
        self.agreed.get().map(|agreed| agreed.agreement)
    }

    fn reopen(&self, handle: Inherited, snapshots: &HashMap<u64, Arc<Snapshot>>) -> Option<()> {
        let snapshot = snapshots.get(&handle.snapshot)?;
        let mut nodes = self.nodes();
        let is_there = nodes.reopen(handle.node, snapshot);
        let shows_real = nodes.get(handle.node).is_some_and(|node| node.content.shows_real());
        is_there.then(|| self.handles.restore(handle, snapshot.clone(), shows_real))
    }

    /// The kernel does not know this node any more: nobody has it open either.
    pub(super) fn let_go(&self, node: NodeId) {
        if self.nodes().gone(node) {
            self.handles.remove_of(node);
        }
    }

    /// The answer to this request tells the kernel of the handle, as `send` sends it.
    pub fn answer_open(&self, handle: u64, request: u64, send: impl FnOnce()) {
        // Once it is sent, the handle may be closed at any time.
        let opened = self.handles.get(handle);
        if self.ledger().keeps() {
            self.handles.answering(handle, request);
            send();
            self.handles.answered(handle);
        } else {
            send();
        }
        weakness::linger();
        opened.iter().for_each(|handle| handle.snapshot.used());
    }

    /// The kernel sends this request a second time: no answer to it has arrived.
    pub fn resent(&self, request: u64) {
        if let Some(handle) = self.handles.unheard(request) {
            self.release(handle);
        }
    }

    /// The same of any request: whether so many processes have ended before they answered it that it
    /// may be the cause.
    pub fn has_come_too_often(&self, request: u64) -> bool {
        let is_deadly = self.returned.count(self.ledger(), request, Uptime::now().since(Uptime::START));
        if is_deadly {
            tracing::error!(request, "deadly_request: one worker after the other has ended over it");
        }
        is_deadly
    }

    /// What is kept for the next process, and where.
    pub fn ledger(&self) -> &Ledger {
        self.ledger.get_or_init(Ledger::none)
    }
}
