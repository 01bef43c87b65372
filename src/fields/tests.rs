//! Whatever the bytes are, they are judged and not tripped over. What real programs write is tried
//! in tests/types.rs.

use jiff::SignedDuration;
use proptest::prelude::*;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn fields(named: &[(&str, &[u8])]) -> Fields {
    let field =
        |(name, value): &(&str, &[u8])| (FieldName::parse(name).unwrap(), SecretBytes::copy_of(value));
    named.iter().map(field).collect()
}

#[test]
fn only_what_is_there_is_judged() {
    for kind in SecretType::ALL {
        assert_eq!(check(kind, &Fields::new()), Ok(()), "{}", kind.as_str());
    }
    let free = fields(&[("cert", b"x"), ("token_url", b"x"), ("url", b"x")]);
    assert_eq!(check(SecretType::Custom, &free), Ok(()));
}

proptest! {
    #[test]
    fn wild_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..2_000) {
        let pair = include_bytes!("../../tests/common/pair.pem");
        let cut_off = &pair[..cut.min(pair.len())];
        let ssh = [b"ssh-ed25519 ", STANDARD.encode(&bytes).as_bytes()].concat();
        let pem = |label: &str, content: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(content)).into_bytes()
        };
        let openssh = [b"openssh-key-v1\0", &*bytes].concat();
        let values = [
            bytes.clone(), cut_off.to_vec(), ssh, pem("CERTIFICATE", &bytes), pem("PRIVATE KEY", &bytes),
            pem("EC PRIVATE KEY", &bytes), pem("RSA PRIVATE KEY", &bytes), pem("OPENSSH PRIVATE KEY", &openssh),
        ];
        for value in &values {
            for kind in SecretType::ALL {
                for field in kind.required().iter().chain(kind.optional()) {
                    let _ = check(kind, &fields(&[(field, value)]));
                }
            }
        }
    }
}

/// The control of the tests with halves: as a whole the pair is good.
#[test]
fn a_pair_in_one_file_is_a_pair() {
    let pair = include_bytes!("../../tests/common/pair.pem");
    assert_eq!(check(SecretType::Certificate, &fields(&[("cert", pair), ("key", pair)])), Ok(()));
}

#[test]
fn a_certificate_is_good_between_its_dates() {
    let pair = include_bytes!("../../tests/common/pair.pem");
    let pair = fields(&[("cert", pair), ("key", pair)]);
    let at = |time: &str| {
        let mut seen = Vec::new();
        let outcome = look(SecretType::Certificate, &pair, time.parse().unwrap(), &mut seen);
        outcome.map(|()| seen.join("; "))
    };
    let good = "its `key` belongs to its `cert`; it is valid until 2126-10-29".to_owned();
    assert_eq!(at("2026-11-22T12:38:29Z"), Ok(good));
    let before: Timestamp = "2026-11-22T12:38:29Z".parse().unwrap();
    let before = (before - SignedDuration::from_secs(1)).to_string();
    assert_eq!(at(&before), Err("one of its certificates is not valid yet".to_owned()));
    assert_eq!(at("2126-10-29T12:38:29Z"), Err("one of its certificates has expired".to_owned()));
}
