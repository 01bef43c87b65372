//! A file of age's (age-encryption.org/v1), opened with X25519 identities: what sops keeps its data key in. Uses the
//! RustCrypto crates, curve25519-dalek and bech32.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bech32::Bech32;
use bech32::primitives::decode::CheckedHrpstring;
use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use curve25519_dalek::MontgomeryPoint;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::SopsError;

/// Who we are for age: one identity a line, as `age-keygen` writes them.
pub struct Identities {
    keys: Vec<Identity>,
    /// So many more are of kinds that are not used here.
    unused: usize,
}

struct Identity {
    /// In a place of its own, so that a list that grows leaves none behind.
    secret: Box<Zeroizing<[u8; 32]>>,
    public: [u8; 32],
}

const PREFIX: &str = "AGE-SECRET-KEY-1";
/// Identities of programs, and of other kinds of keys.
const UNUSED: [&str; 2] = ["AGE-PLUGIN-", "AGE-SECRET-KEY-PQ-1"];
const VERSION: &[u8] = b"age-encryption.org/v1";
const TAG: usize = 16;
/// Recipients of one file; sops has one for each. Each costs a multiplication for each identity.
const MOST_STANZAS: usize = 64;
/// A payload of more than one piece is no data key.
const PIECE: usize = 64 << 10;

impl Identities {
    pub fn parse(text: &[u8]) -> Result<Self, SopsError> {
        let mut all = Self { keys: Vec::new(), unused: 0 };
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            let begins = |prefix: &str| line.starts_with(prefix.as_bytes());
            match Identity::parse(line) {
                _ if line.is_empty() || begins("#") => {}
                _ if UNUSED.iter().any(|prefix| begins(prefix)) => all.unused += 1,
                Some(identity) => all.keys.push(identity),
                None => {
                    return Err(SopsError::Unfit(format!(
                        "line {} of the age identity is no `{PREFIX}…`, as age-keygen writes it",
                        index + 1
                    )));
                }
            }
        }
        Ok(all)
    }

    /// What is in an armoured file. `None` if it is for none of us.
    pub(super) fn open(&self, armoured: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SopsError> {
        let changed = || SopsError::Changed("its data key is not as age has encrypted it".to_owned());
        let bytes = armour(armoured).ok_or_else(changed)?;
        let file = File::parse(&bytes).ok_or_else(changed)?;
        for stanza in &file.stanzas {
            for identity in &self.keys {
                if let Some(key) = identity.unwrap(stanza).ok_or_else(changed)? {
                    return file.payload(&key).map(Some).ok_or_else(changed);
                }
            }
        }
        Ok(None)
    }
}

/// Why none of them fits.
impl fmt::Display for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keys.len() {
            0 => write!(f, "there is no `{PREFIX}…` in the age identity")?,
            1 => write!(f, "the age identity is for another")?,
            many => write!(f, "none of the {many} age identities is for it")?,
        }
        match self.unused {
            0 => Ok(()),
            some => write!(f, " ({some} of plugins or other kinds are not used here)"),
        }
    }
}

impl Identity {
    fn parse(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok().filter(|text| text.starts_with(PREFIX))?;
        let decoded = CheckedHrpstring::new::<Bech32>(text).ok()?;
        let mut secret = Box::new(Zeroizing::new([0; 32]));
        let mut bytes = decoded.byte_iter();
        for place in secret.iter_mut() {
            *place = bytes.next()?;
        }
        let public = MontgomeryPoint::mul_base_clamped(**secret).to_bytes();
        bytes.next().is_none().then_some(Self { secret, public })
    }

    /// The outer `None`: the stanza is not as age writes it. The inner one: it is for another.
    fn unwrap(&self, stanza: &Stanza) -> Option<Option<Zeroizing<[u8; 16]>>> {
        let Some(("X25519", share)) = stanza.words.split_once(' ') else { return Some(None) };
        let share: [u8; 32] = STANDARD_NO_PAD.decode(share).ok()?.try_into().ok()?;
        let wrapped: [u8; 16 + TAG] = stanza.body.as_slice().try_into().ok()?;
        let shared = Zeroizing::new(MontgomeryPoint(share).mul_clamped(**self.secret).to_bytes());
        if *shared == [0; 32] {
            return None;
        }
        let salt = [share, self.public].concat();
        let key = derive(&salt, &*shared, b"age-encryption.org/v1/X25519");
        let Some(opened) = open(&key, [0; 12], &wrapped) else { return Some(None) };
        let mut file_key = Zeroizing::new([0; 16]);
        file_key.copy_from_slice(&opened);
        Some(Some(file_key))
    }
}

/// The key of a file, wrapped for one recipient.
struct Stanza<'a> {
    words: &'a str,
    body: Vec<u8>,
}

struct File<'a> {
    stanzas: Vec<Stanza<'a>>,
    /// What its MAC is over.
    header: &'a [u8],
    mac: Vec<u8>,
    rest: &'a [u8],
}

impl<'a> File<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut lines = Lines { bytes, at: 0 };
        if lines.next()? != VERSION {
            return None;
        }
        let mut stanzas = Vec::new();
        loop {
            let begin = lines.at;
            let line = std::str::from_utf8(lines.next()?).ok()?;
            if let Some(mac) = line.strip_prefix("--- ") {
                let mac = STANDARD_NO_PAD.decode(mac).ok()?;
                return Some(Self { stanzas, header: &bytes[..begin + 3], mac, rest: &bytes[lines.at..] });
            }
            if stanzas.len() >= MOST_STANZAS {
                return None;
            }
            let words = line.strip_prefix("-> ").filter(|words| is_words(words))?;
            stanzas.push(Stanza { words, body: lines.body()? });
        }
    }

    fn payload(&self, file_key: &[u8; 16]) -> Option<Zeroizing<Vec<u8>>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*derive(b"", file_key, b"header")).ok()?;
        mac.update(self.header);
        mac.verify_slice(&self.mac).ok()?;
        let (nonce, piece) = self.rest.split_at_checked(16).filter(|(_, it)| it.len() <= PIECE + TAG)?;
        // The first piece, and the last.
        let counter = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        open(&derive(nonce, file_key, b"payload"), counter, piece)
    }
}

/// Words with one blank between.
fn is_words(words: &str) -> bool {
    words.split(' ').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic()))
}

struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        self.at += end + 1;
        Some(&rest[..end])
    }

    /// Ends with a line that is not full.
    fn body(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.next().filter(|line| line.len() <= 64)?;
            body.extend(STANDARD_NO_PAD.decode(line).ok()?);
            if line.len() < 64 {
                return Some(body);
            }
        }
    }
}

fn armour(text: &str) -> Option<Vec<u8>> {
    let inside = text.trim().strip_prefix("-----BEGIN AGE ENCRYPTED FILE-----")?;
    let inside = inside.strip_suffix("-----END AGE ENCRYPTED FILE-----")?;
    STANDARD.decode(inside.lines().collect::<String>()).ok()
}

fn derive(salt: &[u8], key: &[u8], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    let derivation = Hkdf::<Sha256>::new(Some(salt), key);
    derivation.expand(purpose, &mut *derived).expect("32 bytes are within what HKDF gives");
    derived
}

fn open(key: &[u8; 32], nonce: [u8; 12], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (sealed, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG)?)?;
    let tag: [u8; TAG] = tag.try_into().ok()?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    let cipher = ChaCha20Poly1305::new(key.into());
    let opened = cipher.decrypt_inout_detached(&nonce.into(), b"", plain.as_mut_slice().into(), &tag.into());
    opened.is_ok().then_some(plain)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sha2::Digest;

    use super::*;

    fn file(name: &str) -> Vec<u8> {
        fs::read(format!("{}/tests/fixtures/age/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// What the vector expects, its identities, the sum of its plaintext, and the file itself, in armour.
    fn vector(name: &str) -> (String, Identities, String, String) {
        let bytes = file(name);
        let end = bytes.windows(2).position(|it| it == b"\n\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let said = |key: &str| {
            let all: Vec<_> =
                head.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).collect();
            all.join("\n")
        };
        let armoured = match said("armored").as_str() {
            "yes" => String::from_utf8_lossy(&bytes[end + 2..]).into_owned(),
            _ => {
                let text = STANDARD.encode(&bytes[end + 2..]);
                format!("-----BEGIN AGE ENCRYPTED FILE-----\n{text}\n-----END AGE ENCRYPTED FILE-----\n")
            }
        };
        (said("expect"), Identities::parse(said("identity").as_bytes()).unwrap(), said("payload"), armoured)
    }

    /// Those of the age authors' test vectors (c2sp.org/CCTV/age, CC0) that are for X25519, without what is wrong with
    /// an armour alone.
    #[test]
    fn every_vector_is_judged_as_it_expects() {
        let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/age")).unwrap();
        let names: Vec<_> = folder.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.len() > 50, "{}", names.len());
        let mut wrong = Vec::new();
        for name in names {
            let (expected, identities, sum, armoured) = vector(&name);
            let found = match identities.open(&armoured) {
                Ok(Some(plain)) => {
                    let is: String =
                        Sha256::digest(&*plain).iter().map(|byte| format!("{byte:02x}")).collect();
                    if is == sum { "success" } else { "another plaintext" }
                }
                Ok(None) => "no match",
                Err(_) => "failure",
            };
            if !expected.ends_with(found) {
                wrong.push(format!("{name}: {found}, not {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Whoever writes a file must not have us multiply for seconds.
    #[test]
    fn a_file_has_only_so_many_recipients() {
        let of = |recipients: usize| {
            let stanza = format!(
                "-> X25519 {}\n{}\n",
                STANDARD_NO_PAD.encode([9; 32]),
                STANDARD_NO_PAD.encode([1; 32])
            );
            let mac = STANDARD_NO_PAD.encode([0; 32]);
            format!("age-encryption.org/v1\n{}--- {mac}\n", stanza.repeat(recipients)).into_bytes()
        };
        let (most, more) = (of(MOST_STANZAS), of(MOST_STANZAS + 1));
        assert!(File::parse(&most).is_some(), "the control");
        assert!(File::parse(&more).is_none());
    }

    #[test]
    fn an_identity_is_as_age_writes_it() {
        let fine = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
        assert!(Identities::parse(format!("# one\r\n\n{fine}\r\nAGE-PLUGIN-X-1QQ\n").as_bytes()).is_ok());
        for (what, line) in [
            ("another letter", fine.replace("EGTZ", "EGTA")),
            ("cut", fine[..fine.len() - 1].to_owned()),
            ("in small letters", fine.to_lowercase()),
            ("a recipient", "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj".to_owned()),
            ("something else", "hunter2".to_owned()),
        ] {
            let Err(error) = Identities::parse(line.as_bytes()) else { panic!("{what}") };
            assert!(!error.to_string().contains(&line[line.len() - 6..]), "{what}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn wild_files_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let (_, identities, _, _) = vector("x25519");
            let text = [&b"age-encryption.org/v1\n"[..], &bytes].concat();
            let armour = |it: &[u8]| format!("-----BEGIN AGE ENCRYPTED FILE-----{}-----END AGE ENCRYPTED FILE-----", STANDARD.encode(it));
            let _ = (identities.open(&armour(&text)), Identities::parse(&bytes));
        }
    }
}
