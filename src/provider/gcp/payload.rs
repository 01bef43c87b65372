//! A version as Google sends it: its number in its name, and bytes as base64 beside their CRC-32C. Values go from the
//! answer into their own memory. Pure.

use crate::net::{Json, JsonError};
use crate::secret::SecretBytes;

pub(super) struct Payload {
    /// Of which it is.
    pub(super) secret: String,
    pub(super) version: u64,
    pub(super) value: SecretBytes,
}

/// Why it cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("its answer does not say which version it is of")]
    Version,
    #[error("its answer has a checksum that is no number")]
    Sum,
    /// It has changed on its way.
    #[error("its answer is not the bytes whose CRC-32C it gives")]
    Damaged,
}

impl Payload {
    pub(super) fn read(answer: Json<'_>) -> Result<Self, Unfit> {
        let name = answer.at(&["name"])?.text()?;
        let named = name.rsplit_once("/versions/").and_then(|(secret, number)| {
            Some((secret.rsplit_once("/secrets/")?.1.to_owned(), number.parse().ok()?))
        });
        let (secret, version) = named.ok_or(Unfit::Version)?;
        let payload = answer.at(&["payload"])?;
        // Nothing is said by saying nothing.
        let value = payload.maybe("data", Json::base64)?.unwrap_or_else(|| SecretBytes::new(Vec::new()));
        // A text of digits: JSON's numbers are not whole enough for some.
        let sum = payload.at(&["dataCrc32c"])?.value();
        let sum = std::str::from_utf8(sum.expose()).ok().and_then(|it| it.parse::<u32>().ok());
        if crc32c(value.expose()) != sum.ok_or(Unfit::Sum)? {
            return Err(Unfit::Damaged);
        }
        Ok(Self { secret, version, value })
    }
}

/// Castagnoli's polynomial, its bits in reverse.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut rest, mut bit) = (byte as u32, 0);
        while bit < 8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ POLYNOMIAL } else { rest >> 1 };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Payload, Unfit> {
        Payload::read(Json::read(text.as_bytes()).unwrap())
    }

    /// RFC 3720, B.4.
    #[test]
    fn the_sum_is_that_of_castagnoli() {
        let rising: Vec<u8> = (0..32).collect();
        let falling: Vec<u8> = (0..32).rev().collect();
        let vectors: [(&[u8], u32); 6] = [
            (b"", 0),
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&rising, 0x46dd_794e),
            (&falling, 0x113f_db5c),
        ];
        for (bytes, sum) in vectors {
            assert_eq!(crc32c(bytes), sum, "{bytes:?}");
        }
    }

    #[test]
    fn a_version_is_read_and_its_bytes_are_judged() {
        let version = |number: &str, data: &str, sum: &str| {
            let name = format!("projects/1/secrets/s/versions/{number}");
            read(&format!(r#"{{"name": "{name}", "payload": {{"data": "{data}", "dataCrc32c": {sum}}}}}"#))
        };
        for sum in ["\"3808858755\"", "3808858755"] {
            let good = version("12", "MTIzNDU2Nzg5", sum).ok().unwrap();
            assert!(good.version == 12 && good.value.same_as(b"123456789"));
        }
        assert!(version("1", "", "\"0\"").ok().unwrap().value.is_empty());
        let empty = read(r#"{"name": "projects/1/secrets/s/versions/1", "payload": {"dataCrc32c": "0"}}"#);
        assert!(empty.ok().unwrap().value.is_empty());
        for (number, data, sum, why) in [
            ("12", "MTIzNDU2Nzg5", "\"3808858754\"", Unfit::Damaged),
            ("12", "MTIzNDU2Nzg4", "\"3808858755\"", Unfit::Damaged),
            ("12", "MTIzNDU2Nzg", "\"3808858755\"", Unfit::Json(JsonError::Other { expected: "base64" })),
            ("12", "MTIzNDU2Nzg5", "\"x\"", Unfit::Sum),
            ("latest", "MTIzNDU2Nzg5", "\"3808858755\"", Unfit::Version),
        ] {
            assert_eq!(version(number, data, sum).err(), Some(why));
        }
        let unsummed = read(r#"{"name": "projects/1/secrets/s/versions/1", "payload": {"data": "YQ=="}}"#);
        assert_eq!(unsummed.err(), Some(Unfit::Json(JsonError::Missing("dataCrc32c".to_owned()))));
    }
}
