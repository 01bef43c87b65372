//! A file's bytes, whole: of one that is being written there may be half. Uses nix's flags.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

/// After so long without a write it is whole.
const SETTLED: Duration = Duration::from_millis(50);
const TRIES: usize = 10;

/// Never waits for a writer, as at a pipe.
pub(in crate::provider) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// A regular file's bytes, once nobody writes it: of one that was just written, there may be half.
pub(in crate::provider) fn read(mut file: File, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    for _ in 0..TRIES {
        let before = file.metadata()?;
        let bytes = read_once(&mut file, &before, most)?;
        let after = file.metadata()?;
        let is_same = before.len() == after.len() && before.modified()? == after.modified()?;
        if is_same && after.modified()?.elapsed().map_or(true, |age| age >= SETTLED) {
            return Ok(bytes);
        }
        std::thread::sleep(SETTLED);
        file.rewind()?;
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "is being written all the time"))
}

fn read_once(file: &mut File, meta: &Metadata, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"));
    }
    // In one piece, so that no smaller copy stays behind.
    let size = usize::try_from(meta.len()).unwrap_or(usize::MAX).min(most);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > most {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}
