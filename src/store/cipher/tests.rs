//! The published vectors, and what a seal refuses.

use shake::Shake128;
use shake::digest::{ExtendableOutput, Update, XofReader};

use super::*;

const KID: Id = [0xab; 16];

fn sealing(key: [u8; 32]) -> SealingKey {
    SealingKey::new(KID, &Key::from_bytes(&key).unwrap())
}

/// Vectors of <https://c2sp.org/XAES-256-GCM>, through our own format.
#[test]
fn c2sp_vectors() {
    let nonce = *b"ABCDEFGHIJKLMNOPQRSTUVWX";
    for (key, associated, sealed) in [
        ([0x01; 32], "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        ([0x03; 32], "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ] {
        let blob = sealing(key).seal_with(nonce, associated.as_bytes(), b"XAES-256-GCM");
        assert_eq!(crate::store::change::hex(&blob[BEFORE..]), sealed);
        assert_eq!(**sealing(key).open(associated.as_bytes(), &blob).unwrap(), *b"XAES-256-GCM");
    }
}

/// The accumulated vectors of the same page: 10,000 random inputs, one digest.
#[test]
fn c2sp_accumulator() {
    let mut source = Shake128::default().finalize_xof();
    let mut accumulated = Shake128::default();
    let mut bytes = |length: usize| {
        let mut bytes = vec![0; length];
        source.read(&mut bytes);
        bytes
    };
    for _ in 0..10_000 {
        let key = sealing(bytes(32).try_into().unwrap());
        let nonce = bytes(24).try_into().unwrap();
        let plain_length = bytes(1)[0];
        let plain = bytes(plain_length.into());
        let associated_length = bytes(1)[0];
        let associated = bytes(associated_length.into());
        let blob = key.seal_with(nonce, &associated, &plain);
        assert_eq!(**key.open(&associated, &blob).unwrap(), *plain);
        accumulated.update(&blob[BEFORE..]);
    }
    let mut digest = [0; 32];
    accumulated.finalize_xof().read(&mut digest);
    let expected = "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939";
    assert_eq!(crate::store::change::hex(&digest), expected);
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let key = sealing([7; 32]);
    let blob = key.seal(b"here", b"a value").unwrap();
    assert!(key.open(b"here", &blob).is_ok());
    assert!(key.open(b"there", &blob).is_err());
    for bit in 0..blob.len() * 8 {
        let mut flipped = blob.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(key.open(b"here", &flipped), Err(StoreError::Corrupt(_))), "bit {bit}");
    }
    for length in 0..blob.len() {
        assert!(matches!(key.open(b"here", &blob[..length]), Err(StoreError::Corrupt(_))), "length {length}");
    }
}

#[test]
fn no_two_seals_look_alike() {
    let key = sealing([7; 32]);
    assert!(key.seal(b"", b"same").unwrap() != key.seal(b"", b"same").unwrap());
}

#[test]
fn parts_cannot_be_moved_over_their_border() {
    assert_ne!(associated("t", &[b"ab", b"c"]), associated("t", &[b"a", b"bc"]));
    let key = Key::from_bytes(&[1; 32]).unwrap();
    assert_ne!(key.mac(&[b"ab", b"c"]), key.mac(&[b"a", b"bc"]));
}

#[test]
fn purposes_have_keys_of_their_own() {
    let key = Key::from_bytes(&[1; 32]).unwrap();
    assert_ne!(key.derive("one").expose(), key.derive("two").expose());
    // RFC 5869 with an empty salt: HMAC(HMAC(0, key), "one" || 1), computed elsewhere.
    let expected = "6cae41497b7bb6520c34dafa575eb211cbd0861b273a77bdec43e86a8dd2fe47";
    assert_eq!(crate::store::change::hex(key.derive("one").expose()), expected);
}
