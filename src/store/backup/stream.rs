//! The format of a backup: a line that names it, frames with the rows of a store as they are, and
//! a MAC over all of it. Uses std, the rows of `backend` and the MAC of `cipher`.
//!
//! A frame is its kind (u8), the length of the rest (u32, little-endian as all numbers), parts of
//! fixed lengths, and one of any length.

use std::io::{self, ErrorKind, Read, Write};

use super::super::backend::{BackendKind, HeaderRow, KeyRow, NamespaceRow, RootRow};
use super::super::cipher::{Id, Key, Mac, Summing, same};
use super::super::passphrase::Stretch;

const NAME: &[u8] = b"secretfs backup ";
const MAGIC: &[u8] = b"secretfs backup 2\n";
/// Alike, of a store of before there was an index of nodes.
const OLDER: &[u8] = b"secretfs backup 1\n";
/// A record of the most and largest values, padded, and what belongs to it.
const LARGEST: u32 = 256 << 20;

/// What a backup begins with.
pub(super) struct Head {
    /// How the rows were kept.
    pub(super) backend: BackendKind,
    pub(super) root: RootRow,
    /// How the key is made of a passphrase, if it is.
    pub(super) stretch: Option<Stretch>,
}

/// What follows the head. A row comes after those that it belongs to.
pub(super) enum Row {
    Namespace(NamespaceRow),
    Key(KeyRow),
    Node(Id, u8, Vec<u8>),
    Header(Id, HeaderRow),
    Record(Id, Mac, u64, Vec<u8>),
}

const HEAD: u8 = 1;
const NAMESPACE: u8 = 2;
const KEY: u8 = 3;
const NODE: u8 = 4;
const HEADER: u8 = 5;
const RECORD: u8 = 6;
const END: u8 = 7;

const BACKENDS: [(u8, BackendKind); 2] = [(1, BackendKind::Sqlite), (2, BackendKind::File)];

/// Why a backup cannot be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// Something else, or of another version of this program.
    Other,
    Newer,
    CutShort,
    Changed,
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::CutShort,
            _ => Self::Io(error),
        }
    }
}

/// Writes a backup.
pub(super) struct Writer<W> {
    to: W,
    sum: Summing,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(to: W, key: &Key, head: &Head) -> io::Result<Self> {
        let mut writer = Self { to, sum: key.summing() };
        writer.put(MAGIC)?;
        let Head { backend, root, stretch } = head;
        let RootRow { store, key, epoch, keyring_epoch, keyring, seal } = root;
        let number = BACKENDS.iter().find(|(_, kind)| kind == backend).map(|it| it.0);
        let (epoch, keyring_epoch) = (epoch.to_le_bytes(), keyring_epoch.to_le_bytes());
        let fixed: [&[u8]; 7] =
            [&[number.unwrap_or_default()], store, key, &epoch, &keyring_epoch, keyring, seal];
        let stretch = stretch.as_ref().map(serde_json::to_vec).transpose()?.unwrap_or_default();
        writer.frame(HEAD, &fixed, &stretch)?;
        Ok(writer)
    }

    pub(super) fn row(&mut self, row: &Row) -> io::Result<()> {
        match row {
            Row::Namespace(NamespaceRow { id, name_mac, name }) => {
                self.frame(NAMESPACE, &[id, name_mac], name)
            }
            Row::Key(KeyRow { namespace, kid, purpose, state, wrapped, commitment }) => {
                self.frame(KEY, &[namespace, kid, &[*purpose, *state], commitment], wrapped)
            }
            Row::Node(namespace, number, seal) => self.frame(NODE, &[namespace, &[*number]], seal),
            Row::Header(namespace, HeaderRow { name, active, header }) => {
                self.frame(HEADER, &[namespace, name, &active.to_le_bytes()], header)
            }
            Row::Record(namespace, name, version, record) => {
                self.frame(RECORD, &[namespace, name, &version.to_le_bytes()], record)
            }
        }
    }

    /// Writes the MAC over everything before it.
    pub(super) fn end(mut self) -> io::Result<W> {
        let sum = self.sum.clone().finish();
        self.frame(END, &[], &sum)?;
        Ok(self.to)
    }

    fn frame(&mut self, kind: u8, fixed: &[&[u8]], rest: &[u8]) -> io::Result<()> {
        let length = fixed.iter().map(|part| part.len()).sum::<usize>() + rest.len();
        let length = u32::try_from(length).ok().filter(|length| *length <= LARGEST);
        let length = length.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "a row is too long"))?;
        self.put(&[kind])?;
        self.put(&length.to_le_bytes())?;
        fixed.iter().chain([&rest]).try_for_each(|part| self.put(part))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.add(bytes);
        self.to.write_all(bytes)
    }
}

/// Reads a backup. What it gives is not to be believed before the end was reached.
pub(super) struct Reader<R> {
    from: R,
    sum: Summing,
}

/// The head of a backup, before it is known with which key it is to be checked.
pub(super) struct Beginning<R> {
    pub(super) head: Head,
    from: R,
    read: Vec<u8>,
}

impl<R: Read> Beginning<R> {
    pub(super) fn read(mut from: R) -> Result<Self, Fault> {
        let mut read = vec![0; MAGIC.len()];
        from.read_exact(&mut read).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Fault::Other,
            _ => Fault::Io(error),
        })?;
        match [MAGIC, OLDER].contains(&read.as_slice()) {
            true => {}
            false if read.starts_with(NAME) => return Err(Fault::Newer),
            false => return Err(Fault::Other),
        }
        let (kind, body) = next_frame(&mut from, |bytes| read.extend_from_slice(bytes))?;
        let head = Some(kind).filter(|kind| *kind == HEAD).and_then(|_| Head::of(&body));
        Ok(Self { head: head.ok_or(Fault::Changed)?, from, read })
    }

    /// Goes on to the rows.
    pub(super) fn check_with(self, key: &Key) -> Reader<R> {
        let mut sum = key.summing();
        sum.add(&self.read);
        Reader { from: self.from, sum }
    }
}

impl<R: Read> Reader<R> {
    /// The next row; `None` at the end, once everything was found to be as it was written.
    pub(super) fn row(&mut self) -> Result<Option<Row>, Fault> {
        let before = self.sum.clone();
        let (kind, body) = next_frame(&mut self.from, |bytes| self.sum.add(bytes))?;
        if kind != END {
            return Row::of(kind, &body).map(Some).ok_or(Fault::Changed);
        }
        let is_last = self.from.read(&mut [0])? == 0;
        match is_last && same(&body, &before.finish()) {
            true => Ok(None),
            false => Err(Fault::Changed),
        }
    }
}

/// Reserves no more than what is there, whatever a damaged length says.
fn next_frame(from: &mut impl Read, mut see: impl FnMut(&[u8])) -> Result<(u8, Vec<u8>), Fault> {
    let mut start = [0; 5];
    from.read_exact(&mut start)?;
    see(&start);
    let length = u32::from_le_bytes([start[1], start[2], start[3], start[4]]);
    if length > LARGEST {
        return Err(Fault::Changed);
    }
    let mut body = Vec::new();
    from.take(length.into()).read_to_end(&mut body)?;
    match body.len() == length as usize {
        true => see(&body),
        false => return Err(Fault::CutShort),
    }
    Ok((start[0], body))
}

/// Takes parts of fixed lengths off the front.
struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*part)
    }

    fn number(&mut self) -> Option<u64> {
        self.fixed().map(u64::from_le_bytes)
    }

    fn rest(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl Head {
    fn of(body: &[u8]) -> Option<Self> {
        let mut parts = Parts(body);
        let [number] = parts.fixed()?;
        let backend = BACKENDS.iter().find(|(known, _)| *known == number)?.1;
        let root = RootRow {
            store: parts.fixed()?,
            key: parts.fixed()?,
            epoch: parts.number()?,
            keyring_epoch: parts.number()?,
            keyring: parts.fixed()?,
            seal: parts.fixed()?,
        };
        let stretch = match parts.0 {
            b"" => None,
            json => Some(serde_json::from_slice(json).ok()?),
        };
        Some(Self { backend, root, stretch })
    }
}

impl Row {
    fn of(kind: u8, body: &[u8]) -> Option<Self> {
        let mut parts = Parts(body);
        Some(match kind {
            NAMESPACE => {
                let (id, name_mac) = (parts.fixed()?, parts.fixed()?);
                Self::Namespace(NamespaceRow { id, name_mac, name: parts.rest() })
            }
            KEY => {
                let (namespace, kid, [purpose, state]) = (parts.fixed()?, parts.fixed()?, parts.fixed()?);
                let commitment = parts.fixed()?;
                Self::Key(KeyRow { namespace, kid, purpose, state, wrapped: parts.rest(), commitment })
            }
            NODE => {
                let (namespace, [number]) = (parts.fixed()?, parts.fixed()?);
                Self::Node(namespace, number, parts.rest())
            }
            HEADER => {
                let (namespace, name, active) = (parts.fixed()?, parts.fixed()?, parts.number()?);
                Self::Header(namespace, HeaderRow { name, active, header: parts.rest() })
            }
            RECORD => {
                let (namespace, name, version) = (parts.fixed()?, parts.fixed()?, parts.number()?);
                Self::Record(namespace, name, version, parts.rest())
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretBytes;

    fn key() -> Key {
        Key::from_bytes(&[7; 32]).unwrap()
    }

    fn written() -> Vec<u8> {
        let root = RootRow {
            store: [1; 16],
            key: [2; 16],
            epoch: 3,
            keyring_epoch: 4,
            keyring: [5; 32],
            seal: [6; 32],
        };
        let (stretch, _) = Stretch::of(&SecretBytes::copy_of(b"words")).unwrap();
        let head = Head { backend: BackendKind::File, root, stretch: Some(stretch) };
        let mut writer = Writer::begin(Vec::new(), &key(), &head).unwrap();
        let header = |name| HeaderRow { name: [name; 32], active: 2, header: vec![name; 70] };
        let (wrapped, commitment) = (vec![4; 70], [5; 32]);
        let data = KeyRow { namespace: [1; 16], kid: [3; 16], purpose: 2, state: 1, wrapped, commitment };
        for row in [
            Row::Namespace(NamespaceRow { id: [1; 16], name_mac: [2; 32], name: vec![9; 48] }),
            Row::Key(data),
            Row::Node([1; 16], 0, vec![8; 80]),
            Row::Header([1; 16], header(1)),
            Row::Record([1; 16], [1; 32], 1, vec![1; 128]),
            Row::Record([1; 16], [1; 32], 2, Vec::new()),
        ] {
            writer.row(&row).unwrap();
        }
        writer.end().unwrap()
    }

    /// How many rows there are, if all of it is as it was written.
    fn rows(mut bytes: &[u8], key: &Key) -> Result<usize, Fault> {
        let mut reader = Beginning::read(&mut bytes)?.check_with(key);
        let mut count = 0;
        while reader.row()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn every_bit_and_every_cut_is_noticed() {
        let whole = written();
        assert_eq!(rows(&whole, &key()).unwrap(), 6, "the control");
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(rows(&damaged, &key()).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(rows(&whole[..length], &key()).is_err(), "cut to {length}");
        }
        assert!(rows(&[&whole[..], b"x"].concat(), &key()).is_err());
        assert!(rows(&whole, &Key::from_bytes(&[8; 32]).unwrap()).is_err(), "another key");
    }

    #[test]
    fn rows_cannot_be_left_out_doubled_or_moved() {
        let whole = written();
        let mut frames = Vec::new();
        let mut rest = &whole[MAGIC.len()..];
        while !rest.is_empty() {
            let length = 5 + u32::from_le_bytes(rest[1..5].try_into().unwrap()) as usize;
            frames.push(&rest[..length]);
            rest = &rest[length..];
        }
        let with = |frames: &[&[u8]]| rows(&[MAGIC, &frames.concat()].concat(), &key());
        assert_eq!(with(&frames).unwrap(), 6, "the control");
        for at in 0..frames.len() {
            let mut without = frames.clone();
            without.remove(at);
            assert!(with(&without).is_err(), "without {at}");
            let mut doubled = frames.clone();
            doubled.insert(at, frames[at]);
            assert!(with(&doubled).is_err(), "twice {at}");
            for other in 0..at {
                let mut moved = frames.clone();
                moved.swap(at, other);
                assert!(with(&moved).is_err(), "{at} and {other}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn wild_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = rows(&[MAGIC, &bytes].concat(), &key());
        }
    }
}
