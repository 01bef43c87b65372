//! The key of a passphrase, what its file may ask for, and how often it may be tried.

use super::super::backend::BackendKind;
use super::*;

fn key(stretch: &Stretch, passphrase: &[u8]) -> Result<[u8; 32], KeyError> {
    stretch.derive(&SecretBytes::copy_of(passphrase)).map(|key| *key.0.expose())
}

fn cheap() -> Stretch {
    Stretch { memory_kib: 8 << 10, passes: 1, lanes: 1, ..Stretch::unused().unwrap() }
}

fn cheap_of(passphrase: &[u8]) -> Stretch {
    cheap().made(&SecretBytes::copy_of(passphrase)).unwrap().0
}

fn id_of(stretch: &Stretch) -> Id {
    let byte = |at: usize| u8::from_str_radix(&stretch.key[2 * at..2 * at + 2], 16).unwrap();
    std::array::from_fn(byte)
}

/// The program `argon2` of the reference implementation says the same:
/// `printf password | argon2 somesaltsomesalt -id -m 13 -t 2 -p 4 -l 32`.
#[test]
fn the_key_is_that_of_argon2id() {
    let salt = BASE64_STANDARD.encode(b"somesaltsomesalt");
    let stretch = Stretch { memory_kib: 8192, passes: 2, lanes: 4, salt, ..cheap() };
    let expected = "89df82b26283f35c8b07e651fd5e12e15c3d7774106edb7e7e0f9e3bc6bf411c";
    assert_eq!(hex(&key(&stretch, b"password").unwrap()), expected);
}

#[test]
fn a_key_belongs_to_its_passphrase_and_salt() {
    let stretch = cheap();
    let one = key(&stretch, b"one").unwrap();
    assert!(one == key(&stretch, b"one").unwrap());
    assert!(one != key(&stretch, b"two").unwrap() && one != key(&cheap(), b"one").unwrap());
}

/// Refused at once: nothing of this size is ever reserved.
#[test]
fn costs_out_of_bounds_are_refused() {
    for stretch in [
        Stretch { memory_kib: u32::MAX, ..cheap() },
        Stretch { memory_kib: (1 << 20) + 1, ..cheap() },
        Stretch { memory_kib: 0, ..cheap() },
        Stretch { passes: 0, ..cheap() },
        Stretch { passes: u32::MAX, ..cheap() },
        Stretch { lanes: 0, ..cheap() },
        Stretch { lanes: u32::MAX, ..cheap() },
        Stretch { salt: String::new(), ..cheap() },
        Stretch { salt: "not base64".into(), ..cheap() },
        Stretch { salt: BASE64_STANDARD.encode([0; 15]), ..cheap() },
    ] {
        assert!(matches!(key(&stretch, b"one"), Err(KeyError::Stretch)), "{stretch:?}");
    }
}

/// While a store goes from one passphrase to another, both are there.
#[test]
fn what_is_kept_is_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path(), BackendKind::File, [7; 16]).unwrap();
    let (one, two) = (cheap_of(b"one"), cheap_of(b"two"));
    let found = |stretch: &Stretch| Stretch::of_store(layout.dir(), &id_of(stretch)).unwrap();
    assert_eq!(found(&one), None);
    one.keep(&layout).unwrap();
    two.keep(&layout).unwrap();
    assert_eq!((found(&one).as_ref(), found(&two).as_ref()), (Some(&one), Some(&two)));
    keep_only(&id_of(&two), &layout).unwrap();
    assert_eq!((found(&one), found(&two).as_ref()), (None, Some(&two)));
    keep_only(&id_of(&one), &layout).unwrap();
    assert_eq!(found(&two), None);
    assert!(!layout.dir().join(FILE).exists());
    for text in ["", "{}", r#"{"key":"","kdf":"scrypt","memory_kib":1,"passes":1,"lanes":1,"salt":""}"#] {
        std::fs::write(layout.dir().join(FILE), text).unwrap();
        assert!(matches!(Stretch::of_store(layout.dir(), &id_of(&one)), Err(KeyError::Stretch)), "{text}");
    }
}

#[test]
fn each_wrong_answer_makes_the_next_one_wait() {
    let waits: Vec<_> = (0..9).map(|wrong| wait_after(wrong).as_secs()).collect();
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(wait_after(u32::MAX), LONGEST);
    let ask = Ask::new(|_| Ok(SecretBytes::copy_of(b"wrong")));
    let start = std::time::Instant::now();
    assert!(matches!(ask.for_key(&cheap_of(b"right")), Err(KeyError::WrongPassphrase)));
    assert!(start.elapsed() >= Duration::from_secs(3), "one second, then two");
    // Whoever asks next in this process goes on where that ended.
    assert_eq!(wait_after(ask.clone().wrong.load(Ordering::Relaxed)).as_secs(), 4);
    let ask = Ask::new(|_| Ok(SecretBytes::copy_of(b"right")));
    assert!(ask.for_key(&cheap_of(b"right")).is_ok() && ask.wrong.load(Ordering::Relaxed) == 0);
}
