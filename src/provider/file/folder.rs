//! A folder whose files are secrets. What is outside of it is never read, wherever a link leads.
//! Uses nix.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use zeroize::Zeroizing;

pub(super) struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

/// As deep as names are listed.
const DEEPEST: usize = 8;

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let descriptor = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Self { path: path.to_owned(), descriptor })
    }

    pub(super) fn shown(&self, file: &str) -> String {
        self.path.join(file).display().to_string()
    }

    /// What the file of this name holds; `None` if there is none.
    pub(super) fn content(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        if !is_name(name) {
            return Ok(None);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let resolve = match self.leads_to_hidden(name) {
            true => ResolveFlag::RESOLVE_BENEATH,
            false => ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS,
        };
        let file = match openat2(&self.descriptor, name, OpenHow::new().flags(flags).resolve(resolve)) {
            Ok(descriptor) => File::from(descriptor),
            Err(nix::Error::ELOOP) => return Err(io::Error::other("is a link, or lies behind one")),
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::ENAMETOOLONG) => return Ok(None),
            Err(nix::Error::EXDEV) => {
                return Err(io::Error::other("leads out of the folder"));
            }
            Err(errno) => return Err(errno.into()),
        };
        // A folder of secrets is none.
        if file.metadata()?.is_dir() {
            return Ok(None);
        }
        super::read(file, super::LARGEST_SEALED).map(Some)
    }

    /// A link at the top into what nobody can name, as Kubernetes lays files out. By any other a secret would
    /// have two names, and a rule on one would not hold for the other.
    fn leads_to_hidden(&self, name: &str) -> bool {
        let target = (!name.contains('/')).then(|| fs::read_link(self.path.join(name)).ok()).flatten();
        let first = target.as_deref().and_then(|it| it.components().next());
        first.is_some_and(|first| match first {
            Component::Normal(first) => first.as_encoded_bytes().starts_with(b".."),
            _ => false,
        })
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        gather(&self.path, "", DEEPEST, &mut names)?;
        names.sort_unstable();
        Ok(names)
    }
}

fn gather(folder: &Path, before: &str, depth: usize, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What is not text cannot be named; `..data` is how a whole folder is changed at once.
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let Ok(meta) = entry.path().metadata() else { continue };
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let is_hidden = |target: PathBuf| target.as_os_str().as_encoded_bytes().starts_with(b"..");
        let is_served = !is_link || (before.is_empty() && fs::read_link(entry.path()).is_ok_and(is_hidden));
        match meta.is_dir() {
            _ if name.starts_with("..") || !is_served => {}
            true if depth > 0 && !is_link => {
                gather(&entry.path(), &format!("{before}{name}/"), depth - 1, names)?;
            }
            true => {}
            false => names.push(format!("{before}{name}")),
        }
    }
    Ok(())
}

/// A name is data and no path: it leads nowhere but down, and is the only one of its file.
fn is_name(name: &str) -> bool {
    !name.contains('\0')
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with("..") && part != ".")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn value(folder: &Folder, name: &str) -> Option<String> {
        Some(String::from_utf8(folder.content(name).unwrap()?.to_vec()).unwrap())
    }

    /// As a container's volume is laid out, with a change in the middle.
    #[test]
    fn files_are_secrets_and_links_within_are_followed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("..one/deep")).unwrap();
        fs::write(at("..one/key"), "hunter2\n").unwrap();
        fs::write(at("..one/deep/pem"), "a\nb\n").unwrap();
        symlink("..one", at("..data")).unwrap();
        symlink("..data/key", at("key")).unwrap();
        fs::create_dir(at("own")).unwrap();
        fs::write(at("own/x"), "1").unwrap();
        let folder = Folder::open(place.path()).unwrap();
        assert_eq!(value(&folder, "key").as_deref(), Some("hunter2\n"));
        assert_eq!(value(&folder, "own/x").as_deref(), Some("1"));
        for none in
            ["none", "own", "own/x/y", "", "/key", "own//x", "./key", "..data/key", "own/../key", "a\0"]
        {
            assert!(value(&folder, none).is_none(), "{none}");
        }
        assert_eq!(folder.names().unwrap(), ["key", "own/x"]);
    }

    #[test]
    fn nothing_outside_is_read() {
        let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("f"), "31337").unwrap();
        symlink(outside.path().join("f"), place.path().join("link")).unwrap();
        let folder = Folder::open(place.path()).unwrap();
        fs::write(place.path().join("one"), "1").unwrap();
        symlink("one", place.path().join("other")).unwrap();
        assert_eq!(value(&folder, "one").as_deref(), Some("1"));
        assert!(folder.content("link").is_err() && folder.content("other").is_err());
        // The control: the link itself leads there.
        assert_eq!(fs::read(place.path().join("link")).unwrap(), b"31337");
        nix::unistd::mkfifo(&place.path().join("pipe"), Mode::S_IRUSR).unwrap();
        assert!(folder.content("pipe").is_err());
    }
}
