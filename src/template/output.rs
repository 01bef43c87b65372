//! Where a rendering goes: a buffer with a cap that is wiped when dropped, also each time that it grows.
//! Uses zeroize.

use zeroize::Zeroizing;

pub(super) struct Output {
    bytes: Zeroizing<Vec<u8>>,
    cap: usize,
}

/// The output is larger than its cap.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Output {
    pub(super) fn new(cap: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::new()), cap }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let length = self.bytes.len() + bytes.len();
        if length > self.cap {
            return Err(Full);
        }
        if length > self.bytes.capacity() {
            self.grow(length);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// `Vec` would leave its old place unwiped.
    fn grow(&mut self, length: usize) {
        let capacity = (length.max(256) * 2).min(self.cap);
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(&self.bytes);
        self.bytes = larger;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties it for the next use.
    pub(super) fn clear(&mut self) {
        use zeroize::Zeroize;
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_cap() {
        let mut output = Output::new(1000);
        for _ in 0..100 {
            output.put(b"0123456789").unwrap();
        }
        assert_eq!(output.put(b"x"), Err(Full));
        assert_eq!(output.bytes().len(), 1000);
    }
}
