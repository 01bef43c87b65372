//! READ: a slice of what the open has pinned, as long as the rules let its reader go on. Uses the
//! handles and `whom`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::asking;
use super::errno::Errno;
use super::handle::Handle;
use super::tree::File;
use super::{Generation, SecretFs, request};
use crate::caller::{Caller, Facts, Refusal};
use crate::policy::Denial;
use crate::sys::identity;

impl SecretFs {
    /// READ: another uid is refused, and whom other rules cut off. What has to be found out for that
    /// is waited for in the pool.
    pub fn read(
        self: &Arc<Self>,
        caller: Caller,
        handle: u64,
        offset: u64,
        size: u32,
        reply: impl FnOnce(Result<&[u8], Errno>) + Send + 'static,
    ) {
        let Some(handle) = self.handles.get(handle) else { return reply(Err(Errno::BADF)) };
        match self.still_may(&caller, &handle) {
            Some(Ok(())) => reply(Ok(slice(&handle, offset, size))),
            Some(Err(errno)) => reply(Err(errno)),
            None => {
                let this = self.clone();
                tokio::spawn(async move {
                    match this.may_still(&caller, &handle).await {
                        Ok(()) => reply(Ok(slice(&handle, offset, size))),
                        Err(errno) => reply(Err(errno)),
                    }
                });
            }
        }
    }

    /// Whether the rules let the reader of an open handle go on. The open has decided, until there
    /// are other rules: then each handle is judged once more. `None`: it cannot be told at once.
    fn still_may(&self, caller: &Caller, handle: &Handle) -> Option<Result<(), Errno>> {
        if caller.uid != handle.uid {
            return Some(Err(Errno::ACCES));
        }
        // Whether the request is of the thread that it comes from: not of a device of the kernel's, or
        // of another filesystem, that the file was handed to. Who has opened it, has been asked then.
        if handle.thread.load(Ordering::Relaxed) != caller.pid {
            match identity::gather_at_once(caller, Facts::CREDENTIALS).transpose()? {
                Ok(_) => handle.thread.store(caller.pid, Ordering::Relaxed),
                Err(refusal) => return Some(Err(refused(caller, refusal))),
            }
        }
        if handle.generation.load(Ordering::Relaxed) == self.generations.number() {
            return Some(Ok(()));
        }
        let now = self.now();
        let Some(file) = self.file_of(&now, handle) else { return Some(Err(Errno::ACCES)) };
        let judged = now.judge_shown_at_once(caller, &file, &handle.snapshot, handle.shows_real)?;
        Some(settle(&now, caller, &file, handle, judged.map(drop)))
    }

    /// The same, waited for as long as the file's readers wait.
    async fn may_still(&self, caller: &Caller, handle: &Handle) -> Result<(), Errno> {
        let now = self.now();
        let file = self.file_of(&now, handle).ok_or(Errno::ACCES)?;
        let judge = async {
            asking::gather(caller, Facts::CREDENTIALS.into()).await.map_err(|it| refused(caller, it))?;
            let judged = now.judge_shown(caller, &file, &handle.snapshot, handle.shows_real).await;
            settle(&now, caller, &file, handle, judged.map(drop))
        };
        let judged = asking::in_time(file.spec.deadline, judge).await;
        judged.unwrap_or_else(|error| Err(self.failed(&file, error).errno))
    }

    fn file_of(&self, now: &Generation, handle: &Handle) -> Option<Arc<File>> {
        let id = self.nodes().get(handle.node)?.content.file();
        now.file(id).ok()
    }
}

/// What these rules say of the handle holds until there are others, and is written down once.
fn settle(
    now: &Generation,
    caller: &Caller,
    file: &File,
    handle: &Handle,
    judged: Result<(), Denial>,
) -> Result<(), Errno> {
    match judged {
        Ok(()) => {
            handle.generation.store(now.number, Ordering::Relaxed);
            Ok(())
        }
        Err(denial) => {
            if handle.cut.swap(now.number, Ordering::Relaxed) != now.number {
                now.write_cut(caller, file, &denial);
            }
            Err(Errno::ACCES)
        }
    }
}

fn refused(caller: &Caller, refusal: Refusal) -> Errno {
    request::span(caller).in_scope(|| tracing::info!(reason = %refusal, "denied"));
    Errno::ACCES
}

fn slice(handle: &Handle, offset: u64, size: u32) -> &[u8] {
    let bytes = handle.snapshot.bytes.expose();
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let end = start.saturating_add(size as usize).min(bytes.len());
    &bytes[start..end]
}
