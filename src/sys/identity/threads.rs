//! The threads that asked last, each held by its descriptor: to open one anew costs several times
//! what it costs to ask it. Who is asked answers for itself: a number that belongs to another
//! thread by now is told from it.

use std::sync::{Arc, Mutex};

use libc::pidfd_info;

use super::pidfd::Pidfd;

type Place = Mutex<Option<(u32, Arc<Pidfd>)>>;

const PLACES: usize = 64;
static HELD: [Place; PLACES] = [const { Mutex::new(None) }; PLACES];

/// Of a thread that waits for us now.
pub(super) fn ask(thread: u32) -> Option<(Arc<Pidfd>, pidfd_info)> {
    let mut place = HELD[thread as usize % PLACES].lock().unwrap_or_else(|it| it.into_inner());
    if let Some((held, pidfd)) = &*place
        && *held == thread
        && let Some(info) = pidfd.info().filter(|info| info.pid == thread)
    {
        return Some((pidfd.clone(), info));
    }
    let pidfd = Arc::new(Pidfd::of(thread)?);
    let info = pidfd.info()?;
    *place = Some((thread, pidfd.clone()));
    Some((pidfd, info))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn start() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn a_descriptor_is_used_again_as_long_as_its_thread_lives() {
        let mut child = start();
        let (first, info) = ask(child.id()).unwrap();
        assert_eq!((info.pid, info.tgid), (child.id(), child.id()));
        assert!(Arc::ptr_eq(&ask(child.id()).unwrap().0, &first));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(first.info().is_none(), "nobody else can be taken for it");
        assert!(ask(child.id()).is_none_or(|(other, _)| !Arc::ptr_eq(&other, &first)));
    }
}
