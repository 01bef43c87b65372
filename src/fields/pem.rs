//! PEM as OpenSSL takes it: blocks between their lines, whatever stands around them. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    /// It says so in its head (`Proc-Type: 4,ENCRYPTED`).
    pub(super) is_encrypted: bool,
    pub(super) content: Zeroizing<Vec<u8>>,
}

/// The blocks in their order; `None` if one is cut off or is not Base64.
pub(super) fn blocks(text: &[u8]) -> Option<Vec<Block<'_>>> {
    let mut rest = std::str::from_utf8(text).ok()?;
    let mut blocks = Vec::new();
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (label, after) = after.split_once(DASHES)?;
        let (body, after) = after.split_once(&format!("-----END {label}-----"))?;
        blocks.push(Block::read(label, body)?);
        rest = after;
    }
    Some(blocks)
}

impl<'a> Block<'a> {
    fn read(label: &'a str, body: &str) -> Option<Self> {
        let is_head = |line: &&str| line.contains(':');
        let lines = || body.lines().map(str::trim);
        let is_encrypted = lines().any(|line| line.starts_with("Proc-Type:") && line.ends_with("ENCRYPTED"));
        // The whole room at once: growing would leave a copy behind.
        let mut joined = Zeroizing::new(String::with_capacity(body.len()));
        lines().filter(|line| !is_head(line)).for_each(|line| joined.push_str(line));
        let content = Zeroizing::new(STANDARD.decode(joined.as_bytes()).ok()?);
        Some(Self { label, is_encrypted, content })
    }
}
