//! A file with a master key: what is demanded of it before it is believed, and how a new one is
//! made. Uses std and nix.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;
use zeroize::Zeroizing;

use super::cipher::Key;
use super::claim::{make_folder, sync_names};
use super::{KeyError, StoreError};

/// 32 bytes, or 64 hexadecimal digits with or without a final newline.
const KEY_LENGTHS: [u64; 3] = [32, 64, 65];

/// A master key.
pub struct MasterKey(pub(super) Key);

/// Whom a key file may belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Us or root, and nobody else may read it.
    Owner,
    /// systemd: an access list shows as a group that may read.
    Manager,
}

pub(super) fn read(path: &Path, trust: Trust) -> Result<MasterKey, KeyError> {
    let file = open(path)?;
    check(path, &file.metadata().map_err(|error| unreadable(path, &error))?, trust)?;
    if trust == Trust::Owner {
        check_folder(path)?;
    }
    let mut content = Zeroizing::new(Vec::with_capacity(128));
    file.take(128).read_to_end(&mut content).map_err(|error| unreadable(path, &error))?;
    parse(&content).ok_or_else(|| no_key(path))
}

fn open(path: &Path) -> Result<File, KeyError> {
    let mut options = OpenOptions::new();
    // Not blocking: a FIFO must not hold us up before it can be refused.
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options.open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => {
            let target =
                path.canonicalize().map_or("its target".into(), |target| target.display().to_string());
            refuse(path, "it is a symbolic link", format!("name the file itself: {target}"))
        }
        _ if error.kind() == ErrorKind::NotFound => {
            refuse(path, "it is not there", "name the file that secretfs init has made")
        }
        _ => unreadable(path, &error),
    })
}

fn check(path: &Path, meta: &Metadata, trust: Trust) -> Result<(), KeyError> {
    let name = path.display();
    let us = nix::unistd::geteuid().as_raw();
    if !meta.is_file() {
        return Err(refuse(path, "it is not a regular file", "name a regular file"));
    }
    // Before its mode: nobody shall be told to close a file that is no key.
    if !KEY_LENGTHS.contains(&meta.len()) {
        return Err(no_key(path));
    }
    if meta.uid() != us && meta.uid() != 0 {
        let problem = format!("it belongs to uid {}, who could change it", meta.uid());
        return Err(refuse(path, problem, format!("chown {us} {name}")));
    }
    let forbidden = if trust == Trust::Owner { 0o077 } else { 0o027 };
    if meta.mode() & forbidden != 0 {
        let problem = format!("its mode {:04o} lets others read the key", meta.mode() & 0o7777);
        return Err(refuse(path, problem, format!("chmod 0400 {name}")));
    }
    if meta.nlink() != 1 {
        let problem = format!("it has {} names (hard links)", meta.nlink());
        return Err(refuse(path, problem, format!("find / -xdev -samefile {name}, and remove the others")));
    }
    Ok(())
}

/// Whoever may rename in the folder can put another file in its place.
fn check_folder(path: &Path) -> Result<(), KeyError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = folder.metadata().map_err(|error| unreadable(path, &error))?.mode();
    match mode & 0o022 != 0 && mode & libc::S_ISVTX == 0 {
        true => {
            Err(refuse(path, "others can write to its folder", format!("chmod go-w {}", folder.display())))
        }
        false => Ok(()),
    }
}

fn no_key(path: &Path) -> KeyError {
    let problem = "it holds no key: neither 32 bytes nor 64 hexadecimal digits";
    refuse(
        path,
        problem,
        "name the key file, or restore it from its backup: without the key nothing can be read",
    )
}

fn refuse(path: &Path, problem: impl Into<String>, mend: impl Into<String>) -> KeyError {
    KeyError::File { path: path.to_owned(), problem: problem.into(), mend: mend.into() }
}

fn unreadable(path: &Path, error: &io::Error) -> KeyError {
    refuse(path, error.to_string(), format!("ls -l {}", path.display()))
}

pub(super) fn parse(content: &[u8]) -> Option<MasterKey> {
    match content.len() {
        32 => Key::from_bytes(content).map(MasterKey),
        _ => parse_hex(content.strip_suffix(b"\n").unwrap_or(content)),
    }
}

pub(super) fn parse_hex(text: &[u8]) -> Option<MasterKey> {
    if text.len() != 64 {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Key::from_bytes(&*key).map(MasterKey)
}

impl MasterKey {
    pub fn generate() -> Result<Self, StoreError> {
        Key::random().map(Self)
    }

    /// Writes it to a new file that only its owner can read.
    pub fn write(&self, path: &Path) -> Result<(), StoreError> {
        write_new(path, &self.line())
    }

    /// Its digits.
    pub(super) fn line(&self) -> Zeroizing<Vec<u8>> {
        let mut line = Zeroizing::new(Vec::with_capacity(65));
        for byte in self.0.expose() {
            line.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
        line.push(b'\n');
        line
    }
}

/// A new file, in a folder that is made if need be, for its owner to read.
pub(super) fn write_new(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(folder)?;
    make_whole(folder, path, content).map_err(StoreError::io("make the key file", path))?;
    sync_names(path)
}

/// A new file with all of this, for good, or none: what is half a key is taken for a bad one.
fn make_whole(folder: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o400);
    let fill = |mut file: &File| file.write_all(content).and_then(|()| file.sync_all());
    // Without a name until it is whole.
    if let Ok(file) = options.clone().custom_flags(libc::O_TMPFILE).open(folder) {
        fill(&file)?;
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        match linkat(AT_FDCWD, own.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW) {
            // Without /proc it has no path.
            Err(Errno::ENOENT) => {}
            done => return Ok(done?),
        }
    }
    let file = options.create_new(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    fill(&file).inspect_err(|_| drop(std::fs::remove_file(path)))
}
