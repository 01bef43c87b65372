//! `b64encode`, `b64decode`, `urlencode`. Uses base64 and percent-encoding.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::{Result, Use, Value, text};

/// With or without padding; both are about.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// RFC 3986's unreserved characters stay; all else is encoded, also `/`, so that a value fits every part
/// of a URL.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Use<'_> {
    pub(super) fn b64encode(&mut self, bytes: &[u8]) -> Result<Value> {
        let size = bytes.len().div_ceil(3) * 4;
        let mut encoded = self.buffer(size)?;
        encoded.resize(size, 0);
        // The buffer has exactly the size that the encoding takes.
        let _ = STANDARD.encode_slice(bytes, &mut encoded);
        Ok(text(&encoded))
    }

    pub(super) fn b64decode(&mut self, bytes: &[u8]) -> Result<Value> {
        let mut packed = self.buffer(bytes.len())?;
        packed.extend(bytes.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let size = base64::decoded_len_estimate(packed.len());
        let mut decoded = self.buffer(size)?;
        decoded.resize(size, 0);
        let length = LENIENT.decode_slice(&packed, &mut decoded);
        let length = length.map_err(|_| self.fault("the value is not Base64"))?;
        decoded.truncate(length);
        Ok(text(&decoded))
    }

    pub(super) fn urlencode(&mut self, bytes: &[u8]) -> Result<Value> {
        let mut encoded = self.buffer(percent_encode(bytes, RESERVED).map(str::len).sum())?;
        for part in percent_encode(bytes, RESERVED) {
            encoded.extend_from_slice(part.as_bytes());
        }
        Ok(text(&encoded))
    }
}
