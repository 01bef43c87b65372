//! What a disk may hold when the power goes: what was synced, and of the rest whatever it got round to,
//! in any order, torn between any two sectors. Made of what strace saw. Uses `image`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::image::Image;
use super::strace::{call, is_unnamed, unhex};

const SECTOR: usize = 512;

/// What a program did to a folder; paths are below it.
pub(crate) enum Event {
    Open {
        path: PathBuf,
        mode: u32,
        creates: bool,
        empties: bool,
    },
    /// At the end of what was written since it was opened, where no place is named.
    Write {
        path: PathBuf,
        at: Option<usize>,
        bytes: Vec<u8>,
    },
    Resize {
        path: PathBuf,
        length: usize,
    },
    Folder {
        path: PathBuf,
        mode: u32,
    },
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    /// `None` for a file that has no name yet.
    Link(Option<PathBuf>, PathBuf),
    Remove(PathBuf),
    /// It said something on its stdout.
    Told,
}

pub(crate) fn events(lines: &[String], folder: &Path) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for event in lines.iter().filter_map(|line| event(line, folder)) {
        // By its descriptor, so that what is linked is the file that was made last.
        let made = |events: &[Event]| {
            let made = events.iter().rev().find_map(|event| match event {
                Event::Open { path, creates: true, .. } => Some(path.clone()),
                _ => None,
            });
            made.expect("a file that was made")
        };
        events.push(match event {
            Event::Link(None, to) => Event::Link(Some(made(&events)), to),
            event => event,
        });
    }
    events
}

fn event(line: &str, folder: &Path) -> Option<Event> {
    let (name, args) = call(line)?;
    if line.contains(") = -1 ") {
        return None;
    }
    let quoted: Vec<&str> = args.split('"').skip(1).step_by(2).collect();
    let below = |text: &str| {
        let path = PathBuf::from(String::from_utf8(unhex(text)).ok()?);
        path.strip_prefix(folder).ok().map(Path::to_owned)
    };
    let named = |at: usize| below(quoted.get(at)?);
    let described = || below(args.split_once('<')?.1.split_once('>')?.0);
    let numbers = last_numbers(args);
    Some(match name {
        "openat" => Event::Open {
            path: if args.contains("O_TMPFILE") { below(result(args)?)? } else { named(0)? },
            mode: numbers.last().map_or(0o600, |mode| u32::from_str_radix(mode, 8).unwrap_or(0o600)),
            creates: args.contains("O_CREAT") || args.contains("O_TMPFILE"),
            empties: args.contains("O_TRUNC"),
        },
        "write" if args.starts_with("1<") => Event::Told,
        "write" => Event::Write { path: described()?, at: None, bytes: unhex(quoted.first()?) },
        "pwrite64" => {
            let at = Some(numbers.last()?.parse().ok()?);
            Event::Write { path: described()?, at, bytes: unhex(quoted.first()?) }
        }
        "ftruncate" => Event::Resize { path: described()?, length: numbers.last()?.parse().ok()? },
        "fsync" | "fdatasync" => Event::Sync(described()?),
        "rename" | "renameat" | "renameat2" => Event::Rename(named(0)?, named(1)?),
        "link" | "linkat" => Event::Link(named(0), named(1)?),
        "unlink" | "unlinkat" | "rmdir" => Event::Remove(named(0)?),
        "mkdir" | "mkdirat" => {
            Event::Folder { path: named(0)?, mode: u32::from_str_radix(numbers.last()?, 8).ok()? }
        }
        "fchmod" | "chmod" | "fchmodat" => return None,
        other => {
            let touches = named(0).is_some() || described().is_some();
            assert!(!touches, "this model of a disk does not know the call {other}");
            return None;
        }
    })
}

/// The path behind a descriptor that a call has given.
fn result(args: &str) -> Option<&str> {
    Some(args.rsplit_once(") = ")?.1.split_once('<')?.1.split_once('>')?.0)
}

/// The arguments after the last text, which are numbers.
fn last_numbers(args: &str) -> Vec<&str> {
    let end = args.split(['"', '>']).rfind(|part| part.contains(", ")).unwrap_or("");
    let end = end.split([')', '<']).next().unwrap_or("");
    end.split(", ").map(str::trim).filter(|part| part.starts_with(|c: char| c.is_ascii_digit())).collect()
}

/// How much is lost of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    All,
    /// Names are as they were last, their files as they were synced.
    Data,
    /// Whatever chance leaves of it.
    Some(u64),
}

#[derive(Default)]
pub(crate) struct Disk {
    files: Vec<Contents>,
    names: Names,
    synced: Names,
    /// Changes of names that may not be on the disk yet, in order.
    unsynced: Vec<Vec<Change>>,
    /// How far a file was written since it was opened.
    ends: BTreeMap<PathBuf, usize>,
    /// False for a disk that is never told to sync.
    obeys: bool,
}

type Names = BTreeMap<PathBuf, Entry>;
type Change = (PathBuf, Option<Entry>);

#[derive(Clone, Copy)]
enum Entry {
    File(usize),
    /// With its mode.
    Folder(u32),
}

struct Contents {
    mode: u32,
    synced: Vec<u8>,
    unsynced: Vec<Piece>,
}

enum Piece {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl Disk {
    pub(crate) fn holding(image: &Image, obeys: bool) -> Self {
        let mut disk = Self { obeys, ..Self::default() };
        let folders = image.folders.iter().map(|(path, mode)| (path.clone(), Entry::Folder(*mode)));
        disk.names.extend(folders);
        for (path, (mode, bytes)) in &image.files {
            disk.names.insert(path.clone(), Entry::File(disk.files.len()));
            disk.files.push(Contents { mode: *mode, synced: bytes.clone(), unsynced: Vec::new() });
        }
        disk.synced = disk.names.clone();
        disk
    }

    pub(crate) fn take(&mut self, event: &Event) {
        match event {
            Event::Open { path, mode, creates, empties } => self.open(path, *mode, *creates, *empties),
            Event::Write { path, at, bytes } => self.write(path, *at, bytes),
            Event::Resize { path, length } => self.push(path, Piece::Length(*length)),
            Event::Folder { path, mode } => {
                self.change_names(vec![(path.clone(), Some(Entry::Folder(*mode)))]);
            }
            Event::Sync(path) if self.obeys => self.sync(path),
            Event::Rename(from, to) => {
                let file = self.names.get(from).copied();
                self.change_names(vec![(from.clone(), None), (to.clone(), file)]);
            }
            Event::Link(from, to) => {
                let file = from.as_ref().and_then(|from| self.names.get(from)).copied();
                self.change_names(vec![(to.clone(), file)]);
            }
            Event::Remove(path) => self.change_names(vec![(path.clone(), None)]),
            Event::Sync(_) | Event::Told => {}
        }
    }

    fn open(&mut self, path: &Path, mode: u32, creates: bool, empties: bool) {
        self.ends.remove(path);
        if creates && !self.names.contains_key(path) {
            self.files.push(Contents { mode, synced: Vec::new(), unsynced: Vec::new() });
            self.change_names(vec![(path.to_owned(), Some(Entry::File(self.files.len() - 1)))]);
        } else if empties {
            self.push(path, Piece::Length(0));
        }
    }

    fn write(&mut self, path: &Path, at: Option<usize>, bytes: &[u8]) {
        let end = self.ends.entry(path.to_owned()).or_default();
        let start = at.unwrap_or(*end);
        *end = start + bytes.len();
        self.push(path, Piece::Bytes(start, bytes.to_vec()));
    }

    /// What is done to a file that has no name any more is lost in any case.
    fn push(&mut self, path: &Path, piece: Piece) {
        if let Some(&Entry::File(file)) = self.names.get(path) {
            self.files[file].unsynced.push(piece);
        }
    }

    fn change_names(&mut self, change: Vec<Change>) {
        apply(&mut self.names, &change);
        self.unsynced.push(change);
    }

    /// Of a file: its bytes. Of a folder: the names in it.
    fn sync(&mut self, path: &Path) {
        if let Some(&Entry::File(file)) = self.names.get(path) {
            let Contents { synced, unsynced, .. } = &mut self.files[file];
            unsynced.drain(..).for_each(|piece| piece.write_to(synced));
            return;
        }
        let is_in = |change: &mut Vec<Change>| change[0].0.parent() == Some(path);
        for change in self.unsynced.extract_if(.., is_in) {
            apply(&mut self.synced, &change);
        }
    }

    /// What is found when the power is back.
    pub(crate) fn after(&self, loss: Loss) -> Image {
        let mut chance = Chance(match loss {
            Loss::Some(seed) => seed,
            Loss::All | Loss::Data => 0,
        });
        let changes = match loss {
            Loss::All => 0,
            Loss::Data => self.unsynced.len(),
            Loss::Some(_) => chance.below(self.unsynced.len() + 1),
        };
        let mut names = self.synced.clone();
        self.unsynced[..changes].iter().for_each(|change| apply(&mut names, change));
        let mut image = Image::default();
        // A folder before what is in it: what is in one that is not there is not there.
        for (path, entry) in names.into_iter().filter(|(path, _)| !is_unnamed(path)) {
            if path.parent().is_some_and(|it| it != Path::new("") && !image.folders.contains_key(it)) {
                continue;
            }
            match entry {
                Entry::Folder(mode) => _ = image.folders.insert(path, mode),
                Entry::File(file) => _ = image.files.insert(path, self.files[file].after(loss, &mut chance)),
            }
        }
        image
    }
}

fn apply(names: &mut Names, change: &[Change]) {
    for (path, entry) in change {
        match entry {
            Some(entry) => _ = names.insert(path.clone(), *entry),
            None => _ = names.remove(path),
        }
    }
}

impl Contents {
    /// Its mode, and what it holds then.
    fn after(&self, loss: Loss, chance: &mut Chance) -> (u32, Vec<u8>) {
        let mut bytes = self.synced.clone();
        if let Loss::Some(_) = loss {
            self.leave_some(&mut bytes, chance);
        }
        (self.mode, bytes)
    }

    fn leave_some(&self, bytes: &mut Vec<u8>, chance: &mut Chance) {
        let of_four = 1 + chance.below(3);
        let sectors = self.unsynced.iter().flat_map(Piece::sectors);
        sectors.filter(|_| chance.below(4) < of_four).for_each(|piece| piece.write_to(bytes));
    }
}

impl Piece {
    /// What a disk writes as a whole.
    fn sectors(&self) -> Vec<Self> {
        let Self::Bytes(at, bytes) = self else { return vec![Self::Length(self.end())] };
        let first = SECTOR - at % SECTOR;
        let (head, tail) = bytes.split_at(first.min(bytes.len()));
        let tails = tail.chunks(SECTOR).enumerate();
        let tails = tails.map(|(n, bytes)| Self::Bytes(at + first + n * SECTOR, bytes.to_vec()));
        [Self::Bytes(*at, head.to_vec())].into_iter().chain(tails).collect()
    }

    fn end(&self) -> usize {
        match self {
            Self::Bytes(at, bytes) => at + bytes.len(),
            Self::Length(length) => *length,
        }
    }

    fn write_to(&self, file: &mut Vec<u8>) {
        match self {
            Self::Bytes(at, bytes) => {
                file.resize(file.len().max(self.end()), 0);
                file[*at..*at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Length(length) => file.resize(*length, 0),
        }
    }
}

/// The same numbers for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}
