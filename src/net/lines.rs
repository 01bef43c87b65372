//! An answer that has no end, line by line: over a connection of its own, which is closed with it. Uses hyper.

use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::error::{Fault, NetError, NetErrorKind, Part};
use super::pool::Link;
use super::response::{LARGEST, Response};
use crate::config::Address;
use crate::secret::SecretBytes;

/// What comes of a request for lines.
pub enum Streamed {
    Lines(Lines),
    /// It has answered with another status than success.
    Refused(Response),
}

/// The lines of one answer, as they come.
pub struct Lines {
    incoming: Incoming,
    /// What has come of the next lines, up to where no line ends.
    held: Vec<u8>,
    searched: usize,
    address: Address,
    /// The connection goes with it.
    _link: Link,
}

impl Lines {
    pub(super) fn new(link: Link, incoming: Incoming, address: Address) -> Self {
        Self { incoming, held: Vec::new(), searched: 0, address, _link: link }
    }

    /// The next line that is not empty, however long that takes; `None` if there is none any more. Who stops
    /// waiting may go on later. One that is longer than a body may be is an error.
    pub async fn next(&mut self) -> Result<Option<SecretBytes>, NetError> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            match self.incoming.frame().await {
                Some(Ok(frame)) => self.hold(&frame.into_data().unwrap_or_default())?,
                Some(Err(error)) => return Err(self.fault(NetErrorKind::of_http(&error))),
                None if self.held.is_empty() => return Ok(None),
                None => return Err(self.fault(Fault::Reset)),
            }
        }
    }

    fn hold(&mut self, data: &[u8]) -> Result<(), NetError> {
        if self.held.len() + data.len() > LARGEST {
            return Err(self.fault(Fault::TooLarge(Part::Body)));
        }
        self.held.extend_from_slice(data);
        Ok(())
    }

    fn take(&mut self) -> Option<SecretBytes> {
        loop {
            let end = self.held[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(end) = end.map(|at| self.searched + at) else {
                self.searched = self.held.len();
                return None;
            };
            let rest = self.held.split_off(end + 1);
            let mut line = std::mem::replace(&mut self.held, rest);
            self.searched = 0;
            line.truncate(line.trim_ascii_end().len());
            if !line.is_empty() {
                return Some(SecretBytes::new(line));
            }
        }
    }

    fn fault(&self, fault: Fault) -> NetError {
        fault.of(&self.address)
    }
}
